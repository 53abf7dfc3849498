"""A sweep on a Dask cluster whose workers and driver are killed with -9, compared with an
undisturbed one.

    python -m tests.sweeps.faults --kills 200 --driver-kills 50 --shards 400

is the longer program; the quick suite runs the same with 20 and 5 (``test_faults.py``).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path

from ghostpoint.sweeps.folder import SweepFolder, _Busy
from ghostpoint.sweeps.sweep_file import read_sweep

TOML = """\
models = {{units = 12}}
task = {{name = "DelayedActivation", delay = 50}}
training = {{epochs = {epochs}, engine = "reference", dtype = "float64"}}
shards = {{networks = 4}}
[grid]
training.learning_rate = {{logspace = [0.01, 1.0, {rates}]}}
models.seed = {{range = [4]}}
"""
#: no process of the test lives longer, in seconds
LIMIT = 1200


def forking():
    """A context whose processes have all modules from the start; Dask's too, as its own preload
    would import few.
    """
    import distributed.utils

    from ghostpoint.sweeps.cluster import _module

    dask = _module("distributed") and __import__("dask")
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["distributed", "distributed.nanny", "ghostpoint.sweeps.cluster"])
    distributed.utils._forkserver_preload_set = True
    return context


def drive(file, out, address):
    """A driver, as the command starts it."""
    from ghostpoint.command.cli import run

    log = open(f"{out}.log", "a", buffering=1)  # noqa: SIM115 - for the life of the process
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    sys.exit(run(["sweep", file, "--out", out, "--scheduler", address]))


def count(out):
    shards = Path(out) / "shards"
    return sum(path.suffix == ".shard" for path in shards.iterdir()) if shards.is_dir() else 0


def disturbed(file, out, kills, driver_kills, seed=0, workers=4):
    """Run the sweep while its processes are killed; workers and drivers killed, and the seconds
    that it took.

    So that the kills come as its shards are computed, however slow the machine is, this process
    claims the shards first, as another sweep in the folder would, and gives up its claims of some
    of them before each kill.
    """
    from distributed import LocalCluster

    chance, context = random.Random(seed), forking()
    folder = SweepFolder.create(out, read_sweep(file))
    held = deque((shard.key, ExitStack()) for shard in folder.shards)
    for key, claim in held:
        claim.enter_context(folder._claimed(key))
    at_once = -(-len(held) // kills)
    start, driver, drivers = time.monotonic(), None, 0

    def driving(driver):
        if driver is not None and driver.is_alive():
            return driver
        assert driver is None or driver.exitcode in (0, -signal.SIGKILL), Path(f"{out}.log").read_text()
        if driver is not None and driver.exitcode == 0:
            return driver
        driver = context.Process(target=drive, args=(str(file), str(out), cluster.scheduler_address))
        driver.start()
        return driver

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0,
        host="127.0.0.1", silence_logs=60,
    ) as cluster:  # fmt: skip
        try:
            for kill in range(kills):
                driver = driving(driver)
                for _ in range(min(at_once, len(held))):
                    held.popleft()[1].close()
                while not busy(folder, {key for key, _ in held}) and count(out) + len(held) < len(folder.shards):
                    assert time.monotonic() - start < LIMIT, Path(f"{out}.log").read_text()
                    time.sleep(0.02)
                time.sleep(chance.random() * 0.1)
                while not struck(chance, [one.pid for one in cluster.workers.values() if one.pid]):
                    time.sleep(0.02)
                if drivers < driver_kills and kill >= (drivers + 0.5) * kills / driver_kills:
                    os.kill(driver.pid, signal.SIGKILL)
                    driver.join()
                    drivers += 1
            while (driver := driving(driver)).exitcode != 0:
                assert time.monotonic() - start < LIMIT, Path(f"{out}.log").read_text()
                driver.join(0.2)
        finally:
            if driver is not None and driver.is_alive():
                driver.kill()
    return kills, drivers, time.monotonic() - start


def struck(chance, pids):
    """Whether one of these processes was killed; it may be gone already, and its nanny not know."""
    try:
        os.kill(chance.choice(pids), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        return False
    return True


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--driver-kills", type=int, default=50)
    parser.add_argument("--shards", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=300)
    given = parser.parse_args()
    import ghostpoint as gp

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.toml"
        file.write_text(TOML.format(rates=given.shards, epochs=given.epochs))
        start = time.monotonic()
        gp.sweep(file, f"{folder}/calm")
        calm = time.monotonic() - start
        workers, drivers, seconds = disturbed(file, f"{folder}/out", given.kills, given.driver_kills)
        same = contents(f"{folder}/out") == contents(f"{folder}/calm")
        left = [
            str(path) for name in ("tmp", "damaged", "failures") for path in (Path(folder) / "out" / name).iterdir()
        ]
        print(
            f"{given.shards} shards, {workers} workers and {drivers} drivers killed: "
            f"{'bitwise equal' if same else 'DIFFERENT'}; {seconds:.0f} s, undisturbed {calm:.0f} s; left over: {left}"
        )
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
