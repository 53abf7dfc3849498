"""The critical rate as it is measured: training on a grid of rates, and which probes end in the
no-learning zone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, number, shape
from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.tasks import Task
from ghostpoint.training import Computing, train

#: 29 rates from 10**-4.5 to 10**-0.3, a factor 1.41 apart
GRID: NDArray[np.float64] = 10.0 ** np.linspace(-4.5, -0.3, 29)
#: updates of a measurement
EPOCHS = 30_000
#: accuracy that a network must have exceeded to count as having learned, as a share of the way from
#: chance to 1
LEARNED = 0.5
#: network-epochs whose history is held at a time: about 100 MB
HELD = 6_000_000


@dataclass(frozen=True)
class Probes:
    """What became of R networks at each of P rates.

    Attributes
    ----------
    rates : (P,)
        Ascending.
    learned, lost : (P, R) bool
        Lost: learned, and at chance or below it in each of the last 50 epochs (or since it
        stopped changing).
    learned_at, lost_at : (P, R) int
        First epoch as a network that has learned, and first of the epochs at chance for good; -1
        for never.
    """

    rates: NDArray[np.float64]
    learned: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    learned_at: NDArray[np.int64]
    lost_at: NDArray[np.int64]

    @property
    def critical(self) -> NDArray[np.float64]:
        """The lowest rate at which each network is lost, (R,); NaN where none loses it."""
        return np.where(self.lost.any(axis=0), self.rates[self.lost.argmax(axis=0)], np.nan)

    @property
    def bound(self) -> NDArray[np.bool_]:
        """Whether :attr:`critical` is an upper bound only, (R,).

        At the rate just below it the network did not learn, or there is none, so nothing is known
        of lower rates. More epochs are needed.
        """
        first = self.lost.argmax(axis=0)
        below = self.learned[np.maximum(first - 1, 0), np.arange(self.lost.shape[1])]
        return np.asarray(self.lost.any(axis=0) & ((first == 0) | ~below))

    @property
    def kept(self) -> NDArray[np.float64]:
        """The rate of the grid just below :attr:`critical`; 0 where that is the grid's lowest, NaN
        with it.
        """
        below = np.concatenate([[0.0], self.rates])[self.lost.argmax(axis=0)]
        return np.where(self.lost.any(axis=0), below, np.nan)


def probe(
    models: Record,
    task: Task,
    rates: ArrayLike = GRID,
    epochs: int = EPOCHS,
    *,
    optimizer: Any = "sgd",
    learned: float = LEARNED,
    on_progress: Callable[[int], None] | None = None,
    engine: str | Computing = "auto",
    **keywords: Any,
) -> Probes:
    """Train every network at every rate, as stacks of probes, and see which are lost.

    The critical rate is the lowest rate of the grid at which a network first exceeds an accuracy
    (0.75 where chance is 0.5) and then ends at chance or below. Not every rate above it loses the
    network, so a bisection would find some rate at which it turns from kept to lost, not the
    lowest: the whole grid is trained.

    Parameters
    ----------
    rates : (P,) array
        Ascending and positive.
    epochs : int
        More than the 50 over which a lost network must stay at chance.
    optimizer
        As for :func:`ghostpoint.train`.
    learned : float
        Which accuracy counts as learned, as a share of the way from chance to 1.
    on_progress : callable, optional
        Called with network-epochs done.
    engine, keywords
        For :func:`ghostpoint.train`; ``engine`` hears of progress by ``on_progress`` alone.
    """
    grid = shape("rates", finite_array("rates", rates), ("P",))
    if not grid.size or (grid <= 0).any() or (np.diff(grid) <= 0).any():
        raise InputError(f"rates must be positive and ascending, at least one, got {grid}")
    epochs = integer("epochs", epochs, at_least=NO_LEARNING_WINDOW + 1)
    level = task.chance_accuracy + number("learned", learned, above=0) * (1 - task.chance_accuracy)
    networks, count = len(models), len(models) * len(grid)
    # probe i trains network i mod R at rate i div R; as many at once as histories leave room for
    order = np.arange(count)
    at_once = max(1, HELD // epochs)
    learned_at, lost_at = (np.full(count, -1, np.int64) for _ in range(2))
    for start in range(0, count, at_once):
        rows = order[start : start + at_once]
        run = train(
            models[rows % networks],
            task,
            grid[rows // networks],
            epochs,
            optimizer=optimizer,
            record="all",
            engine=replace(Computing.of(engine), on_progress=on_progress, on_interrupt="raise"),
            **keywords,
        )
        learned_at[rows], lost_at[rows] = fates(run.history["accuracy"].values, level, task.chance_accuracy)
    table = (len(grid), networks)
    when, gone = learned_at.reshape(table), lost_at.reshape(table)
    return Probes(grid, when >= 0, gone >= 0, when, gone)


def fates(accuracy: NDArray[Any], level: float, chance: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From accuracies (probes, epochs): the first epoch above ``level``, and the first of those at
    chance for good.

    -1 for never. Chance for good begins after the last epoch above it; it must come after the first
    epoch above ``level`` and last for the whole window of the article's rule.
    """
    epochs = accuracy.shape[1]
    above, learned = accuracy > chance, accuracy > level
    first = np.where(learned.any(axis=1), learned.argmax(axis=1), -1)
    last = np.where(above.any(axis=1), epochs - 1 - above[:, ::-1].argmax(axis=1), -1)
    lost = (first >= 0) & (last < epochs - NO_LEARNING_WINDOW)
    return first, np.where(lost, last + 1, -1)
