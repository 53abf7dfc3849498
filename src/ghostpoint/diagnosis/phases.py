"""The course of a training as phases in order: each segment of the record named by what it is."""

from __future__ import annotations

import numpy as np

from ghostpoint.diagnosis.drops import Drop
from ghostpoint.diagnosis.judged import Judged
from ghostpoint.diagnosis.levels import Levels, tail_is_flat
from ghostpoint.diagnosis.record import Phase
from ghostpoint.diagnosis.series import Series, median
from ghostpoint.diagnosis.swings import swing_inside

__all__ = ["phases_of"]


def phases_of(series: Series, levels: Levels, judged: Judged) -> tuple[Phase, ...]:
    """Disjoint phases from the first to the last epoch, with the numbers that show them."""
    epoch = series.epoch
    start, end = float(epoch[0]), float(series.blown if np.isfinite(series.blown) else epoch[-1])
    if judged.name in ("plateau at chance", "cannot tell", "converged"):
        begin = judged.since if np.isfinite(judged.since) else start
        lead = [Phase("gradual learning", start, begin)] if begin > start else []
        return (*lead, Phase(judged.name, begin, end, judged.evidence))
    # what holds at the end, and stretches that overrule the segments below them
    over: list[Phase] = []
    if judged.lost != (0, 0):
        first, last = float(epoch[judged.lost[0]]), float(epoch[min(judged.lost[1], len(epoch)) - 1])
        over.append(Phase("no-learning zone", first, last, {"loss": float(median(series.loss[slice(*judged.lost)]))}))
        if judged.name == "recovered" and last < end:
            over.append(Phase("recovered", float(epoch[min(judged.lost[1], len(epoch) - 1)]), end))
    since = judged.since if np.isfinite(judged.since) else end
    if judged.name == "oscillation near a minimum" and judged.swing is not None:
        numbers = {key: value for key, value in judged.evidence.items() if key in ("period", "amplitude", "growth")}
        after = max([since, *(drop.end for drop in judged.drops if drop.start < since)])
        over.append(Phase(judged.name, max(after, over[-1].end) if over else after, end, numbers))
    elif judged.name in ("divergence", "rise of the loss", "plateau at a constant answer", "restart of a schedule"):
        over.append(Phase(judged.name, min(since, end), end, judged.evidence))
    elif judged.name in ("gradual learning", "abrupt learning", "staircase learning"):
        flat, settled = tail_is_flat(series, levels)
        settled = max(settled, judged.drops[-1].end) if flat and judged.drops else settled
        if flat and settled < end:
            over.append(Phase("converged", settled, end, {"loss": levels.end}))
    until = min((phase.start for phase in over), default=end)
    found = [*_course(series, levels, judged.drops, start, until), *over]
    if judged.name in ("gradual learning", "abrupt learning", "no-learning zone", "rise of the loss"):
        for swing in _earlier_swings(series, levels, judged.drops):
            found = [part for phase in found for part in _around(phase, swing)] + [swing]
    found.sort(key=lambda phase: (phase.start, phase.end))
    return _disjoint(found) or (Phase(judged.name, start, end, judged.evidence),)


def _around(phase: Phase, inner: Phase) -> list[Phase]:
    """What is left of a phase before and after another one."""
    parts = ((phase.start, min(phase.end, inner.start)), (max(phase.start, inner.end), phase.end))
    return [Phase(phase.name, a, b, phase.evidence) for a, b in parts if b > a]


def _earlier_swings(series: Series, levels: Levels, drops: list[Drop]) -> list[Phase]:
    """An oscillation after the last drop that was over before the end."""
    loss, epoch = series.loss, series.epoch
    first = int(np.searchsorted(epoch, drops[-1].end)) if drops else 0
    low = abs(levels.end) if levels.low >= 0 else levels.drop
    found = swing_inside(loss, low, first, len(loss))
    if found is None:
        return []
    begin, stop, swing = found
    spacing = median(np.diff(epoch[begin:stop]))
    numbers = {"period": swing.period * spacing, "amplitude": swing.amplitude, "growth": swing.growth}
    return [Phase("oscillation near a minimum", float(epoch[begin]), float(epoch[stop - 1]), numbers)]


def _course(series: Series, levels: Levels, drops: list[Drop], start: float, until: float) -> list[Phase]:
    """Plateaus, drops and what lies between, up to the epoch ``until``."""
    found: list[Phase] = []
    at = start
    for number, drop in enumerate(drops):
        if drop.start >= until:
            break
        begin, stop = max(drop.plateau[0], at), min(drop.plateau[1], drop.start)
        if stop > begin:
            if begin > at:
                found.append(Phase("gradual learning", at, begin))
            inside = (series.epoch >= begin) & (series.epoch <= stop)
            level = float(median(series.loss[inside])) if inside.any() else levels.chance
            near = level > levels.chance - 0.15 * levels.drop or not number
            found.append(Phase("plateau at chance" if near else "plateau above chance", begin, stop, {"loss": level}))
        elif drop.start > at:
            found.append(Phase("gradual learning", at, drop.start))
        numbers = {
            "size": drop.size,
            "duration": drop.end - drop.start,
            "share_of_whole_drop": drop.share,
            "haste": drop.haste,
        }
        found.append(
            Phase("abrupt learning" if drop.abrupt else "gradual learning", drop.start, min(drop.end, until), numbers)
        )
        at = min(drop.end, until)
    if until > at:
        falls = levels.drop > 0 and bool(drops or levels.share > 0.03 or np.isnan(levels.share))
        if not drops and levels.plateau is not None:
            stop = min(levels.plateau.end, until)
            found.append(Phase("plateau at chance", at, stop, {"loss": levels.plateau.level}))
            at = stop
        if until > at:
            rest = levels.linear.fit[levels.linear.epoch > at][1:]
            settled = bool(drops) and len(rest) >= 5 and float(np.ptp(rest)) < 0.05 * levels.drop
            name = "converged" if settled else "gradual learning" if falls else "plateau at chance"
            found.append(Phase(name, at, until))
    return found


def _disjoint(phases: list[Phase]) -> tuple[Phase, ...]:
    """Neighbours of one name joined, and overlaps cut."""
    result: list[Phase] = []
    for phase in phases:
        if result and phase.start < result[-1].end:
            before = result[-1]
            result[-1] = Phase(before.name, before.start, max(phase.start, before.start), before.evidence)
        if result and result[-1].name == phase.name and not (result[-1].evidence and phase.evidence):
            before = result.pop()
            phase = Phase(phase.name, before.start, phase.end, {**before.evidence, **phase.evidence})
        result.append(phase)
    kept = [phase for phase in result if phase.end > phase.start or phase is result[-1]]
    return tuple(kept)
