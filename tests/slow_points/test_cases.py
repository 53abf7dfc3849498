"""Small networks that people bring, with the right answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import hadamard

from ghostpoint.models import FullRankRNN
from ghostpoint.slow_points import SlowPoints, find_slow_points
from ghostpoint.weights import read_weights
from tests.slow_points.networks import full_rank

CASES = Path(__file__).parent / "cases"


def found(name, **options):
    return find_slow_points(read_weights(CASES / f"{name}.npz"), tau=1.0, dt=1.0, **options)


@pytest.mark.parametrize(
    ("name", "fixed", "stable"), [("n3", 3, 0), ("n8", 13, 0), ("rnn", 27, 8), ("gru", 27, 8), ("lstm", 27, 8)]
)
def test_every_fixed_point_is_found(name, fixed, stable):
    points = found(name)
    assert len(points.fixed) == fixed
    assert points.stable_under_map.sum() == stable
    assert (points.fixed.speed < 1e-14).all()


@pytest.mark.parametrize("name", ["identity12", "one_eig1", "one_eig1_lowrank", "orthogonal12_f32"])
def test_the_zero_at_a_singular_jacobian_is_listed_once(name):
    points = found(name)
    assert list(points.kind) == ["fixed"]
    np.testing.assert_array_equal(points.position, 0)
    assert points.certificate[0] in ("exact", "float64")


@pytest.mark.parametrize("name", ["n3", "n8", "minus2"])
def test_without_a_stable_point_the_answer_is_a_proven_cycle(name):
    points = found(name)
    assert not points.stable_under_map.any()
    W = read_weights(CASES / f"{name}.npz").W[0]
    cycles = [c for c in points.cycles if c.kind == "map"]
    assert cycles
    for cycle in cycles:
        assert (cycle.period, cycle.proof, cycle.stable) == (2, "float64", True)
        x = cycle.states
        np.testing.assert_allclose(np.tanh(x @ W.T), x[::-1], atol=1e-12)
        assert np.linalg.norm(x[0] - x[1]) > 0.1
    assert "cycle of 2 steps" in points.fates
    assert points.fates in str(points)


def test_a_rotation_has_a_limit_cycle():
    points = found("rot15")
    assert len(points.fixed) == 1
    (cycle,) = [c for c in points.cycles if c.kind == "flow"]
    W = read_weights(CASES / "rot15.npz").W[0]
    x, h = cycle.states[0], cycle.period / 4000

    def flow(x):
        return np.tanh(W @ x) - x

    for _ in range(4000):  # the midpoint rule
        x = x + h * flow(x + h / 2 * flow(x))
    np.testing.assert_allclose(x, cycle.states[0], atol=1e-5)
    assert cycle.stable
    assert abs(cycle.multipliers[0] - 1) < 1e-4


def test_a_ring_is_one_object(tmp_path):
    points = found("ring64")
    assert len(points) == 1
    (ring,) = points.continua
    assert (ring.shape, ring.dimension) == ("ring", 1)
    W = read_weights(CASES / "ring64.npz")
    W = W.m[0] @ W.n[0].T
    radius = np.linalg.norm(ring.states, axis=1)
    assert ring.extent == pytest.approx(2 * radius.max(), rel=0.01)
    speed = np.linalg.norm(np.tanh(ring.states @ W.T) - ring.states, axis=1)
    assert ring.largest_drift == pytest.approx(speed.max())
    assert ring.drift < 1e-3
    back = SlowPoints.load(points.save(tmp_path / "ring.zarr.zip"))
    assert repr(back) == repr(points)
    np.testing.assert_array_equal(back.continua[0].states, ring.states)


@pytest.mark.parametrize("size", [0.02, 0.1])
def test_a_perturbed_ring_keeps_its_isolated_points(size):
    units = 40
    angle = 2 * np.pi * np.arange(units) / units
    W = 4 / units * np.cos(angle[:, None] - angle)
    W *= 1 + size * np.random.default_rng(3).normal(size=W.shape)
    points = find_slow_points(full_rank(W))
    (ring,) = points.continua
    assert ring.shape == "ring"
    assert ring.fixed_points >= 2
    assert ring.stable >= 1
    assert (points.kind != "undecided").all()
    assert ring.largest_drift < 0.5


def test_isolated_attractors_are_no_continuum():
    patterns = np.tile(hadamard(8)[1:4], 5)
    points = find_slow_points(full_rank(1.5 * patterns.T @ patterns / 40))
    assert points.continua == ()
    assert points.stable.sum() == 6


def test_the_attractors_of_a_uniform_network():
    points = find_slow_points(FullRankRNN(2 * np.ones((1, 100, 100)) / 100))
    assert points.stable.sum() == 2
    assert len(points.fixed) == 3
    x = np.sort(points.fixed.position[:, 0])
    np.testing.assert_allclose(np.tanh(2 * x), x, atol=1e-12)


def test_mirror_images_have_the_same_proofs():
    W = 2 * np.random.default_rng(5).normal(size=(30, 30)) / np.sqrt(30)
    points = find_slow_points(full_rank(W), n_starts=32)
    assert len(points.fixed) > 2
    for i in range(len(points)):
        j = int(np.linalg.norm(points.position + points.position[i], axis=1).argmin())
        np.testing.assert_array_equal(points.position[j], -points.position[i])
        assert (points.kind[j], points.certificate[j], points.radius[j]) == (
            points.kind[i], points.certificate[i], points.radius[i],
        )  # fmt: skip
        if points.kind[i] == "ghost":
            w, v = points.left_vector[j], points.slow_direction[j]
            F = np.tanh(points.position[j] @ W.T) - points.position[j]
            assert w @ F == pytest.approx(points.speed[j])
            assert w @ v > 0
