"""How a grid is cut into shards: how large they are, what they are called, and how an extended grid
keeps them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.sweeps.configuration import Configuration, Stack
from ghostpoint.sweeps.shard_work import recorded_epochs, resumable
from ghostpoint.sweeps.stacks import task_of

__all__ = ["SHORTEST", "SPEED", "Shard", "cut", "work_of"]

#: multiplications and additions per second on one core, of one machine; it sets the size of shards,
#: the same everywhere
SPEED = 1e10
#: seconds on one core that a shard should take: neither so long that much is lost, nor so short
#: that writing it shows
LONGEST, SHORTEST = 30.0, 1.0
#: shards that a grid should have at least, so that many cores share it evenly
ENOUGH = 64
#: networks that the kernels of low rank train at once
LANES = 16
#: networks and bytes of a shard at most
MOST, LARGEST = 1024, 128 << 20
#: seconds of a part of a long training
PART = 300.0


@dataclass(frozen=True)
class Shard:
    """Networks that are trained and kept together.

    Attributes
    ----------
    key : str
        Hash of ``settings``, ``networks`` and the code: the file's name.
    settings, networks
        As for :func:`ghostpoint.sweeps.shard_work.compute`.
    members : (R,) int
        Places in the grid, -1 for networks that a later grid does not have.
    work : float
        Estimate of the multiplications and additions.
    network_epochs : int
    every : int or None
        Epochs after which a long training is kept.
    """

    key: str
    settings: dict[str, Any]
    networks: dict[str, list[Any]]
    members: NDArray[np.int64]
    work: float
    network_epochs: int
    every: int | None

    @property
    def computes(self) -> dict[str, Any]:
        """What the file says about itself."""
        return {"settings": self.settings, "networks": self.networks}


def cut(grids: Sequence[Configuration], code: str) -> list[Shard]:
    """The shards of a sweep whose grid was extended any number of times, computed by the code of
    that hash.

    Each grid is cut by itself, without the networks of those before it. So the shards depend on
    nothing but the grids: every process that looks at a folder finds the same ones, and those of
    before stay what they are.
    """
    last = grids[-1]
    if len(grids) == 1:
        return [shard for stack in last.stacks() for shard in _pieces(last, stack, code)]
    places: dict[str, int] = {}
    for stack in last.stacks():
        places.update(zip(_names(stack), stack.members.tolist(), strict=True))
    known: set[str] = set()
    shards = []
    for grid in grids:
        for stack in grid.stacks():
            names = _names(stack)
            fresh = [row for row, name in enumerate(names) if name not in known]
            known.update(names)
            members = np.array([places.get(names[row], -1) for row in fresh], np.int64)
            some = Stack(
                stack.settings, members, {key: [all_[row] for row in fresh] for key, all_ in stack.networks.items()}
            )
            if fresh:
                shards += [shard for shard in _pieces(grid, some, code) if (shard.members >= 0).any()]
    return shards


def work_of(settings: dict[str, Any]) -> tuple[float, int]:
    """Multiplications and additions per network, roughly, and network-epochs.

    Forward and backward together a step takes about ``6 N K + 12 N`` of them at rank K, N being the
    units, and ``6 N**2 + 12 N`` at full rank.
    """
    task, training, models = task_of(settings), settings["training"], settings["models"]
    units = models.get("units", 100)
    rank = models.get("rank", 1) if models["family"] == "LowRankRNN" else units
    epochs = training["epochs"]
    if settings["kind"] == "critical_rate":
        asked = settings["measurement"]
        each = asked["horizon"] * asked["predict"] + epochs * asked["train"]
        epochs = len(asked["rates"]) * each
    step = units * (6 * rank + 12)
    return float(epochs) * task.n_trials * task.steps * step, epochs


def _pieces(grid: Configuration, stack: Stack, code: str) -> Iterable[Shard]:
    work, epochs = work_of(stack.settings)
    size = grid.shards.get("networks") or _size(stack, work, grid.count)
    every = None
    if resumable(stack.settings, task_of(stack.settings)):
        seconds = work * min(size, len(stack.members)) / SPEED
        every = grid.shards.get("resume_every") or (int(epochs * PART / seconds) if seconds > 2 * PART else None)
    for first in range(0, len(stack.members), size):
        some = slice(first, first + size)
        networks = {key: values[some] for key, values in stack.networks.items()}
        count = len(stack.members[some])
        yield Shard(
            _key(stack.settings, networks, code), stack.settings, networks, stack.members[some], work * count,
            epochs * count, every,
        )  # fmt: skip


def _size(stack: Stack, work: float, count: int) -> int:
    """Networks of a shard: some seconds of work, whole vectors, and a history that fits into
    memory.
    """
    seconds = work / SPEED
    target = float(np.clip(seconds * count / ENOUGH, SHORTEST, LONGEST))
    size = max(1, int(target / seconds))
    settings = stack.settings
    if settings["kind"] == "training":
        recorded = len(recorded_epochs(settings["recording"]["history"], settings["training"]["epochs"]))
        size = min(size, max(1, LARGEST // (16 * max(1, recorded))))
        if settings["models"]["family"] == "LowRankRNN" and settings["models"].get("rank", 1) <= 2:
            size = max(LANES, size // LANES * LANES)
    return min(size, MOST)


def _key(settings: dict[str, Any], networks: dict[str, list[Any]], code: str) -> str:
    what = json.dumps([settings, networks, code], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()[:32]


def _names(stack: Stack) -> list[str]:
    """A text for each network that says all that is computed of it."""
    settings = json.dumps(stack.settings, sort_keys=True)
    keys = sorted(stack.networks)
    rows = zip(*(stack.networks[key] for key in keys), strict=True)
    return [f"{settings}{keys}{row!r}" for row in rows]
