"""The compiled loops of ``overlap_descent``: gradient descent of a network of rank K on delayed
activation, in the scalar products of its weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.theory.overlap_kernels import THRESHOLD, descent_matrix, trial

#: an update below this share of the overlaps cannot bring back a network that is at chance
STILL = 1e-13


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
        _, largest, _ = descent_matrix(gram, network, kappa, gains, adjoint, step)
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
