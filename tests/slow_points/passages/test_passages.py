"""Passages along the slow manifold: against closed forms, quadrature, and simulation of the whole
network.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Chebyshev
from scipy.integrate import quad, solve_ivp

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points import UserField, find_slow_points, slow_passage
from ghostpoint.slow_points.passages.slow_manifold import refined, straight
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


@given(r=st.floats(1e-6, 1e-2), a=st.floats(0.3, 2.0), fall=st.floats(0.8, 2.0), bend=st.floats(-1.0, 1.0))
@settings(max_examples=25, deadline=None)
def test_a_flow_whose_slow_coordinate_obeys_the_normal_form(r, a, fall, bend):
    # y does not depend on z here, so the time between two y is that of the normal form, whatever
    # the curve is
    field, mix = bent(r, a, fall, bend)
    ghost = the_ghost(field)
    passage = slow_passage(field, ghost)
    assert passage.reason == ""
    y = (passage.latent_or_state @ np.linalg.inv(mix).T)[:, 0]
    exact = (np.arctan(y[-1] * np.sqrt(a / r)) - np.arctan(y[0] * np.sqrt(a / r))) / np.sqrt(r * a)
    assert abs(passage.duration - exact) <= passage.error + 1e-12 * exact
    assert passage.error < 0.05 * exact


def coupled(r):
    """``dy/dt = r + y**2 + y z / 2, dz/dt = -z + y**2``: the fast coordinate acts on the slow
    one.
    """

    def flow(x):
        y, z = x.T
        return np.stack([r + y**2 + y * z / 2, -z + y**2], axis=1)

    def derivative(x):
        y, z = x.T
        matrix = np.zeros((len(x), 2, 2))
        matrix[:, 0, 0], matrix[:, 0, 1] = 2 * y + z / 2, y / 2
        matrix[:, 1, 0], matrix[:, 1, 1] = 2 * y, -1.0
        return matrix

    return UserField(flow, derivative, 2)


@pytest.mark.parametrize("alpha", [None, 0.3])
def test_every_order_is_nearer_to_an_invariant_curve(alpha):
    field = coupled(1e-4)
    ghost = the_ghost(field)
    at, v = ghost.position[0], ghost.slow_direction[0]
    w = ghost.left_vector[0] / (ghost.left_vector[0] @ v)
    first = straight(field, at, v, w, -0.03, 0.03)

    def residual(curve):
        """By which a point of the curve leaves it, in parts of how far it goes."""
        path = Chebyshev.fit(curve.y, curve.x[:, 0], 32), Chebyshev.fit(curve.y, curve.x[:, 1], 32)
        inside = curve.y[3:-3]
        x, f = curve.x[3:-3], field.flow(curve.x[3:-3])
        if alpha is None:
            left = f - curve.g[3:-3, None] * np.stack([one.deriv()(inside) for one in path], axis=1)
        else:
            end = inside + alpha * curve.g[3:-3]
            left = (x + alpha * f - np.stack([one(end) for one in path], axis=1)) / alpha
        return np.abs(left).max() / np.abs(f).max()

    sizes = [residual(first)] + [residual(curve) for curve in refined(field, at, w, first, alpha)]
    assert len(sizes) > 3
    # each pass gains about the ratio of slow to fast time: 2 a y is up to 0.06 here
    assert sizes[1] < 0.2 * sizes[0]
    assert sizes[2] < 0.2 * sizes[1]
    assert sizes[3] < 0.3 * sizes[2]
    if alpha is not None:
        # the flow's curve is another
        assert min(sizes) < 0.1 * min(residual(curve) for curve in refined(field, at, w, first, None))


def test_a_trajectory_from_the_curve_takes_the_time_and_stays():
    field = coupled(1e-4)
    ghost = the_ghost(field)
    passage = slow_passage(field, ghost, -0.03, 0.03)
    run = solve_ivp(
        lambda t, x: field.flow(x[None])[0], (0, passage.duration), passage.latent_or_state[0],
        rtol=1e-11, atol=1e-14, dense_output=True,
    )  # fmt: skip
    w = ghost.left_vector[0] / (ghost.left_vector[0] @ ghost.slow_direction[0])
    along = [Chebyshev.fit(passage.y, passage.latent_or_state[:, k], 32) for k in (0, 1)]
    for t in np.linspace(0, passage.duration, 7):
        x = run.sol(t)
        y = float(w @ (x - ghost.position[0]))
        np.testing.assert_allclose(x, [one(y) for one in along], atol=1e-8)
    assert y == pytest.approx(0.03, abs=passage.error * passage.velocity[-1] + 1e-9)
    assert passage.error < 1e-4 * passage.duration


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
    assert abs(passage.duration - abs(exact)) <= passage.error
    assert passage.error < 1e-6 * passage.duration


@pytest.mark.parametrize("height", [1e-4, 1e-6, 1e-8])
def test_limits_much_wider_than_the_ghost(height):
    m, n, b = rank_one_near_fold(3, 30, height)
    model = LowRankRNN(m[None, :, None], n[None, :, None], b[None])
    ghost = find_slow_points(model, n_starts=4).ghosts[0]
    width = float(np.sqrt(ghost.r[0] / ghost.a[0]))
    passage = slow_passage(model, ghost, -0.3, 0.3)
    ends = passage.latent_or_state[[0, -1], 0]
    # the slow part apart: 1 / f has poles beside the ghost
    at = float(n @ ghost.position[0])
    breaks = np.concatenate([at + s * width * 4.0 ** np.arange(-1, 15) for s in (-1, 1)])
    breaks = np.sort([ends[0], *breaks[(breaks > min(ends)) & (breaks < max(ends))], at, ends[1]])
    exact = sum(
        quad(lambda k: 1 / (n @ np.tanh(m * k + b) - k), low, high, epsrel=1e-9)[0] for low, high in pairwise(breaks)
    )
    assert abs(passage.duration - abs(exact)) <= passage.error
    assert passage.error < 1e-4 * passage.duration


def test_the_bar_covers_what_the_polynomial_leaves_out():
    # steep units: g is a sum of steps
    covered = 0
    for seed in range(12):
        generator = np.random.default_rng(seed)
        gain = [2, 5, 10, 20][seed % 4]
        m = gain * generator.normal(size=20)
        n = 1.2 * np.abs(generator.normal(size=20)) * np.sign(m) / 20
        b = 0.6 * gain * generator.normal(size=20)
        model = LowRankRNN(m[None, :, None], n[None, :, None], b[None])
        ghosts = find_slow_points(model, n_starts=4).ghosts
        for i in range(len(ghosts)):
            passage = slow_passage(model, ghosts[i])
            if passage.reason:
                continue
            low, high = np.sort(passage.latent_or_state[[0, -1], 0])
            pieces = np.linspace(low, high, 200)
            exact = sum(
                quad(lambda k: 1 / (n @ np.tanh(m * k + b) - k), *piece, epsrel=1e-11)[0]  # noqa: B023
                for piece in pairwise(pieces)
            )
            assert abs(passage.duration - abs(exact)) <= passage.error
            covered += 1
    assert covered >= 10


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
    assert abs(passage.duration - steps) <= passage.error
    assert passage.error < 0.01 * passage.duration


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


def test_rank_two_in_the_states_coordinate():
    found = False
    for seed in range(40):
        generator = np.random.default_rng(seed)
        m = generator.normal(size=(1, 40, 2))
        n = (1.6 * m + generator.normal(size=(1, 40, 2))) / 40
        model = LowRankRNN(m, n, 0.5 * generator.normal(size=(1, 40)))
        points = find_slow_points(model, n_starts=32, tau=10.0, dt=2.0)
        for i in np.flatnonzero((points.kind == "ghost") & points.attracts_across & points.slow_alone):
            ghost = points[i]
            passage = slow_passage(model, ghost, -0.2, 0.25, alpha=points.alpha)
            if passage.reason or passage.error > 0.02 * passage.duration:
                continue
            found = True
            # a state with the curve's first latents: the ghost's, moved in the span of n
            move = passage.latent_or_state[0] - model.n[0].T @ ghost.position[0]
            x = ghost.position[0] + model.n[0] @ np.linalg.solve(model.n[0].T @ model.n[0], move)
            w = ghost.left_vector[0] / (ghost.left_vector[0] @ ghost.slow_direction[0])
            assert w @ (x - ghost.position[0]) == pytest.approx(-0.2)
            steps = steps_of_the_network(model, ghost, x, points.alpha, 0.25)
            assert abs(steps - passage.duration) <= passage.error
            # the same network of full rank gives the same
            whole = full_rank(model.m[0] @ model.n[0].T, model.b[0])
            same = slow_passage(whole, ghost, -0.2, 0.25, alpha=points.alpha)
            assert abs(same.duration - passage.duration) <= passage.error + same.error
    assert found


def test_a_curve_that_repels_has_no_error_bar():
    def flow(x):
        y, z = x.T
        return np.stack([0.01 + y**2, 0.5 * z], axis=1)

    def derivative(x):
        matrix = np.zeros((len(x), 2, 2))
        matrix[:, 0, 0], matrix[:, 1, 1] = 2 * x[:, 0], 0.5
        return matrix

    field = UserField(flow, derivative, 2)
    ghost = the_ghost(field)
    assert not ghost.attracts_across[0]
    passage = slow_passage(field, ghost)
    assert passage.error == np.inf
    assert "driven away" in passage.reason


def test_fixed_points_beside_the_ghost_end_the_passage():
    def flow(x):
        return 0.01 + x**2 - 3 * x**3

    field = UserField(flow, lambda x: (2 * x - 9 * x**2)[:, :, None], 1)
    ghost = find_slow_points(field, states=np.zeros((1, 1)), n_starts=4, noise=0.01).ghosts[0]
    assert slow_passage(field, ghost, -0.1, 0.1).reason == ""
    passage = slow_passage(field, ghost, -0.1, 0.6)
    assert np.isnan(passage.duration)
    assert "vanishes" in passage.reason


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
    with pytest.raises(ValueError, match="must be a ghost of this model under these inputs"):
        slow_passage(LowRankRNN(model.m, 1.001 * model.n, model.b + 0.02), ghost)
    whole = full_rank(model.m[0] @ model.n[0].T, model.b[0])
    assert slow_passage(whole, ghost, alpha=0.1).duration == pytest.approx(
        slow_passage(model, ghost, alpha=0.1).duration, rel=1e-6
    )
    other = LowRankRNN(*(np.zeros((1, 5, 1)) for _ in "mn"), np.zeros((1, 5)))
    with pytest.raises(ValueError, match="point must have 5 units like the model, got 30"):
        slow_passage(other, ghost)
    field, _ = bent(1e-3, 1.0, 1.5, 0.5)
    with pytest.raises(ValueError, match="inputs must be part"):
        slow_passage(field, the_ghost(field), inputs=[1.0])
