"""tanh and the logistic function of the kernels against functions of higher precision."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import njit

from ghostpoint.numerics import elementary
from ghostpoint.numerics.simd import lanes, load, store

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LANES = 16


@njit
def _tanh(x, out):
    for i in range(0, x.size, lanes(x)):
        store(out, i, elementary.tanh(load(x, i)))


@njit
def _logistic(x, out):
    for i in range(0, x.size, lanes(x)):
        store(out, i, elementary.logistic(load(x, i)))


def apply(function, x):
    x = np.asarray(x)
    padded = np.zeros(-(-x.size // LANES) * LANES, x.dtype)
    padded[: x.size] = x
    out = np.full_like(padded, np.nan)
    function(padded, out)
    return out[: x.size]


def ulps(values, exact):
    """Error in units of the last place of the exact value, rounded to the type of ``values``."""
    return np.abs(values.astype(exact.dtype) - exact) / np.spacing(np.abs(exact.astype(values.dtype)))


def test_float32_tanh_is_within_5_2_units_of_the_last_place():
    # float64 tanh is exact to 1e-8 units of float32
    x = np.concatenate([np.geomspace(2.0**-40, 2.0**-10, 300_000), np.linspace(2.0**-10, 9.5, 2_000_000)])
    x = x.astype(np.float32)
    assert ulps(apply(_tanh, x), np.tanh(x.astype(np.float64))).max() <= 5.2


@pytest.mark.slow
def test_float32_tanh_is_within_5_2_units_of_the_last_place_at_every_argument():
    low, high = (int(np.float32(x).view(np.uint32)) for x in (2.0**-14, 9.5))
    worst = 0.0
    for start in range(low, high, 2**22):
        x = np.arange(start, min(start + 2**22, high), dtype=np.uint32).view(np.float32)
        got = apply(_tanh, x)
        worst = max(worst, float(ulps(got, np.tanh(x.astype(np.float64))).max()))
        assert (got <= 1).all()
    assert worst == pytest.approx(5.2, abs=0.05)  # what the docstring states


def high_precision(function, x):
    with mpmath.workdps(40):
        return [function(mpmath.mpf(float(value))) for value in x]


def relative(got, exact):
    with mpmath.workdps(40):
        return max(float(abs((mpmath.mpf(float(g)) - e) / e)) for g, e in zip(got, exact, strict=True))


def test_float64_tanh_is_within_3_units_of_the_last_place():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-20, 20, 1500), rng.uniform(-1, 1, 1500), 10.0 ** rng.uniform(-300, 0, 500)])
    got, exact = apply(_tanh, x), high_precision(mpmath.tanh, x)
    rounded = np.array([float(e) for e in exact])
    with mpmath.workdps(40):
        error = [float(abs(mpmath.mpf(float(g)) - e)) for g, e in zip(got, exact, strict=True)]
    assert (np.array(error) / np.spacing(np.abs(rounded))).max() <= 3


@pytest.mark.parametrize(("dtype", "reach", "bound"), [(np.float32, 87, 2), (np.float64, 708, 2)])
def test_logistic_is_accurate_relative_to_its_own_size_in_both_tails(dtype, reach, bound):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-reach, reach, 1500), rng.uniform(-3, 3, 1500), [-reach, reach, 0]]).astype(dtype)
    exact = high_precision(lambda z: 1 / (1 + mpmath.exp(-z)), x)
    assert relative(apply(_logistic, x), exact) <= bound * np.finfo(dtype).eps


@DTYPES
def test_logistic_stays_at_its_smallest_normal_value_beyond(dtype):
    reach = 87 if dtype is np.float32 else 708
    x = np.array([-reach, -reach - 1, -1e30, -np.inf], dtype)
    got = apply(_logistic, x)
    assert (got == got[0]).all()
    assert np.finfo(dtype).tiny < got[0] < 2 * np.exp(-dtype(reach))
    assert (apply(_logistic, -x) == 1).all()


@DTYPES
@given(data=st.data())
def test_tanh_is_odd_bounded_and_one_where_it_is_saturated(dtype, data):
    width = np.dtype(dtype).itemsize * 8
    x = data.draw(hnp.arrays(dtype, 37, elements=st.floats(allow_nan=False, width=width)))
    got = apply(_tanh, x)
    assert (np.abs(got) <= 1).all()
    assert np.array_equal(apply(_tanh, -x), -got)
    assert (np.sign(got) == np.sign(x))[np.abs(x) > np.finfo(dtype).tiny].all()
    beyond = np.abs(x) >= (9.02 if dtype is np.float32 else 20)
    assert np.array_equal(got[beyond], np.sign(x[beyond]))


@DTYPES
def test_infinity_and_nan(dtype):
    x = np.array([np.inf, -np.inf, np.nan, np.finfo(dtype).max, -np.finfo(dtype).max, 0], dtype)
    assert np.array_equal(apply(_tanh, x), np.array([1, -1, np.nan, 1, -1, 0], dtype), equal_nan=True)
    got = apply(_logistic, x)
    assert got[0] == got[3] == 1
    assert got[5] == 0.5
    assert np.isnan(got[2])


@DTYPES
@given(data=st.data())
def test_a_lane_depends_on_nothing_but_its_argument(dtype, data):
    width = np.dtype(dtype).itemsize * 8
    x = data.draw(hnp.arrays(dtype, LANES, elements=st.floats(width=width)))
    order = data.draw(st.permutations(range(LANES)))
    for function in (_tanh, _logistic):
        assert np.array_equal(apply(function, x[order]), apply(function, x)[order], equal_nan=True)


@njit
def _tanh_of_moderate(x, out):
    for i in range(0, x.size, lanes(x)):
        store(out, i, elementary.tanh_of_moderate(load(x, i)))


def test_tanh_of_moderate_has_the_bits_of_tanh_up_to_its_bound():
    # every float32 of the last octave, where the fraction comes near 1, and a sample of the rest
    low, high = (int(np.float32(x).view(np.uint32)) for x in (4.0, elementary.MODERATE))
    near = np.arange(low, high + 1, dtype=np.uint32).view(np.float32)
    rest = np.linspace(0, 4, 500_000).astype(np.float32)
    for x in (near, -near, rest, -rest):
        np.testing.assert_array_equal(apply(_tanh_of_moderate, x), apply(_tanh, x))
    wide = np.linspace(-30, 30, 100_000)
    np.testing.assert_array_equal(apply(_tanh_of_moderate, wide), apply(_tanh, wide))
