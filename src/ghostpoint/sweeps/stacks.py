"""From the settings of a sweep to what ``train`` takes: networks, task, optimiser, remedies,
engine.

A *stack* is what one call of ``train`` can hold: networks that differ in the settings of
:data:`PER_NETWORK` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.models import FAMILIES, Record
from ghostpoint.remedies import REMEDIES, ClipGradient, Remedy, resolve
from ghostpoint.remedies.crossings import RANGES
from ghostpoint.tasks import Task
from ghostpoint.training.engines import ENGINES, can_try
from ghostpoint.training.optimizers import OPTIMIZERS, Optimizer
from ghostpoint.training.plan import Plan

__all__ = [
    "PER_NETWORK", "engine_of", "models_of", "optimizer_of", "remedies_of", "task_of", "with_spare_ranks",
]  # fmt: skip

#: settings that may differ within a stack, by section and key
PER_NETWORK = (
    ("models", "seed"),
    ("models", "confidence"),
    ("models", "threshold"),
    ("training", "learning_rate"),
    ("training", "readout_norm"),
)
Settings = Mapping[str, Any]


def task_of(settings: Settings) -> Task:
    """The task of ``settings["task"]``, whose ``name`` is its class."""
    given = {key: value for key, value in settings["task"].items() if key != "name"}
    return Task.from_dict({"task": settings["task"]["name"], **given})


def models_of(settings: Settings, networks: Mapping[str, Sequence[Any]], task: Task) -> Record:
    """The initial networks: drawn as published for a figure, or by a scheme of their family.

    ``networks`` has a list for every setting that differs between networks: ``seed`` always, others
    where they do.
    """
    asked = dict(settings["models"])
    family, figure, units = (asked.pop(name, None) for name in ("family", "published", "units"))
    spare = asked.pop("spare_ranks", 0)
    kind: Any = FAMILIES[family]
    seeds, rows = np.unique(networks["seed"], return_inverse=True)
    if figure is not None:
        if not hasattr(kind, "published"):
            raise InputError(f"published must be left out for {family}, of which no networks are published")
        if asked.pop("scheme", None) is not None:
            raise InputError("scheme must be left out where published is given")
        models = kind.published(seeds.tolist(), figure, **asked)
    else:
        scheme = asked.pop("scheme", None)
        sizes = {"n_inputs": task.n_inputs, "n_outputs": task.n_outputs}
        models = kind.initialize(units, seeds.tolist(), scheme, **sizes, **asked)
    models = with_spare_ranks(models, spare)[rows]
    changed = {name: np.asarray(networks[name], float) for name in ("confidence", "threshold") if name in networks}
    return models.replace(**changed) if changed else models


def with_spare_ranks(models: Record, spare: int) -> Any:
    """Low-rank networks with ``spare`` more columns of m and n, normal with variance 1/N, that
    their readout ignores.

    Readout, confidence, and what is there of W stay, so that only the number of trainable ranks
    differs.
    """
    if not spare:
        return models
    if not {"m", "n"} <= set(models.present_parts()) or "w_out" in models.present_parts():
        raise InputError("spare_ranks must be 0 unless the networks are of low rank and their readout is the latent")
    units = models.n_units
    columns = np.stack(
        [np.random.default_rng(seed).normal(size=(2, units, spare)) / np.sqrt(units) for seed in models.seed]
    )
    more = {name: np.concatenate([getattr(models, name), columns[:, at]], 2) for at, name in enumerate(("m", "n"))}
    return models.replace(**more)


def optimizer_of(settings: Settings) -> Optimizer:
    """A name, or a table with ``name`` and what is other than in that optimiser."""
    asked = settings["training"]["optimizer"]
    given = {"name": asked} if isinstance(asked, str) else dict(asked)
    base = OPTIMIZERS[one_of("optimizer", given.pop("name", ""), OPTIMIZERS)]
    return _changed("optimizer", base, given)


def remedies_of(settings: Settings) -> tuple[Remedy, ...] | str:
    """Those of ``settings["remedies"]`` by name, each with what is other than its defaults; or
    "auto".
    """
    asked = settings["remedies"]
    if asked.get("auto"):
        return "auto"
    return tuple(
        _changed(name, REMEDIES[one_of("remedy", name, REMEDIES)], given)
        for name, given in asked.items()
        if name != "auto"
    )


def _changed(name: str, record: Any, given: Mapping[str, Any]) -> Any:
    """A frozen dataclass with some fields changed; lists stand for tuples."""
    known = [field.name for field in fields(record) if field.init]
    for key in given:
        one_of(name, key, known)
    return replace(record, **{key: tuple(one) if isinstance(one, list) else one for key, one in given.items()})


def engine_of(settings: Settings, models: Record, task: Task) -> str:
    """The engine that trains a stack, after a check that it can.

    "auto" is the compiled one where it can, else torch, else the reference: never one that the
    machine has by chance, since the same shard must have the same bytes everywhere.

    Raises
    ------
    ValueError
        For networks whose channels or outputs do not suit the task, and where the engine cannot
        train them.
    """
    for name, have, want in (
        ("input", models.n_inputs, task.n_inputs), ("output", models.n_outputs, task.n_outputs),
    ):  # fmt: skip
        if have != want:
            raise InputError(
                f"models must have the task's {want} {name} channels, got {have}: "
                "another scheme or published figure may have them"
            )
    trial = task.trial(0)
    counted = trial.targets[np.broadcast_to(trial.mask, trial.targets.shape)]
    reached = [one for one, (low, high) in RANGES.items() if low <= counted.min() and counted.max() <= high]
    one_of("activation", models.activation, reached)
    training = settings["training"]
    tries = "readout_norm" not in training and can_try(training["engine"])
    remedies = resolve(remedies_of(settings) or None, task, models.activation, tries=tries)
    clips = [one for one in remedies if type(one) is ClipGradient]
    none = np.zeros(0, np.int64)
    plan = Plan(
        rate=np.ones(len(models)), epochs=1, record_epochs=none, snapshot_epochs=none,
        optimizer=optimizer_of(settings), clip_norm=clips[0].norm if clips else None, solved_loss=1.0, seed=0,
        readout_norm=np.ones(len(models)) if "readout_norm" in training else None,
        remedies=tuple(one for one in remedies if one not in clips),
    )  # fmt: skip
    if plan.readout_norm is not None and "w_out" not in models.present_parts():
        raise InputError("readout_norm must be left out for networks without w_out")
    names = ("compiled", "torch", "reference") if training["engine"] == "auto" else (training["engine"],)
    reasons = []
    for name in names:
        engine = ENGINES[one_of("engine", name, ENGINES)]
        reason = engine.obstacle(models, task, plan)
        if not reason and training["dtype"] not in engine.dtypes:
            reason = f"dtype must be {' or '.join(engine.dtypes)} for the {name} engine"
        if not reason:
            return name
        reasons.append(reason)
    raise InputError(f"engine must be another than {training['engine']}: {'; '.join(reasons)}")
