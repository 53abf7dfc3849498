"""Flow and Euler map: never mixed up, and steps counted as the map takes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint.slow_points import find_slow_points, passage_steps
from ghostpoint.slow_points.stability import map_time_constants, time_constants
from ghostpoint.theory import NormalForm
from tests.slow_points.networks import full_rank


def simulated_steps(r, a, alpha, y0, y1):
    """Steps of the map, a fraction of the last one by the time of the flow from its start to y1."""
    y, steps = y0, 0
    while True:
        moved = y + alpha * (r + a * y * y)
        if moved >= y1:
            whole = NormalForm(r, a).escape_time(y, moved)
            return steps + NormalForm(r, a).escape_time(y, y1) / whole if y < y1 else steps
        y, steps = moved, steps + 1


@given(
    r=st.floats(1e-5, 1e-2),
    a=st.floats(0.2, 3),
    alpha=st.floats(0.02, 0.5),
    low=st.floats(-0.1, 0.05),
    span=st.floats(0.02, 0.2),
)
def test_steps_against_the_map(r, a, alpha, low, span):
    y0, y1 = low, low + span
    bend = alpha * a * max(abs(y0), abs(y1))
    assert passage_steps(r, a, alpha, y0, y1) == pytest.approx(simulated_steps(r, a, alpha, y0, y1), abs=0.02 + bend)


def test_the_correction_is_of_the_order_claimed():
    """Without it the error stays as alpha falls, with its first term it falls like alpha."""
    r, a, y0, y1 = 1e-3, 1.0, 0.0, 0.1
    errors, plain = [], []
    for alpha in (0.4, 0.2, 0.1, 0.05):
        exact = simulated_steps(r, a, alpha, y0, y1)
        errors.append(abs(passage_steps(r, a, alpha, y0, y1) - exact))
        plain.append(exact - NormalForm(r, a).escape_time(y0, y1) / alpha)
    assert plain[-1] == pytest.approx(0.5 * np.log((r + a * y1**2) / r), rel=0.05)
    assert errors[-1] < 1e-2
    assert errors[0] > 3 * errors[-1]


def test_stability_of_flow_and_map_differ_for_a_long_step():
    # F = -x + tanh(-3 x): eigenvalue -4 at 0, so the map with alpha = 0.6 has -1.4
    points = find_slow_points(full_rank(np.array([[-3.0]])), n_starts=4, tau=10.0, dt=6.0)
    assert points.eigenvalues[0, 0] == pytest.approx(-4.0)
    assert points.map_eigenvalues[0, 0] == pytest.approx(-1.4)
    assert points.stable[0]
    assert not points.stable_under_map[0]
    assert points.n_unstable_under_map[0] == 1
    assert points.time_constants[0, 0] == pytest.approx(0.25)
    assert points.time_constants_ms[0, 0] == pytest.approx(2.5)


@given(st.floats(-3, -1e-3), st.floats(1e-4, 1e-2))
def test_time_constants_agree_for_short_steps(eigenvalue, alpha):
    steps = map_time_constants([eigenvalue], alpha)[0]
    assert steps * alpha == pytest.approx(time_constants([eigenvalue])[0], rel=1.1 * abs(alpha * eigenvalue))


@pytest.mark.parametrize(
    "arguments",
    [
        {"r": -1.0, "a": 1.0, "alpha": 0.1, "y0": 0.0, "y1": 1.0},
        {"r": 1.0, "a": 0.0, "alpha": 0.1, "y0": 0.0, "y1": 1.0},
        {"r": 1.0, "a": 1.0, "alpha": 0.0, "y0": 0.0, "y1": 1.0},
        {"r": 1.0, "a": 1.0, "alpha": 0.1, "y0": 1.0, "y1": 0.0},
        {"r": 1.0, "a": 1.0, "alpha": 0.1, "y0": 0.0, "y1": 100.0},
    ],
)
def test_bad_passages_are_refused(arguments):
    with pytest.raises(ValueError, match=r"must"):
        passage_steps(**arguments)
