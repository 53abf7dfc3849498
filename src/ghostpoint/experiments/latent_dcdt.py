"""Fig. 4A-D: a rank-two network learns delayed cue discrimination, seen in the plane of its latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ghostpoint.experiments.latent_paths import latent_claims, latent_paths
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress

TASK: Mapping[str, Any] = {
    "task": "DelayedCueDiscrimination",
    "cue": 10.0,
    "delay": 50.0,
    "response": 50.0,
    "dt": 5.0,
    "tau": 10.0,
    "copies": 500,
    "initial_scale": 0.3,
}
PAPER: Mapping[str, Any] = {
    "figure": "4A",
    "dtype": "float32",
    "task": TASK,
    "seeds": list(range(4)),  # published: one network
    "optimizer": "sgd",
    "rate": 0.001,
    "epochs": 100_000,
    "history_points": 2000,
    "kept_points": 200,
    "followed": 4,  # of the networks that learn, the first ones
    "ghost_starts": 200,
    "grid": 61,
    "trials_shown": 6,  # of each kind
}
PARAMETERS = {
    # fewer copies of each trial, at the published rate
    "quick": {
        **PAPER,
        "seeds": list(range(20)),
        "task": {**TASK, "copies": 5},
        "epochs": 6000,
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
    return latent_claims(dataset, parameters, "Fig. 4A-D")


EXPERIMENT = Experiment(
    id="latent_dcdt",
    title="A rank-two network learns delayed cue discrimination",
    figure="Fig. 4A-D",
    question=(
        "With rank two the whole computation is a flow in a plane. How does that flow change when the loss drops: do "
        "fixed points appear, and are there ghosts before they do?"
    ),
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
