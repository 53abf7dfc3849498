"""What ``diagnose`` says about the end of a plateau, against the training that goes on."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ghostpoint import LowRankRNN, diagnose, train
from ghostpoint.tasks import DelayedActivation

TASK = DelayedActivation()


def forecasts(run):
    """The forecast epoch of each network, or None."""
    found = [re.search(r"end of this plateau at epoch ([\d,]+)$", "\n".join(each.notes)) for each in diagnose(run)]
    return [found and int(found[1].replace(",", "")) for found in found]


@pytest.mark.parametrize(
    ("models", "rate", "level"),
    [
        (LowRankRNN.initialize(100, range(3), rank=2), 0.05, 0.9),
        (LowRankRNN.initialize(100, range(3), "state_readout"), 0.005, 0.45),
    ],
)
def test_it_is_told_at_rank_two_and_with_a_readout_of_the_state(models, rate, level):
    begun = train(models, TASK, rate, 1500)
    whole = train(models, TASK, rate, 10_000, record=[0], solved=level)
    for foreseen, end in zip(forecasts(begun), whole.events["first_solved"].values, strict=True):
        assert foreseen == pytest.approx(end, rel=0.01)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_the_end_of_a_plateau_is_the_one_that_training_reaches(optimizer):
    models, rate = LowRankRNN.published([0, 2, 40]), 0.02 if optimizer == "sgd" else 0.0005
    begun = train(models, TASK, rate, 2000, optimizer=optimizer)
    whole = train(models, TASK, rate, 40_000, record=[0], solved=0.9, optimizer=optimizer)
    for foreseen, end in zip(forecasts(begun), whole.events["first_solved"].values, strict=True):
        assert foreseen == pytest.approx(end, rel=0.004)


def test_nothing_is_said_where_the_theory_does_not_apply():
    run = train(LowRankRNN.published([0]), TASK, 0.02, 300)
    assert forecasts(run) != [None]
    for changes in ({"optimizer": "Adam()"}, {"remedy": [{"remedy": "TrustRegion"}]}):
        assert forecasts(replace(run, config={**run.config, **changes})) == [None]
    other = LowRankRNN.initialize(100, [0], "state_readout")  # which does not wait at this loss
    assert forecasts(replace(run, models=other)) == [None]
    assert forecasts(replace(run, task=None)) == [None]
    assert forecasts(train(LowRankRNN.published([0], confidence=60.0), TASK, 0.02, 300)) == [None]  # frozen


def test_nothing_is_said_once_the_plateau_is_over():
    assert forecasts(train(LowRankRNN.published([40]), TASK, 0.02, 6000)) == [None]
