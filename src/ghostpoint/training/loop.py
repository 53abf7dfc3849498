"""The epoch loop of the engines that are called once an epoch: the reference and torch.

Everything but the gradient is here, once: which trials, initial rates and noise an epoch sees, the optimiser, clipping,
recording, events, checkpoints, interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import LowRankRNN, Record
from ghostpoint.remedies import Crossing, Remedy
from ghostpoint.remedies.acting import Acting, Near, Step
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.optimizers import Optimizer, clip_factor
from ghostpoint.training.outcome import EVENTS, QUANTITIES, Outcome
from ghostpoint.training.reference import Approach

__all__ = ["Backend", "Plan", "draws", "run"]


class Backend(Protocol):
    """Computes a loss and its gradient for a stack of networks."""

    def running(self, watched: bool) -> AbstractContextManager[Any]:
        """Entered for the time of a run; ``watched`` says whether :meth:`approaches` will be asked for."""

    def evaluate(
        self, trial: Trial, initial_states: NDArray[Any] | None, noise: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Loss and accuracy (R,), and the gradient by every trainable part, in the backend's own arrays."""

    def approaches(self, wanted: Sequence[Crossing]) -> list[Approach]:
        """Escape times or peaks in the trials evaluated last, with gradients by every trainable part."""

    def inner(self, one: dict[str, Any], other: dict[str, Any]) -> Any:
        """Inner product over all parts per network, (R,), as the backend's array."""

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
    """What a run is asked to do.

    ``readout_norm`` has one value per network; ``remedies`` are those that change the update or the readout, without
    :class:`~ghostpoint.remedies.ClipGradient`, which is ``clip_norm``.
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
    acting = Acting(plan.remedies, task, models.activation, len(models))
    with backend.running(watched=acting.region is not None):
        return _run(models, task, plan, backend, acting, on_progress, on_record)


def _run(
    models: Record,
    task: Task,
    plan: Plan,
    backend: Backend,
    acting: Acting,
    on_progress: Callable[[int], None] | None,
    on_record: Callable[[int, dict[str, NDArray[Any]]], None] | None,
) -> Outcome:
    count = len(models)
    recorded, kept = set(plan.record_epochs.tolist()), set(plan.snapshot_epochs.tolist())
    draw = draws(models, task, plan.seed)
    same_trials = not (task.random or task.noise > 0 or task.initial_scale > 0)
    # a projection may change the last bit of what the update left alone
    repeats = same_trials and plan.optimizer.stateless and acting.memoryless and plan.readout_norm is None
    fixed = None if task.random else task.trial()
    events = {name: np.full(count, -1, np.int64) for name in EVENTS}
    running = np.ones(count, dtype=bool)
    has_confidence = isinstance(models, LowRankRNN) and models.w_out is None
    readout = ("confidence",) if has_confidence else ("w_out", "b_out")
    quantities = (*QUANTITIES, *["confidence"] * has_confidence, *["update_scale"] * bool(plan.remedies))
    history: dict[str, list[NDArray[Any]]] = {name: [] for name in quantities}
    best = _Best()
    changeable = {*models.trainable, *(readout if plan.readout_norm is not None else ())}
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
                if plan.readout_norm is not None:
                    _project(backend, plan.readout_norm, running)
                sharpness = acting.sharpness(epoch)
                kept_readout = _sharpen(backend, readout, sharpness)
                loss, accuracy, gradient = backend.evaluate(trial, *draw())
                wanted = acting.wanted(trial)
                approached = list(zip(wanted, backend.approaches(wanted) if wanted else [], strict=True))
                seen = {"loss": loss, "accuracy": accuracy}
                if has_confidence:
                    seen["confidence"] = np.array(backend.numpy(backend.get("confidence")))
                for part, value in kept_readout.items():
                    backend.set(part, value)
                    for slopes in (gradient, *(approach.gradient for _, approach in approached)):
                        if part in slopes:
                            slopes[part] = sharpness * slopes[part]
                norm = backend.inner(gradient, gradient) ** 0.5
                seen["gradient_norm"] = backend.numpy(norm)
                square = seen["gradient_norm"].astype(loss.dtype) ** 2
                finite = np.isfinite(loss + square + plan.rate * (plan.rate * square))
            above = accuracy > task.chance_accuracy
            note("first_above_chance", above, epoch)
            events["last_above_chance"][above] = epoch
            note("first_solved", loss < plan.solved_loss, epoch)
            note("diverged", running & ~finite, epoch)
            running &= finite
            factor = None if plan.clip_norm is None else clip_factor(norm, plan.clip_norm)
            if acting.rewinds:
                best.keep(backend, models.trainable, state, acting.improved(loss) & running)
            update = {}
            with np.errstate(over="ignore", invalid="ignore"):
                for part in models.trainable:
                    slope = gradient[part] if factor is None else gradient[part] * _like(factor, gradient[part])
                    update[part] = plan.optimizer.update(part, slope, rates[part], state, epoch)
            entering = acting.entered(epoch, above) & running
            if plan.remedies:
                with np.errstate(over="ignore", invalid="ignore"):
                    products = (backend.inner(update, other) for other in (update, gradient))
                    length, ascent = (backend.numpy(product).astype(np.float64) for product in products)
                    near = _near(
                        backend, approached, update, gradient, acting.region is not None and acting.region.split
                    )
                    step = acting.step(loss, seen["gradient_norm"], length**0.5, ascent, near)
                    # the update that is made, too, must be finite
                    made = (step.scale * length**0.5).astype(loss.dtype)
                    finite = np.isfinite(made * made)
                note("diverged", running & ~finite, epoch)
                running &= finite
                acting.acted += running & (step.acts | (sharpness != 1) | (entering & acting.rewinds))
                seen["update_scale"] = step.scale
                update = _reshaped(backend, step, update, [approach for _, approach in approached])
            if epoch in recorded:
                for name, recordings in history.items():
                    recordings.append(seen[name])
            if epoch in kept:
                for part, values_of_part in snapshots.items():
                    values_of_part.append(np.array(backend.numpy(backend.get(part))))
            changed = np.zeros(count, dtype=bool)
            for part in models.trainable:
                with np.errstate(over="ignore", invalid="ignore"):
                    old = backend.get(part)
                    new = old + update[part]
                before, after = backend.numpy(old), backend.numpy(new)
                if not running.all():
                    after = np.where(_column(running, before), after, before)
                    new = backend.native(after)
                changed |= (after != before).reshape(count, -1).any(axis=1)
                backend.set(part, new)
            if acting.rewinds and entering.any():
                best.restore(backend, state, entering)
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
        parameters={part: np.array(backend.numpy(backend.get(part))) for part in changeable},
        snapshots={part: np.stack(values) for part, values in snapshots.items() if values},
        epochs=finished,
        acted=acting.acted if plan.remedies else None,
    )


def _near(
    backend: Backend,
    approached: Sequence[tuple[Crossing, Approach]],
    update: dict[str, Any],
    gradient: dict[str, Any],
    split: bool,
) -> list[Near]:
    """What the trust region needs to know about the crossings and an update."""

    def inner(one: Approach, other: dict[str, Any]) -> NDArray[np.float64]:
        return backend.numpy(backend.inner(one.gradient, other)).astype(np.float64)

    found: list[Near] = []
    for place, (crossing, approach) in enumerate(approached):
        products = [inner(approach, other.gradient) for _, other in approached[0 if split else place : place + 1]]
        found.append(
            Near(
                crossing, approach.crossed, approach.time, approach.peak, products[-1] ** 0.5,
                inner(approach, update), inner(approach, gradient) if split else products[-1],
                np.stack(products, axis=1),
            )
        )  # fmt: skip
    return found


def _reshaped(backend: Backend, step: Step, update: dict[str, Any], approaches: Sequence[Approach]) -> dict[str, Any]:
    """The updates that are made; those that no remedy changes keep every bit."""
    factor, made = backend.native(step.factor), {}
    for part, change in update.items():
        made[part] = change * _like(factor, change)
        for approach, weights in zip(approaches, step.weights.T, strict=True):
            if weights.any():
                slope = approach.gradient[part]
                rows = _column(weights != 0, backend.numpy(slope))
                added = backend.numpy(slope * _like(backend.native(weights), slope))
                made[part] = made[part] + backend.native(np.where(rows, added, 0))
    return made


class _Best:
    """Parameters and optimiser's state of each network at its lowest loss so far, in NumPy."""

    def __init__(self) -> None:
        self.parts: dict[str, NDArray[Any]] = {}
        self.state: dict[str, list[NDArray[Any]]] = {}

    def keep(self, backend: Backend, parts: Sequence[str], state: dict[str, Any], rows: NDArray[np.bool_]) -> None:
        """Remember some networks as they are, before their update."""
        for part in parts:
            now = backend.numpy(backend.get(part))
            self.parts[part] = np.where(_column(rows, now), now, self.parts.get(part, now))
        for part, value in state.items():
            arrays = [backend.numpy(array) for array in _as_tuple(value)]
            before = self.state.get(part, [np.zeros_like(array) for array in arrays])
            self.state[part] = [np.where(_column(rows, new), new, old) for new, old in zip(arrays, before, strict=True)]

    def restore(self, backend: Backend, state: dict[str, Any], rows: NDArray[np.bool_]) -> None:
        """Put some networks back; where the lowest loss was the first, the optimiser starts afresh."""
        for part, value in self.parts.items():
            now = backend.numpy(backend.get(part))
            backend.set(part, backend.native(np.where(_column(rows, now), value, now)))
        for part, value in state.items():
            arrays = [backend.numpy(array) for array in _as_tuple(value)]
            before = self.state.get(part, [np.zeros_like(array) for array in arrays])
            put = tuple(
                backend.native(np.where(_column(rows, new), old, new)) for new, old in zip(arrays, before, strict=True)
            )
            state[part] = put if isinstance(value, tuple) else put[0]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _project(backend: Backend, norms: NDArray[Any], rows: NDArray[np.bool_]) -> None:
    """Multiply readout weights and bias of some networks so that the L1 norm of the weights is what is asked for."""
    weights = backend.numpy(backend.get("w_out"))
    norm = np.abs(weights).sum(axis=(1, 2), dtype=np.float64)
    by = np.where(rows & (norm > 0), norms / np.where(norm > 0, norm, 1.0), 1.0)
    for part in ("w_out", "b_out"):
        value = backend.numpy(backend.get(part))
        backend.set(part, backend.native(value * _column(by, value)))


def _sharpen(backend: Backend, parts: tuple[str, ...], sharpness: float) -> dict[str, Any]:
    """Multiply the readout's logit by a number; the parts as they were, to be put back."""
    if sharpness == 1:
        return {}
    kept = {part: backend.get(part) for part in parts}
    for part, value in kept.items():
        backend.set(part, sharpness * value)
    return kept


def _column(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """(R,) shaped to broadcast against (R, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _like(values: Any, like: Any) -> Any:
    return values.reshape(-1, *[1] * (like.ndim - 1))
