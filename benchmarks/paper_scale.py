"""What tables of the documentation need of experiments at paper scale.

    python benchmarks/paper_scale.py FOLDER

FOLDER is one of ``ghostpoint reproduce --scale paper``. For each experiment of ``SUMMARIES`` that
it has, a summary goes to ``benchmarks/results/ID_paper.json``. Both together compute for hours:

    ghostpoint reproduce --scale paper --only before_the_drop,critical_rate_scaling --out FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.command.reproduction_folder import Folder
from ghostpoint.experiments.before_the_drop import DROP_FROM, DROP_TO, verdict
from ghostpoint.experiments.critical_rate_scaling import SWEEPS
from ghostpoint.storage import write_json_atomic

RESULTS = Path(__file__).parent / "results"


def before_the_drop(dataset: xr.Dataset) -> dict[str, Any]:
    """Per family and reading, in how many networks it precedes the drop; and how abrupt this is."""
    families = {}
    for family, title in dataset.attrs["families"].items():
        able = dataset.isel(network=np.flatnonzero((dataset["family"].values == family) & dataset["learned"].values))
        begin, end = (able["drop_epoch"].sel(share=level).values for level in (DROP_FROM, DROP_TO))
        readings = {}
        for reading in able["reading"].values:
            at = able.sel(reading=reading)
            before, start = int((at["when"].values <= 1).sum()), int(at["at_start"].sum())
            readings[str(reading)] = {
                "before": before,
                "at_start": start,
                "on_plateau": float(at["on_plateau"].mean()),
                "verdict": verdict(before, start, able.sizes["network"]),
            }
        families[family] = {
            "title": title,
            "networks": able.sizes["network"],
            "readings": readings,
            "drop_over_plateau": float(np.median((end - begin) / begin)),
        }
    return {"families": families}


def critical_rate_scaling(dataset: xr.Dataset) -> dict[str, Any]:
    """Per sweep the median critical rates and their exponent; per delay the lethal update."""
    sweeps = {}
    for sweep, varied in SWEEPS.items():
        of = dataset.isel(condition=np.flatnonzero(dataset["sweep"].values == sweep))
        rates, fit = of["critical_rate"].values, dataset.sel(fit=sweep)
        sweeps[sweep] = {
            "values": of[varied].values.tolist(),
            "medians": np.nanmedian(rates, axis=1).tolist(),
            "with_one": int(np.isfinite(rates).sum()),
            "networks": rates.size,
            "exponent": [float(fit[name]) for name in ("exponent", "exponent_low", "exponent_high")],
        }
    delay = dataset.isel(condition=np.flatnonzero(dataset["sweep"].values == "delay"))
    lethal = []
    for row, steps in enumerate(delay["delay_steps"].values.tolist()):
        at = delay.isel(condition=row)
        medians = {name: float(np.nanmedian(at[name])) for name in ("hazard", "loss_slope", "gradient_norm")}
        lethal.append(
            {
                "delay": steps,
                "networks": int(np.isfinite(at["hazard"]).sum()),
                **medians,
                "dangerous": int((at["hazard"] > 1).sum()),
                "with_ghost": int(np.isfinite(at["ghost_passage"]).sum()),
                "ghost_passage": float(np.nanmedian(at["ghost_passage"])),
            }
        )
    return {"seeds": dataset["seed"].values.tolist(), "sweeps": sweeps, "lethal_updates": lethal}


SUMMARIES: dict[str, Callable[[xr.Dataset], dict[str, Any]]] = {
    "before_the_drop": before_the_drop,
    "critical_rate_scaling": critical_rate_scaling,
}


def main() -> None:
    """Summarize what the folder has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = Folder.open(parser.parse_args().folder)
    for id in folder.finished():
        if id in SUMMARIES:
            record = folder.record(id)
            taken = {
                "command": f"ghostpoint reproduce --scale {folder.scale} --only {id}",
                "processor_seconds": record.processor_seconds,
                "versions": dict(record.versions),
            }
            write_json_atomic({**taken, **SUMMARIES[id](folder.dataset(id))}, RESULTS / f"{id}_paper.json")
            print(id)


if __name__ == "__main__":
    main()
