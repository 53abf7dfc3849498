"""The guard: an update is tried, and a smaller one made where it breaks the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ghostpoint.checks import integer, number
from ghostpoint.numerics.rises import Rises
from ghostpoint.remedies.crossings import Crossing
from ghostpoint.remedies.remedy import Remedy
from ghostpoint.tasks import Task


@dataclass(frozen=True)
class Guard(Rises, Remedy):
    """Try every update, and make a part of it if outputs move too far or the loss rises.

    It needs to know of no crossing, only the loss, the outputs and the gradient. The rule is that
    of :class:`ghostpoint.torch.FixedBatch`, for each network of a stack by itself. With L and o the
    loss and the outputs before the update, L1 and o1 those after it and D their squared distance in
    the weights of the loss, an update is accepted if

        D(o, o1) <= kappa**2 L   and   L1 <= L_best (1 + jump clip(1 - L_best / L_first, 0, 1)).

    The optimiser gets the gradient without its part along stiff directions
    (:mod:`ghostpoint.numerics.stiff_directions`). Down those the update goes by Newton's step, or
    at the optimiser's own rate where that is shorter. A network is stuck where its lowest loss is
    above half of the first one, and has not fallen by the share ``gain`` in ``patience`` updates:
    its loss may then exceed the lowest one by that share, and it moves farther. Where all
    lengths down to rounding were refused, the next sixteen updates have one trial each and then
    every eighth, of lengths that fill all up to the limit. A trial costs a forward and a backward
    pass, of the network on the compiled engine and of the whole stack on the others; those of the
    last trial are the next epoch's. A network keeps ``secants`` differences of its gradient, each
    as large as what is trained of it.

    Parameters
    ----------
    kappa : float
        How far outputs may move, relative to the root of the loss.
    jump : float
        By what share the loss may exceed its lowest value where that is far below the first one.
    cap : float
        How far the parameters may move beside the stiff directions in one update, relative to their
        norm.
    growth, raised, held : float
        Largest factor of the optimiser's update; what it is multiplied by after an accepted update;
        the least share of it that is left after an update of which a smaller part was accepted.
    secants : int
        Differences of the gradient that are kept.
    tries : int
        Trials of one update before the parameters stay where they are and the optimiser starts
        afresh.
    stuck, patience, gain : float, int, float
        ``cap`` where a network is stuck, if that is more; updates without a gain after which it is;
        by what share the lowest loss must fall to be a gain.
    """

    kappa: float = 0.5
    jump: float = 0.2
    cap: float = 0.02
    growth: float = 1000.0
    raised: float = 1.25
    held: float = 0.5
    secants: int = 32
    tries: int = 8
    stuck: float = 0.05
    patience: int = 50
    gain: float = 0.01

    memoryless = False
    tries_updates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("kappa", "cap", "growth", "stuck"):
            number(name, getattr(self, name), above=0)
        for name in ("jump", "gain"):
            number(name, getattr(self, name), at_least=0)
        integer("patience", self.patience, at_least=1)
        number("raised", self.raised, above=1)
        number("held", self.held, at_least=0, at_most=1)
        integer("secants", self.secants, at_least=0)
        integer("tries", self.tries, at_least=1)

    def misfit(self, task: Task, wanted: Sequence[Crossing]) -> str:
        """It compares losses of the same trials."""
        if task.random or task.noise > 0 or task.initial_scale > 0:
            return (
                "remedy Guard needs the same trials, initial states and noise in every epoch, got "
                f"{'random trials' if task.random else f'noise {task.noise:g}, initial_scale {task.initial_scale:g}'}"
            )
        return ""
