"""The epoch loop of the engines that are called once an epoch: the reference and torch.

Everything but the gradient is here, once: which trials, initial rates and noise an epoch sees, the optimiser, clipping,
recording, events, checkpoints, interruption.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import LowRankRNN, Record
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.optimizers import Optimizer, clip_factor
from ghostpoint.training.outcome import EVENTS, QUANTITIES, Outcome

__all__ = ["Backend", "Plan", "draws", "run"]


class Backend(Protocol):
    """Computes a loss and its gradient for a stack of networks."""

    def evaluate(
        self, trial: Trial, initial_states: NDArray[Any] | None, noise: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Loss and accuracy (R,), and the gradient by every trainable part, in the backend's own arrays."""

    def norm(self, gradient: dict[str, Any]) -> Any:
        """L2 norm of the gradient per network, (R,), as the backend's array."""

    def get(self, part: str) -> Any:
        """The present value of a part, (R, ...), as the backend's array."""

    def set(self, part: str, value: Any) -> None:
        """Replace a part."""

    def native(self, values: NDArray[Any]) -> Any:
        """A NumPy array as the backend's."""

    def numpy(self, values: Any) -> NDArray[Any]:
        """The backend's array as NumPy's."""


@dataclass(frozen=True)
class Plan:
    """What a run is asked to do."""

    rate: NDArray[Any]
    epochs: int
    record_epochs: NDArray[np.int64]
    snapshot_epochs: NDArray[np.int64]
    optimizer: Optimizer
    clip_norm: float | None
    solved_loss: float
    seed: int


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


def run(
    models: Record,
    task: Task,
    plan: Plan,
    backend: Backend,
    on_progress: Callable[[int], None] | None = None,
    on_record: Callable[[int, dict[str, NDArray[Any]]], None] | None = None,
) -> Outcome:
    """Train the backend's networks; Ctrl-C ends the run early and keeps what there is."""
    count = len(models)
    recorded, kept = set(plan.record_epochs.tolist()), set(plan.snapshot_epochs.tolist())
    draw = draws(models, task, plan.seed)
    repeats = plan.optimizer.stateless and not (task.random or task.noise > 0 or task.initial_scale > 0)
    fixed = None if task.random else task.trial()
    events = {name: np.full(count, -1, np.int64) for name in EVENTS}
    running = np.ones(count, dtype=bool)
    has_confidence = isinstance(models, LowRankRNN) and models.w_out is None
    quantities = (*QUANTITIES, "confidence") if has_confidence else QUANTITIES
    history: dict[str, list[NDArray[Any]]] = {name: [] for name in quantities}
    snapshots: dict[str, list[NDArray[Any]]] = {part: [] for part in models.present_parts()}
    state: dict[str, Any] = {}
    seen: dict[str, NDArray[Any]] = {}
    rate = {part: _column(plan.rate, getattr(models, part)) for part in models.trainable}
    rates = {part: backend.native(values) for part, values in rate.items()}

    def note(name: str, happened: NDArray[np.bool_], epoch: int) -> None:
        events[name][happened & (events[name] < 0)] = epoch

    epoch = 0
    try:
        while epoch < plan.epochs:
            trial = task.trial((plan.seed, epoch)) if fixed is None else fixed
            with np.errstate(over="ignore", invalid="ignore"):
                loss, accuracy, gradient = backend.evaluate(trial, *draw())
                norm = backend.norm(gradient)
                seen = {"loss": loss, "gradient_norm": backend.numpy(norm), "accuracy": accuracy}
                if has_confidence:
                    seen["confidence"] = np.array(backend.numpy(backend.get("confidence")))
                square = seen["gradient_norm"].astype(loss.dtype) ** 2
                finite = np.isfinite(loss + square + plan.rate * (plan.rate * square))
            above = accuracy > task.chance_accuracy
            note("first_above_chance", above, epoch)
            events["last_above_chance"][above] = epoch
            note("first_solved", loss < plan.solved_loss, epoch)
            note("diverged", running & ~finite, epoch)
            running &= finite
            if epoch in recorded:
                for name, values in seen.items():
                    history[name].append(values)
            if epoch in kept:
                for part, values_of_part in snapshots.items():
                    values_of_part.append(np.array(backend.numpy(backend.get(part))))
            changed = np.zeros(count, dtype=bool)
            factor = None if plan.clip_norm is None else clip_factor(norm, plan.clip_norm)
            for part in models.trainable:
                slope = gradient[part] if factor is None else gradient[part] * _like(factor, gradient[part])
                with np.errstate(over="ignore", invalid="ignore"):
                    old = backend.get(part)
                    new = old + plan.optimizer.update(part, slope, rates[part], state, epoch)
                before, after = backend.numpy(old), backend.numpy(new)
                if not running.all():
                    after = np.where(_column(running, before), after, before)
                    new = backend.native(after)
                changed |= (after != before).reshape(count, -1).any(axis=1)
                backend.set(part, new)
            if repeats:
                note("frozen", running & ~changed, epoch)
                running &= changed
            epoch += 1
            if on_record and epoch - 1 in recorded:
                on_record(epoch - 1, seen)
            if on_progress:
                on_progress(count)
            if not running.any():
                break
    except KeyboardInterrupt:
        if epoch == 0:
            raise
        finished = epoch
        # the epoch it came in, which may be half noted, does not count
        for name, values in events.items():
            values[values >= finished] = finished - 1 if name == "last_above_chance" else -1
        history = {name: values[: int((plan.record_epochs < finished).sum())] for name, values in history.items()}
        kept_so_far = int((plan.snapshot_epochs < finished).sum())
        snapshots = {part: arrays[:kept_so_far] for part, arrays in snapshots.items()}
    else:
        finished = plan.epochs
        if on_progress and epoch < plan.epochs:
            on_progress(count * (plan.epochs - epoch))
    if epoch < finished:  # all networks are finished: what is left repeats the last epoch
        above = events["last_above_chance"] == epoch - 1
        events["last_above_chance"][above] = finished - 1
        for name in history:
            history[name] += [seen[name]] * int((plan.record_epochs >= epoch).sum())
        for part, values_of_part in snapshots.items():
            values_of_part += [np.array(backend.numpy(backend.get(part)))] * int((plan.snapshot_epochs >= epoch).sum())
    return Outcome(
        history={
            name: np.stack(values, axis=1) if values else np.zeros((count, 0)) for name, values in history.items()
        },
        events=np.array([events[name] for name in EVENTS]),
        parameters={part: np.array(backend.numpy(backend.get(part))) for part in models.trainable},
        snapshots={part: np.stack(values) for part, values in snapshots.items() if values},
        epochs=finished,
    )


def _column(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """(R,) shaped to broadcast against (R, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _like(values: Any, like: Any) -> Any:
    return values.reshape(-1, *[1] * (like.ndim - 1))
