"""The compiled loops of ``overlap_descent``: gradient descent of a network of rank K on delayed
activation, in the scalar products of its weights.

The vectors are ``m_1 .. m_K, n_1 .. n_K, b, x0``, V = 2 K + 2 of them, and ``gram`` (V, V) holds
their scalar products. docs/exponent.md derives every equation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.theory.overlap_kernels import gain

#: places in ``network``
ALPHA, DELAY, CONFIDENCE, THRESHOLD, SHARE, TRAINED_M, TRAINED_N, TRAINED_B = range(8)
#: an update below this share of the overlaps cannot bring back a network that is at chance
STILL = 1e-13


@compiled
def trial(gram: Any, network: Any, kappa: Any, gains: Any) -> tuple[int, float]:
    """Forward pass into ``kappa`` (2 T + 1, K) and ``gains`` (2 T,); right answers and the highest
    latent that is read.
    """
    steps, latents = gains.size, kappa.shape[1]
    alpha, delay, share, b = network[ALPHA], int(network[DELAY]), network[SHARE], 2 * latents
    right, highest = 0, -math.inf
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
        above = kappa[t + 1, 0] > network[THRESHOLD]
        right += above == (t >= delay)
        highest = max(highest, kappa[t + 1, 0])
    return right, highest


@compiled
def descent_matrix(gram: Any, network: Any, kappa: Any, gains: Any, room: Any, out: Any) -> tuple[float, float]:
    """``out`` (V, V) with d vector_i / ds = sum_j out_ij vector_j under gradient descent, s the
    learning rate times the epoch; the loss, and the largest element of ``out``.

    ``room`` is (2, K).
    """
    steps, latents = gains.size, kappa.shape[1]
    alpha, delay, c, share, b = (
        network[ALPHA], int(network[DELAY]), network[CONFIDENCE], network[SHARE], 2 * latents,
    )  # fmt: skip
    x = b + 1
    adjoint, before = room[0], room[1]
    out[:] = 0.0
    adjoint[:] = 0.0
    loss = 0.0
    for t in range(steps - 1, -1, -1):
        # dL / dkappa_1 of the reading after update t
        logit = c * (kappa[t + 1, 0] - network[THRESHOLD])
        small = math.exp(-abs(logit))
        answer, rest = (1 / (1 + small), small / (1 + small)) if logit > 0 else (small / (1 + small), 1 / (1 + small))
        error = answer if t < delay else -rest
        loss += error * error / delay
        adjoint[0] += 2 * error * c * answer * rest / delay
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
            out[i, j] *= network[TRAINED_M + min(i // latents, 2)]
            largest = max(largest, abs(out[i, j]))
    return loss, largest


@compiled
def update(gram: Any, step: Any, rate: float, room: Any) -> None:
    """One update of gradient descent in place: ``gram <- A gram A^T``, ``A = 1 + rate step``;
    ``room`` is (V, V).
    """
    size = gram.shape[0]
    for i in range(size):
        for j in range(size):
            total = gram[i, j]
            for k in range(size):
                total += rate * step[i, k] * gram[k, j]
            room[i, j] = total
    for i in range(size):
        for j in range(size):
            total = room[i, j]
            for k in range(size):
                total += rate * room[i, k] * step[j, k]
            gram[i, j] = total


@compiled
def to_the_brink(
    gram: Any, network: Any, move: float, most: int, kappa: Any, gains: Any, adjoint: Any, step: Any, room: Any,
    before: Any,
) -> int:  # fmt: skip
    """Train ``gram`` in place to just before a reading first exceeds the threshold; updates, or -1
    if ``most`` are not enough.

    An update moves the highest latent by ``move``, and by twice that at most. ``before`` is
    (V, V); the other arrays are those of :func:`descend`.
    """
    _, highest = trial(gram, network, kappa, gains)
    rate = 1e-6
    for count in range(most):
        if highest > network[THRESHOLD]:
            return count
        descent_matrix(gram, network, kappa, gains, adjoint, step)
        before[:] = gram
        _, now = trial(gram, network, kappa, gains)
        while True:
            update(gram, step, rate, room)
            _, now = trial(gram, network, kappa, gains)
            if abs(now - highest) <= 2 * move or rate < 1e-300:
                break
            gram[:] = before
            rate /= 2
        if now > network[THRESHOLD]:
            gram[:] = before
            return count
        rate *= min(max(move / max(abs(now - highest), 1e-300), 0.5), 2.0)
        highest = now
    return -1


@compiled
def descend(
    gram: Any, network: Any, rate: float, updates: int, level: float, kappa: Any, gains: Any, adjoint: Any, step: Any,
    room: Any,
) -> tuple[int, int]:  # fmt: skip
    """Gradient descent at one rate in place; the first epoch with an accuracy above ``level``, and
    the last one above chance, -1 for never.

    It stops where the network is at chance and its updates cannot change that. ``kappa`` is
    (2 T + 1, K), ``gains`` (2 T,), ``adjoint`` (2, K), ``step`` and ``room`` (V, V).
    """
    steps, learned, last = gains.size, -1, -1
    for epoch in range(updates):
        right, _ = trial(gram, network, kappa, gains)
        if learned < 0 and right > level * steps:
            learned = epoch
        if 2 * right > steps:
            last = epoch
        _, largest = descent_matrix(gram, network, kappa, gains, adjoint, step)
        if not math.isfinite(largest) or (2 * right <= steps and largest * rate < STILL):
            break
        update(gram, step, rate, room)
    return learned, last


@compiled
def descend_all(
    grams: Any, networks: Any, rates: Any, updates: int, level: float, delay: int, latents: int, move: float,
    most: int, learned: Any, last: Any, reached: Any, starts: Any,
) -> None:  # fmt: skip
    """Every network (R, V, V) to the brink, then down at each of P rates; ``learned`` and ``last``
    (P, R), ``reached`` (R,) and the overlaps at the brink ``starts`` (R, V, V) are filled.
    """
    size = grams.shape[1]
    kappa, gains, adjoint = np.zeros((2 * delay + 1, latents)), np.zeros(2 * delay), np.zeros((2, latents))
    step, room, gram = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for r in range(grams.shape[0]):
        starts[r] = grams[r]
        reached[r] = to_the_brink(starts[r], networks[r], move, most, kappa, gains, adjoint, step, room, gram)
        for p in range(rates.size):
            gram[:] = starts[r]
            learned[p, r], last[p, r] = descend(
                gram, networks[r], rates[p], updates, level, kappa, gains, adjoint, step, room
            )
