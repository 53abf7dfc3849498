"""Run the shards of a sweep on this machine: one shard a thread, since kernels release the GIL."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Semaphore

from ghostpoint.numerics.threads import at_most_threads, one_thread_each
from ghostpoint.sweeps.folder import ATTEMPTS, Pulse, Stopped, SweepFolder
from ghostpoint.sweeps.shards import Shard
from ghostpoint.sweeps.stacks import engine_of, models_of, task_of

__all__ = ["Watch", "run_here"]

#: called about four times a second, and with every shard that has ended: its name and what
#: :meth:`SweepFolder.run` said
Watch = Callable[[str, str], None]
#: shards that may wait for the disk, for each that is computed: flushing takes as long as computing
#: a tiny one
WRITING = 2
#: seconds between two looks at shards that other processes compute
PATIENCE = 0.5


def run_here(folder: SweepFolder, shards: Iterable[Shard], threads: int, watch: Watch) -> None:
    """Compute what is missing of ``shards``, the largest first, on ``threads`` threads of one core
    each.

    Shards that another process computes are waited for, and taken over if it dies. A shard that
    fails is tried :data:`~ghostpoint.sweeps.folder.ATTEMPTS` times in all. Ctrl-C stops within
    about a tenth of a second.
    """
    queue = deque(sorted(shards, key=lambda shard: -shard.work))
    if not queue:
        return
    if not all(_compiled(shard) for shard in _kinds(queue)):
        threads_of_shard, threads = threads, 1  # such engines use all cores by themselves, or hold the GIL
    else:
        workers = min(threads, len(queue))
        threads_of_shard, threads = max(1, threads // workers), workers
    stopped = False
    pulse, turn = Pulse(folder), Semaphore(threads)
    at_once = threads * (1 + WRITING)

    def work(shard: Shard) -> str:
        if stopped:
            raise Stopped
        with at_most_threads(threads_of_shard):
            return folder.run(shard, threads=threads_of_shard, pulse=pulse, stop=lambda: stopped, turn=turn)

    flying: dict[Future[str], Shard] = {}
    busy: dict[str, float] = {}
    with one_thread_each(), _pool(at_once) as pool:
        try:
            while queue or flying:
                _submit(queue, flying, busy, 2 * at_once, lambda shard: pool.submit(work, shard))
                ended, _ = wait(flying, timeout=0.25, return_when=FIRST_COMPLETED)
                watch("", "")
                for future in ended:
                    shard = flying.pop(future)
                    said = future.result()
                    if said == "busy":
                        busy[shard.key] = time.monotonic() + PATIENCE
                        queue.append(shard)
                        continue
                    if said == "failed" and len(folder.failure(shard.key)) < ATTEMPTS:
                        queue.append(shard)
                        continue
                    watch(shard.key, said)
        finally:
            stopped = True
            for future in flying:
                future.cancel()
            pulse.close()


def _submit(
    queue: deque[Shard],
    flying: dict[Future[str], Shard],
    busy: dict[str, float],
    most: int,
    submit: Callable[[Shard], Future[str]],
) -> None:
    """Hand out shards up to ``most``, so that no thread waits for this one, but not those that
    another process had a moment ago.
    """
    for _ in range(len(queue)):
        if len(flying) >= most:
            return
        shard = queue.popleft()
        if busy.get(shard.key, 0.0) > time.monotonic():
            queue.append(shard)
        else:
            flying[submit(shard)] = shard
    if not flying:
        time.sleep(PATIENCE / 5)


def _kinds(shards: Iterable[Shard]) -> list[Shard]:
    """One shard for each of the settings, as far as they decide about the engine."""
    kinds: dict[str, Shard] = {}
    for shard in shards:
        kinds.setdefault(repr({key: shard.settings[key] for key in ("models", "task", "training", "remedies")}), shard)
    return list(kinds.values())


def _compiled(shard: Shard) -> bool:
    task = task_of(shard.settings)
    one = {key: values[:1] for key, values in shard.networks.items()}
    try:
        return engine_of(shard.settings, models_of(shard.settings, one, task), task) == "compiled"
    except Exception:  # it will fail where failures are noted
        return True


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(threads, "shard")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
