"""Slow points of modules over checkpoints: a fold of one unit at the bias where its closed form has
it.
"""

import copy

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from ghostpoint.torch import track_slow_points  # noqa: E402

W, OPEN = 2.5, 40.0  # the weight of the unit to itself; the bias of a gate that is open


class Step(nn.Module):
    """``x <- tanh(W x + b)``."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor([W])), nn.Parameter(torch.zeros(1))

    def forward(self, u, x):
        return torch.tanh(self.weight * x + self.bias)


def rnn():
    layer = nn.RNN(1, 1)
    filled(layer, [W], [0.0])
    return layer, layer.bias_ih_l0


def gru():
    """r = 1 and z = 1 / 2: at rest h = tanh(W h + b)."""
    layer = nn.GRU(1, 1)
    filled(layer, [0.0, 0.0, W], [OPEN, 0.0, 0.0])
    return layer, layer.bias_ih_l0


def lstm():
    """i = o = 1 and f = 0: at rest h = tanh(tanh(W h + b))."""
    layer = nn.LSTM(1, 1)
    filled(layer, [0.0, 0.0, W, 0.0], [OPEN, -OPEN, 0.0, OPEN])
    return layer, layer.bias_ih_l0


def filled(layer, weights, biases):
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.weight_hh_l0[:, 0] = torch.tensor(weights)
        layer.bias_ih_l0[:] = torch.tensor(biases)


def step():
    module = Step()
    return module, module.bias


MODULES = {"rnn": (rnn, 0, 1), "gru": (gru, 2, 1), "lstm": (lstm, 2, 2), "step": (step, 0, 1)}


def fold(twice):
    """The least bias with one fixed point: the largest b(h) on the lower branch of
    ``h = tanh(W h + b)``.
    """

    def b(h):
        return (np.arctanh(np.arctanh(h)) if twice else np.arctanh(h)) - W * h

    low = -np.tanh(1) + 1e-6 if twice else -1 + 1e-6
    return b(minimize_scalar(lambda h: -b(h), bounds=(low, 0), method="bounded", options={"xatol": 1e-12}).x)


def checkpoints(module, bias, index, values):
    found = []
    for value in values:
        with torch.no_grad():
            bias[index] = value
        found.append(copy.deepcopy(module.state_dict()))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_a_pair_dies_at_the_fold_and_leaves_its_ghost(name):
    make, index, kinds = MODULES[name]
    module, bias = make()
    at = fold(name == "lstm")
    taken = checkpoints(module, bias, index, [0.5 * at, 0.9 * at, 1.1 * at])
    before = copy.deepcopy(module.state_dict())
    calls = []

    def states(at_checkpoint):
        assert not at_checkpoint.training
        calls.append(at_checkpoint)
        return np.linspace(-1, 1, 9)[:, None].repeat(kinds, 1)

    module.train()
    tracks = track_slow_points(module, taken, states, [0, 10, 20], loss=[1.0, 0.9, 0.1])
    assert tracks.count("fixed").tolist() == [3, 3, 1]
    assert tracks.count("ghost").tolist() == [0, 0, 1]
    (event,) = tracks.events
    assert event.kind == "pair died"
    # the bias goes from 0.9 to 1.1 of the fold between epochs 10 and 20; weights are in float32
    assert event.epoch == pytest.approx(15.0, abs=1e-4)
    assert len(calls) == 3
    assert module.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    if name == "rnn":  # a single layer of tanh units has the library's proofs
        assert set(tracks.certificate) != {"none"}


def test_what_does_not_fit_is_named():
    module, bias = gru()
    taken = checkpoints(module, bias, 2, [0.0, 0.1])
    states = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="checkpoints must be two or more, got 1"):
        track_slow_points(module, taken[:1], states)
    with pytest.raises(ValueError, match=r"checkpoints\[1\] must fit the module"):
        track_slow_points(module, [taken[0], {"weight": torch.zeros(1)}], states)
    with pytest.raises(ValueError, match="epochs must ascend"):
        track_slow_points(module, taken, states, [3, 3])
    with pytest.raises(ValueError, match=r"module must be a torch\.nn\.Module, got function"):
        track_slow_points(lambda u, x: x, taken, states)
