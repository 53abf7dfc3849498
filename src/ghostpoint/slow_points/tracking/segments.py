"""A network between two recorded epochs, its weights interpolated linearly, and the curves of its
slow points.

At ``0 <= t <= 1`` every array of the network is ``(1 - t)`` times that of the first epoch plus t
times that of the second. A fixed point moves on a curve ``F(kappa; t) = 0``; a ghost, and through
its fold the pair of fixed points it turns into, on a curve of the bordered system of `ghosts` with
a signed speed s.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import NetworkField, StateField, TanhField
from ghostpoint.slow_points.ghosts import bordered_system

_APART = 1e-5  # of t, for central differences; all is smooth in t and the weights are linear


class Problem(Protocol):
    """G(X; t) = 0, as many equations as unknowns X."""

    def value(self, X: Floats, t: float) -> Floats:
        """G."""

    def derivative(self, X: Floats, t: float) -> Floats:
        """DG by X."""


class Segment:
    """The interpolated field; ``first`` and ``last`` are fields of the same kind and shape."""

    def __init__(self, first: TanhField | StateField, last: TanhField | StateField):
        self.first: Any = first
        self.last: Any = last

    def at(self, t: float) -> TanhField | StateField:
        """The field at t."""
        if t in (0.0, 1.0):
            return self.last if t else self.first
        return self.first.between(self.last, t)

    def metric(self, t: float) -> Floats | None:
        """``A A^T``, the metric of latents (see `fields`)."""
        return self.network(t).metric

    def network(self, t: float) -> NetworkField:
        """The field at t with its way back to the state."""
        field = self.at(t)
        A = field.A if isinstance(field, TanhField) else None
        return NetworkField(field, field, None, None if A is None else A @ A.T, None)


class ZeroCurve:
    """``F(kappa; t) = 0``."""

    def __init__(self, segment: Segment):
        self.segment = segment

    def value(self, X: Floats, t: float) -> Floats:
        """F."""
        return np.asarray(self.segment.at(t).flow(X[None])[0])

    def derivative(self, X: Floats, t: float) -> Floats:
        """The Jacobian of the flow."""
        return np.asarray(self.segment.at(t).jacobian(X[None])[0])


class FoldCurve:
    """The bordered system with X = (kappa, omega, s); s changes its sign where the curve passes a
    fold.
    """

    def __init__(self, segment: Segment):
        self.segment = segment

    def value(self, X: Floats, t: float) -> Floats:
        """The 2 K + 1 equations."""
        return self._system(X, t)[0]

    def derivative(self, X: Floats, t: float) -> Floats:
        """Their derivative."""
        return self._system(X, t)[1]

    def _system(self, X: Floats, t: float) -> tuple[Floats, Floats]:
        size = (len(X) - 1) // 2
        here = self.segment.network(t)
        return bordered_system(here.exact, here.metric, X[:size], X[size:-1], float(X[-1]))


def rate(problem: Problem, X: Floats, t: float) -> Floats:
    """The derivative of G by t."""
    return np.asarray((problem.value(X, t + _APART) - problem.value(X, t - _APART)) / (2 * _APART))
