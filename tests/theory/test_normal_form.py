"""The normal form against numerical solutions of its flow."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from ghostpoint.theory import NormalForm, SaddleNodeToy

COEFFICIENTS = st.floats(-3.0, 3.0).map(lambda value: math.copysign(max(abs(value), 0.05), value))
POSITIONS = st.floats(-5.0, 5.0)


@given(r=COEFFICIENTS, a=COEFFICIENTS, y0=POSITIONS, y1=POSITIONS)
@settings(max_examples=60)
def test_the_flow_arrives_at_the_time_it_should_or_never(r, a, y0, y1):
    assume(y1 - y0 > 1e-3)
    form = NormalForm(r, a)
    time = form.escape_time(y0, y1)

    def arrival(t, y):
        return y[0] - y1

    arrival.terminal = True
    horizon = time * 1.01 if math.isfinite(time) else 200.0
    below = [z for z in form.fixed_points if z < y0]
    floor = (below[-1] if below else y0) - 1.0

    def gone(t, y):
        return y[0] - floor

    gone.terminal = True
    path = solve_ivp(lambda t, y: r + a * y * y, (0, horizon), [y0], events=[arrival, gone], rtol=1e-10, atol=1e-12)
    if math.isfinite(time):
        assert path.t_events[0].size == 1
        assert path.t_events[0][0] == pytest.approx(time, rel=1e-6)
    elif not any(abs(z - y1) < 1e-3 or abs(z - y0) < 1e-3 for z in form.fixed_points):
        assert path.t_events[0].size == 0


@given(r=COEFFICIENTS, a=COEFFICIENTS, y0=POSITIONS, width=st.floats(1e-9, 3.0))
def test_finite_times_are_the_integral_of_one_over_the_speed(r, a, y0, width):
    form = NormalForm(r, a)
    y1 = y0 + width
    time = form.escape_time(y0, y1)
    assume(math.isfinite(time))
    assume(all(min(abs(z - y0), abs(z - y1)) > 1e-3 for z in form.fixed_points))
    span = y1 - y0
    wanted = span * quad(lambda s: 1 / (r + a * (y0 + span * s) ** 2), 0, 1, epsrel=1e-11, limit=200)[0]
    assert time == pytest.approx(wanted, rel=1e-9)


@given(r=COEFFICIENTS, a=COEFFICIENTS, y0=POSITIONS, y1=POSITIONS, y2=POSITIONS)
def test_times_add_up(r, a, y0, y1, y2):
    y0, y1, y2 = sorted((y0, y1, y2))
    assume(y0 < y1 < y2)
    form = NormalForm(r, a)
    whole = form.escape_time(y0, y2)
    assume(math.isfinite(whole))
    assert form.escape_time(y0, y1) + form.escape_time(y1, y2) == pytest.approx(whole, rel=1e-9)


@given(r=st.floats(1e-12, 1e3), a=st.floats(1e-6, 1e3))
def test_a_ghost_delays_by_pi_over_its_scale(r, a):
    form = NormalForm(r, a)
    assert form.escape_time() == pytest.approx(math.pi / math.sqrt(r * a), rel=1e-12)
    assert form.passage_time == NormalForm(-r, -a).passage_time == pytest.approx(form.escape_time(), rel=1e-12)
    assert form.escape_time(0.0) == pytest.approx(form.escape_time() / 2, rel=1e-12)
    assert NormalForm(-r, -a).escape_time() == math.inf  # the flow points down
    assert NormalForm(r, -a).escape_time() == NormalForm(-r, a).escape_time() == math.inf


@given(r=COEFFICIENTS, a=COEFFICIENTS)
def test_fixed_points_are_zeros_of_the_flow(r, a):
    form = NormalForm(r, a)
    assert len(form.fixed_points) == (2 if r * a < 0 else 0)
    for y in form.fixed_points:
        assert r + a * y * y == pytest.approx(0, abs=1e-12)
        assert form.escape_time(y, y + 1) == math.inf
        assert form.escape_time(y - 1, y) == math.inf


def test_at_the_saddle_node_time_is_a_difference_of_reciprocals():
    form = NormalForm(0.0, 2.0)
    assert form.fixed_points == (0.0,)
    assert form.escape_time(1.0, 4.0) == pytest.approx((1 - 1 / 4) / 2)
    assert form.escape_time(-4.0, -1.0) == pytest.approx((1 - 1 / 4) / 2)
    assert form.escape_time(1.0) == pytest.approx(1 / 2)
    assert form.escape_time(-1.0, 1.0) == form.escape_time(-1.0, 0.0) == form.escape_time() == math.inf
    assert NormalForm(0.0, -2.0).escape_time(1.0, 4.0) == math.inf
    assert form.passage_time == math.inf


def test_infinite_limits_beside_fixed_points():
    form = NormalForm(-1.0, 1.0)  # y = coth from above 1, time to infinity acoth(y0)
    assert form.escape_time(2.0) == pytest.approx(math.atanh(0.5))
    assert form.escape_time(-math.inf, -2.0) == pytest.approx(math.atanh(0.5))
    assert NormalForm(1.0, -1.0).escape_time(-0.5, 0.5) == pytest.approx(2 * math.atanh(0.5))


@given(u=st.floats(0.3, 5.0))
def test_the_toy_model_is_the_normal_form_with_unit_curvature(u):
    toy = SaddleNodeToy(10.0, 7.0)
    r = u * toy.r_star
    assert toy.escape_time(r) == pytest.approx(NormalForm(r, 1.0).escape_time(0.0, 7.0), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NormalForm(1.0, 0.0), "a must not be 0"),
        (lambda: NormalForm(math.nan, 1.0), "r must be finite"),
        (lambda: NormalForm(1.0, math.inf), "a must be finite"),
        (lambda: NormalForm(1.0, 1.0).escape_time(2.0, 1.0), "y0 must be below y1, got y0 = 2 and y1 = 1"),
        (lambda: NormalForm(1.0, 1.0).escape_time(math.nan, 1.0), "y0 must be a number"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
