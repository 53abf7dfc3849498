"""What a module does beside its recurrent layer is seen in a trial, and said: between steps, to its
inputs, in hooks, under names that do not tell.
"""

from __future__ import annotations

import copy
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import ghostpoint as gp
from ghostpoint.torch import find_slow_points, from_module, to_module, track_slow_points

STATES = np.random.default_rng(0).normal(size=(8, 3))


def said_of(module, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        find_slow_points(module, STATES, [0.5, 0.1, 0.0], n_starts=4, certify=False, **options)
    return [str(one.message) for one in caught]


class Stepped(nn.Module):
    """A layer that is called step by step."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.between = nn.GRU(3, 3, batch_first=True), between

    def forward(self, x):
        h, found = None, []
        for u in x.split(1, 1):
            out, h = self.layer(u, h)
            h = self.between(h)
            found.append(out)
        return torch.cat(found, 1)


class Encoded(nn.Module):
    def __init__(self, encoder, kind=nn.GRU):
        super().__init__()
        torch.manual_seed(0)
        self.layer = kind(3, 3, batch_first=True)
        self.encoder = encoder  # after the layer
        self.scale = nn.Parameter(torch.tensor(1.0)) if encoder is None else None

    def forward(self, x):
        return self.layer(x * (2 * self.scale) if self.encoder is None else self.encoder(x))[0]


def test_what_is_done_between_steps_is_said_and_nothing_else():
    assert said_of(Stepped(nn.Identity())) == []
    assert said_of(Stepped(nn.Dropout(0.5))) == []  # evaluation mode
    halved = Stepped(nn.Identity())
    halved.between.forward = lambda h: 0.5 * h
    (message,) = said_of(halved)
    assert "between two steps" in message


class Cells(nn.Module):
    """A cell in a loop over the first or second axis, or a layer that is called without a batch."""

    def __init__(self, axis, factor=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.axis, self.factor = axis, factor
        self.cell = nn.GRU(3, 3) if axis is None else nn.GRUCell(3, 3)

    def forward(self, x):
        if self.axis is None:
            h, found = torch.zeros(1, 3), []
            for u in x.reshape(-1, 3):
                out, h = self.cell(u[None], h)
                found.append(out)
            return torch.cat(found)
        h, found = x.new_zeros(x.shape[1 - self.axis], 3), []
        for u in x.unbind(self.axis):
            h = self.factor * self.cell(u, h)
            found.append(h)
        return torch.stack(found, self.axis)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_loops_over_either_axis_and_without_a_batch_are_seen(axis):
    assert said_of(Cells(axis)) == []
    if axis is not None:
        (message,) = said_of(Cells(axis, 0.5))
        assert "between two steps" in message


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_what_is_made_of_the_inputs_is_said(kind):
    states = np.random.default_rng(0).normal(size=(4, 6 if kind is nn.LSTM else 3))

    def said(module):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            find_slow_points(module, states, [0.5, 0.1, 0.0], n_starts=4, certify=False)
        return [str(one.message) for one in caught]

    assert said(Encoded(nn.Identity(), kind)) == []
    for encoder in (nn.Linear(3, 3), nn.Tanh(), None):
        (message,) = said(Encoded(encoder, kind))
        assert "inputs are what the layer takes" in message


def test_hooks_that_may_change_answers_are_said():
    cell = nn.GRUCell(3, 3)
    assert said_of(cell) == []
    cell.register_forward_hook(lambda *given: 0.5 * given[2])
    assert "without forward hooks" in said_of(cell)[0]
    with pytest.warns(UserWarning, match="without forward hooks"):
        track_slow_points(cell, [copy.deepcopy(cell.state_dict()) for _ in range(2)], STATES, inputs=np.zeros(3))
    around = nn.Sequential(nn.GRU(3, 3), nn.Linear(3, 1))
    around[1].register_forward_hook(lambda *given: None)  # does not move the state
    assert said_of(around) == []
    layer = nn.GRU(2, 3)
    layer.register_forward_hook(lambda *given: None)
    with pytest.warns(UserWarning, match="without forward hooks, which the module itself has"):
        from_module(layer)


def stepping(names):
    """A leaky module whose forward has arguments of these names, the state's marked by a star."""
    first, second = (name.removesuffix("*") for name in names)
    state, given = (first, second) if names[0].endswith("*") else (second, first)
    space: dict = {"torch": torch, "nn": nn}
    exec(
        "class Leaky(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        torch.manual_seed(3)\n"
        "        self.w, self.u = nn.Linear(3, 3), nn.Linear(3, 3)\n"
        f"    def forward(self, {first}, {second}):\n"
        f"        return 0.8 * {state} + 0.2 * torch.tanh(self.w({state}) + self.u({given}))\n",
        space,
    )
    return space["Leaky"]()


@pytest.mark.parametrize(
    "names",
    [("x", "h*"), ("h*", "x"), ("r*", "u"), ("h_t*", "x_t"), ("u", "prev_state*"), ("h_old*", "inp"), ("x", "rates*")],
)
def test_names_tell_which_argument_is_the_state(names):
    module = stepping(names)
    u = torch.tensor([0.5, 0.1, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_slow_points(module, STATES, u, n_starts=8, certify=False)
    x = torch.tensor(found.fixed.position)
    rows = u.double().expand(len(x), -1)
    module = module.double()
    with torch.no_grad():
        moved = module(x, rows) if names[0].endswith("*") else module(rows, x)
    np.testing.assert_allclose(moved, x, atol=1e-10)
    scripted = torch.jit.trace(module.float(), (torch.zeros(2, 3), torch.zeros(2, 3)))
    again = find_slow_points(scripted, STATES, u, n_starts=8, certify=False)
    np.testing.assert_allclose(again.fixed.position, found.fixed.position, atol=1e-6)


def test_names_that_do_not_tell_are_said():
    for u in ([0.5, 0.1, 0.0], np.zeros(3), torch.zeros(3)):
        with pytest.warns(UserWarning, match="names of its arguments do not tell"):
            find_slow_points(stepping(("y", "z*")), STATES, u, n_starts=4, certify=False)


def test_steps_that_write_into_their_state():
    W = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def step(u, h):
        h *= 0.9
        h += 0.1 * torch.tanh(h @ W + 0.3)
        return h

    found = find_slow_points(step, STATES, None, n_starts=8)
    x = torch.tensor(found.fixed.position)
    np.testing.assert_allclose(step(None, x.clone()), x, atol=1e-10)
    for wrong in (torch.no_grad()(step), lambda u, h: torch.tanh(h.detach() @ W), lambda u, h: h.data.mul_(0.5)):
        with pytest.raises(ValueError, match="no_grad"):
            find_slow_points(wrong, STATES, None, n_starts=4)
    with pytest.raises(ValueError, match="is it random"):
        find_slow_points(lambda u, h: torch.tanh(h @ W) + torch.randn_like(h), STATES, None)


def test_scripted_modules_are_not_tracked():
    module = torch.jit.trace(stepping(("x", "h*")), (torch.zeros(2, 3), torch.zeros(2, 3)))
    with pytest.raises(ValueError, match=r"before torch\.jit"):
        track_slow_points(module, [module.state_dict(), module.state_dict()], STATES)


class Answers(nn.Module):
    def __init__(self, answer):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.last = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 1)
        self.answer = answer

    def forward(self, x):
        return self.answer(self.last(self.layer(x)[0]))


class Batches(Answers):
    def forward(self, batch):
        return self.last(torch.relu(self.layer(batch["x"])[0]))


class TwoAnswers(nn.Module):
    """Answers by a head that no record has, beside its states."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.GRU(2, 4, batch_first=True), nn.Conv1d(4, 1, 1)

    def forward(self, x):
        states = self.layer(x)[0]
        return self.last(states.transpose(1, 2)), states


def test_what_a_module_takes_of_its_readout_is_kept():
    for answer, name in ((torch.sigmoid, "sigmoid"), (torch.tanh, "tanh"), (lambda y: y, "identity")):
        assert from_module(Answers(answer)).activation == name
    assert from_module(Answers(lambda y: y), activation="sigmoid").activation == "sigmoid"
    for size in (0.0, 1e-4):  # the trial does not tell the logits from their tanh
        module = Answers(lambda y: y)
        with torch.no_grad():
            module.last.weight.mul_(size)
            module.last.bias.mul_(size)
        assert from_module(module).activation == "identity"
        assert from_module(module, activation="sigmoid").activation == "sigmoid"
    with pytest.raises(ValueError, match="activation must be sigmoid"):
        from_module(Answers(torch.sigmoid), activation="tanh")


def test_modules_that_cannot_be_tried_or_do_more_are_no_records_in_silence():
    with pytest.warns(UserWarning, match="cannot be called with inputs"):
        from_module(Batches(torch.sigmoid))
    with pytest.raises(ValueError, match=r"got also last \(Conv1d\)"):
        from_module(TwoAnswers())


def test_states_and_noise_of_other_shapes_are_named():
    network = to_module(gp.GRU.initialize(4, [0], n_inputs=2))
    x = torch.zeros(3, 5, 2)
    for options, message in (
        ({"state": torch.zeros(3, 4)}, r"state must have shape \(3, 1, 4\)"),
        ({"noise": torch.zeros(3, 5, 1, 4)}, r"noise must have shape \(5, 3, 1, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            network(x, **options)
    with pytest.raises(ValueError, match="a step at least"):
        network(x[:, :0])


@pytest.mark.parametrize("seed", range(12))
def test_fixed_points_of_a_gru_are_inside_its_bounds(seed):
    # h = (1 - z) n + z h with |n| < 1: beyond 1 a shut gate makes |F| vanish, and no fixed point
    rng = np.random.default_rng(seed)
    layer = nn.GRU(1, 1).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.tensor(rng.normal(size=p.shape) * 2.2))
    found = find_slow_points(layer, np.linspace(-1, 1, 40)[:, None], [0.5], certify=False)
    assert (np.abs(found.fixed.position) < 1).all()


class Dale(nn.Module):
    """Signs that are a tensor and no buffer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.w, self.sign = nn.Linear(3, 3), torch.diag(torch.tensor([1.0, 1.0, -1.0]))

    def forward(self, x, h):
        return 0.5 * h + 0.5 * torch.relu(self.w(x) + h @ (self.w.weight.abs() @ self.sign))


def test_tensors_that_are_no_buffers_are_copied_too():
    module = Dale()
    found = find_slow_points(module, STATES, [0.1, 0.0, 0.0], n_starts=8, certify=False)
    assert len(found)
    assert module.sign.dtype == torch.float32
    x = torch.tensor(found.fixed.position).float()
    with torch.no_grad():
        moved = module(torch.tensor([0.1, 0.0, 0.0]).expand(len(x), -1), x)
    np.testing.assert_allclose(moved, x, atol=1e-5)


def test_compiled_functions_and_pairs_of_arrays_are_taken():
    W = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = find_slow_points(lambda u, x: torch.tanh(x @ W), STATES, None, n_starts=8)
    compiled = find_slow_points(torch.compile(lambda u, x: torch.tanh(x @ W)), STATES, None, n_starts=8)
    np.testing.assert_array_equal(plain.position, compiled.position)
    layer, states = nn.LSTM(3, 3), np.random.default_rng(0).normal(size=(2, 4, 3))
    given = [find_slow_points(layer, one, np.zeros(3), n_starts=4) for one in (list(states), tuple(states))]
    np.testing.assert_array_equal(given[0].position, given[1].position)


class Locked(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.lock = nn.Linear(3, 3), threading.Lock()

    def forward(self, x, h):
        return torch.tanh(self.w(h) + x)


def test_what_cannot_be_taken_is_named():
    for module, options, message in (
        (Locked(), {"inputs": np.zeros(3)}, "copy.deepcopy can copy"),
        (nn.GRU(3, 3), {"inputs": "ab"}, r"inputs must be numbers of shape \(I,\), got 'ab'"),
        (Dale(), {}, "no inputs were given"),
    ):
        with pytest.raises(ValueError, match=message):
            find_slow_points(module, STATES, **options)
