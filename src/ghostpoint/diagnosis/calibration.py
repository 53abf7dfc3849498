"""Confidence of a verdict: the share of right ones among records that look alike.

Every verdict is asked for again with all thresholds changed by the factors 0.6, 0.8, 1.25 and 1.6. How many of the four
keep it says how sure it is. The shares below are those of the labelled records of tests/diagnosis/records.py and of the
simulated networks of benchmarks/diagnosis.py, both with development seeds, rounded; docs/diagnosis.md says how the
held-out ones compare.
"""

from __future__ import annotations

from collections.abc import Mapping

from ghostpoint.diagnosis.series import Series
from ghostpoint.diagnosis.verdicts import Judged

__all__ = ["RIGHT", "confidence_of", "likeness"]

#: changes of the thresholds that keep the verdict, of four, to the share of right verdicts
RIGHT: Mapping[int, float] = {4: 0.98, 3: 0.9, 2: 0.75, 1: 0.65, 0: 0.5}


def likeness(judged: Judged, series: Series, agree: float) -> str:
    """Which records look alike: the verdict, how many changes of all thresholds keep it, and the length."""
    return f"{judged.name} {round(4 * agree)} {'few' if len(series.loss) < 40 else 'many'}"


def confidence_of(judged: Judged, agree: float) -> float:
    """The confidence in [0, 1] of a verdict that the share ``agree`` of the changed thresholds keeps."""
    if judged.name == "divergence" and judged.notes:
        return 0.6  # NaN to the end without growth: a record that stops looks alike
    return RIGHT[round(4 * agree)]
