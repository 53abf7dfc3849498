"""An optimiser, a remedy and an engine from outside, one class and one line each, are trained
with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.remedies import REMEDIES, HazardLimit, Remedy, TrustRegion
from ghostpoint.training import ENGINES, OPTIMIZERS, SGD, ByEpochEngine, Optimizer
from ghostpoint.training.by_epoch.reference_engine import ReferenceBackend

TASK = gp.tasks.DelayedActivation(30)
MODELS = gp.LowRankRNN.published([0, 1, 2])
FLOAT64 = gp.Computing("reference", dtype="float64")


@dataclass(frozen=True)
class SignDescent(Optimizer):
    """``p <- p - rate sign(g)``."""

    stateless = True

    def update(self, part, gradient, rate, state, epoch):
        return -rate * ((gradient > 0) * 1.0 - (gradient < 0) * 1.0)


@dataclass(frozen=True)
class HalveAlways(Remedy):
    """Every update is half of what the optimiser proposes."""

    def largest_factor(self, update):
        return np.full(len(update.loss), 0.5)


class Doubled(ByEpochEngine):
    """The reference's gradient with the loss counted twice."""

    dtypes = ("float64",)

    def backend(self, models, task, computing):
        class Backend(ReferenceBackend):
            def evaluate(self, trial, initial_states, noise):
                loss, accuracy, gradient = super().evaluate(trial, initial_states, noise)
                return 2 * loss, accuracy, {part: 2 * value for part, value in gradient.items()}

        return Backend(models, task)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "sign", SignDescent())
    monkeypatch.setitem(REMEDIES, "halve", HalveAlways())
    monkeypatch.setitem(ENGINES, "doubled", Doubled())


def moved(run):
    return run.models.m - MODELS.m


def test_an_optimiser_is_trained_with_by_its_name(registered):
    run = gp.train(MODELS, TASK, 0.125, 1, optimizer="sign", engine=FLOAT64)
    steps = np.abs(moved(run))
    np.testing.assert_allclose(steps[steps > 0], 0.125, atol=1e-15)
    assert (steps > 0).mean() > 0.9
    assert run.config["optimizer"] == "SignDescent()"


def test_a_remedy_is_trained_with_by_its_name(registered):
    plain = gp.train(MODELS, TASK, 0.5, 1, engine=FLOAT64)
    halved = gp.train(MODELS, TASK, 0.5, 1, remedy="halve", engine=FLOAT64)
    np.testing.assert_allclose(moved(halved), moved(plain) / 2, atol=1e-15)
    assert (halved.history["update_scale"] == 0.5).all()
    assert (halved.events["remedy_epochs"] == 1).all()
    # it limits what another allows
    both = gp.train(MODELS, TASK, 0.5, 1, remedy=("halve", HazardLimit(1e-9)), engine=FLOAT64)
    assert (both.history["update_scale"] < 0.5).all()


def test_an_engine_is_trained_with_by_its_name(registered):
    plain = gp.train(MODELS, TASK, 0.5, 1, engine=FLOAT64)
    run = gp.train(MODELS, TASK, 0.5, 1, engine=gp.Computing("doubled", dtype="float64"))
    np.testing.assert_allclose(run.history["loss"], 2 * plain.history["loss"])
    np.testing.assert_allclose(moved(run), 2 * moved(plain), atol=1e-15)
    assert run.config["engine"] == "doubled"
    with pytest.raises(ValueError, match="dtype must be float64 for the doubled engine"):
        gp.train(MODELS, TASK, 0.5, 1, engine="doubled")


@dataclass(frozen=True)
class Rounder(TrustRegion):
    """Known to the kernels' class by inheritance alone."""


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"optimizer": "sign"}, "the kernels know the optimisers SGD and Adam, got SignDescent"),
        (
            {"remedy": "halve"},
            "the kernels know the remedies TrustRegion, HazardLimit, Guard and ClipGradient, got HalveAlways",
        ),
        ({"remedy": Rounder()}, "the kernels know the remedies .*, got Rounder"),
    ],
)
def test_what_the_kernels_do_not_know_goes_to_an_engine_by_epoch_with_the_reason(registered, asked, reason):
    with pytest.warns(UserWarning, match=f"slower torch engine: {reason}"):
        assert gp.train(MODELS, TASK, 0.1, 2, **asked).config["engine"] == "torch"
    with pytest.raises(ValueError, match=reason):
        gp.train(MODELS, TASK, 0.1, 2, engine="compiled", **asked)


def test_a_subclass_of_an_optimiser_is_not_taken_for_it():
    class Reversed(SGD):
        def update(self, part, gradient, rate, state, epoch):
            return rate * gradient

    with pytest.warns(UserWarning, match="got Reversed"):
        run = gp.train(MODELS, TASK, 0.5, 1, optimizer=Reversed())
    plain = gp.train(MODELS, TASK, 0.5, 1)
    np.testing.assert_allclose(moved(run), -moved(plain), atol=1e-6)
