"""A remedy that trains at a lowered confidence of the output, which rises to the network's own."""

from __future__ import annotations

from dataclasses import dataclass

from ghostpoint.checks import integer, number
from ghostpoint.errors import InputError
from ghostpoint.remedies.remedy import Remedy


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
