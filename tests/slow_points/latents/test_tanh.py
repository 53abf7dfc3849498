"""The vectorised tanh and the error bounds of f, f', f'' built on it, against extended
precision.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.numerics.bounded_tanh import TANH_ULP, tanh
from ghostpoint.slow_points.latents import rank_one_kernels as kernels
from tests.slow_points.oracles import PRECISION, exact_flow, random_network


def relative_error(x):
    with mpmath.workprec(PRECISION):
        exact = mpmath.tanh(mpmath.mpf(x))
        return float(abs(mpmath.mpf(tanh(x)) - exact) / abs(exact)) * 2.0**52


@settings(deadline=None)
@given(st.floats(min_value=1e-300, max_value=1e300) | st.floats(min_value=1e-3, max_value=25.0))
def test_tanh_is_within_three_ulp_and_odd(x):
    assert relative_error(x) < 3.0 < TANH_ULP
    assert tanh(-x) == -tanh(x)


def test_tanh_near_the_switches_of_its_range_reduction():
    # the worst rounding is where k goes from 0 to 1, at ln(2)/4
    switches = (np.arange(1, 60, 2) * np.log(2) / 4)[:, None] * (1 + np.linspace(-1e-2, 1e-2, 201))
    assert max(relative_error(float(x)) for x in switches.ravel()) < 3.0


def test_tanh_at_zero_and_in_saturation():
    assert tanh(0.0) == 0.0
    assert tanh(1e308) == 1.0
    assert tanh(22.0) == 1.0


def evaluate(x, m, n, b, order=0):
    padded = (len(m) + 7) // 8 * 8
    w, t = np.empty((7, padded)), np.empty(padded)
    constants = kernels._prepare(order, abs(x), m, n, b, w)
    return kernels._evaluate(x, w, constants, t), w, t


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    units=st.integers(1, 40),
    gain=st.sampled_from([0.3, 1.0, 5.0, 30.0]),
    shift=st.sampled_from([0.0, 1.0, 300.0, 1e6]),
    x=st.floats(-20, 20),
)
def test_rounding_errors_stay_within_their_bounds(seed, units, gain, shift, x):
    m, n, b = random_network(seed, units, gain)
    b -= shift * m  # arguments m x + b that cancel
    x += shift
    (*values, e0, e1, e2), _, _ = evaluate(x, m, n, b)
    for derivative, (value, bound) in enumerate(zip(values, (e0, e1, e2), strict=True)):
        error = abs(float(exact_flow(x, m, n, b, derivative) - mpmath.mpf(value)))
        assert error <= bound


def test_error_bound_of_f_is_near_rounding():
    m, n, b = random_network(3, 100, 3.0)
    (_, _, _, e0, _, _), _, _ = evaluate(0.7, m, n, b)
    assert e0 < 3e-14 * np.abs(n).sum()


@pytest.mark.parametrize(("bound", "order"), [(kernels._fourth, 0), (kernels._fifth, 1)])
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), gain=st.floats(0.1, 20), a=st.floats(-8, 8), h=st.floats(1e-3, 8))
def test_local_bounds_hold_between_two_nodes(bound, order, seed, gain, a, h):
    m, n, b = random_network(seed, 6, gain)
    _, w, left = evaluate(a, m, n, b, order)
    _, _, right = evaluate(a + h, m, n, b, order)
    t = np.tanh(np.multiply.outer(np.linspace(a, a + h, 2001), m) + b)
    s = 1 - t**2
    if order == 0:
        derivative = (8 * t * (2 - 3 * t**2) * s) @ (n * m**4)
    else:
        derivative = (8 * (2 - 15 * t**2 + 15 * t**4) * s) @ (n * m**5)
    assert np.abs(derivative).max() <= bound(left, right, w[6]) * (1 + 1e-12)


@settings(deadline=None)
@given(st.floats(-2, 2))
def test_fourth_and_fifth_derivative_formulas(u):
    with mpmath.workprec(PRECISION):
        t = mpmath.tanh(mpmath.mpf(u))
        fourth = 8 * t * (2 - 3 * t**2) * (1 - t**2)
        fifth = 8 * (2 - 15 * t**2 + 15 * t**4) * (1 - t**2)
        assert abs(mpmath.diff(mpmath.tanh, mpmath.mpf(u), 4) - fourth) < 1e-10
        assert abs(mpmath.diff(mpmath.tanh, mpmath.mpf(u), 5) - fifth) < 1e-10
