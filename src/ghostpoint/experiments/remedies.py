"""What prevents the collapse, compared: the remedies over learning rates, optimisers, delays,
networks and tasks.

The sweeps are files of ``ghostpoint.sweeps``, so that ``ghostpoint sweep remedies_sgd`` computes
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ghostpoint.experiments.remedy_claims import claims_of
from ghostpoint.experiments.remedy_runs import run_cases
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress
from ghostpoint.experiments.shared.sweep_runs import changed, only, shipped
from ghostpoint.sweeps.sweep_keys import spaced

QUICK_TREATMENTS = ["plain", "clip 0.01", "clip 0.1", "hazard limit", "trust region", "trust region, undivided"]
#: epochs of the guard, which solves all problems in fewer, and costs more in each
GUARDED = 400


def quick(name: str, epochs: int, seeds: int, treatments: list[str], **kept: Any) -> dict[str, Any]:
    """A part of a sweep of the paper scale, with fewer epochs and seeds; see
    :func:`~ghostpoint.experiments.shared.sweep_runs.only`.
    """
    part = only(TRIED[name], remedies=treatments, seed=range(seeds), **kept)
    return changed(part, training={"epochs": epochs}, shards={"networks": 512})


def guarded(name: str, epochs: int = GUARDED, seeds: int | None = None, **kept: Any) -> dict[str, Any]:
    """The networks, rates and tasks of a sweep under the guard; by default all of its seeds."""
    count = seeds or len(spaced("seed", TRIED[name]["grid"]["models"]["seed"]))
    part = quick(name, epochs, count, ["plain"], **kept)
    part["grid"]["remedies"] = [{"label": "guard", "guard": {}}]
    return part


#: rank-one networks first; the other problems after them
TRIED: Mapping[str, Any] = shipped(
    "remedies_long", "remedies_sgd", "remedies_adam", "remedies_long_clips", "remedies_networks", "remedies_others",
    "remedies_low_rank", "remedies_full_rank", "remedies_dmts",
)  # fmt: skip
#: whose networks and rates the guard is tried on
ALL_RATES = (
    "remedies_long", "remedies_sgd", "remedies_adam", "remedies_low_rank", "remedies_full_rank", "remedies_dmts",
)  # fmt: skip
PAPER: Mapping[str, Any] = {"sweeps": {**TRIED, **{f"guarded_{name}": guarded(name) for name in ALL_RATES}}}
_FEW = ["plain", "trust region"]
QUICK: Mapping[str, Any] = {
    "sweeps": {
        "sgd": quick("remedies_sgd", 3000, 20, QUICK_TREATMENTS, learning_rate=[0.1, 0.5, 100.0]),
        "adam": quick("remedies_adam", 1000, 20, QUICK_TREATMENTS, learning_rate=[0.01, 0.1]),
        "delay": quick("remedies_low_rank", 1000, 6, _FEW, task=["T = 48"], learning_rate=[0.01, 0.1]),
        "full_rank": quick("remedies_full_rank", 400, 4, _FEW, task=["full rank"], learning_rate=[2.0]),
        "dcdt": quick("remedies_full_rank", 400, 4, _FEW, task=["DCDT"], learning_rate=[0.1]),
        "guarded_sgd": guarded("remedies_sgd", 200, 20, learning_rate=[0.1, 0.5, 100.0]),
        "guarded_adam": guarded("remedies_adam", 200, 20, learning_rate=[0.01, 0.1]),
        "guarded_delay": guarded("remedies_low_rank", 200, 6, task=["T = 48"], learning_rate=[0.01, 0.1]),
        "guarded_full_rank": guarded("remedies_full_rank", 200, 4, task=["full rank"], learning_rate=[2.0]),
        "guarded_dcdt": guarded("remedies_full_rank", 200, 4, task=["DCDT"], learning_rate=[0.1]),
    }
}
PARAMETERS = {"quick": QUICK, "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Every sweep of the parameters; see :func:`ghostpoint.experiments.remedy_runs.run_cases` for
    what is kept.
    """
    return run_cases(parameters["sweeps"], progress)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """What each remedy does to the networks that learn, how fast and how well, and where it does
    not help.
    """
    return claims_of(dataset)


REMEDIES = Experiment(
    id="remedies",
    title="What prevents the collapse: remedies compared",
    figure="this project (after Fig. 8)",
    question="Above a critical rate networks learn and are lost. Which of the remedies keeps them, with one setting "
    "for all rates, and at what cost in epochs and final loss? Gradient clipping, a lowered or rising confidence, "
    "spare ranks, a rewind, limits to how far one update may move the escape time, and a guard that tries every update "
    "before it stands are compared from half to 5000 times the critical rate, with plain gradient descent and Adam, "
    "and then on other delays, networks and tasks.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
    origin="own",
)
