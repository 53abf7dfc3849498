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
    """Epoch at which each network's loss will fall below 0.9 of chance, (R,); NaN where not known.

    The theory (:class:`ghostpoint.theory.Plateau`) starts from the weights after the last update.
    It is asked for networks whose last recorded loss is above that level and that still move,
    trained by plain or heavy-ball gradient descent without a remedy.
    """
    ends = np.full(len(run.models), np.nan)
    descent = re.fullmatch(r"SGD\(momentum=([0-9.e+-]+)\)", str(run.config.get("optimizer")))
    if run.task is None or descent is None or run.config.get("remedy") or not run.history.sizes["epoch"]:
        return ends
    last = run.history["loss"].values[:, -1]
    waiting = np.flatnonzero((last > LEVEL * run.task.chance_loss) & (run.events["frozen"].values < 0))
    rate, momentum = run.history["learning_rate"].values[waiting].astype(float), float(descent[1])
    try:
        plateau = Plateau.of(run.models[waiting], run.task)
    except InputError:  # another network or task
        return ends
    length = np.ceil(plateau.length(rate, momentum=momentum))
    known = plateau.valid(rate, momentum=momentum)
    ends[waiting[known]] = run.config["epochs_done"] + length[known]
    return ends
