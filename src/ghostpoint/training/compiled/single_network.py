"""Networks that take a kernel call each, in the kernels' terms: full rank, and any rank with inputs and optimisers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.numerics.memory import aligned
from ghostpoint.numerics.subnormals import flushing_subnormals
from ghostpoint.remedies import HazardLimit, TrustRegion, crossings
from ghostpoint.tasks import Task
from ghostpoint.training.compiled.kernel_families import KERNELS
from ghostpoint.training.compiled.kernel_rules import rule_of
from ghostpoint.training.kernels import epoch as codes
from ghostpoint.training.kernels import full_rank_packing, trust
from ghostpoint.training.kernels.optimizers import RULES
from ghostpoint.training.plan import Plan, kernel_key

__all__ = ["Network", "Trials", "watch"]

DRAWN = 1 << 20  # numbers of random trials that are held at a time


class Trials:
    """The trials of a task in the kernels' terms: one row for good, or the rows of the epochs of a round.

    Many trials come in ``chunks`` of ``size``, each a row; those that fill up the last one do not count.
    """

    def __init__(self, task: Task, plan: Plan, dtype: np.dtype[Any], size: int):
        self.task, self.plan, self.dtype = task, plan, dtype
        self.chunks = -(-task.n_trials // size)
        self.size = -(-task.n_trials // self.chunks)
        per_epoch = task.n_trials * task.steps * (task.n_inputs + 3 * task.n_outputs)
        self.rows = max(1, min(plan.epochs, DRAWN // per_epoch)) if task.random else 1
        first = self._arrays((plan.seed, 0) if task.random else None)
        self.arrays = [np.tile(values, (self.rows, 1)) for values in first]

    def _arrays(self, seed: tuple[int, int] | None) -> list[NDArray[Any]]:
        """Inputs, targets, weights and what counts, each (chunks, ...)."""
        trial = self.task.trial() if seed is None else self.task.trial(seed)
        weights = np.where(trial.mask, self.task.weights(trial), 0.0)
        whole = [self._chunked(values) for values in (trial.inputs, trial.targets, weights, trial.mask)]
        inputs = [values.transpose(1, 0, 2).astype(self.dtype).reshape(-1) for values in whole[0]]
        packed = [[full_rank_packing.pack_readings(each, self.dtype) for each in values] for values in whole[1:]]
        return [np.stack(values) for values in (inputs, *packed)]

    def _chunked(self, values: NDArray[Any]) -> NDArray[Any]:
        """(trials, ...) as (chunks, size, ...), with zeros for what is missing."""
        padded = np.zeros((self.chunks * self.size, *values.shape[1:]), values.dtype)
        padded[: len(values)] = values
        return padded.reshape(self.chunks, self.size, *values.shape[1:])

    def prepare(self, start: int, stop: int) -> None:
        """Draw the trials of the epochs of a round, where they are random."""
        if self.task.random:
            for epoch in range(start, stop):
                first = epoch % self.rows * self.chunks
                for rows, values in zip(self.arrays, self._arrays((self.plan.seed, epoch)), strict=True):
                    rows[first : first + self.chunks] = values


class Network:
    """One network of the stack in its kernel's terms."""

    def __init__(self, models: Record, place: int, task: Task, trials: Trials, plan: Plan, watched: tuple[Any, ...]):
        self.members = np.array([place])
        self.epoch = 0
        kind = trials.dtype
        family = KERNELS[models.kernels]
        self.state, self.parts_of, shape, plane, work = family.packed(models, place, task.steps, kind)
        self.kernel, self.quantities = family.kernel, family.kernel.QUANTITIES
        rule, settings = rule_of(plan, place)
        size = self.state.size if RULES.index(rule) else 0
        self.moments = [aligned(size, kind) for _ in range(2)]
        self.cursor = np.zeros(2, np.int64)
        self.history = np.zeros((len(plan.record_epochs), len(self.kernel.QUANTITIES), 1), kind)
        self.snapshots = np.zeros((len(plan.snapshot_epochs), self.state.size), kind)
        self.events = np.full((len(codes.EVENTS), 1), -1, np.int64)
        self.now = np.zeros((len(self.kernel.QUANTITIES), 1), kind)
        self.acted = np.zeros(1, np.int64)
        start = np.broadcast_to(models.initial_state[place], (1, trials.size, 1, models.n_units))
        quiet = np.zeros((0, trials.size, task.steps, models.n_units))
        counts = family.counts(trials.chunks, trials.size)
        norm = 0.0 if plan.readout_norm is None else plan.readout_norm[place]
        threshold = models.arrays()["threshold"][place] if "threshold" in models.dims else 0.0
        self.before = (
            self.state, *self.moments, RULES.index(rule), settings,
            np.array([part in models.trainable for part in family.parts]),
            np.array([task.alpha, task.tolerance or 0.0, norm, threshold], kind), *trials.arrays, task.cuts(kind),
            full_rank_packing.pack_by_step(start, plane, kind), full_rank_packing.pack_by_step(quiet, plane, kind),
            float(task.initial_scale), float(task.noise), kernel_key(plan.seed, int(models.seed[place]), place),
            codes.ACTIVATIONS.index(models.activation), codes.READ_OUTS.index(task.read_out), *watched, *shape,
            *counts, task.steps, float(kind.type(task.chance_accuracy)), plan.solved_loss,
        )  # fmt: skip
        self.after = (
            plan.record_epochs, plan.snapshot_epochs, self.cursor, self.history, self.snapshots, self.events,
            self.acted, self.now, np.zeros((len(watched[0]), trust.row_size(len(watched[0])))),
            aligned(work(trials.chunks, trials.size, len(watched[0]) if plan.remedies else -1), kind),
        )  # fmt: skip
        self.keep()

    def keep(self) -> None:
        """Remember where this round ended."""
        self.kept = self.state.copy(), self.events.copy(), self.acted.copy()

    def go_back(self) -> None:
        """To where the last round ended."""
        self.state[:], self.events[:], self.acted[:] = self.kept

    def unpack(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The parts of a flat state, each (1, ...)."""
        return {name: values[None] for name, values in self.parts_of(flat).items()}

    def advance(self, stop: int) -> int:
        """Go on to epoch ``stop`` or until finished; the epochs that this took."""
        start = self.epoch
        with flushing_subnormals():
            self.epoch = self.kernel.train(*self.before, start, stop, *self.after)
        return self.epoch - start

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Whether the network is frozen or has diverged, as an array of one."""
        return np.asarray((self.events[3:5] >= 0).any(axis=0))


def watch(models: Record, task: Task, plan: Plan) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Crossings, their logits and signs, and the numbers of the trust region and the hazard limit (``trust.py``)."""
    region = next((one for one in plan.remedies if isinstance(one, TrustRegion)), None)
    limit = next((one.limit for one in plan.remedies if isinstance(one, HazardLimit)), np.inf)
    found = [] if region is None else crossings(task, task.trial(), models.activation, region.crossings)
    places = [(one.trial, one.output, one.start, one.stop, one.delay) for one in found]
    numbers = {"hazard": limit, "chance_loss": task.chance_loss}
    return (
        np.array(places, np.int64).reshape(-1, 5),
        np.array([(one.logit, one.sign) for one in found]).reshape(-1, 2),
        np.array([numbers[name] if name in numbers else getattr(region, name, 0.0) for name in trust.REGION]),
    )
