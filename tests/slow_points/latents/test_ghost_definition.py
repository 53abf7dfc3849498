"""One definition of a ghost: latents in an orthonormal basis, the state, and any split of W say the
same.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points import find_slow_points, track_slow_points
from ghostpoint.slow_points.fields import network_field, orthonormal_field
from ghostpoint.slow_points.ghosts import is_minimum, solve_ghost
from ghostpoint.slow_points.latents import flow_ghosts, latent_ghosts, latent_speed, latent_zeros
from ghostpoint.slow_points.latents.known_points import default_starts
from ghostpoint.slow_points.search.descent import hessian
from tests.slow_points.networks import full_rank, planted


def random_weights(seed, rank, units=30, gain=3.0):
    """m, n (N, K) with standard deviation gain / sqrt(N), b (N,) with 1/2."""
    generator = np.random.default_rng(seed)
    m, n = gain * generator.normal(size=(2, units, rank)) / np.sqrt(units)
    return m, n, 0.5 * generator.normal(size=units)


def low_rank(m, n, b):
    return LowRankRNN(m[None], n[None], b[None])


def matched(first, second, tolerance=1e-7):
    """Whether the rows of the two are the same points, in whatever order."""
    return len(first) == len(second) and all(
        np.abs(second - point).max(axis=1).min() <= tolerance * (1 + np.abs(point).max()) for point in first
    )


# the two public functions


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("seed", range(15))
def test_both_public_functions_list_the_same_ghosts(seed, rank):
    model = low_rank(*random_weights(seed, rank))
    ghosts, points = latent_ghosts(model), find_slow_points(model)
    assert matched(ghosts.position, points.ghosts.latent)
    order = [int(np.abs(points.ghosts.latent - place).max(axis=1).argmin()) for place in ghosts.position]
    np.testing.assert_allclose(ghosts.speed, points.ghosts.speed[order], rtol=1e-9)
    np.testing.assert_allclose(ghosts.speed, latent_speed(model, ghosts.position), rtol=1e-9)
    zeros = latent_zeros(model)
    assert zeros.complete
    assert matched(zeros.position, points.fixed.latent)


def test_the_networks_of_the_agreement_have_ghosts():
    counts = {rank: [latent_ghosts(low_rank(*random_weights(s, rank))).count for s in range(15)] for rank in (2, 3)}
    for rank, found in counts.items():
        assert sum(found) >= 8, rank
        assert max(found) >= 3, rank


def test_the_speed_of_kappa_has_other_minima():
    """What disagreed before: minima of |f(kappa)| are as many as those of |dz/dt| in some networks
    only.
    """
    fewer = 0
    for seed in range(15):
        m, n, b = random_weights(seed, 3)
        network = network_field(low_rank(m, n, b))
        for place in latent_ghosts(low_rank(m, n, b)).position:
            own = solve_ghost(network.exact, None, place)
            near = own.settled and is_minimum(network.exact, None, own) and np.abs(own.kappa - place).max() < 1.0
            fewer += not near
    assert fewer >= 2


# the split of W


def mixing(seed, rank):
    """A matrix A with a condition number of 20 at most."""
    generator = np.random.default_rng(seed)
    left, right = (np.linalg.qr(generator.normal(size=(rank, rank)))[0] for _ in range(2))
    scale = 10.0 ** generator.uniform(-1, 1) * np.geomspace(1.0, generator.uniform(1.0, 20.0), rank)
    return left @ np.diag(scale) @ right


@settings(max_examples=25)
@given(seed=st.integers(0, 14), rank=st.integers(2, 3), mix=st.integers(0, 2**32 - 1))
def test_ghosts_do_not_depend_on_how_the_matrix_is_split(seed, rank, mix):
    m, n, b = random_weights(seed, rank)
    A = mixing(mix, rank)
    first, second = low_rank(m, n, b), low_rank(m @ A, n @ np.linalg.inv(A).T, b)
    # kappa = n^T x becomes A^-1 kappa
    ghosts, others = latent_ghosts(first), latent_ghosts(second)
    back = others.position @ A.T
    assert matched(ghosts.position, back, 1e-6)
    order = [int(np.abs(back - place).max(axis=1).argmin()) for place in ghosts.position]
    np.testing.assert_allclose(others.speed[order], ghosts.speed, rtol=1e-8)
    np.testing.assert_allclose(others.curvature[order], ghosts.curvature, rtol=1e-6, atol=1e-9)


@settings(max_examples=20)
@example(seed=4, rank=3, mix=45152)  # latents of a hundredth of the first: proven in their own units
@given(seed=st.integers(0, 14), rank=st.integers(1, 4), mix=st.integers(0, 2**32 - 1))
def test_slow_points_do_not_depend_on_how_the_matrix_is_split(seed, rank, mix):
    m, n, b = random_weights(seed, rank)
    A = mixing(mix, rank)
    first, second = low_rank(m, n, b), low_rank(m @ A, n @ np.linalg.inv(A).T, b)
    # above rank three the search is all there is: near what was found, both look at the same places
    near = find_slow_points(first).position if rank > 3 else None
    points, others = (find_slow_points(each, states=near, noise=1e-3, n_starts=256) for each in (first, second))
    assert len(points) == len(others)
    for kind in ("fixed", "ghost", "undecided"):
        chosen, same = points[points.kind == kind], others[others.kind == kind]
        assert matched(chosen.position, same.position, 1e-6)
        if not len(chosen):
            continue
        order = [int(np.abs(same.position - place).max(axis=1).argmin()) for place in chosen.position]
        same = same[order]
        assert same.latent @ A.T == pytest.approx(chosen.latent, rel=1e-6, abs=1e-7)
        np.testing.assert_allclose(same.speed, chosen.speed, rtol=1e-7, atol=1e-11)
        np.testing.assert_allclose(same.escape_time, chosen.escape_time, rtol=1e-5)
        np.testing.assert_allclose(same.eigenvalues.real, chosen.eigenvalues.real, atol=1e-6)


def test_tracks_do_not_depend_on_how_the_matrix_is_split():
    m, n, b = random_weights(8, 2)
    A = mixing(3, 2)
    shift = 0.4 * np.random.default_rng(0).normal(size=len(b))
    biases = np.stack([b + t * shift for t in np.linspace(0, 1, 6)])
    first = LowRankRNN(np.repeat(m[None], 6, 0), np.repeat(n[None], 6, 0), biases)
    second = LowRankRNN(np.repeat((m @ A)[None], 6, 0), np.repeat((n @ np.linalg.inv(A).T)[None], 6, 0), biases)
    tracks, others = track_slow_points(first), track_slow_points(second)
    assert tracks.count("ghost").min() >= 1
    for kind in ("fixed", "ghost"):
        np.testing.assert_array_equal(tracks.count(kind), others.count(kind))
    assert [e.kind for e in tracks.events] == [e.kind for e in others.events]
    assert [e.epoch for e in tracks.events] == pytest.approx([e.epoch for e in others.events], abs=1e-6)
    assert np.sort(tracks.speed[tracks.kind == "ghost"]) == pytest.approx(
        np.sort(others.speed[others.kind == "ghost"]), rel=1e-7
    )


def test_the_basis_of_the_latents_is_that_of_the_matrix():
    for seed in range(5):
        m, n, b = random_weights(seed, 3)
        field, root = orthonormal_field(m, n, b)
        A = mixing(seed, 3)
        again, _ = orthonormal_field(m @ A, n @ np.linalg.inv(A).T, b)
        right = np.linalg.svd(m @ n.T)[2][:3]
        np.testing.assert_allclose(field.A @ field.A.T, np.eye(3), atol=1e-13)
        np.testing.assert_allclose(field.A.T @ root, n, atol=1e-12)
        np.testing.assert_allclose(np.abs(np.sum(field.A * right, axis=1)), 1.0, atol=1e-10)
        np.testing.assert_allclose(again.A, field.A, atol=1e-9)
        np.testing.assert_allclose(again.B, field.B, atol=1e-8)


# the state


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), rank=st.integers(1, 4), size=st.floats(0.01, 3.0))
def test_the_speed_of_the_state_is_that_of_the_latents_and_a_distance(seed, rank, size):
    """``|F(Q z + p)|**2 = |f(z)|**2 + |p - p*(z)|**2`` for every z and every p at right angles to
    Q.
    """
    m, n, b = random_weights(seed, rank)
    model = low_rank(m, n, b)
    field, root = orthonormal_field(m, n, b)
    Q = field.A.T
    x = size * np.random.default_rng(seed).normal(size=(20, len(b)))
    z = x @ Q
    p, t = x - z @ Q.T, field.rates(z)
    nearest = t - t @ Q @ Q.T
    F = np.tanh(x @ n @ m.T + b) - x
    expected = np.sum(field.flow(z) ** 2, axis=1) + np.sum((p - nearest) ** 2, axis=1)
    np.testing.assert_allclose(np.sum(F**2, axis=1), expected, rtol=1e-10)
    np.testing.assert_allclose(latent_speed(model, z @ root), np.linalg.norm(field.flow(z), axis=1), rtol=1e-9)


@pytest.mark.parametrize(("seed", "rank"), [(5, 2), (8, 2), (11, 2), (8, 3), (9, 3)])
def test_ghosts_of_the_latents_are_those_of_the_state(seed, rank):
    m, n, b = random_weights(seed, rank)
    low = find_slow_points(low_rank(m, n, b))
    assert len(low.ghosts) >= 1
    # from everywhere, and from near each of the latents' slow points
    full = find_slow_points(full_rank(m @ n.T, b), states=low.position, noise=1e-3, n_starts=256)
    for kind in ("fixed", "ghost"):
        assert matched(low[low.kind == kind].position, full[full.kind == kind].position)
    order = [int(np.abs(full.ghosts.position - place).max(axis=1).argmin()) for place in low.ghosts.position]
    same = full.ghosts[order]
    np.testing.assert_allclose(same.speed, low.ghosts.speed, rtol=1e-9)
    np.testing.assert_allclose(same.escape_time, low.ghosts.escape_time, rtol=1e-6)
    # the state of a ghost is Q f away from the units' rates
    rates = np.tanh(low.ghosts.latent @ m.T + b)
    np.testing.assert_allclose(np.linalg.norm(rates - low.ghosts.position, axis=1), low.ghosts.speed, rtol=1e-7)


def test_near_a_fold_the_state_has_the_same_ghost_and_other_bases_one_beside_it():
    """Ratio of speeds 1 for the state; in a basis that is not orthonormal distance and passage are
    off as the speed.
    """
    m, n, b = random_weights(8, 2)
    split = np.array([[1.0, 0.6], [0.0, 0.5]])
    m, n = m @ np.linalg.inv(split).T, n @ split
    W = m @ n.T
    start = find_slow_points(low_rank(m, n, b)).ghosts[0]
    place, direction, height = start.position[0], start.left_vector[0], float(start.speed[0])
    speeds, distances, lags = [1e-2, 1e-3, 1e-4, 1e-5], [], []
    for speed in speeds:
        b, place, height = planted(W, b, place, direction, height, speed)
        model = low_rank(m, n, b)
        latents, state = (
            find_slow_points(each, states=place, noise=0.0, n_starts=2).ghosts for each in (model, full_rank(W, b))
        )
        pair = [g[int(np.linalg.norm(g.position - place, axis=1).argmin())] for g in (latents, state)]
        low, full = pair
        assert low.speed[0] == pytest.approx(speed, rel=1e-6)
        assert full.speed[0] == pytest.approx(low.speed[0], rel=1e-8)
        assert np.abs(full.position - low.position).max() < 1e-9
        direction = low.left_vector[0]
        # minima of |f(kappa)|, the metric being the identity
        field = network_field(model).exact
        other = solve_ghost(field, None, low.latent[0])
        assert other.settled
        assert is_minimum(field, None, other)
        distances.append(float(np.linalg.norm(other.kappa - low.latent[0])))
        lags.append(abs(passage(field, other.kappa) / low.escape_time[0] - 1))
    exponents = [np.polyfit(np.log(speeds), np.log(values), 1)[0] for values in (distances, lags)]
    assert exponents == pytest.approx([1.0, 1.0], abs=0.05)


def passage(field, kappa):
    """``pi / sqrt(r a)`` where J is singular: w . f and w . D2f[v, v] / 2, over w . v each."""
    left, _, right = np.linalg.svd(field.jacobian(kappa[None])[0])
    w, v = left[:, -1], right[-1]
    r = w @ field.flow(kappa[None])[0] / (w @ v)
    a = v @ field.curvature(kappa[None], w[None])[0] @ v / (2 * (w @ v))
    return np.pi / np.sqrt(r * a)


# special networks


def test_rank_one_speeds_differ_by_the_norm_of_n():
    m, n, b = random_weights(3, 1, gain=6.0)
    model = low_rank(m, n, b)
    ghosts, points = latent_ghosts(model), find_slow_points(model).ghosts
    assert ghosts.count >= 1
    order = np.argsort(points.latent[:, 0])
    np.testing.assert_allclose(ghosts.speed, np.linalg.norm(n) * points.speed[order], rtol=1e-9)
    np.testing.assert_allclose(latent_speed(model, ghosts.position), points.speed[order], rtol=1e-9)
    field, _ = orthonormal_field(m, n, b)
    bends = hessian(field, ghosts.position / np.linalg.norm(n) * np.sign(n[np.abs(n[:, 0]).argmax()]))
    np.testing.assert_allclose(ghosts.curvature[:, 0], bends[:, 0, 0], rtol=1e-7)


@pytest.mark.parametrize("seed", [0, 3, 9])
def test_dependent_columns_make_a_network_of_lower_rank(seed):
    """With n = (n, 2 n) the network is one of rank one with m_1 + 2 m_2, whose ghosts are known
    completely.
    """
    m, n, b = random_weights(seed, 1, gain=6.0)
    second = 0.3 * random_weights(seed + 50, 1)[0]
    pair = low_rank(np.hstack([m - 2 * second, second]), np.hstack([n, 2 * n]), b)
    expected = flow_ghosts(m[:, 0], n[:, 0], b)
    assert expected.count[0] == {0: 0, 3: 2, 9: 1}[seed]
    k = expected.position[0]
    ghosts, points = latent_ghosts(pair), find_slow_points(pair).ghosts
    assert matched(np.stack([k, 2 * k], axis=1), ghosts.position, 1e-6)
    np.testing.assert_allclose(ghosts.speed, np.abs(expected.height[0]) / np.linalg.norm(n), rtol=1e-6)
    assert matched(points.position @ np.hstack([n, 2 * n]), ghosts.position, 1e-6)
    # the latent without effect adds the square of its distance from what the other says, and a
    # factor 1 to the Hessian
    bends = 2 * expected.height[0] * expected.curvature[0]
    np.testing.assert_allclose(np.prod(ghosts.curvature, axis=1), bends, rtol=1e-6)


def test_fewer_units_than_latents():
    generator = np.random.default_rng(0)
    counts = []
    for _ in range(10):
        m, n = 3 * generator.normal(size=(2, 2, 3))
        model = low_rank(m, n, generator.normal(size=2))
        ghosts, points = latent_ghosts(model), find_slow_points(model).ghosts
        assert matched(points.position @ n, ghosts.position, 1e-6)
        assert ghosts.curvature.shape == (ghosts.count, 2)
        counts.append(ghosts.count)
    assert sum(counts) >= 1


def test_the_energy_has_the_hessian_it_claims():
    m, n, b = random_weights(1, 3)
    field = orthonormal_field(m, n, b)[0]
    z = np.random.default_rng(0).normal(size=(4, 3))

    def gradient(places):
        return np.einsum("sij,si->sj", field.jacobian(places), field.flow(places))

    for k, e in enumerate(1e-6 * np.eye(3)):
        of_q = (np.sum(field.flow(z + e) ** 2, axis=1) - np.sum(field.flow(z - e) ** 2, axis=1)) / 4e-6
        np.testing.assert_allclose(of_q, gradient(z)[:, k], atol=1e-8)
        np.testing.assert_allclose((gradient(z + e) - gradient(z - e)) / 2e-6, hessian(field, z)[:, k], atol=1e-7)


def test_speed_of_a_grid_under_an_input():
    m, n, b = random_weights(0, 2)
    w_in = np.random.default_rng(1).normal(size=(30, 2))
    model = LowRankRNN(m[None], n[None], b[None], w_in=w_in[None])
    kappa, u = np.random.default_rng(2).normal(size=(3, 4, 2)), np.array([0.3, -1.0])
    speed = latent_speed(model, kappa, inputs=u)
    assert speed.shape == (3, 4)
    np.testing.assert_allclose(speed, latent_speed(low_rank(m, n, b + w_in @ u), kappa))
    R = np.linalg.qr(n)[1]
    velocity = np.tanh(kappa[1, 2] @ m.T + b + w_in @ u) @ n - kappa[1, 2]
    assert speed[1, 2] == pytest.approx(np.linalg.norm(np.linalg.solve(R.T, velocity)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: latent_speed(np.ones(3), [0.0]), "model must be a LowRankRNN, got ndarray"),
        (lambda: latent_speed(LowRankRNN(np.ones((2, 3)), np.ones((2, 3))), [0.0]), "model must be one network, got 2"),
        (lambda: latent_speed(LowRankRNN([1.0], [1.0]), [0.0, 1.0]), r"kappa must have shape \(..., 1\), got \(2,\)"),
        (lambda: latent_speed(LowRankRNN([1.0], [1.0]), 0.0), r"kappa must have shape \(..., 1\), got \(\)"),
        (lambda: latent_speed(LowRankRNN([1.0], [1.0]), [0.0], inputs=[1.0]), "inputs must"),
    ],
)
def test_bad_input_of_the_speed_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_more_starts_for_more_latents():
    assert [latent_ghosts(low_rank(*random_weights(0, rank))).starts for rank in (1, 2, 3)] == [
        0,
        default_starts(2),
        default_starts(3),
    ]
