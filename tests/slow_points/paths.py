"""Networks on a straight path of weights, whose slow points are known along it."""

from __future__ import annotations

import numpy as np

from ghostpoint.models import FullRankRNN, LowRankRNN
from tests.slow_points.networks import rank_one_near_fold


def through_fold(seed, first, last, epochs, units=20):
    """Rank one, height ``first`` to ``last`` by one bias on a straight line; and the epoch of the
    fold, in closed form.

    The height differs from that of the start by ``4 (tanh b - tanh b0)`` up to a sign, see
    `rank_one_near_fold`.
    """
    m, n, b0 = rank_one_near_fold(seed, units, first)
    b1 = rank_one_near_fold(seed, units, last)[2]
    share = np.linspace(0, 1, epochs)[:, None]
    low, high = np.tanh(b0[-1]), np.tanh(b1[-1])
    b = np.arctanh(low + first / (first - last) * (high - low))
    fold = (epochs - 1) * (b - b0[-1]) / (b1[-1] - b0[-1])
    return LowRankRNN(np.tile(m, (epochs, 1)), np.tile(n, (epochs, 1)), b0 + share * (b1 - b0)), fold


def there_and_back(model):
    """The same networks to the last and back to the first."""
    rows = np.r_[np.arange(len(model)), np.arange(len(model) - 1)[::-1]]
    return model[rows]


def embedded(model):
    """The same networks with W = m n^T as a full matrix."""
    W = np.einsum("rik,rjk->rij", model.m.astype(float), model.n.astype(float))
    count, units = model.b.shape
    return FullRankRNN(W, model.b.astype(float), w_out=np.zeros((count, 1, units)), b_out=np.zeros((count, 1)))


def permuted(model, order):
    """The units of a full-rank record in another order."""
    return FullRankRNN(
        model.W[:, order][:, :, order], model.b[:, order], w_out=model.w_out[:, :, order], b_out=model.b_out
    )
