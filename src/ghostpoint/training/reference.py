"""The specification: training as a readable float64 loop over the full state, for every model and task.

Nothing here is fast. Every faster engine is tested against :func:`evaluate`, and :func:`evaluate` against autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import ACTIVATIONS, FullRankRNN, LowRankRNN, Record, logistic
from ghostpoint.tasks import Task, Trial

__all__ = ["Evaluation", "evaluate", "global_norm"]


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
    alpha, steps = task.alpha, task.steps
    first = models.initial_state if initial_states is None else initial_states
    states = [np.broadcast_to(first, (len(trial.inputs), *models.initial_state.shape))]
    rates = []
    for t in range(steps):
        rates.append(models.rates_of_state(states[t], trial.inputs[:, t], 0.0 if noise is None else noise[t]))
        states.append((1 - alpha) * states[t] + alpha * rates[t])
    shift = 1 if task.read_out == "after" else 0
    z = np.stack([models.logit_of_state(states[t + shift]) for t in range(steps)], axis=2)  # (B, R, steps, O)
    outputs, errors, slopes = _answers(z, trial.targets[:, None], models.activation)
    weights = np.where(trial.mask, task.weights(trial), 0.0)[:, None]
    loss = (weights * errors**2).sum(axis=(0, 2, 3))
    by_logit = 2 * weights * errors * slopes

    gradient = {part: np.zeros_like(getattr(models, part)) for part in models.present_parts()}
    y = np.zeros_like(states[0])
    for t in range(steps, -1, -1):
        x = states[t]
        if t < steps:
            s = alpha * y * (1 - rates[t] ** 2)
            y = (1 - alpha) * y + _through_step(models, gradient, x, trial.inputs[:, t], s)
        if 0 <= t - shift < steps:
            y = y + _through_readout(models, gradient, x, by_logit[:, :, t - shift])
    per_network = np.moveaxis(outputs, 1, 0)
    return Evaluation(
        loss=loss,
        accuracy=task.accuracy(per_network, trial),
        gradient=gradient,
        gradient_norm=global_norm([gradient[part] for part in models.trainable], len(models)),
        output=per_network,
    )


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
