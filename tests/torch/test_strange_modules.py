"""Modules as people have them: steps of their own, wrappers, reparametrised weights, and more
around the layer than a record has.
"""

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

import ghostpoint as gp  # noqa: E402
from ghostpoint.torch import TaskBatches, find_slow_points, from_module, to_module, track_slow_points  # noqa: E402


class Step(nn.Module):
    """A step that does more than its cell."""

    def __init__(self):
        super().__init__()
        self.cell, self.mix = nn.GRUCell(2, 4), nn.Linear(4, 4)

    def forward(self, u, x):
        return torch.tanh(self.mix(self.cell(u, x)))


class Leaky(nn.RNNCell):
    def forward(self, u, x=None):
        return 0.8 * x + 0.2 * super().forward(u, x)


class LeakyLSTM(nn.LSTMCell):
    def forward(self, u, x=None):
        h, c = super().forward(u, x)
        return 0.8 * x[0] + 0.2 * h, c


class Around(nn.Module):
    """Something before a layer and something behind it."""

    def __init__(self, first, layer, last):
        super().__init__()
        self.first, self.layer, self.last = first, layer, last

    def forward(self, x):
        return self.last(self.layer(self.first(x))[0])


class Loop(nn.Module):
    """A cell in a loop, and packed lengths that are not a state."""

    def __init__(self):
        super().__init__()
        self.cell, self.last = nn.GRUCell(2, 4), nn.Linear(4, 1)

    def forward(self, x):
        h, answers = x.new_zeros(len(x), 4), []
        for u in x.unbind(1):
            h = self.cell(u, h)
            answers.append(self.last(h))
        return torch.stack(answers, 1)


class Lengths(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x, lengths):
        return self.last(self.layer(x)[0][torch.arange(len(x)), lengths - 1])


def seeded(make, *arguments):
    torch.manual_seed(3)
    return make(*arguments)


def of_step(module, position):
    """One step of states (P, K) by the module itself, in float64."""
    x = torch.tensor(position)
    u = torch.zeros(len(x), 2, dtype=torch.float64)
    with torch.no_grad():
        if isinstance(module, nn.LSTMCell):
            return torch.cat(copy.deepcopy(module).double()(u, x.chunk(2, 1)), 1).numpy()
        return copy.deepcopy(module).double()(u, x).numpy()


@pytest.mark.parametrize(
    "wrap", [lambda m: m, nn.DataParallel, torch.compile], ids=["bare", "DataParallel", "compiled"]
)
@pytest.mark.parametrize("make", [Step, lambda: Leaky(2, 4), lambda: LeakyLSTM(2, 4)], ids=["step", "leaky", "lstm"])
def test_a_module_that_is_a_step_is_called_whatever_cell_it_holds(make, wrap):
    module = seeded(make)
    size = 8 if isinstance(module, nn.LSTMCell) else 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)  # of torch.compile itself
        points = find_slow_points(wrap(module), np.zeros((3, size)), [0.0, 0.0], n_starts=16)
    assert len(points.fixed)
    np.testing.assert_allclose(of_step(module, points.fixed.position), points.fixed.position, atol=1e-12)
    x = torch.tensor(points.fixed.position[:1], requires_grad=True)
    double = copy.deepcopy(module).double()
    u = torch.zeros(1, 2, dtype=torch.float64)

    def step(x):
        if size == 8:
            return torch.cat(double(u, x.chunk(2, 1)), 1)
        return double(u, x)

    jacobian = torch.autograd.functional.jacobian(step, x)[0, :, 0].numpy()
    expected = np.sort_complex(np.linalg.eigvals(jacobian))
    np.testing.assert_allclose(np.sort_complex(points.fixed.map_eigenvalues[0]), expected, atol=1e-9)


def test_a_scripted_step_is_called():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch deprecates it
        scripted = torch.jit.script(seeded(Step))
    points = find_slow_points(scripted, np.zeros((3, 4)), [0.0, 0.0], n_starts=16)
    np.testing.assert_allclose(of_step(seeded(Step), points.position), points.position, atol=1e-12)


def test_what_is_not_looked_at_around_a_layer_is_said_once():
    silent = [
        seeded(nn.GRU, 2, 4),
        seeded(Lengths),
        Around(nn.Identity(), nn.GRU(2, 4), nn.Linear(4, 1)),
        nn.ModuleList([nn.GRUCell(2, 4), nn.Linear(4, 1)]),
        seeded(Loop),
    ]
    said = [
        (Around(nn.Linear(2, 2), nn.GRU(2, 4), nn.Linear(4, 1)), r"behind first \(Linear\)"),
        (nn.Sequential(nn.Embedding(7, 2), nn.GRU(2, 4)), r"behind 0 \(Embedding\)"),
    ]
    for module, message in [*((one, None) for one in silent), *said]:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            find_slow_points(module, torch.zeros(2, 4), n_starts=4)
        assert len(found) == (message is not None), (module, [str(one.message) for one in found])
        if message:
            with pytest.warns(UserWarning, match=message):
                find_slow_points(module, torch.zeros(2, 4), n_starts=4)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_module_is_taken_as_a_record_only_where_it_answers_as_one(kind, batch_first):
    layer = seeded(lambda: kind(2, 4, batch_first=batch_first))
    for last in (nn.Linear(4, 1), nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())):
        record = from_module(Around(nn.Identity(), layer, last))
        assert (record.n_inputs, record.n_outputs) == (2, 1)
    for first, last, message in [
        (nn.Identity(), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), r"got also last.2 \(Linear\)"),
        (nn.Identity(), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1)), "differs by"),
        (nn.Identity(), nn.Sequential(nn.ReLU(), nn.Linear(4, 1)), "differs by"),
        (nn.Identity(), nn.Sequential(nn.Linear(4, 1), nn.Softplus()), "differs by"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(4, 1), "differs by"),
        (nn.Linear(4, 2), nn.Identity(), r"got also first \(Linear\)"),
        (nn.Identity(), nn.LazyLinear(1), r"got also last \(LazyLinear\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_module(Around(first, layer, last))
    # layer and readout alone are taken out of anything
    readout = nn.Linear(4, 3)
    assert from_module(nn.ModuleList([layer, readout])).n_outputs == 3


def test_cells_with_a_loop_or_a_forward_of_their_own():
    record = from_module(seeded(Loop), activation="tanh", initial_state=torch.ones(4, requires_grad=True))
    np.testing.assert_array_equal(record.initial_state, np.ones((1, 4)))
    for module, message in [(Leaky(2, 4), "Leaky with a forward of its own"), ("x", "must be a torch.nn.Module")]:
        with pytest.raises(ValueError, match=message):
            from_module(module)
    for state in (np.ones(3), np.ones((1, 4)), [np.nan] * 4):
        with pytest.raises(ValueError, match="initial_state"):
            from_module(nn.GRU(2, 4), initial_state=state)
    own = to_module(gp.GRU.initialize(4, [0], n_inputs=2))
    for name, value in (("activation", "tanh"), ("initial_state", 1.0)):
        with pytest.raises(ValueError, match=f"{name} must be left out"):
            from_module(own, **{name: value})
    assert from_module(nn.DataParallel(own)).n_units == from_module(torch.compile(own)).n_units == 4


def halved(layer):
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    return layer.weight_hh_l0_orig


def normed(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch deprecates it
        torch.nn.utils.weight_norm(layer, "weight_hh_l0")
    return layer.weight_hh_l0_g


def parametrized(layer):
    parametrizations.weight_norm(layer, "weight_hh_l0")
    return layer.parametrizations.weight_hh_l0.original0


@pytest.mark.parametrize("remake", [halved, normed, parametrized])
@pytest.mark.parametrize("make", [lambda: nn.GRU(2, 4), lambda: nn.RNN(2, 4, nonlinearity="relu")])
def test_weights_that_are_made_of_others_are_those_of_the_checkpoint(remake, make):
    layer = seeded(make)
    original = remake(layer)
    layer(torch.zeros(2, 1, 2))  # keeps a weight with a graph
    kept = [copy.deepcopy(layer.state_dict())]
    original.data.mul_(0.2)
    kept.append(copy.deepcopy(layer.state_dict()))
    states = np.full((2, 4), 0.1)
    tracked = track_slow_points(layer, {10: kept[0], 30: kept[1]}, states, n_starts=8)
    assert list(tracked.epochs) == [10, 30]
    for epoch, checkpoint in zip((10, 30), kept, strict=True):
        layer.load_state_dict(checkpoint)
        position = tracked.position[(tracked.epoch == epoch) & (tracked.kind == "fixed")]
        with torch.no_grad():
            layer(torch.zeros(2, 1, 2))
            x = torch.tensor(position[:1])
            plain = make().double()
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
                getattr(plain, name).copy_(getattr(layer, name))
            moved = plain(torch.zeros(1, 1, 2).double(), x[None])[0]
        np.testing.assert_allclose(moved[0], x, atol=1e-12)
    if isinstance(layer, nn.GRU):  # before any other forward pass
        original.data.mul_(2.0)
        record = from_module(layer)
        layer(torch.zeros(2, 1, 2))
        np.testing.assert_array_equal(record.w_rec[0], layer.weight_hh_l0.detach().double().numpy())


def test_a_weight_is_read_without_moving_what_makes_it():
    layer = parametrizations.spectral_norm(nn.GRU(2, 4), "weight_hh_l0").train()
    before = copy.deepcopy(layer.state_dict())
    from_module(nn.ModuleList([layer, nn.Linear(4, 1)]))
    find_slow_points(layer, torch.zeros(2, 4), n_starts=4)
    stacked = parametrizations.spectral_norm(nn.GRU(2, 4, 2), "weight_hh_l0").train()
    at_first = copy.deepcopy(stacked.state_dict())
    find_slow_points(stacked, torch.zeros(2, 8), n_starts=4)
    for one, kept in ((layer, before), (stacked, at_first)):
        assert all(torch.equal(value, kept[name]) for name, value in one.state_dict().items())


def test_a_shut_gate_is_no_fixed_point_in_stacked_layers_either():
    layer = seeded(lambda: nn.GRU(2, 3, 2)).double()
    with torch.no_grad():
        for name in ("bias_ih_l0", "bias_ih_l1"):
            getattr(layer, name)[3:6] += 45.0
    states = 2 * np.random.default_rng(0).normal(size=(5, 6))
    assert len(find_slow_points(layer, states, n_starts=16).fixed) == 0


MATRIX = torch.eye(3, dtype=torch.float64)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("what", ["step", "layer", "stacked"])
def test_where_gradients_are_switched_off_the_points_are_the_same(context, what):
    subject = {
        "step": lambda u, x: torch.tanh(0.5 * x @ MATRIX + 0.1),
        "layer": seeded(nn.GRU, 2, 3),
        "stacked": seeded(nn.GRU, 2, 3, 2),
    }[what]
    states, inputs = np.zeros((2, 6 if what == "stacked" else 3)), None if what == "step" else [0.1, 0.2]
    expected = find_slow_points(subject, states, inputs, n_starts=8)
    with context():
        found = find_slow_points(subject, states, inputs, n_starts=8)
    np.testing.assert_array_equal(found.position, expected.position)
    np.testing.assert_array_equal(found.eigenvalues, expected.eigenvalues)


LINEAR = {
    "linear": (lambda u, x: 0.3 * x @ MATRIX + 0.1, 0.1 / 0.7),
    "constant": (lambda u, x: torch.full_like(x, 0.25), 0.25),
    "piecewise": (lambda u, x: torch.where(x > 0, 0.5 * x + 0.2, 0.5 * x + 0.1), 0.4),
    "rounded": (lambda u, x: torch.round(x), 0.0),
}


@pytest.mark.parametrize("name", LINEAR)
def test_steps_without_a_second_derivative(name):
    step, at = LINEAR[name]
    points = find_slow_points(step, np.full((4, 3), at), None, n_starts=4, noise=0.01)
    assert np.abs(points.fixed.position - at).max(axis=1).min() < 1e-9


def test_the_default_device_is_not_asked():
    layer, states = seeded(nn.GRU, 2, 3, 2), torch.zeros(2, 6)
    expected = find_slow_points(layer, states, n_starts=4)
    torch.set_default_device("meta")
    try:
        found = find_slow_points(layer, states, n_starts=4)
        step = find_slow_points(lambda u, x: torch.tanh(x @ MATRIX), states[:, :3], None, n_starts=4)
    finally:
        torch.set_default_device(None)
    np.testing.assert_array_equal(found.position, expected.position)
    assert len(step)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_slow_points(nn.RNN(2, 4), np.zeros((1, 4)), dt=20.0), "tau and dt must be equal"),
        (lambda: find_slow_points(nn.GRU(2, 4), np.zeros((1, 4)), activation="relu"), "activation must be left out"),
        (lambda: find_slow_points(nn.GRU(2, 4, 2), np.zeros((1, 8)), equation="rate"), "equation must be left out"),
        (lambda: find_slow_points(nn.GRU(2, 4, device="meta"), np.zeros((1, 4))), "weight_ih_l0 is on the device meta"),
        (lambda: find_slow_points(nn.GRU(2, 4), "abc"), "states must be numbers"),
        (lambda: find_slow_points(nn.GRU(2, 4), torch.zeros(1, 4), [0.0, np.nan]), "inputs must be finite, got nan"),
        (lambda: find_slow_points(lambda u, x: np.tanh(x.numpy()), np.zeros((1, 4)), None), "operations of PyTorch"),
        (lambda: find_slow_points(lambda u, x: x / 0 * 0, np.ones((1, 4)), None), "must give finite states, got NaN"),
        (lambda: track_slow_points(nn.GRU(2, 4), None, np.zeros((1, 4))), "must be state dicts, got NoneType"),
        (lambda: track_slow_points(nn.GRU(2, 4), {1: {}, 2: {}}, np.zeros((1, 4)), [1, 2]), "epochs must be left out"),
        (lambda: to_module(gp.GRU.initialize(3, [0]), "x"), "task must be one of ghostpoint.tasks, got str"),
        (lambda: to_module(gp.GRU.initialize(3, [0]), dtype="float32"), "dtype must be a torch.dtype"),
        (lambda: TaskBatches(gp.tasks.DelayedActivation(40), 1, dtype=torch.int64), "dtype must be a torch.dtype"),
        (lambda: to_module(gp.GRU.initialize(3, [0], n_inputs=2))(torch.zeros(2, 5, 1)), r"shape \(B, T, 2\)"),
        (lambda: to_module(gp.GRU.initialize(3, [0]))(torch.zeros(2, 5, 1)), r"shape \(B, T, 0\)"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("make", [lambda: nn.GRU(2, 4), lambda: nn.GRU(2, 4, 2), Step])
def test_weights_that_are_not_finite_are_no_network(make, bad):
    module = make()
    with torch.no_grad():
        for one in list(module.parameters())[:2]:
            one[0, 0] = bad
    size = 8 if getattr(module, "num_layers", 1) == 2 else 4
    with pytest.raises(ValueError, match="finite"):
        find_slow_points(module, np.zeros((1, size)), [0.0, 0.0])


def test_a_checkpoint_in_a_generator_and_states_as_a_list():
    layer = seeded(nn.LSTM, 2, 3)
    kept = [copy.deepcopy(layer.state_dict()) for _ in range(2)]
    h, c = torch.zeros(1, 2, 3, requires_grad=True), torch.ones(1, 2, 3)
    listed = track_slow_points(layer, (one for one in kept), [h, c], n_starts=4)
    paired = track_slow_points(layer, kept, (h, c), n_starts=4)
    np.testing.assert_array_equal(listed.position, paired.position)


def test_a_stack_has_the_sum_of_its_networks_losses_and_shapes_are_checked():
    task = gp.tasks.DelayedCueDiscrimination(15, 30, 20, noise=0.0, initial_scale=0.0)
    batch = TaskBatches(task, 1).batch(0)
    trials = len(batch.inputs)
    module = to_module(gp.GRU.initialize(4, range(trials), n_inputs=1), task)  # as many networks as trials
    outputs = module(batch.inputs)
    alone = sum(batch.loss(outputs[:, k]) for k in range(trials))
    torch.testing.assert_close(batch.loss(outputs), alone)
    for wrong in (outputs[:, 0, :, 0], outputs[:1], outputs[:, 0].transpose(0, 1)):
        with pytest.raises(ValueError, match="outputs must have shape"):
            batch.loss(wrong)


def test_what_a_task_draws_in_the_network_is_said_to_be_missing():
    record = gp.GRU.initialize(4, [0], n_inputs=2)
    with pytest.warns(UserWarning, match=r"noise=0.3 and initial_scale=0.5"):
        to_module(record, gp.tasks.DelayedAddition(noise=0.3, initial_scale=0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_module(record, gp.tasks.DelayedAddition())


def test_a_reparametrised_network_of_the_library_still_answers():
    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

    record = gp.GRU.initialize(4, [0], n_inputs=2)
    module = to_module(record)
    nn.utils.parametrize.register_parametrization(module, "w_rec", Twice())
    x = torch.randn(3, 5, 2)
    torch.testing.assert_close(module(x), to_module(record.replace(w_rec=2 * record.w_rec))(x))


def test_the_table_says_where_the_map_is_unstable_and_the_flow_is_not():
    layer = nn.RNN(2, 4, bias=False)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(-1.6 * torch.eye(4))
    for subject, inputs in ((layer, [0.0, 0.0]), (lambda u, x: torch.tanh(-1.6 * x), None)):
        points = find_slow_points(subject, np.zeros((2, 4)), inputs, n_starts=8)
        assert "0, map 4" in str(points)
        assert "UserField" not in str(points)
        assert "TorchField" not in str(points.reason)


# What was right before and must stay so.


class Recorder:
    """Keeps the states of a layer in a hook, with their graph, and what cannot be copied."""

    def __init__(self, path):
        self.file, self.calls = path.open("w"), 0

    def hook(self, module, given, found):
        self.states, self.calls = found[0], self.calls + 1


def test_a_hook_that_records_states_is_left_alone(tmp_path):
    module = Around(nn.Identity(), seeded(nn.GRU, 2, 4), nn.Linear(4, 1))
    recorder = Recorder(tmp_path / "states.txt")
    module.layer.register_forward_hook(recorder.hook)
    module(torch.randn(5, 3, 2))
    assert from_module(module).n_units == 4
    points = find_slow_points(module, recorder.states, n_starts=4)
    assert recorder.calls == 1
    expected = find_slow_points(seeded(nn.GRU, 2, 4), recorder.states.detach(), n_starts=4)
    np.testing.assert_array_equal(points.position, expected.position)
    assert len(points)
    recorder.file.close()


class Tasks(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.heads = nn.GRU(2, 4), nn.ModuleDict({"a": nn.Linear(4, 1)})

    def forward(self, x, task):
        return self.heads[task](self.layer(x)[0])


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(2, 4)

    def forward(self, x, mask):
        return self.layer(x)[0] * mask


class Asserting(Masked):
    def forward(self, x, lengths):
        assert lengths.ndim == 1
        return super().forward(x, lengths)


@pytest.mark.parametrize("make", [Tasks, Masked, Asserting, Lengths])
def test_two_arguments_that_are_no_input_and_state_are_no_step(make):
    module = seeded(make)
    for inputs in (None, torch.zeros(2)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = find_slow_points(module, np.zeros((3, 4)), inputs, n_starts=8)
        expected = find_slow_points(module.layer, np.zeros((3, 4)), inputs, n_starts=8)
        np.testing.assert_array_equal(found.position, expected.position)


@pytest.mark.parametrize("inputs", [4, 2])
def test_a_step_whose_arguments_are_named_state_and_input(inputs):
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(inputs, 4)

        def forward(self, h, x):
            return torch.tanh(1.5 * self.cell(x, h))

    module = seeded(Turned)
    u = np.linspace(-1, 1, inputs)
    points = find_slow_points(module, np.zeros((3, 4)), u, n_starts=8)
    x = torch.tensor(points.fixed.position)
    with torch.no_grad():
        moved = copy.deepcopy(module).double()(x, torch.tensor(u).expand(len(x), -1))
    np.testing.assert_allclose(moved, x, atol=1e-12)


def test_a_step_that_mixes_states_of_a_batch_is_refused():
    with pytest.raises(ValueError, match="by itself"):
        find_slow_points(lambda u, x: torch.tanh(x - x.mean(0)), np.zeros((2, 4)), None)


class Starting(nn.Module):
    """Starts that are learned or made in single precision, and a head that is declared first."""

    def __init__(self, kind, learned, turned=False):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.layer = kind(2, 4, batch_first=True)
        self.learned, self.turned = learned, turned
        self.h0 = nn.Parameter(torch.rand(1, 1, 4))

    def forward(self, x):
        h = self.h0.expand(1, len(x), 4).contiguous() if self.learned else torch.zeros(1, len(x), 4)
        start = (h, torch.zeros_like(h)) if isinstance(self.layer, nn.LSTM) else h
        logits = self.fc(self.layer(x, start)[0])
        return logits.permute(0, 2, 1) if self.turned else logits[:, -1]


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_starts_and_heads_as_people_write_them(kind):
    for learned in (False, True):
        for turned in (False, True):
            module = seeded(Starting, kind, learned, turned)
            start = module.h0.reshape(-1) if learned else torch.zeros(4)
            start = torch.cat([start, torch.zeros(4)]) if kind is nn.LSTM else start
            record = from_module(module, initial_state=start)
            x = torch.randn(5, 6, 2)
            answers = to_module(record)(x)
            expected = module(x).permute(0, 2, 1) if turned else module(x)
            torch.testing.assert_close(answers if turned else answers[:, -1], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="differs by"):
        from_module(seeded(Starting, kind, True))  # not from where it starts


def test_heads_behind_a_layer_are_no_encoders():
    class Predicting(nn.Module):
        """The next input from the states, by two layers; one of them declared first."""

        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)
            self.layer = nn.GRU(2, 4)
            self.fc2 = nn.Linear(3, 2)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc(self.layer(x)[0])))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_slow_points(seeded(Predicting), np.zeros((2, 4)), n_starts=4)


def test_two_states_of_an_lstm_in_a_list_are_two_states():
    layer = seeded(nn.LSTM, 2, 3)
    states = [torch.zeros(6), torch.ones(6)]
    listed = find_slow_points(layer, states, n_starts=4)
    np.testing.assert_array_equal(listed.position, find_slow_points(layer, torch.stack(states), n_starts=4).position)
