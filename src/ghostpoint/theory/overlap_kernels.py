"""The equations of a network of rank K on delayed activation in the scalar products of its weights,
compiled; imported on first use, so that importing the theory does not import numba.

The vectors are ``m_1 .. m_K, n_1 .. n_K, b, x0``, V = 2 K + 2 of them, and ``gram`` (V, V) holds
their scalar products. A readout of the state, ``w.x + b_out``, is one latent more, with ``n_K = w``
and ``m_K = 0`` untrained: no unit hears it. docs/plateau.md and docs/exponent.md derive every
equation.
"""

from __future__ import annotations

import math
from typing import Any

from ghostpoint.numerics.compiled_code import compiled

#: places in ``network``: the settings, then for each vector but x0 whether it is trained, as 1 or 0
ALPHA, DELAY, CONFIDENCE, THRESHOLD, SHARE, READ, TRAINED_THRESHOLD, TRAINED = range(8)


@compiled
def gain(q: float) -> float:
    """``1 / sqrt(1 + 2 q)``, for the mean of ``1 - tanh(z)**2`` over normal z of variance q.

    Equal to it up to the first order in q, and within 0.033 of it for q up to 100.
    """
    return 1 / math.sqrt(1 + 2 * q)


@compiled
def trial(gram: Any, network: Any, kappa: Any, gains: Any) -> tuple[int, float]:
    """Forward pass into ``kappa`` (2 T + 1, K) and ``gains`` (2 T,); right answers and the highest
    latent that is read.
    """
    steps, latents = gains.size, kappa.shape[1]
    alpha, delay, share, b = network[ALPHA], int(network[DELAY]), network[SHARE], 2 * latents
    read, right, highest = int(network[READ]), 0, -math.inf
    for k in range(latents):
        kappa[0, k] = gram[latents + k, b + 1]
    for t in range(steps):
        # the units' mean squared drive q = |sum_k m_k kappa_k + b|**2 / N, and their gain
        q = gram[b, b]
        for k in range(latents):
            q += 2 * gram[k, b] * kappa[t, k]
            for j in range(latents):
                q += gram[k, j] * kappa[t, k] * kappa[t, j]
        gains[t] = gain(share * q)
        for k in range(latents):
            drive = gram[latents + k, b]
            for j in range(latents):
                drive += gram[latents + k, j] * kappa[t, j]
            kappa[t + 1, k] = (1 - alpha) * kappa[t, k] + alpha * gains[t] * drive
        above = kappa[t + 1, read] > network[THRESHOLD]
        right += above == (t >= delay)
        highest = max(highest, kappa[t + 1, read])
    return right, highest


@compiled
def descent_matrix(gram: Any, network: Any, kappa: Any, gains: Any, room: Any, out: Any) -> tuple[float, float, float]:
    """``out`` (V, V) with d vector_i / ds = sum_j out_ij vector_j under gradient descent, s the
    learning rate times the epoch; the loss, the largest element of ``out``, and the derivative of
    the loss by the threshold, 0 where that is not trained.

    ``room`` is (2, K).
    """
    steps, latents = gains.size, kappa.shape[1]
    alpha, delay, c, share, b = (
        network[ALPHA], int(network[DELAY]), network[CONFIDENCE], network[SHARE], 2 * latents,
    )  # fmt: skip
    x, read = b + 1, int(network[READ])
    adjoint, before = room[0], room[1]
    out[:] = 0.0
    adjoint[:] = 0.0
    loss, by_threshold = 0.0, 0.0
    for t in range(steps - 1, -1, -1):
        # dL / dkappa of the reading after update t
        logit = c * (kappa[t + 1, read] - network[THRESHOLD])
        small = math.exp(-abs(logit))
        answer, rest = (1 / (1 + small), small / (1 + small)) if logit > 0 else (small / (1 + small), 1 / (1 + small))
        error = answer if t < delay else -rest
        loss += error * error / delay
        by_kappa = 2 * error * c * answer * rest / delay
        adjoint[read] += by_kappa
        by_threshold -= by_kappa
        h, by_q = gains[t], 0.0
        for k in range(latents):
            weight, drive = alpha * adjoint[k], gram[latents + k, b]
            for j in range(latents):
                drive += gram[latents + k, j] * kappa[t, j]
                # n_k.m_j: each of the two vectors moves along the other
                out[latents + k, j] -= weight * h * kappa[t, j]
            out[latents + k, b] -= weight * h
            by_q -= weight * drive * h**3 * share  # dh/dq = -h**3
        out[b, b] -= 2 * by_q
        for k in range(latents):
            total = (1 - alpha) * adjoint[k] + 2 * by_q * gram[k, b]
            for j in range(latents):
                total += alpha * adjoint[j] * h * gram[latents + j, k] + 2 * by_q * gram[k, j] * kappa[t, j]
                out[k, j] -= 2 * by_q * kappa[t, k] * kappa[t, j]
            out[k, b] -= 2 * by_q * kappa[t, k]
            before[k] = total
        for k in range(latents):
            adjoint[k] = before[k]
    largest = 0.0
    for k in range(latents):
        for j in range(latents):
            out[j, latents + k] = out[latents + k, j]
        out[b, latents + k] = out[latents + k, b]
        out[b, k] = out[k, b]
        out[latents + k, x] = -adjoint[k]
    for i in range(x):
        for j in range(x + 1):
            out[i, j] *= network[TRAINED + i]
            largest = max(largest, abs(out[i, j]))
    return loss, largest, by_threshold * network[TRAINED_THRESHOLD]
