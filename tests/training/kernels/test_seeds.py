"""Two pairs of seeds that differ give other noise, whatever their size; the ordinary ones keep the
noise they had.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ghostpoint as gp
from ghostpoint.training.plan import draws, entropy, kernel_key

#: seeds around the widths of words, and any
SEEDS = st.one_of(
    st.integers(0, 40), st.sampled_from([31, 32, 62]).flatmap(lambda bits: st.integers(2**bits - 2, 2**bits + 2)),
    st.integers(0, 2**63 - 1),
)  # fmt: skip
PAIRS = st.tuples(st.one_of(SEEDS, st.integers(2**64, 2**130)), st.one_of(SEEDS, st.integers(-7, -1)))


def noisy(scale):
    """A task of one trial that starts at random states."""
    target = np.array([0.0, 0.0, 1.0])[None, :, None]
    return gp.tasks.from_arrays(np.zeros((1, 3, 0)), target, dt=10, tau=100, initial_scale=scale)


@given(st.lists(PAIRS, min_size=2, max_size=6))
def test_no_two_networks_share_a_key(pairs):
    # a place counts only where the network's seed is unknown
    named = {(seed, min(network, -1) if network < 0 else network) for seed, network in pairs}
    keys = {kernel_key(seed, network, 3) for seed, network in named}
    words = {np.random.SeedSequence(entropy(seed, network, 3)).generate_state(4).tobytes() for seed, network in named}
    distinct = len({(seed, max(network, -1)) for seed, network in named})
    assert len(keys) == len(words) == distinct
    assert all(-(2**63) <= key < 2**63 for key in keys)


def test_places_of_unknown_networks_are_told_apart_from_each_other_and_from_seeds():
    keys = [kernel_key(0, -1, place) for place in range(50)] + [kernel_key(0, seed, 0) for seed in range(50)]
    assert len(set(keys)) == 100
    assert len({entropy(0, -1, place) for place in range(50)} | {entropy(0, seed, 0) for seed in range(50)}) == 100


def test_ordinary_seeds_keep_the_key_and_the_generator_they_had():
    assert kernel_key(5, 7, 0) == 5 << 32 | 7
    model = gp.FullRankRNN.initialize(4, [7])
    states, _ = draws(model, noisy(0.1), 5)()
    same = np.tanh(0.1 * np.random.default_rng([5, 7]).normal(size=(1, 4)))
    np.testing.assert_array_equal(states[:, 0], same)


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_noise_of_a_run_differs_for_seeds_that_shared_it(engine):
    task = noisy(0.5)
    weights = gp.FullRankRNN.initialize(5, [0])

    def loss(seed, network, place=0):
        models = weights.replace(seed=[network]) if not place else weights[[0, 0]].replace(seed=[9, network])
        run = gp.train(models, task, 0.1, 1, seed=seed, engine=engine)
        return float(run.history["loss"][place, 0])

    seen = [loss(0, 1), loss(2**31, 1), loss(2**63, 1), loss(0, 1 + 2**32), loss(1, 0), loss(0, -1, place=1)]
    for one, other in combinations(seen, 2):
        assert one != other
