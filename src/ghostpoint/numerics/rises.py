"""How far a guarded loss may rise and its parameters may move, and when a network is stuck: one
rule for PyTorch's optimizers and for the library's own training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Lowest", "Rises"]


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
