"""What the guard costs as a remedy of ``gp.train``, beside the trust regions: processor time until
networks have solved their task.

    python benchmarks/guard_cost.py [--json benchmarks/results/guard_cost.json]

Twenty networks of 100 units a training, one after the other in one process, by the compiled engine
in float32; on match to sample at full rank, with Adam at 0.1, the engines torch and reference too.
Beside the guard stands what "auto" means where updates cannot be tried: ``TrustRegion()``, on match
to sample the guarded one, and a hazard limit where no crossing is wanted. Its trainings are longer,
as it needs more epochs. Tasks without a crossing are four bits of which the parity is told after a
pause, and two waves that a constant input selects. Epochs until a task is solved are those of
networks that are solved at the end. ``benchmarks/tables.py`` writes the table of the docs.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import ghostpoint as gp
from ghostpoint.remedies import HazardLimit, TrustRegion, resolve
from ghostpoint.training.computing import Computing

SAVED = Path(__file__).parent / "results" / "guard_cost.json"
NETWORKS, WINDOW = 20, 50
LOW, FULL = gp.LowRankRNN.published, gp.FullRankRNN.published
ACTIVATION = gp.tasks.DelayedActivation(100)
CUE, MATCH = gp.tasks.DelayedCueDiscrimination(30, 80, 50), gp.tasks.DelayedMatchToSample(30, 80, 50)


def rank_two(activation: str) -> gp.LowRankRNN:
    """Networks with an input and a readout of the latents."""
    sizes: dict[str, Any] = {"rank": 2, "n_inputs": 1, "activation": activation}
    return gp.LowRankRNN.initialize(100, range(NETWORKS), "latent_readout", **sizes)


def parity() -> gp.tasks.Task:
    """The sixteen sequences of four bits, and whether the sum of each is odd."""
    bits = np.array(list(product((0, 1), repeat=4)))
    inputs, targets, mask = np.zeros((16, 14, 1)), np.zeros((16, 14, 1)), np.zeros((16, 14, 1), bool)
    inputs[:, 1:9:2, 0], targets[:, 10:, 0], mask[:, 10:] = 2 * bits - 1, bits.sum(axis=1)[:, None] % 2, True
    return gp.tasks.from_arrays(inputs, targets, mask, dt=5, tau=5)


def waves() -> gp.tasks.Task:
    """A sine and a cosine, which the sign of a constant input tells apart."""
    steps = np.arange(30)
    targets = 0.8 * np.stack([np.sin(steps / 4), np.cos(steps / 5)])[:, :, None]
    return gp.tasks.from_arrays(np.array([1.0, -1.0])[:, None, None] * np.ones((2, 30, 1)), targets, dt=5, tau=10,
                                tolerance=0.1)  # fmt: skip


def whole(activation: str = "sigmoid") -> gp.FullRankRNN:
    """Networks of full rank with an input."""
    return gp.FullRankRNN.initialize(100, range(NETWORKS), n_inputs=1, activation=activation)


#: networks and task
PROBLEMS: dict[str, tuple[Any, Any]] = {
    "rank one": (LOW(range(NETWORKS)), ACTIVATION),
    "full rank": (FULL(range(NETWORKS), figure="6A"), ACTIVATION),
    "DCDT": (FULL(range(NETWORKS), figure="7A"), CUE),
    "DMTS": (FULL(range(NETWORKS), figure="7D"), MATCH),
    "rank two, DCDT": (rank_two("tanh"), CUE),
    "rank two, DMTS": (rank_two("sigmoid"), MATCH),
    "parity": (whole(), parity()),
    "waves": (whole("tanh"), waves()),
}
TRAININGS = (("sgd", 0.2), ("sgd", 2.0), ("adam", 0.001), ("adam", 0.1))
NAMES: dict[type, str] = {TrustRegion: "trust region", HazardLimit: "hazard limit"}
#: remedy, engine, epochs
COMPARED = (("guard", "compiled", 300), ("other", "compiled", 1500))
SLOWER = (("guard", "torch", 160), ("guard", "reference", 160))


def measured(problem: str, training: tuple[str, float], way: tuple[str, str, int]) -> dict[str, Any]:
    """A training: networks that are solved, the median epoch of these, and processor time."""
    (optimizer, rate), (remedy, engine, epochs) = training, way
    models, task = PROBLEMS[problem]
    computing = Computing(engine, dtype="float64" if engine == "reference" else "float32")
    [other] = resolve("auto", task, models.activation, tries=False)
    asked: Any = "guard" if remedy == "guard" else other
    settings: dict[str, Any] = {"optimizer": optimizer, "remedy": asked, "engine": computing, "record": "all"}
    gp.train(models, task, rate, 2, **settings)  # kernels are compiled before the clock runs
    start = time.process_time()
    history = gp.train(models, task, rate, epochs, **settings).history
    seconds = time.process_time() - start
    share = np.asarray(history["loss"].transpose("network", "epoch")) / task.chance_loss
    first = [int(np.argmax(one < 0.05)) for one in share if np.median(one[-WINDOW:]) < 0.05]
    name = NAMES[type(other)] if remedy == "other" else remedy
    return {
        "problem": problem, "optimizer": optimizer, "rate": rate, "remedy": name, "engine": engine, "epochs": epochs,
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
            for way in COMPARED + SLOWER * (problem == "DMTS" and training == TRAININGS[-1]):
                rows.append(measured(problem, training, way))
                print(rows[-1], flush=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    options.json.write_text(f'{{"command": "python benchmarks/guard_cost.py", "rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
