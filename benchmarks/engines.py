"""Every kernel against a plain PyTorch loop over one network at a time, and against batched
PyTorch, in one run.

    python benchmarks/engines.py [--repeats 7] [--threads 2] [--only NAME] [--json FILE]

N = 100, one full-batch update an epoch, float32, plain gradient descent. Rounds of the ways
alternate, so that a machine whose speed drifts slows all of them; a ratio is the median over
rounds. *loop*: autograd over one network, as such loops are usually written, on one torch thread,
where it is the faster. *torch*: ``engine="torch"`` on the same stack as the kernels. *peak*: the
kernel's multiplications and additions over those of numpy's matrix products (float32, the same
threads). *tanh*: the share of the kernel's time that its tanh alone would take. *region*: a trust
region's epoch over the plain one, of kernels that train as many networks a call (0: not measured;
large stacks of rank two share calls only without one).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit

import ghostpoint as gp
from ghostpoint.numerics.elementary import tanh
from ghostpoint.numerics.simd import full, lanes, load, store
from ghostpoint.remedies import TrustRegion

N = 100
RATE = 0.001
HEADS = {"loop": 8, "kernel": 8, "x loop": 14, "x torch": 10, "peak": 6, "tanh": 6, "region": 7}
OUTPUT = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}
DA, DCDT = gp.tasks.DelayedActivation(), gp.tasks.DelayedCueDiscrimination(30, 80, 50)
DMTS = gp.tasks.DelayedMatchToSample(30, 80, 50)


@dataclass
class Case:
    """Networks on a task: how many the kernels train and for how long, and the ratio to the loop
    that is wanted.
    """

    models: Any
    task: Any
    epochs: int
    wanted: float = 0.0
    wanted_torch: float = 0.0
    region: bool = True
    layout: str = "auto"


def cases() -> dict[str, Case]:
    low, whole = gp.LowRankRNN.initialize, gp.FullRankRNN.initialize
    return {
        "DA rank 1": Case(low(N, range(160)), DA, 1000, 2500, 10),
        "DA rank 2, readout of the state": Case(low(N, range(16), "state_readout", rank=2), DA, 600),
        "DA rank 2, 64 networks": Case(
            low(N, range(64), "state_readout", rank=2), DA, 400, region=False, layout="networks"
        ),
        "DA rank 10": Case(low(N, range(16), "state_readout", rank=10), DA, 400, 600),
        "DA rank 100": Case(low(N, range(16), "state_readout", rank=100), DA, 80, 120),
        "DCDT rank 2": Case(low(N, range(16), "latent_readout", rank=2, n_inputs=1, activation="tanh"), DCDT, 400),
        "DCDT rank 2, 64 networks": Case(
            low(N, range(64), "latent_readout", rank=2, n_inputs=1, activation="tanh"),
            DCDT,
            250,
            region=False,
            layout="networks",
        ),
        "DA full rank": Case(whole(N, range(16), "normal"), DA, 200, 300, 3),
        "DCDT full rank": Case(whole(N, range(16), "xavier_biased", n_inputs=1, activation="tanh"), DCDT, 120, 300),
        "DMTS full rank": Case(whole(N, range(16), "xavier_biased", n_inputs=1), DMTS, 60),
    }


def loop(case: Case, epochs: int) -> float:
    """Seconds per network-epoch of autograd over one network."""
    models, task = case.models[:1], case.task
    names = models.trainable
    parts = {
        name: torch.tensor(getattr(models, name)[0].astype(np.float32), requires_grad=name in names)
        for name in models.present_parts()
    }
    trial = task.trial()
    inputs, targets = (torch.tensor(each.astype(np.float32)) for each in (trial.inputs, trial.targets))
    weights = torch.tensor(task.weights(trial).astype(np.float32))
    first = torch.tensor(np.broadcast_to(models.initial_state[0], (len(inputs), N)).astype(np.float32))
    optimizer = torch.optim.SGD([parts[name] for name in names], lr=RATE)

    def read(x: torch.Tensor) -> torch.Tensor:
        if "w_out" not in parts:
            return torch.sigmoid(10.0 * (x @ parts["n"][:, :1] - 1.0))
        seen = x @ parts["n"] if getattr(models, "readout", "state") == "latent" else x
        return OUTPUT[models.activation](seen @ parts["w_out"].T + parts["b_out"])

    start = time.perf_counter()
    for _ in range(epochs):
        x, outputs = first, []
        for t in range(task.steps):
            if task.read_out == "before":
                outputs.append(read(x))
            drive = (x @ parts["n"]) @ parts["m"].T if "m" in parts else x @ parts["W"].T
            drive = drive + parts["b"]
            if task.n_inputs:
                drive = drive + inputs[:, t] @ parts["w_in"].T
            x = (1 - task.alpha) * x + task.alpha * torch.tanh(drive)
            if task.read_out == "after":
                outputs.append(read(x))
        loss = (weights * (torch.stack(outputs, 1) - targets) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / epochs


def train(case: Case, epochs: int, engine: str, threads: int, **keywords: Any) -> float:
    """Seconds per network-epoch of an engine, from a run that leaves out what a run costs once."""
    start = time.perf_counter()
    computing = gp.Computing(engine, layout=case.layout, threads=threads)
    gp.train(case.models, case.task, RATE, epochs, record=[0], engine=computing, **keywords)
    return (time.perf_counter() - start) / (epochs * len(case.models))


@njit(nogil=True)
def _tanh_many(values, times):
    width = lanes(values)
    for _ in range(times):
        for i in range(0, values.size, width):
            store(values, i, tanh(load(values, i) + full(values, 0.1)))


def tanh_rate(threads: int, pool: ThreadPoolExecutor) -> float:
    """The kernels' tanh per second, of numbers in the first-level cache."""
    arrays = [np.ones(1600, np.float32) for _ in range(threads)]
    list(pool.map(lambda values: _tanh_many(values, 2), arrays))
    start = time.perf_counter()
    list(pool.map(lambda values: _tanh_many(values, 20_000), arrays))
    return threads * 20_000 * 1600 / (time.perf_counter() - start)


def peak(threads: int, pool: ThreadPoolExecutor) -> float:
    """Single-precision operations per second of matrix products, each in its thread."""
    size = 768
    a = np.ones((size, size), np.float32)
    outs = [np.empty_like(a) for _ in range(threads)]
    start = time.perf_counter()
    list(pool.map(lambda out: [np.matmul(a, a, out=out) for _ in range(4)], outs))
    return 4 * threads * 2 * size**3 / (time.perf_counter() - start)


def operations(case: Case) -> float:
    """Multiplications and additions of the products of a network-epoch."""
    models, task = case.models, case.task
    steps = task.steps * task.n_trials
    if isinstance(models, gp.FullRankRNN):
        return 2 * N * N * task.n_trials * (3 * task.steps - 1)
    left = models.rank + models.n_inputs + 1
    right = models.rank + (models.n_outputs if models.w_out is not None and models.readout == "state" else 0)
    return 2 * N * steps * (2 * left + 3 * right + models.rank)


def measure(case: Case, repeats: int, threads: int, pool: ThreadPoolExecutor) -> dict[str, Any]:
    train(case, 2, "compiled", threads)
    if case.region:
        train(case, 2, "compiled", threads, remedy=TrustRegion())
    loop(case, 2)
    torch_epochs = max(2, case.epochs // 60)
    rounds = []
    for _ in range(repeats):
        rounds.append(
            {
                "loop": loop(case, 12),
                "kernel": train(case, case.epochs, "compiled", threads),
                "torch": train(case, torch_epochs, "torch", threads),
                "region": train(case, case.epochs, "compiled", threads, remedy=TrustRegion()) if case.region else 0.0,
                "peak": peak(threads, pool),
                "tanh": tanh_rate(threads, pool),
            }
        )

    def median(value: Any) -> float:
        return statistics.median(value(each) for each in rounds)

    flops = median(lambda each: operations(case) / each["kernel"] / each["peak"])
    bound = N * case.task.steps * case.task.n_trials
    return {
        "loop_us": 1e6 * median(lambda each: each["loop"]),
        "us": 1e6 * median(lambda each: each["kernel"]),
        "times_loop": median(lambda each: each["loop"] / each["kernel"]),
        "wanted": case.wanted,
        "times_torch": median(lambda each: each["torch"] / each["kernel"]),
        "wanted_torch": case.wanted_torch,
        "of_peak": flops,
        "of_tanh": median(lambda each: bound / each["tanh"] / each["kernel"]),
        "region": median(lambda each: each["region"] / each["kernel"]),
    }


def main() -> None:
    """Time, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the kernels and of batched torch")
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="where to save the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {name: case for name, case in cases().items() if not arguments.only or arguments.only in name}
    figures: dict[str, Any] = {
        "command": f"python benchmarks/engines.py --repeats {arguments.repeats} --threads {arguments.threads}",
        "torch": torch.__version__,
        "ghostpoint": gp.__version__,
        "machine": platform.machine(),
    }
    print("us per network-epoch; x loop and x torch: how many times faster the kernels are (wanted)")
    print(" " * 32, " ".join(f"{head:>{width}s}" for head, width in HEADS.items()))
    with ThreadPoolExecutor(arguments.threads) as pool:
        for name, case in chosen.items():
            seen = figures[name] = measure(case, arguments.repeats, arguments.threads, pool)
            print(
                f"{name:32s} {seen['loop_us']:8.0f} {seen['us']:8.2f} {seen['times_loop']:7.0f} ({case.wanted:4.0f}) "
                f"{seen['times_torch']:5.1f} ({case.wanted_torch:2.0f}) {seen['of_peak']:6.0%} {seen['of_tanh']:6.0%} "
                f"{seen['region']:7.2f}",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
