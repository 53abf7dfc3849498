"""A drop is abrupt only where the record is less likely under every course that only slows down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ghostpoint as gp
from ghostpoint.diagnosis.series import noise_by_level
from ghostpoint.diagnosis.slowing import convex_fit

ABRUPT = ("abrupt learning", "staircase learning")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 60), st.sampled_from([1e-8, 1.0, 1e9]), st.booleans())
def test_the_convex_fit_is_the_best_one(seed, m, unit, falls):
    # the projection onto a convex cone: what is left has no part along any of its generators, and
    # none along the fit
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.uniform(0.1, 3, m))
    y = unit * (rng.normal(size=m) + (5 * np.exp(-t / 5) if falls else 0.0))
    s = unit * rng.uniform(0.05, 0.5, m)
    c = convex_fit(t, y, s)
    slopes = np.diff(c) / np.diff(t) / unit
    assert (slopes < 1e-9).all()
    assert (np.diff(slopes) > -1e-9).all()
    left = (y - c) / s**2 * unit
    size = np.abs(y / s**2 * unit).sum()
    for edge in t[1:]:
        assert left @ np.maximum(edge - t, 0) < 1e-8 * size * np.ptp(t)
    assert abs(left.sum()) < 1e-8 * size
    assert abs(left @ c) < 1e-8 * size * np.abs(y).max()


@pytest.mark.parametrize(("even", "growing"), [(0.02, 0.0), (0.0, 0.2), (0.01, 0.1)])
def test_noise_by_level_finds_both_parts(even, growing):
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        level = 0.7 / (1 + np.arange(150) / 5)
        true = np.hypot(even, growing * level)
        found = noise_by_level(level + true * rng.normal(size=150), level)
        ratios.append(found[[0, 75, -1]] / true[[0, 75, -1]])
    assert np.abs(np.log(np.median(ratios, axis=0))).max() < np.log(1.3)


def laws(n):
    u = np.arange(n) / n
    return {
        "power": 0.6 * (1 + 50 * u) ** -0.4,
        "exponential": 0.05 + 0.65 * np.exp(-5 * u),
        "line": 0.7 - 0.6 * u,
        "two rates": 0.4 * np.exp(-20 * u) + 0.3 * np.exp(-2 * u),
    }


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("n", [20, 50, 200])
def test_noise_on_smooth_courses_is_no_drop(n, noise):
    abrupt = count = 0
    for seed in range(15):
        for law in laws(n).values():
            e = np.random.default_rng([seed, n]).normal(size=n)
            for loss in (law * np.exp(noise * e), law + noise * np.ptp(law) * e):
                abrupt += gp.diagnose(loss).verdict in ABRUPT
                count += 1
    assert abrupt <= 0.03 * count


@pytest.mark.parametrize("n", [20, 50, 200])
def test_drops_in_such_noise_are_still_seen(n):
    seen = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, n])
        drop = np.arange(n) / n > rng.uniform(0.3, 0.7)
        loss = np.where(drop, 0.05, 0.7)
        seen += gp.diagnose(loss * np.exp(0.2 * rng.normal(size=n))).verdict == "abrupt learning"
        if n > 20:
            seen += gp.diagnose(loss + 0.13 * rng.normal(size=n)).verdict == "abrupt learning"
    assert seen >= (0.9 if n == 20 else 0.8 * 2) * 40


def test_a_long_drop_in_loud_noise_is_seen():
    # the jump between two lines is as sure as the lines: 10 of its standard errors here
    seen = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        loss = np.where(np.arange(200) < 110, 0.7, 0.05) + 0.2 * rng.normal(size=200)
        seen += gp.diagnose(loss).verdict == "abrupt learning"
    assert seen >= 36


def test_a_tail_that_ends_flat_is_not_told_to_go_on():
    i = np.arange(600)
    course = 0.7 / (1 + np.exp((i - 348) / 10)) + 0.02
    for seed in range(60):
        found = gp.diagnose(course + 0.005 * np.random.default_rng(seed).normal(size=600))
        assert found.verdict == "abrupt learning"
        assert not found.advice.startswith("Go on")


@pytest.mark.parametrize("rate", [2.0, 3.0])
def test_a_loss_that_still_falls_is_told_to_go_on(rate):
    told = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        loss = 0.7 * np.exp(-rate * np.arange(400) / 400) * np.exp(0.05 * rng.normal(size=400))
        told += gp.diagnose(loss).advice.startswith("Go on")
    assert told == 40


@pytest.mark.parametrize("n", [50, 100, 200, 400, 1000])
def test_a_loss_that_falls_in_loud_noise_is_on_no_plateau(n):
    # no line through few values is sure, but their means are
    plateaus = 0
    for seed in range(20):
        e = np.random.default_rng([seed, n]).normal(size=n)
        for loss in (laws(n)["power"] * np.exp(0.3 * e), 0.7 - 0.5 * np.arange(n) / n + 0.15 * e):
            plateaus += gp.diagnose(loss).verdict == "plateau at chance"
    assert plateaus <= (8 if n == 50 else 1)


@pytest.mark.parametrize("n", [12, 50, 200, 2000])
def test_noise_alone_is_a_plateau(n):
    for seed in range(20):
        e = np.random.default_rng([seed, n]).normal(size=n)
        assert gp.diagnose(0.69 + 0.05 * e).verdict == "plateau at chance"
        assert gp.diagnose(0.69 * np.exp(0.2 * e)).verdict == "plateau at chance"
