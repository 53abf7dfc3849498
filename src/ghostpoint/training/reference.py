"""The specification: training as a readable float64 loop over the full state, without the latent reduction.

Nothing here is fast. Every faster engine is tested against :func:`evaluate`, and :func:`evaluate` against autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import LowRankRNN, logistic
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training.kernels.rank_one import EVENTS, QUANTITIES
from ghostpoint.training.schedule import Outcome, Problem

__all__ = ["Evaluation", "evaluate", "run"]


@dataclass(frozen=True)
class Evaluation:
    """Loss, gradient and accuracy of R networks on a task.

    Attributes
    ----------
    loss, accuracy, gradient_norm : (R,)
    gradient : dict
        By every part of the model, trainable or not, in that part's shape.
    output : (R, steps)
    """

    loss: NDArray[Any]
    accuracy: NDArray[Any]
    gradient: dict[str, NDArray[Any]]
    gradient_norm: NDArray[Any]
    output: NDArray[Any]


def evaluate(models: LowRankRNN, task: DelayedActivation) -> Evaluation:
    """Loss ``L = scale sum_t (o[t] - target[t])**2`` of the task, and its gradient by backpropagation through time.

    Forward: ``x[t+1] = (1 - alpha) x[t] + alpha tanh(m n^T x[t] + b)``, ``o[t+1] = sigmoid(c (kappa_1[t+1] -
    kappa*))``.
    Backward, with ``y[t] = dL/dx[t]`` and ``s[t] = alpha y[t+1] (1 - tanh**2)`` of step t::

        y[t] = (1 - alpha) y[t+1] + n m^T s[t] + n_1 dL/dkappa_1[t]
        dL/dm = sum_t s[t] kappa[t]^T,  dL/dn = sum_t x[t] (m^T s[t])^T + sum_t x[t] dL/dkappa[t]^T,  dL/db = sum_t s[t]

    Written without the latent recursion that the kernels use, so that it checks that too.
    """
    trial, alpha, steps = task.trial(), task.alpha, task.steps
    targets, mask = trial.targets[0, :, 0], trial.mask[0, :, 0]
    m, n, c = models.m, models.n, models.confidence

    states = [np.array(models.initial_state)]
    for _ in range(steps):
        states.append(models.step(states[-1], alpha))
    latents = [models.latent(x) for x in states]
    z = np.stack([models.logit(kappa) for kappa in latents[1:]], axis=1)
    outputs, rest = logistic(z), logistic(-z)  # 1 - outputs itself would lose its digits near 1
    errors = np.where(mask, (1 - targets) * outputs - targets * rest, 0.0)
    loss = task.loss_scale * (errors**2).sum(axis=1)
    accuracy = ((outputs > 0.5) == (targets > 0.5))[:, mask].mean(axis=1)

    logits = 2 * task.loss_scale * errors * outputs * rest  # dL/d(c (kappa - kappa*)), (R, steps)
    gradient = {name: np.zeros_like(getattr(models, name)) for name in ("m", "n", "b", "confidence")}
    y = np.zeros_like(states[0])
    for t in range(steps, -1, -1):
        x, kappa = states[t], latents[t]
        by_kappa = np.zeros_like(kappa)
        if t > 0:
            by_kappa[:, 0] = logits[:, t - 1] * c
            gradient["confidence"] += logits[:, t - 1] * (kappa[:, 0] - models.threshold)
        if t < steps:
            s = alpha * y * (1 - models.rates(kappa) ** 2)
            gradient["m"] += s[:, :, None] * kappa[:, None, :]
            gradient["b"] += s
            by_kappa = by_kappa + np.einsum("rnk,rn->rk", m, s)
        gradient["n"] += x[:, :, None] * by_kappa[:, None, :]
        y = (1 - alpha) * y + np.einsum("rnk,rk->rn", n, by_kappa)
    squares = [(gradient[part] ** 2).reshape(len(models), -1).sum(axis=1) for part in models.trainable]
    norm = np.sqrt(np.sum(squares, axis=0)) if squares else np.zeros(len(models))
    return Evaluation(loss, accuracy, gradient, norm, outputs)


def run(
    models: LowRankRNN,
    task: DelayedActivation,
    problem: Problem,
    epochs: int,
    record_epochs: NDArray[np.int64],
    snapshot_epochs: NDArray[np.int64],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Plain gradient descent, ``p <- p - learning_rate dL/dp``, with the results and events of ``schedule.run``."""
    recorded, kept = set(record_epochs.tolist()), set(snapshot_epochs.tolist())
    rate, count = problem.rate, len(models)
    events = {name: np.full(count, -1, np.int64) for name in EVENTS}
    running = np.ones(count, dtype=bool)
    history, snapshots, confidences = [], [], []

    def note(name: str, happened: NDArray[np.bool_], epoch: int) -> None:
        events[name][happened & (events[name] < 0)] = epoch

    for epoch in range(epochs):
        with np.errstate(over="ignore", invalid="ignore"):
            seen = evaluate(models, task)
        above = seen.accuracy > problem.chance_accuracy
        note("first_above_chance", above, epoch)
        events["last_above_chance"][above] = epoch
        note("first_solved", seen.loss < problem.solved_loss, epoch)
        if epoch in recorded:
            history.append(np.stack([seen.loss, seen.gradient_norm, seen.accuracy, models.confidence]))
        if epoch in kept:
            snapshots.append(np.stack([models.m[:, :, 0], models.n[:, :, 0], models.b], axis=1))
            confidences.append(models.confidence)
        with np.errstate(over="ignore", invalid="ignore"):
            square = seen.gradient_norm**2
            finite = np.isfinite(seen.loss + square + rate * (rate * square))
        note("diverged", running & ~finite, epoch)
        running &= finite
        changed = np.zeros(count, dtype=bool)
        new = {}
        for part in models.trainable:
            old, gradient = getattr(models, part), seen.gradient[part]
            column = (slice(None), *[None] * (old.ndim - 1))
            new[part] = np.where(running[column], old - rate[column] * gradient, old)
            changed |= (new[part] != old).reshape(count, -1).any(axis=1)
        models = models.replace(**new)
        note("frozen", running & ~changed, epoch)
        running &= changed
        if on_progress:
            on_progress(count)
    shape = (len(snapshot_epochs), count)
    return Outcome(
        history=np.array(history).reshape(-1, len(QUANTITIES), count).transpose(1, 2, 0),
        snapshots=np.array(snapshots).reshape(*shape, 3, models.n_units),
        snapshot_confidence=np.array(confidences).reshape(shape),
        events=np.array([events[name] for name in EVENTS]),
        parameters=np.stack([models.m[:, :, 0], models.n[:, :, 0], models.b, models.initial_state], axis=1),
        confidence=models.confidence,
    )
