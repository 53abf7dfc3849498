"""Compiled enclosures of the flow of a low-rank network over a box, which `zeros_in_box_kernels`
cuts boxes with.

On a box ``c + [-h, h]`` each unit is enclosed by a polynomial of its argument u_i + delta,

    tanh(u_i + delta) in mu_i + sigma_i delta + q_i delta**2 +- err_i    for |delta| <= rho_i =
    |m_i| h,

the better of the quadratic Taylor polynomial (error ``max|tanh'''| rho**3 / 6``) and the line of
the least slope there (error half of what tanh rises above it: good for boxes much wider than a
unit's sigmoid). Summed with their signs, these enclose f by a quadratic.

``err`` also carries every rounding: of the argument, of tanh, of the coefficients, of the sums over
units in any order. The tanh is `numerics.bounded_tanh.tanh`, whose error is proven.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostpoint.numerics.bounded_tanh import EPS, PAD, SLACK, TANH_ULP, UNDERFLOW, tanh
from ghostpoint.numerics.compiled_code import compiled

_MU, _SIGMA, _Q, _ERR, _ROUND, _THIRD, _U, _A, _RHO, _WORK = range(10)  # rows of the scratch array, one place per unit
SCRATCH = 10


@compiled
def _arguments(c: Any, h: Any, m: Any, b: Any, x: Any) -> None:
    """Arguments at the centre, the sum of the sizes of their terms, and how far they vary over the
    box.
    """
    u, a, rho = x[_U], x[_A], x[_RHO]
    for i in range(b.size):
        u[i], a[i], rho[i] = b[i], abs(b[i]), 0.0
    # u = b + m c, sum of sizes |b| + |m c|, and rho = |m| h
    for k in range(c.size):
        ck, hk = c[k], h[k]
        for i in range(b.size):
            u[i] += m[k, i] * ck
            a[i] += abs(m[k, i] * ck)
            rho[i] += abs(m[k, i]) * hk
    for i in range(b.size):
        rho[i] *= 1.0 + 16.0 * EPS


@compiled
def _units(rank: int, taylor: bool, x: Any) -> None:
    """mu, sigma, q, err of every unit; the part of err that is rounding; a bound of |tanh'''| over
    the box.
    """
    units = x.shape[1]
    total = EPS * (units + 8.0)
    tanh_error = 2.0 * TANH_ULP * EPS
    for i in range(units):
        u, a, rho = x[_U, i], x[_A, i], x[_RHO, i]
        t = tanh(u)
        pad = tanh_error + EPS * (4.0 + 2.0 * (abs(u) + rho))
        # tanh over the box: its ends, rounded outwards, as it is monotone
        low, high = max(-1.0, tanh(u - rho) - pad), min(1.0, tanh(u + rho) + pad)
        # tanh' = 1 - t**2 is largest where |t| is smallest; tanh''' = 2 (1 - t**2)(3 t**2 - 1)
        nearest = 0.0 if low * high <= 0.0 else min(abs(low), abs(high))
        farthest = max(abs(low), abs(high))
        steepest = min(1.0, 1.0 - nearest * nearest + PAD)
        flattest = max(0.0, 1.0 - farthest * farthest - PAD)
        bend = max(abs(3.0 * nearest * nearest - 1.0), abs(3.0 * farthest * farthest - 1.0))
        third = 2.0 * steepest * bend + PAD
        # the argument is rounded; tanh then moves by at most its steepest slope times that
        shift = (rank + 2.0) * EPS * a  # bound of the argument's own rounding
        moved = min(1.01 * steepest * shift + shift * shift, min(shift, 2.0))
        # the better of the two polynomials of the module's first lines
        taylor_error = third * rho**3 / 6.0
        line_error = 0.5 * (high - low) - rho * flattest
        s = 1.0 - t * t
        by_line = line_error < taylor_error and not taylor
        mu = 0.5 * (low + high) if by_line else t
        sigma = flattest if by_line else s
        q = 0.0 if by_line else -t * s
        # rounding of the argument, of tanh, of the polynomial, and this unit's share of the sums
        rounding = moved + tanh_error + EPS * (8.0 + 32.0 * rho + 40.0 * rho * rho)
        rounding += total * (abs(mu) + rho * sigma + rho * rho * abs(q))
        rounding = SLACK * rounding + UNDERFLOW
        x[_MU, i], x[_SIGMA, i], x[_Q, i] = mu, sigma, q
        x[_ERR, i] = SLACK * (line_error if by_line else taylor_error) + rounding
        x[_ROUND, i], x[_THIRD, i] = rounding, third


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _dot(p: Any, q: Any) -> float:
    total = 0.0
    for i in range(p.size):
        total += p[i] * q[i]
    return total


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _dot_abs(p: Any, q: Any) -> float:
    total = 0.0
    for i in range(p.size):
        total += abs(p[i]) * q[i]
    return total


@compiled
def enclose(c: Any, h: Any, w: Any, taylor: bool, x: Any, f: Any, g: Any, q: Any, e: Any) -> None:
    """``f(c + d)`` in ``f + g d + sum_(i <= j) q[:, i, j] d_i d_j +- e[0]`` for |d| <= h; e[1] is
    rounding's part.

    ``w = (m, n, b, nm, nmm)``, units last: m, n (K, N), b (N,), nm (K, K, N) and nmm (K, K, K, N)
    the products with one and two factors of m. ``taylor`` takes the Taylor polynomial for every
    unit: f, g and 2 q are then f, its Jacobian and its second derivatives at c.
    """
    m, n, b, nm, nmm = w
    rank = c.size
    _arguments(c, h, m, b, x)
    _units(rank, taylor, x)
    for k in range(rank):
        # sums over units: n mu - c, n m sigma - 1 and n m m q; errors add up with |n|
        f[k] = _dot(n[k], x[_MU]) - c[k]
        rounding = 4.0 * EPS * (abs(c[k]) + h[k]) + UNDERFLOW
        e[0, k] = SLACK * (_dot_abs(n[k], x[_ERR]) + rounding)
        e[1, k] = SLACK * (_dot_abs(n[k], x[_ROUND]) + rounding)
        for j in range(rank):
            g[k, j] = _dot(nm[k, j], x[_SIGMA]) - (1.0 if j == k else 0.0)
            for i in range(j + 1):
                factor = 1.0 if i == j else 2.0
                q[k, i, j] = factor * _dot(nmm[k, i, j], x[_Q])


@compiled
def invert(g: Any, a: Any) -> bool:
    """``a`` = g's inverse, approximately (K <= 3, by cofactors); its adjugate, and False, where g
    has none.
    """
    rank = g.shape[0]
    if rank == 1:
        a[0, 0] = 1.0
        det = g[0, 0]
    elif rank == 2:
        a[0, 0], a[0, 1], a[1, 0], a[1, 1] = g[1, 1], -g[0, 1], -g[1, 0], g[0, 0]
        det = g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]
    else:
        # cofactors, transposed, with cyclic indices in the place of signs
        for i in range(3):
            for j in range(3):
                p, r, s, t = (j + 1) % 3, (j + 2) % 3, (i + 1) % 3, (i + 2) % 3
                a[i, j] = g[p, s] * g[r, t] - g[p, t] * g[r, s]
        det = g[0, 0] * a[0, 0] + g[0, 1] * a[1, 0] + g[0, 2] * a[2, 0]
    if not np.all(np.isfinite(a / det)):
        return False
    a /= det
    return True


@compiled
def scratch(rank: int, units: int) -> Any:
    """Work space: one row per quantity and unit; f, g, q, e, A, the errors of A f, and two
    vectors.
    """
    square, vector = (rank, rank), np.empty(rank)
    small = (vector, np.empty(square), np.zeros((rank, rank, rank)), np.empty((2, rank)), np.empty(square))
    return np.empty((SCRATCH, units)), (*small, np.empty((2, rank)), np.empty(rank), np.empty(rank))
