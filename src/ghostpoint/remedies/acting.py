"""A run's remedies at work: one factor per network and epoch, from the few numbers that the rules need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ghostpoint.remedies.crossings import Crossing, crossings
from ghostpoint.remedies.records import (
    CRITICAL_SHIFT,
    ConfidenceSchedule,
    HazardLimit,
    ReduceRate,
    Remedy,
    Rewind,
    TrustRegion,
    scale,
)
from ghostpoint.tasks import Task, Trial

__all__ = ["Acting", "Near"]

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Near:
    """What the trust region needs to know about a crossing, one value per network.

    ``crossed``, ``time`` and ``peak`` as :meth:`Crossing.measure` gives them; ``slope`` is the norm of the gradient of
    the time (where crossed) or the peak, and ``shift`` its inner product with the update that the optimiser proposes.
    """

    crossing: Crossing
    crossed: NDArray[np.bool_]
    time: NDArray[Any]
    peak: NDArray[Any]
    slope: NDArray[Any]
    shift: NDArray[Any]


class Acting:
    """The state of a run's remedies over R networks.

    The factor of an epoch is ``rate min(1, limits / predictions)``: ``rate`` is what entries into the no-learning zone
    have left of the learning rate, and the predictions are about the update that is already multiplied by it.
    """

    def __init__(self, remedies: Sequence[Remedy], task: Task, activation: str, networks: int):
        def one(kind: type[Kind]) -> Kind | None:
            return next((remedy for remedy in remedies if isinstance(remedy, kind)), None)

        self.schedule, self.region = one(ConfidenceSchedule), one(TrustRegion)
        self.hazard, self.entry = one(HazardLimit), one(ReduceRate)
        self.task, self.activation = task, activation
        self.rate = np.ones(networks)
        self.acted = np.zeros(networks, np.int64)
        self.last_above = np.full(networks, -1, np.int64)  # -1 too after an entry, until chance is passed again
        self.lowest = np.full(networks, np.inf)
        self.fixed: list[Crossing] | None = None

    @property
    def memoryless(self) -> bool:
        """Whether what is done depends on the present epoch alone, so that an update that changes nothing is the
        last."""
        return self.schedule is None and self.entry is None

    @property
    def rewinds(self) -> bool:
        """Whether the parameters of the lowest loss are to be kept."""
        return isinstance(self.entry, Rewind)

    def sharpness(self, epoch: int) -> float:
        """What the readout's logit is multiplied by."""
        return 1.0 if self.schedule is None else self.schedule.factor(epoch)

    def wanted(self, trial: Trial) -> list[Crossing]:
        """The crossings to look at in an epoch's trials."""
        if self.region is None:
            return []
        if self.task.random:
            return crossings(self.task, trial, self.activation, self.region.crossings)
        if self.fixed is None:
            self.fixed = crossings(self.task, trial, self.activation, self.region.crossings)
        return self.fixed

    def improved(self, loss: NDArray[Any]) -> NDArray[np.bool_]:
        """Which networks have their lowest loss so far; to be asked once an epoch."""
        better = loss < self.lowest
        self.lowest = np.where(better, loss, self.lowest)
        return np.asarray(better)

    def entered(self, epoch: int, above: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which networks enter the no-learning zone in this epoch; to be asked once an epoch, before :meth:`factor`."""
        if self.entry is None:
            return np.zeros(len(above), bool)
        self.last_above[above] = epoch
        entering = (self.last_above >= 0) & (epoch - self.last_above >= self.entry.patience)
        self.last_above[entering] = -1
        self.rate[entering] *= self.entry.factor
        return np.asarray(entering)

    def factor(
        self,
        loss: NDArray[Any],
        gradient_norm: NDArray[Any],
        update_norm: NDArray[Any],
        ascent: NDArray[Any],
        approached: Sequence[Near],
    ) -> NDArray[np.float64]:
        """What the updates are multiplied by, (R,).

        Parameters
        ----------
        loss, gradient_norm, update_norm, ascent : (R,)
            L, ``|grad L|`` before clipping, ``|d|`` and ``grad L . d``, d being the update that the optimiser proposes.
        approached : list
            The :meth:`wanted` crossings.
        """
        factor = np.full(len(loss), np.inf if self.region and approached else 1.0)
        share = np.asarray(loss, np.float64) / self.task.chance_loss
        length = self.rate * np.asarray(update_norm, np.float64)
        if self.region is not None:
            for near in approached:
                moved = self.region.prediction(near.crossed, self.rate * near.shift, near.slope * length)
                limit = self.region.limit(near.crossed, near.time, near.peak, near.crossing.delay, share, ascent)
                factor = np.minimum(factor, scale(moved, limit, self.region.growth))
        if self.hazard is not None:
            hazard = np.asarray(gradient_norm, np.float64) * length / (CRITICAL_SHIFT * self.task.chance_loss)
            factor = np.minimum(factor, scale(hazard, self.hazard.limit))
        return np.asarray(self.rate * factor)
