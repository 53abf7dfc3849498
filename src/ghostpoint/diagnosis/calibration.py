"""Confidence of a verdict as the share of right ones among records that look alike in the generator of the tests."""

from __future__ import annotations

from collections.abc import Mapping

from ghostpoint.diagnosis.levels import Levels
from ghostpoint.diagnosis.series import Series
from ghostpoint.diagnosis.verdicts import Judged

__all__ = ["RIGHT", "confidence_of", "likeness"]

#: (verdict, agreement in quarters, length class) to the share of right verdicts, from benchmarks/diagnosis.py
RIGHT: Mapping[str, float] = {}


def likeness(judged: Judged, series: Series, agree: float) -> str:
    """Which records look alike: the verdict, how many changes of all thresholds keep it, and the length."""
    return f"{judged.name} {int(4 * agree)} {'few' if len(series.loss) < 40 else 'many'}"


def confidence_of(judged: Judged, series: Series, levels: Levels, agree: float) -> float:
    """The calibrated confidence in [0, 1]."""
    if judged.name == "divergence" and judged.notes:
        return 0.6  # NaN to the end without growth: a record that stops looks alike
    return RIGHT.get(likeness(judged, series, agree), 0.5 + 0.45 * agree)
