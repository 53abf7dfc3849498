"""One network's curves, cleaned, and the levels and events read off them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ghostpoint.diagnosis.signals import course, flat_stretches, noise_of, window_of

__all__ = ["Levels", "Series", "levels_of"]

Floats = NDArray[np.float64]
#: points to which a curve is thinned to look for flat stretches
_THINNED = 400
#: share of the record that a flat stretch must last to be a plateau, and of the whole drop that it may span
PLATEAU, FLAT = 0.1, 0.06
#: share of the drop from chance at which a network is off chance
OFF = 0.1
#: a constant answer to two equally frequent targets has half the loss of the worst: a start below was trained before
HEDGED = 0.45
#: noise that a dip of three points must exceed to be one
CLEAR = 12.0


@dataclass(frozen=True)
class Series:
    """Curves of one network at the epochs whose loss is finite; those that are not known are None.

    ``blown``: the epoch from which on the loss is never finite again, if that is no mere gap, else NaN; ``infinite``:
    whether any loss was; ``missing``: epochs without a finite loss before.
    """

    epoch: Floats
    loss: Floats
    gradient: Floats | None
    accuracy: Floats | None
    confidence: Floats | None
    rate: Floats | None
    blown: float
    infinite: bool
    missing: int

    @classmethod
    def of(cls, epoch: Floats, curves: dict[str, Floats]) -> Series:
        """The series of one network's arrays over ``epoch``, NaN where missing."""
        loss = curves["loss"]
        kept = np.isfinite(loss)
        runs = np.diff(np.flatnonzero(np.concatenate([[True], kept, [True]]))) - 1
        last, earlier = int(runs[-1]), int(runs[:-1].max(initial=0))
        infinite = bool(np.isinf(loss).any())
        # one missing value at the end among missing values elsewhere is a gap; a run longer than all gaps is the end
        ended = last > 0 and kept.any() and (last >= max(3, 3 * earlier) or bool(np.isinf(loss[-last:]).any()))
        blown = float(epoch[len(loss) - last]) if ended else np.nan

        def chosen(name: str) -> Any:
            values = curves.get(name)
            return None if values is None or not np.isfinite(values[kept]).any() else values[kept]

        return cls(
            epoch=epoch[kept],
            loss=loss[kept],
            gradient=chosen("gradient_norm"),
            accuracy=chosen("accuracy"),
            confidence=chosen("confidence"),
            rate=chosen("learning_rate"),
            blown=blown,
            infinite=infinite,
            missing=int((~kept).sum()) - (last if ended else 0),
        )


@dataclass(frozen=True)
class Levels:
    """Levels of a series of n points, in units of its loss, and where it is off chance.

    ``smooth`` (n,): running median; ``noise``: of the loss early on; ``chance``, ``low``: the level of chance and
    the lowest of the smooth course; ``lowest``: of the loss itself, where that is far beyond the noise, else
    ``low``; ``fallen``: from the median of the first tenth to that of the last; ``accuracy_at_chance``: or None;
    ``inferred``: names of what had to be inferred; ``off`` (n,): accuracy above chance if it is known, else loss
    below chance by a tenth of the whole drop; by more than the noise in either case.
    """

    smooth: Floats
    noise: float
    chance: float
    low: float
    lowest: float
    fallen: float
    accuracy_at_chance: float | None
    inferred: tuple[str, ...]
    off: NDArray[np.bool_]

    @property
    def drop(self) -> float:
        """From chance to the lowest of the smooth course."""
        return max(self.chance - self.low, 0.0)

    @property
    def share(self) -> float:
        """The deepest fall as a share of chance; NaN where losses are not all positive: a share would mean nothing."""
        return max(self.chance - self.lowest, 0.0) / self.chance if self.lowest >= 0 and self.chance > 0 else np.nan

    @property
    def significant(self) -> bool:
        """Whether the drop stands clear of what the running median, or a tenth of the record, leaves of the noise."""
        if self.drop > 8 * _left(self.noise, len(self.smooth)) or self.lowest < self.low:
            return True
        return self.fallen > 8 * 1.25 * self.noise / np.sqrt(max(len(self.smooth) // 10, 1))


def levels_of(series: Series, chance_loss: float | None, chance_accuracy: float | None) -> Levels:
    """Measure the levels; what is not given is inferred: the first flat stretch above the middle, else the start."""
    loss, n = series.loss, len(series.loss)
    smooth = course(loss)
    few = min(max(n // 100, 3), 20)
    start, low = float(np.median(loss[:few])), float(smooth.min())
    plateau = _first_plateau(smooth, start, low)
    inferred = []
    level = float(np.median(loss[slice(*plateau)]))
    if chance_loss is None:
        chance = level
        inferred.append("chance_loss")
    elif start < HEDGED * chance_loss:
        chance = chance_loss
    else:
        chance = min(chance_loss, level)
    accuracy = series.accuracy
    at_chance = None
    if accuracy is not None:
        at_chance = chance_accuracy
        if at_chance is None:
            at_chance = float(np.nanmedian(accuracy[slice(*plateau)]))
            inferred.append("chance_accuracy")
        quiet = noise_of(_filled(accuracy)[slice(*plateau)])
        values = course(_filled(accuracy)) if quiet > 0 else accuracy
        off = np.nan_to_num(values, nan=at_chance) > at_chance + max(4 * quiet, 1e-9)
    noise = noise_of(loss[: max(plateau[1], few, 12)])
    # a network that learns and is lost within a few epochs leaves no trace in the running median
    brief = float(median_filter(loss, 3, mode="nearest").min())
    lowest = min(brief, low) if chance - brief > CLEAR * noise else low
    drop = max(chance - lowest, 0.0)
    if accuracy is None:
        noisy = 5 * noise > OFF * drop
        margin = max(OFF * drop, 5 * _left(noise, n)) if noisy else OFF * drop
        off = (smooth if noisy else loss) < chance - margin
    tenth = max(n // 10, 1)
    fallen = float(np.median(loss[:tenth]) - np.median(loss[-tenth:]))
    return Levels(smooth, noise, chance, low, lowest, fallen, at_chance, tuple(inferred), np.asarray(off))


def _first_plateau(smooth: Floats, start: float, low: float) -> tuple[int, int]:
    """The first flat stretch that lies above the middle of the drop, or the first few points."""
    few = min(max(len(smooth) // 100, 3), 20)
    stride = max(1, len(smooth) // _THINNED)
    thin = smooth[::stride]
    span = max(start - low, 0.0)
    for first, stop in flat_stretches(thin, FLAT * max(span, 1e-12 * abs(start)), max(int(PLATEAU * len(thin)), 5)):
        if np.median(thin[first:stop]) > low + 0.5 * span:
            return first * stride, min(stop * stride, len(smooth))
    return 0, few


def _left(noise: float, points: int) -> float:
    """Standard deviation that independent normal noise keeps in the running median of a record."""
    return float(1.25 * noise / np.sqrt(window_of(points)))


def _filled(values: Floats) -> Floats:
    """Missing values replaced by the neighbours' line."""
    known = np.isfinite(values)
    return np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])
