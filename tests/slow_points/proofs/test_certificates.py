"""Certificates: what they claim is true, also where the claim is close to false."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points import ghosts
from ghostpoint.slow_points.fields import TanhField
from ghostpoint.slow_points.find import find_slow_points
from ghostpoint.slow_points.ghosts import border, bordered_system
from ghostpoint.slow_points.latents import flow_zeros
from ghostpoint.slow_points.proofs.certificates import (
    Reduction,
    certify_fixed,
    certify_ghost,
    ghost_operator,
    newton_ball,
    reduction,
    slow_border,
    zero_free_radius,
)
from ghostpoint.slow_points.proofs.field_bounds import FieldBounds
from ghostpoint.slow_points.proofs.rounding import spectral_norm
from tests.slow_points.networks import full_rank, rank_one_near_fold, vanilla
from tests.slow_points.oracles import PRECISION

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, rows=st.integers(1, 30), columns=st.integers(1, 30), scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e20]))
def test_spectral_norm_is_an_upper_bound_and_near(seed, rows, columns, scale):
    matrix = scale * np.random.default_rng(seed).normal(size=(rows, columns))
    exact = np.linalg.norm(matrix, 2)
    assert exact * (1 - 1e-13) <= spectral_norm(matrix) <= 1.15 * exact


@given(eta=st.floats(0, 1), defect=st.floats(0, 0.9), lipschitz=st.floats(1e-3, 10))
def test_newton_ball_solves_its_inequalities(eta, defect, lipschitz):
    ball = newton_ball(eta, defect, lipschitz)
    if ball is None:
        assert 2 * lipschitz * eta >= (1 - defect) ** 2 * (1 - 1e-9)
        return
    radius, unique = ball
    assert eta + defect * radius + lipschitz * radius**2 / 2 <= radius * (1 + 1e-12)
    assert defect + lipschitz * unique <= 1
    assert radius < unique


@settings(max_examples=40)
@given(seed=seeds, units=st.integers(1, 8), latents=st.integers(1, 3), gain=st.sampled_from([0.5, 2.0, 8.0]))
def test_error_bounds_of_the_flow_and_its_jacobian(seed, units, latents, gain):
    generator = np.random.default_rng(seed)
    full = generator.random() < 0.5
    size = units if full else latents
    A = None if full else generator.normal(size=(size, units))
    field = TanhField(A, gain * generator.normal(size=(units, size)), gain * generator.normal(size=units))
    x = generator.normal(size=size)
    here = FieldBounds(field).at(x)
    with mpmath.workprec(PRECISION):
        u = [
            mpmath.fsum(mpmath.mpf(float(B)) * mpmath.mpf(float(y)) for B, y in zip(row, x, strict=True)) + float(c)
            for row, c in zip(field.B, field.c, strict=True)
        ]
        t = [mpmath.tanh(value) for value in u]
        left = np.eye(units) if A is None else A
        for i in range(size):
            f = mpmath.fsum(mpmath.mpf(float(a)) * v for a, v in zip(left[i], t, strict=True)) - float(x[i])
            assert abs(f - float(here.f[i])) <= here.e_f[i]
            for j in range(size):
                slope = mpmath.fsum(
                    mpmath.mpf(float(a)) * (1 - v * v) * mpmath.mpf(float(b))
                    for a, v, b in zip(left[i], t, field.B[:, j], strict=True)
                )
                assert abs(slope - (i == j) - float(here.J[i, j])) <= here.e_J


def state_zeros(m, n, b):
    """Every zero of the state's flow of a rank-one network, from the complete search in the
    latent.
    """
    zeros = flow_zeros(m, n, b)
    kappa = zeros.position[0, : zeros.count[0]]
    return bool(zeros.complete[0]), np.tanh(np.outer(kappa, m) + b), zeros.radius[0, : zeros.count[0]]


def distances(zeros, x):
    return np.linalg.norm(zeros - x, axis=1)


@settings(max_examples=30)
@given(
    seed=seeds,
    exponent=st.floats(-12.5, -0.5),
    side=st.sampled_from([-1, 1]),
    push=st.sampled_from([0.0, 1e-12, 1e-8, 1e-4, 1e-2, 0.3]),
)
def test_no_certificate_contradicts_the_complete_search(seed, exponent, side, push):
    m, n, b = rank_one_near_fold(seed, 8, side * 10.0**exponent)
    complete, zeros, _ = state_zeros(m, n, b)
    if not complete:
        return
    field = TanhField(None, np.outer(m, n), b)
    bounds = FieldBounds(field)
    generator = np.random.default_rng(seed)
    for x in [*zeros, *generator.uniform(-1, 1, (3, 8))]:
        start = x + push * generator.normal(size=8)
        proof = certify_fixed(bounds, start)
        if proof.kind == "fixed":
            assert (distances(zeros, start) <= proof.radius + 1e-9).sum() >= 1
            assert (distances(zeros, start) <= proof.unique_radius - 1e-9).sum() <= 1
        f, J = field.flow(start[None])[0], field.jacobian(start[None])[0]
        left, _, _ = np.linalg.svd(J)
        omega = left[:, -1] * (1 if left[:, -1] @ f > 0 else -1)
        proof = certify_ghost(bounds, start, omega, float(abs(omega @ f)))
        if proof.kind == "ghost":
            assert distances(zeros, start).min() >= proof.empty_radius - 1e-9


@pytest.mark.parametrize("exponent", range(2, 16))
@pytest.mark.parametrize("side", [-1, 1])
def test_planted_folds_are_classified(exponent, side):
    m, n, b = rank_one_near_fold(exponent, 15, side * 10.0**-exponent)
    for points in (
        find_slow_points(LowRankRNN(m, n, b), n_starts=4),
        find_slow_points(full_rank(np.outer(m, n), b), n_starts=24),
    ):
        assert list(points.kind) == (["fixed"] * 3 if side < 0 else ["fixed", "ghost"])
        assert (points.certificate != "none").all()
        if exponent <= 10 and points.latent is not None:
            assert set(points.certificate) == {"interval"}
        if side > 0:
            overlap = (points.ghosts.left_vector * points.ghosts.slow_direction).sum()
            speed = 10.0**-exponent / np.linalg.norm(n)  # f = n . F, and F is along n at the ghost
            assert points.ghosts.speed[0] == pytest.approx(speed, rel=1e-6 + 1e-15 * 10.0**exponent)
            assert points.ghosts.r[0] == pytest.approx(speed / overlap, rel=1e-6 + 1e-15 * 10.0**exponent)
        else:
            assert list(points.n_unstable).count(1) == 1
            assert points.stable.sum() == 2


def test_a_fold_beyond_all_digits_is_undecided_not_wrong():
    # x' = -x + tanh(x) has a triple zero at 0: neither an isolated regular zero nor a ghost
    points = find_slow_points(full_rank(np.eye(1)), n_starts=4)
    # F(0) is 0 exactly, and nothing is claimed about its neighbourhood
    assert list(points.kind) == ["fixed"]
    assert (points.certificate[0], points.radius[0], points.position[0, 0]) == ("exact", 0.0, 0.0)
    assert np.isnan(points.unique_radius[0])
    assert points.reason[0].startswith("degenerate")


def test_the_lone_zero_of_a_weak_network_is_proven_alone_far_out():
    W, b = vanilla(0, 30, 0.3)
    proof = certify_fixed(FieldBounds(TanhField(None, W, b)), np.zeros(30))
    assert proof.kind == "fixed"
    assert proof.unique_radius > 0.3


def test_zero_free_radius_of_a_parabola():
    """``value + curve y**2 - tilt |y|`` has no zero exactly while tilt**2 < 4 curve value."""
    for tilt, free in ((1.9e-3, True), (2.1e-3, False)):
        bounds = Reduction(1e-6, tilt, 1.0, 1.0, 0.0, 0.0, 1e-3, 1.0, 0.0, 0.0, 0.0)
        radius = zero_free_radius(bounds)
        root = (tilt - np.sqrt(max(tilt**2 - 4e-6, 0))) / 2
        assert (radius > 100) if free else (radius <= root)
        assert free or radius > 0.9 * root


@given(
    seed=seeds, units=st.integers(2, 6), gain=st.sampled_from([0.7, 2.0]), reach=st.sampled_from([1e-3, 0.03, 0.3, 2.0])
)
def test_the_reduction_bounds_every_term_it_drops(seed, units, gain, reach):
    """``psi.F(x + h)`` beyond its linear part, and the rest of h, against values at random h; F
    holds no zero there.
    """
    W, b = vanilla(seed, units, gain, 0.5)
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, units)
    field = TanhField(None, W, b)
    f, J = field.flow(x[None])[0], field.jacobian(x[None])[0]
    left, _, right = np.linalg.svd(J)
    omega = left[:, -1] * np.sign(left[:, -1] @ f)
    here = FieldBounds(field).at(x)
    reduced = reduction(here, omega, here.f, here.e_f)
    if reduced is None:
        return
    bounds, C, q = reduced
    C1, v, psi = C[:units, :units], C[:units, -1], -C[-1, :units]
    directions = np.concatenate(
        [generator.normal(size=(200, units)), right[-1] + 0.1 * generator.normal(size=(50, units))]
    )
    for direction in directions:
        h = reach * generator.random() * direction / np.linalg.norm(direction)
        size, y = np.linalg.norm(h), q @ h
        beyond = field.flow((x + h)[None])[0] - f - J @ h
        z = h - y * v
        room = 1e-13 * (1 + np.abs(C).max()) ** 2
        least = bounds.curve * y**2 - abs(y) * bounds.cross * np.linalg.norm(z)
        least -= bounds.square * (z @ z) + bounds.cube * size**3
        assert psi @ beyond >= least - room
        assert np.linalg.norm(C1 @ (f + beyond)) <= bounds.rest0 + bounds.rest2 * size**2 + room
        assert psi @ f >= bounds.value - room


@pytest.mark.parametrize("gain", [1.5, 2.5])
def test_every_zero_found_is_a_zero_in_extended_precision(gain):
    W, b = vanilla(1, 12, gain, 0.1)
    points = find_slow_points(full_rank(W, b), n_starts=32).fixed
    assert len(points)
    with mpmath.workprec(PRECISION):
        matrix = mpmath.matrix(W.tolist())
        for x, radius in zip(points.position, points.radius, strict=True):
            y = mpmath.matrix(x.tolist())
            for _ in range(4):
                u = matrix * y + mpmath.matrix(b.tolist())
                t = u.apply(mpmath.tanh)
                J = mpmath.matrix([[(1 - t[i] ** 2) * matrix[i, j] - (i == j) for j in range(12)] for i in range(12)])
                y = y - mpmath.lu_solve(J, t - y)
            assert mpmath.norm(y - mpmath.matrix(x.tolist())) <= radius


def exact_defect(inverse, derivative, rows):
    """|1 - C D| (Frobenius) of float64 matrices, without rounding; for some rows of C."""
    with mpmath.workprec(PRECISION):
        product = mpmath.matrix(inverse.tolist()) * mpmath.matrix(derivative.tolist())
        for i, row in enumerate(rows):
            product[i, row] -= 1
        return float(mpmath.mnorm(product, "f"))


@pytest.mark.parametrize("spoil", [0.0, 1e-9, 1e-2])
@pytest.mark.parametrize("latents", [None, 3])
@pytest.mark.parametrize("s", [1e-8, 0.4])
def test_defects_are_bounded_whatever_the_inverse(monkeypatch, spoil, latents, s):
    """A bad inverse, or border, has the defect it has, block by block, and no more than rounding is
    added to it.
    """
    generator = np.random.default_rng(7)
    A = None if latents is None else generator.normal(size=(latents, 6))
    field = TanhField(A, generator.normal(size=(6, latents or 6)), generator.normal(size=6))
    metric = None if A is None else A @ A.T
    x, omega = generator.normal(size=(2, field.size))
    here = FieldBounds(field, metric).at(x)

    def spoiled(matrix):
        return matrix + spoil * np.abs(matrix).max() * generator.normal(size=matrix.shape)

    p = omega if metric is None else metric @ omega
    edge = border(here.J, p / np.linalg.norm(p))
    edge = slow_border(here, omega, edge._replace(K=spoiled(edge.K)))
    own = ghosts.inverse
    monkeypatch.setattr(ghosts, "inverse", lambda matrix: spoiled(own(matrix)))
    operator = ghost_operator(here, omega, s, edge)
    derivative = bordered_system(field, metric, x, omega, s)[1]
    inverse = np.column_stack([operator.C @ e for e in np.eye(len(derivative))])
    defect = exact_defect(inverse, derivative, range(len(derivative)))
    assert np.linalg.norm(inverse) * (1 - 1e-12) <= operator.inverse <= 20 * np.linalg.norm(inverse)
    # the blocks' defects are multiplied by norms
    assert defect <= operator.defect <= 1e4 * spoil + 1e-8
    value = generator.normal(size=len(derivative))
    assert np.linalg.norm(inverse @ value) <= operator.first_step(value, np.zeros(len(value)))
    assert np.linalg.norm(inverse @ value - operator.C @ value) <= operator.rounding * np.linalg.norm(value)

    bounds, C, q = reduction(here, omega, here.f, here.e_f, edge)
    p = omega if metric is None else metric @ omega
    whole = np.block([[here.J, -p[:, None] / np.linalg.norm(p)], [q[None], np.zeros((1, 1))]])
    rest = exact_defect(C[:-1], whole, range(field.size))
    tilt = exact_defect(C[-1:], whole, [field.size]) + abs(C[-1, -1]) * np.linalg.norm(q) * (1 - 1e-15)
    assert rest <= bounds.rest1 <= rest * (1 + 1e-6) + 1e-8
    assert tilt <= bounds.tilt <= tilt * (1 + 1e-6) + 1e-8
