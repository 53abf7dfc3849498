"""Rules about a loss that rises: divergence, over-fitting, restarts of a schedule, and a rise to
the end."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from ghostpoint.diagnosis.drops import drops_of
from ghostpoint.diagnosis.judged import RISE_OF_LEVEL, Judged, brief, known
from ghostpoint.diagnosis.levels import Levels
from ghostpoint.diagnosis.segments import CLEAR, Segment, course_of
from ghostpoint.diagnosis.series import Series, median, median_of_three

__all__ = ["diverged", "overfits", "restarted", "rises"]

#: growth beyond the start that is called divergence: at once, or where it still accelerates
BLOWN_UP, GROWING = 10.0, 3.0
#: a rise from the lowest loss as a share of the drop
RISE = 0.08


def diverged(series: Series, levels: Levels, k: float) -> Judged | None:
    """Not finite to the end, or far above the start and still growing; ``k`` multiplies thresholds,
    here and below."""
    loss = series.loss
    end = float(median(loss[-3:]))
    if np.isfinite(series.blown):
        early = float(median(loss[: max(3, len(loss) // 10)]))
        grown = end > 2 * max(early, levels.chance) or _gradient_blew_up(series)
        notes = [] if series.infinite or grown else [
            "the loss is NaN to the end without growth before: a record that stops looks alike"
        ]  # fmt: skip
        evidence = {"first_epoch_not_finite": series.blown, "last_finite_loss": end}
        since = _last_low(series) if grown else np.nan
        return Judged("divergence", evidence, notes, guessed=bool(notes), since=since)
    top = max(levels.chance, float(median(loss[:3])))
    if levels.low < 0 or top <= 0 or end <= 0:
        return None
    relative = end / top
    if relative > GROWING * k:
        # growth that accelerates: the last half of the rise takes less than a quarter of its time
        fit, epoch = levels.linear.fit, levels.linear.epoch
        first = int(fit.argmin())
        half = first + int(np.argmax(fit[first:] > 0.5 * (fit[first] + end)))
        sudden = epoch[-1] - epoch[half] < 0.3 * max(epoch[-1] - epoch[first], 1e-300)
        still = fit[-1] > 1.2 * fit[max(len(fit) - max(len(fit) // 10, 3), 0)]
        if (sudden and still) or relative > 1e3 or (relative > BLOWN_UP * k and still):
            return Judged("divergence", {"end_over_chance": relative, "last_loss": end}, since=_last_low(series))
    return None


def _last_low(series: Series) -> float:
    """The last epoch at which the loss was at its lowest, to its noise: all that comes after it is
    growth. NaN for losses below zero.
    """
    if not (series.loss >= 0).all() or not series.loss.any():
        return float("nan")
    loss = np.maximum(series.loss, series.loss[series.loss > 0].min())
    calm = np.concatenate([loss[:1], median_of_three(loss), loss[-1:]])
    noise = float(median(np.abs(np.diff(np.log(loss), 2))))
    return float(series.epoch[np.flatnonzero(calm <= calm.min() * np.exp(0.02 + 3 * noise))[-1]])


def _gradient_blew_up(series: Series) -> bool:
    g = series.gradient
    if g is None or np.isnan(g[-1]):
        return False
    return bool(g[-1] > 100 * np.nanmedian(g) or np.isinf(g[-1]))


def overfits(series: Series, levels: Levels, k: float) -> Judged | None:
    """A validation loss that rises beside a training loss that falls."""
    values = series.validation
    if values is None:
        return None
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        known = known[np.concatenate([[True], np.diff(values[known]) != 0])]
    if len(known) < 5:
        return None
    course = course_of(series.epoch[known], values[known])
    low_at = int(course.fit.argmin())
    low, end = float(course.fit[low_at]), float(course.fit[-max(len(course.fit) // 20, 1) :].mean())
    drop = max(float(course.fit[0]) - low, 0.0)
    clear = end - low > CLEAR * np.hypot(course.doubt[low_at], course.doubt[-1]) * 1.2
    high = end - low > k * max(0.15 * drop, 0.1 * abs(low))
    falls = levels.end < levels.chance - 0.1 * max(levels.drop, 0.0) and levels.end - levels.low < 0.1 * levels.drop
    falls = falls and levels.drop > CLEAR * float(median(levels.linear.error))
    if not (clear and high and falls and course.epoch[-1] > course.epoch[low_at]):
        return None
    since = float(course.epoch[low_at])
    evidence = {"lowest_validation_loss": low, "last_validation_loss": end, "rises_since": since}
    note = "over-fitting: the validation loss rises while the training loss falls"
    return Judged("rise of the loss", evidence, [note], drops_of(series, levels), since=since)


def restarted(series: Series, levels: Levels, k: float) -> Judged | None:
    """The loss jumps up, with the learning rate if that is known, and comes down again."""
    rises = [s for s in levels.linear.segments if s.shape == "rising"]
    if not rises:
        return None
    size = max(levels.drop, 0.3 * abs(levels.chance))
    found, falls = [], []
    for rise in rises:
        if rise.change < 0.08 * k * size and rise.change < 0.25 * abs(rise.before):
            continue
        after = [s for s in levels.linear.segments if s.first >= rise.last and s.shape == "falling"]
        back = bool(after) and min(s.after for s in after) < rise.before + 0.6 * rise.change
        if not back:
            continue
        if series.rate is not None:
            whole = series.epoch[-1] - series.epoch[0]
            near = (series.epoch >= rise.start - 0.03 * whole) & (series.epoch <= rise.end + 0.01 * whole)
            rates = series.rate[near]
            low = float(np.nanmin(rates[: max(len(rates) // 2, 1)])) if len(rates) > 1 else np.inf
            # the rate was higher once, low then, and is higher again: else it warms up
            fallen = series.rate[: int(np.argmax(near)) + 1] > 1.5 * low
            if np.nanmax(rates, initial=0.0) > 1.5 * low and fallen.any():
                found.append(rise)
        else:
            fall = after[0]
            learned = rise.change > 0.08 * k * size and rise.before < levels.chance
            if learned and fall.end - fall.start > 4 * (rise.end - rise.start):
                found.append(rise)
                falls.append(_half_way_back(series, rise))
    needed = 1 if series.rate is not None else 2
    changes = series.rate is not None and np.nanmax(series.rate) > 1.2 * np.nanmin(series.rate)
    if series.rate is None and len(found) > 1:  # a schedule repeats itself
        gaps = np.diff([levels.linear.epoch[0], *(rise.start for rise in found)])
        if gaps.max() > 2.2 * gaps.min() or min(falls) < 0.05 * gaps.min():
            return None  # at no regular distances, or spikes: half of the fall takes a good part of a cycle
    if len(found) < needed or (series.rate is not None and not changes):
        return None
    evidence = {
        "restarts": float(len(found)),
        "last_restart": found[-1].start,
        "lowest_loss": levels.low,
        "last_loss": levels.end,
    }
    notes = (
        [] if series.rate is not None else ["no learning rate is recorded: restarts are inferred from the saw-tooth"]
    )
    drops, guessed = drops_of(series, levels), series.rate is None
    return Judged("restart of a schedule", evidence, notes, drops, since=found[-1].end, guessed=guessed)


def _half_way_back(series: Series, rise: Segment) -> float:
    """Epochs from the top of a rise until the loss has come down half of it."""
    top = int(np.argmax(np.where((series.epoch >= rise.start) & (series.epoch <= rise.end), series.loss, -np.inf)))
    below = series.loss[top:] < 0.5 * (series.loss[top] + rise.before)
    return float(series.epoch[top + int(below.argmax())] - series.epoch[top])


def rises(series: Series, levels: Levels, k: float) -> Judged | None:
    """The end lies clear above the lowest loss."""
    if brief(series, levels):
        return None
    course = levels.linear
    # the lowest level that was held for a tenth of the record: a dip of a few epochs is no state to
    # return to
    width = max(len(course.fit) // 10, 3) | 1
    held = median_filter(course.value if len(course.fit) > 40 else course.fit, width, mode="nearest")
    low_at = int(held.argmin())
    low, end = float(held[low_at]), levels.end
    rise = end - low
    drop = max(levels.chance - low, 0.0)
    unsure = 1.3 * float(np.hypot(course.doubt[low_at], course.doubt[-1]))
    if len(course.fit) >= 60:  # both are medians of few bins
        few = max(len(course.fit) // 40, 3)
        unsure = max(unsure, float(np.hypot(course.error[low_at] / np.sqrt(width), course.error[-1] / np.sqrt(few))))
    clear = rise > CLEAR * unsure
    if low_at > len(course.fit) - 3 and len(course.fit) > 20:
        return None
    big = rise > k * RISE * drop and rise > k * RISE_OF_LEVEL * max(abs(low), 0.1 * drop)
    if not (clear and big):
        return None
    # answers that are as right as before: what rose is the confidence in the others
    if levels.by_accuracy and levels.off[-max(len(levels.off) // 20, 1) :].mean() > 0.9 and rise < 0.6 * k * drop:
        return None
    since = float(course.epoch[low_at])
    evidence = {"lowest_loss": low, "last_loss": end, "rise": rise, "rises_since": since, "drop_share": levels.share}
    notes = []
    if end > levels.chance + 0.2 * abs(levels.chance):
        notes.append("the loss ends above its start")
    return Judged("rise of the loss", known(evidence), notes, drops_of(series, levels), since=since)
