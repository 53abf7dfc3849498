"""What a shard computes: a pure function of its settings and its networks, the same bytes on any
machine.

The hash of the code behind :func:`compute` is a part of every shard's name, so this module imports
nothing of how shards are handed out, kept or shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.critical_rate import critical_learning_rate, lethal_update, probe
from ghostpoint.models import Record
from ghostpoint.results import no_learning_zone_entry
from ghostpoint.sweeps.stacks import engine_of, models_of, optimizer_of, remedies_of, task_of
from ghostpoint.tasks import DelayedActivation, Task
from ghostpoint.training import Computing
from ghostpoint.training.outcome import Outcome
from ghostpoint.training.plan import Plan
from ghostpoint.training.train_networks import events_of, outcome_of, recorded_epochs

__all__ = ["Part", "compute", "parts_of", "recorded_epochs", "resumable"]

Settings = Mapping[str, Any]
Networks = Mapping[str, Sequence[Any]]
Labelled = tuple[tuple[str, ...], NDArray[Any]]
#: called with the first epoch of a part of a long training and what computes it; gives the part,
#: kept or computed
Part = Callable[[int, Callable[[], dict[str, Labelled]]], dict[str, Labelled]]


def compute(
    settings: Settings,
    networks: Networks,
    *,
    threads: int = 1,
    on_progress: Callable[[int], None] | None = None,
    every: int | None = None,
    keep: Part | None = None,
) -> dict[str, Labelled]:
    """The arrays of a shard by name, with the names of their axes.

    Of a training: ``epoch``, the epochs of the history; ``loss``, ``gradient_norm``, ``accuracy``
    and whatever else the history has (network, epoch); the events (network); ``final_...``, trained
    parts after the last update. Of critical rates: ``predicted``, ``kept_below`` (the interval of
    the prediction) and ``first_order`` where they are predicted; ``measured``, ``measured_kept``
    (the highest rate below it) and ``learned``; what :func:`ghostpoint.critical_rate.lethal_update`
    gives, where that is asked for.

    Parameters
    ----------
    every : int, optional
        Epochs after which a long training is kept by ``keep``, where it can be (:func:`resumable`);
        no result depends on it.
    """
    task, models, name = _prepared(settings, networks)
    training = settings["training"]
    computing = Computing(name, training["dtype"], threads=threads, on_progress=on_progress)
    if settings["kind"] == "critical_rate":
        return _critical_rates(settings, models, task, computing)
    bounds = parts_of(training["epochs"], every if keep is not None and resumable(settings, task) else None)
    recorded = recorded_epochs(settings["recording"]["history"], training["epochs"])
    if len(bounds) == 1:
        plan, outcome = _trained(settings, networks, models, task, computing, recorded, training["epochs"])
        return _arrays(settings, models, plan, outcome)
    assert keep is not None
    parts = []
    for first, last in bounds:
        inside = recorded[(recorded >= first) & (recorded < last)] - first

        def make(models: Record = models, inside: NDArray[np.int64] = inside, count: int = last - first) -> Any:
            plan, outcome = _trained(settings, networks, models, task, computing, inside, count)
            weights = {f"next_{part}": _weights(models, part, outcome) for part in models.trainable}
            return {**_arrays(settings, models, plan, outcome), **weights}

        done = keep(first, make)
        parts.append(done)
        models = models.replace(**{part: done[f"next_{part}"][1] for part in models.trainable})
    return _joined(parts, bounds, training["epochs"])


def resumable(settings: Settings, task: Task) -> bool:
    """Whether a training can be continued from its weights alone: plain descent on fixed trials,
    without remedies.
    """
    return (
        settings["kind"] == "training"
        and optimizer_of(settings).stateless
        and not remedies_of(settings)
        and not (task.random or task.noise or task.initial_scale)
    )


def parts_of(epochs: int, every: int | None) -> list[tuple[int, int]]:
    """First and last epoch (not included) of the parts of a training."""
    step = epochs if every is None else every
    return [(first, min(first + step, epochs)) for first in range(0, epochs, step)]


#: the task and the engine of the settings of late, which many shards share
_KNOWN: dict[str, tuple[Task, str]] = {}
MOST_KNOWN = 256


def _prepared(settings: Settings, networks: Networks) -> tuple[Task, Record, str]:
    """The task, the initial networks, and the name of the engine that trains them."""
    key = json.dumps(settings)
    known = _KNOWN.get(key)
    task = task_of(settings) if known is None else known[0]
    models = models_of(settings, networks, task)
    if known is None:
        known = task, engine_of(settings, models, task)
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = known
    return task, models, known[1]


def _trained(
    settings: Settings,
    networks: Networks,
    models: Record,
    task: Task,
    computing: Computing,
    recorded: NDArray[np.int64],
    epochs: int,
) -> tuple[Plan, Outcome]:
    training = settings["training"]
    norms = networks.get("readout_norm", training.get("readout_norm"))
    plan, outcome, _, _ = outcome_of(
        models,
        task,
        np.asarray(networks["learning_rate"], float),
        epochs,
        optimizer=optimizer_of(settings),
        remedy=remedies_of(settings) or None,
        readout_norm=norms if norms is None else np.asarray(norms, float),
        seed=training["seed"],
        record=recorded.tolist(),
        solved=training["solved"],
        engine=computing,
    )
    if outcome.interrupted:
        raise KeyboardInterrupt
    return plan, outcome


def _arrays(settings: Settings, models: Record, plan: Plan, outcome: Outcome) -> dict[str, Labelled]:
    """A training as arrays by name."""
    arrays: dict[str, Labelled] = {"epoch": (("epoch",), plan.record_epochs)}
    for name, values in outcome.history.items():
        arrays[name] = (("network", "epoch"), values)
    for name, values in events_of(outcome).items():
        arrays[name] = (("network",), values)
    if settings["recording"]["final_weights"]:
        kind = np.dtype(settings["training"]["dtype"])
        for part in models.trainable:
            dims, values = _weights(models, part, outcome)
            arrays[f"final_{part}"] = (dims, values.astype(kind, copy=False))
    return arrays


def _weights(models: Record, part: str, outcome: Outcome) -> Labelled:
    values = outcome.parameters[part] if part in outcome.parameters else getattr(models, part)
    return ("network", *models.dims[part]), np.asarray(values)


def _joined(parts: Sequence[Mapping[str, Labelled]], bounds: Any, epochs: int) -> dict[str, Labelled]:
    """A training from its parts, as it would be in one piece."""
    joined: dict[str, Labelled] = {}
    starts = [first for first, _ in bounds]
    for name, (dims, _) in parts[0].items():
        pieces = [part[name][1] for part in parts]
        if name.startswith("next_"):
            continue
        if name.startswith("final_"):
            joined[name] = (dims, pieces[-1])
        elif name == "epoch":
            joined[name] = (dims, np.concatenate([piece + start for piece, start in zip(pieces, starts, strict=True)]))
        elif "epoch" in dims:
            joined[name] = (dims, np.concatenate(pieces, axis=1))
        else:
            when = np.stack(
                [np.where(piece >= 0, piece + start, -1) for piece, start in zip(pieces, starts, strict=True)]
            )
            first = np.where(when >= 0, when, epochs).min(axis=0)
            joined[name] = (dims, when.max(axis=0) if name.startswith("last") else np.where(first < epochs, first, -1))
    entry = no_learning_zone_entry(joined["first_above_chance"][1], joined["last_above_chance"][1], epochs)
    joined["no_learning_zone_entry"] = (("network",), entry)
    return joined


def _critical_rates(settings: Settings, models: Record, task: Task, computing: Computing) -> dict[str, Labelled]:
    asked, epochs, rates = settings["measurement"], settings["training"]["epochs"], settings["measurement"]["rates"]
    engine = Computing(computing.engine, computing.dtype, threads=computing.threads)
    shared: dict[str, Any] = {
        "optimizer": optimizer_of(settings), "on_progress": computing.on_progress, "engine": engine,
    }  # fmt: skip
    values: dict[str, Any] = {}
    trained = None
    if asked["predict"]:
        found = critical_learning_rate(
            models, task, measure=asked["train"], rates=rates, horizon=asked["horizon"], epochs=epochs, **shared
        )
        trained = found.training
        values = {
            "predicted": found.predicted, "kept_below": found.interval[:, 0], "first_order": found.first_order,
        }  # fmt: skip
    elif asked["train"]:
        trained = probe(models, task, rates, epochs, **shared)
    none = np.full(len(models), np.nan)
    values |= {
        "measured": none if trained is None else trained.critical,
        "measured_kept": none if trained is None else trained.kept,
        "learned": none if trained is None else trained.learned.any(axis=0).astype(float),
    }
    if asked["lethal_update"]:
        assert isinstance(task, DelayedActivation)
        assert trained is not None
        values |= lethal_update(models, task, trained, engine=engine)
    return {name: (("network",), np.asarray(one, float)) for name, one in values.items()}
