"""One run's curves, cleaned: finite losses at ascending epochs, repeated and interpolated values
found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostpoint.diagnosis.history import RunHistory

__all__ = [
    "Series",
    "held",
    "median",
    "median_of_five",
    "median_of_three",
    "memory_of",
    "noise_by_level",
    "noise_of",
    "quantum_of",
    "unseen",
]

Floats = NDArray[np.float64]
#: points at either end of a run of NaN that decide between a gap and the end of the record
_GAP = 3
#: the noise that grows with the level over the other, at the median level: those that are tried
_RATIOS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e4, 1e8)


def median(values: Floats) -> float:
    """Median of finite numbers (n,), n >= 1: what ``np.median`` returns, at a third of its cost for
    few numbers.
    """
    half = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    part = np.partition(values, (half - 1, half))
    return float(0.5 * (part[half - 1] + part[half]))


def median_of_three(values: Floats) -> Floats:
    """Running medians of three, (n,) to (n - 2,)."""
    a, b, c = values[:-2], values[1:-1], values[2:]
    return np.asarray(np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c)))


def median_of_five(values: Floats) -> Floats:
    """Running medians of five, (n,) to (n - 4,): the median of e and of what is neither least nor
    largest of a to d.
    """
    a, b, c, d, e = (values[i : len(values) - 4 + i] for i in range(5))
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.asarray(np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), e)))


def noise_of(values: Floats) -> float:
    """Standard deviation of independent noise on a smooth curve:
    ``1.4826 median |y[i-1] - 2 y[i] + y[i+1]| / sqrt 6``.

    Second differences remove what is linear over three points. Rounding to a grid of step q adds
    ``q / sqrt 12``. 0 for fewer than five points.
    """
    if len(values) < 5:
        return 0.0
    second = np.abs(np.diff(values, 2))
    return float(max(1.4826 * median(second) / np.sqrt(6.0), quantum_of(values) / np.sqrt(12.0)))


def noise_by_level(values: Floats, level: Floats) -> Floats:
    """Standard deviation (n,) of noise whose variance is ``a + b level**2``.

    The ratio of the two parts is the likeliest of :data:`_RATIOS` for the second differences of the
    values, taken to be Laplace distributed, so that a jump says little. 0
    for fewer than five points.
    """
    if len(values) < 5:
        return np.zeros(len(values))
    second = np.abs(np.diff(values, 2)) / np.sqrt(6.0)
    relative = np.clip(np.abs(level) / max(median(np.abs(level)), 1e-300), 1e-50, 1e50)
    least, best = np.inf, np.zeros(len(values))
    for ratio in _RATIOS:
        shape = np.hypot(1.0, ratio * relative)
        scaled = second / shape[1:-1]
        surprise = float(np.log(shape[1:-1]).sum() + len(scaled) * np.log(max(float(scaled.mean()), 1e-300)))
        if surprise < least:
            least, best = surprise, np.asarray(1.4826 * median(scaled) * shape)
    return best


def unseen(memory: float) -> float:
    """Standard deviation of noise with memory r over what its second differences show, for they
    show the share ``(1 - r) (3 - r) / 3`` of its variance."""
    return float(np.sqrt(3.0 / ((1.0 - memory) * (3.0 - memory))))


def memory_of(values: Floats) -> float:
    """Correlation r of neighbours in noise ``e[i] = r e[i-1] + w[i]`` on a smooth curve, in [0,
    0.95]; 0 where that is not clear.

    The variances of first and second differences have the ratio 1 to 3 - r. They are taken in
    windows of at least 50 values about their medians, so that a slope counts for nothing. A curve
    that bends or swings makes r larger, so nearly the least of the windows is taken, less two
    standard errors, ``2 / sqrt(n)``. Where the ratio is under 1.7, the curve bends by more than its
    noise; where the variance of differences over four values is not near ``1 + r + r**2 + r**3``
    times that of the first ones, it swings. Nothing is known of the noise then.
    """
    n = len(values)
    if n < 100:
        return 0.0
    memories = []
    for part in np.array_split(values, min(n // 50, 6)):
        first = _spread_of(np.diff(part))
        ratio = _spread_of(np.diff(part, 2)) / first if first > 0 else 3.0
        r = min(max(3.0 - ratio, 0.0), 1.0)
        distant = _spread_of(part[4:] - part[:-4]) / max(first * (1 + r + r * r + r**3), 1e-300)
        memories.append(r if ratio > 1.7 and 0.6 < distant < 1.5 else 0.0)
    return float(np.clip(np.quantile(memories, 0.1) - 2.0 / np.sqrt(n), 0.0, 0.95))


def _spread_of(values: Floats) -> float:
    """Variance of what is within three normal deviations of the median; the rest counts as if it
    were at three."""
    rest = values - median(values)
    edge = 3 * 1.4826 * median(np.abs(rest))
    return float((np.clip(rest, -edge, edge) ** 2).mean())


def quantum_of(values: Floats) -> float:
    """Step of the grid to which values are rounded; 0 if fewer than half of them repeat an earlier
    value.
    """
    head = values if len(values) <= 4000 else values[:: len(values) // 4000 + 1]
    unique = np.unique(head)
    if 2 * len(unique) > len(head) or len(unique) < 4:
        return 0.0
    step = float(np.min(np.diff(unique)))
    return step if step < 0.05 * (unique[-1] - unique[0]) or len(unique) >= 8 else 0.0


def held(values: Floats) -> NDArray[np.int64] | None:
    """Indices of the independent values, where others repeat or interpolate them; None if all are
    independent.

    A record is taken as held if at least half of its values equal the one before in runs of similar
    length, and as interpolated if at least two thirds of its second differences vanish to rounding.
    """
    n = len(values)
    if n < 12:
        return None
    step = np.diff(values)
    same = step == 0
    if same.mean() >= 0.5 and quantum_of(values) < 1e-3 * np.ptp(values):
        knots = np.concatenate([[0], np.flatnonzero(~same) + 1])
        length = np.diff(np.append(knots, n))
        usual = median(length)
        like = (length >= 0.5 * usual) & (length <= 2 * usual)
        if len(knots) >= 5 and usual >= 2 and length[like].sum() >= 0.7 * n:
            return np.concatenate([np.arange(a, a + size, int(usual)) for a, size in zip(knots, length, strict=True)])
    scale = np.abs(values[1:-1]) + np.abs(np.diff(values, 2))
    straight = np.abs(np.diff(values, 2)) <= 1e-9 * scale
    moving = ~(same[1:] & same[:-1])
    if (
        moving.sum() >= 12
        and straight[moving].mean() >= 0.66
        and (np.abs(np.diff(values, 2))[~straight] > 1e-6 * np.ptp(values)).any()
    ):
        knots = np.concatenate([[0], np.flatnonzero(~straight) + 1, [n - 1]])
        # a curve of three straight pieces has few knots, an interpolated record has them at regular
        # distances
        gaps = np.diff(knots)
        if len(knots) >= 8 and median(gaps) >= 2 and (gaps <= 2 * median(gaps)).mean() > 0.8:
            return knots
    return None


@dataclass(frozen=True)
class Series:
    """Curves of one run at the epochs whose loss is finite; those that are not known are None.

    Attributes
    ----------
    epoch, loss : array of shape (n,)
    gradient, accuracy, confidence, rate, validation, spread : array of shape (n,) or None
        NaN where not recorded; None also where no loss is finite.
    blown : float
        Epoch from which on the loss is never finite again, if that is no gap and no padding; else
        NaN.
    infinite : bool
        Whether any loss is infinite or was written down as NaN.
    missing : int
        Epochs without a finite loss before that.
    """

    epoch: Floats
    loss: Floats
    gradient: Floats | None
    accuracy: Floats | None
    confidence: Floats | None
    rate: Floats | None
    validation: Floats | None
    spread: Floats | None
    blown: float
    infinite: bool
    missing: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, run: RunHistory) -> Series:
        """The series of ``run``."""
        loss = run.curves["loss"]
        epoch = run.epoch
        kept = np.isfinite(loss)
        written = kept if run.broken is None else kept | run.broken
        notes: list[str] = []
        end = len(loss)
        if run.broken is not None:  # rows after the last written loss say nothing about it
            end = int(np.flatnonzero(written)[-1]) + 1 if written.any() else 0
        runs = np.diff(np.flatnonzero(np.concatenate([[True], kept[:end], [True]]))) - 1
        last, earlier = int(runs[-1]), int(runs[:-1].max(initial=0))
        infinite = bool(np.isinf(loss).any())
        shown = run.broken is not None and bool(run.broken[end - last : end].any())
        # one missing value at the end among missing values elsewhere is a gap; a run longer than
        # all gaps is the end
        ended = last > 0 and (shown or last >= max(_GAP, 3 * earlier) or bool(np.isinf(loss[end - last : end]).any()))
        if ended and run.padded and not infinite and not shown:
            ended = False
            notes.append(f"ends at epoch {epoch[end - last - 1]:g}: other runs are longer" if kept.any() else "empty")
        blown = float(epoch[end - last]) if ended and end else np.nan
        missing = int((~kept[:end]).sum()) if run.broken is None else int(run.broken.sum())
        missing -= last if ended else 0

        def chosen(name: str) -> Floats | None:
            values = run.curves.get(name)
            if values is None or not kept.any() or not np.isfinite(values).any():
                return None
            return values[kept] if np.isfinite(values[kept]).any() else _carried(values)[kept]

        validation = run.curves.get("validation_loss")
        if validation is not None:
            validation = _carried(validation)[kept] if kept.any() else None
        return cls(
            epoch=epoch[kept],
            loss=loss[kept],
            gradient=chosen("gradient_norm"),
            accuracy=chosen("accuracy"),
            confidence=chosen("confidence"),
            rate=chosen("learning_rate"),
            validation=validation,
            spread=chosen("answer_spread"),
            blown=blown,
            infinite=infinite or shown,
            missing=max(missing, 0),
            notes=tuple(notes),
        ).independent()

    def independent(self) -> Series:
        """The series at its independent values alone, if others repeat or interpolate them."""
        knots = held(self.loss)
        if knots is None:
            return self
        note = f"the loss is repeated or interpolated: {len(knots)} of {len(self.loss)} values are independent"
        parts = {name: values if values is None else values[knots] for name, values in self._curves().items()}
        return Series(
            self.epoch[knots], self.loss[knots], **parts, blown=self.blown, infinite=self.infinite,
            missing=self.missing,
            notes=(*self.notes, note),
        )  # fmt: skip

    def _curves(self) -> dict[str, Floats | None]:
        return {
            name: getattr(self, name) for name in ("gradient", "accuracy", "confidence", "rate", "validation", "spread")
        }


def _carried(values: Floats) -> Floats:
    """Each missing value replaced by the last one before it; NaN before the first."""
    known = np.isfinite(values)
    at = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return np.where(at >= 0, values[np.maximum(at, 0)], np.nan)
