"""The way from distant starts to the neighbourhood of slow points of large networks, by products
with W alone.

A descent by factorisations takes some 40 of them from a random start, each of N**3 operations. Here
all starts move together, by conjugate gradients in a trust region (Steihaug, SIAM J. Numer. Anal.
20, 626, 1983), whose steps cost two products of W with the block of starts. Single precision is
enough: the last steps are those of `descent`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import TanhField

Singles = NDArray[np.float32]

OUTER, INNER = 60, 60  # steps of a start, and of the gradients' iteration in each
NEAR_SPEED, NEAR_SLOPE = 1e-3, 2e-3  # |F| or |J^T F| / |F| from which `descent` goes on
FORCING = 0.1  # what the residual of a step's equation must fall to, over the gradient


def approached(field: TanhField, starts: Floats) -> Floats:
    """The starts (B, N) moved to where |F| or its slope is small, or as far as `OUTER` steps take
    them."""
    W, c = field.B.astype(np.float32), field.c.astype(np.float32)
    # rows times a matrix are faster than rows times a transpose, by up to a factor of six for few
    V = np.ascontiguousarray(W.T)
    x = starts.astype(np.float32)
    radius = np.full(len(x), 0.1 * np.sqrt(x.shape[1]), np.float32)
    rates = np.tanh(x @ V + c)
    velocity = rates - x
    rows = np.arange(len(x))
    for _ in range(OUTER):
        F, t = velocity[rows], rates[rows]
        gain = 1 - t * t
        gradient = (gain * F) @ W - F
        size, speed = np.linalg.norm(gradient, axis=1), np.linalg.norm(F, axis=1)
        far = (speed > NEAR_SPEED) & (size > NEAR_SLOPE * speed)
        rows, F, t, gain, gradient = rows[far], F[far], t[far], gain[far], gradient[far]
        if not len(rows):
            break
        step, gains, outside = _steps(W, V, gain, -2 * t * gain * F, gradient, radius[rows])
        trial = x[rows] + step
        there = np.tanh(trial @ V + c)
        moved = there - trial
        quality = 0.5 * ((F * F).sum(axis=1) - (moved * moved).sum(axis=1)) / np.maximum(gains, 1e-30)
        better = rows[quality > 0]
        x[better], rates[better], velocity[better] = (a[quality > 0] for a in (trial, there, moved))
        # the region shrinks where the quadratic model of q is wrong, and grows where it holds up to
        # the edge
        radius[rows] *= np.where(quality < 0.25, 0.25, np.where((quality > 0.75) & outside, 2.0, 1.0))
    return x.astype(np.float64)


def _steps(
    W: Singles, V: Singles, gain: Singles, bend: Singles, gradient: Singles, radius: Singles
) -> tuple[Singles, Singles, NDArray[np.bool_]]:
    """A step of each start, what the model of q falls by, and whether the step ends at the edge of
    its region."""
    total, gains = np.zeros_like(gradient), np.zeros(len(gradient), np.float32)
    outside = np.zeros(len(gradient), bool)
    # those of the starts that go on: d, residual, direction p, and their scalar products
    dp: Any
    dd: Any
    rows, d, residual, p = np.arange(len(gradient)), total.copy(), -gradient, -gradient
    rr = _inner(residual, residual)
    goal, room, pp = FORCING**2 * rr, radius**2, rr
    dp, dd = np.zeros((2, len(rr)), np.float32)
    for _ in range(INNER):
        # H p = J^T J p + sum_i F_i D2F_i p, with J = diag(gain) W - 1
        through = p @ V
        along = gain * through
        along -= p
        through *= bend
        product = (gain * along + through) @ W
        product -= along
        curvature = _inner(p, product)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            length = rr / curvature
        # the positive root of |d + s p| = radius
        edge = (-dp + np.sqrt(np.maximum(dp * dp + pp * (room - dd), 0))) / np.maximum(pp, 1e-30)
        leaves = ~(curvature > 0) | ~(length < edge)
        length = np.where(leaves, edge, length)
        d += length[:, None] * p
        product *= length[:, None]
        residual -= product
        after = _inner(residual, residual)
        gains[rows] += length * rr - 0.5 * length**2 * curvature
        outside[rows[leaves]] = True
        # each residual is orthogonal to the direction before it
        ratio = after / np.maximum(rr, 1e-30)
        dd += 2 * length * dp + length**2 * pp
        dp, pp, rr = ratio * (dp + length * pp), after + ratio**2 * pp, after
        p *= ratio[:, None]
        p += residual
        on = ~leaves & (rr > goal)
        if not on.all():
            total[rows[~on]] = d[~on]
            rows, d, residual, p, gain, bend = (array[on] for array in (rows, d, residual, p, gain, bend))
            rr, goal, room, pp, dp, dd = (array[on] for array in (rr, goal, room, pp, dp, dd))
            if not len(rows):
                break
    total[rows] = d
    return total, gains, outside


def _inner(one: Singles, two: Singles) -> Any:
    """Scalar products of rows."""
    return np.asarray(np.einsum("ij,ij->i", one, two))
