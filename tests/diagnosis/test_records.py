"""Labelled records: what is right by construction, by kind; and the histories that people
reported.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ghostpoint.diagnosis import diagnose, read_history
from tests.diagnosis.realistic_records import REALISTIC, realistic_record
from tests.diagnosis.records import HELD_OUT, KINDS, record_of

HISTORIES = Path(__file__).parent / "histories"
EACH = 8


def test_there_are_thirty_kinds_or_more():
    assert len(KINDS) >= 30
    assert len(REALISTIC) >= 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_called_what_it_is(kind):
    """The shares of all seeds are in benchmarks/results/diagnosis.json; of eight at most one may be
    wrong.
    """
    wrong = []
    for seed in range(HELD_OUT, HELD_OUT + EACH):
        record = record_of(kind, seed)
        found = diagnose(record.history, **record.options)
        if found.verdict not in record.allowed:
            wrong.append((seed, record.setting, found.verdict))
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("kind", REALISTIC)
def test_a_realistic_kind_is_called_what_it_is(kind):
    wrong = []
    for seed in range(HELD_OUT, HELD_OUT + EACH):
        record = realistic_record(kind, seed)
        found = diagnose(record.history, **record.options)
        if found.verdict not in record.allowed:
            wrong.append((seed, record.setting, found.verdict))
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("kind", ["exponential", "jump", "collapse", "sine", "start_plateau_jump"])
def test_phases_are_disjoint_and_cover_the_record(kind):
    for seed in range(4):
        record = record_of(kind, seed)
        phases = diagnose(record.history, **record.options).phases
        assert all(a.end <= b.start for a, b in itertools.pairwise(phases)), phases


@pytest.mark.parametrize("name", ["constant_answer_a.csv", "constant_answer_b.csv"])
def test_two_answers_that_become_one_are_a_plateau(name):
    found = diagnose(read_history(HISTORIES / name))
    assert found.verdict == "plateau at a constant answer"
    assert "o on" not in found.advice
    last = found.phases[-1]
    assert last.name == found.verdict
    assert 200 < last.start < 1100


def test_a_network_that_learns_is_told_apart_from_one_that_gives_one_answer():
    found = diagnose(read_history(HISTORIES / "learns.csv"))
    assert found.verdict == "gradual learning"
    assert found.phases[-1].name == "converged"


@pytest.mark.parametrize("with_accuracy", [True, False])
def test_a_guess_among_four_is_at_chance_from_epoch_one(with_accuracy):
    history = read_history(HISTORIES / "four_way_guess.csv").runs[0]
    curves = {"loss": history.curves["loss"], "epoch": history.epoch}
    curves |= {"accuracy": history.curves["accuracy"]} if with_accuracy else {}
    for options in ({}, {"classes": 4}, {"chance_loss": float(np.log(4))}, {"chance_accuracy": 0.25}):
        assert diagnose(curves, **options).verdict == "plateau at chance", options


def test_a_drop_within_twenty_epochs_is_found():
    found = diagnose(read_history(HISTORIES / "mse_drop_20.csv"))
    assert found.verdict == "abrupt learning"
    drop = next(phase for phase in found.phases if phase.name == "abrupt learning")
    assert drop.start <= 11 <= drop.end


@pytest.mark.parametrize("name", ["lightning_one_loss.csv", "lightning_two_losses.csv", "lightning_one_epoch.csv"])
def test_the_logs_of_lightning_are_read_by_step(name):
    history = read_history(HISTORIES / name)
    assert history.columns["epoch"] == "step"
    assert history.columns["loss"] == "train_loss"
    assert "loss = train_loss" in str(diagnose(history))
    assert diagnose(history).verdict == "gradual learning"
