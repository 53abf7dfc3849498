"""The toy model against ODE solutions, dense sums, high precision, and its own derivatives."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from ghostpoint.theory import SaddleNodeToy

DELAYS = st.floats(1.0, 1000.0)
ANY_U = st.floats(-4.0, 12.0)  # r in units of r_star


@given(T=DELAYS)
def test_special_values_of_r_are_what_they_claim(T):
    toy = SaddleNodeToy(T)
    assert toy.escape_time(toy.r_star) == pytest.approx(T, rel=1e-13)
    assert toy.escape_time(toy.point_of_no_return) == pytest.approx(2 * T, rel=1e-13)
    just_above = math.nextafter(toy.r_star, math.inf)
    landing = just_above - toy.critical_learning_rate * toy.gradient(just_above)
    assert landing == pytest.approx(toy.point_of_no_return, rel=1e-12)


@given(T=DELAYS, u=ANY_U)
def test_the_analytic_loss_is_the_area_between_two_steps(T, u):
    toy = SaddleNodeToy(T)
    r = u * toy.r_star
    assert 0 <= toy.loss(r) <= T
    t = (np.arange(4000) + 0.5) * (2 * T / 4000)
    wrong = (t > toy.escape_time(r)) != (t > T)
    assert toy.loss(r) == pytest.approx(wrong.mean() * 2 * T, abs=1.01 * 2 * T / 4000)


@given(
    u=st.floats(0.26, 12.0).filter(lambda u: abs(u - 1) > 1e-3),
    threshold=st.sampled_from([3.0, 10.0, math.inf]),
)
def test_the_gradient_of_a_step_readout_is_the_slope_of_its_loss(u, threshold):
    toy = SaddleNodeToy(100.0, threshold)
    lost, best = toy.kinks
    r = lost + (u - 0.25) / 0.75 * (best - lost)
    h = 1e-6 * r
    assert toy.gradient(r) == pytest.approx((toy.loss(r + h) - toy.loss(r - h)) / (2 * h), rel=1e-6)


def test_one_sided_gradients_at_the_kink_are_those_of_eq_14():
    toy = SaddleNodeToy(100.0)
    wanted = 2 * toy.T**3 / math.pi**2
    assert toy.gradient(math.nextafter(toy.r_star, 0)) == pytest.approx(-wanted, rel=1e-12)
    assert toy.gradient(math.nextafter(toy.r_star, 1)) == pytest.approx(wanted, rel=1e-12)
    assert toy.gradient(toy.r_star) == 0
    assert toy.gradient(toy.point_of_no_return) == 0
    assert toy.gradient(-1.0) == 0


@given(u=ANY_U, share=st.floats(0.0, 0.98))
def test_the_trajectory_solves_the_equation_of_motion(u, share):
    toy = SaddleNodeToy(10.0)
    r = u * toy.r_star
    end = share * min(2 * toy.T, math.pi / 2 / math.sqrt(r) if r > 0 else math.inf)
    path = solve_ivp(lambda t, y: [y[0] ** 2 + r, 2 * y[0] * y[1] + 1], (0, end), [0, 0], rtol=1e-10, atol=1e-12)
    assert toy.trajectory(r, end) == pytest.approx(path.y[0, -1], rel=1e-6, abs=1e-9)
    assert toy.sensitivity(r, end) == pytest.approx(path.y[1, -1], rel=1e-6, abs=1e-9)


@given(r=st.floats(-1e-6, 1e-6), t=st.floats(0, 20))
def test_nothing_cancels_near_r_zero(r, t):
    toy = SaddleNodeToy(10.0)
    z = r * t * t
    assert toy.trajectory(r, t) == pytest.approx(r * t * (1 + z / 3 + 2 * z**2 / 15), rel=1e-9, abs=1e-300)
    assert toy.sensitivity(r, t) == pytest.approx(t * (1 + 2 * z / 3 + 6 * z**2 / 15), rel=1e-9)


def test_after_escape_the_state_is_infinite_and_its_sensitivity_undefined():
    toy = SaddleNodeToy(10.0)
    times = np.array([0.0, 9.999, 10.001, 20.0])
    assert np.isinf(toy.trajectory(toy.r_star, times)).tolist() == [False, False, True, True]
    assert np.isnan(toy.sensitivity(toy.r_star, times)).tolist() == [False, False, True, True]


@given(T=DELAYS, product=st.floats(0.1, 1e6), share=st.floats(0.05, 3.0))
def test_r_for_escape_time_inverts_escape_time(T, product, share):
    toy = SaddleNodeToy(T, product / T)
    t = share * T
    assert toy.escape_time(toy.r_for_escape_time(t)) == pytest.approx(t, rel=1e-11)


def brute_force_loss(toy, r):
    """Eq. 1 by adaptive quadrature over time, cut at T, at the crossing and at the escape."""
    crossing = toy.escape_time(r)
    escape = math.pi / 2 / math.sqrt(r) if r > 0 else math.inf

    def error_squared(t):
        argument = toy.confidence * (toy.trajectory(r, t) - toy.x_threshold)
        output = 1 / (1 + math.exp(-argument)) if argument > -700 else 0.0
        return (output - (t > toy.T)) ** 2

    width = 1 / (toy.confidence * (toy.x_threshold**2 + r))
    near = [crossing + sign * width * 3.0**k for k in range(25) for sign in (-1, 1)]
    end = 2 * toy.T
    cuts = sorted({0.0, toy.T, end, *(t for t in (crossing, escape, *near) if 0 < t < end)})
    return sum(quad(error_squared, a, b, epsabs=1e-13, epsrel=1e-12)[0] for a, b in pairwise(cuts))


@pytest.mark.parametrize("confidence", [0.01, 0.3, 2.0, 30.0])
@pytest.mark.parametrize("threshold", [1.0, 10.0, 200.0])
def test_the_loss_at_finite_confidence_is_the_integral(confidence, threshold):
    toy = SaddleNodeToy(100.0, threshold, confidence)
    r = np.array([-1e4, -1, -1e-8, 0, 1e-12, 0.1, 0.25, 0.5, 0.99, 1, 1.01, 4, 1e4]) * toy.r_star
    wanted = [brute_force_loss(toy, float(value)) for value in r]
    np.testing.assert_allclose(toy.loss(r), wanted, rtol=1e-10, atol=1e-10)


def finite_difference(toy, r):
    """Sixth-order central difference, with a step well above rounding of the loss, and well below
    the width of the escape: at a low confidence and u = 1/4, where it comes at 2 T, a step of 1e-4
    is too long.
    """
    h = 1e-5 * toy.r_star
    loss = toy.loss(r + h * np.arange(-3, 4))
    return float(loss @ np.array([-1, 9, -45, 0, 45, -9, 1]) / (60 * h))


@given(u=st.floats(-2, 4), confidence=st.floats(0.02, 0.5))
@example(u=0.25, confidence=0.03125)
@example(u=0.2499, confidence=0.02)
def test_the_gradient_at_finite_confidence_is_the_slope_of_the_loss(u, confidence):
    toy = SaddleNodeToy(10.0, 1.0, confidence)
    r = u * toy.r_star
    tolerance = 1e-7 * 2 * toy.T**3 / math.pi**2
    assert toy.gradient(r) == pytest.approx(finite_difference(toy, r), rel=1e-6, abs=tolerance)


@pytest.mark.parametrize("u", [-1.0, 0.0, 0.1, 0.4, 0.9, 1.3, 5.0])
def test_high_confidence_converges_to_the_step_and_a_high_threshold_to_the_analytic_limit(u):
    r = u * SaddleNodeToy(100.0).r_star
    step, limit = SaddleNodeToy(100.0, 10.0), SaddleNodeToy(100.0)
    gaps = [abs(SaddleNodeToy(100.0, 10.0, c).loss(r) - step.loss(r)) for c in (1.0, 10.0, 100.0)]
    assert gaps[2] <= 0.15 * gaps[1] + 1e-11
    assert gaps[1] <= 0.15 * gaps[0] + 1e-11
    assert SaddleNodeToy(100.0, 1e7).loss(r) == pytest.approx(limit.loss(r), abs=1.1e-7)


@pytest.mark.parametrize("confidence", [0.1, 1.0])
def test_the_euler_loss_converges_to_the_exact_one(confidence):
    toy = SaddleNodeToy(10.0, 5.0, confidence)
    r = np.array([-0.5, 0.1, 0.6, 1.5, 2.0]) * toy.r_star
    gaps = [np.abs(toy.euler_loss(r, dt).loss - toy.loss(r)).max() for dt in (0.04, 0.01, 0.0025)]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


@given(u=st.floats(-1, 3))
@settings(max_examples=30)
def test_the_euler_gradient_is_the_derivative_of_the_euler_loss(u):
    toy = SaddleNodeToy(10.0, 5.0, 0.3)
    r = u * toy.r_star
    h = 1e-6 * toy.r_star
    high, low = toy.euler_loss(np.array([r + h, r - h]), dt=0.1).loss
    assert toy.euler_loss(r).gradient == pytest.approx((high - low) / (2 * h), rel=1e-4, abs=1e-3)


def test_the_euler_loss_is_the_plain_loop():
    toy, r, dt = SaddleNodeToy(5.0, 2.0, 1.0), 0.2, 0.1
    x = total = 0.0
    for k in range(100):
        total += (1 / (1 + math.exp(-(x - 2.0))) - (k >= 50)) ** 2 * dt
        x = min(x + dt * (x * x + r), 50.0)
    assert toy.euler_loss(r, dt, x_max=50.0).loss == pytest.approx(total, rel=1e-13)


@pytest.mark.parametrize("toy", [SaddleNodeToy(100.0), SaddleNodeToy(100.0, 10.0), SaddleNodeToy(100.0, 10.0, 1.0)])
def test_methods_keep_the_shape_of_r(toy):
    r = np.array([[-1.0, 0.0, 0.5], [1.0, 2.0, 9.0]]) * toy.r_star
    for method in (toy.loss, toy.gradient, toy.escape_time):
        values = method(r)
        assert values.shape == r.shape
        assert values[1, 2] == pytest.approx(method(float(r[1, 2])), rel=1e-12)
        assert isinstance(method(float(r[1, 2])), float)
        assert method(r[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SaddleNodeToy(0.0), "T must be above 0"),
        (lambda: SaddleNodeToy(math.inf), "T must be"),
        (lambda: SaddleNodeToy(10.0, -1.0), "x_threshold must be above 0"),
        (lambda: SaddleNodeToy(10.0, 1.0, 0.0), "confidence must be above 0"),
        (lambda: SaddleNodeToy(10.0, confidence=1.0), "x_threshold must be finite at finite confidence"),
        (lambda: SaddleNodeToy(10.0).loss([0.0, math.nan]), "r must be finite, got nan"),
        (lambda: SaddleNodeToy(10.0).trajectory(1.0, -1.0), "t must be at least 0"),
        (lambda: SaddleNodeToy(10.0).r_for_escape_time(0.0), "t must be above 0"),
        (lambda: SaddleNodeToy(10.0).euler_loss(1.0), "confidence must be finite"),
        (lambda: SaddleNodeToy(10.0, 1.0, 1.0).euler_loss(1.0, dt=11.0), "dt must be at most T"),
        (lambda: SaddleNodeToy(10.0, 5.0, 1.0).euler_loss(1.0, x_max=4.0), "x_max must be at least 5"),
        (lambda: SaddleNodeToy(10.0).oscillation_bounds(1.0), "learning_rate must be below"),
        (lambda: SaddleNodeToy(10.0, 5.0).oscillation_bounds(1e-9), "x_threshold must be inf"),
        (lambda: SaddleNodeToy(10.0).approach_epochs(0.0, 1e-9), "r0 must be at least r_star"),
        (lambda: SaddleNodeToy(10.0).approach_epochs(1.0, 0.0), "learning_rate must be above 0"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
