"""Run the low-rank and full-rank kernels on a stack that the rank-one kernels do not know: their
calls, handed to the threads in turn.

One network a call (``single_network.py``) or, where several are sooner trained together, a block of
them (``network_blocks.py``). Networks are independent, so neither that nor the order changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.remedies import Guard
from ghostpoint.tasks import Task
from ghostpoint.training.compiled import network_blocks
from ghostpoint.training.compiled.guarded_network import GuardedNetwork
from ghostpoint.training.compiled.kernel_families import KERNELS
from ghostpoint.training.compiled.network_blocks import Block
from ghostpoint.training.compiled.rank_one_stacks import advance_all, blocks_of
from ghostpoint.training.compiled.single_network import Group, Network, Trials, watch
from ghostpoint.training.kernels.epoch import QUANTITIES
from ghostpoint.training.outcome import Outcome, hold_above
from ghostpoint.training.plan import Plan

CALL = 2e9  # multiply-adds in one kernel call: about a tenth of a second
GUARDED = 5e6  # what a guarded epoch takes more, beside its products, in the same unit
ROUND = 20  # calls between two points to which an interrupt goes back

OnRecord = Callable[[int, dict[str, NDArray[Any]]], None]


def _cost(models: Record, task: Task) -> float:
    """Multiply-adds of a network-epoch, about."""
    return 3.0 * models.n_units * KERNELS[models.kernels].columns(models) * task.steps * task.n_trials + 1e4


def run(
    models: Record,
    task: Task,
    plan: Plan,
    dtype: str,
    *,
    layout: str,
    threads: int,
    on_progress: Callable[[int], None] | None,
    on_record: OnRecord | None = None,
) -> Outcome:
    """Train every network; Ctrl-C goes back to the end of the last round and returns what there is.

    Arguments are those of :func:`ghostpoint.training.compiled.dispatch.run`.
    """
    kind = np.dtype(dtype)
    trials = Trials(task, plan, kind, KERNELS[models.kernels].chunk(models, task, kind.itemsize))
    watched = watch(models, task, plan)
    # whole blocks of networks first, one per lane; the others take a call each
    networks: list[Group] = []
    if network_blocks.in_lanes(models, task, plan):
        width = 64 // trials.dtype.itemsize
        blocks = blocks_of(np.arange(len(models)), width, threads, layout, network_blocks.COST_ALONE)
        networks += [Block(models, members, task, trials, plan) for members in blocks]
    first = sum(len(block.members) for block in networks)
    guard = next((one for one in plan.remedies if isinstance(one, Guard)), None)
    for place in range(first, len(models)):
        asked = models, place, task, trials, plan, watched
        networks.append(Network(*asked) if guard is None else GuardedNetwork(*asked, guard))
    report = on_progress or (lambda amount: None)
    cost = 2 * _cost(models, task)
    if guard is not None:
        numbers = sum(getattr(models, part)[0].size for part in models.trainable)
        cost = 1.2 * cost + GUARDED + 8 * guard.secants * numbers
    call = max(1, int(CALL / cost))
    largest = max(len(network.members) for network in networks)
    length = min(ROUND * call, trials.rows) if task.random else ROUND * max(1, call // largest)
    epoch, interrupted = 0, False
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
                # finished networks count as advanced, so that progress reaches its end
                if on_record:
                    _tell(networks, models, plan, epoch, stop, on_record)
                short = sum((stop - network.epoch) * len(network.members) for network in active)
                others = len(models) - sum(len(network.members) for network in active)
                report(short + others * (stop - epoch))
            except KeyboardInterrupt:
                if epoch == 0:
                    raise
                # calls of this round ended at different epochs: all go back to where it began
                for network in networks:
                    network.go_back()
                    last = network.events[1]
                    last[last >= epoch] = epoch - 1
                interrupted = True
                break
            epoch = stop
            for network in networks:
                network.keep()
    return replace(_collected(networks, models, plan, epoch), interrupted=interrupted)


def _names(models: Record, plan: Plan) -> list[str]:
    """What the history holds."""
    left_out = {"update_scale"} if not plan.remedies else set()
    if "confidence" not in models.present_parts():
        left_out.add("confidence")
    return [name for name in QUANTITIES if name not in left_out]


def _tell(networks: list[Group], models: Record, plan: Plan, start: int, stop: int, on_record: OnRecord) -> None:
    """Hand over what a round has recorded."""
    for row in range(*np.searchsorted(plan.record_epochs, (start, stop))):
        seen = [network.history[row] if row < network.recorder.cursor[0] else network.now for network in networks]
        values = np.concatenate(seen, axis=1)
        on_record(int(plan.record_epochs[row]), {name: values[QUANTITIES.index(name)] for name in _names(models, plan)})


def _collected(networks: list[Group], models: Record, plan: Plan, done: int) -> Outcome:
    recorded, kept = int((plan.record_epochs < done).sum()), int((plan.snapshot_epochs < done).sum())
    events = np.concatenate([network.events for network in networks], axis=1)
    hold_above(events, done)
    histories, finals, snapshots = [], [], []
    for network in networks:
        records, snapshots_taken = network.recorder.cursor
        network.history[records:] = network.now
        network.recorder.snapshots[snapshots_taken:] = network.state
        histories.append(network.history[:recorded])
        finals.append(network.unpack(network.state))
        snapshots.append([network.unpack(state) for state in network.recorder.snapshots[:kept]])
    present = models.present_parts()
    return Outcome(
        history={
            name: np.concatenate([np.ascontiguousarray(each[:, QUANTITIES.index(name)].T) for each in histories])
            for name in _names(models, plan)
        },
        events=events,
        parameters={part: np.concatenate([final[part] for final in finals]) for part in present},
        snapshots={
            part: np.concatenate([np.stack([state[part] for state in states]) for states in snapshots], axis=1)
            for part in present
            if kept
        },
        epochs=done,
        acted=np.concatenate([network.acted for network in networks]) if plan.remedies else None,
    )
