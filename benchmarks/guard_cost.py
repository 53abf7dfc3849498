"""The guard as a remedy of ``gp.train``, beside the trust region: solved, lost, epochs.

    python benchmarks/guard_remedy.py [--markdown]
    python benchmarks/guard_remedy.py --cost

Trains networks of the experiment ``remedies`` at quick scale, for fewer epochs than it takes the
other remedies to solve the tasks, as the guard is not compiled. Adds each sweep to
``results/guard_remedy.json`` when it is done; sweeps that are there are not made again.
``--markdown`` writes the tables of docs/torch.md: the guard's rows, and beside each the trust
region and no remedy in the run at paper scale (``results/remedies.json``).

``--cost`` measures processor time on match to sample, where the guard needs fewest epochs beside
what "auto" means: 20 networks of 100 units, one after the other in one process
(``results/guard_cost.json``).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import ghostpoint as gp
from ghostpoint.experiments.remedies import guarded, run
from ghostpoint.experiments.remedy_claims import rows_of
from ghostpoint.experiments.shared.base import Silent
from ghostpoint.training.computing import Computing

RESULTS = Path(__file__).parent / "results"
SAVED = RESULTS / "guard_remedy.json"
COST = RESULTS / "guard_cost.json"
PAGE = Path(__file__).parents[1] / "docs" / "torch.md"
#: the lines between which the page holds the table
MARKS = ("<!-- written by python benchmarks/guard_remedy.py --markdown -->", "<!-- end of the remedy's table -->")
COST_MARKS = ("<!-- the cost, by python benchmarks/guard_remedy.py --markdown -->", "<!-- end of the cost -->")
#: remedy, engine and epochs of the comparison of costs, and the trainings: optimizer, rate
COMPARED = (("guard", "torch", 120), ("guard", "reference", 120), ("auto", "compiled", 1500))
TRAININGS = (("adam", 0.01), ("adam", 0.1), ("sgd", 0.2), ("sgd", 2.0))
#: a sweep of the experiment, problem, optimizer, rates, epochs, seeds
SWEEPS = (
    ("remedies_sgd", "rank one", "sgd", [0.1, 0.5, 100.0], 200, 20),
    ("remedies_adam", "rank one", "adam", [0.01, 0.1], 200, 20),
    ("remedies_low_rank", "T = 48", "adam", [0.01, 0.1], 200, 6),
    ("remedies_full_rank", "full rank", "sgd", [2.0], 200, 4),
    ("remedies_full_rank", "DCDT", "adam", [0.1], 400, 4),
    ("remedies_dmts", "DMTS", "adam", [0.001, 0.01, 0.1], 400, 20),
    ("remedies_dmts", "DMTS", "sgd", [0.02, 0.2, 2.0, 100.0], 400, 20),
)


def table(rows: list[dict]) -> str:
    """The guard's rows with those of the trust region and of plain training beside them."""
    paper = json.loads((RESULTS / "remedies.json").read_text())
    others = [dict(zip(paper["columns"], row, strict=True)) for row in paper["rows"]]
    lines = [
        "| networks, optimizer, rate | guard: networks, lost, solved, epoch, loss | trust region "
        "| trust region, guarded | plain |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        key = (row["problem"], row["optimizer"], row["rate"])
        cells = [_cell(row)]
        for treatment in ("trust region", "trust region, guarded", "plain"):
            same = [
                one
                for one in others
                if (one["problem"], one["optimizer"], one["rate"]) == key and one["treatment"] == treatment
            ]
            cells.append(_cell(same[0]) if same else "not measured")
        lines.append(f"| {key[0]}, {key[1]} {key[2]:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict) -> str:
    epoch = row["epoch"]
    first = "-" if epoch is None or epoch == float("inf") else f"{epoch:g}"
    return f"{row['networks']}, {row['lost']}, {row['solved']}, {first}, {row['loss']:.0e}"


def cost(networks: int = 20) -> list[dict]:
    """Epochs and processor time until match to sample is solved, one row a remedy, engine and
    training.
    """
    task, models = gp.tasks.DelayedMatchToSample(30, 80, 50), gp.FullRankRNN.published(range(networks), figure="7D")
    rows = []
    for optimizer, rate in TRAININGS:
        for remedy, engine, epochs in COMPARED:
            computing = Computing(engine, dtype="float64" if engine == "reference" else "float32")
            settings: dict[str, Any] = {"optimizer": optimizer, "remedy": remedy, "engine": computing, "record": "all"}
            gp.train(models, task, rate, 2, **settings)  # kernels are compiled before the clock runs
            start = time.process_time()
            history = gp.train(models, task, rate, epochs, **settings).history
            seconds = time.process_time() - start
            share = np.asarray(history["loss"].transpose("network", "epoch")) / task.chance_loss
            first = [int(np.argmax(one < 0.05)) for one in share if one[-1] < 0.05]
            rows.append(
                {"remedy": remedy, "engine": engine, "optimizer": optimizer, "rate": rate, "networks": networks,
                 "epochs": epochs, "solved": len(first), "epoch": median(first) if first else None,
                 "ms_a_network_epoch": round(1e3 * seconds / networks / epochs, 3)}
            )  # fmt: skip
    return rows


def cost_table(rows: list[dict]) -> str:
    """A row a training and remedy."""
    lines = [
        "| optimizer, rate | remedy, engine | epochs | solved of networks | median epoch | ms a network and epoch "
        "| s a network until then |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        epoch, ms = row["epoch"], row["ms_a_network_epoch"]
        until = "- | " + f"{ms:.2f} | -" if epoch is None else f"{epoch:g} | {ms:.2f} | {epoch * ms / 1e3:.2f}"
        lines.append(
            f"| {row['optimizer']} {row['rate']:g} | {row['remedy']}, {row['engine']} | {row['epochs']} "
            f"| {row['solved']} of {row['networks']} | {until} |"
        )
    return "\n".join(lines)


def filled(page: str) -> str:
    """The page with the tables that the saved rows give."""
    for marks, text in (
        (MARKS, table(json.loads(SAVED.read_text()))),
        (COST_MARKS, cost_table(json.loads(COST.read_text()))),
    ):
        before, after = page.index(marks[0]) + len(marks[0]), page.index(marks[1])
        page = f"{page[:before]}\n\n{text}\n\n{page[after:]}"
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="only write the table of docs/torch.md")
    parser.add_argument("--cost", action="store_true", help="only measure processor time")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "training with the slower")
    if options.cost:
        costs = cost()
        COST.write_text("[\n" + ",\n".join(json.dumps(row) for row in costs) + "\n]\n")
        print(cost_table(costs))
        return
    rows = json.loads(SAVED.read_text()) if SAVED.exists() else []
    for name, problem, optimizer, rates, epochs, seeds in () if options.markdown else SWEEPS:
        wanted = {(problem, optimizer, rate) for rate in rates}
        if wanted <= {(row["problem"], row["optimizer"], row["rate"]) for row in rows}:
            continue
        start = time.process_time()
        kept = {"task": [problem]} if name in ("remedies_low_rank", "remedies_full_rank") else {}
        sweep = guarded(name, epochs, seeds, learning_rate=rates, **kept)
        found = rows_of(run({"sweeps": {name: sweep}}, Silent()))
        rows += [asdict(row) | {"processor_seconds": round(time.process_time() - start, 1)} for row in found]
        SAVED.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(table(rows))
    if options.markdown:
        PAGE.write_text(filled(PAGE.read_text()))


if __name__ == "__main__":
    main()
