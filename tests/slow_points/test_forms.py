"""Other equations, activations and fields of a user's own."""

from __future__ import annotations

import numpy as np
import pytest

from ghostpoint.models import GRU, FullRankRNN, LowRankRNN
from ghostpoint.slow_points import UserField, find_slow_points, flow_portrait

PHI = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
    "softplus": lambda z: np.logaddexp(0, z),
}


def network(units=12, gain=1.6, inputs=0):
    generator = np.random.default_rng(4)
    W = gain * generator.normal(size=(1, units, units)) / np.sqrt(units)
    w_in = generator.normal(size=(1, units, inputs)) if inputs else None
    return FullRankRNN(W, 0.3 * generator.normal(size=(1, units)), w_in=w_in)


@pytest.mark.parametrize("activation", PHI)
@pytest.mark.parametrize("equation", ["rate", "voltage"])
def test_fixed_points_solve_the_equation(equation, activation):
    gain = 0.8 if activation in ("relu", "softplus") else 1.6  # beyond 1 those have none
    model = network(gain=gain, inputs=2)
    u = np.array([0.5, -1.0])
    points = find_slow_points(model, inputs=u, equation=equation, activation=activation, n_starts=48)
    W, drive, phi = model.W[0], model.b[0] + model.w_in[0] @ u, PHI[activation]
    assert len(points.fixed)
    for x, eigenvalues in zip(points.fixed.position, points.fixed.eigenvalues, strict=True):
        right = phi(W @ x + drive) if equation == "rate" else W @ phi(x) + drive
        np.testing.assert_allclose(right, x, atol=1e-12)
        h = 1e-6
        flow = (lambda x: phi(W @ x + drive)) if equation == "rate" else (lambda x: W @ phi(x) + drive)
        J = np.stack([(flow(x + h * e) - flow(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=1) - np.eye(len(x))
        assert np.max(np.linalg.eigvals(J).real) == pytest.approx(eigenvalues[0].real, abs=1e-6)
    if activation in ("tanh", "sigmoid"):
        assert set(points.certificate) == {"float64"}
    elif activation == "relu":
        assert set(points.certificate) == {"linear region"}
    else:
        assert set(points.certificate) == {"none"}
        assert activation in points.reason[0]


def test_rate_and_voltage_have_the_same_fixed_points():
    model = network()
    rate, voltage = (find_slow_points(model, equation=equation) for equation in ("rate", "voltage"))
    assert len(rate.fixed) == len(voltage.fixed)
    for v in voltage.fixed.position:
        assert np.linalg.norm(rate.fixed.position - np.tanh(v), axis=1).min() < 1e-12


def test_a_low_rank_network_in_voltages():
    model = LowRankRNN(m=[1.0, 1.0], n=[1.0, 1.0], b=[0.1, 0.0])
    points = find_slow_points(model, equation="voltage")
    v = points.fixed.position
    np.testing.assert_allclose(np.tanh(v) @ np.ones((2, 2)) + [0.1, 0.0], v, atol=1e-12)
    assert len(v) == 3


@pytest.mark.parametrize(
    ("options", "message"), [({"equation": "x"}, "equation"), ({"activation": "gelu"}, "activation")]
)
def test_unknown_forms_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        find_slow_points(network(), **options)
    with pytest.raises(ValueError, match="left out for a GRU"):
        find_slow_points(GRU.initialize(3, [0]), activation="relu")


W = np.array([[1.2, -0.4], [0.7, 0.3]])


def test_a_users_map_of_one_state_without_derivative():
    points = find_slow_points(UserField(lambda x: np.tanh(W @ x), None, 2, kind="map"), states=np.ones((4, 2)))
    assert len(points.fixed) >= 1
    for x in points.fixed.position:
        np.testing.assert_allclose(np.tanh(W @ x), x, atol=1e-9)
    assert "by central differences" in points.reason[0]


def test_a_wrong_derivative_is_shown():
    def f(x):
        return np.tanh(x @ W.T) - x

    def derivative(x):
        return (1 - np.tanh(x @ W.T) ** 2)[:, :, None] * W - np.eye(2)

    states = np.ones((3, 2))
    assert len(find_slow_points(UserField(f, derivative, 2), states=states).fixed)
    with pytest.raises(ValueError, match="transposed"):
        find_slow_points(UserField(f, lambda x: derivative(x).transpose(0, 2, 1), 2), states=states)
    with pytest.raises(ValueError, match=r"derivative must hold .* i = 0, j = 0"):
        find_slow_points(UserField(f, lambda x: derivative(x) + np.diag([1.0, 0.0]), 2), states=states)
    with pytest.raises(ValueError, match="f must have shape"):
        find_slow_points(UserField(lambda x: x[..., :1], derivative, 2), states=states)
    with pytest.raises(ValueError, match="kind"):
        UserField(f, derivative, 2, kind="step")


def test_relu_networks_that_grow_without_bound():
    """Two units that excite themselves and inhibit each other: the larger one grows for ever."""
    model = FullRankRNN(np.array([[[2.2, -1.0], [-1.0, 2.2]]]), np.array([[-0.5, -0.6]]))
    points = find_slow_points(model, activation="relu")
    # four regions, each with one zero: none on, one on, the other on, both on
    assert len(points.fixed) == 4
    assert points.stable.sum() == 1
    assert "grow without bound" in points.fates
    portrait = flow_portrait(model, points, activation="relu", size=5, paths=4)
    assert np.isfinite(portrait["path"]).all()


@pytest.mark.parametrize("equation", ["rate", "voltage"])
def test_portraits_hold_the_points_of_their_equation(equation):
    model = network(inputs=2)
    u = [0.5, -1.0]
    points = find_slow_points(model, inputs=u, equation=equation, activation="sigmoid", n_starts=16)
    portrait = flow_portrait(model, points, inputs=u, equation=equation, activation="sigmoid", paths=3)
    # trajectories end at the stable point, in the same coordinates
    end = portrait["path"].values[:, -1]
    at = np.stack([portrait["x"].values, portrait["y"].values], axis=1)[points.stable]
    assert np.linalg.norm(end[:, None] - at, axis=2).min(axis=1).max() < 1e-3


def test_progress_is_told(caplog):
    with caplog.at_level("INFO", "ghostpoint.slow_points"):
        find_slow_points(network(), n_starts=8)
    assert "round 1" in caplog.messages[0]
    assert "proofs" in caplog.messages[-1]
