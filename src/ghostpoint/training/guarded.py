"""The rule of :class:`ghostpoint.remedies.Guard` for one network: what it has seen, the trials of
an update, and what is made of their answers.

How a network is evaluated is left to those that train: ``by_epoch/tried_updates.py`` and
``compiled/guarded_network.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.memory import aligned
from ghostpoint.numerics.rises import SAFE, Lowest, is_tried, room, spread
from ghostpoint.numerics.stiff_directions import StiffParts, stiff_directions
from ghostpoint.remedies import Guard
from ghostpoint.training.kernels import secants

Floats = NDArray[np.float64]
#: the largest and the smallest factor after a refusal
SHRINK, LEAST = 0.7, 0.05
#: rounding errors of a loss that are no rise of it, in multiples of the precision; and how many
#: times larger a loss may be that rounding of the outputs explains
ROUNDING, WIDEST = 4.0, 10.0
#: lengths of rounding below which an update moves next to nothing
NOTHING = 100.0


class Secants:
    """The newest pairs ``y = g - g_previous``, ``s = theta - theta_previous`` of a network.

    Only the y are kept, at most ``count`` of ``size`` numbers in ``dtype``, and inner products.
    """

    def __init__(self, count: int, size: int, dtype: Any):
        self.rows = aligned(count * size, dtype).reshape(count, size)
        self.order: list[int] = []  # the rows of the y, newest first
        self.gram: Floats = np.zeros((0, 0))  # y_i . y_j, newest first
        self.cross: Floats = np.zeros((0, 0))  # s_i . y_j of the newer i

    def add(self, y: Floats, s: Floats) -> None:
        """Keep a pair in place of the oldest; one without length says nothing and is left out."""
        if not (len(self.rows) and 0 < y @ y < np.inf and 0 < abs(y @ s) < np.inf):
            return
        row = self.order.pop() if len(self.order) == len(self.rows) else len(self.order)
        self.order.insert(0, row)
        self.rows[row] = y
        self.gram, self.cross = _grown(self.gram, self.products(y)), _grown(self.cross, self.products(s))

    def products(self, vector: Floats) -> Floats:
        """Inner products of the K y with a vector, (K,)."""
        found = np.empty(len(self.order))
        secants.products(self.rows, len(self.order), vector, found)
        return found[self.order]

    def added(self, coefficients: Floats, vector: Floats) -> Floats:
        """``v + sum_j a_j y_j``."""
        found, by_row = vector.copy(), np.empty(len(self.order))
        by_row[self.order] = coefficients
        secants.add_combination(self.rows, by_row, found)
        return found

    def directions(self) -> tuple[Floats, Floats]:
        """Coefficients (S, K) of the stiff directions in the y_j, and the curvatures (S,)."""
        return stiff_directions(self.gram, self.cross, conjugate=_conjugate)


def _conjugate(cross: Floats) -> tuple[Floats, Floats]:
    """:func:`ghostpoint.numerics.stiff_directions.conjugate_steps`, compiled."""
    steps, curvatures = np.zeros(cross.shape), np.zeros(len(cross))
    found = secants.conjugate(cross, steps, curvatures)
    return steps[:found], curvatures[:found]


class Guarded:
    """What the guard knows of one network of ``size`` numbers, which are trained in ``dtype``."""

    def __init__(self, rule: Guard, size: int, dtype: Any):
        self.rule, self.factor = rule, 1.0
        self.first, self.lowest = np.inf, Lowest()
        self.secants = Secants(rule.secants, size, dtype)
        self.last: tuple[Floats, Floats] | None = None  # parameters and gradient
        self.stiff: StiffParts | None = None
        # whether all lengths down to rounding were refused, how many others were tried, and for how
        # many updates that has been so
        self.exhausted, self.lengths, self.resting = False, 0, 0
        # D of the last update, where its first trial was accepted
        self.distance: float | None = None

    def learn(self, theta: Floats, gradient: Floats, loss: float) -> Floats:
        """Make a pair of the last gradient and this one; the gradient without its stiff part."""
        self.first = loss if self.first == np.inf else self.first
        self.lowest.see(loss, self.rule.gain)
        if self.last is not None:
            self.secants.add(gradient - self.last[1], theta - self.last[0])
        self.last = theta, gradient
        self.theta, self.loss, self.stiff = theta, loss, None
        combine, curvature = self.secants.directions()
        if not len(curvature):
            return gradient
        self.stiff = StiffParts(combine, curvature, combine @ self.secants.products(gradient))
        rest = self.secants.added(-self.stiff.gradient, gradient)
        self.rest = float(np.linalg.norm(rest))
        return rest

    def propose(self, d: Floats, precision: float, rounded: float) -> None:
        """Begin the trials of an update; ``rounded`` is D of outputs that rounding tells apart."""
        rule, stiff = self.rule, self.stiff
        along = np.zeros(0) if stiff is None else stiff.combine @ self.secants.products(d)
        beside = max(float(d @ d - along @ along), 0.0) ** 0.5
        size = float(np.linalg.norm(self.theta))
        stuck = rule.is_stuck(self.lowest.loss, self.first, self.lowest.waited)
        cap = rule.farthest(stuck)
        begun = self.factor
        if beside > 0 and size > 0:
            # after lengths that were all refused, the factor is one of these
            factor, cap = (rule.growth, min(cap, 1.0)) if self.exhausted else (begun, cap)
            begun = min(factor, cap * size / beside)
        self.whole = begun * d
        if stiff is not None:
            rate = begun * beside / self.rest if self.rest > 0 else np.inf
            self.whole = self.secants.added(stiff.correction(begun, along, rate), self.whole)
        self.far = max(rule.kappa**2 * self.loss, rounded)
        self.most = rule.most(self.lowest.loss, self.first, stuck) + ROUNDING * precision * self.loss
        if self.most <= rounded:  # a rise that rounding explains
            self.most = min((self.most**0.5 + 0.5 * rounded**0.5) ** 2, WIDEST * self.most)
        self.begun, self.share, self.tried, self.open, self.finite = begun, 1.0, 0, True, False
        length = float(np.linalg.norm(self.whole))
        self.least = precision * size / length if 0 < length < np.inf else 0.0
        self.resting = self.resting + 1 if self.exhausted else 0
        if self.exhausted and is_tried(self.resting):
            # one trial an update then, of lengths that fill all between rounding and the limit
            self.lengths += 1
            self.share = self.least ** (1 - spread(self.lengths)) if 0 < self.least < 1 else 1.0

    @property
    def step(self) -> Floats:
        """What the trial moves the parameters by; zeros for nothing, of an infinite update too."""
        return self.share * self.whole if self.share else np.zeros_like(self.whole)

    @property
    def trying(self) -> bool:
        """Whether the update has trials left."""
        if self.exhausted:
            return self.open and self.tried < is_tried(self.resting)
        return self.open and self.tried < self.rule.tries

    def judge(self, loss: float, distance: float) -> bool:
        """Whether a trial is accepted; else what is tried next is ``share`` of the first one."""
        rule, far = self.rule, self.far
        self.tried += 1
        finite = loss < np.inf and distance < np.inf
        self.finite = self.finite or finite
        if not finite:
            shrink = LEAST
        elif distance > far:
            shrink = min(max(SAFE * (far / distance) ** 0.5, LEAST), 0.5 if loss > self.most else SHRINK)
        elif loss > self.most:
            shrink = 0.5
        else:
            first = self.tried == 1
            expected = room(far, distance, self.distance if first else None)
            raised = min(rule.raised, max(expected, SHRINK)) * self.share
            if not first:
                raised = max(raised, rule.held)
            self.factor, self.open = min(rule.growth, raised * self.begun), False
            self.exhausted = self.exhausted and self.share < NOTHING * self.least
            self.distance = distance if first else None
            return True
        if not self.exhausted:
            self.share = max(self.share * shrink, min(self.share, self.least))
        return False

    def give_up(self) -> None:
        """No trial was accepted."""
        if not self.exhausted and self.finite:  # else no length is any good, or the last was one of many
            self.factor, self.exhausted = self.share * self.begun, 0 < self.share <= self.least
        self.share, self.open, self.distance = 0.0, False, None


def rounding_of(weighed_squares: Any, dtype: Any) -> Any:
    """D of outputs that rounding tells apart, from ``sum w o**2``."""
    return (2 * float(np.finfo(dtype).eps)) ** 2 * weighed_squares


def _grown(old: Floats, row: Floats) -> Floats:
    """A symmetric table with a new first row, as large as that."""
    found = np.empty((len(row), len(row)))
    found[1:, 1:] = old[: len(row) - 1, : len(row) - 1]
    found[0, :] = found[:, 0] = row
    return found
