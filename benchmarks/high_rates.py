"""Does a full-rank network on delayed activation learn at rates above those of Fig. 6A?

    python benchmarks/high_rates.py [--json benchmarks/results/high_rates.json]

The grid of the figure ends at 10, where networks still learn (`rates_full_rank`). Here the
published networks of ten seeds are trained for 20,001 epochs at ten rates from 10 to 1000. A
network learns when its accuracy is above chance at some epoch, and keeps the task when it does not
end in the no-learning zone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import ghostpoint as gp
from ghostpoint.experiments.shared.full_rank_runs import LEARNED

SEEDS, EPOCHS = range(10), 20_001


def main() -> None:
    """Train, count, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rates = np.logspace(1, 3, 10)
    models = gp.FullRankRNN.published(SEEDS, "6A")
    task = gp.tasks.DelayedActivation()
    run = gp.train(models.repeat(len(rates)), task, np.repeat(rates, len(SEEDS)), EPOCHS, solved=LEARNED)
    shape = (len(rates), len(SEEDS))
    learned = (run.events["first_solved"].values >= 0).reshape(shape).sum(axis=1)
    at_end = run.history["loss"].values[:, -50:].min(axis=1) / task.chance_loss < LEARNED
    kept = at_end.reshape(shape).sum(axis=1)
    gradient = run.history["gradient_norm"].values[:, -1].reshape(shape)
    rows = [
        {
            "rate": float(f"{rate:.4g}"),
            "learn": int(learned[k]),
            "keep": int(kept[k]),
            "median_last_gradient": float(f"{np.median(gradient[k]):.3g}"),
        }
        for k, rate in enumerate(rates)
    ]
    for row in rows:
        print(row)
    if arguments.json:
        found = {"command": "python benchmarks/high_rates.py", "seeds": len(SEEDS), "epochs": EPOCHS}
        arguments.json.write_text(json.dumps(found | {"rates": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
