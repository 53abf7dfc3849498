"""Secants of a guarded network, compiled: what :mod:`ghostpoint.training.guarded` asks of the
differences of its gradient.

``rows`` (K, P), in the type of the state, holds the differences y. All sums are in float64.
"""

from __future__ import annotations

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.stiff_directions import CONJUGATE

#: numbers of a combination that stay in a first-level cache
BLOCK = 1024


@compiled(fastmath={"reassoc", "contract"})
def products(rows, kept, vector, out):
    """``out[j] = rows[j] . vector`` of the first ``kept`` rows."""
    whole, size = kept // 4 * 4, vector.shape[0]
    for j in range(0, whole, 4):
        # four rows at a time, so that the vector is loaded once for them
        p, q, r, s = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
        a = b = c = d = 0.0
        for i in range(size):
            number = vector[i]
            a += p[i] * number
            b += q[i] * number
            c += r[i] * number
            d += s[i] * number
        out[j], out[j + 1], out[j + 2], out[j + 3] = a, b, c, d
    for j in range(whole, kept):
        p, a = rows[j], 0.0
        for i in range(size):
            a += p[i] * vector[i]
        out[j] = a


@compiled(fastmath={"contract"})
def add_combination(rows, coefficients, out):
    """``out += sum_j coefficients[j] rows[j]``."""
    size, kept = out.shape[0], coefficients.shape[0]
    for first in range(0, size, BLOCK):
        # slices begin at 0: an index that may be negative keeps loops from being made of vectors
        part = out[first : min(first + BLOCK, size)]
        whole = kept // 4 * 4
        for j in range(0, whole, 4):
            a, b, c, d = coefficients[j], coefficients[j + 1], coefficients[j + 2], coefficients[j + 3]
            p, q, r, s = rows[j, first:], rows[j + 1, first:], rows[j + 2, first:], rows[j + 3, first:]
            for i in range(part.shape[0]):
                part[i] += (a * p[i] + b * q[i]) + (c * r[i] + d * s[i])
        for j in range(whole, kept):
            a, p = coefficients[j], rows[j, first:]
            for i in range(part.shape[0]):
                part[i] += a * p[i]


@compiled
def conjugate(cross, steps, curvatures):
    """:func:`ghostpoint.numerics.stiff_directions.conjugate_steps`, into ``steps`` (K, K) and
    ``curvatures`` (K,), which are zeros; how many there are.
    """
    kept, found = cross.shape[0], 0
    for i in range(kept):
        # s_i less its parts along the newer steps; there is nothing of the older ones in it
        one = steps[found]
        one[: i + 1] = 0.0
        one[i] = 1.0
        for f in range(found):
            share = 0.0
            for j in range(i):
                share += steps[f, j] * cross[i, j]
            share /= curvatures[f]
            for j in range(i):
                one[j] -= share * steps[f, j]
        curvature = 0.0
        for j in range(i + 1):
            product = 0.0
            for k in range(i + 1):
                product += cross[j, k] * one[k]
            curvature += one[j] * product
        if curvature > CONJUGATE * cross[i, i] and cross[i, i] > 0:
            curvatures[found] = curvature
            found += 1
    if found < kept:
        steps[found] = 0.0
    return found
