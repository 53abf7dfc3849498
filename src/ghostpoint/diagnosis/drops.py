"""Drops of the loss: from plateau to plateau, with epochs, size and duration."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ghostpoint.diagnosis.series import FLAT, PLATEAU, Levels, Series
from ghostpoint.diagnosis.signals import flat_stretches

__all__ = ["ABRUPT", "Drop", "drops_of"]

#: a drop is abrupt if its middle 80 % take less than this share of the epochs until its end
ABRUPT = 0.15
_LEAST = 0.15  # share of the whole drop below which a step is not counted as one


class Drop(NamedTuple):
    """A fall of the smooth course: epochs at 10 and 90 % of it, its size in units of the loss, its share of the whole
    drop, and ``haste``, its duration over the epochs that had passed at its end."""

    start: float
    end: float
    size: float
    share: float
    haste: float

    @property
    def abrupt(self) -> bool:
        """Quick after a long wait."""
        return self.haste < ABRUPT


def drops_of(series: Series, levels: Levels) -> list[Drop]:
    """The drops between flat stretches that make at least 15 % of the whole one, in order."""
    loss, whole = levels.smooth, levels.drop
    if whole <= 0:
        return []
    bottom = int(np.argmax(loss <= levels.low + 0.02 * whole)) + 1  # the course after it is no drop
    stride = max(1, bottom // 400)
    flat = flat_stretches(loss[:bottom:stride], FLAT * whole, max(int(PLATEAU * len(loss[::stride])), 5))
    edges = [0, *(min((a + b) // 2 * stride, bottom - 1) for a, b in flat), bottom - 1]
    found = []
    for a, b in pairwise(edges):
        high, low = min(float(loss[a]), levels.chance), float(loss[b])
        size = high - low
        if b <= a or size < _LEAST * whole:
            continue
        piece = loss[a : b + 1]
        last = a + int(np.argmax(piece <= high - 0.9 * size))
        above = np.flatnonzero(loss[a : last + 1] >= high - 0.1 * size)
        first = a + int(above[-1] if len(above) else 0)
        begin, end = series.epoch[first], series.epoch[last]
        passed = max(end - series.epoch[0], 1e-300)
        found.append(Drop(float(begin), float(end), size, size / whole, float((end - begin) / passed)))
    return found
