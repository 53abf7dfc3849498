"""Networks with a fold planted at a known distance, and complete oracles for them."""

from __future__ import annotations

import mpmath
import numpy as np

from ghostpoint.models import FullRankRNN
from ghostpoint.slow_points.fields import TanhField
from ghostpoint.slow_points.ghosts import bordered_system
from tests.slow_points.oracles import PRECISION


def full_rank(W, b=None):
    """One network with a readout of zeros."""
    units = len(W)
    bias = np.zeros(units) if b is None else b
    return FullRankRNN(W[None], bias[None], w_out=np.zeros((1, 1, units)), b_out=np.zeros((1, 1)))


def vanilla(seed, units, gain, bias=0.0):
    """W normal with standard deviation gain / sqrt(N), b normal with standard deviation
    ``bias``.
    """
    generator = np.random.default_rng(seed)
    W = gain * generator.normal(size=(units, units)) / np.sqrt(units)
    return W, bias * generator.normal(size=units)


def rank_one_near_fold(seed, units, height):
    """m, n, b (N,) whose latent flow has an extremum kappa0 with f(kappa0) = ``height`` sign(f'').

    m and n have 24 bits, so that the products m_i n_j are exact in float64 and the network embedded
    as a full-rank one is the same network. Positive heights make a ghost, negative ones two zeros.
    Height and extremum are exact up to the rounding of one bias, 4e-16.
    """
    generator = np.random.default_rng(seed)
    while True:
        m = np.float32(generator.normal(size=units)).astype(float)
        n = np.float32((2 * m + 0.5 * generator.normal(size=units)) / units).astype(float)
        b = 0.2 * generator.normal(size=units)
        m[-1], n[-1], b[-1] = 0.0, 4.0, 0.0
        grid = np.linspace(-3, 3, 601)
        slope = (1 - np.tanh(np.outer(grid, m) + b) ** 2) @ (n * m) - 1
        turns = np.flatnonzero(slope[:-1] * slope[1:] < 0)
        if len(turns):
            break
    with mpmath.workprec(PRECISION):
        low, high = mpmath.mpf(grid[turns[0]]), mpmath.mpf(grid[turns[0] + 1])
        rising = exact_flow_at(low, m, n, b, 1) < 0
        for _ in range(100):
            middle = (low + high) / 2
            below = exact_flow_at(middle, m, n, b, 1) < 0
            low, high = (middle, high) if below == rising else (low, middle)
        shift = (1 if rising else -1) * mpmath.mpf(height) - exact_flow_at(low, m, n, b, 0)
        b[-1] = float(mpmath.atanh(shift / 4))
    return m, n, b


def exact_flow_at(kappa, m, n, b, derivative):
    """As `exact_flow`, for an mpf kappa."""
    total = [-kappa, mpmath.mpf(-1)][derivative]
    for mi, ni, bi in zip(m, n, b, strict=True):
        t = mpmath.tanh(mpmath.mpf(float(mi)) * kappa + mpmath.mpf(float(bi)))
        total += mpmath.mpf(float(ni)) * (t if derivative == 0 else mpmath.mpf(float(mi)) * (1 - t * t))
    return total


def planted(W, b, x, omega, s, target):
    """A bias under which the stationary point of |F| near (x, omega, s) has the signed speed
    ``target``; and the point.

    Newton's method on b along ``ds/db = w (1 - tanh**2)`` (q is stationary there), the point
    followed in between.
    """
    for speed in np.append(np.geomspace(s, max(abs(target), 1e-3), 8), [target] * 6):
        for _ in range(3):
            gain = omega * (1 - np.tanh(W @ x + b) ** 2)
            b = b + (speed - s) * gain / (gain @ gain)
            field = TanhField(None, W, b)
            for _ in range(6):
                value, derivative = bordered_system(field, None, x, omega, s)
                step = np.linalg.solve(derivative, value)
                x, omega, s = x - step[: len(x)], omega - step[len(x) : -1], s - step[-1]
    return b, x, s
