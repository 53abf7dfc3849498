"""The way from distant starts to the neighbourhood of slow points of large networks, by products
with W alone.

A descent by factorisations takes some 40 of them from a random start, each of N**3 operations. Here
all starts move together, by conjugate gradients in a trust region (Steihaug, SIAM J. Numer. Anal.
20, 626, 1983), whose steps cost two products of W with the block of starts. Single precision is
enough: the last steps are those of `descent`.
"""

from __future__ import annotations

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
    total, residual = np.zeros_like(gradient), -gradient
    direction, square = residual.copy(), (residual * residual).sum(axis=1)
    goal, gains = FORCING**2 * square, np.zeros_like(square)
    outside = np.zeros(len(square), bool)
    live = np.arange(len(square))
    for _ in range(INNER):
        p, d, rr = direction[live], total[live], square[live]
        # H p = J^T J p + sum_i F_i D2F_i p, with J = diag(gain) W - 1
        through = p @ V
        along = gain[live] * through - p
        product = (gain[live] * along + bend[live] * through) @ W - along
        curvature = (p * product).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            length = rr / curvature
        pp, dp, dd = (p * p).sum(axis=1), (p * d).sum(axis=1), (d * d).sum(axis=1)
        inside = radius[live] ** 2 - dd
        # the positive root of |d + s p| = radius
        edge = (-dp + np.sqrt(np.maximum(dp * dp + pp * inside, 0))) / np.maximum(pp, 1e-30)
        leaves = ~(curvature > 0) | ~(length < edge)
        length = np.where(leaves, edge, length)
        total[live] = d + length[:, None] * p
        gains[live] += length * rr - 0.5 * length**2 * curvature
        outside[live[leaves]] = True
        rest = residual[live] - length[:, None] * product
        after = (rest * rest).sum(axis=1)
        residual[live], square[live] = rest, after
        direction[live] = rest + (after / np.maximum(rr, 1e-30))[:, None] * p
        live = live[~leaves & (after > goal[live])]
        if not len(live):
            break
    return total, gains, outside
