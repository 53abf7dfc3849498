"""Passages along the slow manifold: against closed forms, quadrature, and simulation of the whole network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points import UserField, find_slow_points, slow_passage
from tests.slow_points.networks import full_rank, rank_one_near_fold
from tests.slow_points.test_ghosts import a_ghost


def bent(r, a, fall, bend):
    """``dy/dt = r + a y**2, dz/dt = -fall z + bend y**2``, in coordinates that mix the two."""
    mix = np.array([[1.0, 0.4], [-0.3, 1.0]])
    back = np.linalg.inv(mix)

    def flow(x):
        y, z = (x @ back.T).T
        return np.stack([r + a * y**2, -fall * z + bend * y**2], axis=1) @ mix.T

    def derivative(x):
        y = (x @ back.T)[:, 0]
        inner = np.zeros((len(x), 2, 2))
        inner[:, 0, 0], inner[:, 1, 0], inner[:, 1, 1] = 2 * a * y, 2 * bend * y, -fall
        return mix @ inner @ back

    return UserField(flow, derivative, 2), mix


def the_ghost(field):
    return find_slow_points(field, states=np.zeros((1, 2)), n_starts=8, noise=0.05).ghosts[0]


@given(r=st.floats(1e-4, 1e-2), a=st.floats(0.3, 2.0), fall=st.floats(0.8, 2.0), bend=st.floats(-1.0, 1.0))
@settings(max_examples=25, deadline=None)
def test_a_flow_whose_slow_coordinate_obeys_the_normal_form(r, a, fall, bend):
    # y does not depend on z here, so the time between two y is that of the normal form, whatever the curve is
    field, mix = bent(r, a, fall, bend)
    ghost = the_ghost(field)
    passage = slow_passage(field, ghost)
    assert passage.reason == ""
    y = (passage.latent_or_state @ np.linalg.inv(mix).T)[:, 0]
    exact = (np.arctan(y[-1] * np.sqrt(a / r)) - np.arctan(y[0] * np.sqrt(a / r))) / np.sqrt(r * a)
    assert passage.duration == pytest.approx(exact, abs=3 * passage.error + 1e-7 * exact)


def test_the_curve_is_the_slow_manifold():
    # dz/dt = -fall z + bend y**2 with dy/dt = r + a y**2: a trajectory that starts on the curve stays on it
    field, _ = bent(5e-4, 0.7, 1.0, 0.8)
    ghost = the_ghost(field)
    passage = slow_passage(field, ghost)
    run = solve_ivp(
        lambda t, x: field.flow(x[None])[0], (0, passage.duration), passage.latent_or_state[0], rtol=1e-10, atol=1e-12
    )
    assert np.linalg.norm(run.y[:, -1] - passage.latent_or_state[-1]) < 1e-3 * np.linalg.norm(
        passage.latent_or_state[-1] - passage.latent_or_state[0]
    )
    # the first curve, along which F keeps its direction, is another
    w = ghost.left_vector[0] / (ghost.left_vector[0] @ ghost.slow_direction[0])
    np.testing.assert_allclose((passage.latent_or_state - ghost.position[0]) @ w, passage.y, atol=1e-10)
    assert passage.order > 0


def rank_one():
    m, n, b = rank_one_near_fold(3, 30, 1e-2)
    model = LowRankRNN(m[None, :, None], n[None, :, None], b[None])
    ghost = find_slow_points(model, n_starts=4).ghosts[0]
    return model, ghost


def test_rank_one_is_a_quadrature():
    model, ghost = rank_one()
    m, n, b = model.m[0, :, 0], model.n[0, :, 0], model.b[0]
    passage = slow_passage(model, ghost)
    ends = passage.latent_or_state[[0, -1], 0]
    exact, _ = quad(lambda k: 1 / (n @ np.tanh(m * k + b) - k), *ends, epsabs=1e-10, limit=200)
    assert passage.duration == pytest.approx(abs(exact), rel=1e-8)
    assert passage.error < 1e-6 * passage.duration


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_rank_one_steps(alpha):
    model, ghost = rank_one()
    m, n, b = model.m[0, :, 0], model.n[0, :, 0], model.b[0]
    passage = slow_passage(model, ghost, alpha=alpha)
    kappa, end = passage.latent_or_state[[0, -1], 0]
    sign, steps = np.sign(end - kappa), 0.0
    while sign * (end - kappa) > 0:
        last, kappa = kappa, kappa + alpha * (n @ np.tanh(m * kappa + b) - kappa)
        steps += 1
    steps += (end - kappa) / (kappa - last)
    # whole steps in between: one at the end is cut linearly
    assert passage.duration == pytest.approx(steps, abs=passage.error + 0.02)


def steps_of_the_network(model, ghost, x, alpha, end):
    w = ghost.left_vector[0] / (ghost.left_vector[0] @ ghost.slow_direction[0])
    x, before, steps = x[None], None, 0
    while True:
        x = model.step(x, alpha)
        now = float(w @ (x[0] - ghost.position[0]))
        steps += 1
        if now >= end:
            return steps - 1 + (end - before) / (now - before)
        before = now
        assert steps < 100_000


@pytest.mark.parametrize(("speed", "alpha", "share"), [(1e-3, 0.1, 0.03), (1e-3, 0.4, 0.03), (1e-4, 0.4, 1e-2)])
def test_a_full_rank_network_takes_the_time(speed, alpha, share):
    W, b, ghost = a_ghost(speed=speed, passable=True)
    model = full_rank(W, b)
    passage = slow_passage(model, ghost, alpha=alpha)
    assert passage.reason == ""
    assert passage.error < share * passage.duration
    steps = steps_of_the_network(model, ghost, passage.latent_or_state[0], alpha, passage.y[-1])
    assert abs(steps - passage.duration) <= passage.error
    # a start beside the curve, to first order
    beside = steps_of_the_network(
        model, ghost, ghost.position[0] + passage.y[0] * ghost.slow_direction[0], alpha, passage.y[-1]
    )
    assert beside - steps == pytest.approx(passage.off_curve, abs=0.3 * abs(passage.off_curve) + 0.1)


def test_a_map_that_leaves_the_curve_has_no_error_bar():
    field, _ = bent(1e-3, 1.0, 1.5, 0.5)
    ghost = the_ghost(field)
    assert slow_passage(field, ghost, alpha=1.2).reason == ""  # 1 - 1.2 * 1.5 = -0.8
    passage = slow_passage(field, ghost, alpha=1.5)  # -1.25
    assert "driven away" in passage.reason
    assert passage.error == np.inf
    assert "no error bar" in repr(passage)


def test_a_curve_that_turns_back_has_no_passage():
    # z = 1 + sqrt(y + 1) is the curve's other half: both end at y = -1
    def flow(x):
        y, z = x.T
        return np.stack([0.01 + y**2, (y + 1) - (1 - z) ** 2], axis=1)

    def derivative(x):
        y, z = x.T
        matrix = np.zeros((len(x), 2, 2))
        matrix[:, 0, 0], matrix[:, 1, 0], matrix[:, 1, 1] = 2 * y, 1.0, 2 * (1 - z)
        return matrix

    field = UserField(flow, derivative, 2)
    ghost = find_slow_points(field, states=np.array([[0.0, 2.0]]), n_starts=8, noise=0.05).ghosts[0]
    assert slow_passage(field, ghost, -0.3, 0.3).reason == ""
    passage = slow_passage(field, ghost, -2.0, 0.3)
    assert passage.error == np.inf
    assert passage.reason
    # limits of its own choice end before that
    assert slow_passage(field, ghost).reason == ""


def test_arguments():
    model, ghost = rank_one()
    points = find_slow_points(model, n_starts=4)
    with pytest.raises(ValueError, match=r"point must be one ghost .* got 1 points: fixed"):
        slow_passage(model, points.fixed[0])
    with pytest.raises(ValueError, match=r"y0 must be below 0.*got 0.1"):
        slow_passage(model, ghost, 0.1, 0.2)
    with pytest.raises(ValueError, match="y1 must be"):
        slow_passage(model, ghost, -0.1, 0.0)
    with pytest.raises(ValueError, match="alpha must be"):
        slow_passage(model, ghost, alpha=0.0)
    other = LowRankRNN(*(np.zeros((1, 5, 1)) for _ in "mn"), np.zeros((1, 5)))
    with pytest.raises(ValueError, match="point must have 5 units like the model, got 30"):
        slow_passage(other, ghost)
    field, _ = bent(1e-3, 1.0, 1.5, 0.5)
    with pytest.raises(ValueError, match="inputs must be part"):
        slow_passage(field, the_ghost(field), inputs=[1.0])
