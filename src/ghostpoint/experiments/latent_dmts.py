"""Fig. 4E-H: a rank-two network learns delayed match to sample, seen in the plane of its latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ghostpoint.experiments.latent_paths import latent_claims, latent_paths
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress

TASK: Mapping[str, Any] = {
    "task": "DelayedMatchToSample",
    "cue": 30.0,
    "delay": 80.0,
    "response": 50.0,
    "dt": 5.0,
    "tau": 10.0,
    "copies": 500,
    "initial_scale": 0.3,
    "noise": 0.01,
}
PAPER: Mapping[str, Any] = {
    "figure": "4E",
    "dtype": "float32",
    "task": TASK,
    "seeds": list(range(4)),  # published: one network
    "optimizer": "adam",
    "rate": 1e-4,
    "epochs": 20_000,
    "history_points": 2000,
    "kept_points": 200,
    "followed": 4,  # of the networks that learn, the first ones
    "ghost_starts": 200,
    "grid": 61,
    "trials_shown": 4,  # of each kind
}
PARAMETERS = {
    # fewer copies of each trial, and ten times the published rate for a tenth of the epochs
    "quick": {
        **PAPER,
        "seeds": list(range(8)),
        "task": {**TASK, "copies": 10},
        "rate": 1e-3,
        "epochs": 2000,
        "history_points": 800,
        "kept_points": 48,
        "followed": 2,
        "ghost_starts": 32,
        "grid": 41,
    },
    "paper": PAPER,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train, and look at the latent flow on the way."""
    return latent_paths(parameters, progress)


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Those of both tasks."""
    return latent_claims(dataset, parameters, "Fig. 4E-H")


EXPERIMENT = Experiment(
    id="latent_dmts",
    title="A rank-two network learns delayed match to sample",
    figure="Fig. 4E-H",
    question=(
        "With rank two the whole computation is a flow in a plane. How does that flow change when the loss drops: do "
        "fixed points appear, and are there ghosts before they do?"
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
