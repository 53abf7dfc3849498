"""The compiled gradient flow of overlaps of ``plateau``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.theory.overlap_kernels import CONFIDENCE, READ, SHARE, THRESHOLD, descent_matrix, trial

#: columns of a recorded flow: plateau time s, loss, logit of the last reading, squared norm of the
#: gradient, and the saturation q at the last update
TIME, LOSS, LAST, SLOPE, SATURATION = range(5)
COLUMNS = 5
#: plateau time of a flow that comes to rest
ENDLESS = 1e300

# J. R. Dormand and P. J. Prince, A family of embedded Runge-Kutta formulae, Journal of
# Computational and Applied Mathematics 6, 19-26 (1980): the stages (the last is the solution of
# fifth order), and that solution minus the one of fourth order.
_STAGES = (
    (1 / 5, 0.0, 0.0, 0.0, 0.0, 0.0),
    (3 / 40, 9 / 40, 0.0, 0.0, 0.0, 0.0),
    (44 / 45, -56 / 15, 32 / 9, 0.0, 0.0, 0.0),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0.0, 0.0),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0.0),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


@compiled
def slope(y: Any, network: Any, kappa: Any, gains: Any, adjoint: Any, step: Any, out: Any, read: Any) -> None:
    """``out = dy/ds`` under gradient flow, s = rate x epoch; ``read`` gets what is recorded of y
    beside s.

    ``y`` (V V + 1,) is the Gram matrix, row by row, and the threshold. ``kappa`` is (2 T + 1, K),
    ``gains`` (2 T,), ``adjoint`` (2, K) and ``step`` (V, V).
    """
    size, steps, latents = step.shape[0], gains.size, kappa.shape[1]
    gram, moved = y[:-1].reshape((size, size)), out[:-1].reshape((size, size))
    network[THRESHOLD] = y[-1]
    trial(gram, network, kappa, gains)
    loss, _, by_threshold = descent_matrix(gram, network, kappa, gains, adjoint, step)
    # d vector_i / ds = sum_j step_ij vector_j, so dG/ds = S G + (S G)^T
    squared = by_threshold**2
    for i in range(size):
        for j in range(size):
            total = 0.0
            for k in range(size):
                total += step[i, k] * gram[k, j]
            moved[i, j] = total
            squared += total * step[i, j]  # |dL / d vector_i|**2 = (S G S^T)_ii
    for i in range(size):
        for j in range(i + 1):
            moved[i, j] += moved[j, i]
            moved[j, i] = moved[i, j]
    out[-1] = -by_threshold
    read[LOSS], read[SLOPE] = loss, squared
    read[LAST] = network[CONFIDENCE] * (kappa[steps, int(network[READ])] - network[THRESHOLD])
    q, b = gram[2 * latents, 2 * latents], 2 * latents
    for k in range(latents):
        q += 2 * gram[k, b] * kappa[steps, k]
        for j in range(latents):
            q += gram[k, j] * kappa[steps, k] * kappa[steps, j]
    read[SATURATION] = network[SHARE] * q


@compiled
def follow(y: Any, network: Any, delay: int, latents: int, tolerance: float, level: float, record: Any) -> int:
    """The flow from ``y``, in place, into the rows of ``record``, (rows, COLUMNS); rows written.

    It ends when the loss is below ``level`` and the last reading above the threshold, at the
    plateau time :data:`ENDLESS`, or when ``record`` is full.
    """
    size = 2 * latents + 2
    kappa, gains, adjoint = np.zeros((2 * delay + 1, latents)), np.zeros(2 * delay), np.zeros((2, latents))
    step, stage, trial_y = np.zeros((size, size)), np.zeros((7, y.size)), np.zeros(y.size)
    time, length, factor, count = 0.0, 1e-3, 1.0, 0
    slope(y, network, kappa, gains, adjoint, step, stage[0], record[0])
    while True:
        record[count, TIME] = time
        now = record[count]
        count += 1
        if count == record.shape[0] or time >= ENDLESS or (now[LOSS] < level and now[LAST] > 0):
            return count
        while True:
            for j in range(6):
                for i in range(y.size):
                    total = 0.0
                    for k in range(j + 1):
                        total += _STAGES[j][k] * stage[k, i]
                    trial_y[i] = y[i] + length * total
                slope(trial_y, network, kappa, gains, adjoint, step, stage[j + 1], record[count])
            worst = 0.0
            for i in range(y.size):
                total = 0.0
                for k in range(7):
                    total += _ERROR[k] * stage[k, i]
                worst = max(worst, abs(length * total) / (tolerance * (1 + 1e3 * abs(y[i]))))
                if not math.isfinite(total):
                    worst = math.inf
                    break
            factor = 0.9 / max(worst, 1e-10) ** 0.2
            if worst <= 1 or length < 1e-300:
                break
            length *= max(factor, 0.2)
        time += length
        for i in range(y.size):
            y[i], stage[0, i] = trial_y[i], stage[6, i]
        length *= min(max(factor, 0.2), 5.0)


@compiled
def roll(
    position: Any, force: Any, start: float, target: float, rate: float, momentum: float, speed: float
) -> tuple[float, float]:
    """Epochs that the heavy ball takes from ``start`` to ``target``, and its last update.

    ``v <- momentum v + rate force(x)``, ``x <- x + v``, from ``v = speed``. The force is given at
    ascending positions, its logarithm interpolated.
    """
    x, v, at, epoch = start, speed, 0, 0
    while True:
        while at < position.size - 2 and position[at + 1] < x:
            at += 1
        part = min((x - position[at]) / (position[at + 1] - position[at]), 1.0)
        v = momentum * v + rate * force[at] * (force[at + 1] / force[at]) ** part
        if x + v >= target or not x + v > x:
            return epoch + (target - x) / v, v
        x += v
        epoch += 1
