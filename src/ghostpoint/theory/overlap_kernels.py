"""The compiled flow of overlaps of ``plateau``; imported on first use, so that importing the theory
does not import numba.

An overlap vector y is ``(n.n, m.m, b.b, m.n, m.b, n.b, m.x0, n.x0, b.x0)``, in this order.
"""

from __future__ import annotations

import math
from typing import Any

from ghostpoint.numerics.compiled_code import compiled

#: columns of a recorded flow: plateau time s, loss, kappa[2 T], squared norm of the gradient, and
#: the saturation q at kappa[2 T]
TIME, LOSS, LAST, SLOPE, SATURATION = range(5)
COLUMNS = 5

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
def gain(q: float) -> float:
    """``1 / sqrt(1 + 2 q)``, for the mean of ``1 - tanh(z)**2`` over normal z of variance q.

    Equal to it up to the first order in q, and within 0.033 of it for q up to 100.
    """
    return 1 / math.sqrt(1 + 2 * q)


@compiled
def slope(y: Any, network: Any, kappa: Any, out: Any, read: Any) -> None:
    """``out = dy/ds`` under gradient flow, s = rate x epoch; ``read`` gets what is recorded of y
    beside s.

    ``network`` is (alpha, T in steps, c, kappa*, x0.x0, 1 / N, and 1 or 0 for each of m, n and b:
    trained or not); with 0 in place of 1 / N the units are linear. ``kappa`` is room for 2 T + 1
    numbers.
    """
    alpha, delay, c, threshold, xx, share = (
        network[0], int(network[1]), network[2], network[3], network[4], network[5],
    )  # fmt: skip
    nn, mm, bb, mn, mb, nb, mx, nx, bx = y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7], y[8]
    steps = 2 * delay
    # forward: kappa <- (1 - alpha) kappa + alpha h(q) (G kappa + beta), q = |m kappa + b|**2 / N
    kappa[0] = nx
    for t in range(steps):
        k = kappa[t]
        h = gain(share * ((mm * k + 2 * mb) * k + bb))
        kappa[t + 1] = (1 - alpha) * k + alpha * h * (mn * k + nb)
    # backward: derivatives of the loss by the overlaps that the forward pass holds
    loss, adjoint = 0.0, 0.0
    by_mn, by_nb, by_mm, by_mb, by_bb = 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(steps - 1, -1, -1):
        k = kappa[t + 1]
        answer, rest = 1 / (1 + math.exp(c * (threshold - k))), 1 / (1 + math.exp(c * (k - threshold)))
        error = answer if t < delay else -rest
        loss += error * error / delay
        adjoint += 2 * error * c * answer * rest / delay
        k = kappa[t]
        h = gain(share * ((mm * k + 2 * mb) * k + bb))
        w = alpha * adjoint
        by_mn += w * h * k
        by_nb += w * h
        by_q = -w * (mn * k + nb) * h**3 * share  # dh/dq = -h**3
        by_mm += by_q * k * k
        by_mb += by_q * 2 * k
        by_bb += by_q
        adjoint = (1 - alpha) * adjoint + w * h * mn + by_q * 2 * (mm * k + mb)
    by_nx = adjoint
    # dm/ds = m_n n + m_m m + m_b b, and so on
    on_m, on_n, on_b = -network[6], -network[7], -network[8]
    n_m, n_b, n_x = on_n * by_mn, on_n * by_nb, on_n * by_nx
    m_n, m_m, m_b = on_m * by_mn, on_m * 2 * by_mm, on_m * by_mb
    b_n, b_b, b_m = on_b * by_nb, on_b * 2 * by_bb, on_b * by_mb
    out[0] = 2 * (n_m * mn + n_b * nb + n_x * nx)
    out[1] = 2 * (m_n * mn + m_m * mm + m_b * mb)
    out[2] = 2 * (b_n * nb + b_b * bb + b_m * mb)
    out[3] = n_m * mm + n_b * mb + n_x * mx + m_n * nn + m_m * mn + m_b * nb
    out[4] = b_n * mn + b_b * mb + b_m * mm + m_n * nb + m_m * mb + m_b * bb
    out[5] = b_n * nn + b_b * nb + b_m * mn + n_m * mb + n_b * bb + n_x * bx
    out[6] = m_n * nx + m_m * mx + m_b * bx
    out[7] = n_m * mx + n_b * bx + n_x * xx
    out[8] = b_n * nx + b_b * bx + b_m * mx
    k = kappa[steps]
    read[LOSS], read[LAST] = loss, k
    # the loss falls at the squared norm of the gradient
    read[SLOPE] = -(by_mn * out[3] + by_nb * out[5] + by_nx * out[7] + by_mm * out[1] + by_mb * out[4] + by_bb * out[2])
    read[SATURATION] = share * ((mm * k + 2 * mb) * k + bb)


@compiled
def follow(
    y: Any, network: Any, room: Any, tolerance: float, longest: float, level: float, last: float, record: Any
) -> int:
    """The flow from ``y``, in place, into the rows of ``record``, (rows, COLUMNS); rows written.

    It ends when the loss is below ``level`` and ``kappa[2 T]`` above ``last``, at the plateau time
    ``longest``, or when ``record`` is full. ``room`` is (9, max(2 T + 1, 9)).
    """
    kappa, stage, trial = room[0], room[1:8], room[8]
    time, size, factor, count = 0.0, 1e-3, 1.0, 0
    slope(y, network, kappa, stage[0], record[0])
    while True:
        record[count, TIME] = time
        now = record[count]
        count += 1
        if count == record.shape[0] or time >= longest or (now[LOSS] < level and now[LAST] > last):
            return count
        while True:
            size = min(size, longest - time)
            for j in range(6):
                for i in range(9):
                    total = 0.0
                    for k in range(j + 1):
                        total += _STAGES[j][k] * stage[k, i]
                    trial[i] = y[i] + size * total
                slope(trial, network, kappa, stage[j + 1], record[count])
            worst = 0.0
            for i in range(9):
                total = 0.0
                for k in range(7):
                    total += _ERROR[k] * stage[k, i]
                worst = max(worst, abs(size * total) / (tolerance * (1 + 1e3 * abs(y[i]))))
                if not math.isfinite(total):
                    worst = math.inf
                    break
            factor = 0.9 / max(worst, 1e-10) ** 0.2
            if worst <= 1 or size < 1e-300:
                break
            size *= max(factor, 0.2)
        time += size
        for i in range(9):
            y[i], stage[0, i] = trial[i], stage[6, i]
        size *= min(max(factor, 0.2), 5.0)
