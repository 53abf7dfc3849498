"""The compiled engine: which models and tasks the kernels know, and how a stack is put in their terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ghostpoint.models import FullRankRNN, LowRankRNN, Record
from ghostpoint.tasks import Task
from ghostpoint.training import full_rank, schedule
from ghostpoint.training.kernels import rank_one
from ghostpoint.training.loop import Plan
from ghostpoint.training.outcome import Outcome

__all__ = ["obstacle", "problem", "run"]


def obstacle(models: Record, task: Task, plan: Plan) -> str:
    """Why the kernels cannot train these models on this task; empty if they can."""
    if task.random:
        return "the kernels know fixed trials"
    if isinstance(models, FullRankRNN):
        return "" if task.tolerance is None else "the kernels know answers at levels"
    if not isinstance(models, LowRankRNN) or models.rank != 1:
        return f"the kernels know rank one and full rank, got rank {models.rank}"
    if models.w_out is not None or models.activation != "sigmoid":
        return "the rank-one kernels know the readout sigmoid(confidence (kappa - threshold)) without w_out"
    if task.n_inputs or task.n_trials != 1:
        return "the rank-one kernels know tasks of one trial without input"
    if task.noise or task.initial_scale:
        return "the rank-one kernels know no noise and no random initial rates"
    if task.read_out != "after":
        return "the rank-one kernels read the output after each update"
    if task.tolerance is not None or task.levels != (0.0, 1.0) or task.thresholds != (0.5,) or task.inclusive[0]:
        return "the rank-one kernels know answers of 0 and 1, told apart at 0.5"
    if not plan.optimizer.stateless or plan.clip_norm is not None:
        return "the rank-one kernels know plain gradient descent without clipping"
    return ""


def problem(models: LowRankRNN, task: Task, plan: Plan, dtype: str) -> schedule.Problem:
    """The stack in the kernels' terms."""
    trial = task.trial()
    counted = trial.mask[0, :, 0]
    kind = np.dtype(dtype)
    parameters = np.stack([models.m[:, :, 0], models.n[:, :, 0], models.b, models.initial_state], axis=1)
    return schedule.Problem(
        parameters=parameters.astype(kind),
        confidence=models.confidence.astype(kind),
        threshold=models.threshold.astype(kind),
        rate=plan.rate.astype(kind),
        trainable=np.array([part in models.trainable for part in ("m", "n", "b", "confidence")]),
        alpha=task.alpha,
        targets=trial.targets[0, :, 0].astype(kind),
        weights=np.where(counted, task.weights(trial)[0, :, 0], 0.0).astype(kind),
        counted=counted,
        chance_accuracy=task.chance_accuracy,
        solved_loss=plan.solved_loss,
    )


def run(
    models: Record,
    task: Task,
    plan: Plan,
    dtype: str,
    *,
    layout: str,
    threads: int,
    on_progress: Callable[[int], None] | None,
) -> Outcome:
    """Train with the kernels."""
    if isinstance(models, FullRankRNN):
        return full_rank.run(models, task, plan, dtype, threads=threads, on_progress=on_progress)
    assert isinstance(models, LowRankRNN)
    raw = schedule.run(
        problem(models, task, plan, dtype),
        plan.epochs,
        plan.record_epochs,
        plan.snapshot_epochs,
        layout=layout,
        threads=threads,
        on_progress=on_progress,
    )
    done = raw.epochs
    recorded, kept = (plan.record_epochs < done).sum(), (plan.snapshot_epochs < done).sum()
    final, snapshots = raw.parameters, raw.snapshots[:kept]
    parameters: dict[str, Any] = {"m": final[:, 0, :, None], "n": final[:, 1, :, None], "b": final[:, 2]}
    return Outcome(
        history={name: values[:, :recorded] for name, values in zip(rank_one.QUANTITIES, raw.history, strict=True)},
        events=raw.events,
        parameters=parameters | {"confidence": raw.confidence},
        snapshots={
            "m": snapshots[:, :, 0, :, None],
            "n": snapshots[:, :, 1, :, None],
            "b": snapshots[:, :, 2],
            "confidence": raw.snapshot_confidence[:kept],
        },
        epochs=done,
    )
