"""The trust region: keep the escape time, or the readout's peak, from moving far in one update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.checks import integer, number
from ghostpoint.errors import InputError
from ghostpoint.remedies import spans
from ghostpoint.remedies.crossings import Crossing
from ghostpoint.remedies.remedy import Near, Remedy, Step, Update
from ghostpoint.remedies.rules import CRITICAL_SHIFT, RESOLVED, allowed, scale
from ghostpoint.tasks import Task


@dataclass(frozen=True)
class TrustRegion(Remedy):
    """Keep the escape time, or the readout's peak, from moving far in one update, for any
    optimiser.

    For every crossing that the task wants (:class:`~ghostpoint.remedies.Crossing`), with T its
    delay, d the update that the optimiser proposes, L the loss, L0 the task's chance loss, e the
    gradient of the time t at which the readout crosses in the trial or, where it does not, of the
    peak g of its logit above the crossing's, and products over the trainable parts, these are the
    predictions and their limits:

    * where the readout crosses, of the time: ``|e . d|``, at most
      ``min(h, shrink L / L0) (3/8) min(T, t)``;
    * where it does not, of the peak: ``|e| |d|``, at most ``eta max(-g, floor)``.

    The limits of times and peaks are multiplied by ``brake`` where ``grad L . d > 0``. A limit
    allows the factor ``min(growth, limit / prediction)`` (:func:`scale`).

    With ``split`` (the default) d is taken apart, ``d = p + q`` with p in the span of the gradients
    of the times and q at right angles to it. Near a solution the loss is steep along p and flat
    along q, so a limit on p must not shorten q. q is multiplied by the smallest factor of the
    peaks, of ``tilt |e| |q|``, at most ``h (3/8) min(T, t)``, and of
    ``|grad L at right angles| |q|``, at most ``polyak L``; p by the smallest of that and of the
    factors of the times. |q| counts as at least 0.001 |d|: less is the rounding of float32. Without
    ``split`` all of d is multiplied by the smallest factor, and the prediction of a time is
    ``max(|e . d|, tilt |e| |d|)``.

    (3/8) T is what leads from the minimum of the toy model's loss to its point of no return
    (letter, eq. 15; the escape time there is T, and 2 T at r*/4). The share of it that one update
    may use falls with the loss, so that h does not set the end. It falls with t, because the escape
    time goes as r**(-1/2), so that a linear prediction is least to be trusted where the readout
    crosses early. The brake is for optimisers with memory, whose old direction leads uphill after
    an overshoot; without it networks trained with momentum or Adam are lost. The limit by
    ``polyak`` covers the part of the loss that does not depend on the crossing times: to first
    order no update may lower the loss by more than its value (after Polyak's step,
    ``L / |grad L|**2``).

    Parameters
    ----------
    h : float
        The largest share of (3/8) T by which one update may move the escape time.
    eta : float
        Share of the distance to the crossing by which one update may move the peak.
    shrink : float
        The share is at most this many times the loss over chance; ``inf`` keeps it at h.
    tilt : float
        From 0 to 1: how much of the length of an update counts whatever its direction, after the
        crossing. Before it all of it does: far from the threshold the linear prediction is too poor
        for its direction to be believed.
    brake : float
        Above 0, at most 1.
    floor : float
        Least distance, in units of the logit, of which eta is taken. 0.5 is 0.05 of the latent at
        confidence 10.
    growth : float
        An update is multiplied by this at most. At 1 it is only ever made smaller, so that a
        plateau is as long as the rate makes it; at ``inf`` every update is taken to the limit, and
        the length of what the optimiser proposes no longer matters, only the direction.
    crossings : int
        How many crossings are looked at in an epoch, the first ones; each costs a backward pass.
    split : bool
    polyak : float
        With ``split`` only; ``inf`` for no such limit. What it must guard is what the crossings do
        not show: where some trial or channel wants no crossing (delayed match to sample), 0.03 is
        needed.
    """

    h: float = 0.5
    eta: float = 0.7
    shrink: float = 3.0
    tilt: float = 0.3
    brake: float = 0.1
    floor: float = 0.5
    growth: float = 10.0
    crossings: int = 4
    split: bool = True
    polyak: float = 0.3

    def __post_init__(self) -> None:
        for name in ("h", "eta", "floor", "brake"):
            number(name, getattr(self, name), above=0)
        number("tilt", self.tilt, at_least=0)
        for name in ("tilt", "brake"):
            if getattr(self, name) > 1:
                raise InputError(f"{name} must be at most 1, got {getattr(self, name)!r}")
        for name in ("shrink", "polyak"):
            number(name, getattr(self, name), above=0, allow_inf=True)
        number("growth", self.growth, at_least=1, allow_inf=True)
        integer("crossings", self.crossings, at_least=1)
        if not isinstance(self.split, bool):
            raise InputError(f"split must be True or False, got {self.split!r}")

    watches = True

    def misfit(self, task: Task, wanted: Sequence[Crossing]) -> str:
        """Whether there is a crossing at all."""
        if wanted:
            return ""
        return (
            "remedy must have TrustRegion only for a task that wants the readout to cross between answers that count, "
            f"got it for {type(task).__name__}"
        )

    def wanted(self, found: list[Crossing]) -> list[Crossing]:
        """The first ``crossings`` ones."""
        return found[: self.crossings]

    def prediction(self, crossed: Any, along: Any, size: Any) -> NDArray[Any]:
        """How far an update that is not split moves the escape time or the peak, from
        ``along = e . d`` and ``size = |e| |d|``."""
        return np.where(crossed, np.maximum(np.abs(along), self.tilt * np.asarray(size)), size)

    def limit(self, crossed: Any, time: Any, peak: Any, delay: float, share: Any, ascent: Any) -> NDArray[Any]:
        """How far one update may move the escape time (in readings) or, where not crossed, the peak
        (in logits).

        Parameters
        ----------
        crossed, time, peak : (R,)
            As :meth:`Crossing.measure` gives them.
        delay : float
            T in readings.
        share : (R,)
            Loss over chance loss; ``inf`` leaves h.
        ascent : (R,)
            ``grad L . d``; only its sign matters.
        """
        with np.errstate(invalid="ignore"):
            most = np.fmin(self.h, self.shrink * np.asarray(share))  # an infinite shrink at no loss leaves h
        shift = most * CRITICAL_SHIFT * np.minimum(delay, time)
        free = np.where(crossed, shift, self.eta * np.maximum(-np.asarray(peak), self.floor))
        return np.where(np.asarray(ascent) > 0, self.brake * free, free)

    def limit_of(self, near: Near, share: Any, ascent: Any) -> NDArray[Any]:
        """:meth:`limit` at one crossing."""
        return self.limit(near.crossed, near.time, near.peak, near.crossing.delay, share, ascent)

    def largest_factor(self, update: Update) -> Any:
        """The smallest factor of all crossings, for a region that does not split."""
        factor: Any = np.inf
        for near in () if self.split else update.approached:
            moved = self.prediction(near.crossed, near.shift, near.slope * update.length)
            most = self.limit_of(near, update.share, update.ascent)
            factor = np.minimum(factor, scale(moved, most, self.growth))
        return factor

    def reshape(self, update: Update, most: NDArray[np.float64]) -> Step | None:
        """``d = p + q`` with p in the span of the gradients of the times, each with a factor of its
        own.
        """
        approached, length, loss, ascent = update.approached, update.length, update.loss, update.ascent
        if not (self.split and approached):
            return None
        # an orthonormal basis of the span, from inner products alone: coordinates of d and of grad
        # L
        crossed = np.stack([near.crossed for near in approached], axis=1)
        gram = np.zeros((*crossed.shape, crossed.shape[1]))
        for i, near in enumerate(approached):
            gram[:, i, : i + 1] = near.others
            gram[:, : i + 1, i] = near.others
        span = spans.factor(gram, crossed)
        of_update = span.coordinates(np.stack([near.shift for near in approached], axis=1))
        of_loss = span.coordinates(np.stack([near.by_loss for near in approached], axis=1))
        # |p|**2, |q| and the length of grad L at right angles to the span
        inside = (of_update**2).sum(axis=1)
        aside = np.sqrt(np.maximum(length**2 - inside, RESOLVED * length**2))
        slope_aside = np.sqrt(np.maximum(update.gradient_norm**2 - (of_loss**2).sum(axis=1), 0.0))
        # factors of q (rest) and of p (along)
        rest, along = np.full((2, len(loss)), np.inf)
        if self.polyak < np.inf:
            rest = allowed(slope_aside * aside, self.polyak * loss, self.growth)
        rest = np.minimum(most, np.minimum(rest, self.growth))
        for near in approached:
            size = np.where(near.crossed, self.tilt * near.slope * aside, near.slope * length)
            rest = np.minimum(rest, allowed(size, self.limit_of(near, np.inf, ascent), self.growth))
            moved = allowed(np.abs(near.shift), self.limit_of(near, update.share, ascent), self.growth)
            along = np.where(near.crossed, np.minimum(along, moved), along)
        rest = np.where((length > 0) & (rest < np.inf), rest, 1.0)  # what nothing limits is left alone
        along = np.minimum(along, rest)
        # along p + rest q = rest d + (along - rest) p, and p is a sum of the gradients
        weights = (along - rest)[:, None] * span.combination(of_update)
        part = inside / np.where(length > 0, length**2, 1.0)
        mixed = np.sqrt(along**2 * part + rest**2 * np.maximum(1 - part, 0.0))
        return Step(rest, weights, np.where((weights != 0).any(axis=1), mixed, rest))
