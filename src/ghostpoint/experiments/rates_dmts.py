"""Fig. 7D-F: full-rank networks on delayed match to sample over learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ghostpoint.experiments.full_rank_sweeps import collapse_claim, sweep, sweep_claims
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress

PAPER: Mapping[str, Any] = {
    "figure": "7D",
    "dtype": "float32",
    "task": {"task": "DelayedMatchToSample", "cue": 30.0, "delay": 80.0, "response": 50.0, "dt": 5.0, "tau": 10.0},
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
        "epochs": 3001,
        "epochs_shown": [0, 100, 300, 1000, 3000],
    },
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train every seed at every rate."""
    return sweep(parameters, progress)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Those of every sweep, and the loss of what was learned."""
    return [*sweep_claims(dataset, parameters, "Fig. 7D-F"), collapse_claim(dataset, "Fig. 7D-F")]


EXPERIMENT = Experiment(
    id="rates_dmts",
    title="Delayed match to sample over learning rates",
    figure="Fig. 7D-F",
    question=(
        "Full-rank networks learn to say whether two cues 80 ms apart were the same. Is there a "
        "highest rate that still learns, and what becomes of networks above it?"
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
