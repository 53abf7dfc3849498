"""Compiled search behind `latent_zeros`: every zero of a low-rank network's flow in a box, proven.

Branch and prune. On a box ``c + [-h, h]`` the flow is enclosed by a quadratic
(`box_enclosure`). Where it can vanish cuts the box, coordinate by coordinate, for f itself
and for ``A f``, A the inverse of the linear part. A box of which nothing is left has no zero. Where
the quadratic is nearly linear Newton's iteration looks for a zero z, and
``|A f(z)| + |1 - A J| r < r`` over the cube of radius r (Krawczyk) proves that the cube holds
exactly one; boxes inside such a cube are done. Other boxes are halved.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.bounded_tanh import EPS, SLACK, UNDERFLOW
from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.slow_points.latents.box_enclosure import (
    _A,
    _ERR,
    _Q,
    _RHO,
    _ROUND,
    _SIGMA,
    _THIRD,
    _WORK,
    _arguments,
    _dot,
    _dot_abs,
    _units,
    enclose,
    invert,
    scratch,
)  # fmt: skip

# why a box is left undecided: within rounding of a degenerate zero; too many boxes; too many zeros
DEGENERATE, BUDGET, TOO_MANY = 1, 2, 3
CUBES = 40  # sizes of cubes tried
STEPS = 12  # of the Newton iteration


@compiled
def _cut(f: float, g: Any, q: Any, e: float, h: Any, lo: Any, hi: Any) -> bool:
    """Shrink [lo, hi] to where ``f + g d + sum q d d`` can come within e of 0 for |d| <= h; False
    if nowhere.
    """
    rank = h.size
    low, high, size = f - e, f + e, abs(f) + e
    linear = 0.0
    for j in range(rank):
        linear += abs(g[j]) * h[j]
        # products d_i d_j have either sign, squares only their own
        for i in range(j):
            bent = abs(q[i, j]) * h[i] * h[j]
            low, high, size = low - bent, high + bent, size + bent
        bent = q[j, j] * h[j] * h[j]
        low, high, size = low + min(bent, 0.0), high + max(bent, 0.0), size + abs(bent)
    slack = 32.0 * EPS * (size + linear)
    low, high = low - slack, high + slack
    # 0 is out of reach of the linear terms anywhere in the box
    if low - linear > 0.0 or high + linear < 0.0:  # so that a NaN keeps the box
        return False
    for j in range(rank):
        if g[j] != 0.0:
            others = 0.0
            for i in range(rank):
                if i != j:
                    others += abs(g[i]) * h[i]
            # solve for d_j with all other terms at their worst
            one, two = -(low - others) / g[j], -(high + others) / g[j]
            if not (math.isfinite(one) and math.isfinite(two)):
                continue
            margin = 8.0 * EPS * (abs(one) + abs(two)) + UNDERFLOW
            lo[j], hi[j] = max(lo[j], min(one, two) - margin), min(hi[j], max(one, two) + margin)
            if lo[j] > hi[j]:
                return False
    return True


@compiled
def prune(c: Any, h: Any, f: Any, g: Any, q: Any, e: Any, a: Any, ea: Any, lo: Any, hi: Any) -> tuple[int, float]:
    """Cut the box c +- h in place to where the quadratic of `enclose` can be zero; a state and how
    much volume is left.

    ``a`` (K, K) is any matrix, well chosen if near the inverse of g, and ``ea`` (2, K) bound the
    errors of ``a f`` as e does those of f. States: 0 nothing left, 1 undecidable (all of ``a f`` is
    within rounding of 0 in the whole box), 2 nearly linear, 3 none of these.
    """
    rank = c.size
    row, bent = np.empty(rank), np.empty((rank, rank))
    for k in range(rank):
        lo[k], hi[k] = -h[k], h[k]
    # first the components of f themselves
    for k in range(rank):
        if not _cut(f[k], g[k], q[k], e[0, k], h, lo, hi):
            return 0, 0.0
    nearly_linear, flat = True, True
    # then those of A f, whose linear part is near the identity: one coordinate each
    for k in range(rank):
        value = size = weight = 0.0
        row[:] = 0.0
        bent[:] = 0.0
        for p in range(rank):
            apk = a[k, p]
            weight += abs(apk)
            value += apk * f[p]
            size += abs(apk * f[p])
            for j in range(rank):
                row[j] += apk * g[p, j]
                size += abs(apk * g[p, j]) * h[j]
                for i in range(j + 1):
                    bent[i, j] += apk * q[p, i, j]
                    size += abs(apk * q[p, i, j]) * h[i] * h[j]
        error = SLACK * (ea[0, k] + 16.0 * EPS * size)
        rounding = SLACK * (ea[1, k] + 16.0 * EPS * size)
        if not _cut(value, row, bent, error, h, lo, hi):
            return 0, 0.0
        curved, straight = error, 0.0
        for j in range(rank):
            straight += abs(row[j]) * h[j]
            for i in range(j + 1):
                curved += abs(bent[i, j]) * h[i] * h[j]
        # a row that is within rounding of 0 over the whole box can cut nothing
        level = weight > 0.0 and abs(value) + straight + curved <= 6.0 * rounding
        nearly_linear = nearly_linear and (level or curved < 0.5 * h[k])
        flat = flat and level
    # the box that is left, rounded outwards
    left = 1.0
    for k in range(rank):
        half = min(h[k], 0.5 * (hi[k] - lo[k]))
        left *= half / h[k] if h[k] > 0.0 else 1.0
        c[k] += 0.5 * (lo[k] + hi[k])
        h[k] = half * (1.0 + 8.0 * EPS) + 4.0 * EPS * (abs(c[k]) + h[k])
    return (1 if flat else 2 if nearly_linear else 3), left


@compiled
def _combine(row: Any, n: Any, result: Any) -> None:
    """``result = row n``, over the units."""
    result[:] = 0.0
    for p in range(row.size):
        factor = row[p]
        for i in range(result.size):
            result[i] += factor * n[p, i]


@compiled
def _reduce(c: Any, h: Any, w: Any, x: Any, s: Any) -> tuple[int, float]:
    """`prune` with the enclosure of the box and the inverse of its linear part, their errors
    combined unit by unit.
    """
    f, g, q, e, a, ea = s[0], s[1], s[2], s[3], s[4], s[5]
    rank = c.size
    enclose(c, h, w, False, x, f, g, q, e)
    invert(g, a)
    for k in range(rank):
        # the error of unit i enters A f as (A n)_i err_i, which is at most |A| |n_i| err_i
        extra = 0.0
        for p in range(rank):
            extra += abs(a[k, p]) * (8.0 * EPS * e[0, p] + 4.0 * EPS * (abs(c[p]) + h[p]) + UNDERFLOW)
        _combine(a[k], w[1], x[_WORK])
        ea[0, k] = SLACK * (_dot_abs(x[_WORK], x[_ERR]) + extra)
        ea[1, k] = SLACK * (_dot_abs(x[_WORK], x[_ROUND]) + extra)
    return prune(c, h, f, g, q, e, a, ea, s[6], s[7])


@compiled
def evaluate(z: Any, w: Any, x: Any, s: Any) -> bool:
    """f, Jacobian and A = its inverse at the point z, in ``s``; False where A is not finite."""
    s[7][:] = 0.0
    enclose(z, s[7], w, True, x, s[0], s[1], s[2], s[3])
    return invert(s[1], s[4])


@compiled
def _newton(z: Any, c: Any, h: Any, w: Any, x: Any, s: Any) -> bool:
    """Newton's iteration from z until its steps are rounding; False where it leaves the box far or
    does not settle.
    """
    for _ in range(STEPS):
        if not evaluate(z, w, x, s):
            return False
        settled = True
        for k in range(z.size):
            step = doubt = 0.0
            for p in range(z.size):
                # step = A f, and how much of it rounding can be
                step += s[4][k, p] * s[0][p]
                doubt += abs(s[4][k, p]) * s[3][0, p]
            z[k] -= step
            settled = settled and abs(step) <= doubt
            if not abs(z[k] - c[k]) <= 2.0 * h[k] + 2.0 * doubt:
                return False
        if settled:
            return True
    return False


@compiled
def _slopes(z: Any, r: float, w: Any, x: Any, s: Any) -> None:
    """How far the slope of a unit on the cube is from ``sigma + 2 q delta``: third order, and
    rounding; in err.
    """
    rank, units = w[1].shape
    s[7][:] = r
    _arguments(z, s[7], w[0], w[2], x)
    _units(rank, True, x)
    for i in range(units):
        # tanh' within the cube: third derivative times rho**2 / 2, and the roundings
        rho = x[_RHO, i]
        shift = min(1.0, 1.6 * (rank + 2.0) * EPS * x[_A, i])
        rounding = EPS * ((units + 8.0) * (x[_SIGMA, i] + 2.0 * abs(x[_Q, i]) * rho) + 40.0 * (1.0 + rho))
        x[_ERR, i] = SLACK * (0.5 * x[_THIRD, i] * rho * rho + 2.0 * shift * (1.0 + rho) + rounding)


@compiled
def verify(z: Any, r: float, w: Any, x: Any, s: Any) -> tuple[bool, float]:
    """Whether the cube ``|kappa - z| <= r`` is proven to hold exactly one zero; a bound of
    ``|A f(z)|``.

    Krawczyk: with A = J(z)**-1 approximately, ``|A f(z)| + |1 - A J(kappa)| r < r`` for all kappa
    of the cube, row by row. J(kappa) is J(z) + (second derivatives) d +- (third derivatives) d**2 /
    2.
    """
    f, g, q, e, a = s[0], s[1], s[2], s[3], s[4]
    m, n = w[0], w[1]
    rank = z.size
    if not evaluate(z, w, x, s):
        return False, math.inf
    # |A f(z)|, the first step of Newton's method
    residual = 0.0
    bound = s[6]
    for k in range(rank):
        value, size = 0.0, 0.0
        for p in range(rank):
            value += a[k, p] * f[p]
            size += abs(a[k, p]) * (e[0, p] + 8.0 * EPS * abs(f[p]))
        bound[k] = SLACK * (abs(value) + size)
        residual = max(residual, bound[k])
    if not residual < r:
        return False, residual
    # row k of |1 - A J| over the cube: at z, by the second, and by the third derivatives
    _slopes(z, r, w, x, s)
    for k in range(rank):
        _combine(a[k], n, x[_WORK])
        x[_WORK] = np.abs(x[_WORK]) * x[_ERR]
        spread = 0.0
        for j in range(rank):
            value = -1.0 if j == k else 0.0
            size = 1.0
            for p in range(rank):
                value += a[k, p] * g[p, j]
                size += abs(a[k, p]) * (abs(g[p, j]) + 1.0)
            spread += abs(value) + 16.0 * EPS * size + _dot_abs(m[j], x[_WORK])
            for p in range(rank):  # rounding of the combination A n that the errors were weighted with
                spread += 8.0 * EPS * abs(a[k, p]) * _dot_abs(w[3][p, j], x[_ERR])
            for i in range(rank):  # d J[:, j] / d kappa_l
                value = size = 0.0
                for p in range(rank):
                    second = (2.0 if i == j else 1.0) * q[p, min(i, j), max(i, j)]
                    value += a[k, p] * second
                    size += abs(a[k, p] * second)
                spread += (abs(value) + 16.0 * EPS * size) * r
        if not SLACK * (bound[k] + spread * r) < r:
            return False, residual
    return True, residual


@compiled
def jacobian(z: Any, r: float, w: Any, x: Any, s: Any, result: Any, error: Any) -> None:
    """The Jacobian at z, and how far that on the cube ``|kappa - z| <= r`` can be from it, (K, K)
    each.
    """
    evaluate(z, w, x, s)
    _slopes(z, r, w, x, s)
    rank = z.size
    for k in range(rank):
        for j in range(rank):
            result[k, j] = s[1][k, j]
            total = 4.0 * EPS * (1.0 + abs(s[1][k, j])) + _dot_abs(w[3][k, j], x[_ERR])
            for i in range(rank):
                total += (2.0 if i == j else 1.0) * abs(s[2][k, min(i, j), max(i, j)]) * r
            error[k, j] = SLACK * total


@compiled
def _known(c: Any, h: Any, count: int, zeros: Any) -> bool:
    """Whether the box lies in a cube that is proven to hold one zero, which is listed."""
    for row in range(count):
        inside = True
        for k in range(c.size):
            inside = inside and (abs(c[k] - zeros[row, k]) + h[k]) * (1.0 + 8.0 * EPS) <= zeros[row, c.size + 1]
        if inside:
            return True
    return False


@compiled
def _adopt(z: Any, largest: float, count: int, zeros: Any, w: Any, x: Any, s: Any) -> bool:
    """List the zero near z with the smallest and the largest cube around it that verify, unless it
    is listed.
    """
    rank = z.size
    # the smallest cube that verifies, from rounding on upwards
    r = 8.0 * EPS * np.abs(z).max() + UNDERFLOW
    proven = False
    for _ in range(CUBES):
        proven, residual = verify(z, r, w, x, s)
        if proven:
            break
        r = max(4.0 * r, 1.25 * residual)
        if not r <= largest:
            return False
    if not proven:
        return False
    s[7][:] = r
    if _known(z, s[7], count, zeros):
        return False
    for row in range(count):  # two proven cubes that touch could be one zero
        apart = False
        for k in range(rank):
            apart = apart or abs(z[k] - zeros[row, k]) > SLACK * (r + zeros[row, rank])
        if not apart:
            return False
    # the largest one, from the whole box on downwards: boxes inside it need no search
    wide = largest
    for _ in range(CUBES):
        if wide <= r or verify(z, wide, w, x, s)[0]:
            break
        wide *= 0.5
    zeros[count, :rank] = z
    zeros[count, rank] = r
    zeros[count, rank + 1] = wide if wide > r and verify(z, wide, w, x, s)[0] else r
    return True


@compiled
def search(lower: Any, upper: Any, w: Any, budget: int, zeros: Any, open_: Any) -> tuple[int, int, int]:
    """All zeros of f in the box [lower, upper] (K,); how many, how many boxes are left undecided,
    boxes examined.

    Fills ``zeros`` (P, K + 2): position, radius of the smallest cube around it proven to hold
    exactly one zero, and of the largest; and ``open_`` (U, 2 K + 1): lower and upper ends of what
    is undecided, and why (`DEGENERATE`; `BUDGET` after ``budget`` boxes; `TOO_MANY` where P zeros
    are not enough). More undecided boxes than U are joined into the last. Zeros beyond the box may
    be listed: Newton's iteration finds them.
    """
    rank, units = w[1].shape
    x, s = scratch(rank, units)
    scale = np.empty(rank)
    for k in range(rank):
        # a coordinate counts by how far it moves the arguments of the units
        scale[k] = math.sqrt(_dot(w[0][k], w[0][k]))
    scale = np.maximum(scale, 1e-3 * scale.max() + 1e-300)
    depth = 400
    boxes = np.empty((depth, 2, rank))
    c, h, z = np.empty(rank), np.empty(rank), np.empty(rank)
    for k in range(rank):
        boxes[0, 0, k] = 0.5 * lower[k] + 0.5 * upper[k]
        boxes[0, 1, k] = 0.5 * (upper[k] - lower[k]) * (1.0 + 8.0 * EPS) + 4.0 * EPS * abs(boxes[0, 0, k]) + UNDERFLOW
    largest = 2.0 * boxes[0, 1].max()
    top, count, left_open, examined = 1, 0, 0, 0
    while top > 0:
        top -= 1
        c[:], h[:] = boxes[top, 0], boxes[top, 1]
        reason = tried = 0
        while not _known(c, h, count, zeros):
            if examined >= budget:
                reason = BUDGET
                break
            examined += 1
            state, left = _reduce(c, h, w, x, s)
            if state == 0:
                break
            if state != 3 and tried & state == 0:
                tried |= state  # once when the box is nearly linear, and once more before it is given up
                z[:] = c
                if count == zeros.shape[0]:
                    reason = TOO_MANY
                    break
                if _newton(z, c, h, w, x, s) and _adopt(z, largest, count, zeros, w, x, s):
                    count += 1
                    continue
            if state == 1:
                reason = DEGENERATE
                break
            # cut it again while that removes much, else halve it
            if left < 0.6:
                continue
            widest = 0
            for k in range(1, rank):
                if h[k] * scale[k] > h[widest] * scale[widest]:
                    widest = k
            if top + 2 > depth or h[widest] <= 16.0 * EPS * abs(c[widest]) + UNDERFLOW:
                reason = DEGENERATE
                break
            half = 0.5 * h[widest] * (1.0 + 8.0 * EPS) + 2.0 * EPS * (abs(c[widest]) + h[widest])
            # depth first: the other half waits on the stack
            for side in range(2):
                boxes[top, 0], boxes[top, 1] = c, h
                boxes[top, 0, widest] = c[widest] + (half if side == 0 else -half)
                boxes[top, 1, widest] = half
                top += 1
            break
        if reason != 0:
            place = min(left_open, open_.shape[0] - 1)
            for k in range(rank):
                below, above = c[k] - h[k], c[k] + h[k]
                join = left_open > place
                open_[place, k] = min(open_[place, k], below) if join else below
                open_[place, rank + k] = max(open_[place, rank + k], above) if join else above
            open_[place, 2 * rank] = reason
            left_open += 1
    return count, left_open, examined
