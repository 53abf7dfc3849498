"""Zeros of the latent flow: none missed, none invented, none counted twice."""

from __future__ import annotations

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros, fold_epochs, latent_flow
from tests.slow_points.oracles import (
    PRECISION,
    exact_flow,
    numpy_flow,
    random_network,
    scanned_zeros,
)

networks = st.builds(
    random_network,
    seed=st.integers(0, 2**32 - 1),
    units=st.sampled_from([1, 2, 3, 7, 30, 100]),
    gain=st.sampled_from([0.5, 1.0, 3.0, 10.0, 30.0]),
)


def kept(record, name, row=0):
    return getattr(record, name)[row, : record.count[row]]


def assert_zeros_are_real(zeros, m, n, b, row=0):
    """Each lies where an extended-precision f changes sign, in disjoint intervals, with the slope
    claimed.
    """
    position, radius, slope = (kept(zeros, name, row) for name in ("position", "radius", "slope"))
    assert np.all((position + radius)[:-1] < (position - radius)[1:])
    for x, width, df, stable in zip(position, radius, slope, kept(zeros, "stable", row), strict=True):
        left, right = exact_flow(x - width, m, n, b), exact_flow(x + width, m, n, b)
        assert left * right < 0
        assert (left > 0) == stable
        assert df == pytest.approx(float(exact_flow(x, m, n, b, 1)), rel=1e-9, abs=1e-10)


@settings(deadline=None, max_examples=60)
@given(networks)
def test_zeros_against_a_dense_scan(network):
    m, n, b = network
    zeros = flow_zeros(m, n, b)
    assert zeros.complete[0]
    assert zeros.whole_line[0]
    assert_zeros_are_real(zeros, m, n, b)
    position = kept(zeros, "position")
    scanned = scanned_zeros(m, n, b, zeros.lower[0], zeros.upper[0])
    for x in scanned:
        assert np.abs(position - x).min() <= 1e-7 * (1 + abs(x))
    assert zeros.count[0] >= len(scanned)
    # f > 0 far to the left, f < 0 far to the right: stable and unstable alternate, stable ones
    # outside
    assert list(kept(zeros, "stable")) == [i % 2 == 0 for i in range(zeros.count[0])]
    assert zeros.count[0] % 2 == 1


def test_many_zeros():
    """A staircase: each of ten steep units lifts f by 2 at its offset."""
    offsets = 2.0 * np.arange(-5, 5) + 1.0
    m, n, b = np.full(10, 20.0), np.ones(10), -20.0 * offsets
    zeros = flow_zeros(m, n, b)
    assert zeros.complete[0]
    assert zeros.count[0] == 21
    assert_zeros_are_real(zeros, m, n, b)
    np.testing.assert_allclose(kept(zeros, "position")[1::2], offsets, atol=1e-12)


def fold_network(nm, distance, split):
    """``-kappa + n tanh(m kappa) + c`` with c near its fold value; the exact distance c_fold - c;
    m, n, b.

    The unit is split in equal parts (a power of two, so exactly); the constant is a unit with m =
    0. The extrema, at sech(m kappa)**2 = 1 / (n m), give c_fold = n t - atanh(t) / m, t = sqrt(1 -
    1 / (n m)): three zeros for c inside, one beyond.
    """
    m, n = 1.0, float(nm)
    with mpmath.workprec(PRECISION):
        t = mpmath.sqrt(1 - 1 / (mpmath.mpf(m) * mpmath.mpf(n)))
        fold = mpmath.mpf(n) * t - mpmath.atanh(t) / mpmath.mpf(m)
        bias = float(mpmath.atanh((fold - mpmath.mpf(distance)) / mpmath.mpf(4 * n)))
        exact = fold - 4 * mpmath.mpf(n) * mpmath.tanh(mpmath.mpf(bias))
    arrays = (np.append(np.full(split, m), 0.0), np.append(np.full(split, n / split), 4 * n))
    return *arrays, np.append(np.zeros(split), bias), exact, float(-mpmath.atanh(t) / m)


distances = st.builds(lambda e, s: s * 10.0**e, st.floats(-17, -1.5), st.sampled_from([-1, 1]))


@settings(deadline=None, max_examples=300)
@given(nm=st.floats(1.5, 20), distance=distances, split=st.sampled_from([1, 4, 64]))
def test_planted_fold_is_counted_right_or_undecided(nm, distance, split):
    m, n, b, exact, place = fold_network(nm, distance, split)
    zeros, ghosts = flow_zeros(m, n, b), flow_ghosts(m, n, b)
    if abs(exact) > 1e-12 * np.abs(n).sum():
        assert zeros.complete[0]
        assert ghosts.complete[0]
    if zeros.complete[0]:
        assert zeros.count[0] == (3 if exact > 0 else 1)
    else:  # the far zero is decided all the same, and possibly one of the pair
        assert 1 <= zeros.count[0] <= (2 if exact > 0 else 1)
        assert abs(zeros.undecided[0, 0] - place) < 1e-4
    if ghosts.complete[0]:
        assert ghosts.count[0] == (0 if exact > 0 else 1)
    assert_zeros_are_real(zeros, m, n, b)


@settings(deadline=None, max_examples=50)
@given(nm=st.floats(1.5, 20), distance=st.floats(-10, -1.5).map(lambda e: -(10.0**e)))
def test_ghost_of_a_fold_has_its_closed_form(nm, distance):
    m, n, b, exact, place = fold_network(nm, distance, 1)
    ghosts = flow_ghosts(m, n, b)
    height, curvature = float(-exact), float(nm * np.sqrt(1 - 1 / nm) / nm)  # f''/2 = n m**2 t sech**2
    assert ghosts.count[0] == 1
    assert abs(ghosts.position[0, 0] - place) <= ghosts.radius[0, 0] + 1e-15 * abs(place)
    assert ghosts.height[0, 0] == pytest.approx(height, rel=1e-9, abs=1e-13)
    assert ghosts.curvature[0, 0] == pytest.approx(curvature, rel=1e-9)
    assert ghosts.escape_time[0, 0] == pytest.approx(np.pi / np.sqrt(height * curvature), rel=1e-3)


def test_escape_time_is_the_passage_time():
    """``integral d kappa / f`` across the ghost tends to pi / sqrt(r a) as the fold is
    approached.
    """
    gaps = []
    for distance in (-1e-3, -1e-5, -1e-7):
        m, n, b, _, place = fold_network(3.0, distance, 1)
        ghosts = flow_ghosts(m, n, b)
        # substitution kappa = place + w tan(theta) spreads the peak of 1 / f
        width = np.sqrt(ghosts.height[0, 0] / ghosts.curvature[0, 0])
        theta = np.linspace(-1, 1, 200_001) * np.arctan(0.5 / width)
        passage = np.trapezoid(width / np.cos(theta) ** 2 / numpy_flow(place + width * np.tan(theta), m, n, b), theta)
        gaps.append(abs(passage / ghosts.escape_time[0, 0] - 1))
    assert gaps[2] < 2e-3
    assert gaps[1] / gaps[0] == pytest.approx(0.1, rel=0.3)  # what is left falls as sqrt(r)


@settings(deadline=None, max_examples=40)
@given(networks)
def test_ghosts_against_a_dense_scan(network):
    m, n, b = network
    ghosts = flow_ghosts(m, n, b)
    assert ghosts.complete[0]
    scanned = scanned_zeros(m, n, b, ghosts.lower[0], ghosts.upper[0], derivative=1)
    f, f2 = numpy_flow(scanned, m, n, b), numpy_flow(scanned, m, n, b, 2)
    expected = scanned[f * f2 > 0]
    position, radius = kept(ghosts, "position"), kept(ghosts, "radius")
    for x in expected:
        assert np.abs(position - x).min() <= 1e-6 * (1 + abs(x))
    for x, width, height, curvature in zip(
        position, radius, kept(ghosts, "height"), kept(ghosts, "curvature"), strict=True
    ):
        assert exact_flow(x - width, m, n, b, 1) * exact_flow(x + width, m, n, b, 1) < 0
        assert height == pytest.approx(float(exact_flow(x, m, n, b)), rel=1e-9, abs=1e-12)
        assert height * curvature > 0
        beside = [abs(exact_flow(x + side * 1e-4, m, n, b)) for side in (-1, 1)]
        assert abs(exact_flow(x, m, n, b)) < min(beside) or abs(curvature) * 1e-8 < 1e-12


@settings(deadline=None, max_examples=40)
@given(networks)
def test_odd_flow_has_odd_zeros(network):
    m, n, _ = network
    zeros = flow_zeros(m, n, np.zeros_like(m))
    position, radius = kept(zeros, "position"), kept(zeros, "radius")
    assert zeros.complete[0]
    assert np.all(np.abs(position + position[::-1]) <= radius + radius[::-1])
    assert abs(position[len(position) // 2]) <= radius[len(position) // 2]


@settings(deadline=None, max_examples=40)
@given(networks, st.integers(0, 2**32 - 1))
def test_order_and_signs_of_units_do_not_matter(network, seed):
    m, n, b = network
    generator = np.random.default_rng(seed)
    order, signs = generator.permutation(len(m)), generator.choice([-1.0, 1.0], len(m))
    first, second = flow_zeros(m, n, b), flow_zeros(*((signs * w)[order] for w in (m, n, b)))
    assert first.count[0] == second.count[0]
    gap = np.abs(kept(first, "position") - kept(second, "position"))
    assert np.all(gap <= kept(first, "radius") + kept(second, "radius"))
    np.testing.assert_array_equal(kept(first, "stable"), kept(second, "stable"))


def test_neither_threads_nor_the_stack_change_a_bit():
    generator = np.random.default_rng(0)
    m, n, b = generator.normal(size=(3, 300, 50))
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = flow_zeros(m, n, b)
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        two = flow_zeros(m, n, b)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(one.position, two.position)
    for row in (0, 31, 32, 299):
        alone = flow_zeros(m[row], n[row], b[row])
        np.testing.assert_array_equal(kept(alone, "position"), kept(one, "position", row))


def test_published_initial_weights_have_one_zero():
    models = LowRankRNN.published(range(100), "3")
    zeros = flow_zeros(models.m[:, :, 0], models.n[:, :, 0], models.b)
    assert zeros.complete.all()
    assert (zeros.count == 1).all()
    assert (np.abs(zeros.position[:, 0]) <= zeros.radius[:, 0]).all()
    assert zeros.stable.all()


def test_triple_zero_is_undecided():
    zeros = flow_zeros([1.0], [1.0], [0.0])
    assert zeros.count[0] == 0
    assert not zeros.complete[0]
    assert abs(zeros.undecided[0, 0]) < 1e-3


def test_fold_epochs_of_a_pitchfork():
    gains = np.linspace(0.5, 1.5, 11)
    zeros = flow_zeros(gains[:, None], np.ones((11, 1)), np.zeros((11, 1)))
    assert list(zeros.count[zeros.complete]) == [1] * 5 + [3] * 5
    folds = fold_epochs(zeros.count, epochs=10 * np.arange(11), complete=zeros.complete)
    assert list(folds.epoch) == [60]
    assert list(folds.change) == [2]
    assert [list(x) for x in fold_epochs([1, 1, 3, 3, 1])] == [[2, 4], [2, -2]]


def test_limits_cut_the_search_and_say_so():
    m, n, b = [2.0, 0.0], [3.0, 1.0], [0.0, 0.0]
    every = flow_zeros(m, n, b)
    right = flow_zeros(m, n, b, limits=(0.5, 15))
    assert every.count[0] == 3
    assert right.count[0] == 1
    assert not right.whole_line[0]
    assert right.complete[0]
    assert flow_zeros(m, n, b, limits=(-15, 15)).whole_line[0]
    assert flow_zeros(m, n, b, limits=(0.0, 15)).n_undecided[0] == 1  # a zero on the limit
    nowhere = flow_zeros(m, n, b, limits=(20, 30))
    assert nowhere.count[0] == 0
    assert nowhere.complete[0]


def test_map_stability_is_not_flow_stability():
    zeros = flow_zeros([5.0], [-1.0], [0.0])  # f'(0) = -6
    assert zeros.stable[0, 0]
    assert not zeros.stable_under_map(0.5)[0, 0]  # factor -2
    assert zeros.stable_under_map(0.25)[0, 0]  # factor -1/2
    bistable = flow_zeros([2.0], [1.0], [0.0])
    assert list(bistable.stable[0]) == list(bistable.stable_under_map(0.1)[0]) == [True, False, True]


def test_zero_weights_leave_the_decay():
    zeros = flow_zeros(np.zeros(3), np.zeros(3), np.ones(3))
    assert zeros.count[0] == 1
    assert abs(zeros.position[0, 0]) <= zeros.radius[0, 0]
    assert zeros.slope[0, 0] == -1.0


def test_rows_are_padded_and_datasets_labelled():
    m, n, b = np.array([[0.5], [2.0]]), np.ones((2, 1)), np.zeros((2, 1))
    zeros = flow_zeros(m.astype(np.float32), n, b)
    assert list(zeros.count) == [1, 3]
    assert np.isnan(zeros.position[0, 1:]).all()
    assert not zeros.stable[0, 1:].any()
    dataset = zeros.to_dataset()
    assert dict(dataset.sizes) == {"network": 2, "zero": 3, "stretch": 0}
    assert dataset.complete.all()
    assert {"escape_time", "height"} <= set(flow_ghosts(m, n, b).to_dataset().data_vars)
    empty = flow_zeros(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros((0, 4)))
    assert empty.position.shape[0] == len(empty.count) == 0


@settings(deadline=None, max_examples=30)
@given(networks)
def test_latent_flow_on_a_grid(network):
    m, n, b = network
    grid = np.linspace(-3, 3, 7)
    values = latent_flow(grid, m, n, b)
    exact = [float(exact_flow(x, m, n, b)) for x in grid]
    np.testing.assert_allclose(values, exact, atol=1e-12 * (1 + np.abs(n).sum()))
    stack = latent_flow(grid, *(np.stack([w, 2 * w]) for w in network))
    assert stack.shape == (2, 7)
    np.testing.assert_array_equal(stack[0], values)
    assert latent_flow(0.5, m, n, b).shape == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flow_zeros([1.0], [1.0, 2.0], [0.0]), r"n must have shape \(1, 1\), got \(1, 2\)"),
        (lambda: flow_zeros([np.nan], [1.0], [0.0]), "m must be finite"),
        (lambda: flow_zeros([1e31], [1.0], [0.0]), r"m must lie within \+-1e\+30, got 1e\+31"),
        (lambda: flow_zeros(1.0, 1.0, 0.0), r"m must have shape \(R, N\)"),
        (lambda: flow_zeros([1.0], [1.0], [0.0], limits=(1, -1)), "limits must be ascending"),
        (lambda: flow_ghosts([1.0], [1.0], [0.0], limits=(0, np.inf)), "limits must be finite"),
        (lambda: flow_zeros([1.0], [1.0], [0.0]).stable_under_map(0), "alpha must be above 0"),
        (lambda: fold_epochs([[1, 3]]), "count must have shape"),
        (lambda: fold_epochs([1, 3], complete=[True]), "complete must have shape"),
        (lambda: latent_flow(np.zeros((2, 2)), [1.0], [1.0], [0.0]), "kappa must have shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_networks_of_rank_one_stand_for_their_weights():
    models = LowRankRNN.initialize(30, range(4))
    m, n, b = models.m[:, :, 0], models.n[:, :, 0], models.b
    assert flow_zeros(models).to_dataset().identical(flow_zeros(m, n, b).to_dataset())
    assert flow_ghosts(models).to_dataset().identical(flow_ghosts(m, n, b).to_dataset())
    with pytest.raises(ValueError, match="rank one, got rank 2"):
        flow_zeros(LowRankRNN.initialize(30, range(4), rank=2))


@pytest.mark.parametrize("search", [flow_zeros, flow_ghosts])
@pytest.mark.parametrize("name", ["n", "b"])
def test_weights_beside_networks_are_refused(search, name):
    networks = LowRankRNN.initialize(4, [0])
    with pytest.raises(ValueError, match=f"{name} must be left out for networks, which have their own"):
        search(networks, **{name: np.zeros(4)})
