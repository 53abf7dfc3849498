"""The guard in loops that freeze, differentiate twice, accumulate, or carry a state."""

import copy
import math
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from ghostpoint.torch import Guard, from_module, track_slow_points  # noqa: E402
from ghostpoint.torch.parameters import Parameters  # noqa: E402
from ghostpoint.torch.secants import Secants  # noqa: E402

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
Y = X[:, :1] * X[:, 1:2]
RULES = ("fixed", "auto", "fresh")


def body_and_head(seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Sequential(nn.Linear(5, 16), nn.Tanh()), nn.Linear(16, 1))


def closure_of(model, x=X, y=Y):
    def closure():
        outputs = model(x)
        return F.mse_loss(outputs, y), outputs

    return closure


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("batch", RULES)
def test_what_has_no_rate_or_is_frozen_does_not_move(batch, kind):
    model = body_and_head()
    body, head = model
    optimizer = kind([{"params": body.parameters(), "lr": 0.0}, {"params": head.parameters()}], lr=0.03)
    guard = Guard(model, optimizer, batch=batch)
    before = copy.deepcopy(body.state_dict())
    for step in range(60):
        if step == 30:
            optimizer.param_groups[0]["lr"] = 0.03
            for p in body.parameters():
                p.requires_grad_(False)
        if step == 45:  # the end of a schedule
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.0
            still = copy.deepcopy(head.state_dict())
        loss = guard.step(closure_of(model))
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())
    assert all(torch.equal(value, still[name]) for name, value in head.state_dict().items())
    assert loss < 0.98 * F.mse_loss(0 * Y, Y)


def test_what_an_optimizer_moves_though_it_is_frozen_is_judged_too():
    # a gradient of zeros, and a momentum
    model = body_and_head()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    guard = Guard(model, optimizer, batch="fixed")
    for step in range(40):
        if step == 20:
            model[0].requires_grad_(False)
            optimizer.param_groups[0]["lr"] = 50.0
        optimizer.zero_grad(set_to_none=False)
        loss, _ = guard.evaluate(closure_of(model))
        loss.backward()
        before = copy.deepcopy(model.state_dict())
        optimizer.step()
        if guard.last.action == "stayed":
            assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert loss < F.mse_loss(0 * Y, Y)


def test_layers_that_are_trained_in_turn_are_not_taken_for_each_other():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5))
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.03), batch="fixed")
    target = X.roll(1, 1).tanh()
    for step in range(12):
        model[0].requires_grad_(step % 2 == 0)
        model[2].requires_grad_(step % 2 == 1)
        guard.step(closure_of(model, X, target))
        assert len(guard._fixed.secants) == 0  # no pair of one layer and another
    model.requires_grad_(True)
    for _ in range(3):
        guard.step(closure_of(model, X, target))
    assert len(guard._fixed.secants) == 2


def test_an_optimizer_may_have_no_rate():
    class Relative(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                group["lr"] = 0.01
            super().step(closure)
            for group in self.param_groups:
                group["lr"] = None

    model = body_and_head()
    guard = Guard(model, Relative(model.parameters(), lr=0.01), batch="fixed")
    guard.optimizer.param_groups[0]["lr"] = None
    losses = [guard.step(closure_of(model)).item() for _ in range(10)]
    assert losses[-1] < losses[0]


def test_attributes_of_what_is_bound_are_no_variables_of_the_loop():
    model = body_and_head()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer, batch="fresh")
    # at the level of a module, where the loop's variables have the names of the attributes
    code = """
for x, y in parts:
    one = SimpleNamespace(x=x, y=y)
    loss, _ = guard.evaluate(lambda one=one: (F.mse_loss(out := model(one.x), one.y), out))
    loss.backward()
"""
    parts = list(zip(X.split(16), Y.split(16), strict=True))
    exec(code, {"SimpleNamespace": SimpleNamespace, "guard": guard, "F": F, "model": model, "parts": parts})
    optimizer.step()  # a warning would be an error
    assert guard.counts["updates"] == 1


def test_a_layer_that_is_frozen_in_training_stays_and_goes_on_when_it_is_trained_again():
    model = body_and_head()
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.03), batch="fixed")
    weight = model[0][0].weight
    ends = []
    for frozen in (False, True, False):
        model[0].requires_grad_(not frozen)
        before = weight.detach().clone()
        for _ in range(20):
            guard.step(closure_of(model))
        ends.append(torch.equal(before, weight))
    assert ends == [False, True, False]


def test_stiff_directions_with_rates_are_those_of_scaled_parameters():
    # theta = sqrt(w) phi: the same secants without weights, of the gradients by phi
    torch.manual_seed(0)
    w = [1.0, 0.25, 0.0]
    groups = [nn.Parameter(torch.randn(n, dtype=torch.float64)) for n in (3, 4, 2)]
    phi = [nn.Parameter(p.detach() / max(s, 1e-300) ** 0.5) for p, s in zip(groups[:2], w[:2], strict=True)]
    hessian = torch.randn(9, 9, dtype=torch.float64)
    hessian = hessian @ hessian.T
    ours = Secants(
        Parameters(torch.optim.SGD([{"params": [p], "lr": s} for p, s in zip(groups, w, strict=True)])), 8, False
    )
    other = Secants(Parameters(torch.optim.SGD(phi, lr=1.0)), 8, False)
    roots = torch.cat([torch.full((3,), 1.0), torch.full((4,), 0.5)]).double()
    for p in groups:
        p.grad = torch.zeros_like(p)
    ours.weigh(ours.parameters.rates())
    for _ in range(4):
        step = torch.cat([torch.randn(7, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)])
        y = hessian @ step
        before, scaled_before = torch.cat([p.detach() for p in groups]), torch.cat([p.detach() for p in phi])
        with torch.no_grad():
            for p, part in zip(groups, step.split([3, 4, 2]), strict=True):
                p += part
            for p, part in zip(phi, (step[:7] / roots).split([3, 4]), strict=True):
                p += part
        ours.add(y, before)
        other.add(y[:7] * roots, scaled_before)
    np.testing.assert_allclose(ours.gram, other.gram, rtol=1e-10)
    np.testing.assert_allclose(ours.cross, other.cross, rtol=1e-10)
    gradient = torch.randn(9, dtype=torch.float64)
    for p, part in zip(groups, gradient.split([3, 4, 2]), strict=True):
        p.grad = part.clone()
    for p, part in zip(phi, (gradient[:7] * roots).split([3, 4]), strict=True):
        p.grad = part.clone()
    np.testing.assert_allclose(ours.stiff().slope, other.stiff().slope, rtol=1e-8)
    coefficients = np.array([1.0, -2.0, 0.5, 0.3])
    [(tensors, part)] = ours.parameters.pieces()
    moved = ours.weighed(ours.combined(coefficients, part), tensors, part)
    [(_, whole)] = other.parameters.pieces()
    np.testing.assert_allclose(moved[:7], roots * other.combined(coefficients, whole), rtol=1e-10)
    assert not moved[7:].any()
    np.testing.assert_allclose(ours.length(gradient, 1), (gradient[:7] * roots).norm(), rtol=1e-12)
    np.testing.assert_allclose(ours.length(gradient, -1), (gradient[:7] / roots).norm(), rtol=1e-12)


def test_pairs_stay_where_rates_change_together_and_go_where_they_come_apart():
    model = body_and_head()
    optimizer = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[1].parameters()}], lr=0.03)
    guard = Guard(model, optimizer, batch="fixed")
    lengths = []
    for step in range(30):
        for group in optimizer.param_groups:
            group["lr"] *= 0.95
        if step == 20:
            optimizer.param_groups[0]["lr"] *= 0.1
        guard.step(closure_of(model))
        lengths.append(len(guard._fixed.secants))
    assert lengths[19] > lengths[9] > 5
    assert lengths[20] == 1  # the newest


def gradient_penalty(model):
    x = X.clone().requires_grad_()
    outputs = model(x)
    (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
    return F.mse_loss(outputs, Y) + 0.01 * (slope**2).mean(), outputs


def clamped(model):
    hidden = model[0](X)
    hidden.register_hook(lambda g: g.clamp(-1, 1))
    outputs = model[1](hidden)
    return F.mse_loss(outputs, Y), outputs


@pytest.mark.parametrize("loss_of", [gradient_penalty, clamped])
@pytest.mark.parametrize("batch", RULES)
def test_closures_that_need_a_graph_get_one_in_trials(batch, loss_of):
    model = body_and_head()
    guard = Guard(model, torch.optim.Adam(model.parameters(), lr=0.01), batch=batch)
    losses = [guard.step(lambda: loss_of(model)).item() for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]
    # a failed trial is made again once, not each time
    assert guard.counts["forward"] <= (1.3 if batch == "fixed" else 2.3) * 60


def test_a_closure_that_fails_without_a_graph_and_with_it_says_its_own():
    model = body_and_head()
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.01))
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        if len(calls) > 1:
            raise RuntimeError("its own")
        return closure_of(model)()

    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="its own"):
        guard.step(closure)
    assert calls == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_attention_in_evaluation_mode_has_the_same_outputs_in_trials():
    torch.manual_seed(0)
    x, lengths = torch.randn(8, 12, 16), torch.randint(2, 9, (8,))
    pad = torch.arange(12) >= lengths[:, None]
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval()
    guard = Guard(model, torch.optim.Adam(model.parameters(), lr=1e-3), batch="fresh")
    fast = torch.backends.mha.get_fastpath_enabled()

    def closure():
        hidden = model(x, src_key_padding_mask=pad)
        return F.mse_loss(hidden[:, 0], x[:, 0].roll(1, 1)), hidden

    losses = [guard.step(closure).item() for _ in range(40)]
    assert guard.counts["refused"] == 0
    assert losses[-1] < 0.8 * losses[0]
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_the_closures_of_accumulated_passes_must_keep_their_batches():
    model = body_and_head()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer, batch="fresh")
    parts = list(zip(X.split(16), Y.split(16), strict=True))
    hidden = None

    def accumulated(bound):
        optimizer.zero_grad()
        for x, y in parts:

            def closure(x=x, y=y):
                nonlocal hidden  # which the closure itself makes
                hidden = model[0](x)
                return F.mse_loss(out := model[1](hidden), y), out

            loose = lambda: (F.mse_loss(out := model(x), y), out)  # noqa: E731, B023
            loss, _ = guard.evaluate(closure if bound else loose)
            (loss / len(parts)).backward()
        optimizer.step()

    accumulated(True)  # a warning would be an error
    with pytest.warns(RuntimeWarning, match=r"takes x, y from around it.*lambda x=x, y=y"):
        accumulated(False)


class Stateful(nn.Module):
    """A state that is carried from batch to batch in a buffer."""

    def __init__(self, begins_with=None):
        super().__init__()
        self.gru, self.readout = nn.GRU(2, 8, batch_first=True), nn.Linear(8, 1)
        self.register_buffer("h", begins_with)
        self.begun = []

    def forward(self, x):
        self.begun.append(torch.zeros(1, 4, 8) if self.h is None else self.h.clone())
        states, h = self.gru(x, self.begun[-1])
        self.h = h.detach()
        return self.readout(states)


@pytest.mark.parametrize("begins_with", [torch.zeros(1, 4, 8), None], ids=["zeros", "nothing"])
@pytest.mark.parametrize("batch", RULES)
def test_a_trial_begins_with_the_buffers_of_its_pass(batch, begins_with):
    torch.manual_seed(0)
    model = Stateful(begins_with)
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.01), batch=batch)
    for step in range(6):
        x = torch.randn(4, 5, 2)
        model.begun.clear()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Guard: batch is 'fixed', but the forward pass")
            guard.step(lambda x=x: (F.mse_loss(out := model(x), x[..., :1]), out))
        after = model.h.clone()
        assert len(model.begun) >= 2
        assert all(torch.equal(one, model.begun[0]) for one in model.begun)
        if step:
            assert torch.equal(model.begun[0], carried)  # noqa: F821
        carried = after
    # what the pass itself has left, not a trial
    assert not torch.equal(model.begun[0], carried)


def test_a_new_head_learns_on_fresh_batches():
    torch.manual_seed(0)
    head = nn.Linear(32, 10)
    for p in head.parameters():
        nn.init.zeros_(p)
    target = nn.Linear(32, 10)
    guard = Guard(head, torch.optim.Adam(head.parameters(), lr=0.01), batch="fresh")
    losses = []
    for _ in range(500):
        x = torch.randn(32, 32)
        y = target(x).argmax(1)
        losses.append(guard.step(lambda x=x, y=y: (F.cross_entropy(out := head(x), y), out)).item())
    assert np.mean(losses[-20:]) < 0.75 * math.log(10)


def test_a_frozen_parameter_may_hold_anything():
    model = body_and_head()
    model.mask = nn.Parameter(torch.tensor([-math.inf, 0.0]), requires_grad=False)
    model.codes = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.03), batch="fixed")
    for _ in range(20):
        guard.step(closure_of(model))
    assert guard.counts["stayed"] == 0
    assert model.mask.tolist() == [-math.inf, 0.0]


def test_buffers_of_nan_and_of_inference_mode_are_no_hindrance():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(5, 1)
            self.register_buffer("scale", torch.tensor([2.0, math.nan]))
            with torch.inference_mode():
                self.register_buffer("places", torch.zeros(3))

        def forward(self, x):
            return self.line(x) * self.scale[0] * (self.scale * 1.0)[0]

    for batch in RULES:
        model = Table()
        guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.01), batch=batch)
        for _ in range(6):
            guard.step(closure_of(model))
        assert guard.counts["updates"] == 6


def test_below_the_rounding_of_the_loss_an_update_has_one_trial():
    model = body_and_head()
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9), batch="fixed")
    passes, stayed = [], []
    for _ in range(400):
        before = guard.counts["forward"], guard.counts["stayed"]
        loss = guard.step(closure_of(model, X[:3], Y[:3])).item()
        passes.append(guard.counts["forward"] - before[0])
        stayed.append(guard.counts["stayed"] - before[1])
    assert loss < 1e-10
    assert sum(stayed[-100:]) > 50
    assert max(passes[-20:]) <= 3


def test_averages_of_parameters_are_told_of():
    model = body_and_head()
    with pytest.warns(RuntimeWarning, match="ASGD keeps averages of the parameters"):
        Guard(model, torch.optim.ASGD(model.parameters()))

    class Switched(torch.optim.SGD):
        def train(self):
            pass

        def eval(self):
            pass

    with pytest.warns(RuntimeWarning, match="Switched keeps averages"):
        Guard(model, Switched(model.parameters(), lr=0.1))


def test_wrappers_without_places_for_hooks_of_states_are_guarded():
    class Wrapper(torch.optim.Optimizer):
        """As wrappers are that do not call their parent's __init__."""

        def __init__(self, inner):
            self.inner, self.param_groups, self.state, self.defaults = inner, inner.param_groups, inner.state, {}
            self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = inner._optimizer_step_pre_hooks, {}
            self._optimizer_step_post_hooks = inner._optimizer_step_post_hooks

        def step(self, closure=None):
            return self.inner.step(closure)

        def zero_grad(self, set_to_none=True):
            self.inner.zero_grad(set_to_none)

    model = body_and_head()
    guard = Guard(model, Wrapper(torch.optim.SGD(model.parameters(), lr=0.01)))
    guard.step(closure_of(model))
    assert guard.counts["updates"] == 1


def test_records_are_made_of_nothing_that_answers_otherwise():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.w = nn.GRU(3, 6, batch_first=True), nn.Parameter(torch.randn(6, 2))

        def forward(self, x):
            return self.gru(x)[0] @ self.w

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(3, 6, batch_first=True)

        def forward(self, x):
            return self.gru(x)[0].norm(dim=-1, keepdim=True)

    for module, message in ((Own(), r"got also w \(a parameter\)"), (Norm(), "answers have another size")):
        with pytest.raises(ValueError, match=message):
            from_module(module)


@pytest.mark.parametrize("wrapped", [torch.compile, nn.DataParallel])
def test_checkpoints_of_wrapped_modules_are_tracked(wrapped):
    torch.manual_seed(0)
    module = nn.GRU(2, 4, batch_first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        around = wrapped(module)
    checkpoints = [copy.deepcopy(around.state_dict())]
    with torch.no_grad():
        module.weight_hh_l0 *= 0.9
    checkpoints.append(copy.deepcopy(around.state_dict()))
    states = np.zeros((3, 4))
    plain = [
        {name.replace("_orig_mod.", "").removeprefix("module."): value for name, value in one.items()}
        for one in checkpoints
    ]
    found, wanted = (track_slow_points(module, given, states, inputs=np.zeros(2)) for given in (checkpoints, plain))
    assert str(found) == str(wanted)
    with pytest.raises(ValueError, match=r"checkpoints\[0\] must fit"):
        track_slow_points(module, [{"x": torch.zeros(1)}, {}], states)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "write", [lambda p: p.clamp_(-0.3, 0.3), lambda p: p.abs_(), lambda p: p.view(-1)[:1].mul_(0.9)]
)
def test_parameters_whose_data_is_written_to_between_steps_are_evaluated_again(write, dtype):
    torch.manual_seed(0)
    x, y = torch.randn(16, 4, dtype=dtype), torch.randn(16, 2, dtype=dtype)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
    guard = Guard(model, torch.optim.Adam(model.parameters(), lr=0.05), batch="fixed")
    for _ in range(30):
        with torch.no_grad():
            here = nn.functional.mse_loss(model(x), y)
        assert guard.step(lambda: (nn.functional.mse_loss(o := model(x), y), o)) == here
        for parameter in model.parameters():
            write(parameter.data)


def frozen(kind):
    """A parameter that is never trained, of a kind with which one cannot reckon."""
    if kind == "float8":
        return nn.Parameter(torch.ones(4).to(torch.float8_e4m3fn), requires_grad=False)
    if kind == "sparse":
        return nn.Parameter(torch.eye(4).to_sparse(), requires_grad=False)
    return nn.Parameter(torch.empty(4, device="meta"), requires_grad=False)


@pytest.mark.parametrize("kind", ["float8", "sparse", "meta"])
@pytest.mark.parametrize("batch", ["fixed", "auto", "fresh"])
def test_a_frozen_parameter_that_cannot_be_reckoned_with_is_left_alone(batch, kind):
    torch.manual_seed(0)
    x, y = torch.randn(16, 4), torch.randn(16, 2)
    model = nn.Linear(4, 2)
    model.register_parameter("other", frozen(kind))
    guard = Guard(model, torch.optim.Adam([model.weight, model.bias], lr=0.05), batch=batch)
    losses = [float(guard.step(lambda: (nn.functional.mse_loss(o := model(x), y), o))) for _ in range(12)]
    assert losses[-1] < losses[0]
    # it does not keep a pass from being used again
    assert guard.counts["forward"] <= (12 + 1 if batch == "fixed" else 24) + guard.counts["refused"]
    assert guard._is_fixed == (batch != "fresh")


@pytest.mark.parametrize("batch", ["fixed", "fresh"])
def test_a_network_optimizer_and_guard_in_one_pickle_go_on_with_the_same_bits(batch):
    torch.manual_seed(0)
    x, y = torch.randn(16, 4), torch.randn(16, 2)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    guard = Guard(model, torch.optim.Adam(model.parameters(), lr=0.05), batch=batch)
    for _ in range(5):
        guard.step(lambda: (nn.functional.mse_loss(o := model(x), y), o))
    again, _, second = pickle.loads(pickle.dumps((model, guard.optimizer, guard)))
    assert second.model is again
    for _ in range(5):
        here = guard.step(lambda: (nn.functional.mse_loss(o := model(x), y), o))
        assert second.step(lambda: (nn.functional.mse_loss(o := again(x), y), o)) == here
    assert second.last == guard.last
