"""Compiled evaluation of ``B x + c``, ``tanh`` and ``f(x) = -x + A tanh(B x + c)`` with bounds of
their rounding.

Sums are compensated (Ogita, Rump and Oishi 2005): a sum of n products is off by at most
``eps |sum| + gamma_n**2 sum of sizes``, eps = 2**-53, gamma_n = n eps / (1 - n eps). The tanh is
`numerics.bounded_tanh.tanh`, whose error is proven.
"""

from __future__ import annotations

import math
from typing import Any

from ghostpoint.numerics.bounded_tanh import EPS, TANH_ULP, UNDERFLOW, tanh
from ghostpoint.numerics.compiled_code import compiled

_SPLIT = 134217729.0  # 2**27 + 1


@compiled
def _two_product(a: float, b: float) -> tuple[float, float]:
    """The rounded product and its exact error (Dekker; for sizes up to 1e150)."""
    p = a * b
    # Veltkamp's splitting: a = ah + al with 26 bits each, so the partial products are exact
    t = _SPLIT * a
    ah = t - (t - a)
    al = a - ah
    t = _SPLIT * b
    bh = t - (t - b)
    bl = b - bh
    return p, al * bl - (((p - ah * bh) - al * bh) - ah * bl)


@compiled
def _dot(row: Any, x: Any, start: float) -> tuple[float, float]:
    """``start + row . x``, compensated, and a bound of its error."""
    total, rest, size = start, 0.0, abs(start)
    for j in range(x.size):
        p, e = _two_product(row[j], x[j])
        # Knuth's two-sum: s + ((total - (s - z)) + (p - z)) = total + p exactly
        s = total + p
        z = s - total
        rest += ((total - (s - z)) + (p - z)) + e
        total = s
        size += abs(p)
    n = x.size + 2.0
    value = total + rest
    return value, UNDERFLOW + (1.0 + 1e-6) * (EPS * abs(value) + 2.0 * (n * EPS) ** 2 * size)


@compiled
def drive_and_rates(B: Any, c: Any, x: Any, u: Any, t: Any, gain: Any, e_t: Any, e_gain: Any) -> None:
    """Fill u = B x + c, t = tanh(u), gain = 1 - t**2 and bounds ``e_t``, ``e_gain`` of the errors
    of the last two.

    tanh has slope at most 1, and over a distance d of u its slope changes by a factor of at most
    ``exp(2 d)``.
    """
    for k in range(c.size):
        u[k], e_u = _dot(B[k], x, c[k])
        t[k] = tanh(u[k])
        gain[k] = (1.0 - t[k]) * (1.0 + t[k])
        # |tanh'| over the error of u: at u times exp(2 e_u), and at most 1
        slope = min(1.0, (gain[k] + 64.0 * EPS) * math.exp(2.0 * min(e_u, 1.0))) if e_u < 1.0 else 1.0
        e_t[k] = (1.0 + 1e-6) * (2.0 * TANH_ULP * EPS * abs(t[k]) + slope * e_u) + UNDERFLOW
        # |d(1 - t**2)| <= 2 |t| e + e**2, and four roundings
        e_gain[k] = (1.0 + 1e-6) * (2.0 * abs(t[k]) * e_t[k] + e_t[k] ** 2 + 4.0 * EPS * (gain[k] + EPS))


@compiled
def residual(A: Any, t: Any, e_t: Any, x: Any, f: Any, e_f: Any) -> None:
    """Fill f = -x + A t and a bound of its error; an ``A`` without rows stands for the identity."""
    if A.shape[0] == 0:
        for i in range(x.size):
            f[i] = t[i] - x[i]
            e_f[i] = (1.0 + 1e-6) * (e_t[i] + EPS * abs(f[i])) + UNDERFLOW
        return
    for i in range(x.size):
        f[i], error = _dot(A[i], t, -x[i])
        for k in range(t.size):
            # what is not known of t passes through |A|
            error += abs(A[i, k]) * e_t[k]
        e_f[i] = (1.0 + (t.size + 8.0) * 2.0 * EPS) * (1.0 + 1e-6) * error
