"""Run the rank-one kernels on a stack: which networks share a call, on which thread, and when they
are done.

Networks are independent, so the schedule changes the speed and no bit. Rounds of epochs; within a
round every group of networks advances in short calls that the threads take in turn, the group
furthest behind first; between rounds the networks that are finished (an update that changed no bit,
or a number that is not finite) leave, and the rest are packed anew.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.memory import aligned
from ghostpoint.training.compiled.shared_call import SharedCall
from ghostpoint.training.kernels import rank_one, trust
from ghostpoint.training.kernels.epoch import EVENTS, FROZEN, QUANTITIES
from ghostpoint.training.kernels.records import RankOneWeights, Task, Watch
from ghostpoint.training.outcome import hold_above

#: crossings, marks and region without remedies
NOTHING = (np.zeros((0, 5), np.int64), np.zeros((0, 2)), np.full(len(trust.REGION), np.inf))
LAYOUTS = ("auto", "networks", "units")
#: cost of one network alone (units across lanes) over its share of a full block (networks across
#: lanes), measured
COST_ALONE = 1.25
CALL = 60_000  # network-epochs in one kernel call: about a tenth of a second
ROUND = 2_000_000  # network-epochs between two packings, at most: some seconds
SHORTEST_ROUND = 256  # epochs


@dataclass
class Problem:
    """A stack in the kernels' terms: ``parameters`` (R, 4, N) are m, n, b and x[0]; the rest is one
    value per network.

    ``targets``, ``weights`` (of the squared error) and ``counted`` (in the accuracy) have one value
    per step. ``watch`` is what the remedies look at: ``crossings``, ``marks`` and ``region`` of
    ``kernels/trust.py``.
    """

    parameters: NDArray[Any]
    confidence: NDArray[Any]
    threshold: NDArray[Any]
    rate: NDArray[Any]
    trainable: NDArray[np.bool_]
    alpha: float
    targets: NDArray[Any]
    weights: NDArray[Any]
    counted: NDArray[np.bool_]
    chance_accuracy: float
    solved_loss: float
    watch: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] = NOTHING


@dataclass
class Outcome:
    """What a run leaves: histories ``(quantity, R, recorded)``, snapshots, events ``(event, R)``,
    final parameters.
    """

    history: NDArray[Any]
    snapshots: NDArray[Any]
    snapshot_confidence: NDArray[Any]
    events: NDArray[np.int64]
    parameters: NDArray[Any]
    confidence: NDArray[Any]
    acted: NDArray[np.int64]
    epochs: int = 0
    interrupted: bool = False


class _Group(SharedCall):
    """Networks packed in the layout of a rank-one kernel for one round."""

    def __init__(self, problem: Problem, outcome: Outcome, members: NDArray[np.int64], alone: bool, epoch: int):
        self.alone, dtype = alone, outcome.parameters.dtype
        width = 64 // dtype.itemsize
        n_units, steps = outcome.parameters.shape[2], len(problem.targets)
        columns = 1 if alone else width
        self.units = -(-n_units // width) * width if alone else n_units
        # unit i belongs to partial sum i mod width; a block keeps the units of a partial sum
        # together
        self.order = np.arange(n_units) if alone else np.argsort(np.arange(n_units) % width, kind="stable")
        partials = np.searchsorted(np.sort(np.arange(n_units) % width), np.arange(width + 1))
        if alone:
            partials = np.array([0, self.units // width, self.units // width])
        plane = self.units if alone else n_units * width
        super().__init__(members, aligned(4 * plane, dtype), columns, epoch)
        self.recorder.events[:, : len(members)] = outcome.events[:, members]
        packed = self.state.reshape(4, self.units, -1)
        packed[:, :n_units, : len(members)] = outcome.parameters[members][:, :, self.order].transpose(1, 2, 0)

        def column(values: NDArray[Any]) -> NDArray[Any]:
            array = aligned(columns, dtype)
            array[: len(members)] = values[members]
            return array

        confidence, threshold, rate = map(column, (outcome.confidence, problem.threshold, problem.rate))
        self.weights = RankOneWeights(self.state, confidence, threshold, rate, problem.trainable, partials)
        self.task = Task(
            alpha=dtype.type(problem.alpha),
            tolerance=dtype.type(0),
            thresholds=np.zeros(0, dtype),
            inputs=np.zeros(0, dtype),
            targets=problem.targets,
            weights=problem.weights,
            counted=problem.counted,
            chance_accuracy=problem.chance_accuracy,
            solved_loss=problem.solved_loss,
        )
        self.work = aligned(rank_one.work_size(plane, steps, width, columns), dtype)
        crossings = len(problem.watch[0])
        self.watch = Watch(*problem.watch, np.zeros(crossings * columns * trust.row_size(crossings)))
        self.kernel = rank_one.units_across_lanes if alone else rank_one.networks_across_lanes

    def train(self, start: int, stop: int) -> int:
        reached: int = self.kernel(self.weights, self.task, self.watch, self.recorder, self.work, start, stop)
        return reached

    def write(self, outcome: Outcome, first_record: int, first_snapshot: int) -> None:
        """Write this round's results to their places; what a finished group left out repeats its
        last values.
        """
        count, recorder, confidence = len(self.members), self.recorder, self.weights.confidence
        n_units = outcome.parameters.shape[2]
        recorder.history[recorder.cursor[0] :] = recorder.now
        rows = slice(first_record, first_record + len(recorder.history))
        outcome.history[:, self.members, rows] = self.history.transpose(1, 2, 0)
        packed = self.state.reshape(4, self.units, -1)[:, :n_units, :count]
        outcome.parameters[self.members[:, None], :, self.order] = packed.transpose(2, 1, 0)
        outcome.confidence[self.members] = confidence[:count]
        outcome.events[:, self.members] = self.events
        outcome.acted[self.members] += self.acted
        for k, flat in enumerate(recorder.snapshots):
            at = first_snapshot + k
            if k >= recorder.cursor[1]:
                outcome.snapshots[at, self.members] = outcome.parameters[self.members, :3]
                outcome.snapshot_confidence[at, self.members] = outcome.confidence[self.members]
                continue
            planes = flat[: self.state.size // 4 * 3].reshape(3, self.units, -1)[:, :n_units, :count]
            outcome.snapshots[at, self.members[:, None], :, self.order] = planes.transpose(2, 1, 0)
            outcome.snapshot_confidence[at, self.members] = flat[self.state.size // 4 * 3 :][:count]


def blocks_of(
    networks: NDArray[np.int64], width: int, threads: int, layout: str, cost_alone: float
) -> list[NDArray[np.int64]]:
    """The networks, from the first on, in blocks of ``width``, but for those that are sooner done
    one by one.

    ``cost_alone`` is the cost of a network alone over its share of a full block. ``layout`` is one
    of :data:`LAYOUTS`: all in blocks for "networks", none for "units".
    """
    blocks = [networks[i : i + width] for i in range(0, len(networks), width)]
    if layout == "units":
        return []
    if layout == "auto":
        # whole rounds of blocks for all threads; the rest alone where that is sooner done
        whole = len(networks) // (width * threads) * threads
        rest = networks[whole * width :]
        n_blocks = -(-len(rest) // width)
        as_blocks = n_blocks * width / min(threads, max(n_blocks, 1))
        one_by_one = cost_alone * -(-len(rest) // threads)
        return blocks if as_blocks <= one_by_one else blocks[:whole]
    return blocks


def _groups(
    problem: Problem, outcome: Outcome, active: NDArray[np.int64], layout: str, threads: int, epoch: int
) -> list[_Group]:
    blocks = blocks_of(active, 64 // outcome.parameters.dtype.itemsize, threads, layout, COST_ALONE)
    alone = active[sum(map(len, blocks)) :]
    return [_Group(problem, outcome, members, False, epoch) for members in blocks] + [
        _Group(problem, outcome, alone[i : i + 1], True, epoch) for i in range(len(alone))
    ]


def advance_all(
    groups: Sequence[SharedCall],
    stop: int,
    threads: int,
    pool: ThreadPoolExecutor,
    done: Callable[[int], None],
    call_size: int = CALL,
) -> None:
    """Advance every group to ``stop``, in calls of about ``call_size`` network-epochs, the furthest
    behind first.
    """
    waiting = [(group.epoch, index) for index, group in enumerate(groups)]
    heapq.heapify(waiting)
    interrupted = threading.Event()

    def call(index: int) -> tuple[int, int]:
        group = groups[index]
        if interrupted.is_set():
            return index, 0
        return index, group.advance(min(stop, group.epoch + max(1, call_size // len(group.members))))

    def ended(index: int, covered: int) -> None:
        done(covered)
        group = groups[index]
        if group.epoch < stop and not group.finished.all():
            heapq.heappush(waiting, (group.epoch, index))

    if threads == 1 and threading.current_thread() is not threading.main_thread():
        # Ctrl-C never comes here, so nobody has to listen for it while a kernel runs
        while waiting:
            ended(*call(heapq.heappop(waiting)[1]))
        return
    running: set[Any] = set()
    try:
        while waiting or running:
            while waiting and len(running) < threads:
                running.add(pool.submit(call, heapq.heappop(waiting)[1]))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                ended(*future.result())
    except BaseException:
        interrupted.set()
        wait(running)
        raise


def run(
    problem: Problem,
    epochs: int,
    record_epochs: NDArray[np.int64],
    snapshot_epochs: NDArray[np.int64],
    *,
    layout: str = "auto",
    threads: int = 1,
    on_progress: Callable[[int], None] | None = None,
    on_record: Callable[[int, dict[str, NDArray[Any]]], None] | None = None,
) -> Outcome:
    """Do ``epochs`` updates of every network of a ``problem``.

    The history has the ``record_epochs``, the snapshots are of ``snapshot_epochs``, both ascending.
    ``layout`` is one of :data:`LAYOUTS`; neither it nor ``threads`` changes a bit. ``on_progress``
    hears of network-epochs done, finished ones included; ``on_record`` of the
    recorded epochs of every round, and of those that are left once all networks are finished.
    """
    networks, _, n_units = problem.parameters.shape
    dtype = problem.parameters.dtype
    quantities = len(QUANTITIES)
    outcome = Outcome(
        history=np.zeros((quantities, networks, len(record_epochs)), dtype),
        snapshots=np.zeros((len(snapshot_epochs), networks, 3, n_units), dtype),
        snapshot_confidence=np.zeros((len(snapshot_epochs), networks), dtype),
        events=np.full((len(EVENTS), networks), -1, np.int64),
        parameters=problem.parameters.copy(),
        confidence=problem.confidence.copy(),
        acted=np.zeros(networks, np.int64),
    )
    report = on_progress or (lambda amount: None)
    last = np.zeros((quantities, networks), dtype)
    active = np.arange(networks)
    epoch, length = 0, SHORTEST_ROUND
    with ThreadPoolExecutor(threads) as pool:
        while epoch < epochs and len(active):
            stop = min(epochs, epoch + length)
            records = slice(*np.searchsorted(record_epochs, (epoch, stop)))
            snapshots = slice(*np.searchsorted(snapshot_epochs, (epoch, stop)))
            # pack those that still change, and write down this round's epochs
            groups = _groups(problem, outcome, active, layout, threads, epoch)
            for group in groups:
                # of a checkpoint m, n and b, and a confidence for each column
                kept = group.state.size // 4 * 3 + group.recorder.now.shape[1]
                group.record(record_epochs[records], snapshot_epochs[snapshots], kept)
            covered = [0]

            def count(amount: int, covered: list[int] = covered) -> None:
                covered[0] += amount
                report(amount)

            try:
                advance_all(groups, stop, threads, pool, count)
            except KeyboardInterrupt:
                if epoch == 0:
                    raise
                outcome.interrupted = True
                break  # the outcome stands where the last round ended
            for group in groups:
                group.write(outcome, records.start, snapshots.start)
                last[:, group.members] = group.now
            # a finished network repeats its last values to the end of the run
            finished = (outcome.events[FROZEN:, active] >= 0).any(axis=0)
            for network in active[finished]:
                outcome.history[:, network, records.stop :] = last[:, network, None]
                outcome.snapshots[snapshots.stop :, network] = outcome.parameters[network, :3]
                outcome.snapshot_confidence[snapshots.stop :, network] = outcome.confidence[network]
            more = len(active) * (stop - epoch) - covered[0] + int(finished.sum()) * (epochs - stop)
            active, epoch = active[~finished], stop
            # pack often while networks are finishing, seldom while they are not
            length = length // 2 if finished.any() else length * 2
            length = max(SHORTEST_ROUND, min(length, ROUND // max(len(active), 1)))
            # with the last network the rest of the history is known too
            heard = records.stop if len(active) else len(record_epochs)
            try:
                report(more)
                if on_record:
                    for row in range(records.start, heard):
                        seen = zip(QUANTITIES, outcome.history[:, :, row], strict=True)
                        on_record(int(record_epochs[row]), dict(seen))
            except KeyboardInterrupt:
                outcome.interrupted = True
                break
    outcome.epochs = epochs if epoch == epochs or not len(active) else epoch
    hold_above(outcome.events, outcome.epochs)
    return outcome
