"""What a sweep costs beside the trainings in it: ``python benchmarks/sweep.py [--repeats N] [--only
PART] [--save FILE]``.

Each part times a sweep and the bare call of ``gp.train`` for the same networks in turn, in one
process, and prints medians over the repeats: wall time, and processor time, which other programs on
the machine do not change much. That of a Dask cluster is the sum over scheduler, driver and
workers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import ghostpoint as gp
from ghostpoint.sweeps.cluster import connected, run_on
from ghostpoint.sweeps.estimate import estimate
from ghostpoint.sweeps.run import begin, finish
from ghostpoint.sweeps.shard_file import write_shard
from ghostpoint.sweeps.shard_work import compute
from ghostpoint.sweeps.shards import cut
from ghostpoint.sweeps.sweep_file import read_sweep

#: where the predictions are saved; sweeps that are predicted, and the one that is computed too
TIMES = Path(__file__).parent / "results/sweep_time.json"
MEASURED = "stability_boundaries_quick"
PREDICTED = (MEASURED, "stability_boundaries", "stability_boundaries_tasks")
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


def compared(name, ours, theirs, shards, **more):
    """Print and return medians of a sweep's and a bare training's wall and processor times."""
    (wall, processor), (bare_wall, bare_processor) = medians(ours), medians(theirs)
    print(
        f"{name}: sweep {wall:.2f} s ({processor:.2f} s of processor), "
        f"gp.train {bare_wall:.2f} ({bare_processor:.2f}); "
        f"overhead {100 * (wall / bare_wall - 1):.1f} % ({100 * (processor / bare_processor - 1):.1f} %), "
        f"{1000 * (wall - bare_wall) / shards:.2f} ms ({1000 * (processor - bare_processor) / shards:.2f} ms) a shard",
        flush=True,
    )
    return {
        "what": name, "repeats": len(ours), "wall": wall, "processor": processor, "bare wall": bare_wall,
        "bare processor": bare_processor, "load": os.getloadavg()[0], **more,
    }  # fmt: skip


def local(shards, networks, epochs, threads, repeats):
    """A sweep on this machine beside bare training."""
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(timed(lambda: bare(shards, networks, epochs, threads)))
        with tempfile.TemporaryDirectory() as folder:
            ours.append(timed(lambda f=folder: gp.sweep(grid(shards, networks, epochs), f"{f}/out", threads=threads)))
    name = f"{shards} shards of {networks} networks, {epochs} epochs, {threads} threads"
    return compared(name, ours, theirs, shards)


def dask(shards, networks, epochs, repeats):
    """A cluster of two local workers, once started and warm, beside bare training on two
    threads.
    """
    ours, theirs = [], []
    start = time.perf_counter()
    with connected("local", None, 2, {}) as client:
        started = time.perf_counter() - start

        def processor():
            return time.process_time() + sum(client.run(time.process_time).values())

        for repeat in range(repeats + 1):
            theirs.append(timed(lambda: bare(shards, networks, epochs, 2)))
            with tempfile.TemporaryDirectory() as folder:
                begun = begin(read_sweep(grid(shards, networks, epochs)), f"{folder}/out")
                before = processor()
                wall, _ = timed(lambda b=begun: run_on(client, b.folder, b.todo, silent))
                taken = wall, processor() - before
            if repeat:  # the first loads the machine code in the workers
                ours.append(taken)
    name = f"Dask, 2 workers, {shards} shards of {networks} networks, {epochs} epochs"
    return compared(name, ours, theirs[1:], shards, starting=started)


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
        name = f"{networks} networks, {epochs} epochs, {size / 1e9:.2f} GB"
        print(
            f"{name}: opened in {wall:.3f} s ({processor:.3f}); opened and one curve read {one[0]:.3f} s "
            f"({one[1]:.3f}); every checksum compared {again[0]:.2f} s",
            flush=True,
        )
        return {"what": name, "opened": wall, "one curve": one[0], "checked": again[0]}


def predicted(path):
    """What ``--dry-run`` says of shipped sweeps; the quick one is computed too, for comparison."""
    found = {}
    for name in PREDICTED:
        configuration = read_sweep(name)
        said = estimate(configuration, 1)
        found[name] = {"networks": said.networks, "predicted": said.core_seconds}
        if name == MEASURED:
            shards = cut([configuration], "")
            for shard in shards:  # compiles
                short = {**shard.settings, "training": {**shard.settings["training"], "epochs": 60}}
                short["measurement"] = {**short["measurement"], "rates": [0.1], "horizon": 60}
                compute(short, {key: values[:1] for key, values in shard.networks.items()})
            _, found[name]["processor"] = timed(
                lambda s=shards: [compute(shard.settings, shard.networks) for shard in s]
            )
        print(name, found[name], flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=600)
    parser.add_argument("--tiny", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("local", "dask", "tiny", "open", "time"))
    parser.add_argument("--save", type=Path, help="JSON to which the figures are added")
    given = parser.parse_args()
    if given.only == "time":
        predicted(TIMES)
        return
    bare(2, 16, 20, 1)  # compiles
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    parts = {
        "local": lambda: local(200, 16, given.epochs, given.threads, given.repeats),
        "dask": lambda: dask(200, 16, given.epochs, given.repeats),
        "tiny": lambda: local(given.tiny, 1, 2, given.threads, 1),
        "open": lambda: opening(1000, 100_000),
    }
    for part in parts if given.only is None else [given.only]:
        figures = parts[part]()
        if given.save is not None:
            kept = json.loads(given.save.read_text()) if given.save.is_file() else []
            given.save.write_text(json.dumps([*kept, figures], indent=1) + "\n")


if __name__ == "__main__":
    main()
