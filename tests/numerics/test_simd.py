"""The vector operations, one by one, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import njit

from ghostpoint.numerics import simd

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
NAMES = ("+", "-", "*", "/", "negative", "fma", "minimum", "maximum", "greater", "unequal", "select", "rint", "splat")


@njit
def every_operation(a, b, c, out, scalars):
    w = simd.lanes(a)
    x, y, z = simd.load(a, 0), simd.load(b, 0), simd.load(c, 0)
    simd.store(out, 0, x + y)
    simd.store(out, w, x - y)
    simd.store(out, 2 * w, x * y)
    simd.store(out, 3 * w, x / y)
    simd.store(out, 4 * w, -x)
    simd.store(out, 5 * w, simd.fma(x, y, z))
    simd.store(out, 6 * w, simd.minimum(x, y))
    simd.store(out, 7 * w, simd.maximum(x, y))
    simd.store(out, 8 * w, simd.greater(x, y))
    simd.store(out, 9 * w, simd.unequal(x, y))
    simd.store(out, 10 * w, simd.select(simd.greater(x, y), y, z))
    simd.store(out, 11 * w, simd.rint(x))
    simd.store(out, 12 * w, simd.splat(a[1]))
    scalars[0] = simd.tree_sum(x)
    scalars[1] = simd.fma(a[0], b[0], c[0])
    return w, simd.any_nonzero(x)


@njit
def constants(a, out):
    w = simd.lanes(a)
    simd.store(out, 0, simd.full(a, 0.1))
    simd.store(out, w, simd.exp2_of_whole(simd.load(a, 0)))


def vectors(dtype, **options):
    lanes = 64 // np.dtype(dtype).itemsize
    return hnp.arrays(dtype, lanes, elements=st.floats(width=np.dtype(dtype).itemsize * 8, **options))


@DTYPES
@given(data=st.data())
def test_every_operation_is_the_ieee_one_in_every_lane(dtype, data):
    a, b, c = (data.draw(vectors(dtype)) for _ in range(3))
    width = len(a)
    out, scalars = np.zeros(len(NAMES) * width, dtype), np.zeros(2, dtype)
    w, any_nonzero = every_operation(a, b, c, out, scalars)
    assert w == width
    got = dict(zip(NAMES, out.reshape(-1, width), strict=True))
    with np.errstate(all="ignore"):
        expected = {"+": a + b, "-": a - b, "*": a * b, "/": a / b, "negative": -a, "rint": np.rint(a)}
        total = a.copy()
        while len(total) > 1:
            total = total[: len(total) // 2] + total[len(total) // 2 :]
    expected |= {
        "minimum": np.where(a < b, a, b),  # the second where one is NaN
        "maximum": np.where(a > b, a, b),
        "greater": (a > b).astype(dtype),
        "unequal": (a != b).astype(dtype),
        "select": np.where(a > b, b, c),
        "splat": np.full_like(a, a[1]),
    }
    for name, values in expected.items():
        assert np.array_equal(got[name], values, equal_nan=True), name
    assert np.array_equal(scalars[0], total[0], equal_nan=True)
    assert np.array_equal(scalars[1], got["fma"][0], equal_nan=True)
    assert any_nonzero == (a != 0).any()


@DTYPES
@given(data=st.data())
def test_fma_rounds_once(dtype, data):
    a, b, c = (data.draw(vectors(dtype, min_value=-1000, max_value=1000, allow_subnormal=False)) for _ in range(3))
    # make the sum cancel, so that a product rounded first would show
    with np.errstate(under="ignore"):
        c[::2] = -(a * b)[::2]
    out, scalars = np.zeros(len(NAMES) * len(a), dtype), np.zeros(2, dtype)
    every_operation(a, b, c, out, scalars)
    for x, y, z, got in zip(a, b, c, out.reshape(-1, len(a))[5], strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        error = abs(Fraction(float(got)) - exact)
        assert error <= Fraction(float(np.spacing(np.abs(got)))) / 2


@DTYPES
def test_constants_and_powers_of_two(dtype):
    width = 64 // np.dtype(dtype).itemsize
    lowest = np.finfo(dtype).minexp
    a = np.linspace(lowest, -lowest, width).round().astype(dtype)
    out = np.zeros(2 * width, dtype)
    constants(a, out)
    assert (out[:width] == dtype(0.1)).all()
    assert np.array_equal(out[width:], np.exp2(a))
