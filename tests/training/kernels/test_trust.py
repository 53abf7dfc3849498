"""The split of an update in the kernels, on scalars: against the rule in NumPy, for any
gradients.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from ghostpoint.numerics.simd import pointer
from ghostpoint.remedies import Crossing, HazardLimit, Near, TrustRegion, allowed
from ghostpoint.remedies.acting import Acting
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training.kernels import trust

TASK = DelayedActivation(30)


@njit
def called(region, crossings, seen, row, loss, norm, length, uphill):
    return trust.split(region, crossings, pointer(seen, 0), row, loss, norm, length, uphill)


def numbers(region, hazard):
    values = {"hazard": hazard, "chance_loss": TASK.chance_loss}
    return np.array([values[name] if name in values else getattr(region, name) for name in trust.REGION], float)


def both(region, hazard, slopes, crossed, times, peaks, d, g, loss):
    """(factor, scale, weights, whether anything is changed) of the kernel and of the
    specification.
    """
    count = len(slopes)
    crossings = [Crossing(0, 0, 0, 20, 6 + i, 0.0, 1.0) for i in range(count)]
    with np.errstate(all="ignore"):
        gram, along, by_loss = slopes @ slopes.T, slopes @ d, slopes @ g
        norm, length, ascent = np.sqrt(g @ g), np.sqrt(d @ d), g @ d
        row = trust.row_size(count)
        seen = np.full((count, row), np.nan)
        seen[:, 0], seen[:, 1], seen[:, 2] = crossed, times, peaks
        seen[:, trust.ALONG], seen[:, trust.BY_LOSS] = along, by_loss
        for i in range(count):
            seen[i, trust.GRAM : trust.GRAM + i + 1] = gram[i, : i + 1]
        places = np.array([[0, 0, 0, 20, one.delay] for one in crossings], np.int64)
        fast = called(numbers(region, hazard), places, seen.reshape(-1), row, loss, norm, length, bool(ascent > 0))
        acting = Acting((region, *([HazardLimit(hazard)] if hazard < np.inf else [])), TASK, "sigmoid", 1)

        def one(value):
            return np.array([value])

        near = [
            Near(
                crossings[i], one(crossed[i]), one(times[i]), one(peaks[i]), one(np.sqrt(gram[i, i])), one(along[i]),
                one(by_loss[i]), gram[None, i, : i + 1],
            )
            for i in range(count)
        ]  # fmt: skip
        slow = acting.step(one(loss), one(norm), one(length), one(ascent), near)
    kernel = fast[0], fast[1], seen[:, trust.WEIGHT], fast[2]
    return kernel, (slow.factor[0], slow.scale[0], slow.weights[0], bool(slow.acts[0]))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 4), st.sampled_from(["", "same", "zero", "inf", "still", "lossless"]))
def test_the_kernel_splits_as_the_rule_says(seed, count, odd):
    generator = np.random.default_rng(seed)
    slopes = generator.normal(size=(count, 9)) * 10.0 ** generator.uniform(-3, 3, (count, 1))
    g = generator.normal(size=9) + 3 * slopes[0] / np.linalg.norm(slopes[0])
    d = -(10.0 ** generator.uniform(-3, 3)) * (g + generator.normal(size=9) * generator.choice([0, 0.3, 3]))
    loss = TASK.chance_loss * 10.0 ** generator.uniform(-5, 0)
    if odd == "same":
        slopes[-1] = 2.5 * slopes[0]
    elif odd in ("zero", "inf"):
        slopes[generator.integers(count)] = 0.0 if odd == "zero" else 1e200
    elif odd == "still":
        d = np.zeros(9)
    elif odd == "lossless":
        loss = 0.0
    region = TrustRegion(
        tilt=float(generator.choice([0.0, 0.3, 1.0])),
        growth=float(generator.choice([1.0, 10.0, np.inf])),
        polyak=float(generator.choice([0.03, 0.3, np.inf])),
        shrink=float(generator.choice([3.0, np.inf])),
    )
    hazard = float(generator.choice([0.1, np.inf]))
    crossed = generator.random(count) < 0.8
    times, peaks = generator.uniform(1, 19, count), generator.uniform(-3, 1, count)
    kernel, rule = both(region, hazard, slopes, crossed, times, peaks, d, g, loss)
    if odd == "same":  # on the verge of dependence either may be dropped: the update must be the same
        np.testing.assert_allclose(kernel[0], rule[0], rtol=1e-6)
        np.testing.assert_allclose(kernel[2] @ slopes, rule[2] @ slopes, rtol=1e-5, atol=1e-9 * np.linalg.norm(d))
        return
    np.testing.assert_allclose(kernel[:2], rule[:2], rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(kernel[2], rule[2], rtol=1e-6, atol=1e-12 * (np.abs(rule[2]).max() + 1e-300))
    assert kernel[3] == rule[3]
    assert np.isfinite(kernel[2]).all()


def test_more_than_two_gradients_make_a_span():
    """So that every loop of the factorisation runs: the part that is left is at right angles to all
    four.
    """
    generator = np.random.default_rng(0)
    slopes, g = generator.normal(size=(4, 9)), generator.normal(size=9)
    d = -5 * g
    region = TrustRegion(h=1e-6, polyak=np.inf, tilt=0.0, growth=1.0)
    kernel, _ = both(region, np.inf, slopes, np.ones(4, bool), np.full(4, 5.0), np.ones(4), d, g, 1.0)
    made = kernel[0] * d + kernel[2] @ slopes
    assert kernel[0] == 1
    assert np.abs(slopes @ made).max() < 1e-5
    basis = np.linalg.qr(slopes.T)[0]
    np.testing.assert_allclose(made, d - basis @ (basis.T @ d), atol=1e-5)


@pytest.mark.parametrize("side", [0.0, 1e-30, 1e-9])
def test_the_factor_does_not_jump_where_a_prediction_vanishes(side):
    """A loss whose gradient is all the crossing's but for rounding: growth is what it would be
    without the rounding.
    """
    e = np.array([[1e-3, 0.0, 0.0]])
    g = np.array([1e-3, side, 0.0])
    kernel, rule = both(TrustRegion(), np.inf, e, np.array([True]), np.array([5.0]), np.array([1.0]), -g, g, 1e-3)
    assert kernel[0] == rule[0] == 10.0


def test_what_predicts_nothing_allows_growth_and_what_is_not_a_number_nothing():
    found = allowed(np.array([0.0, 2.0, np.nan, 0.5]), 1.0, 10.0)
    assert found.tolist() == [10.0, 0.5, 1.0, 2.0]


def test_without_tilt_is_the_limit_of_little_tilt():
    generator = np.random.default_rng(3)
    e, g = generator.normal(size=(1, 9)), generator.normal(size=9)
    asked = {"hazard": np.inf, "slopes": e, "crossed": np.ones(1, bool), "times": np.full(1, 5.0), "peaks": np.ones(1)}
    first, second = (both(TrustRegion(tilt=tilt), d=-1e-3 * g, g=g, loss=1.0, **asked)[0] for tilt in (0.0, 1e-12))
    assert first[0] == pytest.approx(second[0]) == 10.0
