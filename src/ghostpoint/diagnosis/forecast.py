"""When a plateau of this library's own trainings will end, where the theory says so."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError
from ghostpoint.results import TrainingRun
from ghostpoint.theory import Plateau
from ghostpoint.theory.plateau import LEVEL

__all__ = ["plateau_ends"]


def plateau_ends(run: TrainingRun) -> NDArray[np.float64]:
    """Epoch at which each network's loss will fall below 0.9 of its plateau, (R,); NaN where not
    known.

    The theory (:class:`ghostpoint.theory.Plateau`) starts from the weights after the last update.
    It is asked for networks whose last recorded loss is above that level and that still move,
    trained by plain or heavy-ball gradient descent without a remedy. A readout of the state waits
    at half the chance loss, and its plateau ends at half the level. Adam's memory is not part of a
    run, so its plateaus are not told.
    """
    ends = np.full(len(run.models), np.nan)
    descent = re.fullmatch(r"SGD\(momentum=([0-9.e+-]+)\)", str(run.config.get("optimizer")))
    if run.task is None or descent is None or run.config.get("remedy") or not run.history.sizes["epoch"]:
        return ends
    height = run.task.chance_loss / (1 if getattr(run.models, "w_out", None) is None else 2)
    last = run.history["loss"].values[:, -1]
    waits = (last > LEVEL * height) & (last < height / LEVEL) & (run.events["frozen"].values < 0)
    waiting = np.flatnonzero(waits)
    rate, momentum = run.history["learning_rate"].values[waiting].astype(float), float(descent[1])
    try:
        plateau = Plateau.of(run.models[waiting], run.task)
    except InputError:  # another network or task
        return ends
    length = np.ceil(plateau.length(rate, momentum=momentum))
    known = plateau.valid(rate, momentum=momentum)
    ends[waiting[known]] = run.config["epochs_done"] + length[known]
    return ends
