"""The guard as a remedy of ``gp.train``, beside the trust region: solved, lost, epochs.

    python benchmarks/guard_remedy.py [--markdown]

Trains networks of the experiment ``remedies`` at quick scale, for fewer epochs than it takes the
other remedies to solve the tasks, as the guard is not compiled. Adds each sweep to
``results/guard_remedy.json`` when it is done; sweeps that are there are not made again.
``--markdown`` writes the table of docs/torch.md: the guard's rows, and beside each the trust region
and no remedy in the run at paper scale (``results/remedies.json``).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import asdict
from pathlib import Path

from ghostpoint.experiments.remedies import guarded, run
from ghostpoint.experiments.remedy_claims import rows_of
from ghostpoint.experiments.shared.base import Silent

RESULTS = Path(__file__).parent / "results"
SAVED = RESULTS / "guard_remedy.json"
PAGE = Path(__file__).parents[1] / "docs" / "torch.md"
#: the lines between which the page holds the table
MARKS = ("<!-- written by python benchmarks/guard_remedy.py --markdown -->", "<!-- end of the remedy's table -->")
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


def filled(page: str) -> str:
    """The page with the table that the saved rows give."""
    before, after = page.index(MARKS[0]) + len(MARKS[0]), page.index(MARKS[1])
    return f"{page[:before]}\n\n{table(json.loads(SAVED.read_text()))}\n\n{page[after:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="only write the table of docs/torch.md")
    options = parser.parse_args()
    rows = json.loads(SAVED.read_text()) if SAVED.exists() else []
    warnings.filterwarnings("ignore", "training with the slower")
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
