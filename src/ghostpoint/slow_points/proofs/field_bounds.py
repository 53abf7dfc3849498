"""Bounds of a tanh field and its derivatives, everywhere and near a point, with every rounding.

Norms of vectors are Euclidean in the field's coordinates; |X| of a matrix X is bounded by its
Frobenius norm unless said. The centre is that of a ball in which a proof holds.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import TanhField
from ghostpoint.slow_points.proofs.certificate_kernels import drive_and_rates, residual
from ghostpoint.slow_points.proofs.rounding import EPS, gamma, norm, row_norms, spectral_norm, up

BEND = 0.7698003589195011  # max |tanh''| = 4 / (3 sqrt 3), rounded up
NEARBY = 1e-6  # how far the centre of a proof in more digits may be from the float64 point its inverse belongs to


class FieldBounds:
    """Norms of a field's weights, once for all of its candidates. ``metric`` is A A^T of latents,
    else None.
    """

    def __init__(self, field: TanhField, metric: Floats | None = None):
        self.field = field
        self.A = np.zeros((0, 0)) if field.A is None else np.ascontiguousarray(field.A)
        self.B = np.ascontiguousarray(field.B)
        self.c = np.ascontiguousarray(field.c)
        self.metric = metric
        self.norm_B = spectral_norm(self.B)
        self.norm_A = 1.0 if field.A is None else spectral_norm(self.A)
        self.rows = row_norms(self.B)
        self.columns = np.ones(len(self.c)) if field.A is None else row_norms(self.A.T)
        self.size = field.size

    @cached_property
    def lipschitz(self) -> float:
        """Of DF, everywhere."""
        return up(BEND * self.norm_A * float(self.rows.max()) * self.norm_B, 8)

    @cached_property
    def metric_norm(self) -> float:
        """|M|."""
        return 1.0 if self.metric is None else up(self.norm_A**2, 4)

    def metric_times(self, omega: Floats) -> tuple[Floats, float]:
        """``M omega`` for the exact M = A A^T, and a bound of the error's norm."""
        if self.metric is None:
            return omega, 0.0
        n = len(self.c) + self.size + 4.0
        return self.metric @ omega, up(gamma(n) * norm(self.A) ** 2 * norm(omega), 8)

    def pulled(self, p: Floats) -> tuple[Floats, float]:
        """``A^T p``, and a bound of the error of its elements."""
        if self.field.A is None:
            return p, 0.0
        return self.A.T @ p, up(gamma(self.size) * norm(self.A) * norm(p))

    def at(self, x: Floats) -> Local:
        """Everything that depends on the point."""
        return Local(self, x)


class Local:
    """F, J and what bounds them at one point, with the errors of the computed numbers."""

    def __init__(self, bounds: FieldBounds, x: Floats):
        self.bounds, self.x = bounds, np.ascontiguousarray(x)
        units = len(bounds.c)
        self.u, self.t, self.gain, self.e_t, self.e_gain = (np.empty(units) for _ in range(5))
        drive_and_rates(bounds.B, bounds.c, self.x, self.u, self.t, self.gain, self.e_t, self.e_gain)
        self.f, self.e_f = np.empty(bounds.size), np.empty(bounds.size)
        residual(bounds.A, self.t, self.e_t, self.x, self.f, self.e_f)
        weighted = self.gain[:, None] * bounds.B
        # |E_J| of J = A diag(gain) B - 1
        absolute = norm(self.e_gain * bounds.rows)
        self.J = weighted if bounds.field.A is None else bounds.A @ weighted
        size = norm(self.J)
        self.J.flat[:: bounds.size + 1] -= 1.0
        self.size_J = norm(self.J)
        if bounds.field.A is None:
            self.e_J = up(absolute + 2 * EPS * (size + self.size_J), 8)
        else:
            rounded = gamma(units + 4.0) * norm(np.abs(bounds.A) @ np.abs(weighted))
            spread = norm(bounds.columns * self.e_gain * bounds.rows) * math.sqrt(units)
            self.e_J = up(spread + rounded + 2 * EPS * self.size_J, 8)

    def second(self) -> tuple[Floats, Floats]:
        """(N,) tanh'' at the point, and bounds of the errors, products with it included."""
        return -2.0 * self.t * self.gain, 2.0 * self.e_t + 2.0 * self.e_gain + 8 * EPS

    def bend(self, radius: float) -> Floats:
        """(N,) bounds of |tanh''| within ``radius``."""
        here = 2.0 * np.abs(self.t) * (self.gain + self.e_gain + 8 * EPS) + 2.0 * self.e_t
        return np.minimum(BEND, (here + 2.0 * self.bounds.rows * radius) * (1 + 1e-12))

    def lipschitz(self, radius: float) -> float:
        """Of DF against the centre, within ``radius``: ``|A| max_k(|phi''_k| |b_k|) |B|``."""
        largest = float((self.bend(radius) * self.bounds.rows).max())
        return up(self.bounds.norm_A * largest * self.bounds.norm_B, 8)
