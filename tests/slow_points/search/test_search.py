"""The search: what it finds, what it says of starts that lead nowhere, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.slow_points import UserField, find_slow_points
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros
from ghostpoint.slow_points.search.descent import newton
from tests.slow_points.networks import full_rank, vanilla


def saddle_node(r):
    """``dx/dt = r + x**2, dy/dt = -2 y``, as a user's field."""
    return UserField(
        lambda x: np.stack([r + x[:, 0] ** 2, -2 * x[:, 1]], axis=1),
        lambda x: np.stack([np.stack([2 * x[:, 0], 0 * x[:, 0]], 1), np.stack([0 * x[:, 0], 0 * x[:, 0] - 2], 1)], 1),
        2,
    )


@pytest.mark.parametrize("r", [0.3, 1e-3, 1e-6])
def test_the_ghost_of_a_users_field(r):
    points = find_slow_points(saddle_node(r), states=np.ones((1, 2)), n_starts=16)
    assert list(points.kind) == ["ghost"]
    np.testing.assert_allclose(points.position, 0, atol=1e-8)
    assert points.r[0] == pytest.approx(r)
    assert points.a[0] == pytest.approx(1.0)
    assert points.certificate[0] == "none"
    assert "UserField" in points.reason[0]


def test_zeros_of_a_users_field():
    points = find_slow_points(saddle_node(-0.25), states=np.zeros((1, 2)), n_starts=32, noise=1.0)
    assert sorted(points.position[:, 0]) == pytest.approx([-0.5, 0.5])
    assert points.stable.sum() == 1
    assert np.isnan(points.escape_time).all()


def test_a_field_without_slow_points_has_only_unconverged_starts():
    drift = UserField(lambda x: np.exp(-x), lambda x: -np.exp(-x)[:, :, None], 1)
    points = find_slow_points(drift, states=np.zeros((1, 1)), n_starts=5, max_steps=10)
    assert len(points) == 0
    assert len(points.unconverged.reason) == 5
    assert all("10 steps" in reason for reason in points.unconverged.reason)
    assert "5 starts unconverged" in repr(points)


@pytest.mark.parametrize("seed", range(4))
def test_rank_one_networks_are_searched_completely(seed):
    generator = np.random.default_rng(seed)
    m, n = 5 * generator.normal(size=(2, 30)) / np.sqrt(30)
    b = generator.normal(size=30)
    points = find_slow_points(LowRankRNN(m, n, b), n_starts=2)
    zeros, ghosts = flow_zeros(m, n, b), flow_ghosts(m, n, b)
    np.testing.assert_allclose(np.sort(points.fixed.latent[:, 0]), zeros.position[0, : zeros.count[0]], atol=1e-9)
    np.testing.assert_allclose(np.sort(points.ghosts.latent[:, 0]), ghosts.position[0, : ghosts.count[0]], atol=1e-9)


def test_low_rank_networks_agree_with_their_full_matrix():
    generator = np.random.default_rng(2)
    m, n = 2.5 * generator.normal(size=(2, 24, 3)) / np.sqrt(24)
    model = LowRankRNN(m[None], (m + 0.3 * n)[None], 0.2 * generator.normal(size=(1, 24)))
    low = find_slow_points(model, n_starts=48)
    same = full_rank(m @ (m + 0.3 * n).T, model.b[0])
    full = find_slow_points(same, states=low.position, noise=1e-4, n_starts=4 * len(low))
    assert len(low.fixed) >= 3
    assert len(low.ghosts) >= 3
    for i in range(len(low)):
        distance = np.linalg.norm(full.position - low.position[i], axis=1)
        assert distance.min() < 1e-8
        j = int(distance.argmin())
        assert full.kind[j] == low.kind[i]
        np.testing.assert_allclose(full.eigenvalues[j].real, low.eigenvalues[i].real, atol=1e-7)
    np.testing.assert_allclose(low.latent, low.position @ model.n[0], atol=1e-12)


def test_every_point_is_stationary_and_every_start_accounted_for():
    W, b = vanilla(3, 40, 2.0, 0.1)
    points = find_slow_points(full_rank(W, b), n_starts=64)
    F = np.tanh(points.position @ W.T + b) - points.position
    np.testing.assert_allclose(np.linalg.norm(F, axis=1), points.speed, atol=1e-13)
    assert (points.speed[points.kind == "fixed"] < 1e-13).all()
    J = (1 - (F + points.position) ** 2)[:, :, None] * W - np.eye(40)
    assert np.abs(np.einsum("pij,pi->pj", J, F)).max() < 1e-12
    assert points.hits.sum() + len(points.unconverged.reason) == 64
    assert (points.certificate == "float64").all()


def test_constant_input_moves_the_points():
    W, b = vanilla(0, 10, 0.5)
    w_in = np.random.default_rng(0).normal(size=(10, 2))
    model = FullRankRNN(W[None], b[None], w_out=np.zeros((1, 1, 10)), b_out=np.zeros((1, 1)), w_in=w_in[None])
    u = np.array([0.3, -0.2])
    x = find_slow_points(model, inputs=u, n_starts=4).position
    assert len(x) == 1
    np.testing.assert_allclose(model.flow(x[:, None], u), 0, atol=1e-14)
    assert np.linalg.norm(x) > 0.1


def test_given_states_are_where_the_search_starts():
    W, b = vanilla(1, 60, 2.2)
    everywhere = find_slow_points(full_rank(W, b), n_starts=64, certify=False)
    chosen = everywhere[len(everywhere) - 1]
    near = find_slow_points(full_rank(W, b), states=chosen.position[:, None], n_starts=8, noise=1e-3, certify=False)
    assert np.linalg.norm(near.position - chosen.position, axis=1).min() < 1e-8


def test_same_seed_same_points():
    W, b = vanilla(1, 20, 2.0)
    first, second = (find_slow_points(full_rank(W, b), n_starts=16, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.position, second.position)


def test_dataset_and_indexing():
    W, b = vanilla(1, 20, 2.0, 0.1)
    points = find_slow_points(full_rank(W, b), n_starts=16, tau=10.0, dt=5.0)
    data = points.to_dataset()
    assert data.sizes["point"] == len(points)
    assert (data.attrs["tau"], data.attrs["dt"], data.attrs["complete_fixed_points"]) == (10.0, 5.0, 0)
    np.testing.assert_array_equal(data["speed"], points.speed)
    assert len(points[0]) == 1
    np.testing.assert_array_equal(points[points.stable].position, points.position[points.stable])
    assert len(points.fixed) + len(points.ghosts) == len(points)
    assert str(points.kind[0]) in repr(points)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_starts": 0}, "n_starts"),
        ({"noise": -1.0}, "noise"),
        ({"states": np.zeros(3)}, "states"),
        ({"states": np.zeros((0, 5))}, "states"),
        ({"inputs": [1.0]}, "inputs"),
        ({"tau": 0.0}, "tau"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_slow_points(full_rank(*vanilla(0, 5, 1.0)), **arguments)


def test_what_is_not_one_network_is_refused():
    with pytest.raises(ValueError, match="one network"):
        find_slow_points(LowRankRNN.initialize(5, [0, 1]))
    with pytest.raises(ValueError, match="LowRankRNN"):
        find_slow_points(np.eye(3))
    with pytest.raises(ValueError, match="states"):
        find_slow_points(saddle_node(1.0))
    with pytest.raises(ValueError, match="tau"):
        _ = find_slow_points(full_rank(*vanilla(0, 5, 0.5)), n_starts=2).time_constants_ms


def test_states_that_share_a_jacobian_reach_their_own_zeros():
    """Two zeros 2e-7 apart, beside a fold, and a crowd at a regular zero of the same field."""
    field = UserField(lambda x: x**2 * (x - 1) - 1e-14 * (x - 1), lambda x: (3 * x**2 - 2 * x - 1e-14)[:, :, None], 1)
    starts = np.concatenate([[[1.1e-7], [-1.1e-7], [1.2e-7]], 1 + 1e-8 * np.arange(5.0)[:, None]])
    zeros, speed, settled = newton(field, starts)
    assert settled.all()
    # F is 0 to rounding, 16e-16, within 8e-9 of them, where its slope is 2e-7
    np.testing.assert_allclose(zeros[:3, 0], [1e-7, -1e-7, 1e-7], atol=8e-9)
    np.testing.assert_allclose(zeros[3:, 0], 1.0, rtol=1e-14)
    assert speed.max() < 1e-15
