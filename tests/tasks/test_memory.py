"""Cue discrimination and match to sample, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from ghostpoint.tasks import DelayedCueDiscrimination, DelayedMatchToSample
from tests.tasks.kinds import MEMORY, memory_tasks


@given(memory_tasks((DelayedCueDiscrimination,)))
def test_the_cue_is_asked_for_after_the_delay(pair):
    task, steps = pair
    trial = task.trial()
    assert task.steps == sum(steps.values())
    assert task.n_trials == 2 * task.copies
    for row in range(task.n_trials):
        cue = 1 if row % 2 == 0 else -1
        for step in range(task.steps):
            assert trial.inputs[row, step, 0] == (cue if step < steps["cue"] else 0)
            assert trial.targets[row, step, 0] == (cue if step >= steps["cue"] + steps["delay"] else 0)
    assert trial.mask.all()


@given(memory_tasks((DelayedMatchToSample,)))
def test_a_match_is_asked_for_after_the_second_cue(pair):
    task, steps = pair
    trial = task.trial()
    second = steps["cue"] + steps["delay"]
    response = second + steps["cue"]
    assert task.steps == response + steps["response"]
    pairs = []
    for row in range(task.n_trials):
        shown = trial.inputs[row, :, 0]
        pairs.append((shown[0], shown[second]))
        for step in range(task.steps):
            cue = shown[0] if step < steps["cue"] else shown[second] if second <= step < response else 0
            assert shown[step] == cue
            assert trial.targets[row, step, 0] == (step >= response and shown[0] == shown[second])
    assert pairs == [(1, 1), (-1, -1), (-1, 1), (1, -1)] * task.copies
    assert trial.mask.all()


@given(memory_tasks((DelayedCueDiscrimination,)))
def test_answering_in_time_without_the_cue_is_right_for_half_of_the_response_and_doubles_the_loss(pair):
    task, _ = pair
    trial = task.trial()
    blind = np.abs(trial.targets)
    assert task.loss(blind, trial) == pytest.approx(2 * task.chance_loss)
    assert task.accuracy(blind, trial) == pytest.approx((1 + task.chance_accuracy) / 2)


@given(memory_tasks((DelayedMatchToSample,)))
def test_a_half_in_every_response_halves_the_loss(pair):
    task, steps = pair
    trial = task.trial()
    blind = np.zeros(trial.targets.shape)
    blind[:, -steps["response"] :] = 0.5
    assert task.loss(blind, trial) == pytest.approx(task.chance_loss / 2)
    blind[blind > 0] = 1
    assert task.accuracy(blind, trial) == task.chance_accuracy


@pytest.mark.parametrize(
    ("kind", "periods", "steps"),
    [
        (DelayedCueDiscrimination, (10, 50, 50), 22),
        (DelayedCueDiscrimination, (30, 80, 50), 32),
        (DelayedMatchToSample, (30, 80, 50), 38),
        (DelayedMatchToSample, (10, 150, 50), 44),
    ],
)
def test_the_published_tasks(kind, periods, steps):
    task = kind(*periods)
    assert (task.steps, task.alpha, task.read_out) == (steps, 0.5, "before")
    assert (task.cue_steps, task.delay_steps, task.response_steps) == tuple(period // 5 for period in periods)
    assert (task.copies, task.initial_scale, task.noise) == (1, 0, 0)


def test_the_published_binarisation():
    # -1 up to -0.33, +1 from 0.33, else 0; above 0.5 for a match
    cue, match = DelayedCueDiscrimination(10, 50, 50), DelayedMatchToSample(10, 50, 50)
    answers = np.array([-1, -0.34, -0.33, -0.32, 0, 0.32, 0.33, 0.34, 1])
    assert [cue.levels[i] for i in cue.level(answers)] == [-1, -1, -1, 0, 0, 0, 1, 1, 1]
    assert [match.levels[i] for i in match.level(np.array([0, 0.49, 0.5, 0.51, 1]))] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("kind", MEMORY)
@pytest.mark.parametrize("copies", [0, -1, 1.5, "2", None, True])
def test_copies_must_be_a_whole_number(kind, copies):
    with pytest.raises(ValueError, match=rf"copies must be .*, got {copies!r}"):
        kind(10, 50, 50, copies=copies)
