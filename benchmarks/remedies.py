"""The remedies of the experiment `remedies`, as a table: who learns, who is lost, who solves, how
soon and how well.

    python benchmarks/remedies.py [--scale paper] [--problems "rank one" DCDT] [--treatments plain
    "trust region"]
        [--seeds 20] [--parts FOLDER] [--json FILE]
    python benchmarks/remedies.py --dataset ghostpoint-report/remedies/data.zarr.zip --markdown
    --json FILE

Counts are over the networks of a row, medians over all of them. With --parts an interrupted run
goes on where it was. With --dataset nothing is trained: the table is that of a run of the
experiment. The claims are printed, not saved: a run's report and its record have them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ghostpoint.experiments import Silent
from ghostpoint.experiments.remedies import PARAMETERS, run
from ghostpoint.experiments.remedy_claims import Row, best_clip, claims_of, rows_of
from ghostpoint.experiments.shared.parts import keeping_parts
from ghostpoint.experiments.shared.sweep_runs import only
from ghostpoint.storage import read_dataset
from ghostpoint.sweeps.sweep_keys import spaced


def wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    """The sweeps of the scale, with the problems and treatments that are asked for."""
    sweeps = {}
    for name, sweep in PARAMETERS[arguments.scale]["sweeps"].items():
        task = sweep["grid"].get("task")
        problems = [one["label"] for one in task] if task else [sweep["sweep"]["name"]]
        kept = {"task": problems, "remedies": [one["label"] for one in sweep["grid"]["remedies"]]}
        for axis, asked in (("task", arguments.problems), ("remedies", arguments.treatments)):
            kept[axis] = [label for label in kept[axis] if not asked or label in asked]
        if not all(kept.values()):
            continue
        if not task:
            del kept["task"]
        seeds = spaced("seed", sweep["grid"]["models"]["seed"])[: arguments.seeds]
        sweeps[name] = only(sweep, **kept, seed=seeds)
    return {"sweeps": sweeps}


def main() -> None:
    """Run, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=sorted(PARAMETERS), default="quick")
    parser.add_argument("--problems", nargs="+", metavar="NAME")
    parser.add_argument("--treatments", nargs="+", metavar="NAME")
    parser.add_argument("--seeds", type=int, help="networks of a row at most")
    parser.add_argument("--parts", type=Path, help="folder that keeps what is done")
    parser.add_argument("--json", type=Path, help="where to save the table")
    parser.add_argument("--dataset", type=Path, help="the data of a run of the experiment")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/remedies.md instead")
    arguments = parser.parse_args()
    if arguments.dataset:
        dataset = read_dataset(arguments.dataset)
    else:
        with keeping_parts(arguments.parts):
            dataset = run(wanted(arguments), Silent())
    rows = rows_of(dataset)
    rows.sort(key=lambda row: (row.problem, row.treatment, row.optimizer, row.rate))
    if arguments.json:
        save(rows, arguments)
    if arguments.markdown:
        print(by_rate(rows), by_problem(rows), sep="\n\n")
        return
    print("problem    treatment                         rate epochs   learned  lost  solved   epoch     loss  acted")
    for row in rows:
        print(
            f"{row.problem:10s} {row.treatment:28s} {row.optimizer:5s}{row.rate:6g} {row.epochs:6d} {row.learned:5d}/"
            f"{row.networks:3d} {row.lost:5d} {row.solved:7d} {row.epoch:7.4g} {row.loss:8.2g} {row.acted:6.2f}"
        )
    # the claims start from the first problem of the experiment
    claims = claims_of(dataset) if rows_of(dataset, MAIN) else []
    for claim in claims:
        print(f"\n[{claim.verdict}] {claim.sentence}\n  {claim.measured}\n  {claim.note}")


#: the problem that every treatment is tried on
MAIN = "rank one"
REGIONS = ("trust region", "trust region, guarded", "trust region, undivided", "guard")


def by_rate(rows: list[Row]) -> str:
    """The rank-one networks over rates: lost of those that learned; solved; epoch of solving; final
    loss.
    """
    main = [row for row in rows if row.problem == MAIN]
    lines = [
        "| optimiser, rate | plain | clipping, best threshold | " + " | ".join(REGIONS) + " |",
        "|---|---|---|" + "---|" * len(REGIONS),
    ]
    for optimizer, name in (("sgd", "SGD"), ("adam", "Adam")):
        for rate in sorted({row.rate for row in main if row.optimizer == optimizer}):
            mine = {row.treatment: row for row in main if (row.optimizer, row.rate) == (optimizer, rate)}
            clip = best_clip(list(mine.values()))
            cells = [_cell(mine.get("plain")), _cell(clip, True), *(_cell(mine.get(region)) for region in REGIONS)]
            lines.append(f"| {name} {rate:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_problem(rows: list[Row]) -> str:
    """The other problems, summed over rates: lost of those that learned; solved; best median epoch
    and loss.
    """
    treatments = ("plain", "clip 0.01", "clip 0.1", *REGIONS)
    lines = ["| problem, optimiser | " + " | ".join(treatments) + " |", "|---|" + "---|" * len(treatments)]
    for problem in dict.fromkeys(row.problem for row in sorted(rows, key=_place)):
        for optimizer, name in (("sgd", "SGD"), ("adam", "Adam")):
            cells = []
            for treatment in treatments:
                asked = (problem, optimizer, treatment)
                mine = [row for row in rows if (row.problem, row.optimizer, row.treatment) == asked]
                cells.append(_sum(mine) if mine else "-")
            if problem != MAIN and set(cells) != {"-"}:
                lines.append(f"| {problem}, {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _place(row: Row) -> int:
    """Where the problem stands in the tables."""
    order = ("T = 48", "T = 96", "c = 2", "c = 50", "rank two", "rank ten", "full rank", "DCDT", "DMTS")
    return order.index(row.problem) if row.problem in order else -1


def _cell(row: Row | None, named: bool = False) -> str:
    if row is None:
        return "-"
    epoch = f"{row.epoch:.0f}" if np.isfinite(row.epoch) else "-"
    start = f"{row.treatment.removeprefix('clip ')}: " if named else ""
    return f"{start}{row.lost} of {row.learned}; {row.solved}/{row.networks}; {epoch}; {row.loss:.2g}"


def _sum(rows: list[Row]) -> str:
    lost, learned, solved, networks = (
        sum(getattr(row, name) for row in rows) for name in ("lost", "learned", "solved", "networks")
    )
    epoch, loss = min(row.epoch for row in rows), min(row.loss for row in rows)
    return f"{lost} of {learned}; {solved}/{networks}; {f'{epoch:.0f}' if np.isfinite(epoch) else '-'}; {loss:.1g}"


def save(rows: list[Row], arguments: argparse.Namespace) -> None:
    """The table as JSON, a row a line; an epoch that half of the networks never reach is null."""
    names = ("scale", "problems", "treatments", "seeds")
    asked = {name: value for name, value in vars(arguments).items() if name in names}
    if arguments.dataset:  # folder and file of the experiment's run
        asked = {"dataset": "/".join(arguments.dataset.parts[-2:])}
    columns = [field.name for field in fields(Row)]
    table = [json.dumps([_plain(getattr(row, name)) for name in columns]) for row in rows]
    head = json.dumps({**asked, "columns": columns})[:-1]
    arguments.json.write_text(head + ', "rows": [\n ' + ",\n ".join(table) + "\n]}\n")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
