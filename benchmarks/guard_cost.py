"""What the guard costs as a remedy of ``gp.train``, beside the trust regions: processor time until
networks have solved their task.

    python benchmarks/guard_cost.py [--json benchmarks/results/guard_cost.json]

Twenty networks of 100 units a training, one after the other in one process, by the compiled engine
in float32; on match to sample the engines torch and reference too. The trust region is
``TrustRegion()``, on match to sample the guarded one, and its trainings are longer, as it needs
more epochs. Epochs until a task is solved are those of networks that are solved at the end.
``benchmarks/tables.py`` writes the table of the docs.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import ghostpoint as gp
from ghostpoint.remedies.registry import AUTO, AUTO_OF_SOME
from ghostpoint.training.computing import Computing

SAVED = Path(__file__).parent / "results" / "guard_cost.json"
NETWORKS, WINDOW = 20, 50
LOW, FULL = gp.LowRankRNN.published, gp.FullRankRNN.published
ACTIVATION = gp.tasks.DelayedActivation(100)
#: networks, task, and the trust region for it
PROBLEMS: dict[str, tuple[Any, Any, Any]] = {
    "rank one": (LOW(range(NETWORKS)), ACTIVATION, AUTO),
    "full rank": (FULL(range(NETWORKS), figure="6A"), ACTIVATION, AUTO),
    "DCDT": (FULL(range(NETWORKS), figure="7A"), gp.tasks.DelayedCueDiscrimination(30, 80, 50), AUTO),
    "DMTS": (FULL(range(NETWORKS), figure="7D"), gp.tasks.DelayedMatchToSample(30, 80, 50), AUTO_OF_SOME),
}
TRAININGS = (("sgd", 0.2), ("sgd", 2.0), ("adam", 0.001), ("adam", 0.1))
#: remedy, engine, epochs
COMPARED = (("guard", "compiled", 200), ("trust region", "compiled", 1500))
SLOWER = (("guard", "torch", 120), ("guard", "reference", 120))


def measured(problem: str, training: tuple[str, float], way: tuple[str, str, int]) -> dict[str, Any]:
    """A training: networks that are solved, the median epoch of these, and processor time."""
    (optimizer, rate), (remedy, engine, epochs) = training, way
    models, task, region = PROBLEMS[problem]
    computing = Computing(engine, dtype="float64" if engine == "reference" else "float32")
    asked: Any = "guard" if remedy == "guard" else region
    settings: dict[str, Any] = {"optimizer": optimizer, "remedy": asked, "engine": computing, "record": "all"}
    gp.train(models, task, rate, 2, **settings)  # kernels are compiled before the clock runs
    start = time.process_time()
    history = gp.train(models, task, rate, epochs, **settings).history
    seconds = time.process_time() - start
    share = np.asarray(history["loss"].transpose("network", "epoch")) / task.chance_loss
    first = [int(np.argmax(one < 0.05)) for one in share if np.median(one[-WINDOW:]) < 0.05]
    return {
        "problem": problem, "optimizer": optimizer, "rate": rate, "remedy": remedy, "engine": engine, "epochs": epochs,
        "networks": NETWORKS, "solved": len(first), "epoch": median(first) if first else None,
        "loss": float(f"{np.median(share[:, -WINDOW:]):.2g}"),
        "ms_a_network_epoch": round(1e3 * seconds / NETWORKS / epochs, 4),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=SAVED)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "training with the slower")
    rows = []
    for problem in PROBLEMS:
        for training in TRAININGS:
            for way in COMPARED + (SLOWER if problem == "DMTS" else ()):
                rows.append(measured(problem, training, way))
                print(rows[-1], flush=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    options.json.write_text(f'{{"command": "python benchmarks/guard_cost.py", "rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
