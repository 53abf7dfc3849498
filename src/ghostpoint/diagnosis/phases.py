"""The course of a training as phases in order, for a verdict that has been reached."""

from __future__ import annotations

import numpy as np

from ghostpoint.diagnosis.record import Phase
from ghostpoint.diagnosis.series import Levels, Series
from ghostpoint.diagnosis.verdicts import TAIL, Judged, spell_epochs, swinging

__all__ = ["phases_of"]


def phases_of(series: Series, levels: Levels, judged: Judged) -> tuple[Phase, ...]:
    """Disjoint phases from the first to the last epoch; stretches that are none of the named ones are left out."""
    epoch = series.epoch
    start, end = float(epoch[0]), float(series.blown if np.isfinite(series.blown) else epoch[-1])
    if judged.name in ("plateau at chance", "cannot tell") and not judged.drops:
        return (Phase(judged.name, start, end, judged.evidence),)
    found: list[Phase] = []
    drops = judged.drops
    abrupt_first = bool(drops) and drops[0].abrupt
    if abrupt_first and drops[0].start - start >= spell_epochs(series):
        found.append(Phase("plateau at chance", start, drops[0].start, {"loss": levels.chance}))
    for drop in drops:
        name = "abrupt learning" if drop.abrupt else "gradual learning"
        numbers = {"size": drop.size, "duration": drop.end - drop.start, "share_of_whole_drop": drop.share}
        found.append(Phase(name, drop.start, drop.end, numbers))
    after = drops[-1].end if drops else start
    lost = judged.lost
    stop = end
    if lost != (0, 0):
        first, last = float(epoch[lost[0]]), float(epoch[min(lost[1], len(epoch)) - 1])
        found = [phase for phase in found if phase.end <= first or phase.start >= last]
        name = "cannot tell" if judged.name == "cannot tell" else "no-learning zone"
        found.append(Phase(name, first, last, {"loss": float(np.median(series.loss[slice(*lost)]))}))
        if lost[1] < len(epoch):
            back = float(epoch[lost[1]])
            oscillates = judged.swing is not None
            until = _swing_start(series, levels, lost[1]) if oscillates else end
            later = [phase for phase in found if phase.start >= last and phase.name != name]
            if not later and until > back:
                found.append(Phase("recovered", back, until))
        else:
            stop = first
    if judged.swing is not None:
        since = max(_swing_start(series, levels, int(np.searchsorted(epoch, after))), after)
        numbers = {key: judged.evidence[key] for key in ("period", "amplitude", "growth") if key in judged.evidence}
        found.append(Phase("oscillation near a minimum", since, end, numbers))
    elif judged.name == "divergence":
        found.append(Phase("divergence", min(after, end), end, judged.evidence))
    elif stop > after and judged.name in ("abrupt learning", "gradual learning") and lost == (0, 0):
        found.append(Phase("gradual learning", after, end, {"loss": levels.low}))
    elif judged.name == "no-learning zone" and lost == (0, 0):
        found.append(Phase("no-learning zone", after, end, judged.evidence))
    found.sort(key=lambda phase: (phase.start, phase.end))
    return tuple(found) or (Phase(judged.name, start, end, judged.evidence),)


def _swing_start(series: Series, levels: Levels, least: int) -> float:
    """Epoch from which on every block of the length of the tail oscillates, going back from the end."""
    n = len(series.loss)
    width = min(TAIL, max(n // 4, 16))
    start = n - width
    while start - width >= least and swinging(series, levels, slice(start - width, start)) is not None:
        start -= width
    return float(series.epoch[max(start, least)])
