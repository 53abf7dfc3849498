"""The guard on networks and loops as people have them: buffers in the graph, answers that cannot be
given, several optimizers, steps in steps, copies.
"""

import copy
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.optim import SGD, Adam  # noqa: E402

from ghostpoint.torch import FreshBatches, Guard  # noqa: E402


def data():
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    return x, (x[:, :1] > 0).float()


X, Y = data()


def squared(model):
    """A closure of the mean squared error."""

    def closure():
        outputs = model(X)
        return functional.mse_loss(outputs, Y), outputs

    return closure


def repeated(step, times):
    for _ in range(times):
        step()


class Scaled(nn.Module):
    """A buffer takes part in the graph."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 1)
        self.register_buffer("scale", torch.full((8,), 1.5))

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)) * self.scale)


class Counting(nn.Module):
    """A buffer that is not written to but replaced."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(5, 1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls = self.calls + 1
        return self.line(x)


def test_a_buffer_in_the_graph_is_left_as_it_is():
    torch.manual_seed(1)
    model = Scaled()
    guard = Guard(model, SGD(model.parameters(), lr=0.1), batch="fixed")
    losses = [guard.step(squared(model)).item() for _ in range(20)]
    assert losses[-1] < losses[0]
    assert guard.counts["forward"] < 1.3 * 20  # the trial's pass is the next step's
    assert guard.last.rule == "fixed"
    assert torch.equal(model.scale, torch.full((8,), 1.5))


def test_a_buffer_that_is_replaced_counts_the_passes_of_a_loop_without_the_guard():
    model = Counting()
    guard = Guard(model, SGD(model.parameters(), lr=0.1), batch="fixed")
    with pytest.warns(RuntimeWarning, match="changes buffers"):
        repeated(lambda: guard.step(squared(model)), 30)
    assert model.calls == 30
    assert guard.last.rule == "fresh"


@pytest.mark.parametrize("batch", ["fixed", "auto"])
def test_an_answer_that_cannot_be_given_does_not_stop_the_training(batch):
    torch.manual_seed(2)
    model, labels = nn.Linear(5, 3), torch.randint(0, 2, (64,))
    guard = Guard(model, Adam(model.parameters(), lr=0.05), batch=batch)
    never = torch.tensor([False, False, True])

    def closure():
        outputs = model(X).masked_fill(never, -torch.inf)
        return functional.cross_entropy(outputs, labels), outputs

    losses = [guard.step(closure).item() for _ in range(60)]
    assert losses[-1] < 0.95 * losses[0]
    assert guard.counts["stayed"] == 0


@pytest.mark.parametrize("batch", ["fixed", "fresh"])
def test_where_no_trial_is_finite_it_is_said_and_the_factor_stays(batch):
    torch.manual_seed(3)
    model, broken = nn.Linear(5, 1), []

    def distance(old, new):
        return torch.tensor(float("nan")) if broken else ((old - new) ** 2).mean()

    guard = Guard(model, SGD(model.parameters(), lr=0.1), batch=batch, distance=distance)
    for _ in range(10):
        guard.step(squared(model))
    broken.append(True)
    with pytest.warns(RuntimeWarning, match="no trial of an update is finite"):
        repeated(lambda: guard.step(squared(model)), 40)  # once ended in a division by zero
    assert guard.last.action == "stayed"
    broken.clear()
    for _ in range(15):
        guard.step(squared(model))
    # the fresh rule has slowed down, as after any refusal; neither is frozen
    assert guard.last.factor > (0.05 if batch == "fixed" else 1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_smaller_than_the_memory_is_not_frozen(dtype):
    torch.manual_seed(0)
    x = torch.randn(64, 5, 1, dtype=dtype)
    y = torch.tanh(x.sum(1))
    layer, readout = nn.RNN(1, 2, batch_first=True, bias=False, dtype=dtype), nn.Linear(2, 1, bias=False, dtype=dtype)
    model = nn.ModuleList([layer, readout])
    guard = Guard(model, SGD(model.parameters(), lr=0.05), batch="fixed")

    def closure():
        outputs = readout(layer(x)[0][:, -1])
        return functional.mse_loss(outputs, y), outputs

    losses = [guard.step(closure).item() for _ in range(300)]
    assert losses[-1] < 1e-3  # without the guard 0.03
    # what is known of the rate travels with the state
    twin = copy.deepcopy(model)
    again = Guard(twin, SGD(twin.parameters(), lr=0.05), batch="fixed")
    again.load_state_dict(guard.state_dict())

    def closure_of_twin():
        outputs = twin[1](twin[0](x)[0][:, -1])
        return functional.mse_loss(outputs, y), outputs

    for _ in range(5):
        assert again.step(closure_of_twin).item() == guard.step(closure).item()


@pytest.mark.parametrize("loss", [functional.huber_loss, functional.mse_loss])
def test_a_line_is_fitted_as_well_as_without_the_guard(loss):
    torch.manual_seed(4)
    model, y = nn.Linear(5, 1), X @ torch.randn(5, 1)
    guard = Guard(model, SGD(model.parameters(), lr=0.05), batch="fixed")

    def closure():
        outputs = model(X)
        return loss(outputs, y), outputs

    assert [guard.step(closure).item() for _ in range(300)][-1] < 1e-8


@pytest.mark.parametrize("batch", ["fixed", "auto"])
def test_trials_are_made_under_the_autocast_of_their_forward_pass(batch):
    torch.manual_seed(5)
    model, seen = nn.Linear(5, 1), []
    optimizer = SGD(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer, batch=batch)

    def closure():
        outputs = model(X)
        seen.append(outputs.dtype)
        return functional.binary_cross_entropy_with_logits(outputs.float(), Y), outputs

    for _ in range(30):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = guard.evaluate(closure)
        loss.backward()
        optimizer.step()
    assert set(seen) == {torch.bfloat16}
    assert guard.last.rule == "fixed"
    # and the other way round: the step within, the pass without
    seen.clear()
    for _ in range(3):
        optimizer.zero_grad()
        loss, _ = guard.evaluate(closure)
        loss.backward()
        with torch.autocast("cpu", torch.bfloat16):
            optimizer.step()
    assert set(seen[1:]) == {torch.float32}


def test_weights_that_another_optimizer_moves_are_those_of_the_next_pass():
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    ours, theirs = SGD(model[0].parameters(), lr=0.1), SGD(model[2].parameters(), lr=0.1)
    guard = Guard(model, ours, batch="fixed")
    for _ in range(60):
        ours.zero_grad()
        theirs.zero_grad()
        loss, outputs = guard.evaluate(squared(model))
        assert torch.equal(outputs, model(X))
        loss.backward()
        gradient = model[0].bias.grad.clone()
        fresh = torch.autograd.grad(squared(model)()[0], model[0].bias)[0]
        torch.testing.assert_close(gradient, fresh)
        ours.step()
        theirs.step()
    assert loss < 0.2


def test_what_a_guard_cannot_do_is_said():
    weight = nn.Parameter(torch.randn(5, 1, dtype=torch.cfloat))
    holder = nn.ParameterList([weight])
    with pytest.raises(ValueError, match=r"real parameters, got one of torch\.complex64"):
        Guard(holder, SGD([weight], lr=0.1))
    model, other = nn.Linear(5, 1), nn.Linear(5, 5)
    with pytest.warns(RuntimeWarning, match="2 parameters of the optimizer are not in model"):
        Guard(model, SGD([*model.parameters(), *other.parameters()], lr=0.1))
    with pytest.warns(RuntimeWarning, match="maximises"):
        Guard(model, SGD(model.parameters(), lr=0.1, maximize=True))
    optimizer = SGD(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer)
    compiled = torch.compile(lambda: optimizer.step(), backend="eager")

    def step():
        optimizer.zero_grad()
        loss, _ = guard.evaluate(squared(model))
        loss.backward()
        compiled()

    with pytest.warns(RuntimeWarning, match=r"optimizer.step\(\) is compiled"):
        repeated(step, 3)


class Root(nn.Module):
    def forward(self, outputs, targets):
        return functional.mse_loss(outputs, targets).sqrt()


def test_a_loss_of_another_unit_is_said():
    model = nn.Linear(5, 1)
    guard = Guard(model, SGD(model.parameters(), lr=0.1), Root())
    with pytest.warns(RuntimeWarning, match="the loss is a sqrt of its error, and has another unit"):
        guard.step(inputs=X, targets=Y)


class Twice(SGD):
    """Its step calls the parent's, which has hooks of its own."""

    def step(self, closure=None):
        return super().step(closure)


class Breaking(SGD):
    fail = False

    def step(self, closure=None):
        if self.fail:
            raise KeyboardInterrupt
        return super().step(closure)


def test_a_step_within_a_step_is_one_update():
    SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    torch.manual_seed(7)
    model = Scaled()
    plain = copy.deepcopy(model)
    guard = Guard(model, Twice(model.parameters(), lr=0.1), batch="fixed")
    usual = Guard(plain, SGD(plain.parameters(), lr=0.1), batch="fixed")
    for _ in range(10):
        assert guard.step(squared(model)).item() == usual.step(squared(plain)).item()
        for p, q in zip(model.parameters(), plain.parameters(), strict=True):
            assert torch.equal(p.grad, q.grad)  # as backward() left it
    assert guard.counts == usual.counts
    assert guard.counts["updates"] == 10


def failing(optimizer):
    optimizer.fail = True
    try:
        optimizer.step()
    finally:
        optimizer.fail = False


def test_gradients_come_back_after_a_step_that_failed():
    SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    torch.manual_seed(8)
    model = Scaled()
    optimizer = Breaking(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer, batch="fixed")
    for _ in range(5):
        guard.step(squared(model))
    optimizer.zero_grad()
    loss, _ = guard.evaluate(squared(model))
    loss.backward()
    before = [p.grad.clone() for p in model.parameters()]
    with pytest.raises(KeyboardInterrupt):
        failing(optimizer)
    assert any(not torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))
    guard.evaluate(squared(model))
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))
    # a new gradient stays, without a pass before it
    with pytest.raises(KeyboardInterrupt):
        failing(optimizer)
    optimizer.zero_grad()
    squared(model)()[0].backward()
    again = [p.grad.clone() for p in model.parameters()]
    guard.forget_older_passes()
    optimizer.step()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), again, strict=True))
    updates = guard.counts["updates"]
    guard.step(squared(model))
    assert guard.counts["updates"] == updates + 1
    assert guard.last.action != "unguarded"


class Wrapped:
    """As accelerate's optimizer: no optimizer of PyTorch, but one inside."""

    def __init__(self, optimizer):
        self.optimizer, self.steps = optimizer, 0

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self):
        self.steps += 1
        self.optimizer.step()


def test_an_optimizer_in_a_wrapper_and_a_copy_of_all():
    torch.manual_seed(9)
    model = nn.Linear(5, 1)
    wrapped = Wrapped(SGD(model.parameters(), lr=0.1))
    guard = Guard(model, wrapped, batch="fixed")
    for _ in range(4):
        guard.step(squared(model))
    assert wrapped.steps == guard.counts["updates"] == 4
    model_, guard_ = copy.deepcopy((model, guard))
    for _ in range(4):
        assert guard_.step(squared(model_)).item() == guard.step(squared(model)).item()
    assert guard_.counts["updates"] == guard.counts["updates"] == 8
    assert guard_.counts["unguarded"] == 0
    guard.remove()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, _ = guard.evaluate(squared(model))
        loss.backward()
        wrapped.step()
    assert guard.counts["updates"] == 8


class Answer(dict):
    """Answers by attributes, as those of transformers."""

    def __init__(self, **values):
        super().__init__(**values)
        self.__dict__.update(values)


def test_outputs_with_attributes_have_them_in_a_distance():
    model = nn.Linear(5, 1)
    guard = Guard(model, SGD(model.parameters(), lr=0.1), distance=lambda a, b: ((a.logits - b.logits) ** 2).mean())

    def closure():
        answer = Answer(logits=model(X))
        return functional.mse_loss(answer.logits, Y), answer

    assert guard.step(closure) > guard.step(closure)


def test_a_parameter_in_double_precision_keeps_it_where_an_update_stays():
    single, double = nn.Linear(5, 1), nn.Linear(5, 1).double()
    model = nn.ModuleList([single, double])
    rule = FreshBatches(tries=1, cap=float("inf"), kappa=1e-9)
    guard = Guard(model, SGD(model.parameters(), lr=1e6), batch="fresh", fresh=rule)
    with torch.no_grad():
        double.weight += 1e-12  # no number of single precision
    before = double.weight.detach().clone()

    def closure():
        outputs = single(X).double() + double(X.double())
        return functional.mse_loss(outputs, Y.double()) + 1e-9, outputs

    guard.step(closure)
    assert guard.last.action == "stayed"
    assert torch.equal(double.weight, before)


class Sparse(nn.Module):
    """A graph in a sparse buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("graph", torch.eye(5).to_sparse())
        self.line = nn.Linear(5, 1)

    def forward(self, x):
        return self.line(torch.sparse.mm(self.graph, x.T).T)


@pytest.mark.parametrize("batch", ["auto", "fixed"])
def test_a_sparse_buffer_is_a_buffer(batch):
    model = Sparse()
    guard = Guard(model, SGD(model.parameters(), lr=0.1), batch=batch)
    losses = [guard.step(squared(model)).item() for _ in range(10)]
    assert losses[-1] < losses[0]


def test_a_learned_weight_of_a_term_is_no_network_beside_the_model():
    model, weight = nn.Linear(5, 1), nn.Parameter(torch.zeros(()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Guard(model, SGD([*model.parameters(), weight], lr=0.1))
