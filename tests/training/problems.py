"""Random networks and tasks for the tests of training."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
from hypothesis import strategies as st

from ghostpoint import LowRankRNN
from ghostpoint.tasks import DelayedActivation

PARTS = ("m", "n", "b", "confidence")

SUBSETS = list(chain.from_iterable(combinations(PARTS, size) for size in range(1, len(PARTS) + 1)))


@st.composite
def tasks(draw, most_steps=10):
    alpha = draw(st.floats(0.05, 1.0))
    return DelayedActivation(draw(st.integers(1, most_steps)) * alpha * 10.0, alpha * 10.0, 10.0)


@st.composite
def networks(draw, most=6, units=40, rank=1, trainable=None):
    """A stack of benign random networks.

    A latent map that expands (``sum |n m| > 1``) amplifies rounding by up to its gain to the number
    of steps, so that no two correct programs agree for a gain of, say, 75. Here the gain is at most
    1.5.
    """
    count, size = draw(st.integers(1, most)), draw(st.integers(1, units))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m, n = rng.normal(size=(2, count, size, rank))
    n *= rng.uniform(0.2, 1.5, size=(count, 1, 1)) / np.abs(n * m).sum(axis=(1, 2), keepdims=True)
    balance = np.exp(rng.normal(size=(count, 1, 1)))
    return LowRankRNN(
        m * balance,
        n / balance,
        rng.normal(scale=0.5, size=(count, size)),
        confidence=rng.uniform(0.1, 12, count),
        threshold=rng.uniform(-1, 1.5, count),
        initial_state=rng.uniform(-1, 1, (count, size)),
        trainable=draw(st.sampled_from(SUBSETS)) if trainable is None else trainable,
        seed=np.arange(count),
    )


def same_bits(one, other):
    """Whether two runs are equal in history, events, checkpoints and models, NaN equal to NaN."""
    for left, right in ((one.history, other.history), (one.events, other.events), (one.checkpoints, other.checkpoints)):
        assert (left is None) == (right is None)
        if left is not None:
            assert left.identical(right)
    for name in (*PARTS, "threshold", "initial_state", "seed"):
        assert np.array_equal(getattr(one.models, name), getattr(other.models, name)), name
    return True
