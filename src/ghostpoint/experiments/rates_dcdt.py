"""Fig. 7A-C: full-rank networks on delayed cue discrimination over learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ghostpoint.experiments.full_rank_sweeps import sweep, sweep_claims
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress

PAPER: Mapping[str, Any] = {
    "figure": "7A",
    "dtype": "float32",
    "task": {"task": "DelayedCueDiscrimination", "cue": 30.0, "delay": 80.0, "response": 50.0, "dt": 5.0, "tau": 10.0},
    "seeds": list(range(20)),
    "log10_rates": [-3.0, 1.0],
    "rates": 20,
    "epochs": 20_000,
    "epochs_shown": [0, 100, 300, 1000, 3000, 10_000, 19_999],
}
PARAMETERS = {
    "quick": {
        **PAPER,
        "seeds": list(range(4)),
        "rates": 13,
        "epochs": 1001,
        "epochs_shown": [0, 100, 300, 1000],
    },
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed at every rate."""
    return sweep(parameters, progress)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Those of every sweep."""
    return sweep_claims(dataset, parameters, "Fig. 7A-C")


EXPERIMENT = Experiment(
    id="rates_dcdt",
    title="Delayed cue discrimination over learning rates",
    figure="Fig. 7A-C",
    question=(
        "Full-rank networks learn to remember the sign of a cue for 80 ms. Is there a "
        "highest rate that still learns, and what becomes of networks above it?"
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
