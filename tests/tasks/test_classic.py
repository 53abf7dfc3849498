"""The classics: targets recomputed from the inputs alone, and chance against many trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint.tasks import DelayedAddition, EvidenceIntegration, NBitFlipFlop
from tests.tasks.kinds import additions, flip_flops, integrations

SEEDS = st.integers(0, 2**32 - 1)


@given(flip_flops(), SEEDS)
def test_a_bit_is_the_last_pulse_that_its_channel_showed(task, seed):
    trial = task.trial(seed)
    for row in range(task.n_trials):
        for bit in range(task.n_bits):
            last = 0
            for step in range(task.steps):
                shown = trial.inputs[row, step, bit]
                assert shown in (-1, 0, 1)
                assert step or shown != 0
                last = shown or last
                assert trial.targets[row, step, bit] == last
                assert trial.mask[row, step, bit] == (shown == 0)
    assert trial.mask[:, -task.pulse_steps :].all()


@given(flip_flops(), SEEDS)
def test_pulses_fill_whole_slots(task, seed):
    inputs = task.trial(seed).inputs
    whole = task.steps // task.pulse_steps * task.pulse_steps
    slots = inputs[:, :whole].reshape(task.n_trials, -1, task.pulse_steps, task.n_bits)
    assert (slots == slots[:, :, :1]).all()
    assert not inputs[:, whole:].any()


def test_pulses_come_as_often_as_said_and_either_way():
    task = NBitFlipFlop(n_bits=4, duration=5000, interval=80, n_trials=200)
    trial = task.trial(0)
    shown = trial.inputs[:, :: task.pulse_steps][:, 1:-1]
    n, p = shown.size, task.pulse / task.interval
    assert abs((shown != 0).mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
    assert abs((shown > 0).mean() - p / 2) < 5 * math.sqrt(p / 2 * (1 - p / 2) / n)
    assert task.loss(0 * trial.targets, trial) == pytest.approx(task.chance_loss)


def test_guessing_is_right_for_half_of_the_bits():
    # bits of other trials are independent, so the share over trials is binomial if there is one
    # answer to each
    task = NBitFlipFlop(n_bits=1, duration=20, n_trials=40_000)
    trial = task.trial(3)
    for guess in (0.0, 1.0):
        accuracy = task.accuracy(np.full(trial.targets.shape, guess), trial)
        assert abs(accuracy - task.chance_accuracy) < 5 * 0.5 / math.sqrt(task.n_trials)


@given(additions(), SEEDS)
def test_the_sum_is_that_of_the_two_marked_numbers(task, seed):
    trial = task.trial(seed)
    item, response = int(task.item / task.dt + 1e-9), int(task.response / task.dt + 1e-9)
    stream = item * task.items
    for row in range(task.n_trials):
        numbers, marks = trial.inputs[row, :, 0], trial.inputs[row, :, 1]
        for step in range(task.steps):
            assert 0 <= numbers[step] < 1
            if step >= stream:
                assert numbers[step] == marks[step] == 0
            elif step % item:
                assert (numbers[step], marks[step]) == (numbers[step - 1], marks[step - 1])
        marked = [i for i in range(task.items) if marks[i * item] == 1]
        assert len(marked) == 2
        assert marks.sum() == 2 * item
        assert marked[0] < task.items // 2 <= marked[1]
        total = numbers[marked[0] * item] + numbers[marked[1] * item]
        assert trial.targets[row, -response:, 0] == pytest.approx(total)
        assert not trial.targets[row, :-response].any()
    assert trial.mask[:, -response:].all()
    assert not trial.mask[:, :-response].any()


def test_every_place_gets_marked():
    task = DelayedAddition(items=7, item=5, n_trials=500)
    assert (task.trial(0).inputs[:, :7, 1].sum(axis=0) > 0).all()


@pytest.mark.parametrize("tolerance", [0.04, 0.3, 1.5])
def test_the_best_constant_sum_is_1(tolerance):
    # among constants the loss is least at the mean of the sum; both chances against a fine grid
    # over the unit square
    task = DelayedAddition(tolerance=tolerance)
    middles = (np.arange(2000) + 0.5) / 2000
    sums = middles[:, None] + middles
    assert task.chance_loss == pytest.approx(((sums - 1) ** 2).mean(), rel=1e-5)
    assert task.chance_loss < min(((sums - answer) ** 2).mean() for answer in (0.0, 0.9, 1.1))
    assert task.chance_accuracy == pytest.approx((np.abs(sums - 1) < tolerance).mean(), abs=1e-3)


def test_the_chance_of_addition_is_that_of_many_trials():
    task = DelayedAddition(item=5, delay=5, response=5, n_trials=40_000)
    trial = task.trial(2)
    ones = np.ones(trial.targets.shape)
    # the fourth moment of the triangular sum is 1/15, so the variance of its square is 1/15 - 1/36
    assert abs(task.loss(ones, trial) - task.chance_loss) < 5 * math.sqrt((1 / 15 - 1 / 36) / task.n_trials)
    p = task.chance_accuracy
    assert abs(task.accuracy(ones, trial) - p) < 5 * math.sqrt(p * (1 - p) / task.n_trials)


@given(integrations(), SEEDS)
def test_the_answer_is_the_sign_of_the_evidence_shown(task, seed):
    trial = task.trial(seed)
    stimulus, response = (int(period / task.dt + 1e-9) for period in (task.stimulus, task.response))
    for row in range(task.n_trials):
        shown = trial.inputs[row, :, 0].tolist()
        assert not any(shown[stimulus:])
        total = math.fsum(shown)
        if abs(total) > 1e-9:
            assert (trial.targets[row, -response:, 0] == math.copysign(1, total)).all()
        assert not trial.targets[row, :-response].any()
    assert trial.mask.all()


@given(integrations(), SEEDS)
def test_the_chance_of_integration_is_silence(task, seed):
    trial = task.trial(seed)
    silent = np.zeros(trial.targets.shape)
    assert task.loss(silent, trial) == pytest.approx(task.chance_loss)
    assert task.accuracy(silent, trial) == task.chance_accuracy


@pytest.mark.parametrize("dt", [0.5, 2.0, 10.0])
def test_the_evidence_spreads_by_time_and_not_by_step(dt):
    task = EvidenceIntegration(strengths=(0.2, 0.4), spread=0.7, dt=dt, n_trials=20_000)
    shown = task.trial(1).inputs[:, : int(task.stimulus / dt), 0]
    per_tau = shown.reshape(task.n_trials, int(task.stimulus / task.tau), -1).mean(axis=2)
    deviations = per_tau - per_tau.mean(axis=1, keepdims=True)
    n = deviations.size - task.n_trials
    assert abs((deviations**2).sum() / n / 0.49 - 1) < 5 * math.sqrt(2 / n)
    # the square of a mean is its own variance more than the mean of the squared strengths, (0.04 +
    # 0.16) / 2
    means = shown.mean(axis=1)
    variance = 0.49 * task.tau / task.stimulus
    assert abs((means**2).mean() - variance - 0.1) < 5 * (means**2).std() / math.sqrt(task.n_trials)
    assert abs(means.mean()) < 5 * means.std() / math.sqrt(task.n_trials)


def test_evidence_without_spread_is_the_strength():
    shown = EvidenceIntegration(strengths=[0.25], spread=0).trial(0).inputs[:, :40, 0]
    assert set(np.unique(shown)) == {-0.25, 0.25}


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (NBitFlipFlop, {"n_bits": 0}, "n_bits must be at least 1, got 0"),
        (NBitFlipFlop, {"interval": 9}, "interval must be at least pulse = 10 ms, got 9 ms"),
        (NBitFlipFlop, {"duration": 19}, "duration must be at least two pulses of 10 ms, got 19 ms"),
        (DelayedAddition, {"items": 1}, "items must be at least 2, got 1"),
        (DelayedAddition, {"tolerance": 0}, "tolerance must be above 0 and finite, got 0"),
        (EvidenceIntegration, {"strengths": ()}, r"strengths must be one or more numbers of at least 0, got \(\)"),
        (EvidenceIntegration, {"strengths": (0.1, -1)}, "strengths must be one or more numbers"),
        (EvidenceIntegration, {"strengths": 0.1}, "strengths must have shape"),
        (EvidenceIntegration, {"spread": -1}, "spread must be at least 0"),
        (EvidenceIntegration, {"strengths": (0,), "spread": 0}, "spread must be above 0 where a strength is 0, got 0"),
        *((kind, {"n_trials": 0}, "n_trials must be at least 1") for kind in (NBitFlipFlop, DelayedAddition)),
        (EvidenceIntegration, {"n_trials": 2.5}, "n_trials must be a whole number, got 2.5"),
    ],
)
def test_numbers_out_of_range_are_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        kind(**arguments)
