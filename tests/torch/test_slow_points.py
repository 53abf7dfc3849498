"""Slow points of PyTorch's layers: the equations are theirs, derivatives are right, and the module
is left alone.
"""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import ghostpoint as gp  # noqa: E402
from ghostpoint.torch import find_slow_points, to_module  # noqa: E402
from ghostpoint.torch.fields import field_of_layer, field_of_step  # noqa: E402

LAYERS = {
    "tanh": lambda: nn.RNN(2, 5),
    "relu": lambda: nn.RNN(2, 5, nonlinearity="relu"),
    "gru": lambda: nn.GRU(2, 5),
    "lstm": lambda: nn.LSTM(2, 5),
    "stacked gru": lambda: nn.GRU(2, 4, num_layers=2),
    "stacked lstm": lambda: nn.LSTM(2, 3, num_layers=2, bias=False),
    "cell": lambda: nn.LSTMCell(2, 5),
}


def made(name):
    torch.manual_seed(5)
    layer = LAYERS[name]()
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(2.0)
    return layer


def torch_step(layer, u, x, layout):
    """One step by PyTorch itself, in float64, of states (B, K)."""
    layer = copy.deepcopy(layer).double()
    parts = x.reshape(len(x), layout.layers, layout.kinds, layout.units).permute(2, 1, 0, 3).contiguous()
    u = u.expand(len(x), -1)
    with torch.no_grad():
        if isinstance(layer, nn.LSTMCell):
            h, c = layer(u, (parts[0, 0], parts[1, 0]))
            return torch.cat([h, c], 1)
        _, after = layer(u[None], tuple(parts) if layout.kinds == 2 else parts[0])
    after = torch.stack(after if layout.kinds == 2 else (after,))
    return after.permute(2, 1, 0, 3).reshape(len(x), -1)


@pytest.mark.parametrize("name", LAYERS)
def test_the_equations_are_pytorchs_and_the_derivatives_theirs(name):
    layer = made(name)
    u = torch.tensor([0.3, -0.7], dtype=torch.float64)
    field, layout = field_of_layer(layer, u)
    rng = np.random.default_rng(0)
    x, v, p = (rng.normal(size=(3, layout.size)) for _ in range(3))
    expected = torch_step(layer, u, torch.tensor(x), layout).numpy() - x
    np.testing.assert_allclose(field.flow(x), expected, atol=1e-14)
    h = 1e-6
    slope = (field.flow(x + h * v) - field.flow(x - h * v)) / (2 * h)
    np.testing.assert_allclose(np.einsum("bij,bj->bi", field.jacobian(x), v), slope, atol=1e-8)
    if name != "relu":  # whose second derivative is 0
        bend = np.einsum("bi,bij->bj", p, field.jacobian(x + h * v) - field.jacobian(x - h * v)) / (2 * h)
        np.testing.assert_allclose(np.einsum("bij,bj->bi", field.curvature(x, p), v), bend, atol=1e-7)


@pytest.mark.parametrize("name", LAYERS)
def test_points_are_fixed_points_of_the_module_itself_which_is_left_alone(name):
    layer = made(name).float().train()
    holder = nn.ModuleDict({"layer": layer, "readout": nn.Linear(5, 1)})
    layer.weight_hh.requires_grad_(False) if name == "cell" else layer.weight_hh_l0.requires_grad_(False)
    before = [(p.clone(), p.requires_grad, p.dtype, p.grad) for p in holder.parameters()]
    generator = torch.get_rng_state()
    u = torch.tensor([0.3, -0.7])
    _, layout = field_of_layer(layer, u)
    states = 0.5 * np.random.default_rng(1).normal(size=(20, layout.size))
    found = find_slow_points(holder, states, u, n_starts=16)
    fixed = torch.tensor(np.asarray(found.position)[np.asarray(found.speed) < 1e-9])
    assert len(fixed)
    moved = torch_step(layer, u.double(), fixed, layout)
    torch.testing.assert_close(moved, fixed, rtol=0, atol=1e-10)
    assert torch.equal(torch.get_rng_state(), generator)
    assert layer.training
    for (value, flag, dtype, gradient), p in zip(before, holder.parameters(), strict=True):
        assert torch.equal(value, p)
        assert (flag, dtype, gradient) == (p.requires_grad, p.dtype, p.grad)


def test_a_tanh_layer_gets_the_librarys_proofs():
    layer = made("tanh")
    found = find_slow_points(layer, torch.zeros(4, 5), torch.zeros(2), n_starts=32)
    own = gp.find_slow_points(gp.torch.from_module(layer), states=np.zeros((4, 5)), n_starts=32)
    np.testing.assert_array_equal(found.position, own.position)
    assert len(found)
    assert (found.certificate != "none").all()


def test_a_ghost_of_a_step_of_ones_own_is_where_it_is_and_as_high():
    # x <- x + r + x^2 in the first coordinate, a contraction in the second
    def step(u, x):
        assert u is None
        return torch.stack([x[:, 0] + 1e-3 + x[:, 0] ** 2, 0.5 * x[:, 1]], 1)

    states = np.random.default_rng(0).normal(size=(10, 2)) * 0.2
    found = find_slow_points(step, states, n_starts=10)
    assert len(found.position) == 1
    np.testing.assert_allclose(found.position[0], 0, atol=1e-7)
    assert float(found.speed[0]) == pytest.approx(1e-3, rel=1e-9)
    field = field_of_step(step, states, None)
    bend = field.curvature(np.zeros((1, 2)), np.array([[1.0, 0.0]]))[0]
    np.testing.assert_allclose(bend, [[2, 0], [0, 0]], atol=1e-12)


def test_a_module_that_is_a_step_is_copied():
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(3, 3)
            self.drop = nn.Dropout(0.5)

        def forward(self, u, x):
            return torch.tanh(self.drop(self.cell(x)) + u)

    torch.manual_seed(0)
    module = Step()
    found = find_slow_points(module, torch.zeros(3, 3), torch.ones(3), n_starts=8)
    x = torch.tensor(np.asarray(found.position), dtype=torch.float32)
    torch.testing.assert_close(module.eval()(torch.ones(3), x), x, atol=1e-5, rtol=0)
    assert module.cell.weight.dtype == torch.float32
    assert module.cell.weight.requires_grad


def test_the_librarys_own_networks_and_states_in_pytorchs_shapes():
    record = gp.FullRankRNN.initialize(6, [1])
    found = find_slow_points(to_module(record, alpha=0.5), np.zeros((2, 6)), n_starts=16)
    own = gp.find_slow_points(record, states=np.zeros((2, 6)), n_starts=16)
    np.testing.assert_allclose(found.position, own.position, atol=1e-6)
    layer = made("stacked lstm")
    _, layout = field_of_layer(layer, None)
    h, c = torch.arange(6.0).reshape(2, 1, 3), 10 + torch.arange(6.0).reshape(2, 1, 3)
    np.testing.assert_array_equal(layout.flat((h, c)), [[0, 1, 2, 10, 11, 12, 3, 4, 5, 13, 14, 15]])


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="one direction"):
        find_slow_points(nn.GRU(2, 3, bidirectional=True), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="no projection, got proj_size=2"):
        find_slow_points(nn.LSTM(2, 3, proj_size=2), np.zeros((1, 6)))
    with pytest.raises(ValueError, match=r"states must have shape \(..., 6\), or \(h, c\) of \(..., 3\), got \(1, 4\)"):
        find_slow_points(nn.LSTM(2, 3), np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"inputs must have shape \(2,\), got \(3,\)"):
        find_slow_points(nn.GRU(2, 3), np.zeros((1, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="got GRU, GRU: give a callable"):
        find_slow_points(nn.ModuleList([nn.GRU(2, 3), nn.GRU(2, 3)]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="step must give states of shape"):
        find_slow_points(lambda u, x: x[:, :1], np.zeros((1, 3)))
    with pytest.raises(ValueError, match="module_or_step must be"):
        find_slow_points(3, np.zeros((1, 3)))
