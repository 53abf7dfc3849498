"""A sweep on a Dask cluster whose workers and driver are killed with -9, compared with an undisturbed one.

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
from pathlib import Path

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
    """A context whose processes have all modules from the start; Dask's too, as its own preload would import few."""
    import distributed.utils

    from ghostpoint.sweeps.cluster import _module

    dask = _module("distributed") and __import__("dask")
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["distributed", "distributed.nanny", "ghostpoint.sweeps.cluster", "tests.sweeps.faults"]
    )
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


def disturbed(file, out, shards, kills, driver_kills, seed=0, workers=4):
    """Run the sweep; spread the kills over its progress; how many workers and drivers were killed, and the seconds."""
    from distributed import LocalCluster

    chance, context = random.Random(seed), forking()
    start, driver = time.monotonic(), None
    killed, drivers = 0, 0
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0,
        host="127.0.0.1", silence_logs=60,
    ) as cluster:  # fmt: skip
        try:
            while count(out) < shards or driver is not None:
                if time.monotonic() - start > LIMIT:
                    raise TimeoutError(
                        f"{count(out)} of {shards} shards after {LIMIT} s; {Path(f'{out}.log').read_text()}"
                    )
                if driver is None or not driver.is_alive():
                    if driver is not None and driver.exitcode == 0:
                        break
                    assert driver is None or driver.exitcode == -signal.SIGKILL, Path(f"{out}.log").read_text()
                    driver = context.Process(target=drive, args=(str(file), str(out), cluster.scheduler_address))
                    driver.start()
                # the k-th kill is due when k / (kills + 1) of the shards are finished
                if killed < kills and count(out) >= shards * (killed + 1) / (kills + 2):
                    time.sleep(chance.random() * 0.05)
                    pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid is not None]
                    if pids:
                        os.kill(chance.choice(pids), signal.SIGKILL)
                        killed += 1
                if drivers < driver_kills and count(out) >= shards * (drivers + 0.5) / (driver_kills + 1):
                    os.kill(driver.pid, signal.SIGKILL)
                    driver.join()
                    drivers += 1
                time.sleep(0.02)
        finally:
            if driver is not None and driver.is_alive():
                driver.kill()
    return killed, drivers, time.monotonic() - start


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
        workers, drivers, seconds = disturbed(file, f"{folder}/out", given.shards, given.kills, given.driver_kills)
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
