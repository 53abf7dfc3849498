"""Blocks of networks of low rank that a kernel trains together, one per vector lane: which, and in
the kernel's terms.

A network's bits are those it has alone (``single_network.py``); only the speed differs. A block
takes the time of a full one until the last of its networks is finished.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.numerics.memory import aligned
from ghostpoint.tasks import Task
from ghostpoint.training.compiled.kernel_families import KERNELS, shape_of
from ghostpoint.training.compiled.single_network import Group, Trials, task_record
from ghostpoint.training.kernels import low_rank, low_rank_lanes, packing
from ghostpoint.training.kernels.lanes_passes import MOST
from ghostpoint.training.kernels.records import LaneWeights
from ghostpoint.training.plan import Plan

#: cost of a network alone over its share of a full block, on the careful side: rank two in
#: ``benchmarks/results/engines.json`` has 1.8 on one trial and 2.4 on two, 100 units in float32
COST_ALONE = 1.8
#: more trials would not stay in a second-level cache, and one network then has work enough to fill
#: its waiting
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
    """Columns of the two matrices of a low-rank network: m, W_in, b; and n with a readout of the
    state.
    """
    outputs = models.n_outputs if models.w_out is not None and models.readout == "state" else 0
    return models.rank + models.n_inputs + 1, models.rank + outputs


class Block(Group):
    """Networks of the stack that share a kernel call, one per lane."""

    def __init__(self, models: Any, members: NDArray[np.int64], task: Task, trials: Trials, plan: Plan):
        kind = trials.dtype
        width = 64 // kind.itemsize
        self.shape = shape_of(models, task, 1, task.n_trials)
        parts = {name: models.arrays()[name][members] for name in {*models.present_parts(), "confidence"}}
        state = packing.pack_networks(parts, self.shape.readout, kind)
        super().__init__(members, state, plan, width)
        rates = np.zeros(width)
        rates[: len(members)] = plan.rate[members]
        trainable = np.array([part in models.trainable for part in low_rank.PARTS])
        segments = packing.lane_segments(trainable.tolist(), *self._sizes(), width)
        self.weights = LaneWeights(
            state, rates, segments, trainable, packing.pack_lanes(models.threshold[members], kind),
            packing.pack_lanes(models.initial_state[members], kind),
        )  # fmt: skip
        self.task = task_record(task, plan, [values[0] for values in trials.arrays], kind)
        self.work = aligned(low_rank_lanes.work_size(state.size, self.shape, width), kind)

    def _sizes(self) -> tuple[int, int, int, int, int]:
        shape = self.shape
        return shape.units, shape.latents, shape.inputs, shape.outputs, shape.readout

    def unpack(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:  # noqa: D102
        return packing.unpack_networks(flat, len(self.members), *self._sizes())

    def train(self, start: int, stop: int) -> int:  # noqa: D102
        reached: int = low_rank_lanes.train(
            self.weights, self.shape, self.task, self.recorder, self.work, start, stop
        )  # fmt: skip
        return reached
