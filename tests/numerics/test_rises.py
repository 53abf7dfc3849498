"""How far the next update may go, and an even spread of lengths."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint.numerics.rises import SAFE, is_tried, room, spread

positive = st.floats(1e-12, 1e12)


@given(farthest=positive, distance=positive)
def test_a_quadratic_distance_ends_below_its_limit(farthest, distance):
    factor = room(farthest, distance, None)
    assert distance * factor**2 == pytest.approx(SAFE**2 * farthest, rel=1e-9)


@given(farthest=positive, distance=positive, ratio=st.floats(1.0, 50.0))
def test_a_distance_that_grows_by_the_same_ratio_again_ends_below_its_limit_too(farthest, distance, ratio):
    factor = room(farthest, distance, distance / ratio)
    assert ratio * distance * factor**2 == pytest.approx(SAFE**2 * farthest, rel=1e-9)


@given(farthest=positive, distance=positive, before=positive)
def test_a_distance_that_falls_promises_nothing(farthest, distance, before):
    found = room(farthest, distance, before)
    assert found <= room(farthest, distance, None)
    assert found == room(farthest, distance, None) or before < distance


def test_no_distance_is_no_limit():
    assert room(1.0, 0.0, 1.0) == math.inf == room(1.0, 0.0, None)
    assert room(1.0, 4.0, 0.0) == SAFE / 2


@given(st.integers(1, 10))
def test_the_first_numbers_of_a_spread_divide_the_interval_evenly(n):
    found = sorted(spread(k) for k in range(1, 2**n))
    assert found == [k / 2**n for k in range(1, 2**n)]


@given(st.integers(1, 2000))
def test_a_network_at_rest_is_tried_in_an_eighth_of_its_updates_but_for_the_first(n):
    tried = sum(is_tried(k) for k in range(1, n + 1))
    assert tried <= 16 + n / 8
    assert tried >= min(n, 16)
    assert tried >= n // 8  # it does not end
