"""The zeros of a network whose W is of rank one to three within rounding, from the complete search
of that rank."""

from __future__ import annotations

import numpy as np

from ghostpoint.models import LowRankRNN
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import NetworkField, TanhField
from ghostpoint.slow_points.latents.zeros_in_box import latent_zeros

BOXES = 50_000  # of the complete search: a ring of zeros has no end of them
REST = 1e-6  # of |W| that may be left out; what is found are starts, and each is proven of the whole W


def factored(W: Floats) -> tuple[Floats, Floats] | None:
    """m and n with ``W = m n^T`` but for `REST`, of rank three at most; None where W is not so.

    The columns of W times a few random vectors span those of m (Halko, Martinsson and Tropp, SIAM
    Review 53, 217, 2011).
    """
    size = len(W)
    if size < 2:
        return None
    Q = np.linalg.qr(W @ np.random.default_rng(0).normal(size=(size, min(size, 6))))[0]
    inner = Q.T @ W
    scale = float(np.linalg.norm(W))
    left, values, right = np.linalg.svd(inner, full_matrices=False)
    rank = int((values > REST * scale).sum())
    if not 0 < rank <= 3 or rank >= size or np.linalg.norm(W - Q @ inner) > REST * scale:
        return None
    root = np.sqrt(values[:rank])
    return Q @ left[:, :rank] * root, right[:rank].T * root


def low_rank_zeros(network: NetworkField) -> Floats:
    """States (Z, N) near all fixed points of a full-rank tanh network whose W is numerically of
    rank one to three."""
    field = network.exact
    nothing = np.zeros((0, field.size))
    if not isinstance(field, TanhField) or field.A is not None:
        return nothing
    factors = factored(field.B)
    if factors is None:
        return nothing
    m, n = factors
    zeros = latent_zeros(LowRankRNN(m[None], n[None], field.c[None]), boxes=BOXES)
    return np.asarray(np.tanh(zeros.position @ m.T + field.c))
