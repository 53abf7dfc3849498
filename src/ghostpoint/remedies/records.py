"""What to do about an update: frozen records, and the scalar rules by which they scale it.

A remedy never changes a network by itself. Training asks it, once per epoch and network, for the factor by which the
update d that the optimiser proposes is multiplied (the trust region: for one of the part of d that moves the escape
times, and one of the rest), given a few numbers about the network. Where they are exactly 1 the run is, bit for bit,
the run without the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.checks import integer, number
from ghostpoint.errors import InputError
from ghostpoint.remedies.crossings import crossings
from ghostpoint.tasks import Task

__all__ = [
    "AUTO",
    "AUTO_OF_SOME",
    "ClipGradient",
    "ConfidenceSchedule",
    "HazardLimit",
    "ReduceRate",
    "Remedy",
    "Rewind",
    "TrustRegion",
    "allowed",
    "resolve",
    "scale",
]

#: what escape takes from the minimum of the toy model's loss to the point of no return, as a share of T
CRITICAL_SHIFT = 3 / 8


def scale(prediction: Any, limit: Any, growth: float = 1.0) -> NDArray[Any]:
    """What an update is multiplied by so that a prediction linear in it stays within its limit.

    ``min(growth, limit / prediction)`` for a positive prediction, and 1 where it is 0 or anything is NaN. Exactly 1
    where the prediction is within the limit and ``growth`` is 1.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        allowed = np.asarray(limit / np.asarray(prediction))
    known = (np.asarray(prediction) > 0) & ~np.isnan(allowed)
    return np.where(known, np.where(allowed < growth, allowed, growth), 1.0)


def allowed(prediction: Any, limit: Any, growth: float) -> NDArray[Any]:
    """:func:`scale` for one of several limits: what predicts no move at all allows ``growth``.

    So the factor does not jump where a prediction vanishes, or is nothing but rounding.
    """
    return np.where(np.asarray(prediction) == 0, growth, scale(prediction, limit, growth))


class _Sum:
    """Remedies add up to a tuple."""

    def __add__(self, other: Any) -> tuple[Remedy, ...]:
        return (*_as_tuple(self), *_as_tuple(other))

    def __radd__(self, other: Any) -> tuple[Remedy, ...]:
        return (*_as_tuple(other), *_as_tuple(self))

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, ready for JSON."""
        return {"remedy": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class TrustRegion(_Sum):
    """Keep the escape time, or the readout's peak, from moving far in one update, for any optimiser.

    For every crossing that the task wants (:class:`~ghostpoint.remedies.Crossing`), with T its delay, d the update
    that the optimiser proposes, L the loss, L0 the task's chance loss, e the gradient of the time t at which the
    readout crosses in the trial or, where it does not, of the peak g of its logit above the crossing's, and products
    over the trainable parts, these are the predictions and their limits:

    * where the readout crosses, of the time: ``|e . d|``, at most ``min(h, shrink L / L0) (3/8) min(T, t)``;
    * where it does not, of the peak: ``|e| |d|``, at most ``eta max(-g, floor)``.

    The limits of times and peaks are multiplied by ``brake`` where ``grad L . d > 0``. A limit allows the factor
    ``min(growth, limit / prediction)`` (:func:`scale`).

    With ``split`` (the default) d is taken apart, ``d = p + q`` with p in the span of the gradients of the times and
    q at right angles to it. Near a solution the loss is steep along p and flat along q: what p may not do must not
    keep q from doing what is left to do. q is multiplied by the smallest factor of the peaks, of
    ``tilt |e| |q|``, at most ``h (3/8) min(T, t)``, and of ``|grad L at right angles| |q|``, at most ``polyak L``;
    p by the smallest of that and of the factors of the times. |q| counts as at least 0.001 |d|: less is the rounding of
    float32. Without ``split`` all of d is multiplied by the smallest
    factor, and the prediction of a time is ``max(|e . d|, tilt |e| |d|)``.

    (3/8) T is what leads from the minimum of the toy model's loss to its point of no return (letter, eq. 15; the
    escape time there is T, and 2 T at r*/4). The share of it that one update may use falls with the loss, so that h
    does not set the end. It falls with t, because the escape time goes as r**(-1/2), so that a linear prediction is
    least to be trusted where the readout crosses early. The brake is for optimisers with memory, whose old direction
    leads uphill after an overshoot: unbraked, it is what kills networks under momentum and Adam. The limit by
    ``polyak`` is for what else there is in the loss than when the readout crosses: to first order no update may bring
    down more than there is (after Polyak's step, ``L / |grad L|**2``).

    Parameters
    ----------
    h : float
        The largest share of (3/8) T by which one update may move the escape time.
    eta : float
        Share of the distance to the crossing by which one update may move the peak.
    shrink : float
        The share is at most this many times the loss over chance; ``inf`` keeps it at h.
    tilt : float
        From 0 to 1: how much of the length of an update counts whatever its direction, after the crossing. Before it
        all of it does: far from the threshold the linear prediction is too poor for its direction to be believed.
    brake : float
        Above 0, at most 1.
    floor : float
        Least distance, in units of the logit, of which eta is taken. 0.5 is 0.05 of the latent at confidence 10.
    growth : float
        An update is multiplied by this at most. At 1 it is only ever made smaller, so that a plateau is as long as the
        rate makes it; at ``inf`` every update is taken to the limit, and the length of what the optimiser proposes no
        longer matters, only the direction.
    crossings : int
        How many crossings are looked at in an epoch, the first ones; each costs a backward pass.
    split : bool
    polyak : float
        With ``split`` only; ``inf`` for no such limit. What it must guard is what the crossings do not show: where some
        trial or channel wants no crossing (delayed match to sample), 0.03 is needed.
    """

    h: float = 0.5
    eta: float = 0.7
    shrink: float = 3.0
    tilt: float = 0.3
    brake: float = 0.1
    floor: float = 0.5
    growth: float = 10.0
    crossings: int = 4
    split: bool = True
    polyak: float = 0.3

    def __post_init__(self) -> None:
        for name in ("h", "eta", "floor", "brake"):
            number(name, getattr(self, name), above=0)
        number("tilt", self.tilt, at_least=0)
        for name in ("tilt", "brake"):
            if getattr(self, name) > 1:
                raise InputError(f"{name} must be at most 1, got {getattr(self, name)!r}")
        for name in ("shrink", "polyak"):
            number(name, getattr(self, name), above=0, allow_inf=True)
        number("growth", self.growth, at_least=1, allow_inf=True)
        integer("crossings", self.crossings, at_least=1)
        if not isinstance(self.split, bool):
            raise InputError(f"split must be True or False, got {self.split!r}")

    def prediction(self, crossed: Any, along: Any, size: Any) -> NDArray[Any]:
        """How far an update that is not split moves the escape time or the peak, from ``along = e . d`` and
        ``size = |e| |d|``."""
        return np.where(crossed, np.maximum(np.abs(along), self.tilt * np.asarray(size)), size)

    def limit(self, crossed: Any, time: Any, peak: Any, delay: float, share: Any, ascent: Any) -> NDArray[Any]:
        """How far one update may move the escape time (in readings) or, where not crossed, the peak (in logits).

        Parameters
        ----------
        crossed, time, peak : (R,)
            As :meth:`Crossing.measure` gives them.
        delay : float
            T in readings.
        share : (R,)
            Loss over chance loss; ``inf`` leaves h.
        ascent : (R,)
            ``grad L . d``; only its sign matters.
        """
        with np.errstate(invalid="ignore"):
            most = np.fmin(self.h, self.shrink * np.asarray(share))  # an infinite shrink at no loss leaves h
        shift = most * CRITICAL_SHIFT * np.minimum(delay, time)
        free = np.where(crossed, shift, self.eta * np.maximum(-np.asarray(peak), self.floor))
        return np.where(np.asarray(ascent) > 0, self.brake * free, free)


@dataclass(frozen=True)
class HazardLimit(_Sum):
    """The trust region's cheap proxy: no extra backward pass.

    ``prediction = |grad L| |d| / ((3/8) L0)``, for plain gradient descent ``alpha |grad L|**2 / ((3/8) L0)``: the
    hazard of the update if the loss were the escape time's distance from T. It misses steps that fall between the
    samples of the time grid, and saturated outputs. ``|grad L|`` is taken before any clipping.

    Parameters
    ----------
    limit : float
        Hazard that an update may have; 1 would lead to the point of no return.
    """

    limit: float = 0.1

    def __post_init__(self) -> None:
        number("limit", self.limit, above=0)


@dataclass(frozen=True)
class ClipGradient(_Sum):
    """Scale the gradient down to an L2 norm before the optimiser sees it: ``train``'s ``clip_norm``.

    Parameters
    ----------
    norm : float
    """

    norm: float = 0.1

    def __post_init__(self) -> None:
        number("norm", self.norm, above=0)


@dataclass(frozen=True)
class ConfidenceSchedule(_Sum):
    """Train at a lowered confidence that rises to the model's own (letter, Fig. 4; article, Fig. 8B-C).

    In epoch k the readout's logit is multiplied by ``s = start**(1 - k / epochs)`` for k < epochs, and by 1 from then
    on. The parameters stay those of the model: the loss, the gradient and the recorded confidence are those of the
    multiplied readout. For a readout by ``w_out`` this scales ``w_out`` and ``b_out`` in the forward pass.

    Parameters
    ----------
    start : float
        s at epoch 0, at most 1.
    epochs : int
        Until s is 1.
    """

    start: float = 0.1
    epochs: int = 1000

    def __post_init__(self) -> None:
        if number("start", self.start, above=0) > 1:
            raise InputError(f"start must be at most 1, got {self.start!r}")
        integer("epochs", self.epochs, at_least=1)

    def factor(self, epoch: int) -> float:
        """S, what the logit is multiplied by in an epoch."""
        return float(self.start ** (1 - epoch / self.epochs)) if epoch < self.epochs else 1.0


@dataclass(frozen=True)
class ReduceRate(_Sum):
    """On entry into the no-learning zone, multiply every later update by ``factor``, and again on each entry.

    A network has entered when it was above the task's chance accuracy at some epoch, and at none of the last
    ``patience``. Mostly too late, as the gradient is gone by then: the control for :class:`Rewind`.

    Parameters
    ----------
    factor : float
        Below 1.
    patience : int
        Epochs.
    """

    factor: float = 0.5
    patience: int = 50

    def __post_init__(self) -> None:
        if number("factor", self.factor, above=0) >= 1:
            raise InputError(f"factor must be below 1, got {self.factor!r}")
        integer("patience", self.patience, at_least=1)


@dataclass(frozen=True)
class Rewind(ReduceRate):
    """On entry into the no-learning zone, go back to the parameters of the lowest loss so far, with a smaller step.

    The optimiser's state goes back too, and every later update is multiplied by ``factor`` (once more on each entry).
    The epoch of the entry makes no other update. Entry as for :class:`ReduceRate`.

    Parameters
    ----------
    factor : float
        Below 1.
    patience : int
        Epochs.
    """


Remedy = TrustRegion | HazardLimit | ClipGradient | ConfidenceSchedule | ReduceRate | Rewind


#: what "auto" stands for where every channel of every trial wants a crossing, and where only some do; of the settings
#: compared these lose fewest (docs/remedies.md)
AUTO = TrustRegion()
AUTO_OF_SOME = TrustRegion(tilt=0.5, polyak=0.03)


def _as_tuple(remedy: Any) -> tuple[Any, ...]:
    return tuple(remedy) if isinstance(remedy, Sequence) and not isinstance(remedy, str) else (remedy,)


def resolve(remedy: Any, task: Task, activation: str) -> tuple[Remedy, ...]:
    """The remedies that ``train`` is asked for, as a tuple.

    "auto" stands for :data:`AUTO`, for :data:`AUTO_OF_SOME` where a channel of a trial wants no crossing or crossings
    are more than are looked at, or for :class:`HazardLimit` where the task wants none at all (continuous targets, or no
    answer before the transition that counts). Two of a kind are a ``ValueError``, and so is a trust region without a
    crossing.
    """
    if remedy is None:
        return ()
    wanted = crossings(task, task.trial(0), activation)
    asked = _as_tuple(remedy)
    if asked == ("auto",):
        if not wanted:
            return (HazardLimit(),)
        places = {(one.trial, one.output) for one in wanted}
        every = len(places) == task.n_trials * task.n_outputs and len(wanted) <= AUTO.crossings
        return (AUTO if every else AUTO_OF_SOME,)
    for one in asked:
        if not isinstance(one, Remedy):
            raise InputError(f'remedy must be None, "auto", a remedy or several; got {one!r}')
    kinds = [ReduceRate if isinstance(one, ReduceRate) else type(one) for one in asked]
    for kind in kinds:
        if kinds.count(kind) > 1:
            named = "Rewind or ReduceRate" if kind is ReduceRate else kind.__name__
            raise InputError(f"remedy must have {named} at most once, got {asked!r}")
    if TrustRegion in kinds and not wanted:
        raise InputError(
            "remedy must have TrustRegion only for a task that wants the readout to cross between answers that count, "
            f"got it for {type(task).__name__}"
        )
    return asked
