"""Ghosts: their normal form, its gradient, and the time they take, against simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points.fields import TanhField
from ghostpoint.slow_points.find import find_slow_points
from ghostpoint.slow_points.ghosts import (
    bend_along,
    border,
    bordered_inverse,
    bordered_system,
    is_minimum,
    null_pair,
    right_null,
    solve_ghost,
)
from ghostpoint.slow_points.latents import flow_ghosts
from ghostpoint.slow_points.passages.sensitivity import normal_form_gradient
from ghostpoint.slow_points.search.descent import _Systems
from ghostpoint.slow_points.user_field import UserField
from tests.slow_points.networks import full_rank, planted, rank_one_near_fold, vanilla


def a_ghost(units=12, speed=None, passable=False):
    """A full-rank network with a ghost; of a given speed, or one that attracts in every other
    direction.
    """
    for seed in range(200):
        W, b = vanilla(seed, units, 1.6, 0.2)
        ghosts = find_slow_points(full_rank(W, b), n_starts=16, certify=False).ghosts
        for ghost in ghosts[ghosts.speed < 0.3]:
            if speed is not None:
                b, x, _ = planted(W, b, ghost.position[0], ghost.left_vector[0], ghost.speed[0], speed)
                near = find_slow_points(full_rank(W, b), states=x, noise=0.0, n_starts=2, certify=False).ghosts
                chosen = np.flatnonzero((np.abs(near.position - x) < 1e-6).all(axis=1))
                if not len(chosen):
                    continue
                ghost = near[chosen[0]]
            others = np.delete(ghost.eigenvalues[0], np.argmin(np.abs(ghost.eigenvalues[0])))
            if not passable or others.real.max() < -0.1:
                return W, b, ghost
    raise AssertionError("no network with such a ghost")


def test_definition_of_the_normal_form():
    W, b, ghost = a_ghost()
    x, v, w = ghost.position[0], ghost.slow_direction[0], ghost.left_vector[0]
    t = np.tanh(W @ x + b)
    F, J = t - x, (1 - t**2)[:, None] * W - np.eye(len(x))
    np.testing.assert_allclose(J.T @ F, 0, atol=1e-12)
    np.testing.assert_allclose(J @ v, 0, atol=1e-11)
    np.testing.assert_allclose(w * ghost.speed[0], F, atol=1e-12)
    assert ghost.r[0] == pytest.approx(np.linalg.norm(F) / (w @ v), rel=1e-9)
    second = np.tanh(W @ (x + 1e-4 * v) + b) + np.tanh(W @ (x - 1e-4 * v) + b) - 2 * t
    assert ghost.a[0] == pytest.approx(w @ second / 1e-8 / (2 * w @ v), rel=1e-5)
    assert ghost.escape_time[0] == pytest.approx(np.pi / np.sqrt(ghost.r[0] * ghost.a[0]))


@pytest.mark.parametrize(("other", "alone"), [(-1.0, True), (-0.11, True), (-0.05, False), (0.5, False)])
def test_a_slow_direction_is_alone_where_all_others_decay_faster(other, alone):
    def field(x):
        return np.stack([1e-3 + x[:, 0] ** 2, other * x[:, 1] + 1e-3 * x[:, 0] ** 2], axis=1)

    def jacobian(x):
        rows = np.zeros((len(x), 2, 2))
        rows[:, 0, 0], rows[:, 1, 0], rows[:, 1, 1] = 2 * x[:, 0], 2e-3 * x[:, 0], other
        return rows

    points = find_slow_points(UserField(field, jacobian, 2), states=np.full((1, 2), 0.01), certify=False)
    assert points.kind.tolist() == ["ghost"]
    assert points.slow_alone.tolist() == [alone]
    assert (repr(points).count("?") > 0) != alone
    assert points.to_dataset()["slow_alone"].values.tolist() == [alone]
    # 1 + alpha lambda is outside the unit circle at alpha = 30 for every one of them
    coarse = replace(points, tau=1.0, dt=30.0)
    assert not coarse.slow_alone.any()
    assert replace(points, tau=1.0, dt=0.1).slow_alone.tolist() == [alone]


def test_a_ghost_is_a_minimum_of_the_speed():
    W, b, ghost = a_ghost()
    near = ghost.position[0] + 1e-3 * np.random.default_rng(0).normal(size=(500, len(b)))
    assert np.linalg.norm(np.tanh(near @ W.T + b) - near, axis=1).min() > ghost.speed[0]


def test_latent_ghosts_are_those_of_the_state():
    m, n, b = rank_one_near_fold(0, 30, 1e-3)
    latent = find_slow_points(LowRankRNN(m, n, b), n_starts=8).ghosts
    state = find_slow_points(full_rank(np.outer(m, n), b), n_starts=32).ghosts
    complete = flow_ghosts(m, n, b)
    assert len(latent) == len(state) == complete.count[0] == 1
    assert latent.latent[0, 0] == pytest.approx(complete.position[0, 0], abs=1e-9)
    for name in ("position", "speed", "r", "a", "slow_direction", "left_vector"):
        np.testing.assert_allclose(getattr(latent, name), getattr(state, name), atol=1e-8, err_msg=name)
    np.testing.assert_allclose(latent.eigenvalues, state.eigenvalues, atol=1e-9)
    # the passage does not depend on coordinates: r a is that of the latent flow to leading order in
    # r
    assert latent.escape_time[0] == pytest.approx(complete.escape_time[0, 0], rel=1e-6)


@pytest.mark.parametrize("kind", ["full", "low"])
def test_gradient_against_refound_ghosts(kind):
    generator = np.random.default_rng(5)
    if kind == "full":
        W, b, ghost = a_ghost()
        model = full_rank(W, b)
    else:
        m, n, b = rank_one_near_fold(1, 12, 0.02)
        model = LowRankRNN(m, n, b)
        ghost = find_slow_points(model, n_starts=4).ghosts[0]
    gradient = normal_form_gradient(model, ghost)

    def refound(parts):
        changed = model.replace(**parts)
        found = find_slow_points(changed, states=ghost.position, noise=0.0, n_starts=2, certify=False).ghosts
        best = np.argmin(np.linalg.norm(found.position - ghost.position, axis=1))
        return found.r[best], found.a[best], found.escape_time[best]

    step = 1e-6
    for part, of_r in gradient.r.items():
        direction = generator.normal(size=of_r.shape) / np.sqrt(of_r.size)
        value = getattr(model, part)
        plus, minus = (np.array(refound({part: value + sign * step * direction})) for sign in (1, -1))
        expected = [float((one[part] * direction).sum()) for one in gradient]
        np.testing.assert_allclose((plus - minus) / (2 * step), expected, rtol=2e-5, atol=1e-7, err_msg=part)


@pytest.mark.parametrize("alpha", [0.1, 0.5])
@pytest.mark.parametrize("speed", [3e-3, 3e-5])
def test_passage_of_the_network_takes_the_steps_of_the_normal_form(speed, alpha):
    W, b, ghost = a_ghost(speed=speed, passable=True)
    x, v, w = ghost.position[0], ghost.slow_direction[0], ghost.left_vector[0]
    width = 4 * np.sqrt(ghost.r[0] / ghost.a[0])
    state, steps, entered, where = x - 2 * width * v, 0, None, -np.inf
    while where < width:
        before = where
        state = (1 - alpha) * state + alpha * np.tanh(W @ state + b)
        where = w @ (state - x) / (w @ v)
        steps += 1
        if entered is None and where >= -width:
            entered = steps - (where + width) / (where - before)
    left = steps - (where - width) / (where - before)
    found = find_slow_points(full_rank(W, b), states=x, noise=0.0, n_starts=2, certify=False, tau=10.0, dt=10 * alpha)
    steps_of_form = found.ghosts.passage_steps(-width, width)[0]
    assert left - entered > 50
    assert left - entered == pytest.approx(steps_of_form, rel=0.05)
    assert found.ghosts.passage_time(-width, width)[0] / alpha == pytest.approx(steps_of_form, rel=0.02)


def test_the_bordered_system_has_the_derivative_it_claims():
    W, b = vanilla(3, 5, 1.5, 0.3)
    generator = np.random.default_rng(0)
    A = generator.normal(size=(5, 7))
    for field, metric in ((TanhField(None, W, b), None), (TanhField(A, A.T, np.zeros(7)), A @ A.T)):
        x, omega, s = generator.normal(size=5), generator.normal(size=5), 0.7
        _, derivative = bordered_system(field, metric, x, omega, s)
        start = np.concatenate([x, omega, [s]])
        for column, e in enumerate(np.eye(11)):
            plus, minus = (
                bordered_system(field, metric, p[:5], p[5:10], p[10])[0] for p in (start + 1e-6 * e, start - 1e-6 * e)
            )
            np.testing.assert_allclose((plus - minus) / 2e-6, derivative[:, column], atol=1e-7)


@pytest.mark.parametrize("s", [0.0, 1e-9, 0.3, 3.0])
@pytest.mark.parametrize(("size", "units"), [(1, 1), (1, 9), (3, 10), (6, 6), (40, 40)])
def test_half_the_size_inverts_the_bordered_system(size, units, s):
    generator = np.random.default_rng(size + units)
    A = None if size == units else generator.normal(size=(size, units))
    metric = None if A is None else A @ A.T
    field = TanhField(A, 2 * generator.normal(size=(units, size)) / np.sqrt(units), generator.normal(size=units))
    x, omega = generator.normal(size=(2, size))
    _, derivative = bordered_system(field, metric, x, omega, s)
    J, H = derivative[:size, :size], derivative[size:-1, :size]
    factors = bordered_inverse(J, H, metric, omega if metric is None else metric @ omega, s)
    inverse = np.column_stack([factors @ e for e in np.eye(2 * size + 1)])
    np.testing.assert_allclose(inverse @ derivative, np.eye(2 * size + 1), atol=1e-9)
    np.testing.assert_allclose(inverse, np.linalg.inv(derivative), atol=1e-9 * np.abs(inverse).max())


def test_the_border_turns_to_the_slow_direction():
    W, b, ghost = a_ghost()
    x, w = ghost.position[0], ghost.left_vector[0]
    J = TanhField(None, W, b).jacobian(x[None])[0]
    K, q = border(J, w)
    full = np.block([[J, -w[:, None]], [q[None], np.zeros((1, 1))]])
    np.testing.assert_allclose(K @ full, np.eye(len(w) + 1), atol=1e-11)
    assert abs(q @ ghost.slow_direction[0]) == pytest.approx(1)


def test_right_null_vectors():
    generator = np.random.default_rng(1)
    left, _, right = np.linalg.svd(generator.normal(size=(6, 6)))
    J = left @ np.diag([3.0, 2.0, 1.0, 0.5, 0.1, 0.0]) @ right
    np.testing.assert_allclose(np.abs(right_null(J, left[:, -1]) @ right[-1]), 1, atol=1e-12)
    # left and right null vectors at a right angle, as where two slow points and their directions
    # meet
    v = right_null(np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(np.abs(v), [1, 0], atol=1e-12)


def test_minima_against_the_whole_hessian():
    kinds = []
    for seed in range(30):
        generator = np.random.default_rng(seed)
        A = generator.normal(size=(3, 8)) if seed % 2 else None
        W, b = vanilla(seed, 6, 1.8, 0.3)
        field = TanhField(A, generator.normal(size=(8, 3)), b[0] + np.zeros(8)) if seed % 2 else TanhField(None, W, b)
        metric = None if A is None else A @ A.T
        ghost = solve_ghost(field, metric, generator.uniform(-1, 1, field.size))
        if not ghost.settled or ghost.speed < 1e-3:
            continue
        value, derivative = bordered_system(field, metric, ghost.kappa, ghost.omega, ghost.speed)
        np.testing.assert_allclose(value, 0, atol=1e-12)
        J, H = derivative[: field.size, : field.size], derivative[field.size : -1, : field.size]
        hessian = J.T @ (J if metric is None else np.linalg.solve(metric, J)) + ghost.speed * H
        kinds.append(is_minimum(field, metric, ghost))
        bend = ghost.right @ H @ ghost.right
        assert bend_along(field, ghost.kappa, ghost.omega, ghost.right) == pytest.approx(bend)
        assert kinds[-1] == (np.linalg.eigvalsh((hessian + hessian.T) / 2)[0] > 0)
        assert abs(right_null(J, ghost.omega / np.linalg.norm(ghost.omega)) @ null_pair(J)[1]) == pytest.approx(1)
    assert {True, False} == set(kinds)


@pytest.mark.parametrize("units", [7, 12])  # by eigenvalues for all starts at once, and by Cholesky's factorisation
def test_systems_of_the_descent_are_those_of_the_energy(units):
    W, b = vanilla(2, units, 2.0, 0.2)
    field = TanhField(None, W, b)
    x = np.random.default_rng(0).normal(size=(3, units))
    f, J = field.flow(x), field.jacobian(x)
    systems = _Systems(field, 5)
    rows = np.array([4, 0, 2])
    systems.build(rows, x, f)
    plain = J.transpose(0, 2, 1) @ J
    np.testing.assert_allclose(systems.gradient[rows], np.einsum("bij,bi->bj", J, f), atol=1e-13)
    np.testing.assert_allclose(systems.whole[rows], plain + field.curvature(x, f), atol=1e-13)
    damping = np.array([20.0, 0.1, 20.0])
    steps, trusted = systems.steps(rows, damping)
    for k, row in enumerate(rows):
        shifted = systems.whole[row] + damping[k] * np.eye(units)
        assert trusted[k] == (np.linalg.eigvalsh(shifted)[0] > 0)
        system = shifted if trusted[k] else plain[k] + damping[k] * np.eye(units)
        np.testing.assert_allclose(system @ steps[k], -systems.gradient[row], atol=1e-12)
    assert {True, False} == set(trusted)
