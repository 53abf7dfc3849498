"""What a measurement in a training costs."""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    """What measuring a quantity has cost.

    Attributes
    ----------
    every : int or None
        Steps from one measurement to the next.
    calls : int
    seconds : float
        Of the host, in all. Work that a device does later is not in it.
    share : float
        Of the time since the first step.
    """

    every: int | None
    calls: int
    seconds: float
    share: float
