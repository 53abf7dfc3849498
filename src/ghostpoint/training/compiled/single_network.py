"""Networks that take a kernel call each, in the kernels' terms: full rank, and any rank with inputs
and optimisers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.numerics.memory import aligned
from ghostpoint.remedies import HazardLimit, TrustRegion, crossings
from ghostpoint.tasks import Task
from ghostpoint.training.compiled.kernel_families import KERNELS, shape_of
from ghostpoint.training.compiled.kernel_rules import rule_of
from ghostpoint.training.compiled.shared_call import SharedCall
from ghostpoint.training.kernels import packing, records, trust
from ghostpoint.training.kernels.optimizers import RULES
from ghostpoint.training.kernels.records import Draws, Rule, Watch, Weights
from ghostpoint.training.plan import Plan, kernel_key

DRAWN = 1 << 20  # numbers of random trials that are held at a time


class Trials:
    """The trials of a task in the kernels' terms: one row for good, or the rows of the epochs of a
    round.

    Many trials come in ``chunks`` of ``size``, each a row; those that fill up the last one do not
    count.
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
        packed = [[packing.pack_readings(each, self.dtype) for each in values] for values in whole[1:]]
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


class Group(SharedCall):
    """Networks that are packed once for a whole run, with a way back to the end of the last
    round.
    """

    def __init__(self, members: NDArray[np.int64], state: NDArray[Any], plan: Plan, lanes: int):
        super().__init__(members, state, lanes)
        self.record(plan.record_epochs, plan.snapshot_epochs, state.size)
        self.keep()

    def keep(self) -> None:
        """Remember where this round ended."""
        self.kept = self.state.copy(), self.recorder.events.copy(), self.recorder.acted.copy()

    def go_back(self) -> None:
        """To where the last round ended."""
        self.state[:], self.recorder.events[:], self.recorder.acted[:] = self.kept

    @abstractmethod
    def unpack(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The parts of a flat state, each (networks, ...)."""


class Network(Group):
    """One network of the stack in its kernel's terms."""

    def __init__(self, models: Record, place: int, task: Task, trials: Trials, plan: Plan, watched: tuple[Any, ...]):
        kind, family = trials.dtype, KERNELS[models.kernels]
        shape = shape_of(models, task, trials.chunks, trials.size)
        packed = family.packed(models, place, shape, kind)
        super().__init__(np.array([place]), packed.state, plan, 1)
        self.kernel, self.parts_of = family.kernel, packed.unpack
        rule, settings = rule_of(plan, place)
        first, second = (aligned(packed.state.size if RULES.index(rule) else 0, kind) for _ in range(2))
        norm = 0.0 if plan.readout_norm is None else plan.readout_norm[place]
        threshold = models.arrays()["threshold"][place] if "threshold" in models.dims else 0.0
        trainable = np.array([part in models.trainable for part in family.parts])
        start = np.broadcast_to(models.initial_state[place], (1, trials.size, 1, models.n_units))
        quiet = np.zeros((0, trials.size, task.steps, models.n_units))
        seed = kernel_key(plan.seed, int(models.seed[place]), place)
        crossings, marks, region = watched
        seen = np.zeros((len(crossings), trust.row_size(len(crossings))))
        self.arguments = (
            Weights(packed.state, first, second, packed.segments, trainable, kind.type(norm), kind.type(threshold)),
            shape,
            task_record(task, plan, trials.arrays, kind),
            Draws(
                packing.pack_by_step(start, packed.plane, kind), packing.pack_by_step(quiet, packed.plane, kind),
                float(task.initial_scale), float(task.noise), seed,
            ),
            Rule(RULES.index(rule), settings),
            Watch(crossings, marks, region, seen),
            self.recorder,
            aligned(packed.work(len(crossings) if plan.remedies else -1), kind),
        )  # fmt: skip

    def unpack(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:  # noqa: D102
        return {name: values[None] for name, values in self.parts_of(flat).items()}

    def train(self, start: int, stop: int) -> int:  # noqa: D102
        reached: int = self.kernel.train(*self.arguments, start, stop)
        return reached


def task_record(task: Task, plan: Plan, arrays: Sequence[NDArray[Any]], kind: np.dtype[Any]) -> records.Task:
    """What is asked of a network, from the arrays of :class:`Trials`."""
    inputs, targets, weights, counted = arrays
    return records.Task(
        kind.type(task.alpha), kind.type(task.tolerance or 0.0), task.cuts(kind), inputs, targets, weights, counted,
        float(kind.type(task.chance_accuracy)), float(plan.solved_loss),
    )  # fmt: skip


def watch(models: Record, task: Task, plan: Plan) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Crossings, their logits and signs, and the numbers of the trust region and the hazard limit
    (``trust.py``).
    """
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
