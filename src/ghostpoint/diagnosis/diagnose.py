"""``diagnose``: histories of any form to one labelled dataset, every network to its finding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import number
from ghostpoint.diagnosis.advice import advice_for
from ghostpoint.diagnosis.phases import phases_of
from ghostpoint.diagnosis.record import Diagnosis, Finding, Phase
from ghostpoint.diagnosis.series import Series, levels_of
from ghostpoint.diagnosis.verdicts import FEWEST, Judged, judge
from ghostpoint.errors import InputError
from ghostpoint.results import TrainingRun
from ghostpoint.tasks import Task

__all__ = ["CURVES", "diagnose"]

#: what is looked at, loss first
CURVES = ("loss", "gradient_norm", "accuracy", "confidence", "learning_rate")


def diagnose(
    history: xr.Dataset | TrainingRun | Mapping[str, ArrayLike] | ArrayLike,
    *,
    chance_loss: float | None = None,
    chance_accuracy: float | None = None,
) -> Diagnosis:
    """What phase each network's training is in at its end, the phases it went through, and what to do.

    Nothing depends on the unit of the loss. Levels are measured in the drop from the chance level to the lowest
    value of the running median, durations in epochs passed. A network is *in the no-learning zone* when it was off
    chance and has been at chance for the last 50 epochs (article, Fig. 8B; a quarter of a shorter record); a drop
    is *abrupt* when its middle 80 % take less than 0.15 of the epochs until its end. See docs/diagnosis.md for
    every rule.

    Parameters
    ----------
    history : Dataset over (network, epoch) or epoch, TrainingRun, mapping of arrays, or array
        ``loss`` (R, E) or (E,), and where known ``gradient_norm`` (L2), ``accuracy`` in [0, 1], ``confidence`` of the
        output and ``learning_rate``, each (E,), (R,) or (R, E); ``epoch`` (E,) ascending, 0 to E - 1 by default. NaN
        stands for not recorded. A plain array is the loss.
    chance_loss, chance_accuracy : float, optional
        Of a network that always gives the same answer. From the task of a ``TrainingRun``; else inferred from the first
        plateau, or without one from the first points, and a note says so.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If the loss is missing, shapes do not fit, epochs do not ascend, or a chance level is not a finite number.
    """
    if isinstance(history, TrainingRun):
        task = Task.from_dict(history.config["task"])
        chance_loss = task.chance_loss if chance_loss is None else chance_loss
        chance_accuracy = task.chance_accuracy if chance_accuracy is None else chance_accuracy
        history = history.history
    loss_level = None if chance_loss is None else number("chance_loss", chance_loss)
    accuracy_level = None if chance_accuracy is None else number("chance_accuracy", chance_accuracy)
    dataset = _dataset(history)
    epoch = dataset["epoch"].values.astype(np.float64)
    curves = {name: dataset[name].values for name in CURVES if name in dataset.data_vars}
    findings = tuple(
        _finding(epoch, {name: values[row] for name, values in curves.items()}, loss_level, accuracy_level)
        for row in range(dataset.sizes["network"])
    )
    levels = {"chance_loss": loss_level, "chance_accuracy": accuracy_level}
    return Diagnosis(findings, dataset.assign_attrs({name: v for name, v in levels.items() if v is not None}))


def _finding(
    epoch: NDArray[np.float64], curves: dict[str, NDArray[np.float64]], loss_level: float | None, acc: float | None
) -> Finding:
    """The finding on one network."""
    series = Series.of(epoch, curves)
    points = len(series.loss)
    if points < FEWEST and not (np.isfinite(series.blown) and points):
        judged = Judged("cannot tell", 1.0 if points < FEWEST // 2 else 0.8, {"points": float(points)})
        ends = (float(epoch[0]), float(epoch[-1])) if len(epoch) else (np.nan, np.nan)
        note = f"{points} finite losses; at least {FEWEST} are needed"
        phases = (Phase("cannot tell", *ends),)
        return Finding(judged.name, judged.confidence, phases, judged.evidence, advice_for(judged, None), (note,))
    levels = levels_of(series, loss_level, acc)
    judged = judge(series, levels)
    notes = list(judged.notes)
    if levels.inferred:
        values = {"chance_loss": levels.chance, "chance_accuracy": levels.accuracy_at_chance}
        inferred = " and ".join(f"{name} {values[name]:.4g}" for name in levels.inferred)
        notes.append(f"{inferred} inferred from the first plateau or the first points")
    if series.missing:
        notes.append(f"{series.missing} losses are missing")
    return Finding(
        judged.name,
        float(np.clip(judged.confidence, 0.0, 1.0)),
        phases_of(series, levels, judged),
        judged.evidence,
        advice_for(judged, series),
        tuple(notes),
    )


def _dataset(history: Any) -> xr.Dataset:
    """The curves of ``history`` over (network, epoch), float64."""
    coordinates: dict[str, Any] = {}
    if isinstance(history, xr.Dataset):
        if "loss" not in history.data_vars:
            raise InputError(
                f"history must have a variable loss, got {', '.join(map(str, history.data_vars)) or 'none'}"
            )
        strange = set(history["loss"].dims) - {"network", "epoch"}
        if strange or "epoch" not in history["loss"].dims:
            raise InputError(f"loss must have dimensions (network, epoch) or (epoch,), got {history['loss'].dims}")
        arrays = {
            name: history[name].transpose(*(d for d in ("network", "epoch") if d in history[name].dims)).values
            for name in CURVES
            if name in history.variables
        }
        epochs = history["epoch"].values if "epoch" in history.coords else None
        coordinates = {
            str(name): value.variable for name, value in history.coords.items()
            if value.dims == ("network",) and name != "learning_rate"
        }  # fmt: skip
    elif isinstance(history, Mapping):
        if "loss" not in history:
            raise InputError(f"history must have loss, got {', '.join(map(str, history)) or 'nothing'}")
        arrays = {name: history[name] for name in CURVES if name in history}
        epochs = history.get("epoch")
    else:
        arrays, epochs = {"loss": history}, None
    loss = np.atleast_2d(_numbers("loss", arrays["loss"]))
    if loss.ndim != 2 or not loss.size:
        raise InputError(f"loss must have shape (epochs,) or (networks, epochs), got {np.shape(arrays['loss'])}")
    networks, length = loss.shape
    epoch = np.arange(length) if epochs is None else _numbers("epoch", epochs)
    if epoch.shape != (length,) or not np.isfinite(epoch).all() or (np.diff(epoch) <= 0).any():
        raise InputError(f"epoch must be {length} ascending numbers, one per loss, got shape {epoch.shape}")
    filled = {"loss": loss} | {
        name: _spread(name, _numbers(name, values), networks, length)
        for name, values in arrays.items()
        if name != "loss"
    }
    variables = {name: (("network", "epoch"), values) for name, values in filled.items()}
    coordinates.setdefault("network", np.arange(networks))
    return xr.Dataset(variables, coords={**coordinates, "epoch": epoch})


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of numbers, got {values!r}") from None


def _spread(name: str, values: NDArray[np.float64], networks: int, length: int) -> NDArray[np.float64]:
    """``values`` of shape (), (E,), (R,), (1, E) or (R, E) as (R, E); (E,) before (R,) where both fit."""
    shape = values.shape
    if shape in ((), (length,), (1, length), (networks, length)):
        return np.array(np.broadcast_to(values, (networks, length)))
    if shape == (networks,):
        return np.repeat(values[:, None], length, axis=1)
    raise InputError(f"{name} must have shape ({length},), ({networks},) or ({networks}, {length}), got {shape}")
