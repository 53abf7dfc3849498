"""Remedies beside the trust region, the names of all, and what ``train`` makes of its argument
``remedy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.checks import integer, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.remedies.crossings import crossings
from ghostpoint.remedies.remedy import Reaction, Remedy, Update, as_tuple
from ghostpoint.remedies.rules import CRITICAL_SHIFT, clip_factor, scale
from ghostpoint.remedies.trust_region import TrustRegion
from ghostpoint.tasks import Task


@dataclass(frozen=True)
class HazardLimit(Remedy):
    """The trust region's cheap proxy: no extra backward pass.

    ``prediction = |grad L| |d| / ((3/8) L0)``, for plain gradient descent
    ``alpha |grad L|**2 / ((3/8) L0)``: the hazard of the update if the loss were the escape time's
    distance from T. It misses steps that fall between the samples of the time grid, and saturated
    outputs. ``|grad L|`` is taken before any clipping.

    Parameters
    ----------
    limit : float
        Hazard that an update may have; 1 would lead to the point of no return.
    """

    limit: float = 0.1

    def __post_init__(self) -> None:
        number("limit", self.limit, above=0)

    def largest_factor(self, update: Update) -> NDArray[Any]:
        """``min(1, limit / prediction)``."""
        return scale(update.gradient_norm * update.length / (CRITICAL_SHIFT * update.chance_loss), self.limit)


@dataclass(frozen=True)
class ClipGradient(Remedy):
    """Scale a network's gradient down to an L2 norm where it exceeds it
    (``torch.nn.utils.clip_grad_norm_``).

    It counts as a part of the optimiser: the history has no ``update_scale`` for it.

    Parameters
    ----------
    norm : float
    """

    norm: float = 0.1

    def __post_init__(self) -> None:
        number("norm", self.norm, above=0)

    def gradient_factor(self, norm: Any) -> Any:
        """``min(1, self.norm / (norm + 1e-6))``."""
        return clip_factor(norm, self.norm)


@dataclass(frozen=True)
class ConfidenceSchedule(Remedy):
    """Train at a lowered confidence that rises to the model's own (letter, Fig. 4; article, Fig.
    8B-C).

    In epoch k the readout's logit is multiplied by ``s = start**(1 - k / epochs)`` for k < epochs,
    and by 1 from then on. The parameters stay those of the model: the loss, the gradient and the
    recorded confidence are those of the multiplied readout. For a readout by ``w_out`` this scales
    ``w_out`` and ``b_out`` in the forward pass.

    Parameters
    ----------
    start : float
        s at epoch 0, at most 1.
    epochs : int
        Until s is 1.
    """

    start: float = 0.1
    epochs: int = 1000

    memoryless = False

    def __post_init__(self) -> None:
        if number("start", self.start, above=0) > 1:
            raise InputError(f"start must be at most 1, got {self.start!r}")
        integer("epochs", self.epochs, at_least=1)

    def sharpness(self, epoch: int) -> float:
        """``start**(1 - epoch / epochs)``, at most 1."""
        return float(self.start ** (1 - epoch / self.epochs)) if epoch < self.epochs else 1.0


@dataclass(frozen=True)
class ReduceRate(Remedy):
    """On entry into the no-learning zone, multiply every later update by ``factor``, and again on
    each entry.

    A network has entered when it was above the task's chance accuracy at some epoch, and at none of
    the last ``patience``. Mostly too late, as the gradient is gone by then: the control for
    :class:`Rewind`.

    Parameters
    ----------
    factor : float
        Below 1.
    patience : int
        Epochs.
    """

    factor: float = 0.5
    patience: int = 50

    memoryless = False

    def __post_init__(self) -> None:
        if number("factor", self.factor, above=0) >= 1:
            raise InputError(f"factor must be below 1, got {self.factor!r}")
        integer("patience", self.patience, at_least=1)

    def react(self, epoch: int, loss: NDArray[Any], above: NDArray[np.bool_], state: dict[str, Any]) -> Reaction:
        """``factor`` to the power of the number of entries; who enters in this epoch goes back,
        where that is done.
        """
        last = state.setdefault("last_above", np.full(len(above), -1))  # -1 too after an entry, until above again
        rate = state.setdefault("rate", np.ones(len(above)))
        last[above] = epoch
        entering = np.asarray((last >= 0) & (epoch - last >= self.patience))
        last[entering] = -1
        rate[entering] *= self.factor
        return Reaction(rate, entering & self.rewinds)


@dataclass(frozen=True)
class Rewind(ReduceRate):
    """On entry into the no-learning zone, go back to the parameters of the lowest loss so far, with
    a smaller step.

    The optimiser's state goes back too, and every later update is multiplied by ``factor`` (once
    more on each entry). The epoch of the entry makes no other update. Entry as for
    :class:`ReduceRate`.

    Parameters
    ----------
    factor : float
        Below 1.
    patience : int
        Epochs.
    """

    rewinds = True


#: remedies by name, with their default parameters; new ones are registered here
REMEDIES: dict[str, Remedy] = {
    "trust_region": TrustRegion(),
    "hazard_limit": HazardLimit(),
    "clip_gradient": ClipGradient(),
    "confidence_schedule": ConfidenceSchedule(),
    "reduce_rate": ReduceRate(),
    "rewind": Rewind(),
}
#: what "auto" stands for where every channel of every trial wants a crossing, and where only some
#: do; of the settings compared these lose fewest (docs/remedies.md)
AUTO = TrustRegion()
AUTO_OF_SOME = TrustRegion(tilt=0.5, polyak=0.03)


def from_dict(fields: Mapping[str, Any]) -> Remedy:
    """The remedy of which :meth:`Remedy.to_dict` gave the name and parameters.

    Examples
    --------
    >>> from_dict(ClipGradient(0.5).to_dict())
    ClipGradient(norm=0.5)
    """
    kinds = {type(one).__name__: type(one) for one in REMEDIES.values()}
    name = one_of("remedy", fields["remedy"], kinds)
    return kinds[name](**{key: value for key, value in fields.items() if key != "remedy"})


def resolve(remedy: Any, task: Task, activation: str) -> tuple[Remedy, ...]:
    """The remedies that ``train`` is asked for, as a tuple; names are those of :data:`REMEDIES`.

    "auto" stands for :data:`AUTO`, for :data:`AUTO_OF_SOME` where a channel of a trial wants no
    crossing or crossings are more than are looked at, or for :class:`HazardLimit` where the task
    wants none at all (continuous targets, or no answer before the transition that counts). Two of a
    kind are a ``ValueError``, and so is a trust region without a crossing.
    """
    if remedy is None:
        return ()
    wanted = crossings(task, task.trial(0), activation)
    asked = as_tuple(remedy)
    if asked == ("auto",):
        if not wanted:
            return (HazardLimit(),)
        places = {(one.trial, one.output) for one in wanted}
        every = len(places) == task.n_trials * task.n_outputs and len(wanted) <= AUTO.crossings
        return (AUTO if every else AUTO_OF_SOME,)
    found: list[Remedy] = []
    for one in asked:
        known = REMEDIES.get(one) if isinstance(one, str) else one
        if not isinstance(known, Remedy):
            names = ", ".join(REMEDIES)
            raise InputError(f'remedy must be None, "auto", a remedy or several, or their names ({names}); got {one!r}')
        same = [other for other in found if other.kind is known.kind]
        if same:
            named = " or ".join(dict.fromkeys(type(other).__name__ for other in (*same, known)))
            raise InputError(f"remedy must have {named} at most once, got {asked!r}")
        misfit = known.misfit(task, wanted)
        if misfit:
            raise InputError(misfit)
        found.append(known)
    return tuple(found)
