"""Confidence of a verdict: the share of right ones among labelled records that look alike.

Records look alike if they have the same verdict, if as many of four changes of all thresholds (factors 0.6, 0.8, 1.25,
1.6) keep it, if the loss alone says the same, and if both are short or both are not. The shares are those of labelled
records and simulated networks with development seeds, shrunk towards the share of coarser groups:

    p(group) = (right + WEIGHT p(parent)) / (records + WEIGHT)

``python benchmarks/calibration.py`` counts them and writes ``calibration_table.py``; docs/diagnosis.md shows held-out
records.
"""

from __future__ import annotations

from ghostpoint.diagnosis.calibration_table import COUNTS
from ghostpoint.diagnosis.series import Series
from ghostpoint.diagnosis.verdicts import Judged

__all__ = ["WEIGHT", "confidence_of", "likeness", "parents"]

#: records that the share of the coarser group counts for
WEIGHT = 8.0
#: points below which a record is short
SHORT = 40


def likeness(judged: Judged, series: Series, agree: float, second: str) -> str:
    """The group of records that look alike: ``agree`` is the share of the changed thresholds that keep the verdict,
    ``second`` the verdict on the loss alone."""
    kept = f"{round(4 * agree)} of 4" + ("" if second == judged.name else ", else by the loss alone")
    doubt = "; without growth" if judged.name == "divergence" and judged.notes else ""
    return f"{kept}; {judged.name}{doubt}; {'short' if len(series.loss) < SHORT else 'long'}"


def parents(group: str) -> tuple[str, ...]:
    """Coarser groups of a group, the coarsest first: all records, and those as steady."""
    return ("", group.split("; ")[0], group.rsplit("; ", 1)[0])


def confidence_of(judged: Judged, group: str) -> float:
    """The shrunk share of right verdicts in a group, in [0, 1]."""
    share = 0.9
    for name in (*parents(group), group):
        right, records = COUNTS.get(name, (0, 0))
        share = (right + WEIGHT * share) / (records + WEIGHT)
    if judged.name == "divergence" and judged.notes:
        return min(share, 0.6)  # NaN to the end without growth: a record that stops looks alike
    return round(share, 3)
