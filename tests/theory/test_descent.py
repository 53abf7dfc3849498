"""Gradient descent: compiled loops against the plain update, exact outcomes, the theory of the
orbit.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.theory import SaddleNodeToy

TOY = SaddleNodeToy(100.0)
LOW_RATES = st.floats(0.02, 0.999)  # in units of the critical rate
STARTS = st.floats(1.001, 12.0)  # in units of r_star


def plain(toy, r, rate, epochs):
    """The specification: one update after the other."""
    path = [r]
    for _ in range(epochs):
        path.append(path[-1] - rate * toy.gradient(path[-1]))
    return np.array(path)


@given(
    start=STARTS,
    ratio=st.floats(0.3, 1.3),
    epochs=st.integers(0, 1500),
    threshold=st.sampled_from([math.inf, 20.0]),
)
@settings(max_examples=60)
def test_every_update_is_plain_gradient_descent_and_every_event_is_where_the_path_says(start, ratio, epochs, threshold):
    toy = SaddleNodeToy(100.0, threshold)
    rate = ratio * toy.critical_learning_rate
    descent = toy.descend(start * toy.r_star, rate, epochs)
    r, (zone, best) = descent.r, toy.kinks
    assert descent.epoch.tolist() == list(range(epochs + 1))
    # Update by update: the map expands, so two long paths part from rounding alone.
    np.testing.assert_allclose(r[1:], r[:-1] - rate * toy.gradient(r[:-1]), rtol=1e-12)
    np.testing.assert_array_equal(descent.loss, toy.loss(r))
    lost, crossed = r <= zone, r <= best
    assert descent.lost_epoch == (np.argmax(lost) if lost.any() else -1)
    assert descent.crossing_epoch == (np.argmax(crossed) if crossed.any() else -1)
    assert descent.r_min == r.min()
    assert descent.r_final == r[-1]
    wanted = "no-learning zone" if lost.any() else "oscillation" if crossed.any() else "converging"
    assert descent.outcome == wanted
    if wanted != "oscillation":
        assert np.isnan([descent.r_low, descent.r_high, descent.loss_high]).all()
        return
    settled = r[crossed.argmax() :]
    if descent.period:
        orbit = settled[-int(descent.period) :]
        assert (descent.r_low, descent.r_high) == (orbit.min(), orbit.max())
    else:
        half = settled[len(settled) // 2 :]
        assert settled.min() <= descent.r_low <= half.min()
        assert settled.max() >= descent.r_high >= half.max()
    assert descent.loss_high == max(toy.loss(float(descent.r_low)), toy.loss(float(descent.r_high)))


@given(start=STARTS, ratio=st.floats(0.5, 1.1), stride=st.integers(1, 700))
@settings(max_examples=40)
def test_what_is_recorded_changes_nothing_else(start, ratio, stride):
    arguments = (start * TOY.r_star, ratio * TOY.critical_learning_rate, 3000)
    full, sparse = TOY.descend(*arguments), TOY.descend(*arguments, record=stride)
    chosen = TOY.descend(*arguments, record=[2999, 5, 1234])
    assert sparse.epoch.tolist() == sorted({*range(0, 3001, stride), 3000})
    np.testing.assert_array_equal(sparse.r, full.r[sparse.epoch])
    np.testing.assert_array_equal(chosen.r, full.r[[5, 1234, 2999]])
    for name in ("r_final", "r_min", "outcome", "lost_epoch", "crossing_epoch", "period", "r_low", "r_high"):
        np.testing.assert_array_equal(getattr(full, name), getattr(sparse, name))


def test_a_closed_orbit_repeats_and_no_shorter_one_does():
    descent = TOY.descend(10 * TOY.r_star, np.linspace(0.42, 0.99, 20) * TOY.critical_learning_rate, 5000)
    assert (descent.period > 0).sum() >= 15
    for path, period in zip(descent.r, descent.period, strict=True):
        if period:
            tail = path[-4 * period :]
            np.testing.assert_array_equal(tail[period:], tail[:-period])
            assert all((tail[shorter:] != tail[:-shorter]).any() for shorter in range(1, period))


def test_there_is_no_orbit_of_period_two():
    rates = np.linspace(0.02, 1.0, 150)[:-1] * TOY.critical_learning_rate
    descent = TOY.descend(10 * TOY.r_star, rates, 20000, record=[0])
    assert (descent.outcome == "oscillation").all()
    assert (descent.period != 2).all()
    assert (descent.period != 1).all()


@given(start=STARTS, ratio=LOW_RATES)
def test_below_the_critical_rate_no_start_is_lost_and_orbits_keep_within_bounds(start, ratio):
    rate = ratio * TOY.critical_learning_rate
    descent = TOY.descend(start * TOY.r_star, rate, 3000)
    low, high = TOY.oscillation_bounds(rate)
    assert descent.outcome != "no-learning zone"
    if descent.crossing_epoch >= 0:
        orbit = descent.r[int(descent.crossing_epoch) :]
        assert low * (1 - 1e-12) <= orbit.min()
        assert orbit.max() <= high * (1 + 1e-12)


@pytest.mark.parametrize(("share", "outcome"), [(1 - 1e-9, "oscillation"), (1 + 1e-9, "no-learning zone")])
@pytest.mark.parametrize("T", [10.0, 100.0, 1000.0])
def test_from_just_above_the_minimum_the_critical_rate_is_sharp(share, outcome, T):
    toy = SaddleNodeToy(T)
    start = toy.r_star * (1 + 1e-12)
    assert toy.descend(start, share * toy.critical_learning_rate, 1).outcome == outcome


def test_beyond_the_surviving_rate_every_start_is_lost_and_below_it_some_survive():
    starts = np.random.default_rng(3).normal(10, 0.1, 300) * TOY.r_star
    rates = np.array([[0.999, 1.003]]).T * TOY.surviving_learning_rate
    lost = (TOY.descend(starts, rates, 20000, record=[0]).outcome == "no-learning zone").mean(1)
    assert lost[0] < 1
    assert lost[1] == 1
    survivors = TOY.descend(starts, 0.999 * TOY.surviving_learning_rate, 20000, record=[0])
    assert (survivors.period[survivors.outcome == "oscillation"] == 3).all()


@given(ratio=st.floats(0.005, 0.2))
@settings(max_examples=20)
def test_slow_descent_crosses_when_gradient_flow_does_and_then_has_the_mean_loss_of_theory(ratio):
    rate = ratio * TOY.critical_learning_rate
    epochs = int(TOY.approach_epochs(10 * TOY.r_star, rate)) + 30000
    descent = TOY.descend(10 * TOY.r_star, rate, epochs)
    predicted = TOY.approach_epochs(10 * TOY.r_star, rate)
    assert abs(descent.crossing_epoch - predicted) < 6
    k = 0.75 * ratio
    assert descent.loss[int(descent.crossing_epoch) :].mean() == pytest.approx(TOY.T * k / 4, rel=0.05 + k)


@given(start=st.floats(0.26, 0.99), ratio=st.floats(0.001, 0.3))
def test_a_start_below_the_minimum_climbs_to_it(start, ratio):
    descent = TOY.descend(start * TOY.r_star, ratio * TOY.critical_learning_rate, 4000)
    assert descent.outcome != "no-learning zone"
    if descent.crossing_epoch >= 0:
        assert (descent.r[: int(descent.crossing_epoch)] < TOY.r_star).all()
        assert descent.r[int(descent.crossing_epoch)] >= TOY.r_star


def test_a_start_in_the_zone_stays_and_is_lost_from_the_first_epoch():
    descent = TOY.descend(np.array([-1.0, 0.0, 0.25]) * TOY.r_star, 1e-9, 100)
    assert descent.lost_epoch.tolist() == [0, 0, 0]
    assert descent.crossing_epoch.tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(descent.r, np.broadcast_to(descent.r0[:, None], (3, 101)))


def test_at_finite_confidence_the_zone_can_be_left_and_descent_is_the_plain_update():
    toy = SaddleNodeToy(100.0, 10.0, 0.1)
    start, rate = 0.2 * toy.r_star, 3e-10
    descent = toy.descend(start, rate, 120)
    np.testing.assert_allclose(descent.r, plain(toy, start, rate, 120), rtol=1e-12)
    assert descent.lost_epoch == 0
    assert descent.outcome == "oscillation"


def test_runs_broadcast_and_a_scalar_is_one_run():
    starts, rates = np.array([[9.0], [10.0], [11.0]]) * TOY.r_star, np.array([1e-10, 1e-9])
    grid = TOY.descend(starts, rates, 50, record=[0, 50])
    assert grid.r.shape == (3, 2, 2)
    assert grid.outcome.shape == grid.r_final.shape == (3, 2)
    one = TOY.descend(11 * TOY.r_star, 1e-9, 50, record=[0, 50])
    assert one.r.shape == (2,)
    assert one.r_final == grid.r_final[2, 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TOY.descend(1.0, 0.0, 1), "learning_rate must be above 0, got 0"),
        (lambda: TOY.descend(math.inf, 1.0, 1), "r0 must be finite"),
        (lambda: TOY.descend(1.0, 1.0, -1), "epochs must be at least 0"),
        (lambda: TOY.descend(1.0, 1.0, 1.5), "epochs must be a whole number"),
        (lambda: TOY.descend([1.0, 2.0], [1.0, 2.0, 3.0], 1), "must broadcast together"),
        (lambda: TOY.descend(1.0, 1.0, 5, record=0), "record must be at least 1"),
        (lambda: TOY.descend(1.0, 1.0, 5, record=[6]), "record must hold epochs up to 5, got 6"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
