"""``diagnose``: histories of any form to runs, every run to its finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import accuracy_at_chance, integer, number
from ghostpoint.diagnosis.advice import advice_for
from ghostpoint.diagnosis.answers import ConstantAnswer, constant_answer
from ghostpoint.diagnosis.calibration import confidence_of, signs_of
from ghostpoint.diagnosis.history import History, RunHistory
from ghostpoint.diagnosis.judged import Judged
from ghostpoint.diagnosis.levels import Levels, levels_of, without_accuracy
from ghostpoint.diagnosis.phases import phases_of
from ghostpoint.diagnosis.readers import history_of
from ghostpoint.diagnosis.record import Diagnosis, Finding, Phase
from ghostpoint.diagnosis.series import Series, median
from ghostpoint.diagnosis.swings import Swing, swing_at_end
from ghostpoint.diagnosis.verdicts import FEWEST, judge
from ghostpoint.errors import InputError
from ghostpoint.results import TrainingRun

__all__ = ["diagnose"]

#: factors of all thresholds under which the verdict is asked again: it is sure if it does not
#: change
STRICTNESS = (0.6, 0.8, 1.25, 1.6)


def diagnose(
    history: History
    | TrainingRun
    | xr.Dataset
    | xr.DataArray
    | pd.DataFrame
    | pd.Series[Any]
    | Mapping[str, Any]
    | ArrayLike,
    *,
    chance_loss: float | None = None,
    chance_accuracy: float | None = None,
    classes: int | None = None,
    targets: ArrayLike | None = None,
) -> Diagnosis:
    """What phase each run's training is in at its end, the phases it went through, and what to do.

    The record is cut into straight segments by penalised likelihood, on a linear and a logarithmic
    scale, and every verdict is a statement about segments (see docs/diagnosis.md for each rule).
    Nothing depends on the unit of the loss. A run is *in the no-learning zone* when it was off
    chance and has been at chance for the last 50 epochs (article, Fig. 8B; less where the collapse
    is plain); a drop is *abrupt* when its middle 80 % take less than 0.15 of the time since the
    plateau before it began.

    Parameters
    ----------
    history : History, TrainingRun, Dataset, DataFrame, mapping of arrays, list, or array
        ``loss`` (R, E) or (E,), and where known ``gradient_norm`` (L2), ``accuracy`` in [0, 1] or
        percent, ``confidence`` of the output, ``learning_rate`` and ``validation_loss``, each (E,),
        (R,) or (R, E); ``epoch`` (E,) ascending, 0 to E - 1 by default. NaN stands for not
        recorded. A plain array is the loss, a list of arrays of different lengths the losses of
        several runs. :func:`read_history` makes a History of a file.
    chance_loss, chance_accuracy : float, optional
        Of a network that always gives the same answer. From the task of a ``TrainingRun``; else
        inferred from the first plateau, or without one from the first points, and a note says so.
    classes : int, optional
        Number K of equally frequent classes: chance is accuracy 1 / K and, for cross-entropy, a
        loss of log K.
    targets : array, optional
        Answers that are wanted, numbers or class labels: the best constant answer to them gives the
        chance levels.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If the loss is missing, shapes do not fit, epochs do not ascend, or a chance level is
        impossible.

    Examples
    --------
    >>> import numpy as np
    >>> import ghostpoint as gp
    >>> epoch = np.arange(2000)
    >>> found = gp.diagnose(0.1 + 0.9 / (1 + np.exp((epoch - 1400) / 15)))
    >>> found.verdict
    'abrupt learning'
    >>> [phase.name for phase in found.phases][:2]
    ['plateau at chance', 'abrupt learning']
    """
    loss_level = None if chance_loss is None else number("chance_loss", chance_loss)
    accuracy_level = None if chance_accuracy is None else accuracy_at_chance(chance_accuracy)
    if classes is not None and integer("classes", classes) < 2:
        raise InputError(f"classes must be at least 2, got {classes}")
    answer = constant_answer(classes, targets)
    read = history_of(history)
    findings = tuple(_finding(run, loss_level, accuracy_level, answer) for run in read.runs)
    return Diagnosis(findings, read, {"chance_loss": loss_level, "chance_accuracy": accuracy_level})


def _finding(
    run: RunHistory, loss_level: float | None, accuracy_level: float | None, answer: ConstantAnswer | None
) -> Finding:
    """The finding on one run."""
    series = Series.of(run)
    points = len(series.loss)
    notes = list(series.notes)
    if points < FEWEST and not (np.isfinite(series.blown) and (points or series.infinite)):
        ends = (float(run.epoch[0]), float(run.epoch[-1])) if len(run.epoch) else (np.nan, np.nan)
        evidence = {"points": float(points)}
        notes.append(f"{points} finite losses; at least {FEWEST} are needed")
        only = (Phase("cannot tell", *ends),)
        return Finding("cannot tell", 1.0, only, evidence, advice_for(Judged("cannot tell"), None, None), tuple(notes))
    if points < 3:
        judged = Judged("divergence", {"first_epoch_not_finite": series.blown})
        only = (Phase("divergence", float(run.epoch[0]), series.blown),)
        return Finding("divergence", 0.9, only, judged.evidence, advice_for(judged, series, None), tuple(notes))
    # powers of two change no digit and keep squares of tiny or huge losses finite
    size = float(np.abs(series.loss).max())
    plain = size == 0 or 1e-60 < size < 1e60
    scale = 1.0 if plain else float(2.0 ** np.clip(np.round(np.log2(max(size, 1e-300))), -1000, 1000))
    unit = replace(
        series, loss=series.loss / scale, validation=None if series.validation is None else series.validation / scale
    )
    loss_level = run.chance_loss if loss_level is None else loss_level
    accuracy_level = run.chance_accuracy if accuracy_level is None else accuracy_level
    taken: list[str] = []
    if answer is not None:
        loss_level, accuracy_level = answer.levels(series.loss, loss_level, accuracy_level, taken)
    if loss_level is not None and loss_level <= 0 < series.loss.min():
        raise InputError(f"chance_loss must be above 0 where all losses are, got {loss_level:g}")
    levels = levels_of(unit, None if loss_level is None else loss_level / scale, accuracy_level)
    swing = _swing(unit, levels)
    judged = judge(unit, levels, swing)
    told = loss_level is not None or levels.by_accuracy
    if judged.name.startswith("plateau at") and not told and _falls_in_few_points(unit):
        course = f"from {series.loss[0]:.3g} to {series.loss[-1]:.3g}, in {points} records"
        judged = Judged("cannot tell", judged.evidence, [f"the loss falls {course}: too few for more"])
    if judged.name in ("gradual learning", "abrupt learning", "converged") and (series.loss < 0).any():
        notes.append(
            f"{int((series.loss < 0).sum())} losses are negative: impossible for a squared error or cross-entropy"
        )
    lost = sum(judge(unit, levels, swing, k).name != judged.name for k in STRICTNESS)
    second = judged.name
    if unit.accuracy is not None:  # what the loss alone would say
        second = judge(replace(unit, accuracy=None), without_accuracy(levels, unit), swing).name
    signs = signs_of(judged, unit, levels, lost, second)
    notes += judged.notes + taken
    if levels.inferred:
        values = {"chance_loss": levels.chance * scale, "chance_accuracy": levels.accuracy_at_chance}
        inferred = " and ".join(f"{name} {values[name]:.4g}" for name in levels.inferred)
        notes.append(f"{inferred} inferred from the first plateau or the first points")
    if series.missing:
        notes.append(f"{series.missing} losses are missing")
    # a readout of the state waits at half the chance loss, where the loss alone looks like learning
    if run.plateau_end is not None and judged.name.startswith(("plateau at", "gradual")):
        notes.append(f"the theory gives the end of this plateau at epoch {run.plateau_end:,.0f}")
    scaled = {name: value * scale if name in _LOSSES else value for name, value in judged.evidence.items()}
    if points <= SHORTEST_FIT:  # a line through few points may end beyond all of them
        within = {"last_loss", "lowest_loss", *({"chance_loss"} if "chance_loss" in levels.inferred else ())}
        least, most = float(series.loss.min()), float(series.loss.max())
        scaled |= {name: min(max(scaled[name], least), most) for name in within & scaled.keys()}
    phases = tuple(
        replace(phase, evidence={k: v * scale if k in _LOSSES else v for k, v in phase.evidence.items()})
        for phase in phases_of(unit, levels, judged)
    )
    return Finding(
        judged.name,
        confidence_of(signs),
        phases,
        scaled,
        advice_for(judged, unit, levels),
        tuple(notes),
        signs,
    )


def _falls_in_few_points(series: Series) -> bool:
    """Whether the losses of a record of at most :data:`SHORT` points fall by more than a third, and
    by several times what they differ by before and after: no noise can be told from so few.
    """
    loss = series.loss
    if len(loss) > SHORT:
        return False
    sizes = []
    for place in range(2, len(loss)):  # a first record alone may be that of the initial weights
        before, after = loss[:place], loss[place:]
        gap = float(before.min() - after.max())
        if gap > 0.3 * abs(float(before.max())):
            sizes.append(gap > 3 * max(float(np.ptp(before)), float(np.ptp(after))))
    return any(sizes)


#: points up to which a fall is no plateau though no fit can show it
SHORT = 12
#: points up to which levels of a fit are kept within the record
SHORTEST_FIT = 30
#: evidence in units of the loss
_LOSSES = {
    "chance_loss", "last_loss", "lowest_loss", "drop_size", "amplitude", "size", "loss", "rise", "last_finite_loss",
    "last_validation_loss", "lowest_validation_loss",
}  # fmt: skip


def _swing(series: Series, levels: Levels) -> Swing | None:
    """The oscillation at the end, with the level that its size is compared to."""
    loss = series.loss
    if len(loss) < 12:
        return None
    first, bottom, filled = 0, 0, _on_a_grid(series)
    low = levels.chance - 0.8 * levels.drop
    below = levels.linear.fit <= low
    if levels.drop > 0.1 * abs(levels.chance) and below.any():
        first = bottom = int(levels.linear.edges[int(below.argmax())])
    first = int(np.searchsorted(filled[0], series.epoch[min(first, max(len(loss) - 64, len(loss) * 3 // 4))]))
    tail = loss[-max((len(loss) - min(first, len(loss) - 64)) // 4, 8) :]  # of what follows the drop
    level = abs(float(median(tail))) if levels.low >= 0 else levels.drop
    noise = levels.early_noise * max(level / max(abs(levels.chance), 1e-300), 1.0)  # noise grows with the loss
    noise = np.nan if levels.silent else noise
    found = swing_at_end(filled[1], noise, 0.6 * level, first, bottom)
    if found is not None and len(filled[0]) > len(loss):
        points = len(loss) - int(np.searchsorted(series.epoch, filled[0][-found.points]))
        found = found._replace(points=points)
    return found


def _on_a_grid(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs and losses with missing ones interpolated, if few are: a swing keeps its phase over a
    gap.
    """
    steps = np.diff(series.epoch)
    step = float(median(steps))
    grid = np.arange(series.epoch[0], series.epoch[-1] + 0.5 * step, step)
    regular = np.abs(steps / step - np.round(steps / step)).max() < 1e-6
    if not regular or not len(series.loss) < len(grid) <= 1.5 * len(series.loss):
        return series.epoch, series.loss
    return grid, np.interp(grid, series.epoch, series.loss)
