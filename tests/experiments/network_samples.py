"""The network experiments at a scale of seconds, for tests."""

from __future__ import annotations

from functools import cache

from ghostpoint.experiments import Silent, get

SMALL = {
    "ghost_without_bifurcation": {"epochs": 40_000, "flow_epochs": 60, "history_points": 300, "window": 1200},
    "collapse": {"seeds": [40, *range(16)], "flow_stride": 50, "epochs": 5000, "float64_too": True},
    "fixed_point_count": {"epochs": 3000, "segment": 900, "kept_stride": 7},
    "rates_rank_one": {"seeds": [0, 1, 2, 3], "rates": 12, "epochs": 3001, "epochs_shown": [100, 1000, 3000]},
    "confidence": {"seeds": list(range(20)), "confidences": 5, "recovery_epochs": 60, "roundings": 2},
    "trainable_confidence": {"seeds": [40, *range(12)], "epochs": 5000, "reset_epochs": 2000},
}


def parameters(id):
    return {**get(id).parameters["paper"], **SMALL[id]}


class Counted(Silent):
    """Progress that remembers what it was told."""

    def __init__(self):
        self.phases = []

    def phase(self, description, total, networks=None):
        self.phases.append([description, total, 0])

    def advance(self, amount):
        assert amount >= 0
        self.phases[-1][2] += amount


@cache
def sample(id):
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return get(id).run(parameters(id), progress), progress
