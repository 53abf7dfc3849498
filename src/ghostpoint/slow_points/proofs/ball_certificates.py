"""The same proofs with F in ball arithmetic, for points so near a fold that float64 cannot tell.

Only the residuals need more digits: the approximate inverses are those of float64, whose defects
stay small until the slow eigenvalue nears 1e-13. Centres are sums of float64 steps kept in balls of
many bits (python-flint).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.numerics.balls import ball_precision
from ghostpoint.slow_points.ghosts import GhostSolution, bend_along, null_pair, solve_ghost
from ghostpoint.slow_points.proofs import certificates
from ghostpoint.slow_points.proofs.certificates import InFloat64
from ghostpoint.slow_points.proofs.certifier import Certificate, Proven
from ghostpoint.slow_points.proofs.field_bounds import FieldBounds
from ghostpoint.slow_points.proofs.rounding import EPS, norm

BITS = 256
STEPS = 40  # of Newton's method with one inverse: each gains the digits of its defect


class InBalls(InFloat64):
    """The proofs in :data:`BITS` bits: a candidate is one point, or the two zeros beside a fold."""

    in_tracking = False

    def proofs(self, kappa: Floats, ghost: GhostSolution | None, before: Certificate) -> list[Proven]:
        """By the steps of Newton's method in balls, first for a zero, then for the fold near it."""
        try:
            import flint
        except ImportError:
            reason = f"{before.reason} (python-flint, which would give more digits, is not installed)"
            return [Proven(kappa, ghost, before._replace(reason=reason))]
        with ball_precision(BITS):
            balls = _Balls(flint, self.bounds)
            # for the candidate of a zero, first a zero; else what the fold nearby is
            found: list[Proven] = []
            if ghost is None:
                found = _zero(balls, self.bounds, balls.vector(kappa))
            found = found or _fold(balls, self.bounds, kappa, ghost)
        reason = f"{before.reason}; nor do {BITS} bits decide"
        return found or [Proven(kappa, ghost, before._replace(reason=reason))]


class _Balls:
    """F and the bordered system in balls."""

    def __init__(self, flint: Any, bounds: FieldBounds):
        self.flint, self.bounds = flint, bounds
        self.B, self.c = self.matrix(bounds.B), self.vector(bounds.c)
        self.A = None if bounds.field.A is None else self.matrix(bounds.A)

    def matrix(self, array: Floats) -> Any:
        return self.flint.arb_mat(*array.shape, [float(value) for value in array.ravel()])

    def vector(self, array: Floats) -> Any:
        return self.matrix(np.asarray(array)[:, None])

    def column(self, values: list[Any]) -> Any:
        return self.flint.arb_mat(len(values), 1, values)

    def moved(self, x: Any, step: Floats) -> Any:
        """``x - step``, rounded to a vector of exact numbers."""
        return self.column([(a - float(d)).mid() for a, d in zip(x.entries(), step, strict=True)])

    def flow(self, x: Any) -> tuple[Any, Any]:
        """F(x) and tanh(B x + c)."""
        t = self.column([u.tanh() for u in (self.B * x + self.c).entries()])
        return (t if self.A is None else self.A * t) - x, t

    def bordered(self, x: Any, omega: Any, s: Any) -> Any:
        """The 2 K + 1 equations of `ghosts`."""
        # F - s M omega, J^T omega = B^T D A^T omega - omega, (omega . M omega - 1) / 2
        f, t = self.flow(x)
        pulled = omega if self.A is None else self.A.transpose() * omega
        weighted = omega if self.A is None else self.A * pulled
        scaled = self.column([p * (1 - v * v) for p, v in zip(pulled.entries(), t.entries(), strict=True)])
        last = ((omega.transpose() * weighted)[0, 0] - 1) / 2
        slope = self.B.transpose() * scaled - omega
        return self.column([*(f - weighted * s).entries(), *slope.entries(), last])

    def floats(self, balls: Any) -> tuple[Floats, Floats]:
        """Centres rounded to float64, and bounds of their distance from anything in the balls."""
        centres = np.array([float(value.mid()) for value in balls.entries()])
        radii = np.array([float(value.rad()) for value in balls.entries()])
        return centres, (radii + 2 * EPS * np.abs(centres)) * (1 + 8 * EPS) + 1e-300

    def distance(self, x: Any, centre: Floats) -> float:
        """A bound of |x - centre|."""
        value, error = self.floats(x - self.vector(centre))
        return norm(np.abs(value) + error)


def _zero(balls: _Balls, bounds: FieldBounds, x: Any) -> list[Proven]:
    """A proven zero near x, or nothing."""
    kappa = balls.floats(x)[0]
    here = bounds.at(kappa)
    operator = certificates.jacobian_operator(here)
    # Newton's method with the float64 inverse and residuals in balls, down to steps of 1e-60
    if operator is None or not operator.defect < 0.5:
        return []
    last = np.inf
    for _ in range(STEPS):
        value, error = balls.floats(balls.flow(x)[0])
        step = operator.C @ value
        size = float(np.linalg.norm(step))
        if not np.isfinite(size) or size > 1e-3:
            return []
        if size >= 0.5 * last or size < 1e-60:
            break
        x, last = balls.moved(x, step), size
    value, error = balls.floats(balls.flow(x)[0])
    # the last centre, rounded, is the position; what was computed at `here` holds a little way off
    position = balls.floats(x)[0]
    shift = balls.distance(x, kappa)
    proof = certificates.fixed_from_step(here, operator.moved(shift), operator.first_step(value, error), shift)
    if proof.kind != "fixed":
        return []
    rounding = balls.distance(x, position)
    radius, unique = (proof.radius + rounding) * (1 + 4 * EPS), (proof.unique_radius - rounding) * (1 - 4 * EPS)
    if not radius < unique:
        return []
    return [Proven(position, None, proof._replace(radius=radius, unique_radius=unique))]


def _fold(balls: _Balls, bounds: FieldBounds, kappa: Floats, ghost: GhostSolution | None) -> list[Proven]:
    """Resolve the fold near kappa: a proven ghost, or proven zeros on both sides, or nothing."""
    field, metric = bounds.field, bounds.metric
    fold = ghost if ghost is not None else solve_ghost(field, metric, kappa)
    if not fold.settled:
        return []
    here = bounds.at(fold.kappa)
    operator = certificates.ghost_operator(here, fold.omega, fold.speed)
    if operator is None or not operator.defect < 0.5:
        return []
    size = bounds.size
    x, omega = balls.vector(fold.kappa), balls.vector(fold.omega)
    s = balls.flint.arb(fold.speed)
    last = np.inf
    for _ in range(STEPS):
        value, error = balls.floats(balls.bordered(x, omega, s))
        step = operator.C @ value
        length = float(np.linalg.norm(step))
        if not np.isfinite(length) or length > 1e-3:
            return []
        if length >= 0.5 * last or length < 1e-60:
            break
        x, omega = balls.moved(x, step[:size]), balls.moved(omega, step[size:-1])
        s, last = (s - float(step[-1])).mid(), length
    value, error = balls.floats(balls.bordered(x, omega, s))
    eta = operator.first_step(value, error)
    speed = float(s)
    centre, direction = balls.floats(x)[0], balls.floats(omega)[0]
    # the fold's normal form s + bend y**2 along nu: a ghost where both have one sign, else zeros
    nu = null_pair(field.jacobian(centre[None])[0])[1]
    bend = bend_along(field, centre, direction, nu) / 2
    if speed * bend > 0:
        return _ghost(balls, bounds, (centre, direction, s), (operator, fold), (x, omega), eta)
    if bend == 0 or speed == 0:
        return []
    # where s + bend y**2 = 0: the zero on each side, to be proven by itself
    y = np.sqrt(-speed / bend)
    sides = [_zero(balls, bounds, balls.moved(x, sign * y * nu)) for sign in (-1.0, 1.0)]
    return [zero for side in sides for zero in side]


def _ghost(balls: _Balls, bounds: FieldBounds, end: Any, start: Any, exact: Any, eta: float) -> list[Proven]:
    (centre, direction, s), (operator, fold), (x, omega) = end, start, exact
    # omega and s change sign together, so that the speed is positive
    sign = 1.0 if float(s) > 0 else -1.0
    change = abs(float(s) - fold.speed) + 4 * EPS * abs(float(s))
    # how far the float64 point, to which the inverse belongs, is from the exact centre
    shift = (balls.distance(x, fold.kappa) + balls.distance(omega, fold.omega) + change) * (1 + 8 * EPS)
    at_centre = bounds.at(centre)
    f, e_f = balls.floats(balls.flow(balls.vector(centre))[0])
    proof = certificates.ghost_from_step(
        at_centre, operator.moved(shift), eta, sign * direction, sign * float(s) * (1 - 4 * EPS), f, e_f
    )
    radius = (proof.radius + balls.distance(x, centre)) * (1 + 4 * EPS)
    if proof.kind != "ghost" or not radius < proof.empty_radius:
        return []
    solution = GhostSolution(centre, sign * direction, sign * float(s), True)
    return [Proven(centre, solution, proof._replace(radius=radius))]
