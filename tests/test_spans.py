"""Projection on a span from inner products: against least squares on the vectors themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.remedies import spans


def problem(seed, networks, count, size):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(networks, count, size)) * 10.0 ** generator.uniform(-6, 6, (networks, count, 1))
    other = generator.normal(size=(networks, size))
    return vectors, other, np.einsum("rik,rjk->rij", vectors, vectors), np.einsum("rik,rk->ri", vectors, other)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 4), st.data())
def test_the_projection_is_that_of_least_squares(seed, count, data):
    vectors, other, gram, products = problem(seed, 3, count, 30)
    used = np.array(data.draw(st.lists(st.booleans(), min_size=3 * count, max_size=3 * count))).reshape(3, count)
    span = spans.factor(gram, used)
    y = span.coordinates(products)
    weights = span.combination(y)
    for row in range(3):
        kept = vectors[row][used[row]]
        # unit vectors, so that least squares sees no scales
        units = kept / np.linalg.norm(kept, axis=1, keepdims=True)
        expected = units.T @ np.linalg.lstsq(units.T, other[row], rcond=None)[0] if len(kept) else np.zeros(30)
        np.testing.assert_allclose(weights[row] @ vectors[row], expected, atol=1e-9)
        assert (y[row] ** 2).sum() == pytest.approx((expected**2).sum(), abs=1e-9)
        assert (weights[row][~used[row]] == 0).all()


def test_a_vector_in_the_span_of_those_before_it_does_not_count():
    vectors, other, _, _ = problem(1, 1, 3, 10)
    vectors[0, 1] = 3 * vectors[0, 0] + 1e-9 * vectors[0, 1] / np.linalg.norm(vectors[0, 1])
    gram, products = np.einsum("rik,rjk->rij", vectors, vectors), np.einsum("rik,rk->ri", vectors, other)
    span = spans.factor(gram, np.ones((1, 3), bool))
    assert span.kept[0].tolist() == [True, False, True]
    made = span.combination(span.coordinates(products))[0] @ vectors[0]
    basis = np.linalg.qr(vectors[0, [0, 2]].T)[0]
    np.testing.assert_allclose(made, basis @ (basis.T @ other[0]), atol=1e-9)


@pytest.mark.parametrize("square", [0.0, np.inf, np.nan])
def test_what_has_no_direction_does_not_count(square):
    gram = np.array([[[square, 0.0], [0.0, 4.0]]])
    span = spans.factor(gram, np.ones((1, 2), bool))
    assert span.kept[0].tolist() == [False, True]
    assert span.coordinates(np.array([[0.0, 6.0]])).tolist() == [[0.0, 3.0]]
    assert span.combination(np.array([[0.0, 3.0]])).tolist() == [[0.0, 1.5]]
