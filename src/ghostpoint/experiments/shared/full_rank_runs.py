"""What the full-rank experiments share: their networks and task, trials in full, principal axes,
slow points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import ACTIVATIONS, FullRankRNN
from ghostpoint.slow_points import SlowPoints, find_slow_points
from ghostpoint.tasks import Task

#: a network has learned below this share of the chance loss: no answer that ignores the cues comes
#: below a half
LEARNED = 0.25


def task_of(parameters: Mapping[str, Any]) -> Task:
    """The task that ``parameters["task"]`` describes."""
    return Task.from_dict(parameters["task"])


def networks_of(parameters: Mapping[str, Any], seeds: Sequence[int]) -> FullRankRNN:
    """The published networks of ``parameters["figure"]`` for these seeds."""
    return FullRankRNN.published(seeds, parameters["figure"])


def best_blind_loss(task: Task) -> float:
    """Loss of the best answer that depends on the step alone, the same in every trial: the mean
    target.

    In units of the chance loss: 1 for DCDT, whose targets cancel, and 1/2 for DMTS. It is the
    plateau of a network that has learned when to answer and not yet what.
    """
    trial = task.trial()
    mean = np.broadcast_to(trial.targets.mean(axis=0), trial.targets.shape)
    return float(task.loss(mean, trial)) / task.chance_loss


@dataclass(frozen=True)
class Answers:
    """Trials in full: ``rates`` x (R, trial, steps + 1, N) and ``outputs`` (R, trial, step), of the
    first channel.
    """

    rates: NDArray[np.float64]
    outputs: NDArray[np.float64]


def answers(models: FullRankRNN, task: Task) -> Answers:
    """What networks do in every trial of a task, from their ``initial_state`` and without noise."""
    inputs = task.trial().inputs
    x = [np.broadcast_to(models.initial_state, (len(inputs), *models.initial_state.shape)).astype(np.float64)]
    for step in range(task.steps):
        x.append(models.step(x[-1], task.alpha, inputs[:, step]))
    shift = 1 if task.read_out == "after" else 0
    read = np.stack([models.logit_of_state(state)[..., 0] for state in x[shift : shift + task.steps]])
    outputs = ACTIVATIONS[models.activation](read)
    return Answers(np.moveaxis(np.stack(x), 0, 2).swapaxes(0, 1), np.moveaxis(outputs, 0, 2).swapaxes(0, 1))


def principal_axes(states: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Mean (N,), first ``count`` principal axes (count, N) and their shares of the variance, of
    states (..., N).

    An axis' sign is such that its largest entry is positive.
    """
    flat = states.reshape(-1, states.shape[-1])
    mean = flat.mean(axis=0)
    _, scale, axes = np.linalg.svd(flat - mean, full_matrices=False)
    axes = axes[:count]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return mean, axes * np.sign(largest), (scale**2 / (scale**2).sum())[:count]


def slow_points_of(models: FullRankRNN, states: NDArray[Any], starts: int) -> SlowPoints:
    """Slow points of one network without input, from ``starts`` starts, half of them near its
    ``states`` (..., N).
    """
    return find_slow_points(models, states=states, n_starts=starts)
