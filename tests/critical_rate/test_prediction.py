"""The first-order rate against the toy model and the hazard, and the plateau that ends before the
drop.
"""

from __future__ import annotations

import numpy as np
import pytest

from ghostpoint import LowRankRNN, SaddleNodeToy
from ghostpoint.critical_rate import (
    Escape,
    before_crossing,
    critical_learning_rate,
    escape_gradient,
    escape_time,
    first_order_rate,
)
from ghostpoint.remedies import crossings
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training.reference import evaluate, follow
from tests.critical_rate.test_escape import TASK, crossing_networks, two_step_task, with_inputs


@pytest.mark.parametrize("steps", [10, 40, 160])
def test_it_is_the_toy_models_critical_rate(steps):
    # t = pi / (2 sqrt(r)) at its minimum: |dt/dr| = 2 T**3 / pi**2; the task divides the loss by T
    # and the toy does not
    task = DelayedActivation(5.0 * steps)
    slope = np.array([[2 * steps**3 / np.pi**2]])
    found = tuple(crossings(task, task.trial(), "sigmoid"))
    escape = Escape(found, np.array([[float(steps)]]), np.ones((1, 1)), {}, slope)
    toy = SaddleNodeToy(T=float(steps))
    assert first_order_rate(escape, task) == pytest.approx(toy.critical_learning_rate * steps, rel=1e-12)


def test_an_update_at_that_rate_has_hazard_one_for_a_confident_readout():
    # A steep logit makes the loss's slope in t that of the closed form, but only averaged over a
    # step of the time grid; here the readout crosses over many steps and the sum over them is the
    # integral
    models = crossing_networks(5).replace(confidence=1.5)
    escape, loss = escape_gradient(models, TASK), evaluate(models, TASK)
    rate = first_order_rate(escape, TASK)
    crossed = np.isfinite(rate)
    assert crossed.sum() >= 2
    assert rate[crossed] == pytest.approx(0.375 * 36 / escape.norm[0, crossed] ** 2)
    # and the update itself can do no more than its norm allows
    along = sum(
        (escape.gradient[part][0] * loss.gradient[part]).reshape(len(models), -1).sum(axis=1)
        for part in models.trainable
    )
    hazard = rate * np.abs(along) / (0.375 * 6)
    bound = rate * escape.norm[0] * loss.gradient_norm / (0.375 * 6)
    assert (hazard[crossed] <= bound[crossed] * (1 + 1e-12)).all()


def test_several_crossings_give_the_lowest():
    models, task = with_inputs(3), two_step_task()
    escape = escape_gradient(models, task)
    rate = first_order_rate(escape, task)
    weight = task.weights(task.trial()).max()
    each = 0.375 * escape.delay[:, None] / (weight * escape.norm**2)
    some = np.isfinite(each).any(axis=0)
    assert some.any()
    assert rate[some] == pytest.approx(np.nanmin(each[:, some], axis=0))
    assert np.isnan(rate[~some]).all()


def test_times_alone_are_refused():
    with pytest.raises(ValueError, match="escape must have its gradient"):
        first_order_rate(escape_time(crossing_networks(5), TASK), TASK)


def test_the_plateau_ends_just_before_the_readout_crosses():
    task = DelayedActivation(40.0)
    models = LowRankRNN.initialize(40, range(4))
    start, trained_first = before_crossing(models, task)
    assert trained_first.all()
    assert np.isnan(escape_time(start, task).time).all()
    begin, end = (follow(stack, task, task.trial()).logits.max(axis=(0, 2, 3)) for stack in (models, start))
    assert (end < 0).all()
    assert (end > begin + 5).all()
    assert (evaluate(start, task).loss < evaluate(models, task).loss).all()
    # one that crosses is left alone, and a network's way does not depend on the others
    again, needed = before_crossing(start[1], task)
    assert needed.all()
    alone, _ = before_crossing(models[2], task)
    assert np.array_equal(alone.m[0], start.m[2])
    assert len(again) == 1


def test_a_network_that_crosses_is_left_as_it_is():
    models = crossing_networks(5)
    crossed = np.isfinite(escape_time(models, TASK).time[0])
    start, trained_first = before_crossing(models[crossed], TASK)
    assert not trained_first.any()
    assert np.array_equal(start.m, models.m[crossed])


@pytest.mark.parametrize("name", ["horizon", "epochs"])
@pytest.mark.parametrize("value", [30, 50])
def test_a_descent_too_short_to_be_lost_is_refused_by_its_own_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be at least 51, got {value}$"):
        critical_learning_rate(LowRankRNN.initialize(4, [0]), DelayedActivation(10), **{name: value})
