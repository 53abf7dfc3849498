"""The table of curves made from formulas: each is called what it plainly is, in any unit, thinned,
and with gaps.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.diagnosis import PHASES, diagnose
from tests.diagnosis.curves import EXPECTED, collapse, exponential, noisy_jump, slow_swings, spikes

CURVES = pytest.mark.parametrize("curve", list(EXPECTED), ids=lambda curve: curve.__name__)
LONG = pytest.mark.parametrize(
    "curve", [c for c in EXPECTED if c.__name__ not in ("short", "mini_batches")], ids=lambda curve: curve.__name__
)


@CURVES
def test_a_curve_is_called_what_it_is(curve):
    for seed in range(6):
        assert diagnose(curve(seed)).verdict in EXPECTED[curve]


@LONG
def test_every_seventh_epoch_tells_the_same(curve):
    loss = curve(3)
    found = diagnose({"loss": loss[::7], "epoch": np.arange(len(loss))[::7]})
    assert found.verdict in EXPECTED[curve]


@LONG
def test_epochs_recorded_logarithmically_tell_the_same(curve):
    loss = curve(4)
    epochs = np.unique(np.geomspace(1, len(loss), 300).astype(int)) - 1
    assert diagnose({"loss": loss[epochs], "epoch": epochs}).verdict in EXPECTED[curve]


@LONG
def test_missing_epochs_change_nothing(curve):
    loss = curve(5).copy()
    loss[np.random.default_rng(0).choice(np.arange(1, len(loss) - 1), len(loss) // 20, replace=False)] = np.nan
    assert diagnose(loss).verdict in EXPECTED[curve]


@settings(max_examples=15)
@given(
    curve=st.sampled_from(list(EXPECTED)),
    power=st.integers(-40, 40),
    seed=st.integers(0, 99),
)
def test_the_unit_of_the_loss_does_not_matter(curve, power, seed):
    """A power of two changes no digit, so nothing at all may change."""
    loss = curve(seed)
    one, other = diagnose(loss), diagnose(loss * 2.0**power)
    assert (one.verdict, one.confidence) == (other.verdict, other.confidence)
    assert [phase.name for phase in one.phases] == [phase.name for phase in other.phases]


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1e-300, 0.5, -3.0, 1e30])
@pytest.mark.parametrize("length", [1, 5, 30, 400])
def test_a_constant_record_has_a_confidence(value, length):
    with np.errstate(all="raise", under="ignore"):
        assert 0 <= diagnose({"loss": [value] * length}).confidence <= 1


@settings(max_examples=40)
@given(
    loss=st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=120),
    accuracy=st.booleans(),
)
def test_no_record_is_refused_and_phases_are_in_order(loss, accuracy):
    history = {"loss": loss} | ({"accuracy": np.linspace(0, 1, len(loss))} if accuracy else {})
    found = diagnose(history)
    assert found.verdict in PHASES
    assert 0 <= found.confidence <= 1
    assert found.advice.endswith(".")
    assert found.verdict in str(found)
    starts = [phase.start for phase in found.phases]
    assert starts == sorted(starts)
    assert all(phase.name in PHASES and phase.start <= phase.end for phase in found.phases)
    assert all(np.isfinite(value) or np.isinf(value) for value in found.evidence.values())


def test_the_drop_is_dated_and_measured():
    found = diagnose(noisy_jump(0))
    drop = next(phase for phase in found.phases if phase.name == "abrupt learning")
    # 10 to 90 % of a logistic of width 15 is 2 ln 9 of it, about 66 epochs around 1400
    assert abs((drop.start + drop.end) / 2 - 1400) < 15
    assert 40 < drop.end - drop.start < 110
    assert abs(drop.evidence["size"] - 0.9) < 0.1
    assert found.phases[0].name == "plateau at chance"


def test_the_swing_has_its_period_and_amplitude():
    found = diagnose(slow_swings(0))
    assert found.evidence["period"] == pytest.approx(9, rel=0.06)
    assert found.evidence["amplitude"] == pytest.approx(0.05, rel=0.15)
    assert 0.8 < found.evidence["growth"] < 1.25
    since = next(phase.start for phase in found.phases if phase.name == "oscillation near a minimum")
    assert 600 < since < 800


def test_the_zone_is_entered_where_the_network_is_lost():
    found = diagnose(collapse(0))
    assert found.evidence["entry_epoch"] == pytest.approx(1500, abs=8)
    assert "1500" in found.advice or "149" in found.advice or "150" in found.advice


def test_noise_that_was_there_all_along_is_no_oscillation():
    assert "oscillation near a minimum" not in {diagnose(exponential(seed)).verdict for seed in range(10)}
    assert "no-learning zone" not in {phase.name for phase in diagnose(spikes(1)).phases}


def test_a_rate_cut_explains_its_drop():
    n = np.arange(3000)
    loss = 1 - 0.9 * 0.5 * (1 + np.tanh((n - 2010) / 6))
    rate = np.where(n < 2000, 0.1, 0.01)
    assert diagnose(loss).verdict == "abrupt learning"
    found = diagnose({"loss": loss, "learning_rate": rate})
    assert found.verdict == "gradual learning"
    assert "cut of the learning rate" in str(found)
