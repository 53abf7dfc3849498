"""Remedies that scale an update, or its gradient, down to a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ghostpoint.checks import number
from ghostpoint.remedies.remedy import Remedy, Update
from ghostpoint.remedies.rules import CRITICAL_SHIFT, clip_factor, scale


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
