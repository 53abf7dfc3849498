"""From segments and levels to the verdict on one run: the rules, in the order in which they are
asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ghostpoint.diagnosis.drops import abrupt_share, drops_of, stairs
from ghostpoint.diagnosis.judged import RISE_OF_LEVEL, SPELL_POINTS, Judged, brief, known, spell_epochs
from ghostpoint.diagnosis.levels import Levels, tail_is_flat
from ghostpoint.diagnosis.rises import diverged, overfits, restarted, rises
from ghostpoint.diagnosis.segments import CLEAR, FULL, TREND
from ghostpoint.diagnosis.series import Series, median, median_of_three, noise_of
from ghostpoint.diagnosis.swings import SPAN, Swing, loud_blocks

__all__ = ["FEWEST", "judge"]

#: points below which nothing is said
FEWEST = 5
#: shares of chance: below the first a change of the loss is none, from the second on it is one
NOTHING, SOMETHING = 0.03, 0.1
#: gradient in the no-learning zone, as a share of its largest
FLAT_GRADIENT = 1e-2
#: losses of constant answers that are looked for: log K of cross-entropy, 1/4 of squared error to 0
#: and 1
CONSTANTS = {"log 2": np.log(2), "log 3": np.log(3), "log 4": np.log(4), "log 10": np.log(10), "1/4": 0.25}
#: odds that a loss ends at one of them and not elsewhere, and the factor within which it ends
#: elsewhere
ODDS, ELSEWHERE = 0.02, 100.0
#: standard error of such a level as a share of it: classes are not quite equally frequent
UNEQUAL = 0.001


def judge(series: Series, levels: Levels, swing: Swing | None, strictness: float = 1.0) -> Judged:
    """The verdict on a series with at least :data:`FEWEST` points.

    ``strictness`` multiplies every threshold; verdicts that change with it are less sure.
    """
    k = strictness
    found = (
        diverged(series, levels, k)
        or overfits(series, levels, k)
        or (restarted(series, levels, k) if series.rate is not None else None)
        or _swings(series, levels, swing if swing is not None and swing.regular else None, k)
        or _never_learned(series, levels, k)
        or _lost(series, levels, k)
        or _swings(series, levels, swing, k)
        or (restarted(series, levels, k) if series.rate is None else None)
        or _recovered(series, levels, k)
        or rises(series, levels, k)
        or _constant(series, levels, k)
    )
    return found or _learned(series, levels, k)


def _never_learned(series: Series, levels: Levels, k: float) -> Judged | None:
    """Flat throughout, or never off chance."""
    course, share = levels.linear, levels.share
    evidence = {"chance_loss": levels.chance, "drop_share": share, "gradient_share": _gradient_share(series)}
    if series.gradient is not None:
        evidence["last_gradient_norm"] = float(series.gradient[-1])
    evidence = known(evidence)
    given = "chance_loss" not in levels.inferred
    error = float(median(course.error))
    moved = (_significant(levels) and not share < NOTHING * k) or _falls_by_decades(levels)
    if (
        given
        and levels.chance > 0
        and levels.start < 0.45 * levels.chance
        and not _moved(levels)
        and levels.end < 0.45 * levels.chance
    ):
        return Judged("converged", evidence, ["flat below chance from the beginning: trained before"])
    if levels.by_accuracy and _answers_rose(series, levels):
        return None
    rise = levels.end - min(levels.low, levels.chance)
    if rise > k * RISE_OF_LEVEL * abs(levels.chance) and rise > CLEAR * 1.5 * error and not _oscillates(levels):
        high = levels.end - levels.chance
        if high > k * RISE_OF_LEVEL * abs(levels.chance) and high > 0.5 * levels.drop:
            return None  # a rise: asked below
    if levels.by_accuracy and moved and not share <= 0.5:
        drops = drops_of(series, levels)
        notes = [f"the loss has fallen by {share:.0%} of chance, the accuracy has not risen"]
        flat, since = tail_is_flat(series, levels)
        if flat and levels.accuracy is not None and float(np.ptp(levels.accuracy)) > 0:
            return Judged("plateau at a constant answer", evidence, notes, drops, since=since)
        return _constant(series, levels, k) or Judged("gradual learning", evidence, notes, drops)
    if levels.by_accuracy or not moved or (share < SOMETHING * k and _wanders(levels)):
        return Judged("plateau at chance", evidence, since=series.epoch[0])
    if not np.isnan(share) and share < SOMETHING * k and _significant(levels):
        if levels.accuracy is not None and float(np.ptp(levels.accuracy)) > 0.1:
            return None
        if tail_is_flat(series, levels)[0] and levels.plateau is None and levels.end < levels.start:
            # a first fall of a few points onto a plateau: chance is where it stays
            fall = course.segments[0]
            if fall.end - fall.start < 0.2 * (series.epoch[-1] - series.epoch[0]):
                return Judged("plateau at chance", evidence, since=fall.end)
        note = f"the loss has fallen by {share:.1%} only, and without the accuracy that says little"
        return Judged("cannot tell", evidence, [note])
    return None


def _answers_rose(series: Series, levels: Levels) -> bool:
    """Whether the mean accuracy where the run is off chance exceeds that at chance by its standard
    errors."""
    if series.accuracy is None or levels.accuracy_at_chance is None or not levels.off.any():
        return False
    known = np.isfinite(series.accuracy)
    known &= np.cumsum(np.nan_to_num(series.accuracy)) > 0  # before that the column was not filled
    above = series.accuracy[known & levels.off]
    if not len(above):  # none was recorded there: what lies between is interpolated
        return False
    error = noise_of(series.accuracy[known]) / np.sqrt(len(above))
    return bool(above.mean() - levels.accuracy_at_chance > CLEAR * error)


def _wanders(levels: Levels) -> bool:
    """Whether the course goes up and down without a trend: noise with memory, such as that of a
    running average.
    """
    value = levels.linear.value
    fifth = max(len(value) // 5, 1)
    trend = abs(float(median(value[-fifth:]) - median(value[:fifth])))
    turns = [s.shape for s in levels.linear.segments if s.shape != "flat"]
    return trend < 0.5 * levels.linear.span and "rising" in turns and "falling" in turns


def _moved(levels: Levels) -> bool:
    """Whether the course leaves its first value by more than its errors and a tenth of itself."""
    away = float(np.abs(levels.linear.fit - levels.linear.fit[0]).max())
    return away > max(0.1 * abs(levels.start), CLEAR * float(median(levels.linear.error)))


def _oscillates(levels: Levels) -> bool:
    shapes = [s.shape for s in levels.linear.segments if s.shape != "flat"]
    return len(shapes) > 4


def _significant(levels: Levels) -> bool:
    """Whether the course falls from chance by more than its errors."""
    course = levels.linear
    low_at = int(course.fit.argmin())
    if len(course.fit) > 30 and 0 < low_at < len(course.fit) - 1:  # a bin alone may be a rare batch
        lowest = float(median_of_three(course.fit).min())
        if levels.chance - lowest < 0.3 * levels.drop:
            return False
    if levels.drop > TREND * float(np.hypot(course.doubt[low_at], course.doubt[0])):
        return True
    # few values make no line sure, but their means are; bins of many have noise with memory
    return int(course.edges[-1]) <= FULL and course.steps_down > TREND


def _falls_by_decades(levels: Levels) -> bool:
    """Whether the loss halves after the plateau on a logarithmic scale, whatever the first fall
    was.
    """
    course = levels.logarithmic
    if course is None or levels.chance <= 0:
        return False
    return bool(np.log(levels.chance) - course.fit.min() > max(np.log(2.0), CLEAR * float(median(course.error))))


def _lost(series: Series, levels: Levels, k: float) -> Judged | None:
    """Off chance once, and back at chance to the end."""
    where = np.flatnonzero(levels.off)
    n = len(series.loss)
    if len(where) < (3 if n > 60 else 1) or levels.drop <= 0:
        return None
    last = int(where[-1])
    if n > 100 and not levels.by_accuracy:  # single values below chance are no return
        width = max(n // 100, 5) | 1
        dense = np.flatnonzero(uniform_filter1d(levels.off.astype(float), width, mode="nearest") > 0.5)
        last = int(where[where <= dense[-1] + width // 2][-1]) if len(dense) else last
    points = n - 1 - last
    duration = series.epoch[-1] - series.epoch[last]
    loss = series.loss[last + 1 :]
    if points < SPELL_POINTS:
        short = n <= 30 and points >= 2
        if not short:
            return None
    level = float(median(loss))
    long = duration >= spell_epochs(series) * min(k, 1.2)
    at_chance = abs(level - levels.chance) < 0.12 * levels.drop
    if not levels.by_accuracy:
        far = float(levels.linear.fit[: max(int(np.searchsorted(levels.linear.edges, last)), 1)].min())
        far = min(far, levels.low) if levels.low < levels.linear.fit.min() else far  # a dip of some epochs
        if levels.chance - far < 0.3 * levels.drop:
            return None
        middle = len(loss) // 2
        unsure = CLEAR * 2.5 * float(levels.linear.noise[-1]) / np.sqrt(max(len(loss), 1))
        if middle >= 3 and median(loss[middle:]) - median(loss[:middle]) > max(0.05 * levels.drop, unsure):
            return None  # still rising: at no plateau
        end = levels.linear.segments[-1]
        if end.shape == "rising" and end.end - end.start > 3 * max(duration, 1e-300):
            return None  # one rise from far below that has come to chance now
        if levels.chance - level > 0.15 * levels.drop or level > levels.chance + max(
            0.5 * levels.drop, 0.25 * abs(levels.chance)
        ):
            return None
    half = np.flatnonzero(series.loss[: last + 1] < levels.low + 0.5 * levels.drop)
    rise = series.epoch[last] - series.epoch[half[-1]] if len(half) else 0.0
    slow = rise > max(0.1 * k * (series.epoch[last] - series.epoch[0]), spell_epochs(series))
    least = 20 if levels.by_accuracy else SPELL_POINTS
    plain = at_chance and not slow and points >= least and duration >= 0.02 * (series.epoch[-1] - series.epoch[0])
    if not long and not (plain or (at_chance and n <= 60 and not slow)):
        return None
    share = _gradient_share(series, last + 1)
    if slow and not levels.by_accuracy and not share < FLAT_GRADIENT:
        return None  # a slow rise: over-fitting, forgetting or an instability
    entry = float(series.epoch[last + 1])
    span = float(np.ptp(np.quantile(loss, [0.1, 0.9]))) / max(levels.drop, 1e-300)
    evidence = {
        "entry_epoch": entry, "epochs_at_chance": float(duration), "last_loss": level, "chance_loss": levels.chance,
        "loss_span_since": span, "gradient_share": share,
    }  # fmt: skip
    if levels.accuracy is not None:
        evidence["last_accuracy"] = float(median(levels.accuracy[last + 1 :]))
    if series.rate is not None and series.gradient is not None:
        evidence["hazard"] = _hazard(series, levels, last)
    notes = [] if share < FLAT_GRADIENT or np.isnan(share) else ["the gradient is not flat: this network may come back"]
    if not long:
        notes.append(f"at chance for {duration:g} epochs only: a spell of {spell_epochs(series):g} would be plain")
    return Judged("no-learning zone", known(evidence), notes, drops_of(series, levels), (last + 1, n), since=entry)


def _swings(series: Series, levels: Levels, swing: Swing | None, k: float) -> Judged | None:
    if swing is None:
        return None
    tail = slice(max(len(series.loss) - min(swing.points, max(len(series.loss) // 2, 16)), 0), None)
    end = float(median(series.loss[tail]))
    level = abs(end) if levels.low >= 0 else levels.drop
    if 2 * swing.amplitude < k * SPAN * level:
        return None
    cycles = max(120, int(2 * swing.period))  # a swing may lead to chance and back
    if levels.by_accuracy and levels.off[-cycles:].mean() < 0.5:
        return None
    if _is_lost_by_turns(series, levels, swing):
        return None
    spacing = float(median(np.diff(series.epoch[tail])))
    evidence = {
        "chance_loss": levels.chance, "last_loss": end, "lowest_loss": levels.low, "drop_share": levels.share,
        "period": swing.period * spacing, "amplitude": swing.amplitude,
        "amplitude_over_loss": swing.amplitude / abs(end) if end else np.inf,
        "growth": swing.growth, "cycles": swing.cycles,
    }  # fmt: skip
    gap = _gap(levels, series)
    n = len(series.loss)
    begin = n - min(swing.points, n)
    loud = loud_blocks(series.loss, begin, n, swing)
    begin = loud[0][0] if loud else begin
    for first, last in reversed(loud_blocks(series.loss[:begin], 0, begin, swing)):
        if last < begin:
            break
        begin = first  # the windows that are searched are halves of one another: it may have begun before
    since = float(series.epoch[begin])
    return Judged("oscillation near a minimum", known(evidence), [], drops_of(series, levels), gap, swing, since)


def _is_lost_by_turns(series: Series, levels: Levels, swing: Swing) -> bool:
    """Whether an apparent swing is a network that is lost for a spell, works for a spell, and so
    on: it goes through the whole drop, and rests at both of its ends.
    """
    first, last = _gap(levels, series)
    if last == first or 2 * swing.amplitude < 0.8 * levels.drop:
        return False
    tail = series.loss[-swing.points :]
    near = np.minimum(np.abs(tail - levels.chance), np.abs(tail - levels.low)) < 0.1 * levels.drop
    return bool(near.mean() > 0.9)


def _gap(levels: Levels, series: Series) -> tuple[int, int]:
    """The longest stretch at chance between two off chance, if it is long enough for the
    no-learning zone.
    """
    where = np.flatnonzero(levels.off)
    if len(where) < 2:
        return 0, 0
    steps = np.diff(where)
    widest = int(steps.argmax())
    first, last = int(where[widest]) + 1, int(where[widest + 1])
    if last - first < SPELL_POINTS or series.epoch[last] - series.epoch[first] < spell_epochs(series):
        return 0, 0
    if levels.by_accuracy:
        inside, before = series.loss[first:last], series.loss[where[where < first]]
        unsure = 1.25 * float(median(levels.linear.noise)) * np.sqrt(1 / len(inside) + 1 / len(before))
        if median(inside) - median(before) <= max(CLEAR * unsure, 0.05 * levels.drop):
            return 0, 0  # the loss does not rise: an accuracy that is noisy near chance
        if levels.accuracy is not None and levels.accuracy_at_chance is not None:
            better = levels.accuracy - levels.accuracy_at_chance
            if better[:first].max() < 0.2 * better.max():
                return 0, 0  # a little better than chance was no learning
    if not levels.by_accuracy:  # below chance by a little and back again is no learning
        bins = np.searchsorted(levels.linear.edges, [first, last], side="right") - 1
        before = levels.linear.fit[: max(int(bins[0]), 1)]
        if len(before) > 8:  # single bins are as noisy as single values
            before = median_of_three(np.pad(before, 1, mode="edge"))
        at = int(before.argmin())
        fell_from = float(before[: at + 1].max())
        if before[at] > levels.chance - 0.3 * levels.drop or fell_from < levels.chance - 0.3 * levels.drop:
            return 0, 0
        if float(median(series.loss[first:last])) < levels.chance - 0.3 * levels.drop:
            return 0, 0  # too noisy to be clear of chance, and not at chance
    return first, last


def _recovered(series: Series, levels: Levels, k: float) -> Judged | None:
    gap = _gap(levels, series)
    back = levels.end < levels.chance - 0.3 * levels.drop or (levels.by_accuracy and bool(levels.off[-1]))
    if gap == (0, 0) or not back:
        return None
    evidence = {
        "chance_loss": levels.chance, "last_loss": levels.end, "lowest_loss": levels.low, "drop_share": levels.share,
        "lost_from": float(series.epoch[gap[0]]), "back_at": float(series.epoch[gap[1]]),
    }  # fmt: skip
    return Judged("recovered", known(evidence), [], drops_of(series, levels), gap, since=float(series.epoch[gap[1]]))


def _constant(series: Series, levels: Levels, k: float) -> Judged | None:
    """Fallen to the loss of a constant answer, and flat there."""
    flat, since = tail_is_flat(series, levels)
    if (
        not flat
        or brief(series, levels)
        or (
            levels.accuracy is not None
            and levels.off[-max(len(levels.off) // 10, 1) :].mean() > 0.5
            and levels.by_accuracy
        )
    ):
        return None
    tail = series.loss[series.epoch >= max(since, series.epoch[0] + 0.67 * (series.epoch[-1] - series.epoch[0]))]
    end, error = float(median(tail)), 1.25 * float(levels.linear.noise[-1]) / np.sqrt(len(tail))
    evidence = {"last_loss": end, "chance_loss": levels.chance, "drop_share": levels.share}
    if series.spread is not None:
        spread = series.spread[np.isfinite(series.spread)]
        if len(spread) > 5 and float(median(spread[-max(len(spread) // 10, 3) :])) < 0.02 * max(
            1.0, float(spread.max())
        ):
            evidence["last_answer_spread"] = float(spread[-1])
            note = "the recorded answers to different inputs end at one value"
            return Judged(
                "plateau at a constant answer", known(evidence), [note], drops_of(series, levels), since=since
            )
        if float(median(spread[-3:])) > 0.2:
            return None
    given = "chance_loss" not in levels.inferred
    constants = {"the given chance level": levels.chance} if given else CONSTANTS
    if levels.accuracy is not None and levels.accuracy[-1] > levels.accuracy[0] + 0.1:
        return None
    top = max(levels.start, float(series.loss[:3].max()))
    for name, value in constants.items():
        near = 0.02 * value if given else _tolerance(value, error, ODDS / k)
        if abs(end - value) < max(near, 1e-12) and (given or top > 1.1 * value):
            note = f"the loss ends at that of a constant answer, {name} = {value:.4g}"
            return Judged(
                "plateau at a constant answer", known(evidence), [note], drops_of(series, levels), since=since,
                guessed=not given,
            )  # fmt: skip
    return None


def _tolerance(value: float, error: float, odds: float) -> float:
    """Distance from ``value`` within which an end that is known to ``error`` is more likely there
    than elsewhere.

    Elsewhere the logarithm of the end is spread evenly over that of :data:`ELSEWHERE`. The two
    likelihoods are equal at the distance d with ``odds exp(-d**2 / 2 s**2) / (s sqrt(2 pi)) = 1 /
    (value log ELSEWHERE)``; 0 if they never are."""
    s = float(np.hypot(error, UNEQUAL * value))
    ratio = odds * value * np.log(ELSEWHERE) / (s * np.sqrt(2 * np.pi))
    return s * float(np.sqrt(2 * np.log(ratio))) if ratio > 1 else 0.0


def _learned(series: Series, levels: Levels, k: float) -> Judged:
    drops = drops_of(series, levels)
    evidence = known({
        "chance_loss": levels.chance, "last_loss": levels.end, "lowest_loss": levels.low, "drop_share": levels.share,
    })  # fmt: skip
    flat, since = tail_is_flat(series, levels)
    scheduled = [drop for drop in drops if drop.scheduled]
    notes = [f"the drop at epoch {drop.end:g} follows a cut of the learning rate" for drop in scheduled]
    sudden = [drop for drop in drops if drop.is_abrupt(k)]
    main = max(sudden or drops, key=lambda drop: drop.share, default=None)
    if main is not None:
        evidence |= {"drop_start": main.start, "drop_end": main.end, "drop_size": main.size, "drop_haste": main.haste}
    name = "gradual learning"
    if abrupt_share(sudden) >= 0.5:
        name = "staircase learning" if stairs(sudden) else "abrupt learning"
    return Judged(name, evidence, notes, drops, since=since if flat else np.nan)


def _hazard(series: Series, levels: Levels, last: int) -> float:
    """Largest ``alpha |grad L|**2 / (3/8 L_chance)`` up to the entry: a first-order step over the
    distance to the point of no return. An upper estimate on a time grid, where the gradient spikes
    as steps cross the threshold."""
    assert series.rate is not None
    assert series.gradient is not None
    part = slice(0, last + 1)
    product = series.rate[part] * series.gradient[part] ** 2
    return float(np.nanmax(product) / (0.375 * max(levels.chance, 1e-300))) if np.isfinite(product).any() else np.nan


def _gradient_share(series: Series, start: int | None = None) -> float:
    """Median of the gradient norm from ``start`` (the last tenth by default) over its largest; NaN
    if unknown.
    """
    if series.gradient is None:
        return np.nan
    start = len(series.gradient) * 9 // 10 if start is None else start
    part: NDArray[np.float64] = series.gradient[start:]
    top = float(np.nanmax(series.gradient))
    if not np.isfinite(part).any():
        return np.nan
    return float(np.nanmedian(part)) / top if top > 0 else 0.0
