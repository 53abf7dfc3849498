"""The terms of the first-order critical rate against closed forms and exact gradients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from ghostpoint import FullRankRNN, LowRankRNN, SaddleNodeToy, train
from ghostpoint.critical_rate import escape_gradient, first_order_rate
from ghostpoint.tasks import DelayedActivation
from ghostpoint.theory import SlowRegion


@pytest.mark.parametrize("delay", [3.0, 100.0])
def test_the_toy_has_its_published_critical_rate_and_these_integrals(delay):
    found, r = SlowRegion.of_toy(delay), (np.pi / (2 * delay)) ** 2
    assert found.rate[0] == pytest.approx(SaddleNodeToy(delay).critical_learning_rate * delay, rel=1e-12)
    passage = quad(lambda x: 1 / (x * x + r), 0, np.inf)[0]
    steepness = quad(lambda x: 1 / (x * x + r) ** 2, 0, np.inf)[0]
    assert (found.time[0], found.width[0]) == pytest.approx((passage, passage**2 / steepness), rel=1e-6)
    assert found.gradient_norm[0] == pytest.approx(steepness, rel=1e-6)


def test_a_uniform_drift_is_as_wide_as_its_way():
    """m = 0 and a large n.tanh(b): f is nearly constant from -0.3 n.1 to 1."""
    units, n = 10, 40.0
    models = LowRankRNN(np.zeros(units), np.full(units, n), np.full(units, 0.5), initial_state=-0.3 / (units * n))
    found = SlowRegion.of(models, DelayedActivation())
    assert found.width[0] == pytest.approx(1.3, rel=1e-4)


def trained(dt):
    task = DelayedActivation(60.0, dt)
    run = train(LowRankRNN.initialize(60, range(2)), task, 0.02, 9000, record=[0])
    return run.models, task


def test_terms_are_the_exact_gradient_for_small_steps():
    errors = []
    for dt in (5.0, 1.0):
        models, task = trained(dt)
        exact, terms = escape_gradient(models, task), SlowRegion.of(models, task)
        assert np.isfinite(exact.time).all()
        errors.append(np.abs(terms.gradient_norm / exact.norm[0] - 1).max())
        assert terms.time == pytest.approx(exact.time[0], rel=0.1)
        # the first-order rate is for t = T; here t is near it
        assert terms.rate == pytest.approx(
            first_order_rate(exact, task) * (terms.gradient_norm / exact.norm[0]) ** -2
            * (terms.time / task.delay_steps) ** 2, rel=1e-9,
        )  # fmt: skip
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.05


def test_a_network_that_rests_below_its_threshold_has_no_terms():
    found = SlowRegion.of(LowRankRNN.initialize(30, range(2)), DelayedActivation())
    assert np.isnan(found.time).all()
    assert np.isnan(found.rate).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="delay must be positive"):
        SlowRegion.of_toy([1.0, -1.0])
    for models in (LowRankRNN.initialize(20, [0], rank=2), FullRankRNN.initialize(20, [0])):
        with pytest.raises(ValueError, match="of rank one"):
            SlowRegion.of(models, DelayedActivation())
