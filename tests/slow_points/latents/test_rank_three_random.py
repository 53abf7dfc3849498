"""Random networks: the certified list against thousands of Newton iterations, and against dense
scans for rank one.
"""

from __future__ import annotations

import numpy as np
import pytest

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points.latents import flow_zeros, latent_zeros
from tests.slow_points.latents.test_zeros_in_box import newton_ends
from tests.slow_points.oracles import random_network, scanned_zeros

UNITS = 100


def drawn(seed, rank):
    """m normal / sqrt(N), n gain normal with gain 1, 3 or 10; every other one without bias."""
    generator = np.random.default_rng([seed, rank])
    m, n = generator.normal(size=(2, UNITS, rank))
    return m / np.sqrt(UNITS), (1.0, 3.0, 10.0)[seed % 3] * n, 0.5 * generator.normal(size=UNITS) * (seed % 2)


def compare(seed, rank, starts):
    """How many zeros there are; raises if the list is not complete or Newton's iterations end
    elsewhere.
    """
    m, n, b = drawn(seed, rank)
    zeros = latent_zeros(LowRankRNN(m[None], n[None], b[None]))
    assert zeros.complete
    assert zeros.whole_space
    assert np.all(zeros.stability_proven)
    residual = np.tanh(zeros.position @ m.T + b) @ n - zeros.position
    assert np.abs(residual).max() < 1e-10 * np.abs(n).sum()
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (starts, rank)) * np.abs(n).sum(axis=0)
    x *= generator.uniform(size=(starts, 1)) ** 2  # far out the iteration mostly cycles
    ends = np.concatenate([newton_ends(part, m, n, b) for part in np.array_split(x, max(1, starts // 1000))])
    gap = np.full(len(ends), np.inf)
    for place, radius in zip(zeros.position, zeros.radius, strict=True):
        gap = np.minimum(gap, np.abs(ends - place).max(axis=1) - radius)
    assert len(ends) > starts // 10
    assert gap.max() <= 1e-7 * (1 + np.abs(n).sum())
    return zeros.count


@pytest.mark.parametrize("rank", [2, 3])
def test_a_few_networks_against_newton(rank):
    counts = [compare(seed, rank, 300) for seed in range(4)]
    assert all(count % 2 == 1 for count in counts)  # as the degree of -f is one and every zero is regular
    assert max(counts) > 1


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, 3])
def test_a_hundred_networks_against_newton(rank):
    counts = [compare(seed, rank, 10_000) for seed in range(100)]
    assert all(count % 2 == 1 for count in counts)
    assert max(counts) >= 5


@pytest.mark.slow
def test_a_thousand_networks_of_rank_one_against_a_dense_scan():
    """A scan of 10**6 points with bisection, `flow_zeros` and `latent_zeros` agree."""
    for seed in range(1000):
        m, n, b = random_network(seed, UNITS, (0.7, 1.0, 3.0, 10.0)[seed % 4])
        line = flow_zeros(m, n, b)
        zeros = latent_zeros(LowRankRNN(m, n, b))
        assert line.complete[0]
        assert zeros.complete
        assert zeros.count == line.count[0]
        gap = np.abs(zeros.position[:, 0] - line.position[0])
        assert np.all(gap <= zeros.radius + line.radius[0])
        np.testing.assert_array_equal(zeros.stable, line.stable[0])
        scanned = scanned_zeros(m, n, b, line.lower[0], line.upper[0], points=1_000_000)
        assert len(scanned) == zeros.count
        np.testing.assert_allclose(scanned, zeros.position[:, 0], rtol=1e-7, atol=1e-7)
