"""Drops of the loss: from plateau to plateau, with epochs, size, duration, and the plateau before
them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.diagnosis.levels import Levels
from ghostpoint.diagnosis.segments import Course
from ghostpoint.diagnosis.series import Series, median, median_of_three
from ghostpoint.diagnosis.slowing import CRITERION, support_of

Floats = NDArray[np.float64]
__all__ = ["ABRUPT", "Drop", "abrupt_share", "drops_of", "stairs"]

#: a drop is abrupt if its middle 80 % take less than this share of the time since the plateau
#: before it began
ABRUPT = 0.15
_LEAST = 0.15  # share of the whole drop below which a step is not counted as one


class Drop(NamedTuple):
    """A fall of the course: epochs at 10 and 90 % of it, its size in units of the loss, its share
    of the whole drop on its scale, ``haste`` (its duration over the time since the plateau before
    it began), ``plateau`` (epochs of that plateau, equal if there is none), ``scheduled`` (it
    follows a cut of the learning rate), ``scale``."""

    start: float
    end: float
    size: float
    share: float
    haste: float
    plateau: tuple[float, float]
    scheduled: bool
    scale: str
    factor: float = 1.0  # loss before over loss after, on the logarithmic scale
    support: float = np.inf  # of the wait before it, see ``slowing``

    @property
    def abrupt(self) -> bool:
        """Quick after a wait that is no noise, and not by a cut of the learning rate."""
        return self.is_abrupt(1.0)

    def is_abrupt(self, strictness: float) -> bool:
        """With the thresholds of haste divided, and of support multiplied, by ``strictness``."""
        waited = self.support > CRITERION * strictness
        return self.haste < ABRUPT / strictness and waited and not self.scheduled


def drops_of(series: Series, levels: Levels) -> list[Drop]:
    """The drops that make at least 15 % of the whole one, in order, on the scale on which more of
    it is abrupt.
    """
    if "drops" not in levels.found:
        levels.found["drops"] = _on_either_scale(series, levels)
    return list(levels.found["drops"])


def _on_either_scale(series: Series, levels: Levels) -> list[Drop]:
    linear = _drops(series, levels, levels.linear, "linear")
    if levels.logarithmic is None:
        return linear
    other = _drops(series, levels, levels.logarithmic, "logarithmic")
    sudden = [drop for drop in other if drop.abrupt]
    # on a logarithmic scale noise at the floor makes much of little: a long plateau must come
    # before the drop
    long = [d for d in sudden if d.plateau[1] - d.plateau[0] >= 0.15 * (series.epoch[-1] - series.epoch[0])]
    mine = [drop for drop in linear if drop.abrupt]
    more = abrupt_share(sudden) > max(abrupt_share(mine), 0.3) and abrupt_share(mine) < 0.5
    # steps of a decade each look like one; each is a halving and more, clear of the noise at its
    # end
    clear = 5 * float(levels.logarithmic.noise.max()) < np.log(2.0)
    further = clear and stairs(sudden) and len(sudden) > max(len(mine), 1) and all(_halves(d) for d in sudden)
    return other if (long and more) or further else linear


def _halves(drop: Drop) -> bool:
    """Whether a drop on the logarithmic scale halves the loss, after a plateau of a tenth of the
    time before it.
    """
    long = drop.plateau[1] - drop.plateau[0] >= 0.1 * drop.end
    return long and drop.factor > 2.0


def abrupt_share(drops: list[Drop]) -> float:
    """Share of the whole drop that these make."""
    return sum(drop.share for drop in drops)


def stairs(drops: list[Drop]) -> bool:
    """Whether there are several abrupt drops, each after a plateau of its own, and none is undone
    before the next: together they are no more than the whole.
    """
    if abrupt_share(drops) > 1.1:
        return False
    own = [
        b for a, b in pairwise(drops) if b.plateau[0] >= a.start and b.plateau[1] - b.plateau[0] > 2 * (b.end - b.start)
    ]
    return len(own) >= 1


def _drops(series: Series, levels: Levels, course: Course, scale: str) -> list[Drop]:
    log = scale == "logarithmic"
    chance = np.log(max(levels.chance, 1e-300)) if log else levels.chance
    fit = course.fit
    low = float(fit.min())
    whole = chance - low
    if whole <= 0:
        return []
    found: list[Drop] = []
    flats = [s for s in course.segments if s.shape == "flat" or (s.shape == "falling" and not s.steep)]
    bottom = int(np.argmax(fit <= low + 0.02 * whole))
    edges: list[tuple[int, int]] = [(0, 0)]
    edges += [(s.first, s.last) for s in flats if s.first <= bottom]
    if edges[-1][1] < bottom:
        edges.append((bottom, bottom))
    before: list[tuple[int, float]] = []  # of the flat stretches so far: first bin, level
    for (f0, a), (b, after) in pairwise(edges):
        high = min(float(median(fit[(f0 + a) // 2 : a + 1])) if a > f0 else float(fit[a]), chance)
        if a > f0:
            own, f0 = (f0, high), _since(before, fit, f0, a, high, whole)
            before.append(own)
        if b <= a:
            continue
        b = a + int(fit[a : b + 1].argmin())  # the fall ends at its lowest, also where the course comes back
        deep = float(median(fit[b : b + max(min(5, len(fit) - b), 1)]))
        if high - fit[b] > 10 * course.error[b]:  # the course comes back at once, and the fall is clear
            deep = float(fit[b])
        size = high - deep
        if size < _LEAST * whole:
            continue
        if b <= a:
            continue
        first, last = _crossings(series, course, log, a, b, high, size)
        last = max(last, first)
        passed = max(last - course.epoch[f0] if a > f0 else last - series.epoch[0], 1e-300)
        plateau = (float(course.epoch[f0]) if f0 else float(series.epoch[0]), first) if a > f0 else (first, first)
        if a == f0 and first - series.epoch[0] > 0.3 * passed:
            plateau = (float(series.epoch[0]), first)
        # less one step of the record, by which the two epochs are uncertain
        waited = int(course.edges[a] - course.edges[f0])
        step = float(median(np.diff(series.epoch[course.edges[a] : course.edges[b + 1]])))
        haste = max(float(last - first - step), 0.0) / passed
        if waited < 3 and not (plateau[1] > plateau[0] and a == f0):
            haste = float(last - first) / passed if a > 0 and waited >= 3 else 1.0  # no plateau: no wait
        linear_size = float(np.exp(high) - np.exp(deep)) if log else size
        support = 0.0  # of a drop that is too slow to be abrupt at any strictness
        if haste < 2 * ABRUPT:
            support = support_of(series.loss, course, log, f0, max(after, b))
        found.append(
            Drop(
                first,
                last,
                linear_size,
                size / whole,
                haste,
                plateau,
                _rate_cut(series, first, last),
                scale,
                float(np.exp(size)) if log else 1.0,
                support,
            )
        )
    return found


def _since(before: list[tuple[int, float]], fit: Floats, f0: int, a: int, high: float, whole: float) -> int:
    """The first bin of the plateau at level ``high`` that ends with the flat bins ``f0`` to ``a``.

    An earlier flat stretch at the same level belongs to it if the course was not lower in between:
    a burst above a plateau does not end the wait. Both levels are at most chance.
    """
    for first, level in reversed(before):
        if abs(level - high) > 0.02 * whole or fit[first : a + 1].min() < high - 0.05 * whole:
            break
        f0 = first
    return f0


def _crossings(
    series: Series, course: Course, log: bool, a: int, b: int, high: float, size: float
) -> tuple[float, float]:
    """Epochs at 10 and 90 % of the fall between bins a and b, by single values where the noise
    allows it.
    """
    noise = float(median(course.noise[a : b + 1]))
    i, j = int(course.edges[a]), int(course.edges[min(b + 1, len(course.edges) - 1)])
    if 5 * noise < 0.1 * size or len(course.fit) == len(series.loss):
        epoch = series.epoch[i:j]
        values = np.log(series.loss[i:j]) if log else series.loss[i:j]
        if len(values) >= 30:
            values = median_of_three(np.pad(values, 1, mode="edge"))
    else:
        epoch, values = course.epoch[a : b + 1], course.fit[a : b + 1]
    below = values <= high - 0.9 * size
    last = int(below.argmax()) if below.any() else len(values) - 1
    above = np.flatnonzero(values[: last + 1] >= high - 0.1 * size)
    first = int(above[-1]) if len(above) else 0
    return _between(epoch, values, first, high - 0.1 * size), _between(epoch, values, last - 1, high - 0.9 * size)


def _between(epoch: Floats, values: Floats, i: int, level: float) -> float:
    """The epoch at which the line from point i to the next one passes ``level``."""
    if i < 0 or i + 1 >= len(values) or not values[i] > level >= values[i + 1]:
        return float(epoch[min(max(i, 0), len(epoch) - 1)])
    share = (values[i] - level) / (values[i] - values[i + 1])
    return float(epoch[i] + share * (epoch[i + 1] - epoch[i]))


def _rate_cut(series: Series, start: float, end: float) -> bool:
    """Whether the learning rate falls to less than 0.7 of itself at the onset of a drop, and
    suddenly.
    """
    if series.rate is None:
        return False
    width = max(end - start, 1e-300)
    # up to the first record at the end or after it: a drop ends between two of them
    last = min(int(np.searchsorted(series.epoch, end)), len(series.epoch) - 1)
    near = (series.epoch >= start - 2 * width - 1) & (series.epoch <= series.epoch[last])
    rates = series.rate[near]
    rates = rates[np.isfinite(rates)]
    return len(rates) > 1 and bool(rates[-1] < 0.7 * rates[0])
