"""What the compiled search proves box by box: enclosures, cuts and cubes, against extended
precision.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.slow_points.latents import zeros_in_box_kernels as kernels
from ghostpoint.slow_points.latents.box_enclosure import enclose, scratch
from ghostpoint.slow_points.latents.zeros_in_box import _hurwitz, _table
from tests.slow_points.oracles import PRECISION


def network(seed, units, rank, gain, biased):
    generator = np.random.default_rng(seed)
    m, n = np.sqrt(gain) * generator.normal(size=(2, units, rank)) / units**0.25
    return m, n, generator.normal(size=units) * biased


networks = st.builds(
    network,
    seed=st.integers(0, 2**32 - 1),
    units=st.sampled_from([1, 2, 5, 20]),
    rank=st.sampled_from([1, 2, 3]),
    gain=st.sampled_from([0.3, 1.0, 10.0, 100.0]),
    biased=st.sampled_from([0.0, 1.0, 30.0]),
)


def exact(kappa, m, n, b):
    """f and its Jacobian in extended precision, as lists of mpf; call within ``workprec``."""
    x = [mpmath.mpf(float(v)) for v in kappa]
    rank = len(x)
    f = [-v for v in x]
    jacobian = [[mpmath.mpf(-(i == j)) for j in range(rank)] for i in range(rank)]
    for mi, ni, bi in zip(m.tolist(), n.tolist(), b.tolist(), strict=True):
        t = mpmath.tanh(sum(mpmath.mpf(v) * w for v, w in zip(mi, x, strict=True)) + mpmath.mpf(bi))
        for k in range(rank):
            f[k] += mpmath.mpf(ni[k]) * t
            for j in range(rank):
                jacobian[k][j] += mpmath.mpf(ni[k]) * mpmath.mpf(mi[j]) * (1 - t * t)
    return f, jacobian


@settings(deadline=None, max_examples=40)
@given(networks, st.integers(0, 2**32 - 1), st.floats(-17, 1.5), st.booleans())
def test_enclosure_holds_everywhere_in_the_box(weights, seed, width, taylor):
    m, n, b = weights
    generator, rank = np.random.default_rng(seed), m.shape[1]
    c, h = 3 * generator.normal(size=rank), 10.0**width * generator.uniform(size=rank)
    x, (f, g, q, e, *_) = scratch(rank, len(b))
    enclose(c, h, _table(m, n, b), taylor, x, f, g, q, e)
    assert np.all(e[1] <= e[0])
    corners = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * rank), axis=-1).reshape(-1, rank)
    for d in [*corners, *generator.uniform(-1, 1, (4, rank))]:
        with mpmath.workprec(PRECISION):
            step = [mpmath.mpf(float(v)) for v in d * h]
            places = [mpmath.mpf(float(v)) + s for v, s in zip(c, step, strict=True)]
            value = [-p for p in places]
            for mi, ni, bi in zip(m.tolist(), n.tolist(), b.tolist(), strict=True):
                t = mpmath.tanh(sum(mpmath.mpf(v) * w for v, w in zip(mi, places, strict=True)) + mpmath.mpf(bi))
                value = [v + mpmath.mpf(nk) * t for v, nk in zip(value, ni, strict=True)]
            for k in range(rank):
                model = mpmath.mpf(float(f[k]))
                for j in range(rank):
                    model += mpmath.mpf(float(g[k, j])) * step[j]
                    for i in range(j + 1):
                        model += mpmath.mpf(float(q[k, i, j])) * step[i] * step[j]
                assert abs(value[k] - model) <= e[0, k]


@settings(deadline=None, max_examples=25)
@given(networks, st.integers(0, 2**32 - 1), st.floats(-12, 1))
def test_jacobian_stays_within_its_bound_on_the_cube(weights, seed, width):
    m, n, b = weights
    generator, rank = np.random.default_rng(seed), m.shape[1]
    z, r = 2 * generator.normal(size=rank), 10.0**width
    x, s = scratch(rank, len(b))
    jacobian, error = np.empty((2, rank, rank))
    kernels.jacobian(z, r, _table(m, n, b), x, s, jacobian, error)
    for d in [np.zeros(rank), *generator.uniform(-1, 1, (3, rank)), *generator.choice([-0.999, 0.999], (3, rank))]:
        with mpmath.workprec(PRECISION):
            _, there = exact(z + d * r, m, n, b)
            gap = [[abs(there[i][j] - mpmath.mpf(float(jacobian[i, j]))) for j in range(rank)] for i in range(rank)]
            assert all(gap[i][j] <= error[i, j] for i in range(rank) for j in range(rank))


def test_error_of_f_at_a_point_is_rounding():
    m, n, b = network(0, 100, 3, 3.0, 1.0)
    x, (f, g, q, e, *_) = scratch(3, 100)
    enclose(np.full(3, 0.5), np.zeros(3), _table(m, n, b), True, x, f, g, q, e)
    assert np.all(e[0] < 1e-13 * np.abs(n).sum(axis=0))


@settings(deadline=None, max_examples=40)
@given(networks, st.integers(0, 2**32 - 1), st.floats(-10, 1))
def test_a_cut_keeps_every_zero(weights, seed, width):
    """A zero is planted at a point of the box by a unit of constant tanh, up to an offset that
    rounding leaves.
    """
    m, n, b = weights
    generator, rank = np.random.default_rng(seed), m.shape[1]
    zero = generator.normal(size=rank)
    with mpmath.workprec(PRECISION):
        f, _ = exact(zero, m, n, b)
        lack = np.array([-float(v) for v in f])
    n = np.concatenate([n, lack[None] / np.tanh(1.0)])
    m, b = np.concatenate([m, np.zeros((1, rank))]), np.append(b, 1.0)
    h = 10.0**width * generator.uniform(0.1, 1, rank)
    c = zero + generator.uniform(-1, 1, rank) * h * (1 - 1e-9)
    c0, h0 = c.copy(), h.copy()
    x, s = scratch(rank, len(b))
    state, left = kernels._reduce(c, h, _table(m, n, b), x, s)
    with mpmath.workprec(PRECISION):
        f, jacobian = exact(zero, m, n, b)
        try:
            shift = mpmath.lu_solve(mpmath.matrix(jacobian), mpmath.matrix(f))
        except ZeroDivisionError:
            return
        moved = max(abs(float(v)) for v in shift)
    if moved < 1e-9 * h0.min() * 1e-2:  # the exact zero is still in the box, within ``moved`` of the planted place
        assert state != 0
        assert np.all(np.abs(c - zero) <= h + 2 * moved)
        assert np.all(np.abs(c - c0) + h <= h0 * (1 + 1e-9) + 1e-12)
        assert 0 <= left <= 1


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("gain", [1.01, 1.5, 4.0])
def test_a_cube_with_several_zeros_or_none_is_never_proven(rank, gain):
    """Latents that do not interact, ``-kappa + tanh(gain kappa)`` each: zeros at -a, 0 and a in
    every coordinate.
    """
    m, n, b = gain * np.eye(rank), np.eye(rank), np.zeros(rank)
    a = float(
        mpmath.findroot(lambda v: mpmath.tanh(gain * v) - v, 0.99 if gain > 2 else np.sqrt(3 * (gain - 1)) / gain)
    )
    table, (x, s) = _table(m, n, b), scratch(rank, rank)
    radii = a * np.array([1e-3, 0.01, 0.1, 0.3, 0.6, 0.99, 1.0, 1.01, 1.5, 3.0])
    at_zero = [kernels.verify(np.zeros(rank), r, table, x, s)[0] for r in radii]
    assert at_zero[0]
    assert not any(at_zero[6:])
    corner = np.full(rank, a)
    beside = [kernels.verify(corner, r, table, x, s)[0] for r in radii]
    assert beside[0]
    assert not any(beside[6:])
    for r in radii[:4]:
        assert not kernels.verify(np.full(rank, 0.5 * a), r, table, x, s)[0]


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]), st.floats(0, 0.3))
def test_stability_bounds_hold_for_every_matrix_they_cover(seed, rank, width):
    generator = np.random.default_rng(seed)
    jacobian = generator.normal(size=(rank, rank)) - np.eye(rank)
    error = width * generator.uniform(size=(rank, rank))
    low, high = _hurwitz(jacobian, error)
    assert np.all(low <= high)
    for sign in generator.choice([-1.0, 0.0, 1.0], (20, rank, rank)):
        largest = np.linalg.eigvals(jacobian + sign * error).real.max()
        if np.all(low > 0):
            assert largest < 1e-12
        if np.any(high < 0):
            assert largest > -1e-12
    if width == 0:
        assert np.all(low > 0) or np.any(high < 0)
