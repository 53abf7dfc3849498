"""The full-rank experiments at a scale of seconds, for tests: few units, few rates, few epochs."""

from __future__ import annotations

from functools import cache

from ghostpoint.experiments import get
from tests.experiments.network_samples import Counted

SWEEP = {"units": 16, "seeds": [0, 1, 2], "rates": 6, "epochs": 151, "epochs_shown": [0, 50, 150]}
PATHS = {"units": 24, "seeds": [0, 1], "searched": [0.5, 1.0, 1.5], "slow_point_starts": 8, "history_points": 60}
SMALL = {
    "full_dcdt": {**PATHS, "epochs": 400},
    "full_dmts": {**PATHS, "epochs": 4000, "rate": 0.1},
    "rates_full_rank": {**SWEEP, "rank_one_epochs": 101, "rank_one_shown": [0, 100]},
    "rates_dcdt": SWEEP,
    "rates_dmts": {**SWEEP, "epochs": 1501, "epochs_shown": [0, 500, 1500]},
    "saturation_dmts": {"units": 30, "seeds": [0, 3, 4, 10], "epochs": 1500, "window": 60},
}


def parameters(id):
    return {**get(id).parameters["paper"], **SMALL[id]}


@cache
def sample(id):
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return get(id).run(parameters(id), progress), progress
