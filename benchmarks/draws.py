"""Does the network of Fig. 5D-F keep match to sample, whatever the draw of its noise?

    python benchmarks/draws.py [--json benchmarks/results/draws.json]

The published networks of seeds 3 (the one shown), 0, 1 and 2 are trained for 100,001 epochs with
ten draws of the noise and of the initial rates, and with five draws of the initial rates alone. A
network has learned when its loss has been below a quarter of chance, and keeps the task when the
median of the last 10,000 epochs is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import ghostpoint as gp
from ghostpoint.experiments.shared.full_rank_runs import best_blind_loss

SEEDS, EPOCHS = [3, 0, 1, 2], 100_001


def counts(noise: float, draws: int) -> dict[str, list[int]]:
    """Per seed: how many of the draws it learns with, and how many it keeps the task with."""
    task = gp.tasks.DelayedMatchToSample(10, 150, 50, initial_scale=0.1, noise=noise)
    chance = best_blind_loss(task) * task.chance_loss
    learned, kept = [], []
    for draw in range(draws):
        models = gp.FullRankRNN.published(SEEDS, "5D")
        run = gp.train(models, task, 0.01, EPOCHS, record=100, seed=draw)
        loss = run.history["loss"].values / chance
        learned.append((loss < 0.25).any(axis=1))
        kept.append(learned[-1] & (np.median(loss[:, -100:], axis=1) < 0.25))
        print(noise, draw, learned[-1].astype(int), kept[-1].astype(int), flush=True)
    return {"learned": np.sum(learned, axis=0).tolist(), "kept": np.sum(kept, axis=0).tolist(), "draws": draws}


def main() -> None:
    """Train, count, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"command": "python benchmarks/draws.py", "seeds": SEEDS}
    found |= {"with noise": counts(0.01, 10), "without noise": counts(0.0, 5)}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
