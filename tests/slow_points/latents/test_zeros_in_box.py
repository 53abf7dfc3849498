"""All zeros in the latent space: products of known cases, planted folds, symmetries, and what
cannot be decided.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros, latent_ghosts, latent_zeros
from tests.slow_points.latents.test_rank_one import fold_network
from tests.slow_points.latents.test_zeros_in_box_kernels import exact
from tests.slow_points.oracles import PRECISION, random_network

MIXING = {2: np.array([[2.0, 1.0], [1.0, 1.0]]), 3: np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])}


def model(m, n, b, **keywords):
    return LowRankRNN(np.asarray(m, float)[None], np.asarray(n, float)[None], np.asarray(b, float)[None], **keywords)


def product(networks, mixed):
    """Rank-one networks side by side, one a latent, in another basis of the latents if ``mixed``;
    m, n, b.

    ``kappa = P kappa'`` makes ``m = m' P**-1``, ``n = n' P^T``: exact for small whole numbers.
    """
    rank, sizes = len(networks), [len(w[0]) for w in networks]
    m, n = np.zeros((2, sum(sizes), rank))
    for k, (start, weights) in enumerate(zip(np.cumsum([0, *sizes]), networks, strict=False)):
        m[start : start + sizes[k], k], n[start : start + sizes[k], k] = weights[0], weights[1]
    p = MIXING[rank] if mixed else np.eye(rank)
    return m @ np.round(np.linalg.inv(p)), n @ p.T, np.concatenate([w[2] for w in networks]), p


def assert_zeros_are_real(zeros, m, n, b):
    """Newton's iteration in extended precision from each ends within its radius, and no two end
    together.
    """
    ends = []
    for position, radius in zip(zeros.position, zeros.radius, strict=True):
        with mpmath.workprec(PRECISION):
            x = mpmath.matrix([mpmath.mpf(float(v)) for v in position])
            for _ in range(6):
                t = [
                    mpmath.tanh(sum(mpmath.mpf(v) * w for v, w in zip(mi, x, strict=True)) + bi)
                    for mi, bi in zip(m.tolist(), b.tolist(), strict=True)
                ]
                rank = len(x)
                f = mpmath.matrix([sum(mpmath.mpf(n[i, k]) * t[i] for i in range(len(t))) - x[k] for k in range(rank)])
                jacobian = mpmath.matrix(exact([float(v) for v in x], m, n, b)[1])
                x = x - mpmath.lu_solve(jacobian, f)
            assert max(abs(x[k] - mpmath.mpf(float(position[k]))) for k in range(rank)) <= radius
            assert max(abs(v) for v in f) < 1e-25
            ends.append([float(v) for v in x])
    for i, position in enumerate(zeros.position):
        others = [np.abs(np.array(end) - position).max() for j, end in enumerate(ends) if j != i]
        assert min(others, default=np.inf) > zeros.isolation[i] * (1 - 1e-9)
    assert np.all(zeros.radius <= zeros.isolation)


@settings(deadline=None, max_examples=20)
@given(
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
    units=st.sampled_from([1, 2, 5, 30]),
    gain=st.sampled_from([0.5, 2.0, 5.0]),
    odd=st.booleans(),
    mixed=st.booleans(),
)
def test_latents_that_do_not_interact_have_the_product_of_their_zeros(seeds, units, gain, odd, mixed):
    networks = [(m, n, 0.0 * b if odd else b) for m, n, b in (random_network(seed, units, gain) for seed in seeds)]
    alone = [flow_zeros(*weights) for weights in networks]
    m, n, b, p = product(networks, mixed and len(seeds) > 1)
    zeros = latent_zeros(model(m, n, b))
    assert zeros.whole_space
    assert zeros.complete
    assert zeros.count == np.prod([record.count[0] for record in alone])
    axes = [record.position[0, : record.count[0]] for record in alone]
    expected = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(seeds)) @ p.T
    stable = np.stack(np.meshgrid(*[record.stable[0, : record.count[0]] for record in alone], indexing="ij"), axis=-1)
    for place, settles in zip(expected, stable.reshape(-1, len(seeds)).all(axis=1), strict=True):
        gap = np.abs(zeros.position - place).max(axis=1)
        nearest = gap.argmin()
        assert gap[nearest] <= 1e-8 * (1 + np.abs(place).max())
        assert zeros.stable[nearest] == settles
        assert zeros.stability_proven[nearest]


distances = st.builds(lambda e, s: s * 10.0**e, st.floats(-14, -2), st.sampled_from([-1, 1]))


@settings(deadline=None, max_examples=8)
@given(
    nm=st.floats(1.5, 10),
    distance=distances,
    split=st.sampled_from([1, 8]),
    rank=st.sampled_from([2, 3]),
    pull=st.sampled_from([0.0, 0.5, -0.25]),
)
def test_planted_fold_is_counted_right(nm, distance, split, rank, pull):
    """A fold in the first latent, which drives the second by ``pull``; that has one zero for every
    drive.
    """
    m1, n1, b1, gap, _ = fold_network(nm, distance, split)
    m, n, b, p = product([(m1, n1, b1), *[(np.array([0.5]), np.array([1.0]), np.array([0.1]))] * (rank - 1)], False)
    drive = np.zeros((2, 1, rank))
    drive[0, 0, 0], drive[1, 0, 1] = 1.0, pull
    m, n, b = np.concatenate([m, drive[0]]), np.concatenate([n, drive[1]]), np.append(b, 0.25)
    p = MIXING[rank]
    m, n = m @ np.round(np.linalg.inv(p)), n @ p.T
    zeros = latent_zeros(model(m, n, b))
    if abs(gap) > 1e-12:
        assert zeros.complete
    if zeros.complete:
        assert zeros.count == (3 if gap > 0 else 1)
    else:
        assert set(zeros.reason) == {"degenerate"}
        assert 1 <= zeros.count <= (2 if gap > 0 else 1)
    assert_zeros_are_real(zeros, m, n, b)


@pytest.mark.parametrize("gap", [1e-13, 1e-15, -1e-13, -1e-15])
def test_extended_precision_decides_what_rounding_hides(gap):
    m1, n1, b1, exact_gap, _ = fold_network(3.0, gap, 4)
    m, n, b, _ = product([(m1, n1, b1), (np.array([2.0]), np.array([1.0]), np.array([0.0]))], True)
    zeros = latent_zeros(model(m, n, b))
    assert zeros.complete
    assert zeros.count == (9 if exact_gap > 0 else 3)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("gain", [1.0, 1 - 1e-3, 1 + 1e-3, 1 - 1e-6, 1 + 1e-6])
def test_pitchfork(rank, gain):
    """``-kappa + tanh(gain kappa)`` in one latent: a triple zero at gain 1, which no proof can
    count.
    """
    quiet = [(np.array([0.5]), np.array([1.0]), np.array([0.25]))] * (rank - 1)
    m, n, b, _ = product([(np.array([gain]), np.array([1.0]), np.array([0.0])), *quiet], rank > 1)
    zeros = latent_zeros(model(m, n, b))
    if gain == 1:
        assert not zeros.complete
        assert zeros.reason == ("degenerate",)
        assert zeros.count == 0
    else:
        assert zeros.complete
        assert zeros.count == (3 if gain > 1 else 1)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    rank=st.sampled_from([2, 3]),
    units=st.integers(1, 6),
    gain=st.sampled_from([1.0, 4.0, 20.0]),
    digits=st.sampled_from([0, 1, 8]),
    change=st.sampled_from(["none", "odd", "copies", "symmetric", "silent", "aligned"]),
)
def test_zeros_are_real_and_none_that_newton_finds_is_missing(seed, rank, units, gain, digits, change):
    generator = np.random.default_rng(seed)
    m, n = np.round(np.sqrt(gain) * generator.normal(size=(2, units, rank)), digits)
    b = np.round(generator.normal(size=units), digits)
    if change == "odd":
        b = np.zeros(units)
    elif change == "copies":
        m, n, b = (np.concatenate([w, w]) for w in (m, n, b))
    elif change == "symmetric":
        n = m.copy()
    elif change == "silent":
        m[:, 0] = 0.0
    elif change == "aligned":
        m[:, 1] = m[:, 0]
    zeros = latent_zeros(model(m, n, b))
    assert zeros.whole_space
    assert set(zeros.reason) <= {"degenerate"}
    assert_zeros_are_real(zeros, m, n, b)
    x = generator.uniform(-1, 1, (300, rank)) * np.abs(n).sum(axis=0)
    for found in newton_ends(x, m, n, b):
        listed = np.any(np.all(np.abs(zeros.position - found) <= zeros.radius[:, None] + 1e-7, axis=1))
        open_ = any(np.all((found >= low - 1e-7) & (found <= high + 1e-7)) for low, high in zeros.undecided)
        assert listed or open_
    if change == "odd" and zeros.complete:
        assert zeros.count % 2 == 1
        for place in zeros.position:
            assert np.abs(zeros.position + place).max(axis=1).min() <= 2 * zeros.radius.max() + 1e-12
    if zeros.complete and np.all(zeros.stability_proven):
        # degree: f points inwards on the box, so the signs of det(-J) add up to one
        assert np.sum(np.sign(np.prod(-zeros.eigenvalues, axis=1).real)) == 1


def newton_ends(x, m, n, b, steps=60):
    """Where damped Newton iterations from the rows of x settle, J regular on the way."""
    rank = x.shape[1]
    outer = (n[:, :, None] * m[:, None, :]).reshape(len(m), -1)
    ends = []
    for _ in range(steps):
        t = np.tanh(x @ m.T + b)
        f, jacobian = t @ n - x, ((1 - t * t) @ outer).reshape(-1, rank, rank) - np.eye(rank)
        regular = np.abs(np.linalg.det(jacobian)) > 1e-9
        x, f, jacobian = x[regular], f[regular], jacobian[regular]
        step = np.linalg.solve(jacobian, f[..., None])[..., 0]
        size = np.linalg.norm(step, axis=1)
        longest = 2.0 + np.linalg.norm(x, axis=1)
        x = x - step * np.minimum(1.0, longest / np.maximum(size, 1e-300))[:, None]
        settled = size <= 1e-9 * (1 + np.abs(x).max(axis=1, initial=0.0))
        ends.append(x[settled])
        x = x[~settled]
    return np.concatenate(ends)


def test_limits_cut_the_search_and_say_so():
    m, n, b, _ = product([([2.0], [1.0], [0.0]), ([2.0], [1.0], [0.0])], False)
    network = model(m, n, b)
    every = latent_zeros(network)
    assert every.count == 9
    right = latent_zeros(network, box=(0.5, 2.0))
    assert right.count == 1
    assert not right.whole_space
    assert right.complete
    assert latent_zeros(network, box=([-2.0, 0.5], [2.0, 2.0])).count == 3
    edge = latent_zeros(network, box=([0.0, 0.5], [2.0, 2.0]))
    assert edge.count == 1
    assert edge.reason == ("limit",)
    assert latent_zeros(network, box=(-9.0, 9.0)).whole_space
    nowhere = latent_zeros(network, box=(5.0, 6.0))
    assert nowhere.count == 0
    assert nowhere.complete


def test_constant_input_shifts_the_bias():
    generator = np.random.default_rng(5)
    m, n, w_in = generator.normal(size=(3, 1, 20, 2)) / 3
    network = LowRankRNN(2 * m, 2 * n, w_in=w_in)
    u = np.array([1.0, -2.0])
    driven, shifted = latent_zeros(network, inputs=u), latent_zeros(network.replace(b=w_in[0] @ u))
    np.testing.assert_array_equal(driven.position, shifted.position)
    assert driven.count
    for kappa in driven.position:
        assert np.abs(network.flow(kappa[None], u)).max() < 1e-12
        state = network.rates(kappa[None], u)
        np.testing.assert_allclose(network.rates_of_state(state, u), state, atol=1e-12)


def test_stability_of_a_rotation_depends_on_the_step():
    """``f = -kappa + R tanh(kappa)`` with R a rotation times 2: eigenvalues
    ``-1 + 2 exp(+-i angle)`` at 0.
    """
    angle = 2.0
    turn = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    zeros = latent_zeros(model(np.eye(2), turn.T, np.zeros(2)))
    assert zeros.complete
    middle = np.abs(zeros.position).max(axis=1).argmin()
    np.testing.assert_allclose(zeros.eigenvalues[middle].real, -1 + 2 * np.cos(angle), rtol=1e-12)
    np.testing.assert_allclose(np.sort(zeros.eigenvalues[middle].imag), [-2 * np.sin(angle), 2 * np.sin(angle)])
    assert zeros.stable[middle]
    assert zeros.stability_proven[middle]
    value = zeros.eigenvalues[middle, 0]
    largest = -2 * value.real / abs(value) ** 2  # |1 + alpha lambda| = 1
    assert zeros.stable_under_map(0.99 * largest)[middle]
    assert not zeros.stable_under_map(1.01 * largest)[middle]


def test_dataset_holds_the_record():
    zeros = latent_zeros(model([[2.0, 0.0], [0.0, 1.0]], np.eye(2), np.zeros(2)))
    dataset = zeros.to_dataset()
    assert dict(dataset.sizes) == {"zero": zeros.count, "latent": 2, "box": zeros.n_undecided, "end": 2}
    assert zeros.n_undecided == 3  # a triple zero in the second latent at each zero of the first
    np.testing.assert_array_equal(dataset.position, zeros.position)
    assert list(dataset.reason.values) == list(zeros.reason)
    assert not dataset.attrs["complete"]


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), gain=st.sampled_from([1.0, 3.0, 10.0]))
def test_ghosts_of_rank_one_are_the_proven_ones(seed, gain):
    m, n, b = random_network(seed, 10, gain)
    ghosts, expected = latent_ghosts(model(m[:, None], n[:, None], b)), flow_ghosts(m, n, b)
    assert ghosts.complete == expected.complete[0]
    np.testing.assert_array_equal(ghosts.position[:, 0], expected.position[0])
    np.testing.assert_array_equal(ghosts.speed, np.abs(expected.height[0]))
    assert np.all(ghosts.curvature > 0)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("third", [False, True])
def test_ghosts_of_latents_that_do_not_interact(third, mixed):
    """q is a sum, so its minima are products of zeros and ghosts of the latents; not all of them
    zeros.

    The orthonormal latent of each network is kappa / |n|. In another basis of the latents the
    ghosts are the same.
    """
    networks = [fold_network(3.0, -0.05, 1)[:3], fold_network(4.0, -0.1, 1)[:3]]
    networks += [(np.array([2.0]), np.array([1.0]), np.array([0.0]))] * third
    minima = []
    for weights in networks:
        zeros, ghosts = flow_zeros(*weights), flow_ghosts(*weights)
        heights = ghosts.height[0] / np.linalg.norm(weights[1])
        minima.append([(x, 0.0) for x in zeros.position[0]] + list(zip(ghosts.position[0], heights, strict=True)))
    grid = np.array(np.meshgrid(*[range(len(axis)) for axis in minima], indexing="ij")).reshape(len(networks), -1).T
    pairs = [[minima[k][i] for k, i in enumerate(row)] for row in grid]
    expected = [([x for x, _ in pair], np.linalg.norm([v for _, v in pair])) for pair in pairs]
    expected = [(x, speed) for x, speed in expected if speed > 0]
    m, n, b, basis = product(networks, mixed)
    ghosts = latent_ghosts(model(m, n, b))
    assert not ghosts.complete
    assert ghosts.count == len(expected)
    for unmixed, speed in expected:
        place = basis @ unmixed
        nearest = np.abs(ghosts.position - place).max(axis=1).argmin()
        np.testing.assert_allclose(ghosts.position[nearest], place, atol=1e-6)
        assert ghosts.speed[nearest] == pytest.approx(speed, rel=1e-9)
    assert ghosts.to_dataset().sizes["ghost"] == ghosts.count


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: latent_zeros(LowRankRNN(np.ones((2, 3, 2)), np.ones((2, 3, 2)))), "model must be one network, got 2"),
        (
            lambda: latent_zeros(LowRankRNN(np.ones((1, 3, 4)), np.ones((1, 3, 4)))),
            "model must have rank 1, 2 or 3, got 4",
        ),
        (lambda: latent_zeros(np.ones(3)), "model must be a LowRankRNN, got ndarray"),
        (lambda: latent_zeros(LowRankRNN([1e31], [1.0])), r"m must lie within \+-1e\+30, got 1e\+31"),
        (lambda: latent_zeros(LowRankRNN([1.0], [1.0]), inputs=[1.0]), "inputs must be left out"),
        (lambda: latent_zeros(LowRankRNN([1.0], [1.0]), box=(1, -1)), "box must be"),
        (lambda: latent_zeros(LowRankRNN([1.0], [1.0]), box=([0, 1], 2)), r"box must have shape \(1\)"),
        (lambda: latent_zeros(LowRankRNN([1.0], [1.0])).stable_under_map(0), "alpha must be above 0"),
        (lambda: latent_ghosts(LowRankRNN([1.0], [1.0]), starts=0), "starts must be at least 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
