"""The guard around Muon: networks that solve a memory task by Muon alone, and with the guard.

    python benchmarks/guarded_muon.py [--tasks copy] [--cells tanh] [--rates 0.003,0.03]
        [--seeds 300,301] [--json benchmarks/results/guarded_muon.json]

Muon updates the recurrent matrix, with its update scaled to the size of AdamW's; the other
parameters have AdamW at the same rate. A guard has one optimizer, so the two are one
(:class:`Together`). Tasks, networks and how a training is judged: ``memory_tasks.py``; the same
networks and batches as in ``rivals.py``. Runs that the file already holds are not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch

from ghostpoint.torch import Guard

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.memory_tasks import judged, problem, train, usual_updates
from benchmarks.rivals import muon

SAVED = Path(__file__).parent / "results" / "guarded_muon.json"
KEY = ("task", "cell", "rate", "method", "seed")


class Together(torch.optim.Optimizer):
    """Several optimizers as one, with the parameter groups and the states of all."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]):
        self.optimizers = optimizers
        super().__init__([group for one in optimizers for group in one.param_groups], {})

    @property
    def state(self) -> dict[Any, Any]:
        return {parameter: state for one in self.optimizers for parameter, state in one.state.items()}

    @state.setter
    def state(self, value: Any) -> None:
        """Each keeps its own."""

    def step(self, closure: Any = None) -> None:
        for one in self.optimizers:
            one.step()


def run(task: str, cell: str, rate: float, method: str, seed: int) -> dict[str, Any]:
    """One training of a network of 64 units."""
    asked = problem(task)
    network = asked.network(cell, 64, seed)
    optimizer = Together(muon(network, rate))
    guard = Guard(network, optimizer, batch="fixed" if asked.fixed else "fresh") if method == "guarded" else None
    losses = train(asked, network, optimizer, usual_updates(task, cell), seed, guard)
    counts = guard.counts if guard is not None else {"forward": len(losses), "stayed": 0}
    return judged(losses, asked.chance, asked.fixed) | {
        "forward": counts["forward"] / len(losses),
        "stayed": counts["stayed"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked = {"seeds": ",".join(map(str, range(300, 320))), "tasks": "copy", "cells": "tanh", "rates": "0.003,0.03"}
    asked["methods"] = "guarded"
    for name, usual in asked.items():
        parser.add_argument(f"--{name}", default=usual)
    parser.add_argument("--json", type=Path, default=SAVED)
    options = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(options.json.read_text()) if options.json.exists() else {"runs": []}
    runs = saved["runs"]
    known = {tuple(one[name] for name in KEY) for one in runs}
    of_name = {"seeds": int, "rates": float}
    lists = [[of_name.get(name, str)(one) for one in getattr(options, name).split(",")] for name in asked]
    for seed, task, cell, rate, method in product(*lists):
        key = (task, cell, rate, method, seed)
        if key in known:
            continue
        runs.append(dict(zip(KEY, key, strict=True)) | run(*key))
        rows = ",\n".join(json.dumps(one) for one in runs)
        command = "python benchmarks/guarded_muon.py"
        options.json.write_text(f'{{"command": {json.dumps(command)}, "runs": [\n{rows}\n]}}\n')
    for one in runs:
        print({name: one[name] for name in (*KEY, "learned", "lost", "solved", "epoch", "end", "forward")})


if __name__ == "__main__":
    main()
