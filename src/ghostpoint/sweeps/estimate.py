"""What a sweep will take: memory, disk, and the time, from a small probe on this machine."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ghostpoint.critical_rate import before_crossing
from ghostpoint.sweeps.configuration import Configuration
from ghostpoint.sweeps.shard_work import compute, recorded_epochs
from ghostpoint.sweeps.shards import SPEED, Shard, cut, work_of
from ghostpoint.sweeps.stacks import engine_of, models_of, task_of
from ghostpoint.training import Computing, train

__all__ = ["Estimate", "estimate"]

#: kinds of networks that are probed at most, networks and seconds of a probe, and repeats of which
#: the fastest counts
KINDS, NETWORKS, SECONDS, REPEATS = 6, 16, 0.4, 2


@dataclass(frozen=True)
class Estimate:
    """What a sweep will take.

    Attributes
    ----------
    networks, shards : int
    largest : int
        Networks of the largest shard.
    memory, disk : int
        Bytes: of the shards that are computed at once, and of all files.
    core_seconds : float
        On one core of this machine. Networks that stop changing leave early, so it is mostly too
        long; the last training of ``lethal_update``, one more rate, is not in it.
    probed : int
        Kinds of networks that were timed; of others the time is that of the most alike per unit of
        work.
    """

    networks: int
    shards: int
    largest: int
    memory: int
    disk: int
    core_seconds: float
    probed: int


def estimate(configuration: Configuration, threads: int) -> Estimate:
    """Memory, disk and time of a sweep; takes some seconds, and once more as many to compile a
    kernel.
    """
    shards = cut([configuration], "")
    sizes = [_bytes(shard) for shard in shards]
    together = sorted(sizes, reverse=True)[:threads]
    kinds: dict[str, list[Shard]] = {}
    for shard in shards:
        kinds.setdefault(repr({key: shard.settings[key] for key in ("models", "training", "remedies")}), []).append(
            shard
        )
    heavy = sorted(kinds.values(), key=lambda some: -sum(shard.work for shard in some))
    slowness = [_probe(some[0]) for some in heavy[:KINDS]]
    seconds = 0.0
    for place, some in enumerate(heavy):
        near = place if place < len(slowness) else _alike(some[0], [one[0] for one in heavy[: len(slowness)]])
        seconds += slowness[near] * sum(shard.work for shard in some)
    seconds += _to_first_crossings([shard for shard in shards if shard.settings.get("measurement", {}).get("predict")])
    return Estimate(
        configuration.count, len(shards), max(len(shard.members) for shard in shards), 3 * sum(together), sum(sizes),
        seconds, len(slowness),
    )  # fmt: skip


def _probe(shard: Shard) -> float:
    """Processor seconds per multiplication of a few networks over a few epochs; other programs do
    not count.
    """
    settings = deepcopy(shard.settings)
    networks = {key: values[:NETWORKS] for key, values in shard.networks.items()}
    count = len(networks["seed"])
    settings["recording"] = {"history": [0], "final_weights": False}
    settings["kind"] = "training"
    if shard.settings["kind"] == "critical_rate":
        rates = shard.settings["measurement"]["rates"]
        networks["learning_rate"] = [rates[len(rates) // 2]] * count
        settings["training"]["solved"] = 0.05
    settings["training"]["epochs"] = 1
    per_epoch = work_of(settings)[0] * count
    compute(settings, networks)  # compiles
    whole = max(1, shard.settings["training"]["epochs"])
    settings["training"]["epochs"] = epochs = int(np.clip(SECONDS * SPEED / per_epoch, 2, whole))
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        compute(settings, networks)
        times.append(time.process_time() - start)
    return min(times) / (per_epoch * epochs)


def _to_first_crossings(shards: list[Shard]) -> float:
    """Processor seconds until all networks of shards are before their first crossing, from whose
    descents critical rates are predicted.

    Some kinds of networks are timed, evenly spaced in their work an epoch; the others are
    interpolated.
    """
    kinds: dict[str, list[Shard]] = {}
    for shard in shards:
        kinds.setdefault(repr([shard.settings["models"], shard.settings["task"]]), []).append(shard)
    ordered = sorted(kinds.values(), key=lambda some: _epoch_of(some[0]))
    if not ordered:
        return 0.0
    places = np.unique(np.linspace(0, len(ordered) - 1, KINDS).astype(int))
    works = np.log([_epoch_of(some[0]) for some in ordered])
    times = np.log([max(1e-6, _to_first_crossing(ordered[place][0])) for place in places])
    each = np.exp(np.interp(works, works[places], times))
    return float(sum(time * len(some) for time, some in zip(each, ordered, strict=True)))


def _to_first_crossing(shard: Shard) -> float:
    task = task_of(shard.settings)
    models = models_of(shard.settings, shard.networks, task)
    name, dtype = engine_of(shard.settings, models, task), shard.settings["training"]["dtype"]
    engine = Computing(name, dtype, threads=1)
    train(models, task, 1e-3, 1, record=[0], engine=engine)  # compiles
    start = time.process_time()
    before_crossing(models, task, engine=engine)
    return time.process_time() - start


def _epoch_of(shard: Shard) -> float:
    """Multiplications and additions of a network in an epoch."""
    return shard.work / max(1, shard.network_epochs)


def _alike(shard: Shard, probed: list[Shard]) -> int:
    """The probed shard whose networks have about as much work an epoch, of the same family where
    there is one.
    """

    def apart(other: Shard) -> tuple[bool, float]:
        one, two = (_epoch_of(each) for each in (shard, other))
        return shard.settings["models"]["family"] != other.settings["models"]["family"], abs(np.log(one / two))

    return min(range(len(probed)), key=lambda place: apart(probed[place]))


def _bytes(shard: Shard) -> int:
    """Of the file of a shard, about."""
    settings, count = shard.settings, len(shard.members)
    item = np.dtype(settings["training"]["dtype"]).itemsize
    total = 2000 + 64 * count
    if settings["kind"] == "training":
        recorded = len(recorded_epochs(settings["recording"]["history"], settings["training"]["epochs"]))
        total += (3 + bool(settings["remedies"])) * count * recorded * item
        if settings["recording"]["final_weights"]:
            one: dict[str, Any] = {key: values[:1] for key, values in shard.networks.items()}
            models = models_of(settings, one, task_of(settings))
            total += sum(prod(getattr(models, part).shape) for part in models.trainable) * item * count
    return total
