"""The low-rank experiments and the intervention at a scale of seconds, for tests: few networks,
rates and epochs.
"""

from __future__ import annotations

from functools import cache

from ghostpoint.experiments import get
from tests.experiments.network_samples import Counted

LATENT = {"history_points": 200, "kept_points": 14, "followed": 2, "ghost_starts": 8, "grid": 9, "trials_shown": 2}
SMALL = {
    "latent_dcdt": {**LATENT, "seeds": [3, 1, 19], "epochs": 3000},
    "latent_dmts": {**LATENT, "seeds": [0, 2, 5], "epochs": 1500, "rate": 1e-3},
    "ranks": {
        "ranks": [1, 5, 50],
        "seeds": [0, 1, 2, 3],
        "rates": 5,
        "epochs": 301,
        "epochs_shown": [0, 100, 300],
        "low_rate": 0.05,
        "low_rate_epochs": 900,
    },
    "intervention": {
        "seeds": [0, 1, 2, 3],
        "epochs": 100,
        "more_epochs": 150,
        "norms": [0.1, 1.0],
        "history_points": 30,
    },
}


def parameters(id):
    base = get(id).parameters["paper"]
    copies = {"latent_dcdt": 5, "latent_dmts": 10, "intervention": 2}.get(id)
    task = base["task"] if copies is None else {**base["task"], "copies": copies}
    return {**base, **SMALL[id], "task": task}


@cache
def sample(id):
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return get(id).run(parameters(id), progress), progress
