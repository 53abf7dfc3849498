"""What resists: networks that the trust region leaves unsolved, and what else was tried on them.

    python benchmarks/resistant.py [--only NAME ...] [--json FILE]

Problems and networks are those of the experiment `remedies`. A case is trained at all its rates
with the published seeds from 0 on. A row says how many learned, were lost, and solved the task: a
loss below 0.05 of chance at the end, the median of the last 50 epochs. Rows that the file has are
kept, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ghostpoint import remedies
from ghostpoint.critical_rate import before_crossing
from ghostpoint.experiments.remedy_runs import SOLVED
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.remedies.registry import AUTO_OF_SOME
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.storage import write_json_atomic
from ghostpoint.tasks import DelayedActivation, DelayedMatchToSample, Task
from ghostpoint.training import Adam, Computing, train

RESULTS = Path(__file__).parent / "results/resistant.json"
SGD_RATES, ADAM_RATES = (0.02, 0.2, 2.0, 100.0), (0.001, 0.01, 0.1)
DEFAULT = remedies.TrustRegion()


def rank_one(confidence: float = 10.0) -> Callable[[list[int]], LowRankRNN]:
    """The published networks of rank one, by seeds."""
    return lambda seeds: LowRankRNN.published(seeds, confidence=confidence, threshold=1.0, initial_state=-0.3)


#: name: task, and networks by seeds
PROBLEMS: Mapping[str, tuple[Task, Callable[[list[int]], LowRankRNN | FullRankRNN]]] = {
    "rank one": (DelayedActivation(), rank_one()),
    "T = 48": (DelayedActivation(240.0), rank_one()),
    "T = 96": (DelayedActivation(480.0), rank_one()),
    "c = 50": (DelayedActivation(), rank_one(50.0)),
    "DMTS": (DelayedMatchToSample(30.0, 80.0, 50.0), lambda seeds: FullRankRNN.published(seeds, "7D")),
}
#: problem, optimiser, rates, networks a rate, epochs
LONG = ("T = 96", "sgd", SGD_RATES, 100, 3000)
CONFIDENT = ("c = 50", "sgd", SGD_RATES, 20, 3000)
CONFIDENT_ADAM = ("c = 50", "adam", ADAM_RATES, 20, 3000)
MATCH = ("DMTS", "sgd", SGD_RATES, 20, 3000)
MATCH_ADAM = ("DMTS", "adam", ADAM_RATES, 20, 3000)
#: name: problem, what is done, and what else: "optimizer", "first" (how the start is changed),
#: "epochs", "engine", "seeds"
CASES: Mapping[str, tuple[Any, Any, dict[str, Any]]] = {
    "T = 96: default": (LONG, DEFAULT, {}),
    "T = 96: four times the epochs": (LONG, DEFAULT, {"epochs": 12_000}),
    "T = 96: polyak 0.03": (LONG, replace(DEFAULT, polyak=0.03), {}),
    "T = 96: h 0.1": (LONG, replace(DEFAULT, h=0.1), {}),
    "T = 96: eta 0.2": (LONG, replace(DEFAULT, eta=0.2), {}),
    "T = 48: default": (("T = 48", *LONG[1:]), DEFAULT, {}),
    "T = 48: eta 0.2": (("T = 48", *LONG[1:]), replace(DEFAULT, eta=0.2), {}),
    "T = 20: default": (("rank one", *LONG[1:]), DEFAULT, {}),
    "T = 20: eta 0.2": (("rank one", *LONG[1:]), replace(DEFAULT, eta=0.2), {}),
    "T = 96: growth 1": (LONG, replace(DEFAULT, growth=1.0), {}),
    "c = 50: default": (CONFIDENT, DEFAULT, {}),
    "c = 50: growth inf": (CONFIDENT, replace(DEFAULT, growth=np.inf), {}),
    "c = 50: growth inf, float64": (CONFIDENT, replace(DEFAULT, growth=np.inf), {"dtype": "float64"}),
    "c = 50: brought to the brink first": (CONFIDENT, DEFAULT, {"first": "brink"}),
    "c = 50: 1000 epochs at c = 10 first": (CONFIDENT, DEFAULT, {"first": "confidence 10"}),
    "c = 50: Adam, growth inf": (CONFIDENT_ADAM, replace(DEFAULT, growth=np.inf), {}),
    "c = 50: Adam, eps 1e-30": (CONFIDENT_ADAM, DEFAULT, {"optimizer": Adam(eps=1e-30), "dtype": "float64"}),
    "DMTS: default": (MATCH, DEFAULT, {}),
    "DMTS: guarded": (MATCH, AUTO_OF_SOME, {}),
    "DMTS: guarded, polyak 0.01": (MATCH, replace(AUTO_OF_SOME, polyak=0.01), {}),
    "DMTS: guarded, h 0.1": (MATCH, replace(AUTO_OF_SOME, h=0.1), {}),
    "DMTS: guarded, eta 0.2": (MATCH, replace(AUTO_OF_SOME, eta=0.2), {}),
    "DMTS: guarded and clip 0.1": (MATCH, AUTO_OF_SOME + remedies.ClipGradient(0.1), {}),
    "DMTS: Adam, guarded": (MATCH_ADAM, AUTO_OF_SOME, {}),
}


def row(name: str) -> dict[str, Any]:
    """Train one case."""
    (problem, optimizer, rates, seeds, epochs), remedy, more = CASES[name]
    (task, made), epochs = PROBLEMS[problem], more.get("epochs", epochs)
    models = made(list(range(seeds))).repeat(len(rates))
    rate = np.repeat(rates, seeds)
    computing = Computing("compiled", more.get("dtype", "float32"), threads=1)
    began = time.process_time()
    if more.get("first") == "brink":
        models, _ = before_crossing(models, task)
    if more.get("first") == "confidence 10" and isinstance(models, LowRankRNN):
        low = models.replace(confidence=np.full(len(models), 10.0))
        low = train(low, task, rate, 1000, optimizer=optimizer, remedy=remedy, record=[0], engine=computing).models
        models = low.replace(confidence=models.confidence)
    run = train(
        models, task, rate, epochs, optimizer=more.get("optimizer", optimizer), remedy=remedy, record="all",
        solved=SOLVED, engine=computing,
    )  # fmt: skip
    loss = np.median(run.history["loss"].values[:, -NO_LEARNING_WINDOW:], axis=1) / task.chance_loss
    learned = run.history["accuracy"].values.max(axis=1) > (1 + task.chance_accuracy) / 2
    lost = learned & (run.events["no_learning_zone_entry"].values >= 0)
    solved, first = loss < SOLVED, run.events["first_solved"].values
    return {
        "case": name,
        "networks": len(models),
        "learned": int(learned.sum()),
        "lost": int(lost.sum()),
        "solved": int(solved.sum()),
        "epoch": float(np.median(first[solved])) if solved.any() else None,
        "loss": float(f"{np.median(loss):.3g}"),
        "solved_by_rate": solved.reshape(len(rates), -1).sum(axis=1).tolist(),
        "at_half": int((~lost & ~solved & (np.abs(loss - 0.5) < 0.1)).sum()),
        "left": [[int(s), float(r), float(f"{x:.3g}")]
                 for s, r, x, ok in zip(run.models.seed, rate, loss, solved, strict=True) if not ok][:40],
        "seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


def main() -> None:
    """Train what is missing, print, and save after every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(CASES), metavar="NAME")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    done = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    for name in arguments.only:
        if name not in {one["case"] for one in done}:
            done.append(row(name))
            write_json_atomic({"command": "python benchmarks/resistant.py", "rows": done}, arguments.json)
        found = next(one for one in done if one["case"] == name)
        print({key: value for key, value in found.items() if key != "left"}, flush=True)


if __name__ == "__main__":
    main()
