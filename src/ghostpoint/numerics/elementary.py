"""tanh and the logistic function of a vector, in float32 and float64.

No branches, one IEEE operation after the other, so a lane's result depends on nothing but its
argument. The errors stated here are measured by ``tests/numerics/test_elementary.py`` (in float32
over every argument).
"""

from __future__ import annotations

import math

from numba import njit, types
from numba.extending import overload

from ghostpoint.numerics.simd import Vector, exp2_of_whole, fma, full, greater, maximum, minimum, rint, select

#: :func:`tanh_of_moderate` takes arguments up to this size
MODERATE = 8.0

# tanh(x) = x P(x^2) / Q(x^2) for |x| <= 9.02, beyond which float32 tanh is 1: the minimax fit of
# these degrees to the relative error (2.1e-8 before the coefficients are rounded), found by linear
# programming on Chebyshev nodes.
SATURATION_32 = 9.02
P0, P1, P2, P3, P4 = (
    1.0,
    0.1337975412607193,
    0.0034940766636282206,
    2.0584153389791027e-05,
    1.3319954028645498e-08,
)
Q0, Q1, Q2, Q3, Q4 = (
    1.0,
    0.4671306908130646,
    0.025871234014630318,
    0.0003283160913269967,
    7.762391760479659e-07,
)

# beyond |x| = 20, float64 tanh is 1
SATURATION_64 = 20.0
LOG2_E = 1.0 / math.log(2.0)
# ln 2 in two parts, the first with trailing zeros so that its product with a small whole number is
# exact
LN2_HIGH_32, LN2_LOW_32 = 0.693145751953125, 1.428606765330187e-06
LN2_HIGH_64, LN2_LOW_64 = 0.6931471803691238, 1.9082149292705877e-10
FACTORIALS = tuple(1.0 / math.factorial(k) for k in range(16))
(_, _, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, _) = FACTORIALS
# exp of less underflows to subnormal numbers, which are slow; e^-87 = 1.6e-38 is as good as zero
# here
LOWEST_32, LOWEST_64 = -87.0, -708.0


@njit(inline="always")
def _rational(x, z):
    """``x P(z) / Q(z)``."""
    p = fma(z, full(x, P4), full(x, P3))
    q = fma(z, full(x, Q4), full(x, Q3))
    p = fma(z, p, full(x, P2))
    q = fma(z, q, full(x, Q2))
    p = fma(z, p, full(x, P1))
    q = fma(z, q, full(x, Q1))
    p = fma(z, p, full(x, P0))
    q = fma(z, q, full(x, Q0))
    return x * p / q


@njit(inline="always")
def _tanh_32(x):
    # a constant comes first in minimum and maximum, so that NaN passes through
    t = _rational(x, minimum(full(x, SATURATION_32 * SATURATION_32), x * x))
    return minimum(full(x, 1.0), maximum(full(x, -1.0), t))


@njit(inline="always")
def _tanh_32_of_moderate(x):
    """The clamps of :func:`_tanh_32` change nothing here: the fraction first exceeds 1 at 8.08."""
    return _rational(x, x * x)


@njit(inline="always")
def _exp_minus_1_on_half_octave(r):
    """``exp(r) - 1`` for float64 ``|r| <= ln(2) / 2``: the Taylor series, whose next term is below
    2e-18 of it.
    """
    s = fma(r, full(r, C14), full(r, C13))
    s = fma(r, s, full(r, C12))
    s = fma(r, s, full(r, C11))
    s = fma(r, s, full(r, C10))
    s = fma(r, s, full(r, C9))
    s = fma(r, s, full(r, C8))
    s = fma(r, s, full(r, C7))
    s = fma(r, s, full(r, C6))
    s = fma(r, s, full(r, C5))
    s = fma(r, s, full(r, C4))
    s = fma(r, s, full(r, C3))
    s = fma(r, s, full(r, C2))
    return fma(r * r, s, r)


@njit(inline="always")
def _tanh_64(x):
    """``e / (e + 2)`` with ``e = exp(2 |x|) - 1``, and the sign of x."""
    negative = greater(full(x, 0.0), x)
    u = minimum(full(x, SATURATION_64), maximum(x, -x))
    u = u + u
    n = rint(u * full(x, LOG2_E))
    r = fma(-n, full(x, LN2_LOW_64), fma(-n, full(x, LN2_HIGH_64), u))
    scale = exp2_of_whole(n)
    e = fma(scale, _exp_minus_1_on_half_octave(r), scale - full(x, 1.0))
    t = e / (e + full(x, 2.0))
    return select(negative, -t, t)


@njit(inline="always")
def _exp_32(x):
    x = maximum(full(x, LOWEST_32), x)
    n = rint(x * full(x, LOG2_E))
    r = fma(-n, full(x, LN2_LOW_32), fma(-n, full(x, LN2_HIGH_32), x))
    s = fma(r, full(x, C7), full(x, C6))
    s = fma(r, s, full(x, C5))
    s = fma(r, s, full(x, C4))
    s = fma(r, s, full(x, C3))
    s = fma(r, s, full(x, C2))
    return fma(r * r, s, r + full(x, 1.0)) * exp2_of_whole(n)


@njit(inline="always")
def _exp_64(x):
    x = maximum(full(x, LOWEST_64), x)
    n = rint(x * full(x, LOG2_E))
    r = fma(-n, full(x, LN2_LOW_64), fma(-n, full(x, LN2_HIGH_64), x))
    return (full(x, 1.0) + _exp_minus_1_on_half_octave(r)) * exp2_of_whole(n)


def tanh(x):
    """``tanh(x)`` per lane; never outside [-1, 1]. For compiled code only.

    Within 5.2 units in the last place in float32 (every argument from 2^-14 up), 3 in float64 (a
    sample).
    """
    raise TypeError("tanh is for compiled code")


def tanh_of_moderate(x):
    """The same bits as :func:`tanh` where ``|x| <= MODERATE``, in fewer operations. For compiled
    code only.
    """
    raise TypeError("tanh_of_moderate is for compiled code")


def logistic(x):
    """``1 / (1 + exp(-x))`` per lane, accurate relative to its own size at both ends. For compiled
    code only.

    Within 2 machine epsilons of its size (a sample) down to e^-87 in float32 and e^-708 in float64,
    where it stays.
    """
    raise TypeError("logistic is for compiled code")


def _exp(x):
    raise TypeError("for compiled code")


@overload(_exp, inline="always")
def _typed_exp(x):
    if isinstance(x, Vector) and x.element == types.float32:
        return lambda x: _exp_32(x)
    return lambda x: _exp_64(x)


@overload(tanh, inline="always")
def _typed_tanh(x):
    if isinstance(x, Vector) and x.element == types.float32:
        return lambda x: _tanh_32(x)
    return lambda x: _tanh_64(x)


@overload(tanh_of_moderate, inline="always")
def _typed_tanh_of_moderate(x):
    if isinstance(x, Vector) and x.element == types.float32:
        return lambda x: _tanh_32_of_moderate(x)
    return lambda x: _tanh_64(x)


@overload(logistic, inline="always")
def _typed_logistic(x):
    if isinstance(x, Vector):

        def implementation(x):
            one = full(x, 1.0)
            e = _exp(minimum(x, -x))  # of a number that is not positive, so it cannot overflow
            return select(greater(full(x, 0.0), x), e, one) / (one + e)

        return implementation
    return None
