"""Fig. 6A: full-rank networks over learning rates, beside rank-one networks at the same rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ghostpoint.experiments.full_rank_sweeps import collapse_claim, fates, sweep, sweep_claims
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress
from ghostpoint.experiments.shared.networks import NETWORKS, models_of
from ghostpoint.experiments.shared.shares import judge_share

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "task": {
        "task": "DelayedActivation",
        **{name: NETWORKS[f"{name}_ms"] for name in ("delay", "dt", "tau")},
    },
    "figure": "6A",
    "seeds": list(range(10)),
    "log10_rates": [-4.0, 1.0],
    "rates": 30,
    "epochs": 200_001,
    "epochs_shown": [0, 1000, 3000, 10_000, 30_000, 100_000, 200_000],
    "rank_one_epochs": 200_001,
    "rank_one_shown": [0, 1000, 3000, 10_000, 30_000, 100_000, 200_000],
}
PARAMETERS = {
    "quick": {
        **PAPER,
        "seeds": list(range(4)),
        "rates": 16,
        "epochs": 3001,
        "epochs_shown": [0, 30, 100, 300, 1000, 3000],
        "rank_one_epochs": 20_001,
        "rank_one_shown": [0, 1000, 3000, 10_000, 20_000],
    },
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Sweep the full-rank networks, and the rank-one ones of Fig. 3A at the same rates."""
    full = sweep(parameters, progress, name="full_rank")
    settings = {**parameters, "epochs": parameters["rank_one_epochs"], "epochs_shown": parameters["rank_one_shown"]}
    one = sweep(settings, progress, models_of(parameters, parameters["seeds"]), "rank_one")
    own_epochs = one.rename({"epoch": "rank_one_epoch"})
    return full.assign({f"rank_one_{name}": values for name, values in own_epochs.data_vars.items()})


def rank_one(dataset: xr.Dataset) -> xr.Dataset:
    """The rank-one sweep in a dataset of :func:`run`, with the names of a sweep."""
    names = {str(name): str(name).removeprefix("rank_one_") for name in dataset.variables}
    return dataset[[name for name in dataset.data_vars if str(name).startswith("rank_one_")]].rename(
        {name: short for name, short in names.items() if short != name}
    )


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Those of every sweep, and the comparison with rank one."""
    full, one = fates(dataset), fates(rank_one(dataset))
    seeds = len(dataset["seed"])
    known = len(full.fine) > 0 and len(one.fine) > 0
    names = "no such rate"
    factor = 0.0
    if known:
        highest, below = full.rates[full.fine[-1]], one.rates[one.fine[-1]]
        factor = highest / below
        names = (
            f"all learn and keep it up to {highest:.2g} (full rank) and {below:.2g} (rank one), a factor "
            f"{factor:.0f}; some learn up to {full.rates[full.highest]:.2g} and {one.rates[one.highest]:.2g}"
        )
    return [
        *sweep_claims(dataset, parameters, "Fig. 6A"),
        collapse_claim(dataset, "Fig. 6A"),
        Claim(
            "Full-rank networks learn at rates at which rank-one networks are lost.",
            origin="published",
            source="Fig. 6A; letter, Fig. S2; abstract of 2026 (more trainable ranks are more stable)",
            published="higher rates (no number)",
            rule="The highest rate at which all networks, at least four, learn and keep the task is more than a step "
            "of the grid higher for full rank.",
            measured=f"{names}; {seeds} seeds each",
            verdict=judge_share(known and factor > 1.01 * full.rates[1] / full.rates[0], seeds),
            note=f"The same rule for both, after {parameters['epochs']:,} and {parameters['rank_one_epochs']:,} "
            "epochs. "
            "Their readouts differ as published: fixed, with confidence 10, for rank one; trained for full rank.",
        ),
    ]


EXPERIMENT = Experiment(
    id="rates_full_rank",
    title="Full-rank networks over learning rates",
    figure="Fig. 6A",
    question=(
        "Delayed activation again, with a full matrix and a trained readout. Is there still a rate above which no "
        "network "
        "learns, and do the extra parameters move it? Rank-one networks are trained at the same rates beside them."
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
