"""Measures of a curve that do not depend on its units: noise, smooth course, flat stretches, turns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

__all__ = ["Swing", "course", "flat_stretches", "longest_gap", "noise_of", "swing_of", "window_of"]

Floats = NDArray[np.float64]


def window_of(points: int) -> int:
    """Points of the running median: one in a hundred, odd, at most 51."""
    return 2 * (min(max(points // 100, 1), 51) // 2) + 1


def course(values: Floats) -> Floats:
    """The running median of the curve, :func:`window_of` points wide."""
    return np.asarray(median_filter(values, window_of(len(values)), mode="nearest"))


def noise_of(values: Floats) -> float:
    """Standard deviation of independent noise on a smooth curve: ``1.4826 median |y[i-1] - 2 y[i] + y[i+1]| / sqrt 6``.

    Second differences remove what is linear over three points. 0 for fewer than five points.
    """
    if len(values) < 5:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(values, 2))) / np.sqrt(6.0))


def flat_stretches(values: Floats, tolerance: float, least: int) -> list[tuple[int, int]]:
    """Stretches ``[start, stop)`` of at least ``least`` points over which the curve spans at most ``tolerance``.

    Taken greedily from the left, so they are disjoint and in order; a point in one could also have opened another.
    """
    found: list[tuple[int, int]] = []
    start, low, high = 0, np.inf, -np.inf
    left = 0  # first point that may belong to the stretch that is open
    for i, value in enumerate(values):
        low, high = min(low, value), max(high, value)
        if high - low <= tolerance:
            continue
        if i - start >= least:
            found.append((start, i))
            left = i
        # the longest stretch that ends here
        start = i
        low = high = value
        while start > left:
            before = values[start - 1]
            if max(high, before) - min(low, before) > tolerance:
                break
            low, high, start = min(low, before), max(high, before), start - 1
    if len(values) - start >= least:
        found.append((start, len(values)))
    return found


class Swing(NamedTuple):
    """How a stretch of a curve goes up and down about its trend, a parabola.

    ``turns``: share of its inner points at which it turns; ``amplitude``: half of the 5 to 95 % range; ``memory``:
    correlation of neighbouring points; ``period`` in points: 1 over the strongest frequency, whose share of the
    power is ``purity``; ``growth``: amplitude of the second half over that of the first.
    """

    turns: float
    amplitude: float
    memory: float
    period: float
    purity: float
    growth: float


def swing_of(values: Floats) -> Swing:
    """:class:`Swing` of a stretch of at least eight points."""
    grid = np.linspace(-1.0, 1.0, len(values))
    rest = values - np.polynomial.legendre.legval(grid, np.polynomial.legendre.legfit(grid, values, 2))
    step = np.diff(values)
    turns = float((step[1:] * step[:-1] < 0).mean())
    total = float((rest * rest).sum())
    half = len(rest) // 2
    first, second = (float(np.ptp(np.quantile(part, [0.05, 0.95]))) for part in (rest[:half], rest[half:]))
    if total <= 0.0:
        return Swing(turns, 0.0, 0.0, np.nan, 0.0, 1.0)
    power = np.abs(np.fft.rfft(rest)) ** 2
    power[0] = 0.0
    peak = int(power.argmax())
    return Swing(
        turns=turns,
        amplitude=float(np.ptp(np.quantile(rest, [0.05, 0.95]))) / 2,
        memory=float((rest[1:] * rest[:-1]).sum()) / total,
        period=len(rest) / peak,
        purity=float(power[max(peak - 1, 1) : peak + 2].sum() / power.sum()),
        growth=second / first if first > 0 else np.inf,
    )


def longest_gap(present: NDArray[np.bool_]) -> tuple[int, int]:
    """The longest stretch ``[start, stop)`` of False between two that are True; (0, 0) if there is none."""
    where = np.flatnonzero(present)
    if len(where) < 2:
        return 0, 0
    gap = np.diff(where)
    widest = int(gap.argmax())
    return (int(where[widest]) + 1, int(where[widest + 1])) if gap[widest] > 1 else (0, 0)
