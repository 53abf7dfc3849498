"""The contract of a remedy: what the epoch loop asks of it, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.remedies.crossings import Crossing
from ghostpoint.tasks import Task

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Near:
    """How R networks approach one crossing, and what their updates would do to it; all (R,) but
    ``others``.

    ``crossed``, ``time`` and ``peak`` as :meth:`Crossing.measure` gives them. e is the gradient of
    the time where crossed, else of the peak. ``slope`` is |e|, ``shift`` is e . d with the update
    d, ``by_loss`` is e . grad L. ``others`` (R, i + 1), of the i-th crossing, are the products of e
    with the gradients of the crossings up to itself. The last two are for remedies that split
    updates.
    """

    crossing: Crossing
    crossed: Bools
    time: NDArray[Any]
    peak: NDArray[Any]
    slope: NDArray[Any]
    shift: NDArray[Any]
    by_loss: NDArray[Any]
    others: NDArray[Any]


@dataclass(frozen=True)
class Update:
    """The updates d that the optimiser proposes to R networks; all (R,).

    ``loss`` L, ``share`` L over the task's chance loss L0, ``gradient_norm`` |grad L| before
    clipping, ``length`` |d|, ``ascent`` grad L . d (only its sign counts), ``chance_loss`` L0, and
    ``approached``, the crossings asked for.
    """

    loss: Floats
    share: Floats
    gradient_norm: Floats
    length: Floats
    ascent: NDArray[Any]
    chance_loss: float
    approached: Sequence[Near] = ()


@dataclass(frozen=True)
class Step:
    """What becomes of R updates: d is replaced by ``factor d + sum_i weights[:, i] e_i``, e_i the
    crossings' gradients.

    ``scale`` is the length of that over the length of d, exactly ``factor`` where every weight is
    0.
    """

    factor: Floats
    weights: Floats
    scale: Floats

    @property
    def acts(self) -> Bools:
        """Where d is changed."""
        return np.asarray((self.factor != 1) | (self.weights != 0).any(axis=1))


class Reaction(NamedTuple):
    """What a remedy makes of an epoch's loss and accuracy, both (R,)."""

    #: what every update of now is multiplied by, before anything is predicted about it
    rate: Floats
    #: which networks go back to the parameters of their lowest loss; for remedies with ``rewinds``
    back: Bools


class Remedy:
    """What to do about an update that would end in the no-learning zone: a frozen dataclass with
    some of these hooks.

    A remedy never changes a network by itself. The epoch loop asks it once an epoch, for all R
    networks at once, in the order of the methods below; each has a default that does nothing.
    Several remedies work together: the factors of :meth:`sharpness`, :meth:`gradient_factor` and
    :class:`Reaction` multiply, and the smallest :meth:`largest_factor` counts. Where all factors
    are 1 the run is, bit for bit, the run without the remedy.

    A new remedy is trained with by the by-epoch engines as it is. The compiled engine needs it in
    its kernels and in ``training/compiled/kernel_rules.py``.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> @dataclass(frozen=True)
    ... class HalveUphill(Remedy):
    ...     def largest_factor(self, update):
    ...         return np.where(update.ascent > 0, 0.5, 1.0)
    >>> HalveUphill().to_dict()
    {'remedy': 'HalveUphill'}
    """

    #: whether what it does depends on the present epoch alone, so that an update that changes no
    #: bit ends a run
    memoryless: ClassVar[bool] = True
    #: whether :meth:`react` may ask for the parameters of the lowest loss, which are then kept
    rewinds: ClassVar[bool] = False
    #: whether it wants to know about crossings (:meth:`wanted`), which costs a backward pass each
    watches: ClassVar[bool] = False
    #: whether its updates are tried before they stand, by ``training/guarded.py``; beside
    #: it a run may have :class:`~ghostpoint.remedies.ClipGradient` alone
    tries_updates: ClassVar[bool] = False

    def misfit(self, task: Task, wanted: Sequence[Crossing]) -> str:
        """Why it cannot be used on a task that wants these crossings; empty if it can."""
        return ""

    def sharpness(self, epoch: int) -> float:
        """What the readout's logit is multiplied by in this epoch's loss and gradient."""
        return 1.0

    def wanted(self, found: list[Crossing]) -> list[Crossing]:
        """The crossings, of those of an epoch, that :attr:`Update.approached` shall list."""
        return []

    def react(self, epoch: int, loss: NDArray[Any], above: Bools, state: dict[str, Any]) -> Reaction | None:
        """Called after every evaluation; ``above``: the accuracy is above chance. ``state`` is kept
        between calls.
        """
        return None

    def gradient_factor(self, norm: Any) -> Any:
        """What the gradient is multiplied by before the optimiser sees it, from its norm (R,); None
        for nothing.

        NumPy arrays or tensors, so in operators only.
        """
        return None

    def largest_factor(self, update: Update) -> Any:
        """The largest factor (R,) that the updates may have; ``inf`` for no limit."""
        return np.inf

    def reshape(self, update: Update, most: Floats) -> Step | None:
        """The updates that are made, where more is done than scaling; ``most`` (R,) is the smallest
        of the factors.
        """
        return None

    @property
    def kind(self) -> type[Remedy]:
        """The class of which a run may have one remedy: what derives from :class:`Remedy` at first
        hand.
        """
        line = type(self).__mro__
        return line[line.index(Remedy) - 1]

    def __add__(self, other: Any) -> tuple[Remedy, ...]:
        return (self, *as_tuple(other))

    def __radd__(self, other: Any) -> tuple[Remedy, ...]:
        return (*as_tuple(other), self)

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, ready for JSON."""
        return {"remedy": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]


def as_tuple(remedy: Any) -> tuple[Any, ...]:
    """One or several as a tuple."""
    return tuple(remedy) if isinstance(remedy, Sequence) and not isinstance(remedy, str) else (remedy,)
