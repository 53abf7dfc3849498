"""The published experiments, found by id through :data:`ghostpoint.catalogue.CATALOGUE`."""

from __future__ import annotations

from importlib import import_module

from ghostpoint.catalogue import CATALOGUE
from ghostpoint.checks import one_of
from ghostpoint.experiments.shared.base import SCALES, Claim, Experiment, Progress, Silent

__all__ = ["IDS", "SCALES", "Claim", "Experiment", "Progress", "Silent", "get"]

IDS = tuple(CATALOGUE)


def get(id: str) -> Experiment:
    """The experiment called ``id``, imported on first use.

    Raises
    ------
    ValueError
        If there is none; the message lists all.
    """
    file, entry = CATALOGUE[one_of("experiment", id, IDS)]
    experiment: Experiment = getattr(import_module(f"ghostpoint.experiments.{file}"), entry)
    return experiment
