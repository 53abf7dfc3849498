"""Proofs about relu networks, whose flow is linear wherever no unit's drive changes its sign.

Let ``u = B x + c`` be the drives at a point, D the diagonal matrix of (u > 0). Within every
distance ``r < min_k |u_k| / |b_k|`` of the point (b_k is row k of B) no drive changes its sign, and

    F(y) = (A D B - 1) y + A D c

exactly. With an approximate inverse C of ``J = A D B - 1`` and ``Z >= |1 - C J|`` below 1, J is not
singular, so F has one zero at most in that ball. ``y - C F(y)`` contracts with Z: there is one
within ``|C F(x)| / (1 - Z)``, if that is within the ball too. Regions and their zeros as in Brenner
et al., "Tractable dendritic RNNs for reconstructing nonlinear dynamical systems", ICML 2022. All
bounds include the rounding of their own computation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field, UnitField
from ghostpoint.slow_points.ghosts import GhostSolution, inverse
from ghostpoint.slow_points.proofs.certificates import Operator, newton_ball
from ghostpoint.slow_points.proofs.certifier import Certificate, Certifier, Proven
from ghostpoint.slow_points.proofs.rounding import gamma, norm, row_norms


class InLinearRegion(Certifier):
    """That a zero is the only one of its linear region near it, of a relu network."""

    in_tracking = True

    def __init__(self, field: Field, metric: Floats | None = None):
        assert isinstance(field, UnitField)
        self.field = field
        self.rows = row_norms(field.B)

    @classmethod
    def knows(cls, field: Field) -> bool:
        """Relu networks."""
        return isinstance(field, UnitField) and field.unit == "relu"

    def prove(self, kappa: Floats, ghost: GhostSolution | None, before: Certificate) -> list[Proven]:
        """By the linear equations of the region; a zero at a kink is left undecided."""
        if ghost is not None:
            reason = "minima of the speed of a relu network lie at kinks, where nothing is proven of them"
            return [Proven(kappa, ghost, Certificate("undecided", reason=reason))]
        return [Proven(kappa, None, self._zero(kappa))]

    def _zero(self, x: Floats) -> Certificate:
        B, c, size = self.field.B, self.field.c, self.field.size
        u = B @ x + c
        e_u = gamma(size + 2.0) * (np.abs(B) @ np.abs(x) + np.abs(c)) * (1 + 1e-12) + 1e-300
        room = (np.abs(u) - e_u) / (self.rows + 1e-300) * (1 - 1e-12)
        nearest = int(room.argmin())
        reach = float(room[nearest])
        if not reach > 0:
            return Certificate("undecided", reason=f"unit {nearest} is at its kink: its drive is 0 within rounding")
        on = u > 0
        rates, e_rates = np.where(on, u, 0.0), np.where(on, e_u, 0.0)
        f, e_f = self._residual(x, rates, e_rates)
        J, e_J = self._jacobian(on)
        C = inverse(J)
        if C is None:
            return Certificate("undecided", reason="the Jacobian of the linear region is singular")
        length = norm(C)
        defect = norm(C @ J - np.eye(size))
        defect += (gamma(size + 2.0) * length * norm(J) + length * e_J + norm(np.ones(size)) * gamma(2.0)) * (1 + 1e-12)
        ball = newton_ball(Operator(C, length, defect, 0.0).first_step(f, e_f), defect, 0.0)
        if ball is None or not ball[0] < reach:
            reason = f"the zero of the linear region is not proven to lie in it: its boundary is {reach:.3g} away"
            return Certificate("undecided", reason=reason)
        return Certificate("fixed", radius=ball[0], unique_radius=reach)

    def _residual(self, x: Floats, rates: Floats, e_rates: Floats) -> tuple[Floats, Floats]:
        """F, and bounds of its errors."""
        if self.field.A is None:
            f: Any = rates - x
            return f, (e_rates + gamma(1.0) * np.abs(f)) * (1 + 1e-12) + 1e-300
        absolute = np.abs(self.field.A)
        f = self.field.A @ rates - x
        rounded = gamma(len(rates) + 4.0) * (absolute @ (rates + e_rates) + np.abs(x))
        return f, (absolute @ e_rates * (1 + gamma(len(rates) + 2.0)) + rounded) * (1 + 1e-12) + 1e-300

    def _jacobian(self, on: Any) -> tuple[Floats, float]:
        """``A D B - 1`` in the region, and a bound of its error's norm."""
        size = self.field.size
        inner = np.where(on[:, None], self.field.B, 0.0)
        if self.field.A is None:
            J = inner - np.eye(size)
            return J, gamma(1.0) * norm(J) + 1e-300
        J = self.field.A @ inner - np.eye(size)
        rounded = gamma(len(on) + 2.0) * norm(np.abs(self.field.A) @ np.abs(inner)) * (1 + gamma(len(on) + 2.0))
        return J, (rounded + gamma(1.0) * norm(J)) * (1 + 1e-12) + 1e-300 * math.sqrt(size)
