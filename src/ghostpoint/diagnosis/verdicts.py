"""From levels, drops and swings to the verdict on one network: the rules, in the order in which they are asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ghostpoint.diagnosis.drops import ABRUPT, Drop, drops_of
from ghostpoint.diagnosis.series import Levels, Series
from ghostpoint.diagnosis.signals import Swing, longest_gap, noise_of, swing_of

__all__ = ["FEWEST", "Judged", "judge", "spell_epochs", "swinging", "tail_of"]

#: points below which nothing is said
FEWEST = 20
#: epochs at chance that make a network lost (article, Fig. 8B); a quarter of a shorter record; at least five points
SPELL, SPELL_POINTS = 50, 5
#: points at the end that are searched for an oscillation
TAIL = 120
#: shares of chance: below the first a change of the loss is none, from the second on it is one
NOTHING, SOMETHING = 0.03, 0.1
#: an oscillation turns at a tenth of its points, and spans a twentieth of the loss between its 5 and 95 % quantiles
TURNS, SPAN = 0.1, 0.05
#: it is no mini-batch noise if it exceeds that of the beginning so many times, or is regular
LOUDER, REGULAR = 3.0, -0.5
#: growth beyond chance that is called divergence
BLOWN_UP = 3.0
#: gradient in the no-learning zone, as a share of its largest
FLAT_GRADIENT = 1e-2


@dataclass
class Judged:
    """A verdict in the making: the phase's name, confidence, numbers and remarks, and the spells found."""

    name: str
    confidence: float
    evidence: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    lost: tuple[int, int] = (0, 0)  # points of the longest stretch at chance after learning
    swing: Swing | None = None


def judge(series: Series, levels: Levels) -> Judged:
    """The verdict on a series with at least :data:`FEWEST` points."""
    for rule in (_diverged, _never_learned, _lost):
        result = rule(series, levels)
        if result is not None:
            return result
    return _learned(series, levels)


def spell_epochs(series: Series) -> float:
    """Epochs at chance that make a network of this record lost."""
    return min(float(SPELL), (series.epoch[-1] - series.epoch[0]) / 4)


def tail_of(series: Series) -> slice:
    """The last points, a quarter of the record and at most :data:`TAIL`."""
    return slice(max(len(series.loss) - min(TAIL, max(len(series.loss) // 4, 16)), 0), None)


def swinging(series: Series, levels: Levels, part: slice) -> Swing | None:
    """How the loss swings in ``part``, if that is an oscillation and not noise, else None."""
    loss = series.loss[part]
    if len(loss) < 16:
        return None
    swing = swing_of(loss)
    level = float(np.median(loss)) if levels.low >= 0 else levels.drop
    if swing.turns < TURNS or 2 * swing.amplitude < SPAN * abs(level):
        return None
    # noise of mini-batches is there from the beginning, and is as large as the loss or independent of it
    first = int(levels.off.argmax()) if levels.off.any() else 0
    early = noise_of(series.loss[: max(first, 12)])
    # a swing that has only begun fills the second half
    louder = max(noise_of(loss), noise_of(loss[len(loss) // 2 :])) > LOUDER * early
    return swing if louder or swing.memory < REGULAR else None


def _diverged(series: Series, levels: Levels) -> Judged | None:
    end = float(np.median(series.loss[-3:]))
    top = max(levels.chance, float(np.median(series.loss[:3])))
    relative = end / top if levels.low >= 0 and top > 0 else np.nan
    grown = bool(relative > BLOWN_UP)
    if np.isfinite(series.blown):
        sure = 0.95 if series.infinite or grown or _gradient_blew_up(series) else 0.6
        notes = (
            [] if sure > 0.6 else ["the loss is NaN to the end without growth before: a record that stops looks alike"]
        )
        return Judged("divergence", sure, {"first_epoch_not_finite": series.blown, "last_finite_loss": end}, notes)
    if not grown:
        return None
    tail = levels.smooth[tail_of(series)]
    if np.ptp(tail) < 0.05 * abs(end):
        evidence = {"end_over_chance": relative, "gradient_share": _gradient_share(series)}
        notes = ["flat far above chance: outputs that are saturated and wrong"]
        return Judged("no-learning zone", 0.7, _known(evidence), notes)
    return Judged("divergence", 0.8, {"end_over_chance": relative, "last_loss": end})


def _never_learned(series: Series, levels: Levels) -> Judged | None:
    share, known = levels.share, levels.accuracy_at_chance is not None
    evidence = {"chance_loss": levels.chance, "drop_share": share, "gradient_share": _gradient_share(series)}
    evidence |= {"last_gradient_norm": np.nan if series.gradient is None else float(series.gradient[-1])}
    moved = levels.significant and not share < SOMETHING
    if levels.off.any() and (known or moved):
        return None
    if known and moved and share > 0.5:
        notes = [f"the loss has fallen by {share:.0%} of chance, the accuracy has not risen"]
        return Judged("gradual learning", 0.5, _known(evidence), notes, drops_of(series, levels))
    if not known and levels.significant and share >= NOTHING:
        note = f"the loss has fallen by {share:.1%} only, and without the accuracy that says little"
        return Judged("cannot tell", 0.5, _known(evidence), [note])
    sure = 0.95 if known or "chance_loss" not in levels.inferred else 0.7
    sure -= 0.15 * min(max(0.0 if np.isnan(share) else share, 0.0) / 0.2, 1.0)
    return Judged("plateau at chance", sure, _known(evidence))


def _lost(series: Series, levels: Levels) -> Judged | None:
    where = np.flatnonzero(levels.off)
    last = int(where[-1])
    points = len(series.loss) - 1 - last
    if points < SPELL_POINTS or series.epoch[-1] - series.epoch[last] < spell_epochs(series):
        return None
    loss, entry = series.loss[last + 1 :], float(series.epoch[last + 1])
    share = _gradient_share(series, last + 1)
    span = float(np.ptp(np.quantile(loss, [0.1, 0.9]))) / max(levels.drop, 1e-300)
    evidence = {
        "entry_epoch": entry,
        "epochs_at_chance": float(series.epoch[-1] - series.epoch[last]),
        "last_loss": float(np.median(loss)),
        "chance_loss": levels.chance,
        "loss_span_since": span,
        "gradient_share": share,
    }
    if series.accuracy is not None:
        evidence["last_accuracy"] = float(np.nanmedian(series.accuracy[last + 1 :]))
    if series.rate is not None and series.gradient is not None:
        evidence["hazard"] = _hazard(series, levels, last)
    evidence = _known(evidence)
    drops = drops_of(series, levels)
    flat = share < FLAT_GRADIENT
    known = levels.accuracy_at_chance is not None
    half = np.flatnonzero(series.loss[: last + 1] < levels.low + 0.5 * levels.drop)
    rise = series.epoch[last] - series.epoch[half[-1]] if len(half) else 0.0
    slow = rise > max(0.1 * (series.epoch[last] - series.epoch[0]), spell_epochs(series))
    if not known and slow and not flat:
        note = "the loss rises back slowly: overfitting, forgetting or an instability; a collapse takes a few epochs"
        return Judged("cannot tell", 0.5, evidence, [note], drops, (last + 1, len(series.loss)))
    notes = [] if flat or np.isnan(share) else ["the gradient is not flat: this network may come back"]
    sure = 0.95 if flat else 0.75 if np.isnan(share) else 0.7
    sure -= 0.1 * (not known) + 0.1 * (span > 0.3)
    return Judged("no-learning zone", sure, evidence, notes, drops, (last + 1, len(series.loss)))


def _learned(series: Series, levels: Levels) -> Judged:
    tail = tail_of(series)
    drops = drops_of(series, levels)
    gap = longest_gap(levels.off)
    end = float(np.median(series.loss[tail]))
    evidence = {"chance_loss": levels.chance, "last_loss": end, "lowest_loss": levels.low, "drop_share": levels.share}
    long = gap[1] - gap[0] >= SPELL_POINTS and series.epoch[gap[1]] - series.epoch[gap[0]] >= spell_epochs(series)
    if long and levels.accuracy_at_chance is None:  # below chance by a little and back again is no learning
        long = bool(levels.smooth[: gap[0]].min() < levels.chance - 0.3 * levels.drop)
    lost = gap if long else (0, 0)
    swing = swinging(series, levels, tail)
    if swing is not None and levels.off[tail].mean() >= 0.5:
        spacing = float(np.median(np.diff(series.epoch[tail])))
        evidence |= {
            "period": swing.period * spacing,
            "amplitude": swing.amplitude,
            "amplitude_over_loss": swing.amplitude / abs(end) if end else np.inf,
            "growth": swing.growth,
            "turns": swing.turns,
        }
        margin = min(2 * swing.amplitude / max(SPAN * abs(end), 1e-300), 3.0) / 3.0
        return Judged("oscillation near a minimum", 0.65 + 0.3 * margin, _known(evidence), [], drops, lost, swing)
    last = series.loss[-max(len(series.loss) // 50, 10) :]
    back = (float(np.median(last)) - levels.low) / max(levels.drop, 1e-300)
    if long:
        evidence |= {"lost_from": float(series.epoch[gap[0]]), "back_at": float(series.epoch[gap[1]])}
        evidence |= {"level_share": back}
        return Judged("recovered", 0.9 if back < 0.5 else 0.6, _known(evidence), [], drops, lost)
    if levels.accuracy_at_chance is None and back > 0.5:
        note = f"the loss is back up {back:.0%} of its drop, but not at chance"
        return Judged("cannot tell", 0.5, _known(evidence), [note], drops)
    return _how(series, levels, drops, evidence)


def _how(series: Series, levels: Levels, drops: list[Drop], evidence: dict[str, float]) -> Judged:
    """Abrupt or gradual: which of the two makes up more of the whole drop."""
    scheduled = [drop for drop in drops if _rate_cut(series, drop)]
    sudden = [drop for drop in drops if drop.abrupt and drop not in scheduled]
    abrupt = sum(drop.share for drop in sudden)
    notes = [f"the drop at epoch {drop.end:g} follows a cut of the learning rate" for drop in scheduled]
    main = max(sudden or drops, key=lambda drop: drop.share, default=None)
    if main is not None:
        evidence |= {"drop_start": main.start, "drop_end": main.end, "drop_size": main.size, "drop_haste": main.haste}
    rest = max(1.0 - abrupt, 0.0)
    if main is None:
        return Judged("gradual learning", 0.5, _known(evidence), notes)
    sure = 0.55 + 0.4 * min(abs(abrupt - rest), 1.0) * min(abs(np.log(max(main.haste, 1e-3) / ABRUPT)), 1.0)
    name = "abrupt learning" if abrupt >= 0.5 else "gradual learning"
    return Judged(name, float(sure), _known(evidence), notes, drops)


def _rate_cut(series: Series, drop: Drop) -> bool:
    """Whether the learning rate falls to less than 0.7 of itself at the onset of a drop."""
    if series.rate is None:
        return False
    width = max(drop.end - drop.start, 1e-300)
    near = (series.epoch >= drop.start - 2 * width - 1) & (series.epoch <= drop.end)
    rates = series.rate[near]
    return len(rates) > 1 and bool(rates[-1] < 0.7 * rates[0])


def _hazard(series: Series, levels: Levels, last: int) -> float:
    """Largest ``alpha |grad L|**2 / (3/8 L_chance)`` up to the entry: a first-order step over the distance to the point
    of no return. An upper estimate on a time grid, where the gradient spikes as steps cross the threshold."""
    assert series.rate is not None
    assert series.gradient is not None
    part = slice(0, last + 1)
    return float(np.nanmax(series.rate[part] * series.gradient[part] ** 2) / (0.375 * max(levels.chance, 1e-300)))


def _gradient_share(series: Series, start: int | None = None) -> float:
    """Median of the gradient norm from ``start`` (the last tenth by default) over its largest; NaN if unknown."""
    if series.gradient is None:
        return np.nan
    start = len(series.gradient) * 9 // 10 if start is None else start
    top = float(np.nanmax(series.gradient))
    return float(np.nanmedian(series.gradient[start:])) / top if top > 0 else 0.0


def _gradient_blew_up(series: Series) -> bool:
    g = series.gradient
    return g is not None and bool(g[-1] > 100 * np.nanmedian(g) or not np.isfinite(g[-1]))


def _known(evidence: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in evidence.items() if not np.isnan(value)}
