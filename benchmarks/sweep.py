"""What a sweep costs beside the trainings in it: ``python benchmarks/sweep.py [--repeats N] [--only
PART]``.

Each part times a sweep and the bare call of ``gp.train`` for the same networks in turn, in one
process, and prints medians over the repeats: wall time, and processor time, which other programs on
the machine do not change much.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import ghostpoint as gp
from ghostpoint.sweeps.cluster import connected, run_on
from ghostpoint.sweeps.run import begin, finish
from ghostpoint.sweeps.shard_file import write_shard
from ghostpoint.sweeps.sweep_file import read_sweep

TASK = {"name": "DelayedActivation"}


def grid(shards, networks, epochs):
    """A sweep of ``shards`` shards, each of ``networks`` rank-one networks at one rate."""
    return {
        "models": {"units": 100, "scheme": "fixed_readout"},
        "task": TASK,
        "training": {"epochs": epochs, "engine": "compiled"},
        "shards": {"networks": networks},
        "recording": {"history": 10},
        "grid": {
            "training": {"learning_rate": {"logspace": [0.005, 0.02, shards]}},
            "models": {"seed": {"range": [networks]}},
        },
    }


def bare(shards, networks, epochs, threads):
    """The same networks as one call of ``gp.train``."""
    rates = np.repeat(np.geomspace(0.005, 0.02, shards), networks)
    models = gp.LowRankRNN.initialize(100, range(networks), "fixed_readout").repeat(shards)
    task = gp.tasks.DelayedActivation()
    gp.train(models, task, rates, epochs, record=10, engine=gp.Computing("compiled", threads=threads))


def timed(work):
    """Wall and processor time of ``work()``, in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def medians(samples):
    return tuple(statistics.median(column) for column in zip(*samples, strict=True))


def silent(key, said):
    assert said != "failed"


def local(shards, networks, epochs, threads, repeats):
    """A sweep on this machine beside bare training."""
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(timed(lambda: bare(shards, networks, epochs, threads)))
        with tempfile.TemporaryDirectory() as folder:
            ours.append(timed(lambda f=folder: gp.sweep(grid(shards, networks, epochs), f"{f}/out", threads=threads)))
    (wall, processor), (bare_wall, bare_processor) = medians(ours), medians(theirs)
    print(
        f"{shards} shards of {networks} networks, {epochs} epochs, {threads} threads: "
        f"sweep {wall:.2f} s ({processor:.2f} s of processor), gp.train {bare_wall:.2f} ({bare_processor:.2f}); "
        f"overhead {100 * (wall / bare_wall - 1):.1f} % ({100 * (processor / bare_processor - 1):.1f} %), "
        f"{1000 * (wall - bare_wall) / shards:.2f} ms ({1000 * (processor - bare_processor) / shards:.2f} ms) a shard",
        flush=True,
    )


def dask(shards, networks, epochs, repeats):
    """A cluster of two local workers, once started and warm, beside bare training on two
    threads.
    """
    ours, theirs = [], []
    start = time.perf_counter()
    with connected("local", None, 2, {}) as client:
        started = time.perf_counter() - start
        for repeat in range(repeats + 1):
            theirs.append(timed(lambda: bare(shards, networks, epochs, 2)))
            with tempfile.TemporaryDirectory() as folder:
                begun = begin(read_sweep(grid(shards, networks, epochs)), f"{folder}/out")
                taken = timed(lambda b=begun: run_on(client, b.folder, b.todo, silent))
            if repeat:  # the first loads the machine code in the workers
                ours.append(taken)
    wall, bare_wall = medians(ours)[0], medians(theirs[1:])[0]
    print(
        f"Dask, 2 workers, {shards} shards: {wall:.2f} s, gp.train on 2 threads {bare_wall:.2f} s; "
        f"overhead {100 * (wall / bare_wall - 1):.1f} %; starting the cluster {started:.1f} s",
        flush=True,
    )


def opening(networks, epochs):
    """Open a sweep of many networks with long histories, which are written without training."""
    with tempfile.TemporaryDirectory() as folder:
        given = grid(networks // 50, 50, epochs)
        given["recording"]["history"] = "all"
        begun = begin(read_sweep(given), f"{folder}/out")
        row = {
            name: (("network", "epoch"), np.zeros((50, epochs), "f4")) for name in ("loss", "accuracy", "gradient_norm")
        }
        arrays = {"epoch": (("epoch",), np.arange(epochs)), **row}
        for shard in begun.todo:
            write_shard(begun.folder.file(shard.key), begun.folder.path / "tmp", shard.key, shard.computes, arrays)
        size = sum(path.stat().st_size for path in (Path(folder) / "out/shards").iterdir())
        wall, processor = timed(lambda: gp.open_sweep(f"{folder}/out"))
        one = timed(lambda: gp.open_sweep(f"{folder}/out")["loss"].isel(seed=3, learning_rate=2).values)
        again = timed(lambda: finish(begin(read_sweep(given), f"{folder}/out"), silent))
        print(
            f"{networks} networks, {epochs} epochs, {size / 1e9:.2f} GB: opened in {wall:.3f} s ({processor:.3f}); "
            f"opened and one curve read {one[0]:.3f} s ({one[1]:.3f}); every checksum compared {again[0]:.2f} s",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=600)
    parser.add_argument("--tiny", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("local", "dask", "tiny", "open"))
    given = parser.parse_args()
    bare(2, 16, 20, 1)  # compiles
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    if given.only in (None, "local"):
        local(200, 16, given.epochs, given.threads, given.repeats)
    if given.only in (None, "dask"):
        dask(200, 16, given.epochs, given.repeats)
    if given.only in (None, "tiny"):
        local(given.tiny, 1, 2, given.threads, 1)
    if given.only in (None, "open"):
        opening(1000, 100_000)


if __name__ == "__main__":
    main()
