"""Sweeps whose processes are killed with -9 while they compute and write.

The quick suite kills 20 workers and 5 drivers (``test_faults.py``), ``benchmarks/sweep_faults.py``
hundreds. Processes are forked from one that has all modules, and shards are slowed (``slowed.py``):
so most of the time is that of the kills.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path

from ghostpoint.sweeps.folder import SweepFolder, _Busy
from ghostpoint.sweeps.sweep_file import read_sweep

TOML = """\
models = {{units = 5}}
task = {{name = "DelayedActivation", delay = 30}}
training = {{epochs = {epochs}, engine = "reference", dtype = "float64"}}
shards = {{networks = 4}}
[grid]
training.learning_rate = {{logspace = [0.01, 1.0, {rates}]}}
models.seed = {{range = [4]}}
"""
#: no process of the test lives longer, in seconds
LIMIT = 1200
#: the exit code that multiprocessing gives where its fork server did not tell one; the command has
#: no such code
UNTOLD = 255
SLOWED = "tests.sweeps.slowed"


def forking():
    """A context whose processes have all modules from the start; Dask's too, as its own preload
    would import few.
    """
    context = multiprocessing.get_context("forkserver")
    modules = ["ghostpoint.command.cli", "ghostpoint.command.sweep", "ghostpoint.sweeps.run"]
    try:
        import distributed.utils
    except ImportError:
        context.set_forkserver_preload(modules)
        return context
    from ghostpoint.sweeps.cluster import _module

    dask = _module("distributed") and __import__("dask")
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    context.set_forkserver_preload(["distributed", "distributed.nanny", "ghostpoint.sweeps.cluster", *modules])
    distributed.utils._forkserver_preload_set = True
    return context


def command(log, *arguments):
    """The command ``ghostpoint sweep`` in a process of its own; its shards are slowed, what it says
    is in ``log``.
    """
    import tests.sweeps.slowed  # noqa: F401
    from ghostpoint.command.cli import run

    kept = open(log, "a", buffering=1)  # noqa: SIM115 - for the life of the process
    os.dup2(kept.fileno(), 1)
    os.dup2(kept.fileno(), 2)
    sys.exit(run(["sweep", *map(str, arguments)]))


def count(out):
    shards = Path(out) / "shards"
    return sum(path.suffix == ".shard" for path in shards.iterdir()) if shards.is_dir() else 0


def disturbed(file, out, kills, driver_kills, seed=0, workers=4):
    """Run the sweep while its processes are killed; where the kills came, and the seconds that it
    took.

    So that the kills come as its shards are computed, however slow the machine is, this process
    claims the shards first, as another sweep in the folder would, and gives up its claims of some
    of them before each kill.

    Returns
    -------
    kills : dict
        Number by what the folder was like: "computing" (a shard was claimed), "writing" (a file had
        its temporary name), "between" (neither, for the moment); and "drivers".
    seconds : float
    """
    from distributed import LocalCluster

    chance, context = random.Random(seed), forking()
    folder = SweepFolder.create(out, read_sweep(file))
    held = deque((shard.key, ExitStack()) for shard in folder.shards)
    for key, claim in held:
        claim.enter_context(folder._claimed(key))
    start, driver, log = time.monotonic(), None, f"{out}.log"
    restored = start
    hit = {"computing": 0, "writing": 0, "between": 0, "drivers": 0}

    def restore():
        """Have workers started again that Dask gave up, as those that died while they started."""
        nonlocal restored
        if time.monotonic() - restored > 2:
            restored = time.monotonic()
            cluster.scale(workers)

    def driving(driver):
        if driver is not None and driver.is_alive():
            return driver
        assert driver is None or driver.exitcode in (0, -signal.SIGKILL, UNTOLD), Path(log).read_text()
        if driver is not None and driver.exitcode == 0:
            return driver
        arguments = (log, file, "--out", out, "--scheduler", cluster.scheduler_address)
        driver = context.Process(target=command, args=arguments)
        driver.start()
        return driver

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0,
        host="127.0.0.1", silence_logs=60, preload=SLOWED,
    ) as cluster:  # fmt: skip
        try:
            for kill in range(kills):
                driver = driving(driver)
                for _ in range(-(-len(held) // (kills - kill))):
                    held.popleft()[1].close()
                while not busy(folder, {key for key, _ in held}) and count(out) + len(held) < len(folder.shards):
                    assert time.monotonic() - start < LIMIT, Path(log).read_text()
                    time.sleep(0.02)
                    restore()
                time.sleep(chance.random() * 0.3)
                while not (at := struck(chance, cluster, folder, {key for key, _ in held})):
                    time.sleep(0.02)
                    restore()
                hit[at] += 1
                if hit["drivers"] < driver_kills and kill >= (hit["drivers"] + 0.5) * kills / driver_kills:
                    os.kill(driver.pid, signal.SIGKILL)
                    driver.join()
                    hit["drivers"] += 1
            while (driver := driving(driver)).exitcode != 0:
                assert time.monotonic() - start < LIMIT, Path(log).read_text()
                driver.join(0.2)
                restore()
        finally:
            if driver is not None and driver.is_alive():
                driver.kill()
    return hit, time.monotonic() - start


def struck(chance, cluster, folder, mine):
    """Kill a worker, every second time one that computes, and say what was going on in the folder;
    nothing where it was gone already, and its nanny did not know.
    """
    pids = [one.pid for one in cluster.workers.values() if one.pid]
    writing = any(path.name.partition("-")[0] in folder.by_key for path in (folder.path / "tmp").iterdir())
    computing = busy(folder, mine)
    chosen = chance.random() < 0.5 and [pid for pid in pids if pid in holders(folder)]
    try:
        os.kill(chance.choice(chosen or pids), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        return ""
    return "writing" if writing else "computing" if computing else "between"


def holders(folder):
    """The processes that hold claims, where the system lists locks."""
    locks = Path("/proc/locks")
    claims = {str(entry.inode()) for entry in os.scandir(folder.path / "claims")}
    rows = [line.split() for line in locks.read_text().splitlines()] if locks.exists() else []
    return {int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].rpartition(":")[2] in claims}


def busy(folder, mine):
    """Whether another process computes a shard now: it holds a claim. A killed one leaves the file,
    not the lock.
    """
    for path in (folder.path / "claims").iterdir():
        if path.name not in mine:
            try:
                with folder._claimed(path.name):
                    pass
            except _Busy:
                return True
    return False


def contents(out):
    return {path.name: path.read_bytes() for path in (Path(out) / "shards").iterdir()}
