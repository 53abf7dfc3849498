"""Run the shards of a sweep on a Dask cluster whose workers see the sweep's folder (extra
``cluster``).

Workers write the shards; what travels is names. So it does not matter which worker dies, nor when:
the folder says what is finished. M. Rocklin, "Dask: parallel computation with blocked algorithms
and task scheduling", SciPy 2015.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ghostpoint.errors import InputError
from ghostpoint.sweeps.folder import ATTEMPTS, DiskFull, Pulse, SweepFolder, code_now, source_digest
from ghostpoint.sweeps.local import PATIENCE, Watch
from ghostpoint.sweeps.shards import SHORTEST, SPEED, Shard

__all__ = ["CLUSTERS", "call_each", "connected", "job_script", "run_on"]

#: kinds of cluster, with the class that starts each
CLUSTERS = {
    "local": ("distributed", "LocalCluster"),
    "ssh": ("distributed", "SSHCluster"),
    "slurm": ("dask_jobqueue", "SLURMCluster"),
    "pbs": ("dask_jobqueue", "PBSCluster"),
    "lsf": ("dask_jobqueue", "LSFCluster"),
    "sge": ("dask_jobqueue", "SGECluster"),
}
#: shards that are submitted for each thread of the cluster
WINDOW = 2
#: multiplications and additions of what is submitted at once, where one shard has fewer
BATCH = SHORTEST * SPEED
#: workers that may die under a task before the scheduler gives it up; others' shards were on them
#: by chance
DEATHS = 10
#: how long a worker may take to start again, on a busy machine too
LOST = "60s"
#: one core for a process, whatever library computes
ONE_CORE = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
}
BEFORE = {name: value for name, value in ONE_CORE.items() if name != "NUMBA_NUM_THREADS"}
_INSTALL = "pip install 'ghostpoint[cluster]'"


def _module(name: str) -> Any:
    """A module of the extra; its absence is an input error that says what to install."""
    try:
        if name == "distributed":  # read before the scheduler starts
            import_module("dask").config.set(
                {
                    "distributed.scheduler.allowed-failures": DEATHS,
                    "distributed.deploy.lost-worker-timeout": LOST,
                    # the first is set in this process while a worker starts, where Numba, whose
                    # threads run, must not see another number of them; the second in the worker
                    "distributed.nanny.pre-spawn-environ": {**BEFORE, "MALLOC_TRIM_THRESHOLD_": "65536"},
                    "distributed.nanny.environ": ONE_CORE,
                }
            )
        return import_module(name)
    except ImportError as error:
        raise InputError(f"a cluster needs {name}: {_INSTALL} ({error})") from None


@contextmanager
def connected(cluster: str | None, scheduler: str | None, workers: int, options: Mapping[str, Any]) -> Iterator[Any]:
    """A client of the scheduler at an address, or of a new cluster of one of :data:`CLUSTERS`,
    closed at the end.
    """
    distributed = _module("distributed")
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout="20s")
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"--scheduler must be the address of a Dask scheduler, got {scheduler!r}: {error}"
            ) from None
        with client:
            yield client
        return
    with _cluster(str(cluster), workers, options) as started, distributed.Client(started) as client:
        yield client


def _cluster(kind: str, workers: int, options: Mapping[str, Any]) -> Any:
    """A cluster of ``workers`` workers with one thread each."""
    if kind not in CLUSTERS:
        raise InputError(f"cluster must be one of {', '.join(CLUSTERS)}; got {kind!r}")
    _module("distributed")
    module, name = CLUSTERS[kind]
    given = dict(options)
    defaults: dict[str, Any]
    if kind == "local":
        defaults = {
            "n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None,
            "memory_limit": 0, "host": "127.0.0.1", "silence_logs": logging.CRITICAL,
        }  # fmt: skip
    elif kind == "ssh":
        if "hosts" not in given:
            raise InputError("--option hosts=HOST,HOST,... must name the scheduler's host and then the workers'")
        given["hosts"] = given["hosts"].split(",") if isinstance(given["hosts"], str) else given["hosts"]
        defaults = {"worker_options": {"nthreads": 1, "n_workers": workers}}
    else:
        cores = int(given.get("cores", 1))
        walltime = str(given.get("walltime", "01:00:00"))
        defaults = {
            "cores": cores, "processes": cores, "memory": f"{2 * cores} GB", "walltime": walltime,
            "job_script_prologue": [f"export {key}={value}" for key, value in ONE_CORE.items()],
            # a worker ends by itself before its job is killed, and not all of them at once
            "worker_extra_args": ["--lifetime", f"{_lifetime(walltime)}s", "--lifetime-stagger", "120s"],
        }  # fmt: skip
    try:
        started = getattr(_module(module), name)(**{**defaults, **given})
    except (TypeError, ValueError) as error:
        raise InputError(f"--option must suit {name}: {error}") from None
    if module == "dask_jobqueue":
        started.scale(cores=workers)
    return started


def _lifetime(walltime: str) -> int:
    """Seconds after which a worker ends, for a wall time of a job as
    ``[days-]hours:minutes:seconds``.
    """
    days, _, clock = walltime.rpartition("-")
    try:
        seconds = 0
        for part in clock.split(":"):
            seconds = 60 * seconds + int(part)
        seconds += 86400 * int(days or 0)
    except ValueError:
        raise InputError(f"--option walltime must be hours:minutes:seconds, got {walltime!r}") from None
    return max(60, seconds - 300)


def job_script(kind: str, workers: int, options: Mapping[str, Any]) -> str:
    """The script that a queueing system would get for each job; empty for clusters without one."""
    if kind not in CLUSTERS or CLUSTERS[kind][0] != "dask_jobqueue":
        return ""
    _module("dask_jobqueue")
    with _without_jobs():
        cluster = _cluster(kind, 0, options)
        try:
            return str(cluster.job_script())
        finally:
            cluster.close()


@contextmanager
def _without_jobs() -> Iterator[None]:
    """Quiet: closing a cluster that never had a job."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Window:
    """How many calls a cluster should have, by its threads, which are looked at once a second.

    Of a cluster that this process started, workers that are gone for good are started again: Dask
    gives up a worker that its nanny did not have back in time, and keeps one that failed to start
    in its books, where nothing starts it again.
    """

    def __init__(self, client: Any):
        self.client, self.asked, self.size = client, -math.inf, 0

    def __call__(self) -> int:
        if time.monotonic() > self.asked + 1.0:
            self.asked = time.monotonic()
            threads = self.client.nthreads()
            self.size = WINDOW * max(1, sum(threads.values()))
            cluster = self.client.cluster
            wanted = len(getattr(cluster, "worker_spec", ()))
            if len(threads) < wanted:
                cluster.sync(_forget_ended, cluster)
                jobs = "jobs" if type(cluster).__module__.startswith("dask_jobqueue") else "n"
                cluster.scale(**{jobs: wanted})  # starts those that are in its plan and not there
        return self.size


async def _forget_ended(cluster: Any) -> None:
    """Take workers that failed or have ended out of a cluster's books, in its own loop."""
    for name, worker in list(cluster.workers.items()):
        if worker.status.name in ("failed", "closed"):
            del cluster.workers[name]


def run_on(client: Any, folder: SweepFolder, shards: Iterable[Shard], watch: Watch) -> None:
    """Compute what is missing of ``shards`` on a cluster, with a bounded window of submitted
    shards.

    Tiny shards are submitted several at a time. A shard whose worker was lost is looked for in the
    folder before it is submitted again, then alone. One that fails is tried as often as
    :func:`~ghostpoint.sweeps.local.run_here` does; workers that die under it count once for each
    :data:`DEATHS`.
    """
    distributed = _module("distributed")
    queue, window = deque(sorted(shards, key=lambda shard: -shard.work)), _Window(client)
    flying: dict[Any, list[Shard]] = {}
    submitted: Counter[str] = Counter()
    later: dict[str, float] = {}
    alone: set[str] = set()
    path, run = str(folder.path.resolve()), secrets.token_hex(4)

    def submit(batch: list[Shard]) -> None:
        submitted.update(shard.key for shard in batch)
        # a name that no task had before: the scheduler may still know the result of one, and of
        # another folder
        name = f"{batch[0].key}-{submitted[batch[0].key]}-{run}"
        keys = [shard.key for shard in batch]
        flying[client.submit(compute_shards, path, keys, folder.code, key=name, pure=False)] = batch

    try:
        while queue or flying:
            most = window()
            share, batch = max(1, len(queue) // (2 * most)), list[Shard]()
            for _ in range(len(queue)):
                if len(flying) >= most:
                    break
                shard = queue.popleft()
                if folder.file(shard.key).exists():
                    watch(shard.key, "there")
                elif later.get(shard.key, 0.0) > time.monotonic():
                    queue.append(shard)
                elif shard.key in alone:
                    submit([shard])
                else:
                    batch.append(shard)
                    if len(batch) >= share or sum(one.work for one in batch) >= BATCH:
                        submit(batch)
                        batch = []
            if batch:
                submit(batch)
            if not flying:
                time.sleep(PATIENCE / 5)
                continue
            try:
                ended = distributed.wait(list(flying), timeout=0.25, return_when="FIRST_COMPLETED").done
            except (TimeoutError, distributed.TimeoutError):
                ended = set()
            watch("", "")
            for future in ended:
                batch = flying.pop(future)
                for shard, said in zip(batch, _said(folder, batch, future), strict=True):
                    if said == "busy":
                        later[shard.key] = time.monotonic() + PATIENCE
                    if said == "lost" and len(batch) > 1:
                        alone.add(shard.key)
                    if said in ("busy", "lost") or (said == "failed" and len(folder.failure(shard.key)) < ATTEMPTS):
                        queue.append(shard)
                    else:
                        watch(shard.key, said)
    finally:
        if flying:
            client.cancel(list(flying), force=True)


def call_each(client: Any, function: Callable[..., Any], given: Iterable[Any], ended: Callable[[Any], None]) -> None:
    """Have ``function(one)`` called on a cluster for each one that is given, a bounded window at a
    time, and call ``ended(one)`` here as each is done.

    A call whose worker was lost is made again, one that raises is as often as a shard; then its
    error is raised here.
    """
    distributed = _module("distributed")
    queue, flying, window = deque(given), dict[Any, Any](), _Window(client)
    try:
        while queue or flying:
            most = window()
            while queue and len(flying) < most:
                one = queue.popleft()
                flying[client.submit(function, one, pure=False, retries=ATTEMPTS - 1)] = one
            try:
                done = distributed.wait(list(flying), timeout=0.25, return_when="FIRST_COMPLETED").done
            except (TimeoutError, distributed.TimeoutError):
                continue
            for future in done:
                one = flying.pop(future)
                if future.cancelled():  # the scheduler lost it
                    queue.append(one)
                    continue
                future.result()
                ended(one)
    finally:
        if flying:
            client.cancel(list(flying), force=True)


def _said(folder: SweepFolder, batch: list[Shard], future: Any) -> list[str]:
    """What became of submitted shards; the folder is asked first. A batch that ended in an error
    has lost its shards, since nobody knows which of them it was.
    """
    if future.status == "finished":
        ends = zip(batch, future.result(), strict=True)
        return [
            said if said not in ("done", "there") or folder.file(shard.key).exists() else "lost" for shard, said in ends
        ]
    error = future.exception() if future.status == "error" else None  # else the scheduler lost it
    if isinstance(error, DiskFull | InputError):
        raise error
    said = ["there" if folder.file(shard.key).exists() else "lost" for shard in batch]
    if error is not None and said == ["lost"]:
        folder.note_failure(batch[0].key, error)
        return ["failed"]
    return said


def compute_shards(path: str, keys: list[str], code: str) -> list[str]:
    """What a worker does: find the shards in the folder, check that the code here is the sweep's,
    compute them.
    """
    folder, pulse = _opened(path, _stamp(path))
    mine = _code_here(folder)
    if mine != code:
        raise InputError(f"the worker's ghostpoint computes other things than the driver's (code {mine}, not {code})")
    for key in keys:
        if key not in folder.by_key:
            raise InputError(f"{path} has no shard {key}: do all workers see the same folder?")
    return [folder.run(folder.by_key[key], pulse=pulse) for key in keys]


def _stamp(path: str) -> int:
    return len(list((Path(path) / "grids").glob("[0-9]*.json")))


@lru_cache(maxsize=4)
def _opened(path: str, stamp: int) -> tuple[SweepFolder, Pulse]:
    folder = SweepFolder.open(path)
    return folder, Pulse(folder)


_known_code: dict[str, str] = {}


def _code_here(folder: SweepFolder) -> str:
    """The hash of this process' code, found once; the files are read once, as the process did."""
    if "source" not in _known_code:
        _known_code["source"] = source_digest()
    key = folder.entries[-1].source
    if key not in _known_code:
        _known_code[key] = code_now(folder.entries[-1], _known_code["source"])
    return _known_code[key]
