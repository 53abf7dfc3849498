"""A run's remedies at work: what becomes of an update, per network and epoch, from the few numbers the rules need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ghostpoint.remedies import spans
from ghostpoint.remedies.crossings import Crossing, crossings
from ghostpoint.remedies.records import (
    CRITICAL_SHIFT,
    ConfidenceSchedule,
    HazardLimit,
    ReduceRate,
    Remedy,
    Rewind,
    TrustRegion,
    allowed,
    scale,
)
from ghostpoint.tasks import Task, Trial

__all__ = ["Acting", "Near", "Step"]

#: least squared share of an update's length that what is at right angles to the span is taken to have: below it, it is
#: the rounding of float32 gradients, and multiplying that up would be a random walk
RESOLVED = 1e-6

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Near:
    """What the trust region needs to know about a crossing, one value per network.

    ``crossed``, ``time`` and ``peak`` as :meth:`Crossing.measure` gives them. Of the gradient e of the time (where
    crossed) or the peak, ``slope`` is the norm, ``shift`` the inner product with the update that the optimiser
    proposes, ``by_loss`` that with the gradient of the loss, and ``others`` those with the gradients of the crossings
    up to and including this one, (R, number of these); the last two are for a region that splits updates.
    """

    crossing: Crossing
    crossed: NDArray[np.bool_]
    time: NDArray[Any]
    peak: NDArray[Any]
    slope: NDArray[Any]
    shift: NDArray[Any]
    by_loss: NDArray[Any]
    others: NDArray[Any]


@dataclass(frozen=True)
class Step:
    """What becomes of R updates: d is replaced by ``factor d + sum_i weights[:, i] e_i``, e_i the gradients.

    ``scale`` is the length of that over the length of d, exactly ``factor`` where no weight counts.
    """

    factor: NDArray[np.float64]
    weights: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def acts(self) -> NDArray[np.bool_]:
        """Where d is changed."""
        return np.asarray((self.factor != 1) | (self.weights != 0).any(axis=1))


class Acting:
    """The state of a run's remedies over R networks.

    ``rate`` is what entries into the no-learning zone have left of the learning rate; all predictions are about the
    update that is already multiplied by it.
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
        """Which networks enter the no-learning zone in this epoch; to be asked once an epoch, before :meth:`step`."""
        if self.entry is None:
            return np.zeros(len(above), bool)
        self.last_above[above] = epoch
        entering = (self.last_above >= 0) & (epoch - self.last_above >= self.entry.patience)
        self.last_above[entering] = -1
        self.rate[entering] *= self.entry.factor
        return np.asarray(entering)

    def step(
        self,
        loss: NDArray[Any],
        gradient_norm: NDArray[Any],
        update_norm: NDArray[Any],
        ascent: NDArray[Any],
        approached: Sequence[Near],
    ) -> Step:
        """What becomes of the updates.

        Parameters
        ----------
        loss, gradient_norm, update_norm, ascent : (R,)
            L, ``|grad L|`` before clipping, ``|d|`` and ``grad L . d``, d being the update that the optimiser proposes.
        approached : list
            The :meth:`wanted` crossings.
        """
        region = self.region if approached else None
        factor = np.full(len(loss), np.inf if region else 1.0)
        share = np.asarray(loss, np.float64) / self.task.chance_loss
        length = self.rate * np.asarray(update_norm, np.float64)
        if self.hazard is not None:
            hazard = np.asarray(gradient_norm, np.float64) * length / (CRITICAL_SHIFT * self.task.chance_loss)
            factor = np.minimum(factor, scale(hazard, self.hazard.limit))
        none = np.zeros((len(loss), len(approached)))
        if region is None:
            return Step(self.rate * factor, none, self.rate * factor)
        if region.split:
            return self._split(region, factor, loss, gradient_norm, length, ascent, approached)
        for near in approached:
            moved = region.prediction(near.crossed, self.rate * near.shift, near.slope * length)
            limit = region.limit(near.crossed, near.time, near.peak, near.crossing.delay, share, ascent)
            factor = np.minimum(factor, scale(moved, limit, region.growth))
        return Step(self.rate * factor, none, self.rate * factor)

    def _split(
        self,
        region: TrustRegion,
        most: NDArray[Any],
        loss: NDArray[Any],
        gradient_norm: NDArray[Any],
        length: NDArray[Any],
        ascent: NDArray[Any],
        approached: Sequence[Near],
    ) -> Step:
        """The rule of a region that splits; ``most`` is what else limits the factors."""
        crossed = np.stack([near.crossed for near in approached], axis=1)
        gram = np.zeros((*crossed.shape, crossed.shape[1]))
        for i, near in enumerate(approached):
            gram[:, i, : i + 1] = near.others
            gram[:, : i + 1, i] = near.others
        span = spans.factor(gram, crossed)
        of_update = span.coordinates(self.rate[:, None] * np.stack([near.shift for near in approached], axis=1))
        of_loss = span.coordinates(np.stack([near.by_loss for near in approached], axis=1))
        inside = (of_update**2).sum(axis=1)
        aside = np.sqrt(np.maximum(length**2 - inside, RESOLVED * length**2))
        slope_aside = np.sqrt(np.maximum(np.asarray(gradient_norm, np.float64) ** 2 - (of_loss**2).sum(axis=1), 0.0))
        share, free = np.asarray(loss, np.float64) / self.task.chance_loss, np.full(len(loss), np.inf)
        rest, along = np.full((2, len(loss)), np.inf)
        if region.polyak < np.inf:
            rest = allowed(slope_aside * aside, region.polyak * np.asarray(loss, np.float64), region.growth)
        rest = np.minimum(most, np.minimum(rest, region.growth))
        for near in approached:
            seen = near.crossed, near.time, near.peak, near.crossing.delay
            size = np.where(near.crossed, region.tilt * near.slope * aside, near.slope * length)
            rest = np.minimum(rest, allowed(size, region.limit(*seen, free, ascent), region.growth))
            moved = allowed(np.abs(self.rate * near.shift), region.limit(*seen, share, ascent), region.growth)
            along = np.where(near.crossed, np.minimum(along, moved), along)
        rest = np.where((length > 0) & (rest < np.inf), rest, 1.0)  # what nothing limits is left alone
        along = np.minimum(along, rest)
        weights = (along - rest)[:, None] * span.combination(of_update)
        part = inside / np.where(length > 0, length**2, 1.0)
        mixed = np.sqrt(along**2 * part + rest**2 * np.maximum(1 - part, 0.0))
        made = np.where((weights != 0).any(axis=1), mixed, rest)
        return Step(self.rate * rest, weights, self.rate * made)
