"""Small experiments in place of the published ones, so that the runner can be tested in
milliseconds.

``python -m tests.command.fake_experiments ARGS`` is the ``ghostpoint`` command with them, for tests
that kill or interrupt it. The environment variable FAKE_BEHAVIOUR, a JSON object, says what an
experiment does instead of
finishing: "raise", "interrupt", "hang", "bad claims", "bad figure". RAN, a file, gets a line for
every run. FAKE_CODE, a JSON object, has the fingerprints of those whose code is not the usual one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ghostpoint import experiments, figures
from ghostpoint.command import reproduce
from ghostpoint.experiments import Claim, Experiment
from ghostpoint.experiments.shared.base import judge

IDS = ("first", "second", "third")


def behaviour(id: str) -> str:
    return str(json.loads(os.environ.get("FAKE_BEHAVIOUR", "{}")).get(id, ""))


def fake(id: str, slope: float = 2.0) -> Experiment:
    def run(parameters: Any, progress: Any) -> xr.Dataset:
        if "RAN" in os.environ:
            with Path(os.environ["RAN"]).open("a") as file:
                file.write(f"{id}\n")
        if behaviour(id) == "raise":
            raise RuntimeError(f"{id} cannot\nbe run")
        if behaviour(id) == "interrupt":
            raise KeyboardInterrupt
        progress.phase("training", total=40, networks=4)
        for _ in range(4):
            progress.advance(10)
        while behaviour(id) == "hang":
            time.sleep(0.01)
        x = np.arange(parameters["n"], dtype=np.float32)
        y = np.float32(parameters["slope"]) * x
        return xr.Dataset({"y": ("x", y)}, {"x": x}, {"seed": parameters["seed"]})

    def claims(dataset: xr.Dataset, parameters: Any) -> list[Claim]:
        if behaviour(id) == "bad claims":
            raise RuntimeError("no claims")
        y = dataset.y.values
        return [
            Claim(
                f"{id} rises <&> fast",
                origin="published",
                source="Fig. 1",
                published="2 per step",
                rule="It rises by 2 < 3.",
                measured=f"{y[1]:g} per step",
                verdict=judge(y[1] == 2),
            ),
            Claim(
                f"{id} falls",
                origin="published",
                source="eq. 3",
                published="-1",
                rule="It falls.",
                measured="none",
                verdict=judge(False),
                note="It rises.",
            ),
            Claim(
                f"{id} is large",
                origin="own",
                source="sec. 2",
                rule="It has 1000 points.",
                measured=f"{y.size} points",
                verdict=judge(True, testable=False),
            ),
        ]

    quick = {"n": 3, "slope": slope, "seed": 40, "model": {"init_seed": 7}}
    scales = {"quick": quick, "paper": {**quick, "n": 9}}
    run.__name__ = id
    return Experiment(id, f"The {id} thing", "Fig. 1A", f"Does {id} rise?", scales, run, claims)


def draw(id: str, dataset: xr.Dataset) -> Figure:
    if behaviour(id) == "bad figure":
        raise RuntimeError("no figure")
    figure = Figure(figsize=(6, 2), layout="constrained")
    axes = figure.subplots()
    axes.plot(dataset.x, dataset.y, marker="o")
    axes.set_title(id)
    return figure


def code(run: Any, called: str = "") -> str:
    """In place of the fingerprint of a fake's code."""
    return str(json.loads(os.environ.get("FAKE_CODE", "{}")).get(run.__name__, "the usual code"))


def install(patch: Any = setattr, slope: float = 2.0) -> None:
    """Put the fakes in place of the published experiments; ``patch`` sets an attribute of a
    module.
    """
    patch(experiments, "IDS", IDS)
    patch(experiments, "get", lambda id: fake(id, slope))
    patch(reproduce, "fingerprint", code)
    patch(figures, "draw", draw)
    patch(figures, "caption", lambda id: f"The caption of {id} <b>.")


if __name__ == "__main__":
    from ghostpoint.command.cli import run

    install()
    sys.exit(run(sys.argv[1:]))
