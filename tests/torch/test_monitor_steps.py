"""What a step is, and what it did: with gradient scalers, nested steps, sparse gradients and
complex parameters.
"""

import gc

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from ghostpoint.torch import Monitor  # noqa: E402

needs_scaler = pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="this PyTorch has no scaler for CPUs")


@pytest.fixture(autouse=True)
def _by_steps_alone(monkeypatch):
    """Rows are read out by the number of steps, and not by the clock."""
    monkeypatch.setattr("ghostpoint.torch.monitor.SECONDS", float("inf"))


def scaled(skipped, steps, *, fused, log="after", to_none=True):
    """A training under a scaler with some steps skipped; the monitor, and what was true of each
    step.
    """
    torch.manual_seed(0)
    x = torch.randn(32, 5)
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10**6)
    monitor = Monitor(model, optimizer, every=1)
    true = []
    for k in range(steps):
        optimizer.zero_grad(set_to_none=to_none)
        loss = (F.mse_loss(model(x), x[:, :1]) + 1) * (1 + k % 3) * 0.3
        if log == "before":
            monitor.log(loss)
        scaler.scale(loss).backward()
        scale = scaler.get_scale()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()]) / scale
        if k in skipped:
            model.weight.grad[0, 0] = float("inf")
        if log == "between":
            monitor.log(loss)
        before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        scaler.step(optimizer)
        scaler.update()
        size = (nn.utils.parameters_to_vector(model.parameters()).detach() - before).norm().item()
        if log == "after":
            monitor.log(loss)
        true.append((loss.item(), gradient.norm().item(), size))
    return monitor, true


@needs_scaler
@pytest.mark.parametrize("log", ["after", "before"])
@pytest.mark.parametrize("skipped", [(), (0,), (2,), (2, 3), (49, 50, 51), (59,)], ids=str)
def test_a_fused_optimizer_under_a_scaler(skipped, log):
    monitor, true = scaled(skipped, 60, fused=True, log=log)
    expected, waiting = [], []
    for k, one in enumerate(true):
        waiting.append(one[0])
        if k not in skipped:
            expected.append((np.mean(waiting), *one[1:]))
            waiting = []
    record = monitor.record
    taken = len(expected)
    assert record["loss"].tolist()[:taken] == pytest.approx([one[0] for one in expected], rel=1e-6)
    assert record["gradient_norm"].tolist()[:taken] == pytest.approx([one[1] for one in expected], rel=1e-4)
    assert record["update_size"].tolist()[:taken] == pytest.approx([one[2] for one in expected], rel=1e-4)
    assert record["effective_learning_rate"].tolist()[:taken] == pytest.approx([0.1] * taken, rel=1e-3)
    assert monitor.state_dict()["step"] == taken
    monitor.close()
    assert monitor.step == taken
    assert record["loss"].tolist() == monitor.record["loss"].tolist()
    assert len(record["epoch"]) == taken + bool(waiting)  # losses since the last step are a row


@needs_scaler
def test_rows_of_a_fused_optimizer_go_on_from_a_checkpoint():
    first, _ = scaled((2, 7), 8, fused=True)  # the last step is one that was skipped
    second, _ = scaled((), 1, fused=True)
    second.load_state_dict(first.state_dict())
    assert second.step == 6
    assert second.record["loss"].tolist() == first.record["loss"].tolist()


@needs_scaler
def test_no_number_of_a_scaler_is_fetched_between_read_outs(monkeypatch):
    gc.collect()  # monitors of other tests, which write what they have left
    monitor, _ = scaled((), 2, fused=True)
    optimizer, fetched = monitor.optimizer, []
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__", "__int__"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, _n=name, _p=plain, **k: (fetched.append(_n), _p(self, *a, **k))[1]
        )
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(1024.0), torch.tensor(0.0)
    for _ in range(20):
        optimizer.step()
        monitor.log(torch.tensor(1.0))
    assert fetched == []
    monitor.read_out()
    assert fetched == ["tolist"]


@needs_scaler
@pytest.mark.parametrize("skipped", [(), (0,), (0, 1)], ids=str)
@pytest.mark.parametrize("log", ["after", "between", "before"])
def test_losses_stand_beside_their_own_gradient_when_the_first_steps_are_skipped(log, skipped):
    monitor, true = scaled(skipped, 6, fused=False, log=log)
    monitor.read_out(last=True)
    first = len(skipped)
    losses = [np.mean([one[0] for one in true[: first + 1]]), *(one[0] for one in true[first + 1 :])]
    assert monitor.record["loss"].tolist() == pytest.approx(losses, rel=1e-6)
    assert monitor.record["gradient_norm"].tolist() == pytest.approx([one[1] for one in true[first:]], rel=1e-4)


def test_gradients_of_an_earlier_training_do_not_say_that_logs_come_after():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(torch.ones(1, 2)).sum() * float("nan")).backward()
    monitor = Monitor(model, optimizer)
    for k in range(4):
        monitor.log(float(k))
        optimizer.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    monitor.log(4.0)
    assert monitor.record["loss"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


class Own(torch.optim.SGD):
    """One whose step calls that of the class it comes from."""

    fails = False

    @torch.no_grad()
    def step(self, closure=None):
        found = super().step(closure)
        if self.fails:
            raise RuntimeError("interrupted")
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(0.5)
        return found


def test_the_outermost_step_counts_once():
    torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)  # from then on the parent's step has hooks
    model = nn.Linear(3, 1)
    optimizer = Own(model.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer, every=1)
    sizes = []
    for k in range(10):
        optimizer.zero_grad()
        loss = model(torch.ones(2, 3)).square().mean()
        loss.backward()
        optimizer.fails = k == 4
        before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        if optimizer.fails:  # a step without an end: the next one is no part of it
            with pytest.raises(RuntimeError, match="interrupted"):
                optimizer.step()
            continue
        optimizer.step()
        sizes.append((nn.utils.parameters_to_vector(model.parameters()).detach() - before).norm().item())
        monitor.log(loss)
    monitor.read_out(last=True)
    assert monitor.step == 9
    assert len(monitor.record["loss"]) == 9
    assert monitor.record["update_size"].tolist() == pytest.approx(sizes, rel=1e-5)


def test_complex_parameters_count_as_pairs_of_real_ones():
    torch.manual_seed(0)
    model = nn.Module()
    model.w = nn.Parameter(torch.randn(3, dtype=torch.cfloat))
    model.v = nn.Parameter(torch.randn(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer, every=1)
    loss = model.w.abs().square().sum() + model.v.square().sum()
    loss.backward()
    whole = torch.cat([torch.view_as_real(model.w.grad).flatten(), model.v.grad]).norm().item()
    optimizer.step()
    monitor.log(loss)
    assert monitor.record["effective_learning_rate"].tolist() == pytest.approx([0.1], rel=1e-5)
    assert monitor.record["gradient_norm"].tolist() == pytest.approx([whole], rel=1e-5)
    assert monitor.record["update_size"].tolist() == pytest.approx([0.1 * whole], rel=1e-5)


@pytest.mark.parametrize("alone", [True, False])
def test_sparse_gradients_are_measured(alone):
    torch.manual_seed(0)
    embedding = nn.Embedding(50, 4, sparse=True)
    model = nn.Sequential(embedding) if alone else nn.Sequential(embedding, nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    monitor = Monitor(model, optimizer, every=1)
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    loss = model(torch.tensor([3, 3, 7, 49])).square().mean()  # one row twice
    loss.backward()
    optimizer.step()
    monitor.log(loss)
    size = (nn.utils.parameters_to_vector(model.parameters()).detach() - before).norm().item()
    assert monitor.record["update_size"].tolist() == pytest.approx([size], rel=1e-5)
    assert monitor.record["effective_learning_rate"].tolist() == pytest.approx([0.5], rel=1e-4)
    if alone:
        optimizer = torch.optim.SparseAdam(model.parameters(), lr=0.01)
        monitor = Monitor(model, optimizer, every=1)
        optimizer.step()
        monitor.log(loss)
        assert monitor.record["update_size"].tolist() == pytest.approx([0.01 * 12**0.5], rel=1e-3)


def test_the_size_of_an_update_is_that_of_all_parameters():
    class Decays(torch.optim.SGD):
        def step(self, closure=None):  # moves what has no gradient too
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    p.mul_(0.5)

    model = nn.Linear(3, 1)
    monitor = Monitor(model, Decays(model.parameters(), lr=0.1), every={"update_size": 1, "gradient_norm": None})
    size = nn.utils.parameters_to_vector(model.parameters()).norm().item() / 2
    model.weight.grad = torch.ones(1, 3)
    monitor.optimizer.step()
    monitor.log(1.0)
    assert monitor.record["update_size"].tolist() == pytest.approx([size], rel=1e-6)


def test_a_wrapped_optimizer_is_found():
    class Wrapper(torch.optim.Optimizer):
        """As Accelerate's: by class an optimizer, without what makes one."""

        def __init__(self, optimizer):
            self.optimizer = optimizer

        @property
        def param_groups(self):
            return self.optimizer.param_groups

        def step(self, closure=None):
            self.optimizer.step(closure)

    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped = Wrapper(optimizer)
    monitor = Monitor(model, wrapped, every=1)
    model(torch.ones(1, 3)).sum().backward()
    wrapped.step()
    monitor.log(1.0)
    assert monitor.optimizer is optimizer
    assert monitor.record["gradient_norm"].tolist() == [2.0]
    with pytest.raises(ValueError, match=r"optimizer must be a torch.optim.Optimizer, or have one.*got Linear"):
        Monitor(model, model)
