"""What docs/architectures.md shows of the experiment `architectures`: findings, rates, claims,
and the figure.

ghostpoint reproduce --scale paper --only architectures --out FOLDER
python benchmarks/architectures.py FOLDER/architectures/data.zarr.zip
python benchmarks/tables.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ghostpoint import figures
from ghostpoint.experiments import get
from ghostpoint.experiments.architecture_claims import (
    STATEMENTS,
    critical,
    drop_ratio,
    findings,
    kept,
    lost,
    rates_and_delays,
    tried,
)
from ghostpoint.experiments.architecture_runs import ARCHITECTURES
from ghostpoint.storage import read_dataset, write_json_atomic

RESULTS = Path(__file__).parent / "results/architectures.json"
FIGURE = Path(__file__).parents[1] / "docs/images/architectures.png"


def number(value: float) -> float | None:
    """Three digits; None for no number."""
    return float(f"{value:.3g}") if np.isfinite(value) else None


def quartiles(values: Any) -> list[float | None]:
    """Median, lower and upper quartile of the numbers among the values."""
    seen = np.asarray(values)[np.isfinite(values)]
    return [number(np.quantile(seen, q)) if len(seen) else None for q in (0.5, 0.25, 0.75)]


def _to_a_quarter(one: Any) -> Any:
    """As :func:`drop_ratio`, for a drop that ends below a quarter of the plateau's loss."""
    return drop_ratio(one.assign(drop_to=one["first_learned"].where(one["first_learned"] >= one["drop_from"])))


def summary(dataset: Any) -> dict[str, Any]:
    """Findings by statement, one row for every case without a remedy, exponents, and claims."""
    found = findings(dataset)
    rows = []
    for row in range(dataset.sizes["case"]):
        one = dataset.isel(case=row)
        if str(one["treatment"].values) != "plain" or not tried(one).any():
            continue
        good, gone = kept(one), lost(one)
        # a network that is kept at the highest rate of the grid has no critical rate
        top = int(np.flatnonzero(tried(one).any(axis=1))[-1])
        rows.append(
            {
                "architecture": str(one["architecture"].values),
                "task": str(one["task"].values),
                "delay": int(one["delay"]),
                "seeds": dataset.sizes["seed"],
                "critical": quartiles(critical(one)),
                "kept": int(good.any(axis=0).sum()),
                "bound": int(good[top].sum()),
                "ratio": quartiles(drop_ratio(one)),
                "to a quarter": quartiles(_to_a_quarter(one)),
                "lost": int(gone.any(axis=0).sum()),
                "logits": [
                    number(np.median(one[f"logit_{when}"].values[gone])) for when in ("learned", "collapse", "end")
                ]
                if gone.any()
                else None,
            }
        )
    paper = json.loads(json.dumps(dict(get("architectures").parameters["paper"])))
    return {
        "command": "ghostpoint reproduce --scale paper --only architectures",
        "seeds": dataset.sizes["seed"],
        "findings": {
            key: {name: {"carries": one.carries, "words": one.words} for name, one in each.items()}
            for key, each in found.items()
        },
        "sentences": {key: sentence for key, (sentence, _, _) in STATEMENTS.items()},
        "labels": {name: one.label for name, one in ARCHITECTURES.items()},
        "exponents": {name: [number(each) for each in rates_and_delays(dataset, name)[0]] for name in ARCHITECTURES},
        "cases": rows,
        "claims": [claim.to_dict() for claim in get("architectures").claims(dataset, paper)],
    }


def main() -> None:
    """Read the data of a run, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--into", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.data)
    write_json_atomic(summary(dataset), arguments.into)
    figures.draw("architectures", dataset).savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
