"""What a network-epoch costs, against units, steps and networks: the table of docs/training.md.

    python benchmarks/scaling.py [--repeats 3] [--threads 2] [--json FILE]

Delayed activation, float32, plain gradient descent, compiled engine; microseconds per
network-epoch, medians, from runs of a quarter of a second and twice that, so that what a run costs
once is left out. Also the largest memory that a run of 2,000 and one of 200,000 epochs takes beyond
what the process had, recorded at most 10,000 times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import ghostpoint as gp

UNITS, STEPS, NETWORKS = (50, 100, 200, 400, 800), (20, 40, 80, 160), (1, 10, 100, 1000)
KINDS = {
    "rank 1": lambda units, count: gp.LowRankRNN.initialize(units, range(count)),
    "rank 10": lambda units, count: gp.LowRankRNN.initialize(units, range(count), "state_readout", rank=10),
    "full rank": lambda units, count: gp.FullRankRNN.initialize(units, range(count), "normal"),
}
MEMORY = """
import resource, ghostpoint as gp
models, task = gp.LowRankRNN.initialize(100, range(16)), gp.tasks.DelayedActivation()
gp.train(models, task, 1e-3, 100)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gp.train(models, task, 1e-3, EPOCHS)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def cost(kind: str, units: int, steps: int, count: int, repeats: int, threads: int) -> float:
    """Microseconds per network-epoch."""
    models, task = KINDS[kind](units, count), gp.tasks.DelayedActivation(5.0 * steps / 2)

    def run(epochs: int) -> float:
        start = time.perf_counter()
        gp.train(models, task, 1e-4, epochs, record=[0], engine=gp.Computing(threads=threads))
        return time.perf_counter() - start

    run(1)
    epochs = 64
    while run(epochs) < 0.25:
        epochs *= 2
    # what a run costs once is in both, and not in the difference
    return 1e6 * statistics.median(run(2 * epochs) - run(epochs) for _ in range(repeats)) / (epochs * count)


def main() -> None:
    """Time, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where to save the figures")
    arguments = parser.parse_args()
    figures: dict[str, object] = {
        "command": f"python benchmarks/scaling.py --repeats {arguments.repeats} --threads {arguments.threads}"
    }
    for kind in KINDS:
        for name, values in (("units", UNITS), ("steps", STEPS), ("networks", NETWORKS)):
            row = {}
            for value in values:
                at = {"units": 100, "steps": 40, "networks": 100 if kind == "rank 1" else 10, name: value}
                if kind == "full rank" and name == "networks" and value == 1000:
                    continue  # as for 100: networks are trained one by one, and 1000 weigh 40 MB
                row[value] = cost(kind, at["units"], at["steps"], at["networks"], arguments.repeats, arguments.threads)
            figures[f"{kind}, {name}"] = row
            print(f"{kind:10s} {name:9s}", "  ".join(f"{value}: {us:.2f}" for value, us in row.items()), flush=True)
    memory = {
        epochs: int(
            subprocess.run(
                [sys.executable, "-c", MEMORY.replace("EPOCHS", str(epochs))],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for epochs in (2_000, 200_000)
    }
    figures["memory_kib"] = memory
    print("memory (KiB)", memory)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
