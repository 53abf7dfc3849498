"""What docs/exponent.md shows of the experiment `exponent`: its conditions and claims, as JSON.

ghostpoint reproduce --scale paper --only exponent --out FOLDER
python benchmarks/exponent.py FOLDER/exponent/data.zarr.zip
python benchmarks/tables.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ghostpoint.experiments import get
from ghostpoint.experiments.exponent import WITHIN, fitted, part_of
from ghostpoint.storage import read_dataset, write_json_atomic

RESULTS = Path(__file__).parent / "results/exponent.json"
#: fitted over the delays of a family
FITTED = ("measured", "overlaps", "linear", "gradient_norm", "width", "sensitivity")


def number(value: float) -> float | None:
    """Four digits; None for no number."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def median(values: Any) -> float | None:
    """Of the numbers among the values."""
    seen = np.asarray(values)[np.isfinite(values)]
    return number(float(np.median(seen))) if len(seen) else None


def summary(dataset: Any) -> dict[str, Any]:
    """Conditions, exponents and claims."""
    rows, fits = [], []
    pairs = dict.fromkeys(zip(dataset["family"].values.tolist(), dataset["confidence"].values.tolist(), strict=True))
    for family, confidence in pairs:
        part = part_of(dataset, family, confidence)
        delays = part["delay_steps"].values.astype(float)
        fits.append({"family": family, "confidence": confidence, "delays": delays.astype(int).tolist()})
        fits[-1] |= {name: [number(each) for each in fitted(delays, part[name].values)] for name in FITTED}
        for row in range(part.sizes["condition"]):
            one = part.isel(condition=row)
            measured = one["measured"].values
            found = {"family": family, "confidence": confidence, "delay": int(delays[row])}
            found |= {"networks": int(np.isfinite(measured).sum()), "toy": number(float(one["toy"]))}
            found |= {name: median(one[name].values) for name in (*FITTED, "lowest", "terms_norm", "time")}
            for name in ("overlaps", "linear"):
                ratio = one[name].values / measured
                found[f"{name}_ratio"] = median(ratio)
                found[f"{name}_within"] = int((np.abs(ratio - 1) <= WITHIN).sum())
            found["median_within"] = int((np.abs(np.nanmedian(measured) / measured - 1) <= WITHIN).sum())
            rows.append(found)
    return {
        "command": "ghostpoint reproduce --scale paper --only exponent",
        "seeds": dataset["seed"].values.tolist(),
        "conditions": rows,
        "exponents": fits,
        "claims": [claim.to_dict() for claim in get("exponent").claims(dataset, get("exponent").parameters["paper"])],
    }


def main() -> None:
    """Read the data of a run, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    write_json_atomic(summary(read_dataset(parser.parse_args().data)), RESULTS)


if __name__ == "__main__":
    main()
