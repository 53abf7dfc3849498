"""The curve that carries a network past a ghost: its slow manifold, as a polynomial in the slow
coordinate.

The slow coordinate of a ghost x* is ``y = w . (x - x*)``, w scaled to w . v = 1. A slow manifold is
a curve X(y), with y that of X(y), that the motion does not leave:

    F(X(y)) = g(y) X'(y)                       under the flow dx/dt = F,
    alpha F(X(y)) = X(y + alpha g(y)) - X(y)   under the Euler map x <- x + alpha F(x),

and dy/dt = g(y) is the motion along it; the normal form ``g = r + a y**2`` is its beginning. It is
found by iteration: the tangent (for the map, the chord) of one curve is the direction that F is
asked to have on the next, beginning with the fixed direction v (Fraser 1988; Roussel and Fraser
1990). Each pass gains an order in the ratio of slow to fast time. Like the expansion it sums, the
iteration converges at first and then may diverge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev, chebyshev
from numpy.typing import NDArray

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field

#: numbers of nodes that are tried until the polynomial of g resolves it
NODES = (33, 65, 129)
NEAR = (
    1e-4  # steps shorter than this, times half the range, are chords by Taylor's series: a difference would be rounding
)
NEWTON = 10
SETTLED = 1e-11  # length of a Newton step, times 1 + |x|
SHORTEST = 1 / 256  # a step from node to node is cut to this share of the range before the curve is given up
PASSES = 8


class Lost(Exception):
    """No curve: the slow coordinate where it ends, and how, in words."""

    def __init__(self, y: float, how: str):
        super().__init__(f"{how} at y = {y:.3g}")


class Curve(NamedTuple):
    """At Chebyshev nodes y (M,), ascending: states X (M, K), velocities g (M,), the directions F
    has (M, K).
    """

    y: Floats
    x: Floats
    g: Floats
    direction: Floats

    def velocity(self) -> Chebyshev:
        """g as a polynomial on [y0, y1]."""
        return Chebyshev(_coefficients(self.g), domain=(self.y[0], self.y[-1]))

    def unresolved(self, w: Floats) -> float:
        """An estimate of the error of :meth:`velocity`, in units of the slow coordinate over tau.

        The sum of the last quarter of its Chebyshev coefficients, plus the rounding of ``w . F``; w
        (K,) is the covector of the slow coordinate.
        """
        tail = float(np.abs(_coefficients(self.g)[-(len(self.y) // 4) :]).sum())
        size = float(
            np.linalg.norm(self.x, axis=1).max() + np.linalg.norm(self.g[:, None] * self.direction, axis=1).max()
        )
        return tail + 4 * float(np.finfo(np.float64).eps) * float(np.linalg.norm(w)) * (1 + size)


def straight(field: Field, at: Floats, v: Floats, w: Floats, y0: float, y1: float, count: int = NODES[0]) -> Curve:
    """The curve on which F is parallel to v: X(0) is near the ghost ``at``, w . v = 1.

    At ``count`` nodes, found by continuation from y = 0 (y0 < 0 < y1) with Newton's method on the
    bordered system ``F(x) - g v = 0, w . (x - at) = y``, whose matrix is regular at a ghost.

    Raises
    ------
    Lost
        Where the curve turns back in y, or Newton's method settles nowhere near.
    """
    nodes = (y0 + y1) / 2 + (y1 - y0) / 2 * chebyshev.chebpts2(count)
    x, g = np.zeros((count, len(at))), np.zeros(count)
    # outwards from the ghost on both sides, each node starting from the one before
    first, speed = _corrected(field, at, w, 0.0, v, at, 0.0)
    for side in (nodes >= 0, nodes < 0):
        order = np.flatnonzero(side)
        here, y, now = first, 0.0, speed
        for k in order if side[-1] else order[::-1]:
            here, now = _walk(field, at, w, v, here, now, y, float(nodes[k]), (y1 - y0) * SHORTEST)
            x[k], g[k], y = here, now, float(nodes[k])
    return Curve(nodes, x, g, np.broadcast_to(v, x.shape))


def _walk(
    field: Field, at: Floats, w: Floats, v: Floats, x: Floats, g: float, y: float, end: float, shortest: float
) -> tuple[Floats, float]:
    """From the curve's point at y to that at ``end``, in shorter steps where Newton's method needs
    them.
    """
    step = end - y
    while y != end:
        try:
            matrix = _bordered(field.jacobian(x[None]), v[None], w)[0]
            tangent = np.linalg.solve(matrix, np.append(np.zeros_like(x), 1.0))
        except np.linalg.LinAlgError:
            raise Lost(y, "the curve of the slow direction has no tangent") from None
        goal = end if abs(step) >= abs(end - y) else y + step
        try:
            x, g = _corrected(field, at, w, goal, v, x + (goal - y) * tangent[:-1], g)
            y = goal
        except Lost:
            step = (goal - y) / 2
            if abs(step) < shortest:
                raise
    return x, g


def _corrected(field: Field, at: Floats, w: Floats, y: float, v: Floats, x: Floats, g: float) -> tuple[Floats, float]:
    points, speeds, settled = _newton(field, at, w, np.array([y]), v[None], x[None], np.array([g]))
    if not settled[0] or np.linalg.norm(points[0] - x) > 0.5 * (1 + np.linalg.norm(x - at)):
        raise Lost(
            y, "the curve of the slow direction is not found any further: it turns back, or Newton's method fails,"
        )
    return points[0], float(speeds[0])


def _bordered(jacobian: Floats, directions: Floats, w: Floats) -> Floats:
    """``[[J, -t], [w^T, 0]]`` of each point."""
    count, size = directions.shape
    matrices = np.zeros((count, size + 1, size + 1))
    matrices[:, :size, :size], matrices[:, :size, size], matrices[:, size, :size] = jacobian, -directions, w
    return matrices


def _newton(
    field: Field, at: Floats, w: Floats, y: Floats, directions: Floats, x: Floats, g: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Newton's method on ``F(x) = g t, w . (x - at) = y`` at all nodes at once."""
    size, settled = x.shape[1], np.zeros(len(x), bool)
    for _ in range(NEWTON):
        value = np.concatenate([field.flow(x) - g[:, None] * directions, ((x - at) @ w - y)[:, None]], axis=1)
        try:
            step = np.linalg.solve(_bordered(field.jacobian(x), directions, w), value[..., None])[..., 0]
        except np.linalg.LinAlgError:
            return x, g, np.zeros(len(x), bool)
        # the unknowns of each node are its state and its velocity g
        x, g = x - step[:, :size], g - step[:, size]
        length = np.abs(step).max(axis=1)
        if not np.isfinite(length).all() or length.max() > 1e6:
            return x, g, np.zeros(len(x), bool)
        settled = length <= SETTLED * (1 + np.abs(x).max(axis=1))
        if settled.all():
            break
    return x, g, settled


def refined(field: Field, at: Floats, w: Floats, curve: Curve, alpha: float | None) -> Iterator[Curve]:
    """The curves after it, one order better each, for as long as Newton's method finds them (at
    most `PASSES`).

    ``alpha`` is the step of the Euler map, None for the flow.
    """
    half = (curve.y[-1] - curve.y[0]) / 2
    places = chebyshev.chebpts2(len(curve.y))
    for _ in range(PASSES):
        series = _coefficients(curve.x - at)
        # X', X'' and X''' at the nodes
        first, second, third = (chebyshev.chebval(places, chebyshev.chebder(series, k)).T / half**k for k in (1, 2, 3))
        along = first
        if alpha is not None:
            # the last chords reach beyond y1, by a step at most
            reach = (alpha * curve.g)[:, None]
            ahead = chebyshev.chebval(places + reach[:, 0] / half, series).T
            with np.errstate(divide="ignore", invalid="ignore"):
                chord = (ahead - (curve.x - at)) / reach
            along = np.where(reach < NEAR * half, first + reach / 2 * second + reach**2 / 6 * third, chord)
        x, g, settled = _newton(field, at, w, curve.y, along, curve.x, curve.g)
        if not settled.all() or not (g > 0).all():
            return
        curve = Curve(curve.y, x, g, along)
        yield curve


def _coefficients(values: Floats) -> Floats:
    """Of the interpolating Chebyshev series through values (M, ...) at `chebpts2` nodes."""
    count = len(values)
    return np.asarray(np.linalg.solve(chebyshev.chebvander(chebyshev.chebpts2(count), count - 1), values))


def across(field: Field, w: Floats, curve: Curve) -> NDArray[np.complex128]:
    """Eigenvalues (M, K - 1) of the motion across the curve: ``(1 - t w^T) J`` on w . x = 0, t the
    direction of F.
    """
    # an orthonormal basis of w . x = 0
    basis = np.linalg.svd(w[None])[2][1:].T
    jacobian = field.jacobian(curve.x)
    moved = jacobian - curve.direction[:, :, None] * (w @ jacobian)[:, None, :]
    return np.asarray(np.linalg.eigvals(basis.T @ moved @ basis), dtype=np.complex128)


def delay_of_start(field: Field, w: Floats, curve: Curve, start: Floats) -> float:
    """How far along y a start beside the curve's first point, with the same y, is carried while it
    falls onto it.

    To first order in ``d = start - X(y0)``, the motion along the curve taken as frozen meanwhile:
    across it d decays by ``M = (1 - t w^T) J``, and y gains the integral of w . J d, which is m in
    ``J z - m t = -d, w . z = 0``.
    """
    first = slice(0, 1)
    matrix = _bordered(field.jacobian(curve.x[first]), curve.direction[first], w)[0]
    return float(np.linalg.solve(matrix, np.append(curve.x[0] - start, 0.0))[-1])
