"""Ctrl-C: it ends a loop around ``train`` too, whichever engine is running, and what was done is
not lost.
"""

from __future__ import annotations

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.training import TrainingInterrupted
from ghostpoint.training.compiled import low_and_full_rank, rank_one_stacks
from tests.training.calls import train_with
from tests.training.problems import same_bits

LOW_RANK = gp.LowRankRNN.initialize(5, [0, 1])
FULL_RANK = gp.FullRankRNN.initialize(5, [0, 1])
ENGINES = pytest.mark.parametrize(
    ("models", "settings"),
    [
        (LOW_RANK, {"layout": "networks"}),
        (LOW_RANK, {"layout": "units"}),
        (LOW_RANK, {"optimizer": "momentum"}),
        (FULL_RANK, {}),
        (FULL_RANK, {"remedy": "guard"}),
        (LOW_RANK, {"engine": "torch"}),
        (FULL_RANK, {"engine": "reference", "dtype": "float64"}),
    ],
    ids=["networks across lanes", "units across lanes", "low rank", "full rank", "guard", "torch", "reference"],
)


def repeatedly(models, settings, listen):
    """What an analysis over several seeds does."""
    for _ in range(3):
        train(models, settings, listen)


class Interrupting:
    """Presses Ctrl-C when an epoch is heard of."""

    def __init__(self, epoch):
        self.epoch, self.calls = epoch, 0

    def __call__(self, epoch, seen):
        if epoch >= self.epoch:
            self.calls += 1
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(low_and_full_rank, "CALL", 1.0)
    monkeypatch.setattr(rank_one_stacks, "SHORTEST_ROUND", 20)
    monkeypatch.setattr(rank_one_stacks, "ROUND", 40)


def train(models, settings, listen, **more):
    task = gp.tasks.DelayedActivation(10)
    return train_with(models, task, 1e-3, 3000, record="all", threads=2, on_record=listen, **settings, **more)


@ENGINES
def test_a_loop_ends_and_the_run_up_to_there_is_attached(models, settings):
    listen = Interrupting(100)
    with pytest.raises(KeyboardInterrupt) as caught:
        repeatedly(models, settings, listen)
    assert listen.calls == 1
    assert isinstance(caught.value, TrainingInterrupted)
    run = caught.value.run
    done = run.config["epochs_done"]
    assert not run.complete
    assert 0 < done < 3000
    assert run.history.sizes["epoch"] == done
    assert f"after {done} epochs" in str(caught.value)
    whole = train_with(models, gp.tasks.DelayedActivation(10), 1e-3, done, record="all", **settings)
    np.testing.assert_array_equal(run.history["loss"], whole.history["loss"])
    for part in models.present_parts():
        np.testing.assert_array_equal(getattr(run.models, part), getattr(whole.models, part))


@ENGINES
def test_the_run_is_returned_on_request(models, settings):
    returned = train(models, settings, Interrupting(100), on_interrupt="return")
    with pytest.raises(TrainingInterrupted) as caught:
        train(models, settings, Interrupting(100))
    if settings.get("engine") != "torch" and models is LOW_RANK and "layout" in settings:
        assert same_bits(returned, caught.value.run)
    assert returned.config == caught.value.run.config
    assert not returned.complete


@ENGINES
def test_an_interrupt_in_the_last_epoch_is_not_lost(models, settings):
    with pytest.raises(TrainingInterrupted) as caught:
        train(models, settings, Interrupting(2999))
    assert caught.value.run.config["epochs_done"] <= 3000


@pytest.mark.parametrize("on_interrupt", ["raise", "return"])
@pytest.mark.parametrize(("models", "settings"), [(LOW_RANK, {"layout": "networks"}), (FULL_RANK, {})])
def test_before_the_first_round_there_is_nothing_to_return(models, settings, on_interrupt):
    def stop(amount):
        raise KeyboardInterrupt

    task = gp.tasks.DelayedActivation(10)
    with pytest.raises(KeyboardInterrupt):
        train_with(models, task, 1e-3, 3000, on_progress=stop, on_interrupt=on_interrupt, **settings)
