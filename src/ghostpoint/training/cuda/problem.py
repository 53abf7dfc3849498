"""A stack of networks and a task in the CUDA kernels' terms: the specification, flat states, arrays
of trials.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.compiled.kernel_rules import WITHIN, rule_of, unknown
from ghostpoint.training.compiled.single_network import watch
from ghostpoint.training.cuda.kernels import full_rank, low_rank, rank_one
from ghostpoint.training.cuda.kernels.full_rank import LARGEST
from ghostpoint.training.cuda.kernels.lanes import WARP
from ghostpoint.training.cuda.kernels.rank_one import MOST_REGISTERS, MOST_STEPS
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.epoch import ACTIVATIONS, READ_OUTS
from ghostpoint.training.kernels.low_rank_passes import READOUTS
from ghostpoint.training.kernels.optimizers import RULES
from ghostpoint.training.kernels.trust import SPLIT
from ghostpoint.training.plan import Plan

#: latents and outputs of the state together, and units, of a low-rank network at most
MOST_ROWS, MOST_UNITS = 32, 512
#: weights of a thread of a low-rank network at most, as many as a warp's registers can hold with
#: their gradient
MOST_WEIGHTS = 100
DRAWN = 1 << 22  # numbers of random trials that are held at a time
#: bytes of shared memory that a block has without asking for more
SHARED = 48 * 1024
#: threads of a rank-one network, by the units that they can hold
LANES = (8, 16, 32)


def obstacle(models: Record, task: Task, plan: Plan) -> str:
    """Why the CUDA kernels cannot train these models on this task; empty if they can."""
    reason = unknown(task, plan, WITHIN)
    if reason:
        return reason
    if models.kernels == "full_rank":
        most, rank = LARGEST, 0
    elif models.kernels == "low_rank":
        most, rank = MOST_UNITS, 0 if in_a_block(models) else models.rank
    else:
        return f"the CUDA kernels do not know {type(models).__name__}"
    if models.n_units > most:
        return f"the CUDA kernels know {type(models).__name__} of up to {most} units, got {models.n_units}"
    if rank > MOST_ROWS:
        return f"the CUDA kernels know ranks up to {MOST_ROWS} beyond {LARGEST} units, got {rank}"
    return ""


def specification(models: Any, task: Task, plan: Plan, dtype: str, chunk: int) -> Specification:
    """What the kernel of a run is compiled for; ``chunk`` as the compiled engine takes trials."""
    low = models.kernels == "low_rank"
    has_head = "w_out" in models.present_parts()
    rule, _ = rule_of(plan, 0)
    changing = task.random or task.noise > 0 or task.initial_scale > 0 or plan.readout_norm is not None
    chunks = -(-task.n_trials // chunk)
    watched, splits = 0, False
    if plan.remedies:
        crossings, _, region = watch(models, task, plan)
        watched, splits = len(crossings), len(crossings) > 0 and bool(region[SPLIT])
    lanes = next((lanes for lanes in LANES if models.n_units <= lanes * MOST_REGISTERS), None)
    short = (
        low and models.rank == 1 and not has_head and lanes is not None and not changing
        and not models.n_inputs and task.n_trials == 1 and task.read_out == "after" and task.tolerance is None
        and task.steps <= MOST_STEPS and watched <= 1
    )  # fmt: skip
    spec = Specification(
        kind="rank_one" if short else "full_rank" if in_a_block(models) else models.kernels,
        dtype=dtype,
        units=models.n_units,
        latents=models.rank if low else 0,
        inputs=models.n_inputs,
        outputs=models.n_outputs,
        parts=tuple((part, getattr(models, part).shape[1:]) for part in models.present_parts()),
        trainable=tuple(models.trainable),
        rule=RULES.index(rule),
        clips=plan.clip_norm is not None,
        activation=ACTIVATIONS.index(models.activation),
        shift=READ_OUTS.index(task.read_out),
        readout=READOUTS.index(models.readout if has_head else "confidence") if low else 0,
        cuts=len(task.thresholds) if task.tolerance is None else -1,
        drawn_start=task.initial_scale > 0,
        noisy=task.noise > 0,
        normed=plan.readout_norm is not None,
        may_freeze=plan.optimizer.stateless and not changing,
        chunk=-(-task.n_trials // chunks) if task.noise > 0 or task.initial_scale > 0 else 1,
        lanes=lanes or 32,
        acts=bool(plan.remedies),
        watched=watched,
        splits=splits,
    )
    if short:
        return spec
    kept = module_of(spec).work_size(spec, task.steps) + module_of(spec).fixed_size(spec)
    return replace(spec, on_chip=kept * np.dtype(dtype).itemsize <= SHARED)


def in_a_block(models: Any) -> bool:
    """Whether a low-rank network has a block of threads, by the kernel of full rank: where its
    weights would not fit into the registers of a warp, or its latents not among its threads.
    """
    if models.kernels != "low_rank" or models.n_units > LARGEST:
        return False
    outputs = models.n_outputs if "w_out" in models.present_parts() and models.readout == "state" else 0
    of_unit = 2 * models.rank + models.n_inputs + 1 + outputs
    return bool(models.rank + outputs > MOST_ROWS or -(-models.n_units // WARP) * of_unit > MOST_WEIGHTS)


def work_sizes(spec: Specification, steps: int, trials: int) -> tuple[int, int]:
    """Numbers that a block keeps of a trial beside its registers, and in memory in any case."""
    if spec.kind == "rank_one":
        return 0, 0
    return module_of(spec).work_size(spec, steps), module_of(spec).rest_size(spec, trials)


def module_of(spec: Specification) -> Any:
    """The module of a kernel."""
    return {"rank_one": rank_one, "low_rank": low_rank, "full_rank": full_rank}[spec.kind]


def packed(models: Record, members: slice, spec: Specification) -> NDArray[Any]:
    """Flat states, (networks, size)."""
    rows = [np.asarray(getattr(models, part)[members]) for part, _ in spec.parts]
    return np.concatenate([np.reshape(row, (len(row), -1)).astype(spec.real) for row in rows], axis=1)


def unpacked(flat: NDArray[Any], spec: Specification) -> dict[str, NDArray[Any]]:
    """The parts of flat states (networks, size), each (networks, ...)."""
    ends = np.cumsum([int(np.prod(shape)) for _, shape in spec.parts])
    pieces = np.split(flat, ends[:-1], axis=1)
    return {
        part: np.ascontiguousarray(piece.reshape(len(flat), *shape))
        for (part, shape), piece in zip(spec.parts, pieces, strict=True)
    }


class Trials:
    """The trials of a task as the kernels take them: for good, or of the epochs of a launch where
    they are random.
    """

    def __init__(self, task: Task, plan: Plan, real: Any):
        self.task, self.plan, self.real = task, plan, real
        of_epoch = task.n_trials * task.steps * (task.n_inputs + 3 * task.n_outputs)
        #: epochs of a launch at most
        self.most = max(1, DRAWN // of_epoch) if task.random else plan.epochs
        self.constant = None if task.random else self._arrays([task.trial()])

    def epochs(self, start: int, stop: int, stream: Any = 0) -> list[Any]:
        """On the device: ``inputs``, ``targets``, ``weights``, ``counted`` and ``n_counted`` of the
        kernels.
        """
        if self.constant is not None:
            return self.constant
        return self._arrays([self.task.trial((self.plan.seed, epoch)) for epoch in range(start, stop)], stream)

    def _arrays(self, trials: list[Trial], stream: Any = 0) -> list[Any]:
        """As ``Specification`` wants them; an array without elements gets one, since a device takes
        no empty ones.
        """
        masks = [np.broadcast_to(trial.mask, trial.targets.shape) for trial in trials]
        weights = [np.where(trial.mask, self.task.weights(trial), 0.0) for trial in trials]
        wanted = [[trial.inputs for trial in trials], [trial.targets for trial in trials], weights, masks]
        flat = [np.stack(values).reshape(len(trials), -1).astype(self.real) for values in wanted]
        inputs, _, _, counted = flat
        arrays = [inputs if inputs.size else np.zeros((len(trials), 1), self.real), *flat[1:], counted.sum(axis=1)]
        return [cuda.to_device(array, stream=stream) for array in arrays]
