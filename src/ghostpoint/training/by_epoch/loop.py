"""The epoch loop of the engines that are called once an epoch: the reference and torch.

Everything but the gradient is here, once: which trials, initial rates and noise an epoch sees, the
optimiser, clipping, remedies, interruption. What is kept of it is in ``recorder.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.numerics.arrays import Bools
from ghostpoint.remedies import ClipGradient, Crossing, Guard, Near, Step
from ghostpoint.remedies.acting import Acting
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.by_epoch.backend import Backend, per_network
from ghostpoint.training.by_epoch.best_weights import Best
from ghostpoint.training.by_epoch.recorder import Diary
from ghostpoint.training.by_epoch.tried_updates import TriedUpdates
from ghostpoint.training.outcome import QUANTITIES, Outcome
from ghostpoint.training.plan import Plan, draws
from ghostpoint.training.reference import Approach


def run(
    models: Record,
    task: Task,
    plan: Plan,
    backend: Backend,
    on_progress: Callable[[int], None] | None = None,
    on_record: Callable[[int, dict[str, NDArray[Any]]], None] | None = None,
) -> Outcome:
    """Train the backend's networks; Ctrl-C ends the run early and keeps what there is.

    Parameters
    ----------
    models, task, plan
        As checked by ``train``.
    backend : Backend
        Computes loss and gradient, and holds the parameters.
    on_progress : callable, optional
        Hears of network-epochs done.
    on_record : callable, optional
        Hears of each recorded epoch and of its quantities, each (R,).
    """
    count = len(models)
    acting = Acting(plan.remedies, task, models.activation, count)
    with backend.running(watched=acting.watches):
        loop = _Loop(models, task, plan, backend, acting)
        diary, epoch, interrupted = loop.diary, 0, False
        try:
            while epoch < plan.epochs and loop.running.any():
                loop.step(epoch)
                epoch += 1
                if on_record and epoch - 1 in diary.recorded:
                    on_record(epoch - 1, loop.seen)
                if on_progress:
                    on_progress(count)
        except KeyboardInterrupt:
            if epoch == 0:
                raise
            # what an epoch that was cut short had written is dropped
            finished, interrupted = epoch, True
            diary.forget_from(finished)
        else:
            # all networks froze or diverged before the end: the rest repeats their last epoch
            finished = plan.epochs
            if epoch < finished:
                diary.fill_from(epoch, loop.seen, backend)
                if on_progress:
                    on_progress(count * (finished - epoch))
        parameters = {part: np.array(backend.numpy(backend.get(part))) for part in loop.changeable}
        outcome = diary.outcome(finished, parameters, acting.acted if plan.remedies else None)
        return replace(outcome, interrupted=interrupted)


class _Loop:
    """The state of a run between epochs: which networks still move, the optimiser's memory, what
    was seen last.
    """

    def __init__(self, models: Record, task: Task, plan: Plan, backend: Backend, acting: Acting):
        self.task, self.plan, self.backend, self.acting = task, plan, backend, acting
        self.draw = draws(models, task, plan.seed)
        self.fixed = None if task.random else task.trial()
        same_trials = not (task.random or task.noise > 0 or task.initial_scale > 0)
        # a projection may change the last bit of what the update left alone
        self.repeats = same_trials and plan.optimizer.stateless and acting.memoryless and plan.readout_norm is None
        self.has_confidence = "confidence" in models.present_parts()
        self.readout = models.readout_parts
        quantities = (*QUANTITIES, *["confidence"] * self.has_confidence, *["update_scale"] * bool(plan.remedies))
        self.diary = Diary(plan, len(models), quantities, models.present_parts())
        self.trainable = models.trainable
        self.changeable = {*models.trainable, *(self.readout if plan.readout_norm is not None else ())}
        self.rates = {part: backend.native(per_network(plan.rate, getattr(models, part))) for part in models.trainable}
        self.running = np.ones(len(models), dtype=bool)
        self.best = Best()
        clips = () if plan.clip_norm is None else (ClipGradient(plan.clip_norm),)
        self.clips = (*clips, *plan.remedies)
        guard = next((one for one in plan.remedies if isinstance(one, Guard)), None)
        self.tried = None if guard is None else TriedUpdates(guard, task, backend, models.trainable)
        self.memory: dict[str, Any] = {}
        self.seen: dict[str, NDArray[Any]] = {}

    def step(self, epoch: int) -> None:
        """One epoch: what it sees is noted and kept, then the update is made."""
        trial = self.task.trial((self.plan.seed, epoch)) if self.fixed is None else self.fixed
        with np.errstate(over="ignore", invalid="ignore"):
            gradient, norm, approached, sharpness = self._evaluated(epoch, trial)
            above = self._noted(epoch)
            if self.acting.rewinds:
                improved = self.acting.improved(self.seen["loss"]) & self.running
                self.best.keep(self.backend, self.trainable, self.memory, improved)
            given = gradient if self.tried is None else self.tried.without_stiff_part(gradient)
            update = self._proposed(epoch, given, norm)
            back = self.acting.react(epoch, self.seen["loss"], above) & self.running
            if self.plan.remedies:
                update = self._remedied(epoch, update, gradient, approached, back, sharpness != 1)
            if self.tried is not None:
                self._try(trial, update)
            self.diary.write(epoch, self.seen, self.backend)
            changed = self._applied(update) if self.tried is None else self.tried.make()
        if back.any():
            self.best.restore(self.backend, self.memory, back)
        if self.repeats:
            self.diary.note("frozen", self.running & ~changed, epoch)
            self.running &= changed

    def _evaluated(
        self, epoch: int, trial: Trial
    ) -> tuple[dict[str, Any], Any, list[tuple[Crossing, Approach]], float]:
        """Gradients of the loss and of the escape times, the norm of the former, and the readout's
        sharpness.
        """
        backend = self.backend
        if self.plan.readout_norm is not None:
            _project(backend, self.plan.readout_norm, self.running)
        sharpness = self.acting.sharpness(epoch)
        kept_readout = _sharpen(backend, self.readout, sharpness)
        if self.tried is None:
            loss, accuracy, gradient = backend.evaluate(trial, *self.draw())
        else:
            loss, accuracy, gradient = self.tried.evaluated(trial)
        wanted = self.acting.wanted(trial)
        approached = list(zip(wanted, backend.approaches(wanted) if wanted else [], strict=True))
        self.seen = {"loss": loss, "accuracy": accuracy}
        if self.has_confidence:
            self.seen["confidence"] = np.array(backend.numpy(backend.get("confidence")))
        for part, value in kept_readout.items():
            backend.set(part, value)
            for slopes in (gradient, *(approach.gradient for _, approach in approached)):
                if part in slopes:
                    slopes[part] = sharpness * slopes[part]
        norm = backend.inner(gradient, gradient) ** 0.5
        self.seen["gradient_norm"] = backend.numpy(norm)
        return gradient, norm, approached, sharpness

    def _noted(self, epoch: int) -> Bools:
        """Note what happened to the networks; which of them are above chance."""
        loss, diary = self.seen["loss"], self.diary
        rate = self.plan.rate.astype(loss.dtype)
        square = self.seen["gradient_norm"].astype(loss.dtype) ** 2
        above: Bools = self.seen["accuracy"] > self.task.chance_accuracy
        diary.above_chance(above, epoch)
        diary.note("first_solved", loss < self.plan.solved_loss, epoch)
        self._stop(np.isfinite(loss + square + rate * (rate * square)), epoch)
        return above

    def _stop(self, finite: Bools, epoch: int) -> None:
        self.diary.note("diverged", self.running & ~finite, epoch)
        self.running &= finite

    def _proposed(self, epoch: int, gradient: dict[str, Any], norm: Any) -> dict[str, Any]:
        """The optimiser's update, after clipping."""
        update = {}
        factors = [one for one in (remedy.gradient_factor(norm) for remedy in self.clips) if one is not None]
        for part in self.trainable:
            slope = gradient[part]
            for factor in factors:
                slope = slope * per_network(factor, slope)
            update[part] = self.plan.optimizer.update(part, slope, self.rates[part], self.memory, epoch)
        return update

    def _remedied(
        self,
        epoch: int,
        update: dict[str, Any],
        gradient: dict[str, Any],
        approached: Sequence[tuple[Crossing, Approach]],
        back: Bools,
        sharpened: bool,
    ) -> dict[str, Any]:
        """The update that the remedies make of it."""
        backend, acting, loss = self.backend, self.acting, self.seen["loss"]
        products = (backend.inner(update, other) for other in (update, gradient))
        length, ascent = (backend.numpy(product).astype(np.float64) for product in products)
        near = _near(backend, approached, update, gradient)
        step = acting.step(loss, self.seen["gradient_norm"], length**0.5, ascent, near)
        # the update that is made, too, must be finite
        made = (step.scale * length**0.5).astype(loss.dtype)
        self._stop(np.isfinite(made * made), epoch)
        acting.acted += self.running & (step.acts | sharpened | back)
        self.seen["update_scale"] = step.scale
        return _reshaped(backend, step, update, [approach for _, approach in approached])

    def _try(self, trial: Trial, update: dict[str, Any]) -> None:
        """Let the guard find out which part of the updates it accepts."""
        assert self.tried is not None
        scale, stayed = self.tried.find(trial, update, self.running)
        self.seen["update_scale"] = scale
        self.acting.acted += self.running & (scale != 1)
        for part, value in self.memory.items():  # an update that is refused makes momenta worthless
            arrays = value if isinstance(value, tuple) else (value,)
            cleared = tuple(array * per_network(self.backend.native(1.0 - stayed), array) for array in arrays)
            self.memory[part] = cleared if isinstance(value, tuple) else cleared[0]

    def _applied(self, update: dict[str, Any]) -> Bools:
        """Add the update to the networks that still move; whether a bit changed."""
        backend, count = self.backend, len(self.running)
        changed = np.zeros(count, dtype=bool)
        for part in self.trainable:
            old = backend.get(part)
            new = old + update[part]
            before, after = backend.numpy(old), backend.numpy(new)
            if not self.running.all():
                after = np.where(per_network(self.running, before), after, before)
                new = backend.native(after)
            changed |= (after != before).reshape(count, -1).any(axis=1)
            backend.set(part, new)
        return changed


def _near(
    backend: Backend,
    approached: Sequence[tuple[Crossing, Approach]],
    update: dict[str, Any],
    gradient: dict[str, Any],
) -> list[Near]:
    """What the trust region needs to know about the crossings and an update."""

    def inner(one: Approach, other: dict[str, Any]) -> NDArray[np.float64]:
        return backend.numpy(backend.inner(one.gradient, other)).astype(np.float64)

    found: list[Near] = []
    for place, (crossing, approach) in enumerate(approached):
        products = [inner(approach, other.gradient) for _, other in approached[: place + 1]]
        found.append(
            Near(
                crossing, approach.crossed, approach.time, approach.peak, products[-1] ** 0.5,
                inner(approach, update), inner(approach, gradient),
                np.stack(products, axis=1),
            )
        )  # fmt: skip
    return found


def _reshaped(backend: Backend, step: Step, update: dict[str, Any], approaches: Sequence[Approach]) -> dict[str, Any]:
    """The updates that are made; those that no remedy changes keep every bit."""
    factor, made = backend.native(step.factor), {}
    for part, change in update.items():
        made[part] = change * per_network(factor, change)
        for approach, weights in zip(approaches, step.weights.T, strict=True):
            if weights.any():
                slope = approach.gradient[part]
                rows = per_network(weights != 0, backend.numpy(slope))
                added = backend.numpy(slope * per_network(backend.native(weights), slope))
                made[part] = made[part] + backend.native(np.where(rows, added, 0))
    return made


def _project(backend: Backend, norms: NDArray[Any], rows: NDArray[np.bool_]) -> None:
    """Multiply readout weights and bias of some networks so that the L1 norm of the weights is what
    is asked for.
    """
    weights = backend.numpy(backend.get("w_out"))
    norm = np.abs(weights).sum(axis=(1, 2), dtype=np.float64)
    by = np.where(rows & (norm > 0), norms / np.where(norm > 0, norm, 1.0), 1.0)
    for part in ("w_out", "b_out"):
        value = backend.numpy(backend.get(part))
        backend.set(part, backend.native(value * per_network(by, value)))


def _sharpen(backend: Backend, parts: tuple[str, ...], sharpness: float) -> dict[str, Any]:
    """Multiply the readout's logit by a number; the parts as they were, to be put back."""
    if sharpness == 1:
        return {}
    kept = {part: backend.get(part) for part in parts}
    for part, value in kept.items():
        backend.set(part, sharpness * value)
    return kept
