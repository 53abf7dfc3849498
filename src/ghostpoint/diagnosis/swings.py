"""Oscillation of the end of a record: regular of any period from two points on, or louder than the
noise before it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.diagnosis.series import median, noise_of

__all__ = ["Swing", "loud_blocks", "reversals", "swing_at_end", "swing_inside"]

Floats = NDArray[np.float64]
#: points of a window that is searched at most; longer ones are averaged over blocks
_LONGEST = 8192
#: cycles that a window must hold
CYCLES = 3
#: an oscillation spans this share of the level between its 5 and 95 % quantiles
SPAN = 0.03
#: irregular swings exceed the noise of the beginning so many times, and turn at a tenth of the
#: points
LOUDER, TURNS = 3.0, 0.1
#: probability that the strongest frequency of independent noise is called a line
_CHANCE = 1e-6
#: points at the end that are searched for irregular swings, at least and at most
_FEWEST, TAIL = 16, 120


class Swing(NamedTuple):
    """An oscillation: ``points`` at the end that it fills, ``period`` in points, ``amplitude``
    (half of the 5 to 95 % range), ``growth`` (amplitude of the second half over that of the first),
    ``purity`` (share of the variance at the strongest frequency), ``cycles``, ``regular`` (a line
    in the spectrum, not only louder than before)."""

    points: int
    period: float
    amplitude: float
    growth: float
    purity: float
    cycles: float
    regular: bool


def reversals(values: Floats, threshold: float) -> int:
    """How often the values turn by more than ``threshold`` between an extreme and the next one."""
    turns, direction = 0, 0
    low = high = float(values[0])
    for value in values.tolist():
        if direction >= 0 and value > high:
            high = value
        if direction <= 0 and value < low:
            low = value
        if direction >= 0 and high - value > threshold:
            turns += direction > 0
            direction, low = -1, value
        elif direction <= 0 and value - low > threshold:
            turns += direction < 0
            direction, high = 1, value
    return turns


def swing_at_end(values: Floats, early_noise: float, level: float, first: int = 0, low: int = 0) -> Swing | None:
    """The oscillation that fills the end of ``values`` (n,), or None.

    Windows of all, a half, a quarter, ... of the points after ``first`` are searched, the longest
    that oscillates stands.

    Parameters
    ----------
    early_noise : float
        Noise before learning, in units of the values; NaN if unknown.
    level : float
        Size of the loss to which the amplitude is compared.
    first : int
        Point before which nothing is searched.
    low : int
        Point at which the drop has ended: too few points after it show no irregular swing.
    """
    length = len(values) - first
    best: Swing | None = None
    while length >= 12:
        window = values[-length:]
        found = _regular(window, level)
        if found is not None and not _was_noise(values[first:], length, level):
            best = found
            break
        length //= 2
    louder = _louder(values[first:], early_noise, level) if len(values) - low >= _FEWEST else None
    if best is None or (louder is not None and louder.points > best.points):
        return louder
    return best


def swing_inside(values: Floats, level: float, first: int, until: int) -> tuple[int, int, Swing] | None:
    """The longest stretch of points between ``first`` and ``until`` that oscillates, with its
    swing; None for none.

    Windows of a sixth of the points, which overlap by half, are searched; those that hold a line
    and follow one another make a stretch. The quietest windows are passed over.
    """
    size = (until - first) // 6
    if size < 24:
        return None
    begins = range(first, until - size + 1, size // 2)
    spans = [float(np.ptp(values[a : a + size])) for a in begins]
    found: list[tuple[int, int, Swing]] = []
    for a, span in zip(begins, spans, strict=True):
        swing = _regular(values[a : a + size], level) if span > max(SPAN * level, 2.5 * min(spans)) else None
        if swing is None:
            continue
        if found and a <= found[-1][1]:
            larger = max(found[-1][2], swing, key=lambda each: each.amplitude)
            found[-1] = (found[-1][0], a + size, larger)
        else:
            found.append((a, a + size, swing))
    if not found:
        return None
    begin, stop, swing = max(found, key=lambda stretch: stretch[1] - stretch[0])
    loud = loud_blocks(values, begin, stop, swing)
    return (loud[0][0], loud[-1][1], swing) if loud else None


def loud_blocks(values: Floats, begin: int, stop: int, swing: Swing) -> list[tuple[int, int]]:
    """Blocks of two periods from ``stop`` back to ``begin``, in order, that span more than the
    amplitude."""
    block = max(int(2 * swing.period), 8)
    edges = range(stop - block, begin - 1, -block)
    loud = [(a, a + block) for a in edges if np.ptp(_detrended(values[a : a + block])) > swing.amplitude]
    return loud[::-1]


def _regular(window: Floats, level: float) -> Swing | None:
    """A line in the periodogram of a window, if the window really turns at its frequency."""
    block = max(1, len(window) // _LONGEST)
    data = window[len(window) % block :]
    data = data.reshape(-1, block).mean(axis=1) if block > 1 else data
    data = data[len(data) % 2 :]
    n = len(data)
    rest = _detrended(data)
    total = float((rest * rest).sum())
    if total <= 0.0 or n < 8:
        return None
    power = np.abs(np.fft.rfft(rest)) ** 2
    power[:CYCLES] = 0.0
    peak = int(power.argmax())
    whole = float(power.sum())
    if whole <= 0.0 or peak < CYCLES:
        return None
    line = float(power[max(peak - 1, 1) : peak + 2].sum()) / max(n * total / 2.0, 1e-300)
    # Fisher's test: P(power[peak] / sum > g) < K (1 - g)**(K - 1) for independent noise at K
    # frequencies
    bins = len(power) - CYCLES
    fisher = bins * max(1.0 - float(power[peak]) / whole, 1e-300) ** (bins - 1)
    place = np.arange(max(peak // 2, CYCLES), min(peak * 2 + 3, len(power)))
    others = power[place[np.abs(place - peak) > 1]]
    # a line stands out of its neighbours too: noise with memory has peaks but no lines
    background = float(median(others)) / np.log(2.0) if len(others) >= 3 else 0.0
    clear = fisher < _CHANCE and power[peak] > np.log(len(power) / _CHANCE) * background
    # noise with memory makes weak lines of few cycles
    weak = n < 200 or (peak < 8 and _is_rough(data))
    if not clear or line < (0.5 if weak else 0.12):
        return None
    period = n / peak
    low, high = np.quantile(rest, [0.05, 0.95])
    amplitude = float(high - low) / 2
    if line < 0.5:  # of the line alone, not of the noise
        amplitude = float(np.sqrt(2 * line * total / n))
    if 2 * amplitude < SPAN * level:
        return None
    if period > 6:
        width = max(1, int(period / 6))
        coarse = data[n % width :].reshape(-1, width).mean(axis=1)[-360:]
        cycles = min(peak, 60)
        if reversals(coarse, amplitude * 0.5) < 1.4 * cycles - 1:
            return None
    half = n // 2
    first, second = (float(np.ptp(np.quantile(_detrended(part), [0.05, 0.95]))) for part in (data[:half], data[half:]))
    quarter = float(np.ptp(np.quantile(_detrended(data[-max(n // 4, 4) :]), [0.05, 0.95])))
    # died away: a quarter tells where it holds two cycles
    if quarter < 0.3 * 2 * amplitude and (peak >= 8 or quarter < SPAN * level):
        return None
    growth = second / first if first > 0 else np.inf
    return Swing(len(window), period * block, amplitude, growth, line, float(peak), True)


def _was_noise(values: Floats, length: int, level: float) -> bool:
    """Whether as many values before the last ``length`` ones are half as loud or louder, and hold
    no line: noise with memory, in a short part of which a few waves look like an oscillation.
    """
    before, after = values[max(len(values) - 2 * length, 0) : -length], values[-length:]
    if len(before) < max(length // 2, 12):
        return False
    sizes = [float(np.ptp(np.quantile(_detrended(part), [0.05, 0.95]))) for part in (before, after)]
    return sizes[0] > 0.5 * sizes[1] and _is_rough(before) and _regular(before, level) is None


def _is_rough(values: Floats) -> bool:
    """Whether neighbours differ as in noise with a memory of up to fifty points, and not as in a
    smooth swing."""
    return noise_of(values) > 0.03 * float(np.ptp(np.quantile(_detrended(values), [0.05, 0.95])))


def _louder(values: Floats, early_noise: float, level: float) -> Swing | None:
    """Irregular swings: rough at the end as compared with the noise before learning, which is NaN
    if unknown: then swings are related, or as large as the level.
    """
    n = len(values)
    tail = values[-min(TAIL, max(n // 4, _FEWEST)) :]
    if len(tail) < _FEWEST:
        return None
    rest = _detrended(tail)
    step = np.diff(tail)
    turns = float((step[1:] * step[:-1] < 0).mean())
    amplitude = float(np.ptp(np.quantile(rest, [0.05, 0.95]))) / 2
    total = float((rest * rest).sum())
    if total <= 0 or turns < TURNS or 2 * amplitude < SPAN * level:
        return None
    memory = float((rest[1:] * rest[:-1]).sum()) / total
    rough = max(noise_of(tail), noise_of(tail[len(tail) // 2 :]))
    alternates = memory < -max(0.5, 5.0 / np.sqrt(len(tail)))
    # an estimate from so few points varies: eight differences give it to a third
    few = 1.0 + 12.0 / len(tail)
    # independent noise may grow in a training; swings are correlated over some distance, or spike
    # to one side, where the skewness of n symmetric values has the standard error sqrt(6 / n)
    spectrum = np.abs(np.fft.rfft(rest, 2 * len(rest))) ** 2
    correlation = np.fft.irfft(spectrum)[1 : len(rest) // 2] / total
    skewness = float((rest**3).mean()) / (total / len(rest)) ** 1.5
    # deterministic swings may have no correlation, but values depend on the square of the last one
    # (bicovariance: Hinich, M. J. (1996). Testing for dependence in the input to a linear time
    # series model. Journal of Nonparametric Statistics 6, 205-221)
    bent = (np.clip(rest, -2 * amplitude, 2 * amplitude) ** 2)[:-1]
    bend = float(np.corrcoef(bent, rest[1:])[0, 1]) if np.ptp(bent) > 0 else 0.0
    related = (
        max(float(np.abs(correlation).max()), abs(bend)) > 4.0 / np.sqrt(len(tail))
        or skewness > 4.0 * np.sqrt(6.0 / len(tail))
        or rough > 5 * LOUDER * early_noise
        or (np.isnan(early_noise) and 2 * amplitude > level)
    )
    if not ((not rough <= LOUDER * few * early_noise and related) or alternates):
        return None
    half = len(tail) // 2
    first, second = (float(np.ptp(np.quantile(part, [0.05, 0.95]))) for part in (rest[:half], rest[half:]))
    power = np.abs(np.fft.rfft(rest)) ** 2
    peak = max(int(power[1:].argmax()) + 1, 1)
    purity = float(power[max(peak - 1, 1) : peak + 2].sum() / max(power.sum(), 1e-300))
    # the swings reach back as far as blocks of the tail's length are as rough
    points, width = len(tail), len(tail)
    least = np.fmax(LOUDER * early_noise, 0.3 * rough)
    while points + width <= n and noise_of(values[n - points - width : n - points]) > least:
        points += width
    return Swing(
        points,
        len(tail) / peak,
        amplitude,
        second / first if first > 0 else np.inf,
        purity,
        turns * len(tail) / 2,
        False,
    )


def _detrended(values: Floats) -> Floats:
    """Values less their parabola."""
    basis = _parabolas(len(values))
    return np.asarray(values - (values @ basis) @ basis.T)


@lru_cache(maxsize=64)
def _parabolas(n: int) -> Floats:
    """An orthonormal basis (n, 3) of the parabolas over n points."""
    grid = np.linspace(-1.0, 1.0, n)
    return np.linalg.qr(np.stack([np.ones_like(grid), grid, grid * grid], axis=1))[0]
