"""Tasks from arrays: what is derived, what is kept, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from ghostpoint.tasks import DelayedCueDiscrimination, Task, from_arrays
from tests.tasks.kinds import memory_tasks

TIMES = {"dt": 5.0, "tau": 10.0}
INPUTS, TARGETS = np.zeros((2, 3, 1)), np.array([[0.0, 1, 1], [0, 0, 1]])[:, :, None]


@given(memory_tasks())
def test_the_arrays_of_a_task_make_the_same_task(pair):
    task, _ = pair
    trial = task.trial()
    copy = from_arrays(
        trial.inputs, trial.targets, trial.mask, dt=task.dt, tau=task.tau, read_out=task.read_out, noise=task.noise
    )
    assert isinstance(copy, Task)
    assert (copy.steps, copy.n_inputs, copy.n_outputs, copy.n_trials) == (task.steps, 1, 1, task.n_trials)
    assert copy.levels == task.levels
    assert copy.chance_loss == pytest.approx(task.chance_loss)
    assert copy.chance_accuracy == task.chance_accuracy
    assert np.array_equal(copy.weights(copy.trial()), task.weights(trial))
    assert (copy.noise, copy.read_out) == (task.noise, task.read_out)


def test_levels_are_the_targets_that_count_and_thresholds_the_middles():
    targets = np.array([[[-1.0], [0.0], [4.0], [9.0]]])
    task = from_arrays(np.zeros((1, 4, 0)), targets, [[True, True, True, False]], **TIMES)
    assert (task.levels, task.thresholds, task.inclusive) == ((-1, 0, 4), (-0.5, 2), (False, False))
    assert (task.n_inputs, task.read_out) == (0, "after")
    assert task.level(np.array([-0.5, -0.4, 2.0, 2.1])).tolist() == [0, 1, 1, 2]
    assert from_arrays(np.zeros((1, 4, 0)), targets, **TIMES, levels=(-1, 9), thresholds=(8,)).thresholds == (8,)


def test_a_tolerance_takes_the_place_of_levels():
    targets = np.linspace(0, 1, 40).reshape(1, 40, 1)
    with pytest.raises(ValueError, match=r"tolerance or levels must be given .* got 40"):
        from_arrays(np.zeros((1, 40, 1)), targets, **TIMES)
    task = from_arrays(np.zeros((1, 40, 1)), targets, **TIMES, tolerance=0.1)
    assert (task.levels, task.thresholds) == ((), ())
    shifted = targets + np.where(np.arange(40) < 10, 0.09, 0.11)[:, None]
    assert task.accuracy(shifted, task.trial()) == 0.25


def test_a_mask_may_leave_the_channel_out():
    targets = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    task = from_arrays(np.zeros((1, 2, 1)), targets, [[1, 0]], **TIMES)
    assert task.trial().mask.tolist() == [[[True, True], [False, False]]]


def test_the_task_keeps_its_own_arrays():
    targets = TARGETS.copy()
    task = from_arrays(INPUTS, targets, **TIMES)
    targets[:] = 7
    assert np.array_equal(task.trial().targets, TARGETS)
    with pytest.raises(ValueError, match="read-only"):
        task.trial().targets[0, 0, 0] = 1


def test_equal_arrays_are_equal_tasks():
    task = from_arrays(INPUTS, TARGETS, **TIMES)
    assert task == from_arrays(INPUTS, TARGETS, **TIMES)
    assert task != from_arrays(INPUTS, 1 - TARGETS, **TIMES)
    assert task != from_arrays(INPUTS, TARGETS, **TIMES, noise=0.1)
    assert task != from_arrays(INPUTS, TARGETS, **TIMES, read_out="before")
    assert task != DelayedCueDiscrimination(10, 50, 50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": TARGETS[:, :, 0]}, r"targets must have shape \(trial, step, channel\), got \(2, 3\)"),
        ({"targets": TARGETS + np.nan}, r"targets must be finite, got nan at index \(0, 0, 0\)"),
        ({"targets": np.zeros((0, 3, 1))}, "mask must count at least one answer, got none"),
        ({"inputs": INPUTS[:1]}, r"inputs must have shape \(2, 3, channel\), got \(1, 3, 1\)"),
        ({"inputs": INPUTS + np.inf}, "inputs must be finite"),
        ({"mask": np.zeros((2, 3))}, "mask must count at least one answer, got none"),
        ({"mask": np.ones((2, 4))}, r"mask must have shape \(2, 3\) or \(2, 3, 1\), got \(2, 4\)"),
        ({"mask": np.full((2, 3), 0.5)}, "mask must hold nothing but True and False"),
        ({"read_out": "during"}, "read_out must be one of before, after; got 'during'"),
        ({"tau": 4.0}, "dt must be at most tau = 4 ms, got 5 ms"),
        ({"dt": 0}, "dt must be above 0"),
        ({"noise": -1}, "noise must be at least 0"),
        ({"initial_scale": np.nan}, "initial_scale must be at least 0"),
        ({"tolerance": 0}, "tolerance must be above 0"),
        ({"tolerance": 0.1, "levels": (0, 1)}, r"levels must be empty where a tolerance is given, got \(0.0, 1.0\)"),
        ({"levels": (1,)}, r"levels must be at least two, got \(1.0,\)"),
        ({"levels": [[0, 1]]}, "levels must have shape"),
        ({"levels": (0, 1), "thresholds": (0.2, 0.4)}, "thresholds must be one between each two of"),
        ({"levels": (0, 1), "thresholds": (1.5,)}, "thresholds must lie between ascending levels"),
        ({"levels": (1, 0)}, "thresholds must lie between ascending levels"),
        ({"targets": TARGETS * 0}, "tolerance or levels must be given .* got 1"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    arguments = {"inputs": INPUTS, "targets": TARGETS, **TIMES, **changes}
    with pytest.raises(ValueError, match=f"^{message}"):
        from_arrays(arguments.pop("inputs"), arguments.pop("targets"), arguments.pop("mask", None), **arguments)
