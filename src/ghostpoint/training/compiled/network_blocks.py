"""Blocks of networks of low rank that a kernel trains together, one per vector lane: which, and in the kernel's terms.

A network's bits are those it has alone (``alone.py``); only the speed differs. A block takes the time of a full one
until the last of its networks is finished.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.numerics.memory import aligned
from ghostpoint.numerics.subnormals import flushing_subnormals
from ghostpoint.tasks import Task
from ghostpoint.training.compiled.kernel_families import KERNELS
from ghostpoint.training.kernels import epoch as codes
from ghostpoint.training.kernels import low_rank, low_rank_lanes
from ghostpoint.training.kernels.lanes_passes import MOST
from ghostpoint.training.kernels.low_rank_lanes_packing import pack_lanes, pack_networks, unpack_networks
from ghostpoint.training.plan import Plan

__all__ = ["COST_ALONE", "Block", "in_lanes"]

#: cost of a network alone over its share of a full block, on the careful side: rank two in
#: ``benchmarks/results/engines.json`` has 1.8 on one trial and 2.4 on two, 100 units in float32
COST_ALONE = 1.8
#: more trials would not stay in a second-level cache, and one network then has work enough to fill its waiting
TRIALS = 2


def in_lanes(models: Record, task: Task, plan: Plan) -> bool:
    """Whether the kernel of several networks knows the problem."""
    if not KERNELS[models.kernels].lanes:
        return False
    columns, rows = _sizes(models)
    return (
        max(columns, rows) <= MOST
        and task.n_trials <= TRIALS
        and not (task.random or task.noise or task.initial_scale)
        and plan.optimizer.stateless
        and plan.clip_norm is None
        and plan.readout_norm is None
        and not plan.remedies
    )


def _sizes(models: Any) -> tuple[int, int]:
    """Columns of the two matrices of a low-rank network: m, W_in, b; and n with a readout of the state."""
    outputs = models.n_outputs if models.w_out is not None and models.readout == "state" else 0
    return models.rank + models.n_inputs + 1, models.rank + outputs


class Block:
    """Networks of the stack that share a kernel call, in its terms."""

    quantities = low_rank.QUANTITIES

    def __init__(self, models: Any, members: NDArray[np.int64], task: Task, arrays: Any, plan: Plan, kind: Any):
        self.members, self.epoch = members, 0
        count, width = len(members), 64 // kind.itemsize
        readout = low_rank.READOUTS.index("confidence" if models.w_out is None else models.readout)
        units, latents, inputs, outputs = models.n_units, models.rank, models.n_inputs, models.n_outputs
        names = {*models.present_parts(), "confidence"}
        self.state = pack_networks({name: getattr(models, name)[members] for name in names}, readout, kind)
        self.shape = units, latents, inputs, outputs, readout
        columns, rows = _sizes(models)
        small = self.state.size // width - units * (columns + rows)
        rates = np.zeros(width)
        rates[:count] = plan.rate[members]
        self.cursor = np.zeros(2, np.int64)
        self.rows = np.zeros((len(plan.record_epochs), len(low_rank.QUANTITIES), width), kind)
        self.snapshots = np.zeros((len(plan.snapshot_epochs), self.state.size), kind)
        self.lanes = np.full((len(codes.EVENTS), width), -1, np.int64)
        self.lanes[3, count:] = 0  # empty lanes are finished from the start
        self.latest = np.zeros((len(low_rank.QUANTITIES), width), kind)
        self.acted = np.zeros(count, np.int64)
        self.before = (
            self.state, rates, np.array([part in models.trainable for part in low_rank.PARTS]),
            np.array([task.alpha, task.tolerance or 0.0], kind), pack_lanes(models.threshold[members], kind),
            *(values[0] for values in arrays), task.cuts(kind),
            pack_lanes(models.initial_state[members], kind), codes.ACTIVATIONS.index(models.activation),
            codes.READ_OUTS.index(task.read_out), readout, units, latents, inputs, outputs, task.n_trials,
            task.steps, float(kind.type(task.chance_accuracy)), plan.solved_loss,
        )  # fmt: skip
        work = low_rank_lanes.work_size(units, columns, rows, small, outputs, task.n_trials, task.steps, width)
        self.after = (
            plan.record_epochs, plan.snapshot_epochs, self.cursor, self.rows, self.snapshots, self.lanes, self.latest,
            aligned(work, kind),
        )  # fmt: skip
        self.keep()

    @property
    def history(self) -> NDArray[Any]:
        """(recorded epochs, quantity, network)."""
        return self.rows[:, :, : len(self.members)]

    @property
    def now(self) -> NDArray[Any]:
        """The last epoch's, (quantity, network)."""
        return self.latest[:, : len(self.members)]

    @property
    def events(self) -> NDArray[np.int64]:
        """(event, network)."""
        return self.lanes[:, : len(self.members)]

    def unpack(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The parts of a flat state, each (networks, ...)."""
        units, latents, inputs, outputs, readout = self.shape
        return unpack_networks(flat, len(self.members), units, latents, inputs, outputs, readout)

    def keep(self) -> None:
        """Remember where this round ended."""
        self.kept = self.state.copy(), self.lanes.copy(), self.acted.copy()

    def go_back(self) -> None:
        """To where the last round ended."""
        self.state[:], self.lanes[:], self.acted[:] = self.kept

    def advance(self, stop: int) -> int:
        """Go on to epoch ``stop`` or until all are finished; the network-epochs that this covered."""
        start = self.epoch
        with flushing_subnormals():
            self.epoch = low_rank_lanes.train(*self.before, start, stop, *self.after)
        return (self.epoch - start) * len(self.members)

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Which members are frozen or have diverged."""
        return np.asarray((self.events[3:5] >= 0).any(axis=0))
