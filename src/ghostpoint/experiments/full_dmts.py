"""Fig. 5D-F: full-rank networks learn delayed match to sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ghostpoint.experiments.full_rank_paths import path_claims, paths
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress

PAPER: Mapping[str, Any] = {
    "figure": "5D",
    "dtype": "float32",
    "task": {
        "task": "DelayedMatchToSample",
        "cue": 10.0,
        "delay": 150.0,
        "response": 50.0,
        "dt": 5.0,
        "tau": 10.0,
        "initial_scale": 0.1,
        "noise": 0.01,
    },
    "seeds": [3, 0, 1, 2, 4, 5, 6, 7, 8, 9],  # the published one, then others
    "rate": 0.01,
    "epochs": 100_001,
    "history_points": 600,
    "kept_points": 500,
    # slow points are searched at these multiples of the epoch of the drop
    "searched": [0.25, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0],
    "slow_point_starts": 64,
}
PARAMETERS = {
    "quick": {
        **PAPER,
        "seeds": [3, 2],
        "epochs": 70_001,
        "kept_points": 200,
        "searched": [0.5, 0.8, 0.9],
        "slow_point_starts": 32,
    },
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train, and look at the network shown at several epochs."""
    return paths(parameters, progress)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Those of both tasks."""
    return path_claims(dataset, parameters, "Fig. 5D-F")


EXPERIMENT = Experiment(
    id="full_dmts",
    title="A full-rank network learns delayed match to sample",
    figure="Fig. 5D-F",
    question=(
        "A full-rank network is trained with noise on delayed match to sample. How does its loss fall, what do its "
        "answers and trajectories look like on the way, and where is it slow?"
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
