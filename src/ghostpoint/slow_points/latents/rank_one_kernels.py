"""Compiled search behind `latent_flow`: every zero of f or of f' on an interval, proven.

A depth-first bisection. On a leaf [a, a + h] the function g (g = f, or g = f' for ghosts) is
compared with the cubic that matches g and g' at both ends: it is at most ``M h**4 / 384`` away, its
derivative ``sqrt(3) M h**3 / 216``, where M bounds |g''''| on that leaf. Bernstein coefficients
enclose the range of the cubic, so a leaf is proven free of zeros, or proven monotone, or cut in
two. All that is computed carries a bound of its own rounding error; a leaf on which g stays within
that bound is *undecided*. Units are summed in any order (the loops are vectorised), and the bounds
hold for any order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ghostpoint.numerics.bounded_tanh import EPS, PAD, SLACK, TANH_ULP, UNDERFLOW, tanh
from ghostpoint.numerics.compiled_code import compiled

LARGEST = 1e30  # weights beyond this would overflow in m**5
DEPTH = 100  # pending leaves, at most one per halving of the interval
MAX_NODES = 20_000  # evaluations per network (a typical one needs 20); what is left over is undecided
CHUNK = 32  # networks that share one scratch buffer


@compiled
def _fill_tanh(x: float, m: Any, b: Any, t: Any) -> None:
    for i in range(t.size):
        t[i] = tanh(m[i] * x + b[i])


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _sums(t: Any, n: Any, nm: Any, nmm: Any, nb: Any) -> tuple[float, float, float, float, float]:
    f = f1 = f2 = em = eb = 0.0
    for i in range(t.size):
        s = 1.0 - t[i] * t[i]
        f += n[i] * t[i]
        f1 += nm[i] * s
        f2 += nmm[i] * (t[i] * s)
        em += abs(nm[i]) * s
        eb += nb[i] * s
    return f, f1, f2, em, eb


@compiled
def _evaluate(x: float, w: Any, c: Any, t: Any) -> tuple[float, float, float, float, float, float]:
    """f, f', f'' at x and bounds of their rounding errors; leaves tanh(m x + b) in ``t``.

    With eps = 2**-53: m x + b is off by at most 2 eps (|m x| + |b|), so t by eps (2 TANH_ULP |t| +
    2 s (|m x| + |b|)), s = 1 - t**2; sums of N terms, in any order, by N eps times the sum of their
    sizes.
    """
    _fill_tanh(x, w[0], w[1], t)
    f, f1, f2, em, eb = _sums(t, w[2], w[3], w[4], w[5])
    units, n, nm, nmm, nb, steepest, slack = c
    argument = abs(x) * em + eb + PAD * (abs(x) * nm + nb)  # sum of |n| s (|m x| + |b|)
    tanh_error = 2.0 * TANH_ULP
    eps = EPS * slack
    e0 = UNDERFLOW + eps * ((units + 4.0 + tanh_error) * n + 2.0 * argument + 2.0 * abs(x))
    e1 = UNDERFLOW + eps * ((units + 8.0 + 2.0 * tanh_error) * nm + 4.0 * steepest * argument + 2.0)
    e2 = UNDERFLOW + eps * (2.0 * (units + 12.0 + 2.0 * tanh_error) * nmm + 8.0 * steepest**2 * argument)
    return f - x, f1 - 1.0, -2.0 * f2, e0, e1, e2


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _fourth(left: Any, right: Any, size: Any) -> float:
    """Bound of |f''''| between two nodes, t there: tanh'''' = 8 t (2 - 3 t**2)(1 - t**2)."""
    total = 0.0
    for i in range(size.size):
        p, q = abs(left[i]), abs(right[i])
        low, high = (p, q) if p < q else (q, p)
        low = low if left[i] * right[i] > 0.0 else 0.0
        u, v = abs(2.0 - 3.0 * low * low), abs(2.0 - 3.0 * high * high)
        total += size[i] * (8.0 * high * ((u if u > v else v) + PAD) * (1.0 - low * low + PAD))
    return total


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _fifth(left: Any, right: Any, size: Any) -> float:
    """Bound of |f'''''| between two nodes; for tanh it is 8 (2 - 15 t**2 + 15 t**4)(1 - t**2)."""
    total = 0.0
    for i in range(size.size):
        p, q = left[i] * left[i], right[i] * right[i]
        low, high = (p, q) if p < q else (q, p)
        low = low if left[i] * right[i] > 0.0 else 0.0
        u, v = abs(2.0 - 15.0 * low * (1.0 - low)), abs(2.0 - 15.0 * high * (1.0 - high))
        largest = u if u > v else v
        inside = low < 0.5 and high > 0.5  # the parabola's vertex, where it is -1.75
        largest = 1.75 if inside and largest < 1.75 else largest
        total += size[i] * (8.0 * (largest + PAD) * (1.0 - low + PAD))
    return total


@compiled
def _classify(h: float, bound: float, fa: float, da: float, fb: float, db: float, e: float, ed: float) -> int:
    """What is proven of g on a leaf: +-1 its sign, +-2 its direction, 3 undecidable, 0 nothing
    yet.
    """
    rest = SLACK * bound * h**4 / 384.0
    error = SLACK * (e + ed * h / 3.0 + 8.0 * EPS * (abs(fa) + abs(fb) + h * (abs(da) + abs(db))))
    c1, c2 = fa + h * da / 3.0, fb - h * db / 3.0
    lowest, highest = min(min(fa, fb), min(c1, c2)), max(max(fa, fb), max(c1, c2))
    if lowest > rest + error:
        return 1
    if highest < -rest - error:
        return -1
    middle = 3.0 * (fb - fa) / h - da - db
    rest_slope = SLACK * 0.0080188 * bound * h**3  # sqrt(3) / 216 = 0.00801875...
    error_slope = SLACK * (3.0 * ed + 6.0 * e / h + 8.0 * EPS * (abs(da) + abs(db) + (abs(fa) + abs(fb)) / h))
    if min(middle, min(da, db)) > rest_slope + error_slope:
        return 2
    if max(middle, max(da, db)) < -rest_slope - error_slope:
        return -2
    return 3 if max(highest, -lowest) + rest <= 4.0 * error else 0


@compiled
def _sign(value: float, error: float) -> int:
    return 1 if value > error else -1 if value < -error else 0


@compiled
def _polish(
    order: int, a: float, fa: float, b: float, fb: float, w: Any, c: Any, t: Any
) -> tuple[float, float, float, float, float, float, float, float]:
    """The zero of a monotone g in [a, b], end signs proven and different; its radius; f, f', f'',
    errors.

    Newton from the secant's zero, halving where it leaves the bracket. The radius is proven by the
    signs on both sides.
    """
    # where the line through both ends is zero
    low, high = a, b
    x = a - fa * ((b - a) / (fb - fa))
    converged = False
    for _ in range(100):
        if not converged and not low < x < high:
            x = low + 0.5 * (high - low)
        f, f1, f2, e0, e1, e2 = _evaluate(x, w, c, t)
        value, slope, error = (f, f1, e0) if order == 0 else (f1, f2, e1)
        if converged or value == 0.0 or not low < x < high:
            break
        if (value > 0.0) == (fb > 0.0):
            high = x
        else:
            low = x
        step = value / slope
        x = min(b, max(a, x - step))
        # Newton squares the relative error, so what remains after this step is below rounding
        converged = abs(step) <= 1e-9 * (b - a) or abs(value) <= 0.1 * error
    # the first radius is what Newton's step and the error of g can amount to; it grows until the
    # signs of g at x - radius and x + radius are proven and different
    radius = 1.5 * (abs(value) + 2.0 * error) / abs(slope) + 4.0 * EPS * abs(x)
    while radius < b - a:
        left, right = max(a, x - radius), min(b, x + radius)
        l0, l1, _, le0, le1, _ = _evaluate(left, w, c, t)
        r0, r1, _, re0, re1, _ = _evaluate(right, w, c, t)
        left_sign, right_sign = (_sign(l0, le0), _sign(r0, re0)) if order == 0 else (_sign(l1, le1), _sign(r1, re1))
        if left_sign * right_sign == -1:
            break
        radius *= 4.0
    return x, (radius if radius < b - a else b - a) + 2.0 * EPS * abs(x), f, f1, f2, e0, e1, e2


@compiled
def _prepare(order: int, reach: float, m: Any, n: Any, b: Any, w: Any) -> Any:
    """Rows of ``w``: m, b, n, n m, n m**2, |n b|, |n| |m|**(4 + order), padded by units of weight
    zero.

    Returns their number, the sums of |n|, |n m|, |n| m**2 and |n b|, the largest |m|, and the
    factor by which rounding of m x + b, for |x| up to ``reach``, can change any 1 - tanh(m x +
    b)**2, with ``SLACK``.
    """
    w[:] = 0.0
    size = sum_n = sum_nm = sum_nmm = sum_nb = steepest = farthest = 0.0
    for i in range(m.size):
        w[0, i], w[1, i], w[2, i], w[3, i], w[4, i] = m[i], b[i], n[i], n[i] * m[i], n[i] * m[i] * m[i]
        w[5, i], w[6, i] = abs(n[i] * b[i]), abs(n[i]) * abs(m[i]) ** (4 + order)
        sum_n += abs(n[i])
        sum_nm += abs(w[3, i])
        sum_nmm += abs(w[4, i])
        sum_nb += w[5, i]
        steepest = max(steepest, abs(m[i]))
        farthest = max(farthest, abs(m[i]) * reach + abs(b[i]))
        size += 1.0
    return size, sum_n, sum_nm, sum_nmm, sum_nb, steepest, SLACK * math.exp(8.0 * EPS * farthest)


@compiled
def _visit(order: int, w: Any, c: Any, t: Any, node: Any) -> None:
    """Fill ``node`` (x, g, g' and the bounds of their errors) at its x."""
    f, f1, f2, e0, e1, e2 = _evaluate(node[0], w, c, t)
    node[1], node[2], node[3], node[4] = (f, f1, e0, e1) if order == 0 else (f1, f2, e1, e2)


@compiled
def _search_one(
    order: int,
    lower: float,
    upper: float,
    w: Any,
    c: Any,
    tanhs: Any,
    node: Any,
    slot: Any,
    found: Any,
    open_: Any,
) -> tuple[int, int]:
    """Fill ``found`` (P, 9) and ``open_`` (P,); the numbers of each, which may exceed what fits.

    Leaves come from left to right. Between two nodes of proven sign lies either one leaf of that
    sign, or leaves monotone in one direction (one zero if the signs differ, none otherwise), or
    anything else: undecided.
    """
    count = n_open = 0
    spare = tanhs[DEPTH]
    for k in range(DEPTH):
        slot[k] = k
    top = 1  # slot[0] is the left node, slot[1..top] the nodes to the right of it, nearest last
    for k in range(2):
        node[k, 0] = lower if k == 0 else upper
        _visit(order, w, c, tanhs[k], node[k])
    anchor, f_anchor = node[0, 0], node[0, 1]  # the last node of proven sign (0 at a start without one)
    sign, pending = _sign(node[0, 1], node[0, 3]), 0  # pending: 0 nothing, +-2 monotone, 3 undecided
    doubt_from = doubt_to = math.nan  # the undecidable leaves since then
    used = 2
    while top > 0:
        p, q = slot[0], slot[top]
        h = node[q, 0] - node[p, 0]
        bound = c[6] * (_fourth(tanhs[p], tanhs[q], w[6]) if order == 0 else _fifth(tanhs[p], tanhs[q], w[6]))
        error, error_slope = max(node[p, 3], node[q, 3]), max(node[p, 4], node[q, 4])
        state = _classify(h, bound, node[p, 1], node[p, 2], node[q, 1], node[q, 2], error, error_slope)
        middle = node[p, 0] + 0.5 * h
        if state == 0 and (used >= MAX_NODES or top >= DEPTH - 1 or not node[p, 0] < middle < node[q, 0]):
            state = 3
        if state == 0:
            top += 1
            q = slot[top]
            node[q, 0] = middle
            _visit(order, w, c, tanhs[q], node[q])
            used += 1
            continue
        end = _sign(node[q, 1], node[q, 3])
        if state in (1, -1):
            end = state
        else:
            pending = state if pending in (0, state) else 3
            if state == 3:
                doubt_from = node[p, 0] if math.isnan(doubt_from) else doubt_from
                doubt_to = node[q, 0]
        if pending != 0 and (end != 0 or top == 1):
            # a leaf of one sign also proves it at its left end: close there what came before
            x = node[p, 0] if state in (1, -1) else node[q, 0]
            fx = node[p, 1] if state in (1, -1) else node[q, 1]
            direction = pending // 2 if pending != 3 else 0
            if direction != 0 and sign == -direction and end == direction:
                if count < found.shape[0]:
                    result = _polish(order, anchor, f_anchor, x, fx, w, c, spare)
                    for k in range(8):
                        found[count, k] = result[k]
                    found[count, 8] = direction
                count += 1
            elif direction == 0 or not (sign == direction or end == -direction):
                if n_open < open_.shape[0]:
                    at_limit = math.isnan(doubt_from)
                    open_[n_open] = 0.5 * (anchor + x) if at_limit else 0.5 * (doubt_from + doubt_to)
                n_open += 1
            pending, doubt_from = 0, math.nan
        if end != 0:
            sign, anchor, f_anchor = end, node[q, 0], node[q, 1]
        slot[0], slot[top] = q, p
        top -= 1
    return count, n_open


@compiled(parallel=True)
def search(
    order: int,
    m: Any,
    n: Any,
    b: Any,
    lower: Any,
    upper: Any,
    found: Any,
    open_: Any,
    count: Any,
    n_open: Any,
) -> None:
    """Every zero of f (``order`` 0) or f' (1) in [lower, upper] for each row of m, n, b (R, N).

    Writes ``found`` (R, P, 9): position, radius, f, f', f'', their error bounds, direction;
    ``open_`` (R, P), the middles of undecided stretches; ``count``, ``n_open`` (R,), which exceed P
    where P is too small.
    """
    rows, units = m.shape
    padded = (units + 7) // 8 * 8
    for chunk in prange((rows + CHUNK - 1) // CHUNK):
        w, tanhs = np.empty((7, padded)), np.empty((DEPTH + 1, padded))
        node, slot = np.empty((DEPTH, 5)), np.empty(DEPTH, dtype=np.int64)
        for row in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            count[row] = n_open[row] = 0
            if lower[row] < upper[row]:
                c = _prepare(order, max(-lower[row], upper[row]), m[row], n[row], b[row], w)
                count[row], n_open[row] = _search_one(
                    order, lower[row], upper[row], w, c, tanhs, node, slot, found[row], open_[row]
                )
