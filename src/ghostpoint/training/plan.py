"""What a run is asked to do, and what an epoch of it draws at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.remedies import Remedy
from ghostpoint.tasks import Task
from ghostpoint.training.optimizers import Optimizer


@dataclass(frozen=True)
class Plan:
    """What a run is asked to do.

    ``readout_norm`` has one value per network; ``remedies`` are those that change the update or the
    readout, without :class:`~ghostpoint.remedies.ClipGradient`, which is ``clip_norm``.
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

    def __post_init__(self) -> None:
        trying = [type(one).__name__ for one in self.remedies if one.tries_updates]
        if trying and self.readout_norm is not None:
            raise InputError(
                f"readout_norm must be left out with the remedy {trying[0]}, which tries updates as they are"
            )


WORD = 2**32
#: streams of networks whose seed is known, of those with a place in the stack only, and of seeds of
#: more than a word
SEEDED, PLACED, LONG = 0, 1, 2


def entropy(plan_seed: int, network_seed: int, place: int) -> tuple[int, ...]:
    """32-bit words from which a network's initial states and noise are drawn; no two pairs of seeds
    share them.

    ``(seed of the run, seed of the network, stream, ...)``, or the place in the stack for the seed
    of the network where that is unknown (negative). Zeros at the end do not count for
    :class:`numpy.random.SeedSequence`.
    """
    key, stream = (place, PLACED) if network_seed < 0 else (network_seed, SEEDED)
    if max(plan_seed, key) < WORD:
        return plan_seed, key, stream
    words = []
    while plan_seed:
        words.append(plan_seed % WORD)
        plan_seed //= WORD
    return key % WORD, key // WORD, LONG + stream, *words


def kernel_key(plan_seed: int, network_seed: int, place: int) -> int:
    """The kernels' 64-bit key of a network's random numbers, as a signed integer.

    ``2**32 seed of the run + seed of the network`` for seeds of up to 31 and 32 bits. All other
    pairs have a negative key, a digest of :func:`entropy`; two of n networks then share one with a
    probability of about n**2 / 2**64.
    """
    if plan_seed < WORD // 2 and 0 <= network_seed < WORD:
        return plan_seed * WORD + network_seed
    digest = np.random.SeedSequence(entropy(plan_seed, network_seed, place)).generate_state(1, np.uint64)
    return int(digest[0] >> np.uint64(1)) - 2**63


def draws(models: Record, task: Task, plan_seed: int) -> Callable[[], tuple[Any, Any]]:
    """A function that gives the next epoch's initial states (trials, R, N) and noise
    (steps, trials, R, N), ``None`` for what the task does not draw.

    Network r draws from a generator of its own, made from the run's seed and the network's (its
    place in the stack where that is unknown), so that a network's draws do not depend on the
    others.
    """
    words = [entropy(plan_seed, int(seed), place) for place, seed in enumerate(models.seed)]
    generators = [np.random.default_rng(one) for one in words]
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
