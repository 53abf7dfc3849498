"""A run's remedies at work: what becomes of an update, per network and epoch, from the few numbers
the rules need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.remedies.crossings import Crossing, crossings
from ghostpoint.remedies.remedy import Near, Remedy, Step, Update
from ghostpoint.tasks import Task, Trial


class Acting:
    """The state of a run's remedies over R networks; :class:`Remedy` says how several of them work
    together.

    ``rate`` is what :meth:`react` has left of the learning rate. All predictions are about the
    update that is already multiplied by it.
    """

    def __init__(self, remedies: Sequence[Remedy], task: Task, activation: str, networks: int):
        self.remedies, self.task, self.activation = tuple(remedies), task, activation
        self.states: list[dict[str, Any]] = [{} for _ in remedies]
        self.rate = np.ones(networks)
        self.acted = np.zeros(networks, np.int64)
        self.lowest = np.full(networks, np.inf)
        self.fixed: list[Crossing] | None = None
        self.memoryless = all(one.memoryless for one in remedies)
        self.rewinds = any(one.rewinds for one in remedies)
        self.watches = any(one.watches for one in remedies)

    def sharpness(self, epoch: int) -> float:
        """What the readout's logit is multiplied by."""
        return float(np.prod([one.sharpness(epoch) for one in self.remedies]))

    def wanted(self, trial: Trial) -> list[Crossing]:
        """The crossings to look at in an epoch's trials."""
        if not self.watches:
            return []
        if self.fixed is None or self.task.random:
            found = crossings(self.task, trial, self.activation)
            self.fixed = max((one.wanted(found) for one in self.remedies), key=len)
        return self.fixed

    def improved(self, loss: NDArray[Any]) -> NDArray[np.bool_]:
        """Which networks have their lowest loss so far; to be asked once an epoch."""
        better = loss < self.lowest
        self.lowest = np.where(better, loss, self.lowest)
        return np.asarray(better)

    def react(self, epoch: int, loss: NDArray[Any], above: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which networks go back to their lowest loss, (R,); to be asked once an epoch, before
        :meth:`step`.

        Sets ``rate`` to the product of what the remedies leave of the learning rate.

        Parameters
        ----------
        epoch : int
        loss : (R,)
            At this epoch.
        above : (R,) bool
            Whether the accuracy is above chance.
        """
        back = np.zeros(len(above), bool)
        self.rate = np.ones(len(above))
        for remedy, state in zip(self.remedies, self.states, strict=True):
            reaction = remedy.react(epoch, loss, above, state)
            if reaction is not None:
                self.rate = self.rate * reaction.rate
                back |= reaction.back
        return back

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
            L, ``|grad L|`` before clipping, ``|d|`` and ``grad L . d``, d being the update that the
            optimiser proposes.
        approached : list
            The :meth:`wanted` crossings.
        """
        loss, norm, length = (np.asarray(values, np.float64) for values in (loss, gradient_norm, update_norm))
        near = [replace(one, shift=self.rate * one.shift) for one in approached]
        chance = self.task.chance_loss
        update = Update(loss, loss / chance, norm, self.rate * length, ascent, chance, near)
        most = np.full(len(loss), np.inf)
        for remedy in self.remedies:
            most = np.minimum(most, remedy.largest_factor(update))
        for remedy in self.remedies:
            made = remedy.reshape(update, most)
            if made is not None:
                return replace(made, factor=self.rate * made.factor, scale=self.rate * made.scale)
        factor = self.rate * np.where(most < np.inf, most, 1.0)
        return Step(factor, np.zeros((len(loss), len(near))), factor)
