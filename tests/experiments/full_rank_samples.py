"""The full-rank experiments at a scale of seconds, for tests: few seeds, few rates, few epochs."""

from __future__ import annotations

from functools import cache

from ghostpoint.experiments import get
from tests.experiments.network_samples import Counted

SWEEP = {"seeds": [0, 1, 2, 3], "rates": 6, "epochs": 101, "epochs_shown": [0, 50, 100]}
PATHS = {"draws": 3, "searched": [0.5, 1.0, 1.5], "slow_point_starts": 8, "history_points": 60, "kept_points": 100}
SMALL = {
    "full_dcdt": {**PATHS, "seeds": [3, 0], "epochs": 400},
    "full_dmts": {**PATHS, "seeds": [0], "epochs": 3000, "rate": 0.2, "history_points": 200},
    "rates_full_rank": {**SWEEP, "rank_one_epochs": 101, "rank_one_shown": [0, 100]},
    "rates_dcdt": SWEEP,
    "rates_dmts": {**SWEEP, "seeds": [0, 1], "epochs": 401, "epochs_shown": [0, 200, 400]},
    "saturation_dmts": {"learning_rate": 0.546, "seeds": [0, 5, 6, 9], "epochs": 1500, "window": 60},
}


def parameters(id):
    return {**get(id).parameters["paper"], **SMALL[id]}


@cache
def sample(id):
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return get(id).run(parameters(id), progress), progress
