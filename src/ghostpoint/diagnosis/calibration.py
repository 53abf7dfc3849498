"""Confidence of a verdict: the probability that it is right, by logistic regression on signs of
doubt.

    log(p / (1 - p)) = sum over signs of (coefficient of the sign) * (its value)

The signs are numbers that a record and its verdict have, :func:`signs_of`. The coefficients
maximise the likelihood of right and wrong verdicts on labelled records and simulated networks with
development seeds, less a ridge penalty. ``python benchmarks/calibration.py`` fits them and writes
``calibration_table.py``; docs/diagnosis.md shows how often verdicts on held-out records and
networks are right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ghostpoint.diagnosis.calibration_table import COEFFICIENTS
from ghostpoint.diagnosis.drops import ABRUPT
from ghostpoint.diagnosis.judged import Judged
from ghostpoint.diagnosis.levels import Levels
from ghostpoint.diagnosis.series import Series, median
from ghostpoint.diagnosis.swings import reversals

__all__ = ["confidence_of", "signs_of"]

#: what a loss that turns up and down by so much of its drop is doing is less sure
TURN = 0.3
#: value of the sign "noise" below which a record is smooth: noise of 0.2 % of the drop
SMOOTH = 0.3


def signs_of(judged: Judged, series: Series, levels: Levels, lost: int, second: str) -> dict[str, float]:
    """Name to value of the signs of doubt about a verdict, and the verdict itself as one of them.

    Parameters
    ----------
    lost : int
        How many of four changes of all thresholds (factors 0.6, 0.8, 1.25, 1.6) give another
        verdict.
    second : str
        The verdict on the loss alone.
    """
    loss, course = series.loss, levels.linear
    noise = float(median(course.noise))
    signs = {
        judged.name: 1.0,
        "changes": lost / 4,
        "changes at all": float(lost > 0),
        "other by the loss alone": float(second != judged.name),
        "few points": min(1.0, 12.0 / len(loss)),
        "noise": float(np.clip(np.log10(max(noise, 1e-300) / max(levels.drop, 1e-300)) + 3, 0, 4)),
        "guessed": float(judged.guessed),
        "turns": float(np.log1p(_turns(series, levels, noise))),
        "ends in a change": float(course.segments[-1].start > series.epoch[-1] - 0.1 * np.ptp(series.epoch)),
        "memory": _memory(series, levels),
        "accuracy decides": float(levels.by_accuracy),
    }
    signs[f"turns: {judged.name}"] = signs["turns"]
    signs["turns without noise"] = float(signs["turns"] > 0 and signs["noise"] < SMOOTH)
    signs["noise with memory"] = signs["noise"] * signs["memory"]
    drop = max(judged.drops, key=lambda each: each.share, default=None)
    if drop is not None and judged.name in ("abrupt learning", "staircase learning", "gradual learning"):
        # 1 at the threshold, 1/e at a factor of two from it
        signs[f"near the threshold: {judged.name}"] = float(np.exp(-abs(np.log2(max(drop.haste, 1e-6) / ABRUPT))))
    if judged.swing is not None:
        signs["irregular"] = float(not judged.swing.regular)
        signs["dies away"] = float(judged.swing.growth < 0.7)
    if signs["ends in a change"]:
        doubtful = {name: signs.get(name, 0.0) for name in ("turns", "irregular", "dies away")}
        signs |= {f"{name}, ends in a change": value for name, value in doubtful.items()}
    return {name: value for name, value in signs.items() if value}


def confidence_of(signs: Mapping[str, float]) -> float:
    """The probability that a verdict with these signs is right, in [0, 1]."""
    total = COEFFICIENTS["any"] + sum(COEFFICIENTS.get(name, 0.0) * value for name, value in signs.items())
    sure = round(float(1 / (1 + np.exp(-total))), 3)
    # NaN to the end without growth: a record that stops looks alike, and none of the labelled ones
    # stops
    return min(sure, 0.6) if "divergence" in signs and "guessed" in signs else sure


def _turns(series: Series, levels: Levels, noise: float) -> int:
    """How often the loss turns by more than :data:`TURN` of its drop and six times its noise."""
    begin = levels.linear.edges[:-1]
    highs, lows = np.maximum.reduceat(series.loss, begin), np.minimum.reduceat(series.loss, begin)
    return reversals(np.stack([highs, lows], axis=1).ravel(), max(TURN * levels.drop, 6 * noise))


def _memory(series: Series, levels: Levels) -> float:
    """Correlation of neighbours in what the fit leaves of the last 4000 values; 0 if there is
    little or none."""
    left = (series.loss - np.repeat(levels.linear.fit, np.diff(levels.linear.edges)))[-4000:]
    total = float(left @ left)
    return max(0.0, float(left[1:] @ left[:-1]) / total) if total > 0 and len(left) > 30 else 0.0
