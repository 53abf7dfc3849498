"""The compiled engine for networks that take a kernel call each: full rank, and any rank with inputs and optimisers.

One network a call, calls handed to the threads in turn. Networks are independent, so the order changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import FullRankRNN, LowRankRNN, Record
from ghostpoint.remedies import HazardLimit, TrustRegion, crossings
from ghostpoint.tasks import Task
from ghostpoint.training.kernels import epoch as codes
from ghostpoint.training.kernels import full_rank, full_rank_packing, low_rank, low_rank_packing, trust
from ghostpoint.training.kernels.memory import aligned
from ghostpoint.training.kernels.optimizers import RULES
from ghostpoint.training.kernels.subnormals import flushing_subnormals
from ghostpoint.training.optimizers import Adam
from ghostpoint.training.outcome import Outcome
from ghostpoint.training.plan import Plan
from ghostpoint.training.schedule import advance_all

__all__ = ["run", "watch"]

#: the parts of a full-rank model in the order of the kernel's
PARTS = ("W", "w_in", "b", "w_out", "b_out")
CALL = 2e9  # multiply-adds in one kernel call: about a tenth of a second
ROUND = 20  # calls between two points to which an interrupt goes back
DRAWN = 1 << 20  # numbers of random trials that are held at a time
CACHE = 400_000  # bytes of what a kernel keeps of a chunk of trials: part of a second-level cache

OnRecord = Callable[[int, dict[str, NDArray[Any]]], None]


class _Trials:
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


class _Network:
    """One network of the stack in its kernel's terms."""

    def __init__(self, models: Record, place: int, task: Task, trials: _Trials, plan: Plan, watched: tuple[Any, ...]):
        self.members = np.array([place])
        self.epoch = 0
        kind = trials.dtype
        self.state, self.unpack, self.kernel, shape, plane, work = _packed(models, place, task, kind)
        rule, settings = _rule(plan, place)
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
        counts = (trials.size,) if isinstance(models, FullRankRNN) else (trials.chunks, trials.size)
        origin = int(models.seed[place])
        norm = 0.0 if plan.readout_norm is None else plan.readout_norm[place]
        threshold = models.threshold[place] if isinstance(models, LowRankRNN) else 0.0
        names = PARTS if isinstance(models, FullRankRNN) else low_rank.PARTS
        self.before = (
            self.state, *self.moments, RULES.index(rule), settings,
            np.array([part in models.trainable for part in names]),
            np.array([task.alpha, task.tolerance or 0.0, norm, threshold], kind), *trials.arrays, task.cuts(kind),
            full_rank_packing.pack_by_step(start, plane, kind), full_rank_packing.pack_by_step(quiet, plane, kind),
            float(task.initial_scale), float(task.noise), (plan.seed << 32 | (place if origin < 0 else origin)) % 2**63,
            codes.ACTIVATIONS.index(models.activation), codes.READ_OUTS.index(task.read_out), *watched, *shape,
            *counts, task.steps, float(kind.type(task.chance_accuracy)), plan.solved_loss,
        )  # fmt: skip
        self.after = (
            plan.record_epochs, plan.snapshot_epochs, self.cursor, self.history, self.snapshots, self.events,
            self.acted, self.now, np.zeros((len(watched[0]), trust.row_size(len(watched[0])))),
            aligned(work(trials, len(watched[0]) if plan.remedies else -1), kind),
        )  # fmt: skip
        self.keep()

    def keep(self) -> None:
        """Remember where this round ended."""
        self.kept = self.state.copy(), self.events.copy(), self.acted.copy()

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


def _packed(models: Record, place: int, task: Task, kind: np.dtype[Any]) -> tuple[Any, ...]:
    """The flat state, how it is unpacked, the kernel, its shape arguments, its plane and the size of its work."""
    assert isinstance(models, FullRankRNN | LowRankRNN)
    width, units = 64 // kind.itemsize, models.n_units
    inputs, outputs = models.n_inputs, models.n_outputs
    w_in = np.zeros((units, 0)) if models.w_in is None else models.w_in[place]
    if isinstance(models, FullRankRNN):
        state = full_rank_packing.pack_network(
            models.W[place], w_in, models.b[place], models.w_out[place], models.b_out[place], kind
        )
        plane = full_rank.plane_size(units, inputs, width)

        def unpack(flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
            return dict(zip(PARTS, full_rank_packing.unpack_network(flat, units, inputs, outputs), strict=True))

        def work(trials: _Trials, crossings: int) -> int:
            return full_rank.work_size(plane, outputs, trials.size, task.steps, width, crossings)

        return state, unpack, full_rank, (units, inputs, outputs), plane, work
    readout = low_rank.READOUTS.index("confidence" if models.w_out is None else models.readout)
    latents = models.rank
    sizes = low_rank.sizes(units, latents, inputs, outputs, readout, width)
    state = low_rank_packing.pack_network(
        models.m[place],
        models.n[place],
        w_in,
        models.b[place],
        None if models.w_out is None else models.w_out[place],
        None if models.b_out is None else models.b_out[place],
        float(models.confidence[place]),
        readout,
        kind,
    )

    def unpack_low(flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return low_rank_packing.unpack_network(flat, units, latents, inputs, outputs, readout)

    def work_low(trials: _Trials, crossings: int) -> int:
        return low_rank.work_size(*sizes, outputs, trials.size, task.steps, width, trials.chunks, crossings)

    return state, unpack_low, low_rank, (readout, units, latents, inputs, outputs), sizes[0], work_low


def _rule(plan: Plan, place: int) -> tuple[str, NDArray[np.float64]]:
    rate, limit = float(plan.rate[place]), np.inf if plan.clip_norm is None else plan.clip_norm
    if isinstance(plan.optimizer, Adam):
        return "adam", np.array([rate, *plan.optimizer.betas, plan.optimizer.eps, limit])
    name = "momentum" if plan.optimizer.momentum else "sgd"
    return name, np.array([rate, plan.optimizer.momentum, 0.0, 0.0, limit])


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


def _cost(models: Record, task: Task) -> float:
    """Multiply-adds of a network-epoch, about."""
    wide = models.n_units if isinstance(models, FullRankRNN) else 2.0 * models.rank + 10
    return 3.0 * models.n_units * wide * task.steps * task.n_trials + 1e4


def run(
    models: Record,
    task: Task,
    plan: Plan,
    dtype: str,
    *,
    threads: int,
    on_progress: Callable[[int], None] | None,
    on_record: OnRecord | None = None,
) -> Outcome:
    """Train every network; Ctrl-C goes back to the end of the last round and returns what there is."""
    row = 3 * models.n_units * task.steps * np.dtype(dtype).itemsize  # bytes that a kernel keeps of a trial
    size = max(2, CACHE // row // 2 * 2) if isinstance(models, LowRankRNN) else task.n_trials
    trials = _Trials(task, plan, np.dtype(dtype), size)
    watched = watch(models, task, plan)
    networks = [_Network(models, place, task, trials, plan, watched) for place in range(len(models))]
    report = on_progress or (lambda amount: None)
    call = max(1, int(CALL / (2 * _cost(models, task))))
    length = min(ROUND * call, trials.rows) if task.random else ROUND * call
    epoch = 0
    with ThreadPoolExecutor(threads) as pool:
        while epoch < plan.epochs:
            stop = min(plan.epochs, epoch + length)
            active = [network for network in networks if not network.finished.all()]
            try:
                if active:
                    trials.prepare(epoch, stop)
                    advance_all(active, stop, threads, pool, report, call)
                else:
                    stop = plan.epochs
                if on_record:
                    _tell(networks, models, plan, epoch, stop, on_record)
            except KeyboardInterrupt:
                if epoch == 0:
                    raise
                for network in networks:
                    network.state[:], network.events[:], network.acted[:] = network.kept
                    last = network.events[1]
                    last[last >= epoch] = epoch - 1
                break
            epoch_before, epoch = epoch, stop
            short = sum(stop - network.epoch for network in active)
            report(short + (len(networks) - len(active)) * (stop - epoch_before))
            for network in networks:
                network.keep()
    return _collected(networks, models, plan, epoch)


def _names(models: Record, plan: Plan) -> list[str]:
    """What the history holds."""
    left_out = {"update_scale"} if not plan.remedies else set()
    if not isinstance(models, LowRankRNN) or models.w_out is not None:
        left_out.add("confidence")
    rows = full_rank.QUANTITIES if isinstance(models, FullRankRNN) else low_rank.QUANTITIES
    return [name for name in rows if name not in left_out]


def _tell(networks: list[_Network], models: Record, plan: Plan, start: int, stop: int, on_record: OnRecord) -> None:
    """Hand over what a round has recorded."""
    rows = networks[0].kernel.QUANTITIES
    for row in range(*np.searchsorted(plan.record_epochs, (start, stop))):
        seen = [network.history[row] if row < network.cursor[0] else network.now for network in networks]
        values = np.concatenate(seen, axis=1)
        on_record(int(plan.record_epochs[row]), {name: values[rows.index(name)] for name in _names(models, plan)})


def _collected(networks: list[_Network], models: Record, plan: Plan, done: int) -> Outcome:
    recorded, kept = int((plan.record_epochs < done).sum()), int((plan.snapshot_epochs < done).sum())
    events = np.concatenate([network.events for network in networks], axis=1)
    # a network that froze or diverged above chance stays above it to the end
    end = events[3:5].max(axis=0)
    events[1, (end >= 0) & (events[1] >= end)] = done - 1
    histories, finals, snapshots = [], [], []
    for network in networks:
        network.history[network.cursor[0] :] = network.now
        network.snapshots[network.cursor[1] :] = network.state
        histories.append(network.history[:recorded, :, 0])
        finals.append(network.unpack(network.state))
        snapshots.append([network.unpack(state) for state in network.snapshots[:kept]])
    present, rows = models.present_parts(), networks[0].kernel.QUANTITIES
    return Outcome(
        history={name: np.stack([each[:, rows.index(name)] for each in histories]) for name in _names(models, plan)},
        events=events,
        parameters={part: np.stack([final[part] for final in finals]) for part in present},
        snapshots={
            part: np.stack([[state[part] for state in network] for network in snapshots], axis=1)
            for part in present
            if kept
        },
        epochs=done,
        acted=np.concatenate([network.acted for network in networks]) if plan.remedies else None,
    )
