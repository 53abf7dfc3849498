"""Small sweeps for tests: by the reference engine, which needs no compilation, on few units."""

from __future__ import annotations

import copy


def small(**changes):
    """A sweep of 2 delays x 3 rates x 4 seeds as a mapping; ``changes`` replace keys of
    sections.
    """
    given = {
        "models": {"units": 6, "scheme": "fixed_readout"},
        "task": {"name": "DelayedActivation"},
        "training": {"epochs": 12, "engine": "reference", "dtype": "float64"},
        "shards": {"networks": 4},
        "grid": {
            "task": {"delay": [30, 50]},
            "training": {"learning_rate": {"logspace": [0.01, 1.0, 3]}},
            "models": {"seed": {"range": [4]}},
        },
    }
    given = copy.deepcopy(given)
    for section, keys in changes.items():
        given[section] = {**given.get(section, {}), **keys}
    return given
