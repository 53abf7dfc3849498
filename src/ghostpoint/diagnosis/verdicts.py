"""From segments and levels to the verdict on one run: the rules, in the order in which they are asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ghostpoint.diagnosis.drops import Drop, abrupt_share, drops_of, stairs
from ghostpoint.diagnosis.levels import Levels, tail_is_flat
from ghostpoint.diagnosis.segments import CLEAR, Segment, course_of
from ghostpoint.diagnosis.series import Series, median, noise_of
from ghostpoint.diagnosis.swings import SPAN, Swing, loud_blocks

__all__ = ["FEWEST", "SPELL", "Judged", "judge", "spell_epochs"]

#: points below which nothing is said
FEWEST = 5
#: epochs at chance that make a network lost (article, Fig. 8B); a quarter of a shorter record; at least five points
SPELL, SPELL_POINTS = 50, 5
#: shares of chance: below the first a change of the loss is none, from the second on it is one
NOTHING, SOMETHING = 0.03, 0.1
#: growth beyond the start that is called divergence: at once, or where it still accelerates
BLOWN_UP, GROWING = 10.0, 3.0
#: a rise from the lowest loss: share of the drop, and of the loss itself
RISE, RISE_OF_LEVEL = 0.08, 0.06
#: gradient in the no-learning zone, as a share of its largest
FLAT_GRADIENT = 1e-2
#: losses of constant answers that are looked for: log K of cross-entropy, 1/4 of squared error to 0 and 1
#: odds that a loss ends at one of them and not elsewhere, and the factor within which it ends elsewhere
ODDS, ELSEWHERE = 0.02, 100.0
#: standard error of such a level as a share of it: classes are not quite equally frequent
UNEQUAL = 0.001
CONSTANTS = {"log 2": np.log(2), "log 3": np.log(3), "log 4": np.log(4), "log 10": np.log(10), "1/4": 0.25}


@dataclass
class Judged:
    """A verdict in the making: its name, numbers and remarks, and the spells found.

    ``lost`` are the points of the stretch at chance after learning, ``since`` the epoch at which the last state began.
    ``guessed`` says that a common level or schedule was supposed which nothing in the record names.
    """

    name: str
    evidence: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    lost: tuple[int, int] = (0, 0)
    swing: Swing | None = None
    since: float = np.nan
    guessed: bool = False


def judge(series: Series, levels: Levels, swing: Swing | None, strictness: float = 1.0) -> Judged:
    """The verdict on a series with at least :data:`FEWEST` points.

    ``strictness`` multiplies every threshold; verdicts that change with it are less sure.
    """
    k = strictness
    found = (
        _diverged(series, levels, k)
        or _overfits(series, levels, k)
        or _swings(series, levels, swing if swing is not None and swing.regular else None, k)
        or _never_learned(series, levels, k)
        or _lost(series, levels, k)
        or _swings(series, levels, swing, k)
        or _restarted(series, levels, k)
        or _recovered(series, levels, k)
        or _rises(series, levels, k)
        or _constant(series, levels, k)
    )
    return found or _learned(series, levels, k)


def spell_epochs(series: Series) -> float:
    """Epochs at chance that make a network of this record lost."""
    return min(float(SPELL), (series.epoch[-1] - series.epoch[0]) / 4)


def _diverged(series: Series, levels: Levels, k: float) -> Judged | None:
    loss = series.loss
    end = float(median(loss[-3:]))
    if np.isfinite(series.blown):
        early = float(median(loss[: max(3, len(loss) // 10)]))
        grown = end > 2 * max(early, levels.chance) or _gradient_blew_up(series)
        notes = [] if series.infinite or grown else [
            "the loss is NaN to the end without growth before: a record that stops looks alike"
        ]  # fmt: skip
        evidence = {"first_epoch_not_finite": series.blown, "last_finite_loss": end}
        return Judged("divergence", evidence, notes, guessed=bool(notes))
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
            return Judged("divergence", {"end_over_chance": relative, "last_loss": end}, since=float(epoch[first]))
    return None


def _overfits(series: Series, levels: Levels, k: float) -> Judged | None:
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


def _never_learned(series: Series, levels: Levels, k: float) -> Judged | None:
    """Flat throughout, or never off chance."""
    course, share = levels.linear, levels.share
    evidence = {"chance_loss": levels.chance, "drop_share": share, "gradient_share": _gradient_share(series)}
    if series.gradient is not None:
        evidence["last_gradient_norm"] = float(series.gradient[-1])
    evidence = _known(evidence)
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
    """Whether the mean accuracy where the run is off chance exceeds that at chance by its standard errors."""
    if series.accuracy is None or levels.accuracy_at_chance is None or not levels.off.any():
        return False
    known = np.isfinite(series.accuracy)
    above = series.accuracy[known & levels.off]
    if not len(above):  # none was recorded there: what lies between is interpolated
        return False
    error = noise_of(series.accuracy[known]) / np.sqrt(len(above))
    return bool(above.mean() - levels.accuracy_at_chance > CLEAR * error)


def _wanders(levels: Levels) -> bool:
    """Whether the course goes up and down without a trend: noise with memory, such as that of a running average."""
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
    return levels.drop > CLEAR * 1.6 * float(np.hypot(course.doubt[low_at], course.doubt[0]))


def _falls_by_decades(levels: Levels) -> bool:
    """Whether the loss halves after the plateau on a logarithmic scale, whatever the first fall was."""
    course = levels.logarithmic
    if course is None or levels.chance <= 0:
        return False
    return bool(np.log(levels.chance) - course.fit.min() > max(np.log(2.0), CLEAR * float(median(course.error))))


def _lost(series: Series, levels: Levels, k: float) -> Judged | None:
    """Off chance once, and back at chance to the end."""
    where = np.flatnonzero(levels.off)
    if not len(where) or levels.drop <= 0:
        return None
    last = int(where[-1])
    n = len(series.loss)
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
    return Judged("no-learning zone", _known(evidence), notes, drops_of(series, levels), (last + 1, n), since=entry)


def _swings(series: Series, levels: Levels, swing: Swing | None, k: float) -> Judged | None:
    if swing is None:
        return None
    tail = slice(max(len(series.loss) - min(swing.points, max(len(series.loss) // 2, 16)), 0), None)
    end = float(median(series.loss[tail]))
    level = abs(end) if levels.low >= 0 else levels.drop
    if 2 * swing.amplitude < k * SPAN * level:
        return None
    if levels.by_accuracy and levels.off[-120:].mean() < 0.5:
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
    return Judged("oscillation near a minimum", _known(evidence), [], drops_of(series, levels), gap, swing, since)


def _restarted(series: Series, levels: Levels, k: float) -> Judged | None:
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


def _rises(series: Series, levels: Levels, k: float) -> Judged | None:
    """The end lies clear above the lowest loss."""
    if _brief(series, levels):
        return None
    course = levels.linear
    # the lowest level that was held for a tenth of the record: a dip of a few epochs is no state to return to
    width = max(len(course.fit) // 10, 3) | 1
    held = median_filter(course.value if len(course.fit) > 40 else course.fit, width, mode="nearest")
    low_at = int(held.argmin())
    low, end = float(held[low_at]), levels.end
    rise = end - low
    drop = max(levels.chance - low, 0.0)
    clear = rise > CLEAR * 1.3 * float(np.hypot(course.doubt[low_at], course.doubt[-1]))
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
    return Judged("rise of the loss", _known(evidence), notes, drops_of(series, levels), since=since)


def _brief(series: Series, levels: Levels) -> bool:
    """Whether the answers, right before, have been at chance at the end for too short a spell to say anything."""
    if not levels.by_accuracy or not levels.off.any():
        return False
    last = int(np.flatnonzero(levels.off)[-1])
    return bool(0 < series.epoch[-1] - series.epoch[last] < spell_epochs(series))


def _gap(levels: Levels, series: Series) -> tuple[int, int]:
    """The longest stretch at chance between two off chance, if it is long enough for the no-learning zone."""
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
        at = int(before.argmin())
        fell_from = float(before[: at + 1].max())
        if before[at] > levels.chance - 0.3 * levels.drop or fell_from < levels.chance - 0.3 * levels.drop:
            return 0, 0
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
    return Judged("recovered", _known(evidence), [], drops_of(series, levels), gap, since=float(series.epoch[gap[1]]))


def _constant(series: Series, levels: Levels, k: float) -> Judged | None:
    """Fallen to the loss of a constant answer, and flat there."""
    flat, since = tail_is_flat(series, levels)
    if (
        not flat
        or _brief(series, levels)
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
                "plateau at a constant answer", _known(evidence), [note], drops_of(series, levels), since=since
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
                "plateau at a constant answer", _known(evidence), [note], drops_of(series, levels), since=since,
                guessed=not given,
            )  # fmt: skip
    return None


def _tolerance(value: float, error: float, odds: float) -> float:
    """Distance from ``value`` within which an end that is known to ``error`` is more likely there than elsewhere.

    Elsewhere the logarithm of the end is spread evenly over that of :data:`ELSEWHERE`. The two likelihoods are equal at
    the distance d with ``odds exp(-d**2 / 2 s**2) / (s sqrt(2 pi)) = 1 / (value log ELSEWHERE)``; 0 if they never are.
    """
    s = float(np.hypot(error, UNEQUAL * value))
    ratio = odds * value * np.log(ELSEWHERE) / (s * np.sqrt(2 * np.pi))
    return s * float(np.sqrt(2 * np.log(ratio))) if ratio > 1 else 0.0


def _learned(series: Series, levels: Levels, k: float) -> Judged:
    drops = drops_of(series, levels)
    evidence = _known({
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
    """Largest ``alpha |grad L|**2 / (3/8 L_chance)`` up to the entry: a first-order step over the distance to the point
    of no return. An upper estimate on a time grid, where the gradient spikes as steps cross the threshold."""
    assert series.rate is not None
    assert series.gradient is not None
    part = slice(0, last + 1)
    product = series.rate[part] * series.gradient[part] ** 2
    return float(np.nanmax(product) / (0.375 * max(levels.chance, 1e-300))) if np.isfinite(product).any() else np.nan


def _gradient_share(series: Series, start: int | None = None) -> float:
    """Median of the gradient norm from ``start`` (the last tenth by default) over its largest; NaN if unknown."""
    if series.gradient is None:
        return np.nan
    start = len(series.gradient) * 9 // 10 if start is None else start
    part: NDArray[np.float64] = series.gradient[start:]
    top = float(np.nanmax(series.gradient))
    if not np.isfinite(part).any():
        return np.nan
    return float(np.nanmedian(part)) / top if top > 0 else 0.0


def _gradient_blew_up(series: Series) -> bool:
    g = series.gradient
    return g is not None and bool(g[-1] > 100 * np.nanmedian(g) or np.isinf(g[-1]))


def _known(evidence: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in evidence.items() if not np.isnan(value)}
