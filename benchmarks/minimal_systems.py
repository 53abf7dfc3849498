"""What docs/minimal_systems.md shows of the experiment ``minimal_systems`` at paper scale.

    ghostpoint reproduce --scale paper --only minimal_systems --out FOLDER
    python benchmarks/minimal_systems.py FOLDER

Writes benchmarks/results/minimal_systems.json, from which ``tables.py`` makes the tables, and the
figure of the page.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ghostpoint import figures
from ghostpoint.command.reproduction_folder import Folder
from ghostpoint.experiments import get
from ghostpoint.storage import write_json_atomic

ROOT = Path(__file__).parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = Folder.open(parser.parse_args().folder)
    dataset, record = folder.dataset("minimal_systems"), folder.record("minimal_systems")
    families = []
    for row, name in enumerate(dataset["family"].values):
        ratio = (dataset["critical_rate"] / dataset["toy_rate"]).values[row]
        prefactor = float(dataset["prefactor_theory"].values[row])
        families.append(
            {
                "family": str(name),
                "dimension": int(dataset["dimension"].values[row]),
                "exponent_theory": float(dataset["exponent_theory"].values[row]),
                "exponent": dataset["exponent"].values[row].tolist(),
                "prefactor": float(ratio[np.isfinite(ratio)][-1]),
                "prefactor_theory": prefactor if np.isfinite(prefactor) else None,
            }
        )
    claims = get("minimal_systems").claims(dataset, record.parameters)
    saved = {
        "command": "ghostpoint reproduce --scale paper --only minimal_systems",
        "processor_seconds": record.processor_seconds,
        "families": families,
        "claims": [claim.to_dict() for claim in claims],
    }
    write_json_atomic(saved, ROOT / "benchmarks/results/minimal_systems.json")
    figures.draw("minimal_systems", dataset).savefig(ROOT / "docs/images/minimal_systems.png", dpi=110)


if __name__ == "__main__":
    main()
