"""Records that were once called something they are not; ``r`` is normal noise."""

from __future__ import annotations

import numpy as np
import pytest

from ghostpoint.diagnosis import diagnose

T = np.arange(1000)


def normal(seed, n=1000):
    return np.random.default_rng(seed).normal(size=n)


def verdicts(make, tries, **options):
    return [diagnose(make(seed), **options).verdict for seed in range(tries)]


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize(
    "options", [{}, {"chance_loss": 0.6931, "chance_accuracy": 0.5}, {"classes": 2}], ids=["none", "levels", "classes"]
)
def test_a_plateau_with_a_noisy_accuracy_is_at_chance(every, options):
    def plateau(seed):
        n = int(np.random.default_rng(seed).integers(30, 401))
        accuracy = 0.5 + 0.01 * normal(seed + 1000, n)
        accuracy[np.arange(n) % every != 0] = np.nan
        return {"loss": 0.69 + 0.004 * normal(seed, n), "accuracy": accuracy}

    assert verdicts(plateau, 40, **options).count("plateau at chance") >= 39


def test_a_drop_with_a_sparse_accuracy_is_abrupt():
    def drop(seed):
        t = np.arange(400)
        up = 1 / (1 + np.exp(-(t - 300) / 4))
        accuracy = np.where(t % 10 == 0, 0.5 + 0.5 * up + 0.01 * normal(seed + 99, 400), np.nan)
        return {"loss": 0.69 * (1 - up) + 0.01 + 0.004 * normal(seed, 400), "accuracy": accuracy}

    assert set(verdicts(drop, 20)) == {"abrupt learning"}


def test_a_bad_start_does_not_hide_the_plateau_and_the_drop():
    found = diagnose(8 * np.exp(-T / 6) + 0.69 / (1 + np.exp((T - 600) / 8)) + 0.01)
    assert found.verdict == "abrupt learning"
    assert [phase.name for phase in found.phases][:3] == ["gradual learning", "plateau at chance", "abrupt learning"]
    plateau, drop = found.phases[1:3]
    assert plateau.start < 60
    assert drop.start < 600 < drop.end
    assert "o on" not in found.advice


@pytest.mark.parametrize("period", [3, 7, 21, 40, 90, 150, 230])
def test_a_swing_of_any_period_is_an_oscillation(period):
    loss = 0.1 + 0.5 * np.exp(-T / 30) + 0.08 * np.sin(2 * np.pi * T / period) * (T > 300)
    found = diagnose(loss)
    assert found.verdict == "oscillation near a minimum"
    assert found.evidence["period"] == pytest.approx(period, rel=0.2)


def test_a_swing_that_grows_is_an_oscillation():
    loss = 0.3 + 0.5 * np.exp(-T / 30) + 0.2 * np.sin(2 * np.pi * T / 50) * (T > 300) * T / 1000
    found = diagnose(loss)
    assert found.verdict == "oscillation near a minimum"
    assert found.evidence["growth"] > 1.2


@pytest.mark.parametrize("loss", [0.5 + 0.75 * T / 1000, 0.5 + 2.9 * (T > 500), 0.1 + 2.9 * (T > 500)])
def test_a_rise_is_a_rise(loss):
    assert diagnose(loss).verdict == "rise of the loss"
    assert diagnose(loss + 0.004 * normal(0)).verdict == "rise of the loss"


@pytest.mark.parametrize("start", [0.3, 0.55])
def test_a_validation_loss_that_starts_low_has_not_recovered(start):
    loss = start + (0.69 - start) * (1 - np.exp(-T / 30)) - 0.6 / (1 + np.exp(-(T - 600) / 8))
    assert diagnose(loss + 0.004 * normal(0)).verdict == "abrupt learning"


@pytest.mark.parametrize("n", [40, 60, 100, 200])
def test_noise_on_a_floor_is_no_oscillation(n):
    flat = verdicts(lambda seed: 0.02 + 0.004 * normal(seed, n), 60)
    floor = verdicts(lambda seed: 0.02 + np.exp(-np.arange(n) / (n / 10)) + 0.004 * normal(seed, n), 60)
    assert (flat + floor).count("oscillation near a minimum") == 0


@pytest.mark.parametrize("accuracy", [False, True])
def test_a_collapse_of_thirty_epochs_is_seen(accuracy):
    loss = np.where(T < 970, 0.69 / (1 + np.exp((T - 400) / 8)) + 0.01, 0.69)
    history = {"loss": loss + 0.002 * normal(0)} | ({"accuracy": 0.5 + 0.5 * (loss < 0.3)} if accuracy else {})
    found = diagnose(history)
    assert found.verdict == "no-learning zone"
    assert found.evidence["entry_epoch"] == pytest.approx(970, abs=2)


def test_shorter_runs_of_a_file_have_not_diverged(tmp_path):
    runs = [np.exp(-np.arange(n) / 60) + 0.1 + 0.005 * normal(n, n) for n in (300, 400, 500)]
    padded = np.full((3, 500), np.nan)
    for row, loss in zip(padded, runs, strict=True):
        row[: len(loss)] = loss
    for history in (padded, runs, {"a": runs[0], "b": runs[1], "c": runs[2]}):
        assert diagnose(history).verdict == ("gradual learning",) * 3
    # growth and an infinite loss before the end are no padding
    padded[0, 290:300] = np.inf
    assert diagnose(padded).verdict[0] == "divergence"


def test_accuracy_in_percent_is_read_as_a_share():
    up = 1 / (1 + np.exp(-(T - 600) / 8))
    history = {"loss": 0.7 - 0.69 * up, "accuracy": 50 + 50 * up}
    found = diagnose(history)
    assert found.verdict == "abrupt learning"
    assert "percent" in str(found)


def test_a_loss_that_ends_at_a_constant_answer_is_a_plateau():
    loss = 0.6931 + 3 * np.exp(-T / 20) + 0.002 * normal(1)
    found = diagnose(loss)
    assert found.verdict == "plateau at a constant answer"
    assert "o on" not in found.advice
    assert diagnose(loss, classes=2).verdict.startswith("plateau")
    targets = np.arange(100) % 2
    squared = 0.25 + 3 * np.exp(-T / 20) + 0.001 * normal(1)
    assert diagnose(squared, targets=targets).verdict.startswith("plateau")


def test_thirteen_epochs_are_enough_to_see_a_collapse():
    accuracy = np.linspace(0.93, 0.41, 13)
    assert diagnose({"loss": -np.log(accuracy) * 1.5, "accuracy": accuracy}).verdict == "rise of the loss"


def test_go_on_is_never_said_of_a_long_flat_tail():
    for floor in (0.02, 0.13):
        found = diagnose(2 * np.exp(-T / 30) + floor + 0.002 * normal(3))
        assert "o on" not in found.advice
        assert found.phases[-1].name == "converged"


def test_over_fitting_is_named_beside_a_training_loss_that_falls():
    training = 1.1 * np.exp(-T / 150) + 0.05
    found = diagnose({"loss": training, "validation_loss": training + 0.3 + 0.8 * (T / 1000) ** 1.5})
    assert found.verdict == "rise of the loss"
    assert "over-fitting" in str(found)


def test_a_column_more_does_not_change_the_verdict():
    up = 1 / (1 + np.exp(-(T - 600) / 8))
    loss = 0.7 - 0.69 * up + 0.003 * normal(0)
    clean = 0.5 + 0.5 * up
    noisy = clean + 0.02 * normal(1)
    columns = [
        {"accuracy": noisy},
        {"accuracy": np.where(T % 10 == 0, noisy, np.nan)},
        {"accuracy": np.zeros(1000)},
        {"accuracy": np.where(T < 40, 0.0, noisy)},
        {"accuracy": 100 * clean},
        {"gradient_norm": np.exp(normal(2))},
        {"learning_rate": np.full(1000, 0.01)},
        {"validation_loss": loss + 0.05},
    ]
    for more in columns:
        for options in ({}, {"chance_loss": 0.7}, {"chance_loss": 0.7, "chance_accuracy": 0.5}):
            assert diagnose({"loss": loss} | more, **options).verdict == "abrupt learning", (list(more), options)
