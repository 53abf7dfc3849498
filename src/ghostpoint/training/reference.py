"""The specification: training as a readable float64 loop over the full state, for every model and task.

Nothing here is fast. Every faster engine is tested against :func:`evaluate`, and :func:`evaluate` against autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import ACTIVATIONS, FullRankRNN, LowRankRNN, Record, logistic
from ghostpoint.remedies import Crossing
from ghostpoint.tasks import Task, Trial

__all__ = ["Approach", "Evaluation", "Path", "approach", "backpropagate", "evaluate", "follow", "global_norm"]


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
    """Loss ``L = sum weights (o - target)**2`` of the task, and its gradient by backpropagation through time.

    Forward: ``x[t+1] = (1 - alpha) x[t] + alpha tanh(a[t])`` with the drive ``a[t] = W x[t] + W_in u[t] + b +
    noise[t]``; the answer of step t is ``activation(z)`` of the readout z of x[t] or x[t+1], as the task says.
    Backward, with ``y[t] = dL/dx[t]`` and ``s[t] = alpha y[t+1] (1 - tanh(a[t])**2)``::

        y[t] = (1 - alpha) y[t+1] + W^T s[t] + (dz/dx)^T dL/dz
        dL/dW = sum_t s[t] x[t]^T,  dL/dW_in = sum_t s[t] u[t]^T,  dL/db = sum_t s[t]

    and for ``W = m n^T``: ``dL/dm = sum_t s[t] kappa[t]^T``, ``dL/dn = sum_t x[t] (m^T s[t])^T``. Written without the
    latent recursion that the kernels use, so that it checks that too.

    Parameters
    ----------
    trial : Trial, optional
        The trials to use; by default the task's own, where they are not random.
    initial_states : (trials, R, N) array, optional
        By default the models' ``initial_state`` in every trial.
    noise : (steps, trials, R, N) array, optional
        Added inside the tanh; none by default.
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
    """Trials of R networks: ``states`` x[0] to x[steps] and ``rates`` (lists of (B, R, N)), ``logits`` z (B, R, steps,
    O)."""

    states: list[NDArray[Any]]
    rates: list[NDArray[Any]]
    logits: NDArray[Any]


def follow(
    models: Record,
    task: Task,
    trial: Trial,
    initial_states: NDArray[Any] | None = None,
    noise: NDArray[Any] | None = None,
) -> Path:
    """The forward pass of :func:`evaluate`."""
    alpha, steps = task.alpha, task.steps
    first = models.initial_state if initial_states is None else initial_states
    states = [np.broadcast_to(first, (len(trial.inputs), *models.initial_state.shape))]
    rates = []
    for t in range(steps):
        rates.append(models.rates_of_state(states[t], trial.inputs[:, t], 0.0 if noise is None else noise[t]))
        states.append((1 - alpha) * states[t] + alpha * rates[t])
    shift = 1 if task.read_out == "after" else 0
    z = np.stack([models.logit_of_state(states[t + shift]) for t in range(steps)], axis=2)
    return Path(states, rates, z)


def backpropagate(
    models: Record, task: Task, trial: Trial, path: Path, by_logit: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Gradient, by every part, of anything whose derivative by the logits (B, R, steps, O) is ``by_logit``.

    The backward pass of :func:`evaluate`, with dL/dz as its seed.
    """
    alpha, steps, shift = task.alpha, task.steps, 1 if task.read_out == "after" else 0
    gradient = {part: np.zeros_like(getattr(models, part)) for part in models.present_parts()}
    y = np.zeros_like(path.states[0])
    for t in range(steps, -1, -1):
        x = path.states[t]
        if t < steps:
            s = alpha * y * (1 - path.rates[t] ** 2)
            y = (1 - alpha) * y + _through_step(models, gradient, x, trial.inputs[:, t], s)
        if 0 <= t - shift < steps:
            y = y + _through_readout(models, gradient, x, by_logit[:, :, t - shift])
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
    """Escape time (or peak) at a crossing and its gradient, by a backward pass of its own."""
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


def _through_step(
    models: Record, gradient: dict[str, NDArray[Any]], x: NDArray[Any], u: NDArray[Any], s: NDArray[Any]
) -> NDArray[Any]:
    """Add a step's share to the gradient; the derivative by x that goes through W, (B, R, N)."""
    gradient["b"] += s.sum(axis=0)
    if "w_in" in gradient:
        gradient["w_in"] += np.einsum("brn,bi->rni", s, u)
    if isinstance(models, FullRankRNN):
        gradient["W"] += np.einsum("brn,brk->rnk", s, x)
        return np.einsum("rnk,brn->brk", models.W, s)
    assert isinstance(models, LowRankRNN)
    by_latent = np.einsum("rnk,brn->brk", models.m, s)
    gradient["m"] += np.einsum("brn,brk->rnk", s, models.latent(x))
    return _through_latent(models, gradient, x, by_latent)


def _through_latent(
    models: LowRankRNN, gradient: dict[str, NDArray[Any]], x: NDArray[Any], by_latent: NDArray[Any]
) -> NDArray[Any]:
    """Add the share of ``kappa = n^T x`` to the gradient; the derivative by x."""
    gradient["n"] += np.einsum("brn,brk->rnk", x, by_latent)
    return np.einsum("rnk,brk->brn", models.n, by_latent)


def _through_readout(
    models: Record, gradient: dict[str, NDArray[Any]], x: NDArray[Any], by_logit: NDArray[Any]
) -> NDArray[Any]:
    """Add the readout's share to the gradient; the derivative by x that goes through it, (B, R, N)."""
    if isinstance(models, LowRankRNN) and (models.w_out is None or models.readout == "latent"):
        kappa = models.latent(x)
        if models.w_out is None:
            gradient["confidence"] += (by_logit[..., 0] * (kappa[..., 0] - models.threshold)).sum(axis=0)
            by_latent = np.zeros_like(kappa)
            by_latent[..., 0] = by_logit[..., 0] * models.confidence
        else:
            gradient["w_out"] += np.einsum("bro,brk->rok", by_logit, kappa)
            gradient["b_out"] += by_logit.sum(axis=0)
            by_latent = np.einsum("rok,bro->brk", models.w_out, by_logit)
        return _through_latent(models, gradient, x, by_latent)
    assert isinstance(models, FullRankRNN | LowRankRNN)
    assert models.w_out is not None
    gradient["w_out"] += np.einsum("bro,brn->ron", by_logit, x)
    gradient["b_out"] += by_logit.sum(axis=0)
    return np.einsum("ron,bro->brn", models.w_out, by_logit)
