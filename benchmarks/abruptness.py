"""How abrupt is the drop of the loss, over the delay?

    python benchmarks/abruptness.py [--json benchmarks/results/abruptness.json]

Published networks of four families are trained at several delays. The drop begins at the last epoch
at which the running median of the loss (15 recorded epochs) is at least 0.9 of the plateau, and
ends at the first at which it is below 0.25 of chance. The plateau is the loss of the best answer
that ignores the cues; networks whose readout is of the state start below it, and their plateau is
their first loss. The ratio is the length of the drop in units of the epochs before it.
Finished cells are kept in the JSON file and are not computed again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import ghostpoint as gp
from ghostpoint.experiments.shared.drops import drops
from ghostpoint.experiments.shared.full_rank_runs import best_blind_loss

FULL = [3, 0, 1, 2, 4, 5, 6, 7, 8, 9]


def cells() -> dict[str, dict[str, Any]]:
    """Every training by its name: networks, task, rate, optimiser, epochs."""
    tasks, every = gp.tasks, {}
    for delay, epochs in ((50, 5_000), (100, 60_000), (150, 200_000)):
        every[f"rank one, delayed activation, {delay} ms"] = {
            "models": gp.LowRankRNN.published(range(20), "3"), "task": tasks.DelayedActivation(delay),
            "rate": 0.003, "optimizer": "sgd", "epochs": epochs,
        }  # fmt: skip
    for delay, epochs in ((50, 3_000), (100, 6_000), (150, 40_000), (200, 80_000)):
        every[f"full rank, cue discrimination, {delay} ms"] = {
            "models": gp.FullRankRNN.published(FULL, "5A"),
            "task": tasks.DelayedCueDiscrimination(10, delay, 50, initial_scale=0.1, noise=0.01),
            "rate": 0.01, "optimizer": "sgd", "epochs": epochs,
        }  # fmt: skip
    for delay, epochs in ((50, 60_000), (100, 100_000), (150, 100_000)):
        every[f"full rank, match to sample, {delay} ms"] = {
            "models": gp.FullRankRNN.published(FULL, "5D"),
            "task": tasks.DelayedMatchToSample(10, delay, 50, initial_scale=0.1, noise=0.01),
            "rate": 0.01, "optimizer": "sgd", "epochs": epochs,
        }  # fmt: skip
    for delay, epochs in ((40, 20_000), (80, 20_000), (160, 40_000)):
        every[f"rank two, match to sample, {delay} ms"] = {
            "models": gp.LowRankRNN.published(range(8), "4E"),
            "task": tasks.DelayedMatchToSample(30, delay, 50, copies=20, initial_scale=0.3, noise=0.01),
            "rate": 1e-4, "optimizer": "adam", "epochs": epochs,
        }  # fmt: skip
    every["rank one, readout of the state, delayed activation, 100 ms"] = {
        "models": gp.LowRankRNN.published(range(10), "6B", rank=1), "task": tasks.DelayedActivation(100),
        "rate": 10 ** (-7 / 3), "optimizer": "sgd", "epochs": 20_000, "plateau": "first loss",
    }  # fmt: skip
    return every


def measured(
    models: Any, task: Any, rate: float, optimizer: str, epochs: int, plateau: str = "blind answer"
) -> dict[str, Any]:
    """Where the drops begin and end, and the ratios of the networks that learn."""
    stride = max(1, epochs // 10_000)
    run = gp.train(models, task, rate, epochs, optimizer=optimizer, record=list(range(0, epochs, stride)))
    loss = run.history["loss"].values / task.chance_loss
    blind = best_blind_loss(task) or 1.0  # delayed activation has no cue to ignore
    level = float(loss[:, 0].mean()) if plateau == "first loss" else blind
    begins, ends = drops(run.history["epoch"].values, loss, level)
    able = ends >= 0
    ratios = (ends - begins)[able] / np.maximum(begins[able], 1)
    return {
        "epochs": epochs,
        "rate": rate,
        "networks": len(able),
        "learn": int(able.sum()),
        "begins": begins[able].tolist(),
        "ends": ends[able].tolist(),
        "median_ratio": float(np.round(np.median(ratios), 4)) if able.any() else None,
        "ratios": np.round(np.sort(ratios), 4).tolist(),
    }


def main() -> None:
    """Train what is missing, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"command": "python benchmarks/abruptness.py", "cells": {}}
    if arguments.json and arguments.json.is_file():
        found = json.loads(arguments.json.read_text())
    for name, cell in cells().items():
        if name not in found["cells"]:
            found["cells"][name] = measured(**cell)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1) + "\n")
        one = found["cells"][name]
        print(f"{name}: {one['learn']} of {one['networks']} learn, median ratio {one['median_ratio']}", flush=True)


if __name__ == "__main__":
    main()
