"""The published experiments, one file each; :data:`IDS` lists them in the order of the publication."""

from __future__ import annotations

from importlib import import_module

from ghostpoint.checks import one_of
from ghostpoint.experiments.shared.base import SCALES, Claim, Experiment, Progress, Silent

__all__ = ["IDS", "SCALES", "Claim", "Experiment", "Progress", "Silent", "get"]

IDS = (
    "toy_loss",
    "toy_descent",
    "toy_rates",
    "ghost_without_bifurcation",
    "collapse",
    "fixed_point_count",
    "before_the_drop",
    "latent_dcdt",
    "latent_dmts",
    "full_dcdt",
    "full_dmts",
    "rates_rank_one",
    "critical_rate_scaling",
    "rates_full_rank",
    "ranks",
    "rates_dcdt",
    "rates_dmts",
    "saturation_dmts",
    "confidence",
    "trainable_confidence",
    "intervention",
    "remedies",
)


def get(id: str) -> Experiment:
    """The experiment called ``id``, imported on first use.

    Raises
    ------
    ValueError
        If there is none; the message lists all.
    """
    one_of("experiment", id, IDS)
    experiment: Experiment = import_module(f"ghostpoint.experiments.{id}").EXPERIMENT
    return experiment
