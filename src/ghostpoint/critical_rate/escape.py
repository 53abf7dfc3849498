"""When a readout crosses from one answer to the next, and how that time depends on every trainable
number.

The escape time t of a network is the time it spends at its ghost before it answers. Training moves
it to the delay, and from there the size of its gradient says how far one update carries the
network: the critical learning rate (:mod:`ghostpoint.critical_rate.prediction`) is a statement
about t and its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.remedies import Crossing, crossings
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.reference import approach, follow, global_norm


@dataclass(frozen=True)
class Escape:
    """Escape times of R networks at the E crossings of a task, and their gradients where those were
    asked for.

    Attributes
    ----------
    crossings : tuple of Crossing
        Which trial, output channel, readings and logit each of the E belongs to.
    time : (E, R)
        Readings from the start of the crossing's window to the crossing; NaN where the readout does
        not cross in it.
    speed : (E, R)
        Logit per step at the crossing, in the direction of the target; NaN likewise. The output
        goes from one answer to the other within about ``1 / speed`` steps.
    gradient : dict or None
        Trainable part to ``d time / d part``, (E, R, ...); NaN where the readout does not cross.
    norm : (E, R) or None
        L2 norm of the gradient over all trainable parts.
    """

    crossings: tuple[Crossing, ...]
    time: NDArray[Any]
    speed: NDArray[Any]
    gradient: dict[str, NDArray[Any]] | None = None
    norm: NDArray[Any] | None = None

    @property
    def delay(self) -> NDArray[np.int64]:
        """T: readings from the start of each crossing's window to the transition of the target,
        (E,).
        """
        return np.array([crossing.delay for crossing in self.crossings], np.int64)


def escape_time(
    models: Record,
    task: Task,
    *,
    trial: Trial | None = None,
    initial_states: NDArray[Any] | None = None,
    noise: NDArray[Any] | None = None,
) -> Escape:
    """Times at which the networks' readouts cross midway between two successive targets, by linear
    interpolation.

    For a target that goes from a to b, with ``g[t] = sign(b - a) (z[t] - z*)`` the logit's distance
    beyond the one, z*, whose output is ``(a + b) / 2`` (logit 0 between 0 and 1; outputs of +-0.5
    between 0 and +-1), the escape time is

        t = j + 1 + g[j] / (g[j] - g[j + 1])

    for the first j with ``g[j] <= 0 < g[j + 1]``. Readings of a window count from 1 at its start,
    which is the trial's start or the target's previous transition; a readout that is read after
    each update is at time j after j steps.

    Parameters
    ----------
    models : LowRankRNN or FullRankRNN
        R networks.
    trial, initial_states, noise
        As for :func:`ghostpoint.training.reference.evaluate`.

    Raises
    ------
    ValueError
        If no target of the task goes from one counted answer to another, or its trials are random
        and none is given.
    """
    return _escape(models, task, trial, initial_states, noise, gradient=False)


def escape_gradient(
    models: Record,
    task: Task,
    *,
    trial: Trial | None = None,
    initial_states: NDArray[Any] | None = None,
    noise: NDArray[Any] | None = None,
) -> Escape:
    """:func:`escape_time` with its gradient by every trainable part: one backward pass for each
    crossing.

    The pass starts at the two readings around the crossing, where
    ``dt/dg[j] = -g[j+1] / (g[j+1] - g[j])**2`` and ``dt/dg[j+1] = g[j] / (g[j+1] - g[j])**2``. The
    time is a smooth function of the parameters as long as the crossing stays between the same two
    readings, and continuous beyond. Arguments and errors as for :func:`escape_time`.
    """
    return _escape(models, task, trial, initial_states, noise, gradient=True)


def _escape(models: Record, task: Task, trial: Trial | None, states: Any, noise: Any, *, gradient: bool) -> Escape:
    if trial is None:
        if task.random:
            raise InputError("trial must be given for a task with random trials: trial=task.trial(seed)")
        trial = task.trial()
    found = tuple(crossings(task, trial, models.activation))
    if not found:
        raise InputError("task must have a target that goes from one counted answer to another, got none")
    path = follow(models, task, trial, states, noise)
    measured = [crossing.measure(path.logits[crossing.trial, :, :, crossing.output]) for crossing in found]
    crossed = np.stack([one[0] for one in measured])
    time = np.where(crossed, np.stack([one[1] for one in measured]), np.nan)
    # d t / dz summed over the two readings is -1 / (g[j+1] - g[j]), whatever the fraction between
    # them
    slope = np.abs(np.stack([one[3].sum(axis=1) for one in measured]))
    speed = np.where(crossed, 1.0 / np.where(crossed, slope, 1.0), np.nan)
    if not gradient:
        return Escape(found, time, speed)
    passes = [approach(models, task, trial, path, crossing).gradient for crossing in found]
    parts = {}
    for part in models.trainable:
        stacked = np.stack([one[part] for one in passes])
        parts[part] = np.where(crossed.reshape(*crossed.shape, *[1] * (stacked.ndim - 2)), stacked, np.nan)
    count = crossed.size
    flat = [values.reshape(count, *values.shape[2:]) for values in parts.values()]
    return Escape(found, time, speed, parts, global_norm(flat, count).reshape(crossed.shape))
