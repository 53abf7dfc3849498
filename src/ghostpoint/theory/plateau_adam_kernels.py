"""The compiled plateau of Adam: units of rank one whose latent rests at every step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.theory.overlap_kernels import gain

#: the rest of a latent whose gain depends on it is found to this precision
REST = 1e-13


@compiled
def adam_plateau(
    weights: Any, c: float, threshold: float, rate: float, level: float, first: float, second: float, eps: float,
    most: int,
) -> float:  # fmt: skip
    """Epochs until the loss ``o**2 + (1 - o)**2`` is below ``level``, not rounded, infinite where
    ``most`` are not enough; ``weights`` (3, N) are m, n and b, in place.

    The three gradients are ``-F h / D`` times ``n_i kappa``, ``m_i kappa + b_i`` and ``n_i``, with
    ``D = 1 - h m.n``; ``first``, ``second`` and ``eps`` are Adam's.
    """
    m, n, b = weights
    mean, square, gradient = np.zeros(weights.shape), np.zeros(weights.shape), np.zeros(3)
    kappa, before = 0.0, 1.0
    for epoch in range(most):
        mn, nb, mm, mb, bb = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(m.size):
            mn += m[i] * n[i]
            nb += n[i] * b[i]
            mm += m[i] * m[i]
            mb += m[i] * b[i]
            bb += b[i] * b[i]
        # kappa = h beta / (1 - h G), where h depends on kappa
        h, moved = 1.0, math.inf
        while abs(moved) > REST:
            moved = kappa
            h = gain(((mm * kappa + 2 * mb) * kappa + bb) / m.size)
            if h * mn >= 1:
                return math.inf
            kappa = h * nb / (1 - h * mn)
            moved -= kappa
        logit = c * (kappa - threshold)
        output, rest = 1 / (1 + math.exp(-logit)), 1 / (1 + math.exp(logit))
        loss = output**2 + rest**2
        if loss < level or logit > 0:
            return epoch - 1 + (before - level) / (before - loss) if epoch else 0.0
        before = loss
        scale = 2 * c * output * rest * (rest - output) * h / (1 - h * mn)
        step, root = rate / (1 - first ** (epoch + 1)), math.sqrt(1 - second ** (epoch + 1))
        for i in range(m.size):
            gradient[0], gradient[1], gradient[2] = n[i] * kappa, m[i] * kappa + b[i], n[i]
            for part in range(3):
                slope = -scale * gradient[part]
                mean[part, i] = first * mean[part, i] + (1 - first) * slope
                square[part, i] = second * square[part, i] + (1 - second) * slope * slope
                weights[part, i] -= step * mean[part, i] / (math.sqrt(square[part, i]) / root + eps)
    return math.inf
