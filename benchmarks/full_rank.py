"""The full-rank kernel against a plain PyTorch autograd loop over one network at a time, in one run.

    python benchmarks/full_rank.py [--networks 2] [--epochs 2000] [--repeats 7] [--threads 2] [--json FILE]

N = 100, one full-batch update an epoch, float32, plain gradient descent: delayed activation (40 steps, one trial) and
delayed cue discrimination (cue 30, delay 80, response 50 ms: 32 steps, two trials). Rounds of the two alternate, so
that a machine whose speed drifts slows both; a ratio is the median over rounds. The peak is that of matrix products of
numpy's BLAS on as many threads as the kernel has, and a network-epoch counts as the multiplications and additions of
its three matrix products. Where other programs use the machine too, the time of the processor says more than the clock:
its ratio is that of one core, to be multiplied by the threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ghostpoint.training.kernels import full_rank, optimizers
from ghostpoint.training.kernels import full_rank_packing as packing

N = 100
RATE = 0.003
WIDTH = 16  # lanes of float32


class Setting:
    """A task as arrays, and how its output is read."""

    def __init__(self, trials: int, steps: int, inputs: int, activation: str, read_out: str):
        self.trials, self.steps, self.n_inputs = trials, steps, inputs
        self.activation, self.read_out = activation, read_out
        self.inputs = np.zeros((trials, steps, inputs))
        self.targets = np.zeros((trials, steps, 1))
        self.weight = 1.0

    @property
    def flops(self) -> int:
        """Of the forward product, the transposed one (but for the first step) and the sum of outer products."""
        return 2 * N * N * self.trials * (3 * self.steps - 1)


def delayed_activation() -> Setting:
    setting = Setting(1, 40, 0, "sigmoid", "after")
    setting.targets[:, 20:] = 1
    setting.weight = 1 / 20
    return setting


def delayed_cue_discrimination() -> Setting:
    setting = Setting(2, 32, 1, "tanh", "before")
    for trial, sign in enumerate((1, -1)):
        setting.inputs[trial, :6], setting.targets[trial, 22:] = sign, sign
    setting.weight = 1 / setting.targets.size
    return setting


def parts(setting: Setting, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    w, w_in, w_out = (rng.normal(size=shape) / np.sqrt(N) for shape in ((N, N), (N, setting.n_inputs), (1, N)))
    return [w, w_in, np.zeros(N), w_out, rng.normal(size=1) / np.sqrt(N)]


def torch_loop(setting: Setting, seed: int, epochs: int) -> tuple[float, float]:
    """Seconds per network-epoch by the clock and of the processor, as such loops are usually written."""
    w, w_in, b, w_out, b_out = (
        torch.tensor(part.astype(np.float32), requires_grad=True) for part in parts(setting, seed)
    )
    optimizer = torch.optim.SGD([w, w_in, b, w_out, b_out], lr=RATE)
    inputs = torch.tensor(setting.inputs, dtype=torch.float32)
    targets = torch.tensor(setting.targets, dtype=torch.float32)
    function = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}[setting.activation]
    start, used = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        x = torch.full((setting.trials, N), -0.3)
        outputs = []
        for t in range(setting.steps):
            if setting.read_out == "before":
                outputs.append(function(x @ w_out.T + b_out))
            drive = x @ w.T + b
            if setting.n_inputs:
                drive = drive + inputs[:, t] @ w_in.T
            x = 0.5 * x + 0.5 * torch.tanh(drive)
            if setting.read_out == "after":
                outputs.append(function(x @ w_out.T + b_out))
        loss = setting.weight * ((torch.stack(outputs, 1) - targets) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / epochs, (time.process_time() - used) / epochs


class Network:
    """One network with everything that the kernel needs."""

    def __init__(self, setting: Setting, seed: int):
        trials, steps, dtype = setting.trials, setting.steps, np.float32
        plane = full_rank.plane_size(N, setting.n_inputs, WIDTH)
        state = packing.pack_network(*parts(setting, seed), dtype)
        ones = np.ones(setting.targets.shape)
        quantities = (len(full_rank.QUANTITIES), 1)
        self.before = (
            state, *(packing.aligned(0, dtype) for _ in range(2)), optimizers.SGD, np.array([RATE, 0, 0, 0, np.inf]),
            np.ones(5, bool), np.array([0.5, 0, 0], dtype),
            setting.inputs.transpose(1, 0, 2).astype(dtype).reshape(1, -1),
            *(packing.pack_readings(v, dtype)[None] for v in (setting.targets, setting.weight * ones, ones)),
            np.array([0.5], dtype),
            packing.pack_by_step(np.full((1, trials, 1, N), -0.3), plane, dtype),
            packing.pack_by_step(np.zeros((0, trials, steps, N)), plane, dtype), 0.0, 0.0, seed,
            full_rank.ACTIVATIONS.index(setting.activation), full_rank.READ_OUTS.index(setting.read_out), N,
            setting.n_inputs, 1, trials, steps, 0.5, 0.0,
        )  # fmt: skip
        self.after = (
            np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(2, np.int64), np.zeros((0, *quantities), dtype),
            np.zeros((0, state.size), dtype), np.full((len(full_rank.EVENTS), 1), -1, np.int64),
            np.zeros(quantities, dtype),
            packing.aligned(full_rank.work_size(plane, 1, trials, steps, WIDTH), dtype),
        )  # fmt: skip
        self.epoch = 0

    def advance(self, epochs: int) -> None:
        """Train on; complain if the network is finished before that."""
        reached = full_rank.train(*self.before, self.epoch, self.epoch + epochs, *self.after)
        if reached != self.epoch + epochs:
            raise RuntimeError(f"the network stopped at epoch {reached}, so this is no measure of speed")
        self.epoch = reached


def kernel(networks: list[Network], epochs: int, pool: ThreadPoolExecutor) -> tuple[float, float]:
    """Seconds per network-epoch by the clock and of the processor, one network to a thread."""
    start, used, count = time.perf_counter(), time.process_time(), len(networks) * epochs
    list(pool.map(lambda network: network.advance(epochs), networks))
    return (time.perf_counter() - start) / count, (time.process_time() - used) / count


def peak(threads: int, pool: ThreadPoolExecutor) -> float:
    """Single-precision operations per second of matrix products, each in its thread."""
    size = 768
    a = np.ones((size, size), np.float32)
    outs = [np.empty_like(a) for _ in range(threads)]
    start = time.perf_counter()
    list(pool.map(lambda out: [np.matmul(a, a, out=out) for _ in range(4)], outs))
    return 4 * threads * 2 * size**3 / (time.perf_counter() - start)


def main() -> None:
    """Time, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2000, help="of the kernel per round")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the kernel; the loop has one")
    parser.add_argument("--json", type=Path, help="where to save the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, object] = {
        "command": f"python benchmarks/full_rank.py --networks {arguments.networks} --epochs {arguments.epochs} "
        f"--repeats {arguments.repeats} --threads {arguments.threads}",
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }
    settings = {"delayed activation": delayed_activation(), "cue discrimination": delayed_cue_discrimination()}
    print(f"{'':20s} loop and kernel in us per network-epoch; of the processor: of all cores together")
    print(f"{'':20s} {'loop':>9s} {'kernel':>9s} {'ratio':>7s} {'Gflop/s':>8s} {'of peak':>8s}", end="")
    print(f"   of the processor: {'loop':>9s} {'kernel':>9s} {'ratio':>7s}")
    with ThreadPoolExecutor(arguments.threads) as pool:
        for name, setting in settings.items():
            networks = [Network(setting, seed) for seed in range(arguments.networks)]
            networks[0].advance(2)  # compile
            kernel(networks, 10, pool)
            torch_loop(setting, 0, 3)
            rounds = [
                (
                    *torch_loop(setting, 0, 40),
                    *kernel(networks, arguments.epochs, pool),
                    peak(arguments.threads, pool),
                )
                for _ in range(arguments.repeats)
            ]
            loop, loop_used, fast, fast_used = (1e6 * statistics.median(each[i] for each in rounds) for i in range(4))
            ratio = statistics.median(each[0] / each[2] for each in rounds)
            ratio_used = statistics.median(each[1] / each[3] for each in rounds)
            rate = statistics.median(setting.flops / each[2] for each in rounds)
            share = statistics.median(setting.flops / each[2] / each[4] for each in rounds)
            print(f"{name:20s} {loop:9.0f} {fast:9.2f} {ratio:7.0f} {rate / 1e9:8.1f} {share:8.0%}", end="")
            print(f"   {'':17s} {loop_used:9.0f} {fast_used:9.2f} {ratio_used:7.0f}")
            figures[name] = {
                "loop_us": loop, "us": fast, "ratio": ratio, "flops": rate, "share_of_peak": share,
                "loop_processor_us": loop_used, "processor_us": fast_used, "processor_ratio": ratio_used,
            }  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
