"""Levels of a record: chance, the lowest loss, and where the run is off chance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ghostpoint.diagnosis.segments import Course, Segment, course_of
from ghostpoint.diagnosis.series import Series, median, median_of_three, noise_of, quantum_of

__all__ = ["Levels", "levels_of", "tail_is_flat", "without_accuracy"]

Floats = NDArray[np.float64]
#: share of the drop from chance at which a run is off chance
OFF = 0.1
#: a constant answer to two equally frequent targets has half the loss of the worst: a start below
#: was trained before
HEDGED = 0.45
#: relative distance within which a first plateau is that of a given chance level
NEAR = 0.12
#: losses are also looked at on a logarithmic scale where all are positive and they span this factor
WIDE = 3.0


@dataclass(frozen=True)
class Levels:
    """Levels of a series of n points, in units of its loss.

    Attributes
    ----------
    linear, logarithmic : Course
        Of the loss and of its logarithm; the latter None if some loss is not positive or the span
        is small.
    chance, low, start, end : float
        Level of chance, lowest of the course, its first and its last value.
    early_noise : float
        Noise of one value before learning.
    accuracy_at_chance : float or None
    accuracy : array (n,) or None
        Where it is recorded, smoothed against its own noise.
    inferred : tuple of str
        Names of levels that were inferred, not given.
    off : bool array (n,)
        Where accuracy is above chance if that is known, else where the loss is below chance.
    plateau : Segment or None
        The first flat stretch that lies above the middle of the drop.
    by_accuracy : bool
        Whether ``off`` was found by the accuracy.
    silent : bool
        Whether most values before learning are alike, at a bound or by rounding: they show no
        noise.
    found : dict
        What several rules ask for and is computed once: the drops.
    """

    linear: Course
    logarithmic: Course | None
    chance: float
    low: float
    start: float
    end: float
    early_noise: float
    accuracy_at_chance: float | None
    accuracy: Floats | None
    inferred: tuple[str, ...]
    off: NDArray[np.bool_]
    plateau: Segment | None
    by_accuracy: bool
    silent: bool = False
    found: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def drop(self) -> float:
        """From chance to the lowest of the course."""
        return max(self.chance - self.low, 0.0)

    @property
    def share(self) -> float:
        """The deepest fall as a share of chance; NaN where losses are not all positive: a share
        would mean nothing.
        """
        return self.drop / self.chance if self.low >= 0 and self.chance > 0 else np.nan


def levels_of(series: Series, chance_loss: float | None, chance_accuracy: float | None) -> Levels:
    """Measure the levels; a chance level that is not given is that of the first plateau, else the
    start.
    """
    loss, epoch = series.loss, series.epoch
    n = len(loss)
    linear = course_of(epoch, loss)
    logarithmic = None
    if loss.min() > 0 and linear.fit.max() > WIDE * max(np.quantile(linear.value, 0.02), 1e-300):
        logarithmic = course_of(epoch, np.log(loss), logarithmic=True)
    fit = linear.fit
    few = min(max(n // 100, 1), 20)
    start = float(median(loss[: max(few, 1)])) if n > 30 else float(loss[0])
    end_bin = max(len(fit) // 50, 1)
    end = float(median(fit[-end_bin:])) if len(fit) < 60 else float(median(linear.value[-max(len(fit) // 40, 3) :]))
    low = float(_lowest(linear, loss))
    plateau = _first_plateau(linear, logarithmic, loss, low)
    inferred = []
    if chance_loss is None:
        chance = plateau.level if plateau is not None else max(start, float(fit[0]))
        inferred.append("chance_loss")
    elif start < HEDGED * chance_loss:
        chance = chance_loss
    elif plateau is not None and abs(plateau.level - chance_loss) < NEAR * abs(chance_loss):
        chance = min(plateau.level, chance_loss)
    else:
        chance = min(chance_loss, max(start, float(fit[0])))
    first = _points(linear, plateau, n) if plateau is not None else (0, max(min(n, 12), few))
    # noise before learning: until the course has fallen by a third
    fallen = fit < chance - 0.3 * max(chance - low, 0.0)
    learns = int(linear.edges[int(fallen.argmax())]) if fallen.any() else n
    early = loss[first[0] : max(first[1], first[0] + 12, min(n // 10, 200, learns))]
    early_noise = noise_of(early) * (1.0 + 8.0 / len(early))  # an estimate from few points may be low
    early_noise = max(early_noise, quantum_of(loss) / np.sqrt(12.0))
    silent = bool((np.diff(early) == 0).mean() > 0.5)
    accuracy, at_chance, off = _by_accuracy(series, chance_accuracy, plateau, first, inferred)
    by_accuracy = off is not None
    if off is None:
        off = _by_loss(linear, loss, chance, low, early_noise)
    elif accuracy is not None and 4 * len(np.unique(accuracy)) > len(accuracy):  # smoothed: the loss dates it better
        off = off & _by_loss(linear, loss, chance, low, early_noise)
    return Levels(
        linear, logarithmic, chance, low, start, end, early_noise, at_chance, accuracy, tuple(inferred), off, plateau,
        by_accuracy, silent,
    )  # fmt: skip


def without_accuracy(levels: Levels, series: Series) -> Levels:
    """The levels as if no accuracy were recorded."""
    off = _by_loss(levels.linear, series.loss, levels.chance, levels.low, levels.early_noise)
    return replace(levels, accuracy=None, accuracy_at_chance=None, by_accuracy=False, off=off, found={})


def tail_is_flat(series: Series, levels: Levels) -> tuple[bool, float]:
    """Whether the record ends flat on both scales, and since which epoch: the last third changes by
    under 3 % of the loss and of the drop, or by no more than its errors."""
    if "tail" not in levels.found:
        levels.found["tail"] = _flat_tail(levels)
    flat, since = levels.found["tail"]
    return bool(flat), float(since)


def _flat_tail(levels: Levels) -> tuple[bool, float]:
    course = levels.linear
    epoch, fit = course.epoch, course.fit
    begin = int(np.searchsorted(epoch, epoch[0] + 0.67 * (epoch[-1] - epoch[0])))
    begin = min(begin, len(fit) - 3) if len(fit) > 4 else 0
    part = slice(max(begin, 0), None)
    change = abs(float(fit[part][0] - fit[part][-1]))
    doubt = 2 * float(median(course.error[part]))
    scale = max(abs(levels.end), 1e-300) if levels.low > 0 else max(levels.drop, 1e-300)
    flat = change < max(doubt, 0.03 * scale) and change < max(doubt, 0.1 * max(levels.drop, scale))
    if not flat and change < 0.02 * levels.drop:  # the last of a drop, and nothing after it
        flat = _stays(course, scale)
    if not flat:
        return False, np.nan
    tolerance = max(0.05 * scale, 0.02 * levels.drop, 3 * float(course.error[-1]))
    away = np.flatnonzero(np.abs(fit - levels.end) > tolerance)
    return True, float(epoch[min(away[-1] + 1, len(epoch) - 1)] if len(away) else epoch[0])


def _stays(course: Course, scale: float) -> bool:
    """Whether the last two tenths of the record, of four bins at least each, have means that differ
    by under 3 % of ``scale`` or by no more than two standard errors."""
    epoch, value = course.epoch, course.value
    tenth = 0.1 * (epoch[-1] - epoch[0])
    last = epoch > epoch[-1] - tenth
    before = (epoch > epoch[-1] - 2 * tenth) & ~last
    few = min(int(last.sum()), int(before.sum()))
    if few < 4:
        return False
    change = abs(float(value[last].mean() - value[before].mean()))
    unsure = 2 * float(median(course.error[last | before])) * np.sqrt(2 / few)
    return bool(change < max(0.03 * scale, unsure))


def _never_rises(values: Floats, noise: float) -> bool:
    """Whether a noisy accuracy has one mean from its first points to its last, and could show a
    rise if there was one.

    Not if a quarter of what is missing to 1 is within four standard errors of the first points.
    """
    if len(values) < 30 or noise == 0.0 or median(values) <= 0.0 or noise > 1.5 * np.std(values):
        return False  # too short, never noisy, never right, or swinging
    head, parts = values[: max(3, len(values) // 50)], np.array_split(values, 5)
    unsure = 4.0 * noise / np.sqrt(len(head))
    even = np.ptp([part.mean() for part in parts]) < 4.0 * noise * np.sqrt(2.0 / len(parts[-1])) + 0.002
    return bool(even and abs(head.mean() - median(values)) < unsure < 0.25 * (1.0 - median(values)))


def _points(course: Course, segment: Segment, n: int) -> tuple[int, int]:
    return int(course.edges[segment.first]), min(int(course.edges[segment.last + 1]), n)


def _lowest(course: Course, loss: Floats) -> float:
    """The lowest of the course, or of a dip of three points that stands clear of the noise."""
    low = max(float(course.fit.min()), float(course.value.min()))
    if len(loss) >= 3:
        brief = float(median_of_three(loss).min()) if len(loss) < 100_000 else low
        near = float(median(course.noise))
        if low - brief > 12 * near and len(loss) > 200:
            return brief
    return low


def _first_plateau(linear: Course, logarithmic: Course | None, loss: Floats, low: float) -> Segment | None:
    """The first flat stretch that is long enough and lies above the middle of the drop, on either
    scale.
    """
    if logarithmic is None and len(linear.segments) == 1 and linear.segments[0].shape == "flat":
        return linear.segments[0]
    for course in (linear, logarithmic):
        if course is None:
            continue
        log = course is not linear
        fit = course.fit
        top, bottom = max(float(fit[0]), float(fit.max())), float(fit.min())
        middle = bottom + 0.5 * (top - bottom)
        before = fit[: int(np.argmax(fit > middle)) + 1]
        if float(fit[0]) < middle and float(before.min()) < bottom + 0.1 * (top - bottom):
            return None  # it only rises: no fall says that the high level is chance
        whole = max(course.epoch[-1] - course.epoch[0], 1e-300)
        lowest = int(fit.argmin())
        for segment in course.segments:
            if segment.first > lowest:
                break  # a plateau after the fall says nothing about chance
            points = int(course.edges[segment.last + 1] - course.edges[segment.first])
            long = segment.end - segment.start >= 0.05 * whole or points >= 40
            high = segment.level > bottom + 0.5 * (top - bottom) or _after_a_bad_start(course, segment, log)
            if segment.shape == "flat" and points >= 4 and long and high:
                if course is linear:
                    return segment
                a, b = _points(course, segment, len(loss))
                level = float(median(loss[a:b]))
                return Segment(
                    "flat", segment.first, segment.last, segment.start, segment.end, level, level, noise_of(loss[a:b])
                )
    return None


def _after_a_bad_start(course: Course, segment: Segment, log: bool) -> bool:
    """Whether a brief first fall leads to the flat ``segment``, which lasts, and from which the
    loss halves later.
    """
    after = course.fit[segment.last :]
    low = float(after.min())
    halves = segment.level - low > np.log(2.0) if log else low >= 0 and low < 0.5 * segment.level
    below = after < 0.5 * (segment.level + low)
    halves = halves and median(after[int(below.argmax()) :]) < 0.5 * (segment.level + low)  # and stays there
    start = float(course.epoch[0])
    level = abs(segment.change) < (0.1 if log else 0.1 * abs(segment.level))
    return bool(halves and level and segment.start - start < 0.25 * (segment.end - start))


def _by_loss(course: Course, loss: Floats, chance: float, low: float, noise: float) -> NDArray[np.bool_]:
    """Where the loss is below chance by a tenth of the drop and by more than the noise; one value
    alone is none."""
    drop = max(chance - low, 0.0)
    margin = OFF * drop
    if len(loss) <= 30:
        return np.asarray(loss < chance - margin)
    if 5 * max(noise, float(median(course.noise))) < margin:
        local = np.repeat(course.noise, np.diff(course.edges))  # half of the drop at most: swings look like noise
        clear = np.clip(5 * local, margin, 0.5 * drop)
        return np.asarray(median_of_three(np.pad(loss, 1, mode="edge")) < chance - clear)
    below = course.fit < chance - np.maximum(margin, 5 * course.error)
    return np.repeat(below, np.diff(course.edges))


def _by_accuracy(
    series: Series, given: float | None, plateau: Segment | None, first: tuple[int, int], inferred: list[str]
) -> tuple[Floats | None, float | None, NDArray[np.bool_] | None]:
    """Smoothed accuracy, its level at chance, and where it is above that; None where the column
    cannot say.

    Not used: an accuracy that never changes or is recorded at fewer than six points, and without a
    given level one whose run starts off a plateau, for then its level at chance is not known.
    """
    raw = series.accuracy
    if raw is None:
        return None, None, None
    known = np.flatnonzero(np.isfinite(raw))
    filled = np.flatnonzero(raw[known] != 0)
    if len(filled) and filled[0] > 0 and given != 0:  # a column that was not filled yet
        known = known[filled[0] :]
    values = raw[known]
    if len(known) < 6 or (np.ptp(values) == 0 and (given is None or abs(values[0] - given) > 1e-6)):
        return None, given, None
    quiet = noise_of(values)
    q = float(median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
    exact = q == 0.0 and np.ptp(values[:5]) == 0 and len(np.unique(values[:2000])) <= max(8, 0.02 * len(values))
    width = 1 if exact else int(np.clip(len(values) // 60, 3, 101)) | 1
    smooth = values if exact else uniform_filter1d(values, width, mode="reflect")
    full = np.interp(np.arange(len(raw)), known, smooth)
    if exact:
        at = np.searchsorted(known, np.arange(len(raw)), side="right") - 1
        full = smooth[np.maximum(at, 0)]
    level = given
    if level is None and plateau is None and not exact and _never_rises(values, quiet):
        inferred.append("chance_accuracy")  # at chance throughout, whatever the loss does
        return full, median(values), np.zeros(len(raw), dtype=bool)
    if level is None:
        inside = values[(known >= first[0]) & (known < first[1])]
        if plateau is None or len(inside) < 4:
            return full, None, None
        level = float(median(inside))
        if level <= 0.0 or level > 0.9:
            return full, None, None
        inferred.append("chance_accuracy")
    if exact:
        margin = 1e-9
    else:
        early = noise_of(values[: max(len(values) // 5, 12)])
        margin = max(6.0 * max(quiet, early) / np.sqrt(width), 0.04 * (1.0 - level))
        if margin > 0.25 * (1.0 - level):  # too noisy to show a rise
            return full, level, None
    return full, level, np.asarray(full > level + margin)
