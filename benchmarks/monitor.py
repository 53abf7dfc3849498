"""What the monitor costs: a training step of nn.GRU(128) on (64, 100) with it and without it, in
one run.

    python benchmarks/monitor.py [--steps 200] [--threads 1] [--json FILE]

Two equal networks train side by side, a step of one and then a step of the other, so that a machine
whose speed drifts slows both. One has the monitor with its defaults, outputs and targets logged, a
log file written. Times are those of the processor (all threads), which waiting for other programs
does not count. *ratio*: all steps with the monitor over all without. *ratio_of_tens*: median over
tens of steps of the same, with the range of its middle half. *share_clocked*: what the monitor
itself has clocked over the time of the steps, both by the wall. Adam, squared error.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ghostpoint.torch import Monitor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "monitor.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = nn.ModuleList([nn.GRU(8, 128, batch_first=True), nn.Linear(128, 1)])
    x, y = torch.randn(64, 100, 8), torch.rand(64, 100, 1)
    networks = [network, copy.deepcopy(network)]
    optimizers = [torch.optim.Adam(one.parameters(), lr=1e-3) for one in networks]
    times = np.zeros((2, options.steps))
    wall = 0.0

    def step(which: int, monitor: Monitor | None) -> float:
        layer, readout = networks[which]
        start = time.process_time()
        optimizers[which].zero_grad()
        outputs = torch.sigmoid(readout(layer(x)[0]))
        loss = nn.functional.mse_loss(outputs, y)
        loss.backward()
        optimizers[which].step()
        if monitor is not None:
            monitor.log(loss, outputs=outputs, targets=y)
        return time.process_time() - start

    for which in (0, 1):
        step(which, None)
    with tempfile.TemporaryDirectory() as folder:
        monitor = Monitor(networks[1], optimizers[1], path=Path(folder) / "log.jsonl")
        for k in range(options.steps):
            for which in ((0, 1), (1, 0))[k % 2]:
                start = time.perf_counter()
                times[which, k] = step(which, monitor if which else None)
                wall += which * (time.perf_counter() - start)
        monitor.close()
    tens = times[:, : options.steps // 10 * 10].reshape(2, -1, 10).sum(axis=2)
    low, middle, high = np.quantile(tens[1] / tens[0], [0.25, 0.5, 0.75])
    costs = {name: cost.seconds for name, cost in monitor.costs().items()}
    found = {
        "machine": f"{platform.machine()}, torch {torch.__version__}, {options.threads} threads",
        "steps": options.steps,
        "cpu_ms_a_step_plain": 1e3 * times[0].mean(),
        "cpu_ms_a_step_watched": 1e3 * times[1].mean(),
        "ratio": times[1].sum() / times[0].sum(),
        "ratio_of_tens": [round(float(value), 4) for value in (low, middle, high)],
        "share_clocked": sum(costs.values()) / wall,
        "microseconds_a_step": {name: round(1e6 * spent / options.steps, 1) for name, spent in costs.items()},
    }
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
