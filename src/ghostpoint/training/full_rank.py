"""The compiled engine for full-rank networks: one network a kernel call, calls handed to the threads in turn."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import FullRankRNN
from ghostpoint.tasks import Task
from ghostpoint.training.kernels import full_rank as kernel
from ghostpoint.training.kernels import full_rank_packing as packing
from ghostpoint.training.kernels.optimizers import RULES
from ghostpoint.training.loop import Plan
from ghostpoint.training.optimizers import Adam
from ghostpoint.training.outcome import Outcome
from ghostpoint.training.schedule import advance_all

__all__ = ["run"]

#: the model's part of each of the kernel's
PARTS = ("W", "w_in", "b", "w_out", "b_out")
CALL = 2e9  # multiply-adds in one kernel call: about a tenth of a second
ROUND = 20  # calls between two points to which an interrupt goes back


class _Network:
    """One network of the stack in the kernel's terms."""

    def __init__(self, models: FullRankRNN, place: int, task: Task, plan: Plan, dtype: str):
        self.members = np.array([place])
        self.epoch = 0
        trial, kind = task.trial(), np.dtype(dtype)
        trials, steps, inputs = trial.inputs.shape
        units, outputs = models.n_units, models.n_outputs
        self.shape = (units, inputs, outputs)
        width = 64 // kind.itemsize
        plane = kernel.plane_size(units, inputs, width)
        w_in = np.zeros((units, 0)) if models.w_in is None else models.w_in[place]
        self.state = packing.pack_network(
            models.W[place], w_in, models.b[place], models.w_out[place], models.b_out[place], kind
        )
        rule, settings = _rule(plan, place)
        size = self.state.size if RULES.index(rule) else 0
        self.moments = [packing.aligned(size, kind) for _ in range(2)]
        self.cursor = np.zeros(2, np.int64)
        self.history = np.zeros((len(plan.record_epochs), len(kernel.QUANTITIES), 1), kind)
        self.snapshots = np.zeros((len(plan.snapshot_epochs), self.state.size), kind)
        self.events = np.full((len(kernel.EVENTS), 1), -1, np.int64)
        self.now = np.zeros((len(kernel.QUANTITIES), 1), kind)
        weights = np.where(trial.mask, task.weights(trial), 0.0)
        start = np.broadcast_to(models.initial_state[place], (1, trials, 1, units))
        origin = int(models.seed[place])
        self.before = (
            self.state, *self.moments, RULES.index(rule), settings,
            np.array([part in models.trainable for part in PARTS]), np.array([task.alpha], kind),
            trial.inputs.transpose(1, 0, 2).astype(kind).reshape(-1),
            *(packing.pack_readings(values, kind) for values in (trial.targets, weights, trial.mask)),
            task.cuts(kind), packing.pack_by_step(start, plane, kind),
            packing.pack_by_step(np.zeros((0, trials, steps, units)), plane, kind),
            float(task.initial_scale), float(task.noise), (plan.seed << 32 | (place if origin < 0 else origin)) % 2**63,
            kernel.ACTIVATIONS.index(models.activation), kernel.READ_OUTS.index(task.read_out),
            units, inputs, outputs, trials, steps, task.chance_accuracy, plan.solved_loss,
        )  # fmt: skip
        self.after = (
            plan.record_epochs, plan.snapshot_epochs, self.cursor, self.history, self.snapshots, self.events, self.now,
            packing.aligned(kernel.work_size(plane, outputs, trials, steps, width), kind),
        )  # fmt: skip
        self.keep()

    def keep(self) -> None:
        """Remember where this round ended."""
        self.kept = self.state.copy(), self.events.copy()

    def advance(self, stop: int) -> int:
        """Go on to epoch ``stop`` or until finished; the epochs that this took."""
        start = self.epoch
        self.epoch = kernel.train(*self.before, start, stop, *self.after)
        return self.epoch - start

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Whether the network is frozen or has diverged, as an array of one."""
        return np.asarray((self.events[3:5] >= 0).any(axis=0))


def _rule(plan: Plan, place: int) -> tuple[str, NDArray[np.float64]]:
    rate, limit = float(plan.rate[place]), np.inf if plan.clip_norm is None else plan.clip_norm
    if isinstance(plan.optimizer, Adam):
        return "adam", np.array([rate, *plan.optimizer.betas, plan.optimizer.eps, limit])
    name = "momentum" if plan.optimizer.momentum else "sgd"
    return name, np.array([rate, plan.optimizer.momentum, 0.0, 0.0, limit])


def run(
    models: FullRankRNN,
    task: Task,
    plan: Plan,
    dtype: str,
    *,
    threads: int,
    on_progress: Callable[[int], None] | None,
) -> Outcome:
    """Train every network; Ctrl-C goes back to the end of the last round and returns what there is."""
    networks = [_Network(models, place, task, plan, dtype) for place in range(len(models))]
    report = on_progress or (lambda amount: None)
    cost = 6.0 * models.n_units**2 * task.steps * task.n_trials + 1e4
    call = max(1, int(CALL / cost))
    epoch = 0
    with ThreadPoolExecutor(threads) as pool:
        while epoch < plan.epochs:
            stop = min(plan.epochs, epoch + ROUND * call)
            active = [network for network in networks if not network.finished.all()]
            if not active:
                report(len(networks) * (plan.epochs - epoch))
                epoch = plan.epochs
                break
            try:
                advance_all(active, stop, threads, pool, report, call)
            except KeyboardInterrupt:
                if epoch == 0:
                    raise
                for network in networks:
                    network.state[:], network.events[:] = network.kept
                    last = network.events[1]
                    last[last >= epoch] = epoch - 1
                break
            epoch_before, epoch = epoch, stop
            short = sum(stop - network.epoch for network in active)
            idle = (len(networks) - len(active)) * (stop - epoch_before)
            report(short + idle)
            for network in networks:
                network.keep()
    return _collected(networks, models, plan, epoch)


def _collected(networks: list[_Network], models: FullRankRNN, plan: Plan, done: int) -> Outcome:
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
        finals.append(packing.unpack_network(network.state, *network.shape))
        snapshots.append([packing.unpack_network(state, *network.shape) for state in network.snapshots[:kept]])
    present = [(row, part) for row, part in enumerate(PARTS) if part in models.present_parts()]
    return Outcome(
        history={
            name: np.stack([history[:, row] for history in histories]) for row, name in enumerate(kernel.QUANTITIES)
        },
        events=events,
        parameters={part: np.stack([final[row] for final in finals]) for row, part in present},
        snapshots={
            part: np.stack([[states[row] for states in network] for network in snapshots], axis=1)
            for row, part in present
            if kept
        },
        epochs=done,
    )
