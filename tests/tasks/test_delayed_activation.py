"""Delayed activation: lengths, targets and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint.tasks import DelayedActivation, steps_in


@given(st.integers(1, 500), st.integers(1, 999))
def test_a_period_of_k_steps_has_k_steps_whatever_the_step(k, thousandths):
    # k dt / dt may come out just below k in floating point
    dt = thousandths / 1000
    assert steps_in("delay", k * dt, dt) == k
    assert steps_in("delay", (k + 0.5) * dt, dt) == k


@given(st.integers(1, 60), st.floats(0.05, 1))
def test_the_target_is_0_for_the_delay_and_1_for_as_long(k, alpha):
    task = DelayedActivation(k * alpha * 10, alpha * 10, 10)
    trial = task.trial()
    assert trial.inputs.shape == (1, 2 * k, 0)
    assert trial.targets.shape == trial.mask.shape == (1, task.steps, 1)
    assert np.array_equal(trial.targets.ravel(), np.repeat([0, 1], k))
    assert trial.mask.all()
    # a network that never answers has the loss of chance, and half of its answers right
    assert task.loss_scale * (trial.targets**2).sum() == pytest.approx(task.chance_loss)
    assert (trial.targets < 0.5).mean() == task.chance_accuracy
    assert task.alpha == pytest.approx(alpha)


def test_the_defaults_are_the_published_ones():
    task = DelayedActivation()
    assert (task.alpha, task.delay_steps, task.steps) == (0.5, 20, 40)
    assert DelayedActivation(**{k: v for k, v in task.to_dict().items() if k != "task"}) == task


@pytest.mark.parametrize("name", ["delay", "dt", "tau"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "5", None])
def test_times_must_be_positive_and_finite(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be .*, got {value!r}"):
        DelayedActivation(**{name: value})


def test_steps_must_fit_the_delay_and_the_time_constant():
    with pytest.raises(ValueError, match="delay must be at least one step of dt = 5 ms, got 4 ms"):
        DelayedActivation(4.0)
    with pytest.raises(ValueError, match="dt must be at most tau = 10 ms, got 11 ms"):
        DelayedActivation(100, 11, 10)
