"""The CUDA engine: which models and tasks its kernels know, and a stack of networks on a device,
round by round.

A round is one launch of some hundred epochs for all networks. While it runs, the host takes what
the round before has recorded, on a stream of its own. Networks are independent and a network is
summed up in an order that depends on its size alone, so neither the stack nor the rounds change a
bit. Stacks larger than the device's memory go through it in pieces, every round.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.tasks import Task
from ghostpoint.training.compiled.kernel_families import KERNELS
from ghostpoint.training.compiled.kernel_rules import rule_of
from ghostpoint.training.compiled.single_network import watch
from ghostpoint.training.cuda.kernels import full_rank
from ghostpoint.training.cuda.kernels.lanes import SIMULATED, WARP
from ghostpoint.training.cuda.kernels.specification import (
    QUANTITIES,
    Asked,
    Networks,
    Recorder,
    Settings,
    Specification,
    Watch,
)
from ghostpoint.training.cuda.problem import Trials, module_of, packed, specification, unpacked, work_sizes
from ghostpoint.training.kernels.trust import row_size
from ghostpoint.training.outcome import Outcome, hold_above
from ghostpoint.training.plan import Plan, kernel_key

ROUND = 0.3  # seconds that a launch is meant to take
LONGEST = 4096  # epochs of a launch
RECORDS = 1 << 27  # numbers of a launch's history
BLOCKS = 12  # of a kernel that works in memory, a processor
PARTS, WARPS = 4, 12  # of a stack of rank one, and those of its warps that fit on a processor
SHARE = 0.7  # of the device's free memory that a piece may take

OnRecord = Callable[[int, dict[str, NDArray[Any]]], None]


@lru_cache(maxsize=64)
def compiled(spec: Specification) -> Any:
    """The kernel of a specification."""
    registers = module_of(spec).registers(spec)
    options = {} if registers is None or SIMULATED else {"max_registers": registers}
    return cuda.jit(**options)(module_of(spec).kernel(spec))


class Launcher:
    """How a kernel is launched: threads of a block, blocks for some networks, ``work`` and shared
    memory of a block.
    """

    def __init__(self, spec: Specification, steps: int, trials: int):
        self.threads = full_rank.threads(spec) if spec.kind == "full_rank" else WARP
        self.networks = WARP // spec.lanes if spec.kind == "rank_one" else 1
        size, rest = work_sizes(spec, steps, trials)
        self.work = max(1, rest + (0 if spec.on_chip else size))
        self.shared = size * spec.real(0).itemsize if spec.on_chip else 0
        self.processors = 1 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)
        # kernels that keep something in memory go over the stack with a few blocks for each that
        # fits on the chip
        self.resident = self.processors * BLOCKS if self.work > 1 else None
        self.splits = spec.kind == "rank_one"

    def parts(self, networks: int) -> int:
        """In how many parts, each on a stream of its own, a stack is trained: where not all blocks
        fit on the device, a part goes on while others wait for the rest of theirs.
        """
        return PARTS if self.splits and self.blocks(networks) > self.processors * WARPS else 1

    def blocks(self, networks: int) -> int:
        """For a stack of ``networks``."""
        needed = -(-networks // self.networks)
        return needed if self.resident is None else min(needed, self.resident)


launcher = lru_cache(maxsize=64)(Launcher)


def _seconds(spec: Specification, task: Task) -> float:
    """Of a network-epoch, about: for the length of a round alone."""
    if spec.kind == "rank_one":
        return 5e-9 * task.steps / 40
    if spec.kind == "full_rank":
        return 3.5e-9 * (task.steps * task.n_trials + 3 * spec.latents)
    return 0.08e-9 * (spec.latents + spec.outputs) * task.steps * task.n_trials


class _Buffers:
    """Arrays on the device that are used again: to free one is to wait for all that runs there."""

    def __init__(self) -> None:
        self.held: dict[Any, Any] = {}

    def empty(self, key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array of any content."""
        found = self.held.get(key)
        if found is None or found.shape != shape:
            found = self.held[key] = cuda.device_array(shape, dtype)
        return found

    def filled(self, key: Any, values: NDArray[Any], stream: Any) -> Any:
        """An array with these values."""
        found = self.empty(key, values.shape, values.dtype)
        found.copy_to_device(values, stream=stream)
        return found


class _Piece:
    """Networks that are on the device together, and what a kernel wants to know of them."""

    def __init__(
        self,
        models: Record,
        members: slice,
        plan: Plan,
        spec: Specification,
        start: dict[str, Any],
        buffers: tuple[_Buffers, _Buffers],
    ):
        self.members, self.spec, real = members, spec, spec.real
        rows = range(members.start, members.stop)
        self.state = packed(models, members, spec)
        moments = {"adam": 2, "momentum": 1, "sgd": 0}[rule_of(plan, 0)[0]]
        self.moments = [np.zeros(self.state.shape if k < moments else (1, 1), real) for k in range(2)]
        self.events = np.full((len(rows), 5), -1, np.int64)
        self.now = np.zeros((len(rows), spec.quantities), real)
        self.acted = np.zeros(len(rows), np.int64)
        norms = np.zeros(len(models)) if plan.readout_norm is None else plan.readout_norm
        self.fixed = {
            "rate": plan.rate[members].astype(real),
            "initial": np.ascontiguousarray(models.initial_state[members], real),
            "threshold": np.ascontiguousarray(start["threshold"][members], real),
            "norms": norms[members].astype(real),
            "keys": np.array([kernel_key(plan.seed, int(models.seed[row]), row) for row in rows], np.int64),
        }
        self.on_device: dict[str, Any] = {}
        self.buffers = buffers
        self.compute = cuda.stream()
        self.epoch, self.launches = 0, 0

    def load(self) -> dict[str, Any]:
        """The arrays on the device."""
        if not self.on_device:
            changing = {
                "state": self.state, "first": self.moments[0], "second": self.moments[1], "events": self.events,
                "now": self.now, "acted": self.acted,
            }  # fmt: skip
            self.on_device = {name: cuda.to_device(array) for name, array in {**changing, **self.fixed}.items()}
        return self.on_device

    def fetch(self) -> None:
        """What the kernels have changed, back to the host."""
        arrays = self.on_device
        if arrays:
            arrays["state"].copy_to_host(self.state)
            arrays["events"].copy_to_host(self.events)
            arrays["now"].copy_to_host(self.now)
            arrays["acted"].copy_to_host(self.acted)

    def release(self) -> None:
        """Back to the host, moments included, and off the device."""
        self.fetch()
        for name, array in zip(("first", "second"), self.moments, strict=True):
            self.on_device[name].copy_to_host(array)
        self.on_device = {}

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Which networks are known to be frozen or to have diverged."""
        return np.asarray((self.events[:, 3:5] >= 0).any(axis=1))


class Run:
    """The state of a run between launches."""

    def __init__(self, models: Record, task: Task, plan: Plan, dtype: str, on_record: OnRecord | None):
        self.models, self.task, self.plan, self.on_record = models, task, plan, on_record
        chunk = KERNELS[models.kernels].chunk(models, task, np.dtype(dtype).itemsize)
        self.spec = spec = specification(models, task, plan, dtype, chunk)
        self.kernel, self.launch = compiled(spec), launcher(spec, task.steps, task.n_trials)
        self.copy = cuda.stream()
        self.trials = Trials(task, plan, spec.real)
        count, real = len(models), spec.real
        recorded = (count, len(plan.record_epochs))
        self.history = {
            name: np.zeros(recorded, real)
            for name in QUANTITIES[: spec.quantities]
            if name != "confidence" or "confidence" in dict(spec.parts)
        }
        self.snapshots = np.zeros((len(plan.snapshot_epochs), count, spec.size), real)
        _, decay, second_decay, epsilon, _ = rule_of(plan, 0)[1].tolist()
        self.betas = decay, second_decay
        numbers = np.array(
            [task.alpha, task.tolerance or 0.0, task.chance_accuracy, task.initial_scale, task.noise,
             np.inf if plan.clip_norm is None else plan.clip_norm, decay, second_decay, epsilon,
             1 - decay, 1 - second_decay], real,
        )  # fmt: skip
        self.numbers = cuda.to_device(numbers)
        self.cuts = cuda.to_device(np.atleast_1d(task.cuts(real)))
        rows = self.launch.blocks(count) if self.launch.work > 1 else 1
        self.work = cuda.device_array((rows, self.launch.work), real)
        # a device takes no array without elements
        crossings, marks, region = watch(models, task, plan)
        shown = [crossings, marks] if spec.watched else [np.zeros((1, 5), np.int64), np.zeros((1, 2))]
        seen = np.zeros((rows, max(1, spec.watched * row_size(spec.watched))))
        self.watched = [cuda.to_device(array) for array in (*shown, region, seen)]
        self.length = self._round_length()
        start = {"threshold": models.arrays().get("threshold", np.zeros(count))}
        # buffers of a launch and of the one before it; a crowded device has room for one piece's
        members, shared = self._members(), (_Buffers(), _Buffers())
        buffers = [shared if self.crowded else (_Buffers(), _Buffers()) for _ in members]
        self.pieces = [_Piece(models, rows, plan, spec, start, own) for rows, own in zip(members, buffers, strict=True)]
        self.pending: list[Callable[[], None]] = []

    def _round_length(self) -> int:
        wanted = int(ROUND / (_seconds(self.spec, self.task) * len(self.models)))
        recorded = max(1, len(self.plan.record_epochs)) / self.plan.epochs
        held = int(RECORDS / (len(QUANTITIES) * len(self.models) * recorded))
        return max(1, min(wanted, held, LONGEST, self.trials.most))

    def _members(self) -> list[slice]:
        """The stack in pieces that fit on the device together, or one at a time."""
        count, free = len(self.models), SHARE * _free_memory()
        of_network = self.spec.real(0).itemsize * (
            self.spec.size * (3 + len(self.plan.snapshot_epochs)) + self.spec.units + 64
            + 2 * len(QUANTITIES) * min(self.length, len(self.plan.record_epochs))
        )  # fmt: skip
        most = max(1, min(count, int(free / of_network)))
        self.crowded = most < count
        if not self.crowded:
            most = -(-count // self.launch.parts(count))
        return [slice(at, min(at + most, count)) for at in range(0, count, most)]

    def round(self, start: int, stop: int) -> None:
        """Launch the epochs of a round for all that have not had them, and collect those of the
        rounds before.
        """
        trials = self.trials.epochs(start, stop, self.copy)
        for piece in self.pieces:
            if piece.epoch < stop:
                self._launch(piece, start, stop, trials)
                self.collect(keep=0 if self.crowded else len(self.pieces))

    def _launch(self, piece: _Piece, start: int, stop: int, trials: list[Any]) -> None:
        plan, real, launch = self.plan, self.spec.real, self.launch
        records = slice(*np.searchsorted(plan.record_epochs, (start, stop)))
        kept = slice(*np.searchsorted(plan.snapshot_epochs, (start, stop)))
        # a list without epochs gets one that never comes, since a device takes no array without
        # elements
        buffers = piece.buffers[piece.launches % 2]
        listed = {
            name: buffers.filled(name, epochs if len(epochs) else np.array([-1]), self.copy)
            for name, epochs in (("records", plan.record_epochs[records]), ("kept", plan.snapshot_epochs[kept]))
        }
        k = np.arange(start + 1.0, stop + 1.0)
        corrections = np.stack([1 / (1 - self.betas[0] ** k), 1 / np.sqrt(1 - self.betas[1] ** k)], axis=1)
        corrections = buffers.filled("corrections", corrections.astype(real), self.copy)
        arrays, count = piece.load(), piece.members.stop - piece.members.start
        # those that go on share their warps
        order = np.argsort(piece.finished, kind="stable").astype(np.int32)
        order = buffers.filled("order", order, self.copy)
        history = buffers.empty("history", (self.spec.quantities, count, max(1, records.stop - records.start)), real)
        saved = kept.stop - kept.start
        snapshots = buffers.empty("snapshots", (saved, count, self.spec.size) if saved else (1, 1, 1), real)
        sizes = (np.int64(number) for number in (self.task.n_trials, self.task.steps, start, stop))
        names = ("state", "first", "second", "rate", "initial", "threshold", "norms", "keys")
        arguments = (
            Networks(order=order, **{name: arrays[name] for name in names}),
            Asked(*[*trials, self.cuts]),
            Settings(corrections, self.numbers, np.float64(plan.solved_loss), *sizes),
            Watch(*[*self.watched, arrays["acted"]]),
            Recorder(**listed, history=history, snapshots=snapshots, events=arrays["events"], now=arrays["now"]),
            self.work,
        )
        self.copy.synchronize()
        done = cuda.event()
        with warnings.catch_warnings():
            # a small stack does not fill a device; numba and numba-cuda each have a class for it
            warnings.filterwarnings("ignore", message="Grid size")
            self.kernel[launch.blocks(count), launch.threads, piece.compute, launch.shared](*arguments)
        piece.epoch, piece.launches = stop, piece.launches + 1
        done.record(piece.compute)
        self.pending.append(self._collector(piece, records, kept, history, snapshots, done))
        if self.crowded:
            piece.compute.synchronize()
            piece.release()

    def _collector(
        self, piece: _Piece, records: slice, kept: slice, history: Any, snapshots: Any, done: Any
    ) -> Callable[[], None]:
        """What takes a launch's records to the host; calling it twice does no harm."""

        def collect() -> None:
            done.wait(self.copy)
            if records.stop > records.start:
                values = history.copy_to_host(stream=self.copy)
                self.copy.synchronize()
                for name, rows in zip(QUANTITIES[: self.spec.quantities], values, strict=True):
                    if name in self.history:
                        self.history[name][piece.members, records] = rows
            if kept.stop > kept.start:
                flat = snapshots.copy_to_host(stream=self.copy)
                self.copy.synchronize()
                self.snapshots[kept, piece.members] = flat
            if piece.on_device:
                # the next launch may be writing these: a network that is seen to be finished is so
                piece.events[:] = piece.on_device["events"].copy_to_host(stream=self.copy)
                self.copy.synchronize()
            if self.on_record and piece is self.pieces[-1]:
                for row in range(records.start, records.stop):
                    seen = {name: values[:, row] for name, values in self.history.items()}
                    self.on_record(int(self.plan.record_epochs[row]), seen)

        return collect

    def synchronize(self) -> None:
        """Wait for all launches."""
        for piece in self.pieces:
            piece.compute.synchronize()

    def collect(self, keep: int = 0) -> None:
        """What launches have recorded, but for the last ``keep`` of them."""
        while len(self.pending) > keep:
            self.pending[0]()
            del self.pending[0]

    def reached(self) -> int:
        """The epoch up to which every network has been trained once the launches under way are
        done.

        After an interrupt between the pieces of a stack, those that lag behind are launched first.
        """
        stop = max(piece.epoch for piece in self.pieces)
        start = min(piece.epoch for piece in self.pieces)
        if start < stop:
            self.round(start, stop)
        return stop

    def outcome(self, done: int, interrupted: bool) -> Outcome:
        """What there is after ``done`` epochs."""
        plan, spec = self.plan, self.spec
        self.synchronize()
        for piece in self.pieces:
            piece.fetch()
        events = np.concatenate([piece.events for piece in self.pieces]).T.copy()
        hold_above(events, done)
        recorded, kept = int((plan.record_epochs < done).sum()), int((plan.snapshot_epochs < done).sum())
        state = np.concatenate([piece.state for piece in self.pieces])
        flat = [unpacked(values, spec) for values in self.snapshots[:kept]]
        return Outcome(
            history={name: values[:, :recorded] for name, values in self.history.items()},
            events=events,
            parameters=unpacked(state, spec),
            snapshots={name: np.stack([one[name] for one in flat]) for name, _ in spec.parts if kept},
            epochs=done,
            acted=np.concatenate([piece.acted for piece in self.pieces]) if spec.acts else None,
            interrupted=interrupted,
        )

    def fill(self, start: int) -> None:
        """All networks are finished: what is left of the run repeats their last values."""
        self.synchronize()
        for piece in self.pieces:
            piece.fetch()
            rows = slice(int((self.plan.record_epochs < start).sum()), None)
            for place, name in enumerate(QUANTITIES[: self.spec.quantities]):
                if name in self.history:
                    self.history[name][piece.members, rows] = piece.now[:, place, None]
            kept = slice(int((self.plan.snapshot_epochs < start).sum()), None)
            self.snapshots[kept, piece.members] = piece.state
        if self.on_record:
            for row in range(int((self.plan.record_epochs < start).sum()), len(self.plan.record_epochs)):
                seen = {name: values[:, row] for name, values in self.history.items()}
                self.on_record(int(self.plan.record_epochs[row]), seen)


def _free_memory() -> float:
    return 1e9 if SIMULATED else float(cuda.current_context().get_memory_info()[0])


def run(
    models: Record,
    task: Task,
    plan: Plan,
    dtype: str,
    *,
    on_progress: Callable[[int], None] | None = None,
    on_record: OnRecord | None = None,
) -> Outcome:
    """Train every network on the device; Ctrl-C ends the run with the launch that is under way.

    ``on_record`` hears of a launch's epochs while the next one runs.
    """
    report = on_progress or (lambda amount: None)
    whole = Run(models, task, plan, dtype, on_record)
    epoch, interrupted = 0, False
    try:
        while epoch < plan.epochs and not all(piece.finished.all() for piece in whole.pieces):
            start, stop = epoch, min(plan.epochs, epoch + whole.length)
            whole.round(start, stop)
            epoch = stop
            report((stop - start) * len(models))
        whole.collect()
        if epoch < plan.epochs:
            whole.fill(epoch)
            report((plan.epochs - epoch) * len(models))
            epoch = plan.epochs
    except KeyboardInterrupt:
        whole.on_record, interrupted = None, True
        epoch = max(epoch, whole.reached())
        if epoch == 0:
            raise
        whole.synchronize()
        whole.collect()
    return whole.outcome(epoch, interrupted)
