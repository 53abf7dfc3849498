"""What a run is asked to do, and what an epoch of it draws at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.remedies import Remedy
from ghostpoint.tasks import Task
from ghostpoint.training.optimizers import Optimizer

__all__ = ["Plan", "draws"]


@dataclass(frozen=True)
class Plan:
    """What a run is asked to do.

    ``readout_norm`` has one value per network; ``remedies`` are those that change the update or the readout, without
    :class:`~ghostpoint.remedies.ClipGradient`, which is ``clip_norm``.
    """

    rate: NDArray[Any]
    epochs: int
    record_epochs: NDArray[np.int64]
    snapshot_epochs: NDArray[np.int64]
    optimizer: Optimizer
    clip_norm: float | None
    solved_loss: float
    seed: int
    readout_norm: NDArray[Any] | None = None
    remedies: tuple[Remedy, ...] = ()


def draws(models: Record, task: Task, plan_seed: int) -> Callable[[], tuple[Any, Any]]:
    """A function that gives an epoch's initial states (trials, R, N) and noise (steps, trials, R, N), or ``None``.

    Network r draws from a generator of its own, made from the run's seed and the network's (its place in the stack
    where that is unknown), so that a network's draws do not depend on the others.
    """
    keys = [int(seed) if seed >= 0 else place for place, seed in enumerate(models.seed)]
    generators = [np.random.default_rng([plan_seed, key]) for key in keys]
    trials, units = task.n_trials, models.n_units

    def draw() -> tuple[Any, Any]:
        states = noise = None
        if task.initial_scale > 0:
            states = np.tanh(
                task.initial_scale * np.stack([g.normal(size=(trials, units)) for g in generators], axis=1)
            )
        if task.noise > 0:
            noise = task.noise * np.stack([g.normal(size=(task.steps, trials, units)) for g in generators], axis=2)
        return states, noise

    return draw
