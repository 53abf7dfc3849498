"""Where the loss of a network drops, for the networks of rank two and of full rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ghostpoint.experiments.shared.full_rank_runs import LEARNED

#: the drop of the loss begins at this share of the plateau, the best loss that no cue is needed for
DROP_FROM = 0.9
#: a drop is abrupt when it takes less than this share of the epochs before it (as for Fig. 3A)
ABRUPT = 0.05
#: recorded losses in the running median by which a drop is judged
WINDOW = 15


def running_median(loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over :data:`WINDOW` recorded epochs around each, of losses (network, epoch); mirrored
    at the ends.
    """
    return np.asarray(median_filter(loss, size=(1, WINDOW), mode="reflect"))


def drops(
    epoch: NDArray[np.int64], loss: NDArray[np.float64], plateau: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the drop of each network begins and ends, by the running median of its loss in units of
    chance.

    It ends at the first of the recorded epochs below :data:`LEARNED`, -1 for never. It begins at
    the last one before that with at least :data:`DROP_FROM` of ``plateau``, 0 if there is none, and
    -1 where it never ends. The plateau is `best_blind_loss`: 1 for cue discrimination and 1/2 for
    match to sample, where networks that have learned when to answer wait for long before they learn
    what.
    """
    middle = running_median(loss)
    low = middle < LEARNED
    end = np.where(low.any(axis=1), epoch[low.argmax(axis=1)], -1)
    high = (middle >= DROP_FROM * plateau) & (epoch < end[:, None])
    last = epoch[len(epoch) - 1 - high[:, ::-1].argmax(axis=1)]
    return np.where(end < 0, -1, np.where(high.any(axis=1), last, 0)), end
