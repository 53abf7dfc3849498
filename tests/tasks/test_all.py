"""What holds for every task: shapes, weights, chance, accuracy, seeds, round trips, and what is
refused.
"""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint import tasks
from ghostpoint.tasks import DelayedActivation, Task
from tests.tasks.kinds import EXAMPLES, RANDOM, fixed_tasks, random_tasks

EVERY = st.one_of(fixed_tasks(), random_tasks())
SEEDS = st.one_of(st.integers(0, 2**40), st.lists(st.integers(0, 2**40), min_size=1, max_size=3))
PERIODS = [(kind, name) for kind, periods in EXAMPLES.items() for name in periods]


def counted(task, trial):
    """Every counted answer one by one: (trial, step, channel)."""
    return [tuple(place) for place in np.argwhere(trial.mask)]


def level_by_hand(task, value):
    """The level that an answer counts as, threshold by threshold."""
    level = task.levels[0]
    for upper, threshold, inclusive in zip(task.levels[1:], task.thresholds, task.inclusive, strict=True):
        if value > threshold or (inclusive and value == threshold):
            level = upper
    return level


def right_by_hand(task, answer, target):
    if task.tolerance is not None:
        return abs(answer - target) < task.tolerance
    return level_by_hand(task, answer) == level_by_hand(task, target)


@given(EVERY, SEEDS)
def test_shapes_and_types_are_those_announced(task, seed):
    trial = task.trial(seed)
    assert trial.inputs.shape == (task.n_trials, task.steps, task.n_inputs)
    assert trial.targets.shape == trial.mask.shape == (task.n_trials, task.steps, task.n_outputs)
    assert (trial.inputs.dtype, trial.targets.dtype, trial.mask.dtype) == (np.float64, np.float64, np.bool_)
    assert task.alpha == task.dt / task.tau
    assert task.read_out in ("before", "after")
    assert len(task.inclusive) == len(task.thresholds) == max(0, len(task.levels) - 1)
    assert bool(task.levels) == (task.tolerance is None)


@given(EVERY, SEEDS, st.integers(0, 2**32 - 1))
def test_loss_and_accuracy_are_those_of_a_loop_over_the_answers(task, seed, noise):
    trial = task.trial(seed)
    rng = np.random.default_rng(noise)
    outputs = trial.targets + rng.normal(scale=0.5, size=(2, *trial.targets.shape))
    places = counted(task, trial)
    weights = task.weights(trial)
    assert not weights[~trial.mask].any()
    # a sum over the steps divided by T for delayed activation, elsewhere a mean
    scale = 1 / (task.steps // 2) if isinstance(task, DelayedActivation) else 1 / len(places)
    assert weights.sum() == pytest.approx(scale * len(places))
    for row in range(2):
        loss = sum(scale * (outputs[row][place] - trial.targets[place]) ** 2 for place in places)
        right = sum(right_by_hand(task, outputs[row][place], trial.targets[place]) for place in places)
        assert task.loss(outputs, trial)[row] == pytest.approx(loss)
        assert task.accuracy(outputs, trial)[row] == right / len(places)


@given(EVERY, SEEDS)
def test_the_targets_themselves_are_right(task, seed):
    trial = task.trial(seed)
    assert task.loss(trial.targets, trial) == 0
    assert task.accuracy(trial.targets, trial) == 1


@given(fixed_tasks())
def test_chance_is_the_output_0_of_a_fixed_task(task):
    trial = task.trial()
    silent = np.zeros(trial.targets.shape)
    assert task.loss(silent, trial) == pytest.approx(task.chance_loss)
    # equal to the last bit: an event is "above chance"
    assert task.accuracy(silent, trial) == task.chance_accuracy


@given(EVERY, st.sampled_from([np.float32, np.float64]))
def test_an_answer_at_a_threshold_goes_where_the_task_says_in_every_precision(task, dtype):
    for index, (threshold, inclusive) in enumerate(zip(task.thresholds, task.inclusive, strict=True)):
        at = dtype(threshold)
        around = np.array([np.nextafter(at, dtype(-np.inf)), at, np.nextafter(at, dtype(np.inf))])
        assert task.level(around).tolist() == [index, index + inclusive, index + 1]


@given(EVERY)
def test_levels_count_as_themselves(task):
    assert task.level(np.array(task.levels)).tolist() == list(range(len(task.levels)))


@given(EVERY, SEEDS)
def test_a_task_survives_json_and_its_trials_too(task, seed):
    again = Task.from_dict(json.loads(json.dumps(task.to_dict())))
    assert type(again) is type(task)
    assert again == task
    assert hash(again) == hash(task)
    for name in ("inputs", "targets", "mask"):
        assert np.array_equal(getattr(again.trial(seed), name), getattr(task.trial(seed), name))


@given(random_tasks(), SEEDS, st.integers(0, 2**32 - 1))
def test_trials_depend_on_the_seed_alone_and_leave_the_global_generator_alone(task, seed, state):
    one = task.trial(seed)
    np.random.seed(state)  # noqa: NPY002 - what must not matter
    other = task.trial(seed)
    drawn = np.random.random()  # noqa: NPY002
    assert drawn == np.random.RandomState(state).random()
    assert np.array_equal(one.inputs, other.inputs)
    assert np.array_equal(one.targets, other.targets)
    assert task.random


@pytest.mark.parametrize("kind", RANDOM)
def test_other_seeds_give_other_trials(kind):
    task = kind()
    shown = [task.trial(seed).inputs for seed in (0, 1, (0, 0), (0, 1), (1, 0), (1, 0, 0))]
    for i, one in enumerate(shown):
        assert all(not np.array_equal(one, other) for other in shown[i + 1 :])


@pytest.mark.parametrize("kind", RANDOM)
@pytest.mark.parametrize("seed", [None, -1, 0.5, [], "", (1, None), True])
def test_random_trials_need_a_whole_seed(kind, seed):
    with pytest.raises(ValueError, match="seed must be"):
        kind().trial(seed)


@given(fixed_tasks(), SEEDS)
def test_fixed_trials_need_no_seed(task, seed):
    assert not task.random
    assert np.array_equal(task.trial().inputs, task.trial(seed).inputs)
    assert np.array_equal(task.trial().targets, task.trial(seed).targets)


@pytest.mark.parametrize(("kind", "name"), PERIODS)
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "5", None, True])
def test_periods_must_be_positive_and_finite(kind, name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value!r}"):
        kind(**{**EXAMPLES[kind], name: value})


@pytest.mark.parametrize(("kind", "name"), PERIODS)
def test_periods_must_last_for_a_step(kind, name):
    with pytest.raises(ValueError, match=rf"^{name} must be at least one step of dt = 5 ms, got 4.9 ms"):
        kind(**{**EXAMPLES[kind], name: 4.9})


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_step_must_fit_the_time_constant(kind):
    with pytest.raises(ValueError, match=r"^dt must be at most tau = 10 ms, got 11 ms"):
        kind(**{**EXAMPLES[kind], "dt": 11})
    for name in ("dt", "tau"):
        with pytest.raises(ValueError, match=f"^{name} must be above 0"):
            kind(**{**EXAMPLES[kind], name: 0})


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind is not DelayedActivation])
@pytest.mark.parametrize("name", ["initial_scale", "noise"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_scale_and_noise_must_not_be_negative(kind, name, value):
    assert getattr(kind(**EXAMPLES[kind]), name) == 0
    with pytest.raises(ValueError, match=f"^{name} must be at least 0 and finite, got {value!r}"):
        kind(**{**EXAMPLES[kind], name: value})


@pytest.mark.parametrize("kind", EXAMPLES)
def test_tasks_cannot_be_changed(kind):
    task = kind(**EXAMPLES[kind])
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.dt = 1.0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "task must be one of ArrayTask, DelayedActivation, .*; got ''"),
        ({"task": "_Cued"}, "task must be one of .*; got '_Cued'"),
        ({"task": "DelayedActivation", "cue": 10}, "parameters must be those of DelayedActivation: .*'cue'"),
        ({"task": "DelayedMatchToSample", "cue": 10}, "parameters must be those of DelayedMatchToSample: .*'delay'"),
        ({"task": "DelayedActivation", "delay": 1}, "delay must be at least one step"),
    ],
)
def test_a_wrong_description_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Task.from_dict(parameters)


def test_every_public_name_is_there():
    assert {kind.__name__ for kind in EXAMPLES} < set(tasks.__all__)
    assert all(hasattr(tasks, name) for name in tasks.__all__)
