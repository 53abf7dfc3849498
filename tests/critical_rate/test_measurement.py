"""Which probes count as lost, and the critical rate of real networks by its definition, trained one
by one.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint import LowRankRNN, train
from ghostpoint.critical_rate import GRID, Probes, critical_learning_rate, probe
from ghostpoint.critical_rate.measurement import fates
from ghostpoint.tasks import DelayedActivation

TASK = DelayedActivation(40.0)
RATES = GRID[21:26]
EPOCHS = 2500


@cache
def networks():
    return LowRankRNN.initialize(40, range(3))


@cache
def probes():
    return probe(networks(), TASK, RATES, EPOCHS)


def history(*spans):
    """Accuracies of one probe from (value, epochs) spans."""
    return np.concatenate([np.full(epochs, value) for value, epochs in spans])[None]


@pytest.mark.parametrize(
    ("spans", "learned_at", "lost_at"),
    [
        ([(0.5, 200)], -1, -1),
        ([(0.5, 100), (0.9, 100)], 100, -1),
        ([(0.5, 60), (0.9, 40), (0.5, 50)], 60, 100),
        ([(0.5, 60), (0.9, 40), (0.5, 49)], 60, -1),  # the window is not over
        ([(0.5, 60), (0.75, 40), (0.5, 100)], -1, -1),  # never above the level
        ([(0.5, 60), (0.9, 40), (0.5, 100), (0.6, 1), (0.4, 70)], 60, 201),
    ],
)
def test_fates_follow_the_rule(spans, learned_at, lost_at):
    first, gone = fates(history(*spans), 0.75, 0.5)
    assert (first[0], gone[0]) == (learned_at, lost_at)


def test_a_critical_rate_above_rates_that_do_not_learn_is_a_bound_only():
    learned = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]], bool)
    lost = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 1]], bool)
    result = Probes(np.arange(1.0, 4.0), learned, lost, learned.astype(int) - 1, lost.astype(int) - 1)
    assert result.critical.tolist() == [3, 3, 2, 1]
    assert result.bound.tolist() == [True, False, False, True]
    nothing = Probes(result.rates, learned, lost & False, learned.astype(int) - 1, np.full(lost.shape, -1))
    assert not nothing.bound.any()


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6))
def test_the_critical_rate_is_the_lowest_that_loses(table):
    lost = np.array(table)
    rates = np.arange(1.0, len(lost) + 1)
    result = Probes(rates, lost, lost, lost - 1, lost - 1)
    for network in range(4):
        losing = rates[lost[:, network]]
        if len(losing):
            assert result.critical[network] == losing.min()
            assert result.kept[network] == losing.min() - 1
        else:
            assert np.isnan(result.critical[network])
            assert np.isnan(result.kept[network])


def test_probes_are_single_runs_judged_by_the_definition():
    result = probes()
    assert result.lost.any()
    assert (result.learned & ~result.lost).any()
    for row, rate in enumerate(RATES):
        for network in range(3):
            run = train(networks()[network], TASK, rate, EPOCHS, record="all")
            accuracy = run.history["accuracy"].values[0]
            learned = accuracy.max() > 0.75
            assert result.learned[row, network] == learned
            assert result.lost[row, network] == (learned and accuracy[-50:].max() <= 0.5)
            if result.lost[row, network]:
                assert run.events["no_learning_zone_entry"].item() == result.lost_at[row, network]


def test_splitting_the_stack_changes_nothing(monkeypatch):
    monkeypatch.setattr("ghostpoint.critical_rate.measurement.HELD", 4 * EPOCHS)
    again = probe(networks(), TASK, RATES, EPOCHS)
    assert np.array_equal(again.learned_at, probes().learned_at)
    assert np.array_equal(again.lost_at, probes().lost_at)


def test_measuring_is_probing_the_networks_as_given():
    result = critical_learning_rate(networks(), TASK, measure=True, rates=RATES, horizon=800, epochs=EPOCHS)
    assert np.array_equal(result.measured, probes().critical, equal_nan=True)
    assert result.trained_first.all()
    assert np.isnan(result.first_order).all()
    both = np.isfinite(result.predicted) & np.isfinite(result.measured)
    assert both.sum() >= 2
    ratio = result.predicted[both] / result.measured[both]
    assert ((ratio > 0.45) & (ratio < 2.2)).all()
    assert np.array_equal(result.interval[:, 1], result.predicted, equal_nan=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": [0.1, 0.05]}, "rates must be positive and ascending"),
        ({"rates": []}, "rates must be positive and ascending, at least one"),
        ({"rates": [0.0, 0.1]}, "rates must be positive"),
        ({"epochs": 50}, "epochs must be a whole number|epochs must be at least 51"),
        ({"learned": 0.0}, "learned must be above 0"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        probe(networks(), TASK, **{"rates": RATES, "epochs": EPOCHS, **changes})
