"""Which of the statements on abrupt learning carry over to other architectures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.architecture_claims import claims, summaries
from ghostpoint.experiments.architecture_runs import (
    ACTIVATION,
    ARCHITECTURES,
    CUE,
    GHOSTS,
    MATCH,
    MEASURES,
    MOMENTS,
    POINTS,
    SIGN,
    condition,
    ghosts,
    has_torch,
)
from ghostpoint.experiments.shared.base import Experiment, Progress
from ghostpoint.experiments.shared.parts import Job, ahead, counted_part

#: three rates in a factor of ten, from 0.046 to 46
RATES = [10 ** ((step - 4) / 3) for step in range(10)]


def case(
    architecture: str, task: str, delay: int, epochs: int, rates: tuple[int, int], treatment: str = "plain", **more: Any
) -> dict[str, Any]:
    """A condition; ``rates`` says which of the grid are tried."""
    return {
        "architecture": architecture, "task": task, "delay": delay, "epochs": epochs, "rates": list(rates),
        "treatment": treatment, **more,
    }  # fmt: skip


CLIP: dict[str, Any] = {"treatment": "clip 0.1", "clip": 0.1}
LOW: dict[str, Any] = {"treatment": "confidence 0.2", "confidence": 0.2}


def _cases() -> list[dict[str, Any]]:
    """The conditions of the paper scale. The convolution learns at higher rates, and is cheap; some
    stay on the plateau of cue discrimination for longer than others.
    """
    high, slow = {"convolution": (0, 10)}, ("relu", "gru", "lstm")
    made = []
    for task, delay, epochs, rates, more in (
        (ACTIVATION, 6, 1500, (0, 10), {"recovery": 400}),
        (CUE, 10, 1500, (0, 7), {"recovery": 400}),
        (ACTIVATION, 12, 1200, (0, 9), {}),
        (ACTIVATION, 24, 1200, (0, 8), {}),
        (SIGN, 10, 300, (0, 8), {}),
        (MATCH, 10, 2000, (4, 8), {}),
        (ACTIVATION, 6, 600, (5, 10), CLIP),
        (ACTIVATION, 6, 1000, (5, 10), LOW),
        (CUE, 10, 600, (3, 7), CLIP),
    ):
        for name in ARCHITECTURES:
            tried = high.get(name, rates) if task == ACTIVATION and not {"clip", "confidence"} & more.keys() else rates
            longer = 1500 if name in slow and task == CUE else epochs
            made.append(case(name, task, delay, longer, tried, **more))
    return made


PAPER: Mapping[str, Any] = {
    "units": 16,
    "seeds": list(range(20)),
    "rates": RATES,
    "cases": _cases(),
    "ghosts": [
        {"architecture": architecture, "delay": 12, "rate": rate, "epochs": 2000, "stride": 10}
        for architecture, rate in (("tanh", 0.5), ("gru", 1.0), ("lstm", 1.0))
    ],
}
QUICK: Mapping[str, Any] = {
    **PAPER,
    "units": 12,
    "seeds": list(range(5)),
    "cases": [
        each
        for architecture in ("tanh", "gru", "convolution")
        for each in (
            case(architecture, ACTIVATION, 5, 220, (3, 10), recovery=40),
            case(architecture, ACTIVATION, 15, 220, (3, 9)),
            case(architecture, SIGN, 8, 60, (0, 8)),
            case(architecture, ACTIVATION, 5, 120, (5, 10), **CLIP),
        )
    ],
    "ghosts": [],
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Every condition that can be trained here, and slow points around the drop."""
    every, seeds, rates = parameters["cases"], parameters["seeds"], parameters["rates"]
    common = {"units": parameters["units"], "seeds": seeds}
    by_torch = has_torch()
    jobs: list[Job | None] = []
    for each in every:
        tried = rates[slice(*each["rates"])]
        settings = {**each, "rates": tried, **common}
        can = by_torch or (ARCHITECTURES[each["architecture"]].family is not None and "confidence" not in each)
        total = len(tried) * len(seeds) * each["epochs"]
        job = Job("condition", {**settings, "torch": by_torch}, total, partial(condition, settings), condition)
        jobs.append(job if can else None)
    searches = []
    for each in parameters["ghosts"]:
        settings, total = {**each, **common}, len(seeds) * each["epochs"]
        searches.append(Job("ghosts", {**settings, "torch": by_torch}, total, partial(ghosts, settings), ghosts))
    ahead(progress, [job for job in (*jobs, *searches) if job is not None])
    shape = (len(every), len(rates), len(seeds))
    values: dict[str, NDArray[Any]] = {name: np.full(shape, np.nan) for name in MEASURES}
    curve = np.full((len(every), len(rates), POINTS), np.nan)
    epochs = np.zeros((len(every), POINTS), np.int64)
    for row, (each, wanted) in enumerate(zip(every, jobs, strict=True)):
        if wanted is None:
            continue
        label = ARCHITECTURES[each["architecture"]].label
        progress.phase(f"{label}: {each['task']}, {each['delay']} steps, {each['treatment']}", wanted.total)
        found = counted_part(progress, wanted)
        where = slice(*each["rates"])
        for name in MEASURES:
            values[name][row, where] = found[name].values
        curve[row, where], epochs[row] = found["curve"].values, found["curve_epoch"].values
    data: dict[str, Any] = {name: (("case", "rate", "seed"), value) for name, value in values.items()}
    data |= {"curve": (("case", "rate", "point"), curve), "curve_epoch": (("case", "point"), epochs)}
    coords: dict[str, Any] = {"rate": np.array(rates), "seed": np.array(seeds), "moment": list(MOMENTS)}
    for name in ("architecture", "task", "delay", "treatment"):
        coords[name] = ("case", np.array([each[name] for each in every]))
    coords["cell"] = np.array([each["architecture"] for each in parameters["ghosts"]], "<U16")
    around = []
    for search in searches:
        label = ARCHITECTURES[search.settings["architecture"]].label
        progress.phase(f"{label}: slow points around the drop", search.total)
        around.append(counted_part(progress, search))
    of_seed, of_moment = (len(around), len(seeds)), (len(around), len(MOMENTS), len(seeds))
    for name in ("ghost_drop_from", "ghost_drop_to"):
        data[name] = (("cell", "seed"), np.reshape([one[name].values for one in around], of_seed))
    for quantity in GHOSTS:
        name = f"ghost_{quantity}"
        data[name] = (("cell", "moment", "seed"), np.reshape([one[name].values for one in around], of_moment))
    dataset = xr.Dataset(data, coords, {"torch": int(by_torch)})
    return dataset.assign(summaries(dataset))


COMPARED = Experiment(
    id="architectures",
    title="Which statements carry over to other architectures",
    figure="this project (after Figs. 3 to 8)",
    question="The publication is about vanilla recurrent networks. Do a plateau and an abrupt drop, a highest rate "
    "that learns, a collapse after learning, the role of the confidence, the fall of the critical rate with the delay, "
    "the remedies, and ghosts at the drop appear in gated networks, in leaky networks with ReLU, in a causal "
    "convolution and in a small transformer too, and in a task without memory?",
    parameters={"quick": QUICK, "paper": PAPER},
    run=run,
    claims=claims,
    origin="own",
)
