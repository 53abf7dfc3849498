"""Phases inside a record: a plateau above chance, and an oscillation that is over before the
end.
"""

from __future__ import annotations

import numpy as np
import pytest

from ghostpoint.diagnosis import diagnose


def noise(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize("n", [300, 1000, 4000])
def test_a_plateau_between_two_drops_is_above_chance(n):
    t = np.arange(n)
    loss = 1.6 - 0.8 / (1 + np.exp(-(t - 0.3 * n) / (0.004 * n))) - 0.7 / (1 + np.exp(-(t - 0.7 * n) / (0.004 * n)))
    phases = diagnose(loss + 0.005 * noise(n)).phases
    names = [phase.name for phase in phases if phase.end - phase.start > 0.05 * n]
    assert names == ["plateau at chance", "plateau above chance", "converged"]
    between = next(phase for phase in phases if phase.name == "plateau above chance")
    assert between.start == pytest.approx(0.3 * n, abs=0.05 * n)
    assert between.end == pytest.approx(0.7 * n, abs=0.05 * n)
    assert between.evidence["loss"] == pytest.approx(0.8, abs=0.01)
    drops = [phase for phase in phases if phase.name == "abrupt learning"]
    assert len(drops) == 2


@pytest.mark.parametrize("n", [600, 1000, 4000])
@pytest.mark.parametrize("period", [4, 17])
def test_an_oscillation_that_is_over_is_a_phase(n, period):
    t = np.arange(n)
    swing = 0.06 * np.sin(2 * np.pi * t / period) * ((t > 0.3 * n) & (t < 0.6 * n))
    found = diagnose(0.1 + np.exp(-t / (0.05 * n)) + swing + 0.002 * noise(n))
    assert found.verdict == "gradual learning"
    (stretch,) = (phase for phase in found.phases if phase.name == "oscillation near a minimum")
    assert stretch.start == pytest.approx(0.3 * n, abs=0.12 * n)
    assert stretch.end == pytest.approx(0.6 * n, abs=0.12 * n)
    assert stretch.evidence["period"] == pytest.approx(period, rel=0.1)
    assert found.phases[-1].name == "converged"


@pytest.mark.parametrize("n", [100, 1000])
def test_noise_alone_is_no_such_phase(n):
    t = np.arange(n)
    for seed in range(20):
        found = diagnose(0.1 + np.exp(-t / (0.05 * n)) + 0.01 * noise(n, seed))
        assert "oscillation near a minimum" not in {phase.name for phase in found.phases}
