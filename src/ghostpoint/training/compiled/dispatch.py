"""The compiled engine: which models and tasks the kernels know, and how a stack is put in their
terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.remedies import TrustRegion, crossings
from ghostpoint.tasks import Task
from ghostpoint.training.compiled import low_and_full_rank, rank_one_stacks, single_network
from ghostpoint.training.compiled.kernel_families import KERNELS
from ghostpoint.training.compiled.kernel_rules import unknown
from ghostpoint.training.kernels.epoch import QUANTITIES
from ghostpoint.training.outcome import Outcome
from ghostpoint.training.plan import Plan


def obstacle(models: Record, task: Task, plan: Plan) -> str:
    """Why the kernels cannot train these models on this task; empty if they can."""
    reason = unknown(task, plan)
    if reason:
        return reason
    return "" if models.kernels in KERNELS else f"the kernels do not know {type(models).__name__}"


def across_lanes(models: Record, task: Task, plan: Plan) -> bool:
    """Whether the rank-one kernels know the problem, which train a block of networks at once: one
    fixed trial without input, plain gradient descent, the readout of the latent.

    They keep the gradient of one crossing: a region that splits updates by several goes through
    ``low_rank``.
    """
    region = next((one for one in plan.remedies if isinstance(one, TrustRegion)), None)
    split_of_many = region is not None and region.split and region.crossings > 1 and not task.random
    if split_of_many and len(crossings(task, task.trial(), models.activation, 2)) > 1:
        return False
    return (
        KERNELS[models.kernels].lanes
        and models.rank == 1
        and "w_out" not in models.present_parts()
        and models.activation == "sigmoid"
        and not (task.random or task.n_inputs or task.noise or task.initial_scale)
        and task.n_trials == 1
        and task.read_out == "after"
        and task.tolerance is None
        and (task.levels, task.thresholds, task.inclusive[0]) == ((0.0, 1.0), (0.5,), False)
        and plan.optimizer.stateless
        and plan.clip_norm is None
        and not any(one.tries_updates for one in plan.remedies)
    )


def problem(models: Any, task: Task, plan: Plan, dtype: str) -> rank_one_stacks.Problem:
    """A stack of rank one in the kernels' terms: arrays in ``dtype``, one value per network or
    step.
    """
    trial = task.trial()
    # a copy: of a read-only mask numba would compile the kernels a second time
    counted = np.array(trial.mask[0, :, 0])
    kind = np.dtype(dtype)
    parameters = np.stack([models.m[:, :, 0], models.n[:, :, 0], models.b, models.initial_state], axis=1)
    return rank_one_stacks.Problem(
        parameters=parameters.astype(kind),
        confidence=models.confidence.astype(kind),
        threshold=models.threshold.astype(kind),
        rate=plan.rate.astype(kind),
        trainable=np.array([part in models.trainable for part in ("m", "n", "b", "confidence")]),
        alpha=task.alpha,
        targets=trial.targets[0, :, 0].astype(kind),
        weights=np.where(counted, task.weights(trial)[0, :, 0], 0.0).astype(kind),
        counted=counted,
        chance_accuracy=float(kind.type(task.chance_accuracy)),
        solved_loss=plan.solved_loss,
        watch=single_network.watch(models, task, plan),
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
    on_record: Callable[[int, dict[str, NDArray[Any]]], None] | None = None,
) -> Outcome:
    """Train R networks with the kernels.

    Parameters
    ----------
    models, task, plan
        What :func:`obstacle` has nothing against.
    dtype : "float32" or "float64"
    layout : str
        One of :data:`~ghostpoint.training.compiled.rank_one_stacks.LAYOUTS`; it changes no bit.
    threads : int
    on_progress : callable, optional
        Hears of network-epochs done.
    on_record : callable, optional
        Hears of each recorded epoch, and of its quantities, each (R,), when a round has ended.
    """
    if not across_lanes(models, task, plan):
        return low_and_full_rank.run(
            models, task, plan, dtype, layout=layout, threads=threads, on_progress=on_progress, on_record=on_record
        )
    raw = rank_one_stacks.run(
        problem(models, task, plan, dtype),
        plan.epochs,
        plan.record_epochs,
        plan.snapshot_epochs,
        layout=layout,
        threads=threads,
        on_progress=on_progress,
        on_record=on_record,
    )
    done = raw.epochs
    recorded, kept = (plan.record_epochs < done).sum(), (plan.snapshot_epochs < done).sum()
    final, snapshots = raw.parameters, raw.snapshots[:kept]
    parameters: dict[str, Any] = {"m": final[:, 0, :, None], "n": final[:, 1, :, None], "b": final[:, 2]}
    return Outcome(
        history={
            name: values[:, :recorded]
            for name, values in zip(QUANTITIES, raw.history, strict=True)
            if plan.remedies or name != "update_scale"
        },
        events=raw.events,
        parameters=parameters | {"confidence": raw.confidence},
        snapshots={
            "m": snapshots[:, :, 0, :, None],
            "n": snapshots[:, :, 1, :, None],
            "b": snapshots[:, :, 2],
            "confidence": raw.snapshot_confidence[:kept],
        },
        epochs=done,
        interrupted=raw.interrupted,
        acted=raw.acted if plan.remedies else None,
    )
