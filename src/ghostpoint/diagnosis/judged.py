"""A verdict in the making, and what several rules ask."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ghostpoint.diagnosis.drops import Drop
from ghostpoint.diagnosis.levels import Levels
from ghostpoint.diagnosis.series import Series
from ghostpoint.diagnosis.swings import Swing

__all__ = ["RISE_OF_LEVEL", "SPELL", "SPELL_POINTS", "Judged", "brief", "known", "spell_epochs"]

#: epochs at chance that make a network lost (article, Fig. 8B); a quarter of a shorter record; at
#: least five points
SPELL, SPELL_POINTS = 50, 5
#: share of the loss itself by which it has risen
RISE_OF_LEVEL = 0.06


@dataclass
class Judged:
    """A verdict in the making: its name, numbers and remarks, and the spells found.

    ``lost`` are the points of the stretch at chance after learning, ``since`` the epoch at which
    the last state began. ``guessed`` says that a common level or schedule was supposed which
    nothing in the record names."""

    name: str
    evidence: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    lost: tuple[int, int] = (0, 0)
    swing: Swing | None = None
    since: float = np.nan
    guessed: bool = False


def spell_epochs(series: Series) -> float:
    """Epochs at chance that make a network of this record lost."""
    return min(float(SPELL), (series.epoch[-1] - series.epoch[0]) / 4)


def brief(series: Series, levels: Levels) -> bool:
    """Whether the answers, right before, have been at chance at the end for too short a spell to
    say anything."""
    if not levels.by_accuracy or not levels.off.any():
        return False
    last = int(np.flatnonzero(levels.off)[-1])
    return bool(0 < series.epoch[-1] - series.epoch[last] < spell_epochs(series))


def known(evidence: dict[str, float]) -> dict[str, float]:
    """The numbers that are there."""
    return {name: float(value) for name, value in evidence.items() if not np.isnan(value)}
