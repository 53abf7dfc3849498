"""What the experiments on networks share: the published networks and tasks, training under a
progress display, and training in segments whose every epoch is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ghostpoint.errors import InputError
from ghostpoint.experiments.shared.base import Progress
from ghostpoint.experiments.shared.parts import Job, counted_part
from ghostpoint.models import LowRankRNN, Record
from ghostpoint.results import TrainingRun, no_learning_zone_entry
from ghostpoint.tasks import DelayedActivation, Task
from ghostpoint.training import Computing, train

#: the rank-one networks of the letter's end matter; every rank-one experiment starts from these
NETWORKS: Mapping[str, Any] = {
    "delay_ms": 100.0,
    "dt_ms": 5.0,
    "tau_ms": 10.0,
    "confidence": 10.0,
    "threshold": 1.0,
    "initial_state": -0.3,
    "dtype": "float32",
}


def activation(delay: float = NETWORKS["delay_ms"]) -> dict[str, Any]:
    """Delayed activation as JSON, with the published step; ``delay`` in ms."""
    return {"task": "DelayedActivation", "delay": delay, "dt": NETWORKS["dt_ms"], "tau": NETWORKS["tau_ms"]}


def cued(task: str, cue: float, delay: float, **more: Any) -> dict[str, Any]:
    """A task with cues, by its class name, as JSON; periods in ms, the response and the step as
    published.
    """
    return {"task": task, "cue": cue, "delay": delay, "response": 50.0, "dt": 5.0, "tau": 10.0, **more}


def task_of(parameters: Mapping[str, Any]) -> DelayedActivation:
    """The delayed-activation task of an experiment's parameters."""
    return DelayedActivation(parameters["delay_ms"], parameters["dt_ms"], parameters["tau_ms"])


def models_of(parameters: Mapping[str, Any], seeds: list[int], **changes: Any) -> LowRankRNN:
    """The published networks of these seeds, with the readout and initial state of the
    parameters.
    """
    readout = {name: parameters[name] for name in ("confidence", "threshold", "initial_state")}
    return LowRankRNN.published(seeds, **readout, **changes)


def trained(
    progress: Progress,
    description: str,
    models: Record,
    parameters: Mapping[str, Any],
    learning_rate: ArrayLike,
    epochs: int,
    task: Task | None = None,
    *,
    keep: str = "",
    **keywords: Any,
) -> TrainingRun:
    """``train`` on ``task`` (by default the parameters' delayed activation) in their dtype, as a
    phase of ``progress``.

    Parameters
    ----------
    progress : Progress
        Hears of network-epochs done.
    description : str
        Name of the phase; without one the training goes on in the phase there is.
    models, learning_rate, epochs, keywords
        As for :func:`ghostpoint.train`.
    parameters : mapping
        With ``dtype``, and the task's ``delay_ms``, ``dt_ms`` and ``tau_ms`` where ``task`` is left
        out.
    keep : str
        Makes the run a part of that name (see ``parts``), which an interrupted reproduction finds
        again by its initial weights, its settings and the code of the training.
    """
    if description:
        progress.phase(description, len(models) * epochs, len(models))
    if not keep:
        return _run(models, task or task_of(parameters), learning_rate, epochs, parameters["dtype"], keywords, progress)
    job = training(models, parameters, learning_rate, epochs, task, keep=keep, **keywords)
    return TrainingRun.from_dataset(counted_part(progress, job))


def training(
    models: Record,
    parameters: Mapping[str, Any],
    learning_rate: ArrayLike,
    epochs: int,
    task: Task | None = None,
    *,
    keep: str = "",
    **keywords: Any,
) -> Job:
    """What :func:`trained` computes, as a job."""
    task = task or task_of(parameters)
    settings = {
        "task": task.to_dict(),
        "learning_rate": np.asarray(learning_rate, float).tolist(),
        "epochs": epochs,
        "dtype": parameters["dtype"],
        **{name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in keywords.items()},
    }
    make = partial(_dataset, models, task, learning_rate, epochs, parameters["dtype"], keywords)
    return Job(keep, settings, len(models) * epochs, make, train, digest(models))


def _run(
    models: Record, task: Task, learning_rate: ArrayLike, epochs: int, dtype: str, keywords: Mapping[str, Any],
    progress: Progress,
) -> TrainingRun:  # fmt: skip
    computing = Computing("compiled", dtype=dtype, on_progress=progress.advance)
    return train(models, task, learning_rate, epochs, engine=computing, **keywords)


def _dataset(*arguments: Any) -> xr.Dataset:
    return _run(*arguments).to_dataset()


def digest(models: Record) -> str:
    """A hash of the weights and settings of networks."""
    whole = hashlib.sha256(repr((type(models).__name__, sorted(models.settings().items()))).encode())
    for name, values in models.arrays().items():
        whole.update(f"{name} {values.dtype} {values.shape}".encode())
        whole.update(np.ascontiguousarray(values).tobytes())
    return whole.hexdigest()


class Segments:
    """A training of ``epochs`` epochs in segments: ``models`` and the events so far.

    Gradient descent has no memory, so the epochs of the segments are those of one long run, to the
    bit.
    """

    def __init__(self, models: LowRankRNN, epochs: int):
        self.models, self.epochs = models, epochs
        self.first = np.full(len(models), -1, np.int64)
        self.last = np.full(len(models), -1, np.int64)

    def add(self, start: int, run: TrainingRun) -> None:
        """Take in the networks and events of the segment that starts at epoch ``start``."""
        self.models = run.models
        first, last = (run.events[name].values for name in ("first_above_chance", "last_above_chance"))
        self.first = np.where((self.first < 0) & (first >= 0), start + first, self.first)
        self.last = np.where(last >= 0, start + last, self.last)

    @property
    def entry(self) -> NDArray[np.int64]:
        """First epoch of the no-learning zone per network, -1 for never."""
        return no_learning_zone_entry(self.first, self.last, self.epochs)


def train_segments(
    progress: Progress,
    description: str,
    whole: Segments,
    parameters: Mapping[str, Any],
    learning_rate: float,
    segment: int,
    stride: int,
) -> Iterator[tuple[int, TrainingRun]]:
    """Train ``whole`` to its end, yielding ``(first epoch, run)`` every ``segment`` epochs.

    Parameters
    ----------
    progress, description
        The display, and the name of the phase in it.
    whole : Segments
        Takes in each segment before it is yielded.
    parameters : mapping
        With the task's times in ms and the ``dtype``, as for :func:`trained`.
    learning_rate : float
    segment : int
        Epochs of a segment.
    stride : int
        A run's checkpoints are every ``stride``-th epoch of the whole.
    """
    if segment < stride:
        raise InputError(f"segment must be at least the stride {stride}, got {segment}")
    epochs, networks = whole.epochs, len(whole.models)
    progress.phase(description, networks * epochs, networks)
    for start in range(0, epochs, segment):
        length = min(segment, epochs - start)
        run = train(
            whole.models,
            task_of(parameters),
            learning_rate,
            length,
            record="all",
            checkpoints=np.arange(-start % stride, length, stride),
            engine=Computing("compiled", dtype=parameters["dtype"], on_progress=progress.advance),
        )
        whole.add(start, run)
        yield start, run


def spread_epochs(epochs: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` epochs from 0 to ``epochs - 1``, half of them evenly and half
    logarithmically spaced.
    """
    even = np.linspace(0, epochs - 1, count // 2)
    logarithmic = np.geomspace(1, epochs, count - count // 2) - 1
    return np.unique(np.concatenate([even, logarithmic]).round().astype(np.int64))


def linear_grid(limits: Sequence[float], count: int) -> NDArray[np.float64]:
    """``count`` evenly spaced numbers between two limits."""
    return np.linspace(float(limits[0]), float(limits[1]), count)


def log_grid(exponents: Sequence[float], count: int) -> NDArray[np.float64]:
    """``count`` powers of ten with evenly spaced exponents."""
    return 10.0 ** linear_grid(exponents, count)
