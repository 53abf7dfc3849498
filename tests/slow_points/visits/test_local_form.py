"""The form of the flow at a slow point: dimension, passage time, where it holds."""

from __future__ import annotations

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.slow_points import UserField, find_slow_points
from ghostpoint.slow_points.fields import network_field
from ghostpoint.slow_points.visits.local_form import LocalForm, local_forms


def ghost_form(velocity, size, mu):
    """The form at the one ghost of a field, looked for near 0."""
    field = UserField(lambda x: np.stack(velocity(x.T, mu), axis=1), None, size)
    states = np.concatenate([np.full((1, size), 1e-3 * np.sqrt(mu)), 0.1 * np.ones((3, size))])
    points = find_slow_points(field, states=states, n_starts=4, noise=1e-9).ghosts
    assert len(points) == 1
    return local_forms(field, None, points)[0]


def quadratic(rho, linear, bends):
    rho = np.array(rho, float)
    one = np.eye(len(rho))
    return LocalForm(np.zeros(len(rho)), one, one, rho, np.array(linear, float), np.array(bends, float))


@pytest.mark.parametrize("mu", [1e-1, 1e-4, 1e-8, 1e-12])
def test_two_slow_directions_have_the_passage_time_of_the_faster_one(mu):
    # alone they take pi / sqrt(mu) and pi / sqrt(mu / 4); the first to leave ends the passage
    form = ghost_form(lambda x, m: (m + x[0] ** 2, m / 4 + x[1] ** 2, -x[2]), 3, mu)
    assert form.dimension == 2
    assert form.passage_time == pytest.approx(np.pi / np.sqrt(mu), rel=1e-5)


@pytest.mark.parametrize("mu", [1e-2, 1e-6, 1e-10])
def test_coupled_slow_directions(mu):
    # on the diagonal the flow is mu + (1 + c) x**2
    form = ghost_form(lambda x, m: (m + x[0] ** 2 + 0.6 * x[0] * x[1], m + x[1] ** 2 + 0.6 * x[0] * x[1]), 2, mu)
    assert form.dimension == 2
    assert form.passage_time == pytest.approx(np.pi / np.sqrt(1.6 * mu), rel=1e-3)


def test_three_slow_directions():
    form = ghost_form(lambda x, m: (m + x[0] ** 2, m + x[1] ** 2, m + x[2] ** 2, -x[3]), 4, 1e-4)
    assert form.dimension == 3
    assert form.passage_time == pytest.approx(np.pi / 1e-2, rel=1e-5)


@pytest.mark.parametrize(("rate", "dimension"), [(0.001, 2), (0.019, 2), (0.021, 1), (1.0, 1)])
def test_a_direction_is_slow_while_its_rate_is_in_the_range_of_the_other_ones(rate, dimension):
    # along x the rate goes from -2 sqrt(mu) to 2 sqrt(mu) in the bottleneck
    form = ghost_form(lambda x, m: (m + x[0] ** 2, -rate * x[1]), 2, 1e-4)
    assert form.dimension == dimension


def test_no_passage_time_where_the_form_stays_finite():
    # du/dt = 1 - u**2 comes to rest on both sides; a second direction that does nothing
    form = quadratic([1.0, 0.0], np.zeros((2, 2)), [[[-1.0, 0.0], [0.0, 0.0]], np.zeros((2, 2))])
    assert np.isnan(form.passage_time)
    assert np.isnan(quadratic([1.0], [[0.0]], [[[-1.0]]]).passage_time)


def test_the_time_between_two_states_is_that_of_the_motion():
    bends = [[[1.0, 0.2], [0.2, 0.5]], [[-0.3, 0.1], [0.1, 0.8]]]
    form = quadratic([1e-3, 2e-3], 0.01 * np.array([[0.0, 1.0], [-0.5, -1.0]]), bends)
    x, steps, dt = np.array([[-0.02, -0.01]]), 0, 1e-2
    start = x[0]
    while steps < 1200:
        middle = x + dt / 2 * form.kept(x)
        x, steps = x + dt * form.kept(middle), steps + 1
    assert form.time_between(start, x[0]) == pytest.approx(steps * dt, rel=1e-5)
    assert np.isnan(form.time_between(x[0], start))


@pytest.mark.parametrize("mu", [1e-4, 1e-8, 1e-12])
def test_the_time_from_far_away_is_known_too(mu):
    form = ghost_form(lambda x, m: (m + x[0] ** 2, m + x[1] ** 2), 2, mu)
    time = form.time_between(np.array([-0.1, -0.1]), np.array([0.2, 0.2]))
    rate = np.sqrt(mu)
    assert time == pytest.approx((np.arctan(0.2 / rate) + np.arctan(0.1 / rate)) / rate, rel=1e-6)


def test_the_form_holds_where_it_leaves_out_less_than_it_keeps():
    # dy/dt = r + y**2 + y**3: the cubic is as large as what is kept at y of about 1, for small r
    for r in (1e-2, 1e-6):
        form = ghost_form(lambda x, m: (m + x[0] ** 2 + x[0] ** 3,), 1, r)
        y = np.linspace(-0.6, 1.5, 4001)[:, None]
        held = y[form.left_out(y, r + y**2 + y**3) <= 1]
        keeps = np.abs(y**3)[:, 0] <= r + y[:, 0] ** 2
        assert held.max() == pytest.approx(y[keeps].max(), abs=0.03)


def test_a_fixed_point_keeps_its_linearisation():
    model = gp.LowRankRNN(m=[1.0, 1.0], n=[1.0, 1.0])
    points = find_slow_points(model)
    network = network_field(model)
    forms = local_forms(network.search, network, points)
    z = forms[0].at + 1e-6
    assert forms[0].left_out(z[None], network.search.flow(z[None]))[0] < 1e-4
    assert forms[0].left_out(forms[0].at[None], np.zeros((1, 1)))[0] == 0
    assert np.isnan(forms[0].passage_time)


def test_eigenvalues_beside_the_null_vector_do_not_depend_on_the_basis():
    """A ghost with two slow directions that are no axes, and no right angle apart."""
    # an acute angle: across an obtuse one |F| is least elsewhere, where one of them is not slow
    A = np.array([[1.0, 0.5, 0.0, 0.0], [0.2, 1.0, 0.0, 0.0], [0.3, -0.2, 1.0, 0.4], [0.1, 0.6, 0.2, 1.0]])
    back = np.linalg.inv(A)
    mu = 1e-6

    def velocity(x):
        y = x @ back.T
        return np.stack([mu + y[:, 0] ** 2, mu + y[:, 1] ** 2, -y[:, 2], -2 * y[:, 3]], axis=1) @ A.T

    field = UserField(velocity, None, 4)
    points = find_slow_points(field, states=np.full((2, 4), 1e-6), n_starts=2, noise=1e-9).ghosts
    form = local_forms(field, None, points)[0]
    assert form.dimension == 2
    assert form.passage_time == pytest.approx(np.pi / np.sqrt(mu), rel=1e-3)
