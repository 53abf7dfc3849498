"""The specification: training as a readable float64 loop over the full state, for every model and
task.

Nothing here is fast. Every faster engine is tested against :func:`evaluate`, and :func:`evaluate`
against autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import ACTIVATIONS, Record, logistic
from ghostpoint.models.arithmetic import NUMPY
from ghostpoint.remedies import Crossing
from ghostpoint.tasks import Task, Trial


@dataclass(frozen=True)
class Evaluation:
    """Loss, gradient and accuracy of R networks on a task.

    Attributes
    ----------
    loss, accuracy, gradient_norm : (R,)
    gradient : dict
        By every part the model has, trainable or not, in that part's shape.
    output : (R, trials, steps, outputs)
    """

    loss: NDArray[Any]
    accuracy: NDArray[Any]
    gradient: dict[str, NDArray[Any]]
    gradient_norm: NDArray[Any]
    output: NDArray[Any]


def evaluate(
    models: Record,
    task: Task,
    *,
    trial: Trial | None = None,
    initial_states: NDArray[Any] | None = None,
    noise: NDArray[Any] | None = None,
) -> Evaluation:
    """Loss ``L = sum weights (o - target)**2`` of the task, and its gradient by backpropagation
    through time.

    The equations are the family's own (:class:`ghostpoint.models.Record`). Forward:
    ``x[t+1] = step(x[t])``; the answer of step t is ``activation(z)`` of the logit z of x[t] or
    x[t+1], as the task says. Backward, ``y[t] = dL/dx[t]``::

        y[t] = (dx[t+1]/dx[t])^T y[t+1] + (dz/dx)^T dL/dz

    and every step adds its share to the gradient. For the networks of the letter, with the drive
    ``a[t] = W x[t] + W_in u[t] + b + noise[t]``, the step is
    ``x[t+1] = (1 - alpha) x[t] + alpha tanh(a[t])``, and with ``s[t] = alpha y[t+1]
    (1 - tanh(a[t])**2)``::

        (dx[t+1]/dx[t])^T y[t+1] = (1 - alpha) y[t+1] + W^T s[t]
        dL/dW = sum_t s[t] x[t]^T,  dL/dW_in = sum_t s[t] u[t]^T,  dL/db = sum_t s[t]

    and for ``W = m n^T``: ``dL/dm = sum_t s[t] kappa[t]^T``, ``dL/dn = sum_t x[t] (m^T s[t])^T``.
    Written without the latent recursion that the kernels use, so that it checks that too.

    Parameters
    ----------
    models : Record
        R networks of one family.
    task : Task
    trial : Trial, optional
        The trials to use; by default the task's own, where they are not random.
    initial_states : (trials, R, N) array, optional
        By default the models' ``initial_state`` in every trial.
    noise : (steps, trials, R, N) array, optional
        Added inside the units' tanh; none by default.
    """
    trial = task.trial() if trial is None else trial
    path = follow(models, task, trial, initial_states, noise)
    outputs, errors, slopes = _answers(path.logits, trial.targets[:, None], models.activation)
    weights = np.where(trial.mask, task.weights(trial), 0.0)[:, None]
    loss = (weights * errors**2).sum(axis=(0, 2, 3))
    gradient = backpropagate(models, task, trial, path, 2 * weights * errors * slopes)
    per_network = np.moveaxis(outputs, 1, 0)
    return Evaluation(
        loss=loss,
        accuracy=task.accuracy(per_network, trial),
        gradient=gradient,
        gradient_norm=global_norm([gradient[part] for part in models.trainable], len(models)),
        output=per_network,
    )


@dataclass(frozen=True)
class Path:
    """Trials of R networks: ``states`` x[0] to x[steps], a list of (B, R, N); ``kept``, what the
    family's backward step wants of each step; ``logits`` z (B, R, steps, O)."""

    states: list[NDArray[Any]]
    kept: list[Any]
    logits: NDArray[Any]


def follow(
    models: Record,
    task: Task,
    trial: Trial,
    initial_states: NDArray[Any] | None = None,
    noise: NDArray[Any] | None = None,
) -> Path:
    """The forward pass ``x[t+1] = step(x[t])`` of B trials, with the logits; see :func:`evaluate`,
    whose arguments these are.
    """
    alpha, steps = task.alpha, task.steps
    first = models.initial_state if initial_states is None else initial_states
    states = [np.broadcast_to(first, (len(trial.inputs), *models.initial_state.shape))]
    parts, kept = models.arrays(), []
    for t in range(steps):
        disturbance = None if noise is None else noise[t]
        after, of_step = models.advance(NUMPY, parts, states[t], trial.inputs[:, t], alpha, disturbance)
        states.append(after)
        kept.append(of_step)
    shift = 1 if task.read_out == "after" else 0
    z = np.stack([models.read(NUMPY, parts, states[t + shift]) for t in range(steps)], axis=2)
    return Path(states, kept, z)


def backpropagate(
    models: Record, task: Task, trial: Trial, path: Path, by_logit: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Gradient, by every part, of any scalar whose derivative by the logits is ``by_logit``.

    The backward pass of :func:`evaluate`, with ``by_logit`` in the place of dL/dz.

    Parameters
    ----------
    models, task, trial
        As for :func:`follow`, which gave the ``path``.
    path : Path
    by_logit : (B, R, steps, O)

    Returns
    -------
    dict
        Part to an array of its own shape, (R, ...).
    """
    alpha, steps, shift = task.alpha, task.steps, 1 if task.read_out == "after" else 0
    gradient = {part: np.zeros_like(getattr(models, part)) for part in models.present_parts()}
    y = np.zeros_like(path.states[0])
    for t in range(steps, -1, -1):
        x = path.states[t]
        if t < steps:
            y = models.advance_back(gradient, y, x, trial.inputs[:, t], alpha, path.kept[t])
        if 0 <= t - shift < steps:
            y = y + models.read_back(gradient, by_logit[:, :, t - shift], x)
    return gradient


@dataclass(frozen=True)
class Approach:
    """How R networks approach one crossing; see :meth:`ghostpoint.remedies.Crossing.measure`.

    Attributes
    ----------
    crossed, time, peak : (R,)
    gradient : dict
        Of the time where crossed, else of the peak, by part.
    """

    crossed: NDArray[np.bool_]
    time: NDArray[Any]
    peak: NDArray[Any]
    gradient: dict[str, Any]


def approach(models: Record, task: Task, trial: Trial, path: Path, crossing: Crossing) -> Approach:
    """Escape time at a crossing and its gradient by every part, by a backward pass of its own; the
    readout's peak where it does not cross.

    ``path`` is that of :func:`follow` for these models, task and trial; ``crossing`` says which
    trial, output and window.
    """
    z = path.logits[crossing.trial, :, :, crossing.output]
    crossed, time, peak, by_z = crossing.measure(z)
    seed = np.zeros_like(path.logits)
    seed[crossing.trial, :, :, crossing.output] = by_z
    return Approach(crossed, time, peak, backpropagate(models, task, trial, path, seed))


def global_norm(arrays: list[NDArray[Any]], networks: int) -> NDArray[Any]:
    """L2 norm per network over several arrays with the networks as first axis, (R,)."""
    squares = [(array**2).reshape(networks, -1).sum(axis=1) for array in arrays]
    return np.asarray(np.sqrt(np.sum(squares, axis=0)) if squares else np.zeros(networks))


def _answers(
    z: NDArray[Any], targets: NDArray[Any], activation: str
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Outputs, their errors, and the activation's slope."""
    if activation == "sigmoid":
        o, rest = logistic(z), logistic(-z)  # 1 - o itself would lose its digits near 1
        return o, (1 - targets) * o - targets * rest, o * rest
    o = ACTIVATIONS[activation](z)
    return o, o - targets, 1 - o**2 if activation == "tanh" else np.ones_like(z)
