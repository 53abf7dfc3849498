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


@pytest.mark.parametrize("end", [[], [np.inf], [np.inf, np.nan, np.nan]])
@pytest.mark.parametrize(
    "growth",
    [1.4 * 5.5 ** np.arange(46.0), 1.05 ** np.arange(1500.0), np.linspace(1, 5000, 300)],
    ids=["x5.5", "x1.05", "linear"],
)
def test_a_loss_that_grows_from_the_beginning_diverges_from_the_beginning(growth, end):
    found = diagnose(np.concatenate([growth, end]))
    # a steady rise that has not ended may be one of many causes
    name = "divergence" if end or growth[-1] > 1e6 else "rise of the loss"
    assert [(phase.name, phase.start) for phase in found.phases] == [(name, 0.0)]


@pytest.mark.parametrize("end", [[], [np.nan, np.nan, np.nan]])
@pytest.mark.parametrize("flat", [60, 300])
@pytest.mark.parametrize("seed", range(4))
def test_a_divergence_begins_where_the_loss_leaves_its_lowest(seed, flat, end):
    rng = np.random.default_rng(seed)
    learned = np.concatenate([np.full(200, 1.0), np.linspace(1, 0.1, 50), np.full(flat, 0.1)])
    grown = 0.1 * 3.0 ** np.arange(1, 12)
    loss = np.concatenate([learned * np.exp(0.1 * rng.normal(size=len(learned))), grown, end])
    found = diagnose(loss)
    assert found.verdict == "divergence"
    assert found.phases[-1].name == "divergence"
    assert found.phases[-1].start == pytest.approx(250 + flat, abs=12)
    assert "divergence" not in [phase.name for phase in found.phases[:-1]]
