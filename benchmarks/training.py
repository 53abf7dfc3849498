"""The compiled kernels against a plain PyTorch autograd loop over one network at a time, in one
run.

    python benchmarks/training.py [--networks 320] [--repeats 7] [--threads 2] [--json FILE]

Both train rank-one networks (N = 100) on delayed activation (40 steps), one full-batch update an
epoch, float32. Rounds of the two alternate, so that a machine whose speed drifts slows both; the
ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import ghostpoint as gp

RATE = 0.003


def torch_loop(models: gp.LowRankRNN, task: gp.tasks.DelayedActivation, epochs: int) -> float:
    """Seconds per network-epoch of one network after the other, as such loops are usually
    written.
    """
    target = torch.tensor(task.trial().targets[0, :, 0], dtype=torch.float32)
    start = time.perf_counter()
    for network in range(len(models)):
        m, n, b = (
            torch.tensor(part.reshape(-1).astype(np.float32), requires_grad=True)
            for part in (models.m[network], models.n[network], models.b[network])
        )
        optimizer = torch.optim.SGD([m, n, b], lr=RATE)
        for _ in range(epochs):
            x = torch.full((models.n_units,), -0.3)
            outputs = []
            for _ in range(task.steps):
                x = (1 - task.alpha) * x + task.alpha * torch.tanh(m * (n @ x) + b)
                outputs.append(torch.sigmoid(10.0 * (n @ x - 1.0)))
            loss = ((torch.stack(outputs) - target) ** 2).sum() / task.delay_steps
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - start) / (len(models) * epochs)


def kernel(models: gp.LowRankRNN, task: gp.tasks.DelayedActivation, epochs: int, layout: str, threads: int) -> float:
    """Seconds per network-epoch of the compiled engine."""
    start = time.perf_counter()
    gp.train(models, task, RATE, epochs, record=[0], engine=gp.Computing(layout=layout, threads=threads))
    return (time.perf_counter() - start) / (len(models) * epochs)


def main() -> None:
    """Time, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=320, help="in the kernel's stack")
    parser.add_argument("--epochs", type=int, default=2000, help="of the kernel per round")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where to save the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the loop's operations are too small for more to help, and it is the faster so
    task = gp.tasks.DelayedActivation()
    models = gp.LowRankRNN.initialize(100, range(arguments.networks))
    ways = {
        f"networks across lanes, {arguments.threads} threads": ("networks", arguments.threads),
        f"units across lanes, {arguments.threads} threads": ("units", arguments.threads),
        "networks across lanes, 1 thread": ("networks", 1),
        "units across lanes, 1 thread": ("units", 1),
    }
    for layout, threads in ways.values():
        kernel(models, task, 2, layout, threads)  # compile
    torch_loop(models[:1], task, 2)
    loop: list[float] = []
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        loop.append(torch_loop(models[:2], task, 40))
        for name, (layout, threads) in ways.items():
            times[name].append(kernel(models, task, arguments.epochs, layout, threads))
    print(f"{'':42s} us per network-epoch   times the loop")
    print(f"{'PyTorch autograd loop':42s} {1e6 * statistics.median(loop):20.1f}")
    figures: dict[str, object] = {"loop_us": 1e6 * statistics.median(loop)}
    for name, values in times.items():
        ratio = statistics.median(slow / fast for slow, fast in zip(loop, values, strict=True))
        print(f"{name:42s} {1e6 * statistics.median(values):20.3f} {ratio:16.0f}")
        figures[name] = {"us": 1e6 * statistics.median(values), "ratio": ratio}
    if arguments.json:
        figures |= {
            "command": f"python benchmarks/training.py --networks {arguments.networks} --epochs {arguments.epochs} "
            f"--repeats {arguments.repeats} --threads {arguments.threads}",
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            "machine": platform.machine(),
            "ghostpoint": gp.__version__,
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
