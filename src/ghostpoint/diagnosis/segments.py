"""The record cut into straight pieces by exact penalised likelihood, and these joined to flat,
falling and rising ones.

The values of M bins, ``y_b = f(t_b) + s_b e_b`` with normal e_b, are fitted by the piecewise linear
f that minimises

    sum_b ((y_b - f(t_b)) / s_b)**2 + PENALTY log(M) (number of pieces)

over all ways to cut them (optimal partitioning: Jackson, B. et al. (2005). An algorithm for optimal
partitioning of data on an interval. IEEE Signal Processing Letters 12, 105-108; the exact recursion
that PELT prunes). Bins keep M below 250, so the recursion over all pairs costs milliseconds and
needs no pruning.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ghostpoint.diagnosis.series import median, median_of_five, memory_of, noise_by_level, noise_of, unseen

__all__ = ["Course", "Segment", "course_of"]

Floats = NDArray[np.float64]
_EVEN, _EARLY = 120, 50
#: points up to which noise may also be found by the level: longer records have ten windows of it
_LEVELLED = 300
#: points up to which the errors of bins hold the whole memory of the noise
FULL = 400
#: rows of the matrix of costs that are made at a time: what lies right of its diagonal is not
#: needed
_ROWS = 32
#: times log(M), a piece must improve the fit by this: twice the Bayesian information criterion for
#: three parameters
PENALTY = 6.0
#: standard errors by which the ends of a piece differ where it rises or falls
CLEAR = 4.0
#: standard errors by which a course falls in all
TREND = 6.4
#: share of the range within which a piece that is not steep counts as flat
FLAT = 0.05
#: least noise of a bin as a share of the range: finer detail is not cut
FLOOR = 0.004


@dataclass(frozen=True)
class Segment:
    """A stretch of the course: ``shape`` is "flat", "falling" or "rising"; ``first`` and ``last``
    are bins, both in it.

    ``start``, ``end`` are epochs, ``before``, ``after`` values of the fit at them, ``noise`` the
    standard deviation of one value about it. It is ``steep`` if the whole range would be passed at
    its rate in less than twice the record.
    """

    shape: str
    first: int
    last: int
    start: float
    end: float
    before: float
    after: float
    noise: float
    steep: bool = False

    @property
    def change(self) -> float:
        """From its start to its end."""
        return self.after - self.before

    @property
    def level(self) -> float:
        """Middle of the fit."""
        return 0.5 * (self.before + self.after)


@dataclass(frozen=True)
class Course:
    """The denoised course of a record on one scale.

    Attributes
    ----------
    epoch, value, fit, error : array of shape (M,)
        Middle epoch, median and fit of each bin, and the standard error of its median.
    edges : array of shape (M + 1,)
        Points of the record at which bins begin.
    noise : array of shape (M,)
        Standard deviation of one value about the course, near each bin.
    doubt : array of shape (M,)
        Standard error of the fit: at the ends of a line through m bins 2 / sqrt(m) that of a bin.
    segments : tuple of Segment
    """

    epoch: Floats
    value: Floats
    fit: Floats
    error: Floats
    edges: NDArray[np.int64]
    noise: Floats
    doubt: Floats
    segments: tuple[Segment, ...]

    @property
    def span(self) -> float:
        """Range of the fit."""
        return float(np.ptp(self.fit))

    @property
    def steps_down(self) -> float:
        """The mean of the bins up to one less that of the bins after it, in standard errors of
        their difference, for the bin of which that is largest; 0 for none.
        """
        weight = 1.0 / self.error**2
        sums, weights = np.cumsum(weight * self.value), np.cumsum(weight)
        rest = weights[-1] - weights[:-1]
        steps = sums[:-1] / weights[:-1] - (sums[-1] - sums[:-1]) / rest
        return float((steps / np.sqrt(1 / weights[:-1] + 1 / rest)).max(initial=0.0))


def course_of(epoch: Floats, values: Floats, logarithmic: bool = False) -> Course:
    """The course of ``values`` (n,) over ``epoch`` (n,), n >= 3; ``logarithmic`` says that they are
    logarithms.

    A record too short for windows that follow its noise is fitted twice, the second time with noise
    that grows with the level of the first fit where that is more.
    """
    values = _despiked(values)
    noise = _local_noise(values, _edges(len(values)))
    course = _fitted(epoch, values, noise)
    if len(values) <= _LEVELLED:
        fit = np.repeat(course.fit, np.diff(course.edges))
        # on a logarithmic scale the noise that does not grow with the level is as one over it
        by_level = noise_by_level(values, np.exp(-fit) if logarithmic else fit)
        by_level = np.add.reduceat(by_level, course.edges[:-1]) / np.diff(course.edges)
        if (by_level > 1.2 * noise).any():
            course = _fitted(epoch, values, np.maximum(by_level, noise))
    return course


def _fitted(epoch: Floats, values: Floats, noise: Floats) -> Course:
    """The course for the standard deviation ``noise`` of one value at each bin."""
    n = len(values)
    edges = _edges(n)
    count = np.diff(edges)
    middle = np.add.reduceat(epoch, edges[:-1]) / count
    value = _medians(values, edges)
    memory = memory_of(values)
    noise = noise * unseen(memory)
    scale = float(np.ptp(value))
    # noise with memory leaves more in the bins than independent noise would
    rough = 0.0
    if n > FULL:
        second = np.abs(np.diff(value[_EARLY // 2 :], 2))
        rough = float(1.4826 * median(second) / np.sqrt(6.0))
    error = np.where(count > 2, 1.25, 1.0) * noise / np.sqrt(count)
    if n <= FULL:  # bins of few values, whose noise is as correlated as that of the values
        error = error * np.sqrt((1.0 + memory) / (1.0 - memory))
    error = np.maximum(error, np.maximum(np.minimum(rough, noise), FLOOR * scale))
    # a record of nothing but zeros has an error too, whose fourth power has an inverse
    error = np.maximum(error, max(1e-12 * np.abs(value).max(), 1e-70))
    fit, pieces = _partition(middle, value, error)
    members = np.concatenate([np.full(j - i, j - i) for i, j in pieces])
    doubt = error * np.minimum(1.0, 2.0 / np.sqrt(members))
    course = Course(middle, value, fit, error, edges, noise, doubt, ())
    return replace(course, segments=tuple(_joined(course, pieces, epoch)))


def _edges(n: int) -> NDArray[np.int64]:
    """Points at which the bins of n values begin, and n."""
    if n <= _EVEN + _EARLY:
        return np.arange(n + 1)
    # bins of 1, 2, 4, ... points at the beginning, where a record may fall fast, until they are of
    # even size
    size = n // _EVEN
    early = [np.arange(20)]
    width = 1
    while width < size:
        early.append(np.asarray(early[-1][-1] + width * np.arange(1, 9)))
        width *= 2
    begin = np.concatenate(early)
    begin = begin[begin < n // 4]
    rest = np.arange(begin[-1] + size, n - size // 2, size)
    return np.concatenate([begin, rest, [n]]).astype(np.int64)


def _despiked(values: Floats) -> Floats:
    """Values that stand alone, eight deviations off the median of their five neighbours, replaced
    by it.
    """
    if len(values) < 20:
        return values
    middle = median_of_five(np.pad(values, 2, mode="edge"))
    off = np.abs(values - middle) > 8 * max(noise_of(values), 1e-12 * np.ptp(values))
    return np.where(off, middle, values) if off.mean() < 0.05 else values


def _medians(values: Floats, edges: NDArray[np.int64]) -> Floats:
    count = np.diff(edges)
    if count.max() == 1:
        return values.astype(np.float64)
    result = np.empty(len(count))
    for size in np.unique(count):
        rows = np.flatnonzero(count == size)
        block = values[edges[rows][:, None] + np.arange(size)]
        half = size // 2
        ordered = np.partition(block, (half - 1, half) if size % 2 == 0 else half, axis=1)
        result[rows] = ordered[:, half] if size % 2 else 0.5 * (ordered[:, half - 1] + ordered[:, half])
    return result


def _local_noise(values: Floats, edges: NDArray[np.int64]) -> Floats:
    """Noise in up to twelve windows of the record, at each bin; a window has 30 points at least."""
    n = len(values)
    windows = int(np.clip(n // 30, 1, 12))
    cuts = np.linspace(0, n, windows + 1).astype(int)
    each = np.array([noise_of(values[max(a - 2, 0) : b + 2]) for a, b in itertools.pairwise(cuts)])
    centres = 0.5 * (cuts[:-1] + cuts[1:])
    return np.interp(0.5 * (edges[:-1] + edges[1:]), centres, each)


def _partition(t: Floats, y: Floats, s: Floats) -> tuple[Floats, list[tuple[int, int]]]:
    """The best piecewise linear fit, and its pieces as ranges of bins."""
    m = len(t)
    x = (t - t[0]) / max(t[-1] - t[0], 1e-300)
    level = float(median(y))
    z, w = y - level, 1.0 / s**2
    sums = [np.concatenate([[0.0], np.cumsum(part)]) for part in (w, w * x, w * x * x, w * z, w * x * z, w * z * z)]
    penalty = PENALTY * np.log(max(m, 3))
    best = np.zeros(m + 1)
    best[0] = -penalty
    cut = np.zeros(m + 1, dtype=np.int64)
    for begin in range(1, m + 1, _ROWS):
        rows = range(begin, min(begin + _ROWS, m + 1))
        cost = _costs(sums, rows)
        for j in rows:
            total = best[:j] + cost[j - begin, :j]
            cut[j] = at = int(total.argmin())
            best[j] = total[at] + penalty
    pieces: list[tuple[int, int]] = []
    j = m
    while j > 0:
        pieces.append((int(cut[j]), j))
        j = int(cut[j])
    pieces.reverse()
    fit = np.empty(m)
    for i, j in pieces:
        if j - i == 1:
            fit[i] = y[i]
            continue
        ww = w[i:j]
        total = ww.sum()
        mean_x, mean_z = ww @ x[i:j] / total, ww @ z[i:j] / total
        off = ww * (x[i:j] - mean_x)
        scatter = float(off @ (x[i:j] - mean_x))
        slope = float(off @ (z[i:j] - mean_z)) / scatter if scatter > 0 else 0.0
        fit[i:j] = level + mean_z + slope * (x[i:j] - mean_x)
    return fit, pieces


def _costs(sums: list[Floats], rows: range) -> Floats:
    """Weighted squared residuals of the lines through bins i to j - 1: row j of ``rows``, column i
    < j.

    With sums over the bins of 1, x, x**2, z, x z, z**2 times w, here a to f, they are
    ``f - d**2 / a - (e - b d / a)**2 / (c - b**2 / a)``; none for a single bin.
    """
    begin, stop = rows.start, rows.stop
    a, b, c, d, e, f = (part[begin:stop, None] - part[None, : stop - 1] for part in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = d / a
        f -= d * mean
        e -= b * mean
        b *= b
        b /= a
        least = 1e-12 * c
        c -= b
        e *= e
        e /= c
        f -= np.where(c > least, e, 0.0)
    np.maximum(f, 0.0, out=f)
    for row, j in enumerate(rows):
        f[row, j - 1] = 0.0
    return f


def _joined(course: Course, pieces: list[tuple[int, int]], epoch: Floats) -> list[Segment]:
    """Pieces with their jumps, joined to segments of one shape."""
    fit, error, doubt_at, t = course.fit, course.error, course.doubt, course.epoch
    span = max(float(np.ptp(fit)), 1e-300)
    whole = max(t[-1] - t[0], 1e-300)
    marks: list[tuple[str, bool, int, int]] = []
    errors, noises = (np.concatenate([[0.0], np.cumsum(part)]) for part in (error, course.noise))
    steepest = 0.0  # of the fall so far: what is ten times slower than it is no more part of a drop
    for i, j in pieces:
        size = j - i
        if marks:
            jump = fit[i] - fit[i - 1]
            unsure = np.hypot(error[i], error[i - 1]) * (0.5 if size > 3 else 1.0)
            unsure = CLEAR * min(unsure, float(np.hypot(doubt_at[i], doubt_at[i - 1])))
            if abs(jump) > max(unsure, FLAT * span):
                marks.append(("falling" if jump < 0 else "rising", True, i - 1, i))
                if -jump > 0.15 * span:
                    steepest = max(steepest, -jump / max(t[i] - t[i - 1], 1e-300))
        change = fit[j - 1] - fit[i]
        # standard error of the difference of the ends of a fitted line: sqrt(12 / size) that of a
        # value
        doubt = float(errors[j] - errors[i]) / size * np.sqrt(12.0 / max(size, 2))
        duration = max(t[j - 1] - t[i], 1e-300)
        rate = abs(change) / duration
        steep = rate > max(0.5 * span / whole, 0.1 * steepest)
        flat = size == 1 or abs(change) <= CLEAR * doubt or (abs(change) <= FLAT * span and not steep)
        large = change < 0 and abs(change) > 0.15 * span
        steepest = 0.0 if flat or change > 0 else max(steepest, rate if large else 0.0)
        marks.append(("flat" if flat else "falling" if change < 0 else "rising", steep, i, j - 1))
    joined: list[tuple[str, bool, int, int]] = []
    for number, (shape, steep, i, j) in enumerate(marks):
        brief = shape == "flat" and i == j and len(marks) > 1
        # too short to be clear, but as steep as the fall or rise that it lies in
        around = marks[max(number - 1, 0) : number + 2 : 2]
        inside = len(around) == 2 and around[0][:2] == around[1][:2] != ("flat", around[0][1]) and around[0][1]
        if brief or (shape == "flat" and steep and inside):
            continue
        steep = steep and shape != "flat"
        if joined and joined[-1][:2] == (shape, steep):
            joined[-1] = (shape, steep, joined[-1][2], j)
        else:
            joined.append((shape, steep, i, j))
    joined = joined or [("flat", False, 0, len(fit) - 1)]
    joined[0] = (*joined[0][:2], 0, joined[0][3])
    joined[-1] = (*joined[-1][:3], len(fit) - 1)
    found = []
    for shape, steep, i, j in joined:
        inner = fit[i + 1 : j] if shape == "flat" and j - i > 2 else fit[i : j + 1]
        before, after = (float(inner[0]), float(inner[-1]))
        start = float(epoch[0]) if i == 0 else float(t[i])
        end = float(epoch[-1]) if j == len(t) - 1 else float(t[j])
        found.append(
            Segment(shape, i, j, start, end, before, after, float(noises[j + 1] - noises[i]) / (j + 1 - i), steep)
        )
    return found
