"""What the monitor costs: a training step of nn.GRU(128) on (64, 100) with it and without it, in one run.

    python benchmarks/monitor.py [--rounds 6] [--steps 60] [--threads 2] [--json FILE]

Rounds of steps with and without the monitor alternate on the same network, so that a machine whose speed drifts slows
both. *ratio*: median over rounds of the time with the monitor over the mean of its two neighbours without it. *share*:
what the monitor itself has clocked, over the time of the steps. Defaults of the monitor, with outputs and targets
logged and a log file written; Adam, squared error.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from torch import nn

from ghostpoint.torch import Monitor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "monitor.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layer, readout = nn.GRU(8, 128, batch_first=True), nn.Linear(128, 1)
    network = nn.ModuleList([layer, readout])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    x, y = torch.randn(64, 100, 8), torch.rand(64, 100, 1)

    def steps(monitor: Monitor | None) -> float:
        start = time.perf_counter()
        for _ in range(options.steps):
            optimizer.zero_grad()
            outputs = torch.sigmoid(readout(layer(x)[0]))
            loss = nn.functional.mse_loss(outputs, y)
            loss.backward()
            optimizer.step()
            if monitor is not None:
                monitor.log(loss, outputs=outputs, targets=y)
        return time.perf_counter() - start

    steps(None)
    plain, watched, costs = [steps(None)], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            monitor = Monitor(network, optimizer, path=Path(folder) / f"{number}.jsonl")
            watched.append(steps(monitor))
            for name, cost in monitor.costs().items():
                costs[name] = costs.get(name, 0.0) + cost.seconds
            monitor.close()
            plain.append(steps(None))
    ratios = [w / ((a + b) / 2) for w, a, b in zip(watched, plain[:-1], plain[1:], strict=True)]
    found = {
        "machine": f"{platform.machine()}, torch {torch.__version__}, {options.threads} threads",
        "rounds": options.rounds,
        "steps": options.steps,
        "ms_a_step_plain": 1e3 * median(plain) / options.steps,
        "ms_a_step_watched": 1e3 * median(watched) / options.steps,
        "ratio": median(ratios),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "share_clocked": sum(costs.values()) / sum(watched),
        "microseconds_a_step": {name: 1e6 * s / (options.rounds * options.steps) for name, s in costs.items()},
    }
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
