"""Variants of the CUDA kernels beside each other: correctness over 20 epochs, nanoseconds a network-epoch.

    python benchmarks/cuda_variants.py [--only TEXT ...] [--profile]

Every variant is a process of its own. All are compiled side by side; one at a time is on the device.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack  # which some numba-cuda names

sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

RATE = 1e-3
#: name: kind, settings, stacks, streams
VARIANTS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], int]] = {
    "low 255": ("rank 10", {"registers": 255}, (100, 8000, 100_000), 1),
    "low 200": ("rank 10", {"registers": 200}, (8000,), 1),
    "low 216": ("rank 10", {"registers": 216}, (8000,), 1),
    "full 168": ("full rank", {"registers": 168}, (100, 2000, 8000), 1),
    "one halves 255": ("rank 1", {"registers": 255, "halves": 2}, (100, 8000, 100_000), 1),
    "one shared 128": ("rank 1", {"registers": 128}, (8000,), 1),
}


def networks(kind: str, count: int) -> Any:
    import ghostpoint as gp

    low = gp.LowRankRNN.initialize
    first = {
        "rank 1": lambda: low(100, range(100)),
        "rank 10": lambda: low(100, range(16), "state_readout", rank=10),
        "full rank": lambda: gp.FullRankRNN.initialize(100, range(16)),
    }[kind]()
    return first.repeat(-(-count // len(first)))[np.arange(count)]


def plan_for(models: Any) -> Any:
    from ghostpoint.training.optimizers import SGD
    from ghostpoint.training.plan import Plan

    never = np.zeros(0, np.int64)
    return Plan(np.full(len(models), RATE), 10**9, never, never, SGD(), None, 0.05, 0)


def trained(kind: str, engine: Any) -> Any:
    import ghostpoint as gp
    from ghostpoint.tasks import DelayedActivation

    rate = 0.02 if kind == "rank 1" else 0.01 if kind == "rank 10" else 1e-3
    run = gp.train(networks(kind, 3), DelayedActivation(), rate, 20, engine=engine, record="all")
    return [run.history["loss"].values, *(getattr(run.models, part) for part in run.models.trainable)]


def variant(name: str, folder: Path) -> dict[str, Any]:
    kind, _, sizes, streams = VARIANTS[name]
    import ghostpoint as gp
    from ghostpoint.tasks import DelayedActivation
    from ghostpoint.training.cuda.driver import Run

    task = DelayedActivation()
    started = time.perf_counter()
    from numba import types

    from ghostpoint.training.cuda.kernels.specification import ARGUMENTS

    small = Run(networks(kind, 3), task, plan_for(networks(kind, 3)), "float32", None)
    arguments = []
    for _, type_name, axes in ARGUMENTS:
        number = getattr(types, "float32" if type_name == "real" else type_name)
        arguments.append(types.Array(number, axes, "C") if axes else number)
    small.kernel.compile(tuple(arguments))
    compiled = time.perf_counter() - started
    found: dict[str, Any] = {"name": name, "compile_s": round(compiled, 1)}
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        on_device = time.perf_counter()
        try:
            wanted = np.load(folder / f"{kind}.npz")
            ours = trained(kind, gp.Computing("cuda", "float32"))
            found["error"] = [
                float(f"{np.abs(one - wanted[key]).max() / np.abs(wanted[key]).max():.2g}")
                for one, key in zip(ours, wanted.files, strict=True)
            ]
            again = trained(kind, gp.Computing("cuda", "float32"))
            found["repeats"] = all((one == other).all() for one, other in zip(ours, again, strict=True))
            kernel = small.kernel
            try:
                found["registers"] = list(kernel.get_regs_per_thread().values())
                found["local_bytes"] = list(kernel.get_local_mem_per_thread().values())
                found["signatures"] = len(kernel.signatures)
            except Exception as error:  # noqa: BLE001
                found["registers"] = repr(error)[:100]
            for count in sizes:
                found[str(count)] = speed(kind, task, count, streams)
        except Exception as error:  # noqa: BLE001
            import traceback

            found["failed"] = repr(error)[:300] + traceback.format_exc()[-600:]
        found["device_s"] = round(time.perf_counter() - on_device, 1)
    return found


def speed(kind: str, task: Any, count: int, streams: int) -> list[float]:
    from numba import cuda

    from ghostpoint.training.cuda.driver import Run

    runs = []
    for _ in range(streams):
        models = networks(kind, count // streams)
        runs.append(Run(models, task, plan_for(models), "float32", None))
    epochs, at = 4, 0
    times: list[float] = []
    with cuda.defer_cleanup():  # to free memory is to wait for all that runs
        return timed(runs, count, streams, epochs, at, times)


def timed(runs: list[Any], count: int, streams: int, epochs: int, at: int, times: list[float]) -> list[float]:
    while len(times) < 4:
        # rounds enough for the streams to get out of step
        rounds = 6 if streams > 1 else 1
        start = time.perf_counter()
        for k in range(rounds):
            for run in runs:
                run.round(at + k * epochs, at + (k + 1) * epochs)
        for run in runs:
            run.compute.synchronize()
        took, at = time.perf_counter() - start, at + rounds * epochs
        if not times and took / rounds < 0.08 and epochs < 4096:
            epochs = min(4096, max(2 * epochs, int(epochs * 0.16 / max(took / rounds, 1e-4))))
            continue
        times.append(took / epochs / rounds / count * 1e9)
    return [round(one, 2) for one in sorted(times[1:])]


def profile(kind: str, settings: dict[str, Any]) -> None:
    """What Nsight Compute says of one launch."""
    sections = ["SpeedOfLight", "WarpStateStats", "SchedulerStats", "InstructionStats", "Occupancy", "MemoryWorkloadAnalysis"]
    command = ["ncu", "--clock-control", "none", "--launch-skip", "1", "--launch-count", "1"]
    for section in sections:
        command += ["--section", section]
    command += [sys.executable, __file__, "--launch", kind]
    environment = {**os.environ, "GHOSTPOINT_CUDA": json.dumps(settings)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    lines = [line.strip() for line in done.stdout.splitlines()]
    print("profile", kind, settings, *[line for line in lines if "  " in line and not line.startswith("==")], sep="\n", flush=True)
    if done.returncode:
        print(done.stderr[-800:])


def launch(kind: str) -> None:
    from ghostpoint.tasks import DelayedActivation
    from ghostpoint.training.cuda.driver import Run

    models = networks(kind, {"rank 1": 8000, "rank 10": 4000, "full rank": 2000}[kind])
    run = Run(models, DelayedActivation(), plan_for(models), "float32", None)
    for k in range(2):
        run.round(5 * k, 5 * k + 5)
    run.compute.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--timeout", type=float, default=40)
    parser.add_argument("--variant")
    parser.add_argument("--launch")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.launch:
        launch(options.launch)
        return
    if options.variant:
        print(json.dumps(variant(options.variant, options.folder)))
        return
    begin = time.perf_counter()
    names = [name for name in VARIANTS if any(text in name for text in options.only)]
    with tempfile.TemporaryDirectory() as folder:
        running = {}
        pending = list(names)
        # references first: they take a second and children wait for the lock
        with open(Path(folder) / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

            def start(name: str) -> None:
                environment = {
                    **os.environ, "GHOSTPOINT_CUDA": json.dumps(VARIANTS[name][1]), "OMP_NUM_THREADS": "1",
                    "NUMBA_NUM_THREADS": "1",
                }  # fmt: skip
                command = [sys.executable, __file__, "--variant", name, "--folder", folder]
                running[name] = subprocess.Popen(
                    command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )

            for name in pending[:14]:
                start(name)
            import ghostpoint as gp

            for kind in {VARIANTS[name][0] for name in names}:
                np.savez(Path(folder) / f"{kind}.npz", *trained(kind, gp.Computing("reference", "float64")))
        waiting = pending[14:]
        since = {name: time.perf_counter() for name in running}
        while running:
            for name, process in list(running.items()):
                late = time.perf_counter() - since[name] > options.timeout + 160
                if process.poll() is None and not late:
                    continue
                if late:
                    process.kill()
                output, errors = process.communicate()
                del running[name]
                lines = output.strip().splitlines()
                print(lines[-1] if lines else json.dumps({"name": name, "failed": errors[-700:]}), flush=True)
                if waiting:
                    since[waiting[0]] = time.perf_counter()
                    start(waiting.pop(0))
            time.sleep(0.1)
    print(f"{time.perf_counter() - begin:.0f} s", flush=True)
    subprocess.run(
        ["nvidia-smi", "--query-gpu=name,clocks.sm,clocks.max.sm,power.draw,clocks_event_reasons.active", "--format=csv"],
        check=False,
    )
    if options.profile:
        for kind, settings in (
            ("full rank", {"registers": 168}), ("rank 10", {"registers": 255}), ("rank 1", {"registers": 128}),
        ):  # fmt: skip
            try:
                profile(kind, settings)
            except (subprocess.SubprocessError, OSError) as error:
                print("profile", kind, repr(error)[:300])
            print(f"{time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
