"""The remedies of the experiment `remedies`, as a table: who learns, who is lost, who solves, how soon and how well.

    python benchmarks/remedies.py [--scale paper] [--problems "rank one" DCDT] [--treatments plain "trust region"]
        [--seeds 20] [--parts FOLDER] [--json FILE]

Counts are over the networks of a row, medians over all of them. With --parts an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ghostpoint.experiments import Silent
from ghostpoint.experiments.parts import keeping_parts
from ghostpoint.experiments.remedies import PARAMETERS, run
from ghostpoint.experiments.remedy_claims import claims_of, rows_of


def wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters of the scale, with the sweeps that are asked for."""
    parameters = dict(PARAMETERS[arguments.scale])
    sweeps = []
    for sweep in parameters["sweeps"]:
        names = [name for name in sweep["treatments"] if not arguments.treatments or name in arguments.treatments]
        if names and (not arguments.problems or sweep["problem"] in arguments.problems):
            seeds = min(sweep["seeds"], arguments.seeds or sweep["seeds"])
            sweeps.append({**sweep, "treatments": names, "seeds": seeds})
    return {**parameters, "sweeps": sweeps}


def main() -> None:
    """Run, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=sorted(PARAMETERS), default="quick")
    parser.add_argument("--problems", nargs="+", metavar="NAME")
    parser.add_argument("--treatments", nargs="+", metavar="NAME")
    parser.add_argument("--seeds", type=int, help="networks of a row at most")
    parser.add_argument("--parts", type=Path, help="folder that keeps what is done")
    parser.add_argument("--json", type=Path, help="where to save the table")
    arguments = parser.parse_args()
    with keeping_parts(arguments.parts):
        dataset = run(wanted(arguments), Silent())
    rows = rows_of(dataset)
    rows.sort(key=lambda row: (row.problem, row.treatment, row.optimizer, row.rate))
    print("problem    treatment                         rate epochs   learned  lost  solved   epoch     loss  acted")
    for row in rows:
        print(
            f"{row.problem:10s} {row.treatment:28s} {row.optimizer:5s}{row.rate:6g} {row.epochs:6d} {row.learned:5d}/"
            f"{row.networks:3d} {row.lost:5d} {row.solved:7d} {row.epoch:7.4g} {row.loss:8.2g} {row.acted:6.2f}"
        )
    # the claims start from the first problem of the experiment
    claims = claims_of(dataset) if rows_of(dataset, next(iter(PARAMETERS[arguments.scale]["problems"]))) else []
    for claim in claims:
        print(f"\n[{claim.verdict}] {claim.sentence}\n  {claim.measured}\n  {claim.note}")
    if arguments.json:
        settings = {name: value for name, value in vars(arguments).items() if name not in ("json", "parts")}
        # an epoch that half of the networks never reach is null
        table = [{name: _plain(value) for name, value in asdict(row).items()} for row in rows]
        saved = {"settings": settings, "rows": table, "claims": [claim.to_dict() for claim in claims]}
        arguments.json.write_text(json.dumps(saved, indent=1) + "\n")


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":
    main()
