"""How far a guarded loss may rise and its parameters may move, and when a network is stuck: one
rule for PyTorch's optimizers and for the library's own training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Lowest", "Rises", "is_tried", "room", "spread"]

#: of the factor at which D would just do; how many times larger D is expected to be at most
SAFE, GROWN = 0.9, 100.0
#: updates of a network at rest that are all tried, and how many of the others there are to one that
#: is
AT_FIRST, SELDOM = 16, 8


class Rises:
    """The methods of a rule with the numbers below. They are explained at
    :class:`ghostpoint.torch.FixedBatch`.
    """

    jump: float
    cap: float
    stuck: float
    patience: int
    gain: float

    def is_stuck(self, best: float, first: float, waited: int) -> bool:
        """Whether a network is stuck, ``waited`` updates after its lowest loss last fell by
        ``gain``.
        """
        return waited >= self.patience and best > 0.5 * first

    def farthest(self, stuck: bool) -> float:
        """How far the parameters may move beside the stiff directions, relative to their norm."""
        return max(self.cap, self.stuck) if stuck else self.cap

    def most(self, loss: float, first: float, stuck: bool = False) -> float:
        """The largest loss that is accepted; ``loss`` is the lowest so far, ``first`` the first of
        the training.

        No rise at all on the first plateau, but one by the share ``gain`` where the network is
        stuck, and one by the share ``jump`` once the task is learned.
        """
        learned = min(max(1 - loss / first, 0.0), 1.0) if first > 0 else 0.0
        return loss + abs(loss) * max(self.jump * learned, self.gain if stuck else 0.0)


@dataclass
class Lowest:
    """The lowest loss of a training, and how long it has not fallen.

    ``mark`` is where it last fell by a given share, ``waited`` updates ago.
    """

    loss: float = math.inf
    mark: float = math.inf
    waited: int = 0

    def see(self, loss: float, gain: float) -> None:
        """Learn from the loss after another update."""
        self.loss = min(loss, self.loss)
        if self.mark == math.inf or self.loss < self.mark - gain * abs(self.mark):
            self.mark, self.waited = self.loss, 0
        else:
            self.waited += 1


def room(farthest: float, distance: float, before: float | None) -> float:
    """By what the factor of an update may be multiplied for the next one, so that its D, quadratic
    in the factor, does not exceed ``farthest``.

    ``distance`` is D of this update and ``before`` that of the one before, None where that is not
    known. Where momenta build up along a direction, D grows from update to update, and the next one
    is expected to be larger by the same ratio.
    """
    if not distance > 0:
        return math.inf
    ratio = min(max(distance / before, 1.0), GROWN) if before is not None and before > 0 else 1.0
    return SAFE * (farthest / (ratio * distance)) ** 0.5


def spread(k: int) -> float:
    """The k-th number, from 1 on, of J. G. van der Corput's sequence in base 2: 1/2, 1/4, 3/4, 1/8
    and so on, of which any first few fill (0, 1) evenly.

    >>> [spread(k) for k in (1, 2, 3, 4)]
    [0.5, 0.25, 0.75, 0.125]
    """
    total, part = 0.0, 0.5
    while k:
        total, part, k = total + part * (k & 1), part / 2, k >> 1
    return total


def is_tried(k: int) -> bool:
    """Whether the k-th update, from 1 on, after one that was refused at all its lengths is tried at
    all. A trial that is refused costs two forward passes in place of one.

    The first sixteen are, whose lengths (:func:`spread`) are then a sixteenth of their range apart,
    and every eighth of the others.

    >>> [k for k in range(1, 41) if is_tried(k)] == [*range(1, 17), 24, 32, 40]
    True
    """
    return k <= AT_FIRST or k % SELDOM == 0
