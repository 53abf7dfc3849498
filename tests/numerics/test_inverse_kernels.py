"""The compiled inverse and the eigenvalues, against LAPACK as numpy calls it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.numerics.inverse_kernels import LARGEST_SIZE, small_inverse
from ghostpoint.numerics.lapack import eigenvalues_of
from ghostpoint.slow_points.ghosts import inverse


@given(size=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), spread=st.floats(0, 8))
@settings(max_examples=60, deadline=None)
def test_as_accurate_as_lapack(size, seed, spread):
    generator = np.random.default_rng(seed)
    left, right = (np.linalg.qr(generator.normal(size=(size, size)))[0] for _ in "lr")
    values = 10.0 ** generator.uniform(-spread, 0, size)
    matrix = left * values @ right
    found = small_inverse(matrix)
    exact = np.linalg.inv(matrix)
    condition = values.max() / values.min()
    assert np.linalg.norm(found - exact) <= 1e-14 * size * condition * np.linalg.norm(exact)
    # rows in an order that needs every pivot
    order = generator.permutation(size)
    np.testing.assert_allclose(small_inverse(matrix[order]), found[:, order], atol=1e-13 * size * condition**2)


@pytest.mark.parametrize("size", [31, 32, 101, LARGEST_SIZE, LARGEST_SIZE + 1])
def test_inverse_of_every_size(size):
    matrix = np.random.default_rng(size).normal(size=(size, size))
    matrix[0, 0] = 0.0
    np.testing.assert_allclose(inverse(matrix) @ matrix, np.eye(size), atol=1e-10)
    given_before = matrix.copy()
    inverse(matrix)
    np.testing.assert_array_equal(matrix, given_before)
    np.testing.assert_allclose(inverse(matrix.T), inverse(matrix).T, atol=1e-10)


@pytest.mark.parametrize("size", [5, 40])
def test_singular_and_not_finite(size):
    matrix = np.random.default_rng(size).normal(size=(size, size))
    matrix[3] = 0.0
    assert inverse(matrix) is None
    assert small_inverse(matrix) is None
    matrix[3] = np.nan
    assert small_inverse(matrix) is None


@pytest.mark.parametrize("size", [1, 2, 30, 100])
def test_eigenvalues(size):
    matrix = np.random.default_rng(size).normal(size=(size, size))
    given_before = matrix.copy()
    found, exact = np.sort_complex(eigenvalues_of(matrix)), np.sort_complex(np.linalg.eigvals(matrix).astype(complex))
    np.testing.assert_allclose(found, exact, atol=1e-11)
    np.testing.assert_array_equal(matrix, given_before)
