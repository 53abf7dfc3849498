"""Proofs for latents of any size: what is proven in units of near unit length holds in the given
ones.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.slow_points.fields import TanhField
from ghostpoint.slow_points.ghosts import solve_ghost
from ghostpoint.slow_points.latents import latent_ghosts, latent_zeros
from ghostpoint.slow_points.proofs import CERTIFIERS, Certificate
from ghostpoint.slow_points.proofs.balanced import Units
from tests.slow_points.latents.test_ghost_definition import low_rank, random_weights

UNDECIDED = Certificate("undecided")


def in_other_units(seed, rank, sizes):
    """The field of a network whose latents are multiplied by ``sizes``, its metric, and all of its
    fixed points and ghosts in these latents."""
    m, n, b = random_weights(seed, rank)
    sizes = np.resize(sizes, rank)
    A, B = (n * sizes).T, m / sizes
    zeros, ghosts = latent_zeros(low_rank(m, n, b)), latent_ghosts(low_rank(m, n, b))
    field = TanhField(np.ascontiguousarray(A), np.ascontiguousarray(B), b)
    return field, A @ A.T, zeros.position * sizes, ghosts.position * sizes


@settings(max_examples=40)
@given(
    seed=st.integers(0, 14),
    rank=st.integers(2, 3),
    exponents=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    name=st.sampled_from(["float64", "256 bits"]),
)
def test_what_is_proven_is_true_in_the_latents_as_given(seed, rank, exponents, name):
    field, metric, zeros, ghosts = in_other_units(seed, rank, 10.0 ** np.array(exponents))
    certifier = CERTIFIERS[name](field, metric)
    for place in zeros:
        (proven,) = certifier.prove(place, None, UNDECIDED)
        if proven.certificate.kind == "fixed":
            away = np.linalg.norm(zeros - proven.kappa, axis=1)
            assert (away <= proven.certificate.radius + 1e-7 * np.abs(place).max()).sum() == 1
            assert (away <= proven.certificate.unique_radius).sum() == 1
    for place in ghosts:
        solution = solve_ghost(field, metric, place)
        if not solution.settled:
            continue
        (proven,) = certifier.prove(place, solution, UNDECIDED)
        if proven.certificate.kind == "ghost":
            assert (
                len(zeros) == 0 or np.linalg.norm(zeros - proven.kappa, axis=1).min() > proven.certificate.empty_radius
            )
            pulled = field.A.T @ proven.ghost.omega
            assert np.linalg.norm(pulled) == pytest.approx(1, rel=1e-6)
            assert field.flow(proven.kappa[None])[0] @ proven.ghost.omega > 0


@pytest.mark.parametrize("size", [1e-3, 0.03, 30.0, 1e3])
def test_fixed_points_and_ghosts_are_proven_in_any_unit(size):
    for seed in range(5):
        field, metric, zeros, ghosts = in_other_units(seed, 2, np.array([size, size]))
        certifier = CERTIFIERS["float64"](field, metric)
        for place in zeros:
            assert certifier.prove(place, None, UNDECIDED)[0].certificate.kind == "fixed"
        for place in ghosts:
            solution = solve_ghost(field, metric, place)
            assert certifier.prove(place, solution, UNDECIDED)[0].certificate.kind == "ghost"


def test_units_are_powers_of_two_and_left_alone_where_numbers_would_round():
    m, n, b = random_weights(0, 2)
    units = Units(TanhField(n.T * 0.01, m * 100, b), None)
    assert units.other
    assert set(np.frexp(units.scale)[0]) == {0.5}
    lengths = np.linalg.norm(units.scaled.A, axis=1)
    assert ((lengths > 0.7) & (lengths < 1.42)).all()
    np.testing.assert_array_equal(units.scaled.A / units.scale[:, None], n.T * 0.01)
    assert not Units(TanhField(n.T * 1e-295, m, b), None).other
    A, B = np.diag([1e-150, 1.0]), np.diag([1e-200, 2.0])
    assert not Units(TanhField(A, B, np.zeros(2)), A @ A.T).other  # B would vanish
    assert not Units(TanhField(None, m[:2], b[:2]), None).other
