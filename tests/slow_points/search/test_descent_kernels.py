"""The compiled descent against the one in numpy, its algebra against numpy's, and that threads
change no bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.numerics.symmetric_kernels import factorize, pack, solve, weighted_square
from ghostpoint.numerics.threads import _libraries, mapped, one_thread_each
from ghostpoint.slow_points import find_slow_points
from ghostpoint.slow_points.fields import TanhField
from ghostpoint.slow_points.search.descent import _descend, minimize_energy
from ghostpoint.slow_points.search.descent_kernels import Scratch
from tests.slow_points.networks import full_rank, vanilla

NETWORKS = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 41), st.sampled_from([0.5, 1.5, 2.5]))


def drawn(network):
    seed, units, gain = network
    W, b = vanilla(seed, units, gain, 0.1)
    return TanhField(None, W, b), np.random.default_rng(seed + 1)


@pytest.fixture
def two_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    before = numba.get_num_threads()
    numba.set_num_threads(2)
    yield
    numba.set_num_threads(before)


@settings(deadline=None, max_examples=60)
@given(NETWORKS)
def test_the_hessian_its_factor_and_the_step(network):
    field, generator = drawn(network)
    W, size = field.B, field.size
    packed = pack(W)
    scratch = Scratch.of(packed)
    weights, gain, right = generator.normal(size=(3, size))
    padded = np.zeros(packed.rows.shape[1])
    padded[:size] = right
    matrix, U, step = scratch.matrices[0], scratch.matrices[2], scratch.vectors[0]
    for _ in range(2):  # what the first use leaves in the arrays must not matter to the second
        weighted_square(packed.rows, packed.panels, size, weights, gain, scratch.scaled, matrix)
        expected = (W.T * weights) @ W - gain[:, None] * W - (gain[:, None] * W).T + np.eye(size)
        np.testing.assert_allclose(np.triu(matrix[:size, :size]), np.triu(expected), atol=1e-12 * size)
        # the lowest eigenvalue becomes -1
        shift = np.linalg.eigvalsh(expected)[0] + 1
        matrix[np.arange(size), np.arange(size)] -= shift
        assert not factorize(matrix, size, 0.999, padded, U, scratch.panel, scratch.corner)
        assert factorize(matrix, size, 2.0, padded, U, scratch.panel, scratch.corner)
        whole = expected + (2 - shift) * np.eye(size)
        factor = np.triu(U[:size, :size])
        np.testing.assert_allclose(factor.T @ factor, whole, atol=1e-12 * np.abs(whole).max() * size)
        solve(U, size, step)
        np.testing.assert_allclose(whole @ step[:size], -right, atol=1e-12 * np.abs(whole).max() * size)


def test_what_is_not_finite_has_no_factor():
    packed = pack(np.eye(3))
    scratch = Scratch.of(packed)
    scratch.matrices[0, 1, 1] = np.nan
    right = np.zeros(packed.rows.shape[1])
    assert not factorize(scratch.matrices[0], 3, 1.0, right, scratch.matrices[2], scratch.panel, scratch.corner)


@settings(deadline=None, max_examples=40)
@given(NETWORKS, st.integers(1, 4))
def test_a_few_steps_are_those_of_the_descent_in_numpy(network, steps):
    field, generator = drawn(network)
    starts = generator.uniform(-1, 1, (4, field.size))
    compiled, plain = minimize_energy(field, starts, steps), _descend(field, starts, steps)
    np.testing.assert_allclose(compiled.x, plain.x, atol=1e-7)
    # the last, in which nothing but whether to stop is looked at, may be left out by either
    both = compiled.done & plain.done
    assert (both == plain.done).all()
    np.testing.assert_allclose(compiled.speed[~both], plain.speed[~both], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(compiled.slope[~both], plain.slope[~both], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("units", "gain"), [(5, 2.0), (30, 1.5), (60, 2.5)])
def test_whole_descents_end_where_those_in_numpy_do(units, gain):
    W, b = vanilla(units, units, gain)
    field = TanhField(None, W, b)
    starts = np.random.default_rng(0).uniform(-1, 1, (24, units))
    compiled, plain = minimize_energy(field, starts, 200), _descend(field, starts, 200)
    np.testing.assert_array_equal(compiled.done, plain.done)
    # a start on the border between two basins may fall to either side
    near = np.linalg.norm(compiled.x - plain.x, axis=1) < 1e-3
    assert near.sum() >= 23
    assert (compiled.speed[compiled.done & (compiled.slope > 1e-7)] < 1e-6).all()


def test_why_a_start_does_not_end():
    W, b = vanilla(1, 12, 2.0)
    field = TanhField(None, W, b)
    starts = np.random.default_rng(0).uniform(-1, 1, (3, 12))
    starts[1, 0] = np.nan
    compiled, plain = minimize_energy(field, starts, 1), _descend(field, starts, 1)
    assert compiled.reason == plain.reason
    assert "not finite at the start" in compiled.reason[1]
    assert "not stationary after 1 steps" in compiled.reason[0]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("units", [33, 100])
def test_neither_threads_nor_the_other_starts_change_a_bit(units):
    W, b = vanilla(3, units, 2.2)
    field = TanhField(None, W, b)
    starts = np.random.default_rng(0).uniform(-1, 1, (20, units))
    both = minimize_energy(field, starts, 60)
    numba.set_num_threads(1)
    one, some = minimize_energy(field, starts, 60), minimize_energy(field, starts[[17, 4]], 60)
    for k in range(4):
        np.testing.assert_array_equal(both[k], one[k])
        np.testing.assert_array_equal(some[k], one[k][[17, 4]])
    assert both.reason == one.reason


@pytest.mark.usefixtures("two_threads")
def test_a_search_on_two_threads_is_that_on_one():
    model = full_rank(*vanilla(0, 64, 2.2))
    both = find_slow_points(model, n_starts=32).to_dataset()
    numba.set_num_threads(1)
    assert both.identical(find_slow_points(model, n_starts=32).to_dataset())


def test_work_comes_back_in_order_and_errors_come_through():
    assert mapped(lambda i: i * i, range(50), 3) == [i * i for i in range(50)]
    assert mapped(lambda i: i, [], 3) == []
    with pytest.raises(ZeroDivisionError):
        mapped(lambda i: 1 / i, [1, 0, 2], 2)


def counts():
    return [library.threads() for library in _libraries()]


def test_blas_has_its_threads_back_after_the_last_caller():
    if not _libraries():
        pytest.skip("another BLAS")
    before, together = counts(), Barrier(2)

    def inside(_):
        with one_thread_each():
            together.wait(10)
            return counts()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(inside, range(2))) == [[1] * len(before)] * 2
    assert counts() == before
    with pytest.raises(KeyError), one_thread_each():
        raise KeyError
    assert counts() == before
