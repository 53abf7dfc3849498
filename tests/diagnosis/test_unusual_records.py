"""Trainings that differ from the usual ones: of five of each kind at most one may be wrong; the
shares are in benchmarks/results/diagnosis.json."""

from __future__ import annotations

import numpy as np
import pytest

from ghostpoint.diagnosis import diagnose
from ghostpoint.diagnosis.series import memory_of
from tests.diagnosis.unusual_records import UNUSUAL, averaged, unusual_record


def test_there_are_thirty_kinds_or_more():
    assert len(UNUSUAL) >= 30


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_kind_is_called_what_it_is(kind):
    wrong = []
    for seed in range(5):
        record = unusual_record(kind, seed)
        found = diagnose(record.history, **record.options)
        if found.verdict not in record.allowed:
            wrong.append((seed, record.setting, found.verdict))
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("memory", [0.5, 0.8, 0.9])
def test_the_memory_of_noise_is_measured_beside_a_slope(memory):
    noise = averaged(np.random.default_rng(0).normal(size=4000), memory)
    slope = 0.1 * noise.std() * np.arange(4000)
    assert memory_of(noise + slope) == pytest.approx(memory_of(noise), abs=0.02)
    assert memory - 0.2 < memory_of(noise) < memory + 0.05


def test_white_noise_smooth_curves_and_swings_have_no_memory():
    t = np.arange(1000)
    white = np.random.default_rng(1).normal(size=1000)
    assert memory_of(white) < 0.1
    assert memory_of(np.exp(-t / 100)) == 0.0
    assert memory_of(np.exp(-t / 200) + 0.01 * white) < 0.1
    assert all(memory_of(np.sin(2 * np.pi * t / period) + 0.2 * white) < 0.1 for period in (3, 4, 5, 8, 20))
