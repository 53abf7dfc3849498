"""Phase diagrams against values that are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binomtest

from ghostpoint.errors import InputError
from ghostpoint.sweeps.diagrams import phase_diagram, wilson
from ghostpoint.theory import SaddleNodeToy


@pytest.fixture
def dataset():
    """Four seeds, three rates, two delays: lost from the second rate on at the long delay, else at
    the third.
    """
    shape = (2, 3, 4)
    entry = np.full(shape, -1)
    entry[0, 2], entry[1, 1:] = 7, 7
    first = np.full(shape, 3)
    first[1, 2, 0] = -1
    entry[1, 2, 0] = -1
    solved = np.full(shape, -1)
    solved[:, 0] = [10, 20, 30, 40]
    dims = ("delay", "learning_rate", "seed")
    done = np.ones(shape, bool)
    done[0, 0, 3] = False
    variables = {
        "done": done, "first_above_chance": first, "no_learning_zone_entry": entry, "first_solved": solved,
    }  # fmt: skip
    coords = {"delay": [50.0, 100.0], "learning_rate": [0.01, 0.1, 1.0], "seed": range(4)}
    settings = {"task": {"name": "DelayedActivation", "delay": 50.0}}
    return xr.Dataset(
        {name: (dims, values) for name, values in variables.items()}, coords, {"settings": json.dumps(settings)}
    )


def test_shares_have_their_intervals_and_counts(dataset):
    shown = phase_diagram(dataset, "learning_rate", "delay")
    assert shown["value"].values.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert shown["count"].values.tolist() == [[3, 4, 4], [4, 4, 3]]
    limits = binomtest(0, 3).proportion_ci(method="wilson")
    assert float(shown["high"][0, 0]) == pytest.approx(limits.high)


def test_wilson_is_scipys():
    for successes, count in ((0, 4), (3, 10), (10, 10), (1, 1)):
        share, low, high = wilson(np.array(successes), np.array(count))
        limits = binomtest(successes, count).proportion_ci(method="wilson")
        assert (float(share), float(low), float(high)) == pytest.approx((successes / count, limits.low, limits.high))


def test_medians_of_epochs_and_critical_rates(dataset):
    epochs = phase_diagram(dataset, "learning_rate", value="epochs")
    assert float(epochs["value"][0]) == 20.0  # of 10, 20, 30, 10, 20, 30, 40
    assert np.isnan(epochs["value"].values[1:]).all()
    critical = phase_diagram(dataset, "delay", value="critical")
    assert critical["value"].values.tolist() == [1.0, 0.1]
    assert critical["count"].values.tolist() == [4, 4]


def test_the_toy_models_rate_is_drawn_over_rates_and_delays(dataset):
    shown = phase_diagram(dataset, "learning_rate", "delay")
    T = 100.0 / 10.0
    assert float(shown["theory"].sel(delay=100.0)) == pytest.approx(SaddleNodeToy(T).critical_learning_rate * T)
    assert "theory" not in phase_diagram(dataset, "learning_rate", "seed")


def test_an_axis_that_has_a_value_twice_is_not_drawn(dataset):
    dataset = dataset.assign_coords(optimizer=("learning_rate", ["sgd", "sgd", "adam"]))
    with pytest.raises(InputError, match="every value once, and optimizer goes with learning_rate"):
        phase_diagram(dataset, "optimizer")


def test_axes_and_values_that_there_are_not(dataset):
    for arguments, says in (
        (("rate",), "axis must be one of"), (("delay", "delay"), "twice"),
        (("delay", None, "won"), "value must be one of"),
        (("learning_rate", None, "critical"), "learning rate itself"), (("delay", None, "predicted"), "critical_rate"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            phase_diagram(dataset, *arguments)
