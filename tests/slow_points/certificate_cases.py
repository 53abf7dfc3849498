"""Networks at which a proof is most likely to go wrong, and what every proof about them is checked
against.

The zeros that a search lists are refined by Newton's method in 80 digits, independently of the code
that made the proofs. Each proven zero must lie within its radius and be another one than all
others, none of which may lie within its radius of uniqueness, or within the empty radius of a
ghost. The quick suite takes a few hundred cases, `benchmarks/certificates.py` as many as asked for.
"""

from __future__ import annotations

import mpmath
import numpy as np

from ghostpoint.slow_points import find_slow_points
from tests.slow_points.networks import full_rank

KINDS = ("eigenvalue 1", "duplicated units", "huge and tiny weights", "rounded symmetric")
DIGITS = 80


def drawn(seed):
    """Kind, W and b of one case."""
    generator = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    units = int(generator.integers(1, 5))
    W = generator.normal(size=(units, units))
    small = 10.0 ** -generator.integers(1, 17)
    b = np.zeros(units) if generator.random() < 0.5 else small * generator.normal(size=units)
    if kind == "eigenvalue 1":
        values = generator.uniform(-2, 2, units)
        values[0] = 1 + generator.choice([-1, 0, 1]) * small
        if generator.random() < 0.3:
            values[:] = values[0]
        Q = np.linalg.qr(W)[0] if generator.random() < 0.5 else W
        W = Q @ np.diag(values) @ np.linalg.inv(Q)
    elif kind == "duplicated units":
        W = np.tile(W, (2, 2))[: units + 1, : units + 1] * generator.choice([0.5, 1.0, 2.0])
        b = np.resize(b, len(W))
    elif kind == "huge and tiny weights":
        W *= 10.0 ** generator.uniform(-9, 3, (units, units) if generator.random() < 0.5 else ())
    else:
        W = np.linalg.qr(W)[0] if generator.random() < 0.5 else (W + W.T) / 2
        W = np.float32(W * generator.choice([1.0, 1.0, 1.5])).astype(float)
    return kind, W, b


def refined(W, b, x):
    """The zero that Newton's method in many digits reaches from x; None where it does not
    settle.
    """
    size = len(x)
    A, c = mpmath.matrix(W.tolist()), mpmath.matrix(b.tolist())
    z = mpmath.matrix([mpmath.mpf(float(value)) for value in x])
    for _ in range(400):
        rates = [mpmath.tanh(value) for value in A * z + c]
        J = mpmath.matrix(size, size)
        for i in range(size):
            for j in range(size):
                J[i, j] = (1 - rates[i] ** 2) * A[i, j] - (1 if i == j else 0)
        F = mpmath.matrix([rates[i] - z[i] for i in range(size)])
        if mpmath.norm(F) == 0:
            return z
        try:
            step = mpmath.lu_solve(J, F)
        except ZeroDivisionError:
            return None
        z -= step
        if mpmath.norm(step) < mpmath.mpf(10) ** (10 - DIGITS):
            return z
    return None


def wrong(seed, starts=24):
    """What is wrong with the proofs of one case, in words; nothing if all hold."""
    return checked(seed, starts)[0]


def checked(seed, starts=24):
    """What is wrong with the proofs of one case, in words, and how many proofs there were."""
    _, W, b = drawn(seed)
    points = find_slow_points(full_rank(W, b), n_starts=starts, seed=1)
    more = find_slow_points(full_rank(W, b), n_starts=starts, seed=2, certify=False)
    with mpmath.workdps(DIGITS):
        proven = [i for i in range(len(points)) if points.kind[i] == "fixed" and points.certificate[i] != "none"]
        zeros = [refined(W, b, points.position[i]) for i in proven]
        others = [refined(W, b, x) for x in more.position[more.kind == "fixed"]]
        found = []
        for i, z in zip(proven, zeros, strict=True):
            x = mpmath.matrix(points.position[i].tolist())
            if points.certificate[i] == "exact":
                if b.any() or points.position[i].any():
                    found.append(f"point {i} is called exact")
                continue
            if z is None or mpmath.norm(z - x) > points.radius[i]:
                found.append(f"no zero within {points.radius[i]:.3g} of point {i}")
                continue
            for other in [*zeros, *others]:
                if other is None or other is z:
                    continue
                same = mpmath.norm(other - z) < mpmath.mpf(10) ** (20 - DIGITS)
                if same and any(other is each for each in zeros):
                    found.append(f"point {i} is listed twice")
                if not same and mpmath.norm(other - x) < points.unique_radius[i] * (1 - 1e-12):
                    found.append(f"a second zero within {points.unique_radius[i]:.3g} of point {i}")
        for i in np.flatnonzero(points.kind == "ghost"):
            x = mpmath.matrix(points.position[i].tolist())
            found += [
                f"a zero within {points.empty_radius[i]:.3g} of ghost {i}"
                for z in [*zeros, *others]
                if z is not None and mpmath.norm(z - x) < points.empty_radius[i]
            ]
    return found, int((points.certificate != "none").sum())
