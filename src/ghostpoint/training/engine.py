"""``train``: check what is asked for, hand it to an engine, label what comes back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, number, one_of
from ghostpoint.models import PARTS, LowRankRNN
from ghostpoint.results import TrainingRun, no_learning_zone_entry
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training import schedule
from ghostpoint.training.kernels.rank_one import EVENTS, QUANTITIES

__all__ = ["ENGINES", "OPTIMIZERS", "train"]

OPTIMIZERS = ("sgd",)
ENGINES = ("compiled", "reference")
DTYPES = ("float32", "float64")
#: epochs that "auto" records at most
AUTO_RECORDS = 10_000


def train(
    models: LowRankRNN,
    task: DelayedActivation,
    learning_rate: ArrayLike,
    epochs: int,
    *,
    optimizer: str = "sgd",
    record: str | int | Sequence[int] = "auto",
    checkpoints: Sequence[int] | NDArray[Any] = (),
    solved: float = 0.05,
    dtype: str = "float32",
    engine: str = "compiled",
    layout: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TrainingRun:
    """Train a stack of networks, each with its own learning rate, by full-batch gradient descent.

    One update is ``p <- p - learning_rate dL/dp`` for every trainable part p of the model. The result of a network
    depends on nothing but its own weights and settings: not on the stack, the layout or the number of threads, to
    the last bit.

    Parameters
    ----------
    models : LowRankRNN
        R networks of rank one.
    task : DelayedActivation
    learning_rate : scalar or (R,)
        Positive.
    epochs : int
        Number of updates.
    optimizer : "sgd"
    record : "auto", "all", int or epochs
        Which epochs the history keeps: all of them, every k-th, or those listed; "auto" is every epoch up to
        10,000 of them and evenly spaced ones beyond. Events are exact in any case.
    checkpoints : epochs
        At which the parameters are kept too (epoch k is after k updates, k < epochs).
    solved : float
        A network is solved at a loss below this share of the task's chance loss.
    dtype : "float32" or "float64"
    engine : "compiled" or "reference"
        The kernels, or the readable float64 loop they are tested against.
    layout : "auto", "networks" or "units"
        What goes across the vector lanes in the kernels; only the speed depends on it.
    threads : int, optional
        Default: as many as processors this process may use.
    on_progress : callable, optional
        Called with the number of network-epochs done since the last call.

    Returns
    -------
    TrainingRun

    Raises
    ------
    ValueError
        For anything out of range, with its name and what is valid. A network that diverges is no error but an event.
    """
    networks = len(models)
    epochs = integer("epochs", epochs, at_least=1)
    one_of("optimizer", optimizer, OPTIMIZERS)
    one_of("dtype", dtype, DTYPES)
    one_of("engine", engine, ENGINES)
    one_of("layout", layout, schedule.LAYOUTS)
    number("solved", solved, above=0)
    if not networks:
        raise ValueError("models must hold at least one network to be trained, got none")
    if models.rank != 1:
        raise ValueError(f"models must have rank 1 to be trained, got rank {models.rank}")
    if engine == "reference" and dtype != "float64":
        raise ValueError(f"dtype must be float64 for the reference engine, got {dtype!r}")
    rate = finite_array("learning_rate", learning_rate)
    if rate.shape not in ((), (networks,)):
        raise ValueError(f"learning_rate must be one value or one per network ({networks}), got shape {rate.shape}")
    if (rate <= 0).any():
        raise ValueError(f"learning_rate must be positive, got {rate[rate <= 0].flat[0]:g}")
    rate = np.broadcast_to(rate, (networks,))
    recorded = _recorded_epochs(record, epochs)
    kept = _epoch_list("checkpoints", checkpoints, epochs)
    workers = len(os.sched_getaffinity(0)) if threads is None else integer("threads", threads, at_least=1)

    for part in (*PARTS, "threshold", "initial_state"):
        _check_fits(part, getattr(models, part), dtype)
    _check_fits("learning_rate", rate, dtype)
    problem = _problem(models, task, rate, solved, np.dtype(dtype))
    if engine == "compiled":
        outcome = schedule.run(problem, epochs, recorded, kept, layout=layout, threads=workers, on_progress=on_progress)
    else:
        from ghostpoint.training.reference import run as run_reference

        outcome = run_reference(models, task, problem, epochs, recorded, kept, on_progress=on_progress)
    config = {
        "task": task.to_dict(),
        "networks": networks,
        "units": models.n_units,
        "rank": models.rank,
        "trainable": list(models.trainable),
        "learning_rate": sorted({float(value) for value in rate}),
        "threshold": sorted({float(value) for value in models.threshold}),
        "initial_state": sorted({float(value) for value in np.unique(models.initial_state)[:100]}),
        "record": [int(epoch) for epoch in recorded[:3]] + (["..."] if len(recorded) > 3 else []),
        "checkpoints": len(kept),
        "confidence": sorted({float(value) for value in models.confidence}),
        "epochs": epochs,
        "optimizer": optimizer,
        "solved": solved,
        "dtype": dtype,
        "engine": engine,
    }
    return _labelled(outcome, models, rate, epochs, recorded, kept, config)


def _recorded_epochs(record: str | int | Sequence[int], epochs: int) -> NDArray[np.int64]:
    if isinstance(record, str):
        one_of("record", record, ("auto", "all"))
        stride = -(-epochs // AUTO_RECORDS) if record == "auto" else 1
        return np.arange(0, epochs, stride, dtype=np.int64)
    if np.ndim(record) == 0:
        return np.arange(0, epochs, integer("record", record, at_least=1), dtype=np.int64)
    return _epoch_list("record", record, epochs)


def _epoch_list(name: str, listed: Any, epochs: int) -> NDArray[np.int64]:
    if np.ndim(listed) != 1:
        raise ValueError(f"{name} must be a list of epochs, got {listed!r}")
    values = np.unique([integer(name, value, at_least=0) for value in listed]).astype(np.int64)
    if len(values) and values[-1] >= epochs:
        raise ValueError(f"{name} must be below epochs = {epochs}, got {values[-1]}")
    return values


def _check_fits(name: str, values: NDArray[Any], dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    if (np.abs(values) > largest).any():
        raise ValueError(f"{name} must be within +-{largest:g} for {dtype}, got {np.abs(values).max():g}")


def _problem(
    models: LowRankRNN, task: DelayedActivation, rate: NDArray[Any], solved: float, dtype: np.dtype[Any]
) -> schedule.Problem:
    trial = task.trial()
    counted = trial.mask[0, :, 0]
    parameters = np.stack([models.m[:, :, 0], models.n[:, :, 0], models.b, models.initial_state], axis=1)
    return schedule.Problem(
        parameters=parameters.astype(dtype),
        confidence=models.confidence.astype(dtype),
        threshold=models.threshold.astype(dtype),
        rate=rate.astype(dtype),
        trainable=np.array([part in models.trainable for part in PARTS]),
        alpha=task.alpha,
        targets=trial.targets[0, :, 0].astype(dtype),
        weights=np.where(counted, task.loss_scale, 0.0).astype(dtype),
        counted=counted,
        chance_accuracy=task.chance_accuracy,
        solved_loss=solved * task.chance_loss,
    )


def _labelled(
    outcome: schedule.Outcome,
    models: LowRankRNN,
    rate: NDArray[Any],
    epochs: int,
    recorded: NDArray[np.int64],
    kept: NDArray[np.int64],
    config: dict[str, Any],
) -> TrainingRun:
    per_network = {
        "network": np.arange(len(models)),
        "seed": ("network", models.seed),
        "learning_rate": ("network", np.array(rate)),
        "rank": ("network", np.full(len(models), models.rank)),
    }
    history = xr.Dataset(
        {name: (("network", "epoch"), outcome.history[row]) for row, name in enumerate(QUANTITIES)},
        coords={**per_network, "epoch": recorded},
    )
    events = dict(zip(EVENTS, outcome.events, strict=True))
    events["no_learning_zone_entry"] = no_learning_zone_entry(
        events["first_above_chance"], events["last_above_chance"], epochs
    )
    checkpoints = None
    if len(kept):
        m, n, b = (outcome.snapshots[:, :, part] for part in range(3))
        dims = ("checkpoint", "network", "unit")
        checkpoints = xr.Dataset(
            {
                "m": ((*dims, "latent"), m[..., None]),
                "n": ((*dims, "latent"), n[..., None]),
                "b": (dims, b),
                "confidence": (dims[:2], outcome.snapshot_confidence),
            },
            coords={"epoch": ("checkpoint", kept)},
        )
    m, n, b = (outcome.parameters[:, part] for part in range(3))
    return TrainingRun(
        history=history,
        events=xr.Dataset({name: ("network", values) for name, values in events.items()}, coords=per_network),
        models=models.replace(m=m[:, :, None], n=n[:, :, None], b=b, confidence=outcome.confidence),
        config=config,
        checkpoints=checkpoints,
    )
