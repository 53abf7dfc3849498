"""What a guard did to one update."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Update"]


@dataclass(frozen=True)
class Update:
    """What the guard did to one update.

    Attributes
    ----------
    number : int
        Updates before it.
    action : str
        "kept" (the optimizer's own, to the last bit), "changed", "stayed" (every trial refused, or
        none made after many that were), "skipped" (a loss or a gradient that is not finite), or
        "unguarded" (the guard had nothing to judge it by).
    rule : "fixed" or "fresh"
    factor : float
        Of the optimizer's update; 0 where the parameters stay.
    refused : tuple of str
        One entry a refused trial: "outputs", "loss" or "not finite".
    loss, trial_loss, distance : float
        L, L1 and D of the last trial; L, L and 0 where there was none.
    """

    number: int
    action: str
    rule: str
    factor: float
    refused: tuple[str, ...] = ()
    loss: float = float("nan")
    trial_loss: float = float("nan")
    distance: float = float("nan")
