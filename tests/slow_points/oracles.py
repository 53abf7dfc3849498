"""Slow, independent versions of the latent flow: extended precision, and a dense scan."""

from __future__ import annotations

import mpmath
import numpy as np
from scipy.optimize import brentq

PRECISION = 200  # bits


def exact_flow(kappa, m, n, b, derivative=0):
    """f, f' or f'' at kappa in extended precision; float64 arguments are exact."""
    with mpmath.workprec(PRECISION):
        x = mpmath.mpf(float(kappa))
        total = [-x, mpmath.mpf(-1), mpmath.mpf(0)][derivative]
        for mi, ni, bi in zip(m, n, b, strict=True):
            mi, ni, bi = (mpmath.mpf(float(v)) for v in (mi, ni, bi))
            t = mpmath.tanh(mi * x + bi)
            s = 1 - t * t
            total += ni * [t, mi * s, -2 * mi**2 * t * s][derivative]
        return total


def numpy_flow(kappa, m, n, b, derivative=0):
    """The same in numpy, for a grid of kappa."""
    kappa = np.asarray(kappa, dtype=float)
    t = np.tanh(np.multiply.outer(kappa, m) + b)
    s = 1 - t**2
    return [lambda: t @ n - kappa, lambda: s @ (n * m) - 1, lambda: (t * s) @ (-2 * n * m**2)][derivative]()


def scanned_zeros(m, n, b, low, high, derivative=0, points=100_001):
    """Zeros of f or f' from sign changes on a grid, refined by bisection: misses pairs closer than
    a step.
    """
    grid = np.linspace(low, high, points) + 1e-9 * np.pi  # off the symmetric points, where f is exactly 0
    if derivative:
        values = np.concatenate([numpy_flow(part, m, n, b, derivative) for part in np.array_split(grid, 20)])
    else:
        values = _screened_flow(grid, m, n, b)
    left = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0)

    def g(x):
        return float(numpy_flow(x, m, n, b, derivative))

    return np.array([brentq(g, grid[i], grid[i + 1], xtol=1e-15) for i in left])


def _screened_flow(grid, m, n, b):
    """f in float32, and in float64 wherever float32 might have the wrong sign: the signs are those
    of float64.
    """
    parts = np.array_split(grid, -(-len(grid) // 2000))
    steep, width, shift = (values.astype(np.float32) for values in (m, n, b))
    with np.errstate(under="ignore"):
        values = np.concatenate(
            [
                np.tanh(np.multiply.outer(x, steep) + shift) @ width - x
                for x in (part.astype(np.float32) for part in parts)
            ]
        ).astype(float)
    # tanh and products to a few 2**-24 each, arguments to 2**-24 of themselves where tanh is not
    # flat
    doubtful = np.flatnonzero(np.abs(values) < 1e-5 * (1 + np.abs(n).sum() + np.abs(grid)))
    for part in np.array_split(doubtful, -(-len(doubtful) // 20_000)) if len(doubtful) else ():
        values[part] = numpy_flow(grid[part], m, n, b)
    return values


def random_network(seed, units, gain):
    """m, n ~ gain normal / sqrt(N), b ~ normal."""
    generator = np.random.default_rng(seed)
    m, n = gain * generator.normal(size=(2, units)) / np.sqrt(units)
    return m, n, generator.normal(size=units)
