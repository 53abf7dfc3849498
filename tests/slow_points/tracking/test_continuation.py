"""Curves by arclength against curves known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.slow_points.tracking.continuation import follow


class Cubic:
    """``t = t0 + (X - c)**3 - e (X - c)``: turns at ``X - c = -+ sqrt(e / 3)`` for e > 0."""

    def __init__(self, t0, c, e):
        self.t0, self.c, self.e = t0, c, e

    def value(self, X, t):
        return t - self.t0 - (X - self.c) ** 3 + self.e * (X - self.c)

    def derivative(self, X, t):
        return np.diag(self.e - 3 * (X - self.c) ** 2)

    def start(self, t):
        """The leftmost X at t."""
        roots = np.roots([1, 0, -self.e, self.t0 - t])
        return np.array([roots[np.abs(roots.imag) < 1e-9].real.min() + self.c])


@settings(max_examples=25, deadline=None)
@given(st.floats(0.4, 0.6), st.floats(-2, 2), st.floats(0.15, 0.4))
def test_both_turns_of_a_cubic_are_found_where_they_are(t0, c, e):
    problem = Cubic(t0, c, e)
    curve = follow(problem, problem.start(0.0), 0.0, np.array([0.0, 1.0]))
    height = 2 * (e / 3) ** 1.5
    assert curve.end == "left"
    assert curve.t == pytest.approx(1.0, abs=1e-12)
    assert [turn.is_maximum for turn in curve.turns] == [True, False]
    np.testing.assert_allclose([turn.t for turn in curve.turns], [t0 + height, t0 - height], atol=1e-10)
    assert abs(problem.value(curve.X, curve.t)).max() < 1e-12


def test_a_curve_that_turns_back_ends_where_it_began_in_t():
    problem = Cubic(0.9, 0.0, 1.0)  # its first turn is at 0.9 + 0.385, outside; the second one inside
    curve = follow(problem, problem.start(1.0), 1.0, np.array([0.0, -1.0]))
    assert (curve.end, curve.turns) == ("left", ())
    below = Cubic(0.2, 0.0, 0.8)  # 0.2 + 0.275: the curve turns at 0.475 and leaves at 0
    curve = follow(below, below.start(0.0), 0.0, np.array([0.0, 1.0]))
    assert len(curve.turns) == 1
    assert curve.t == pytest.approx(0.0, abs=1e-12)
    assert curve.X[0] > below.start(0.0)[0] + 0.3


def test_it_stops_where_it_is_told_to():
    curve = follow(Cubic(0.5, 0.0, -1.0), np.array([-0.4238537]), 0.0, np.array([0.0, 1.0]), stop=lambda X: X[0] - 0.1)
    assert curve.end == "stopped"
    assert curve.X[0] == pytest.approx(0.1)


def test_an_end_of_the_road_is_said():
    class Wall(Cubic):
        def value(self, X, t):
            return np.where(X > 0.1, np.nan, super().value(X, t))

    curve = follow(Wall(0.5, 0.0, -1.0), np.array([-0.4238537]), 0.0, np.array([0.0, 1.0]))
    assert curve.end == "failed"
    assert "no further" in curve.reason
