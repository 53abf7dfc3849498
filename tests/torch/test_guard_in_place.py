"""The guard in loops that write in place, leave passes behind, or take the guard for something
else."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from ghostpoint.torch import FixedBatch, FreshBatches, Guard, Monitor
from ghostpoint.torch.distances import Distance

pytestmark = pytest.mark.filterwarnings("error")
X = torch.randn(32, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, :1] * X[:, 1:2] > 0).float()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1))


def trained(loop, batch="fixed", updates=40, optimizer=torch.optim.SGD, rate=0.5, **options):
    model = network()
    guard = Guard(model, made := optimizer(model.parameters(), lr=rate), batch=batch, **options)
    for _ in range(updates):
        loop(guard, model, made)
    return guard, [p.detach().clone() for p in model.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def loss_of(model, x=X, y=Y):
    out = model(x)
    return F.binary_cross_entropy_with_logits(out, y), out


@pytest.mark.parametrize("batch", ["fixed", "auto", "fresh"])
def test_a_loss_that_is_divided_in_place_is_the_one_that_is_divided(batch):
    def loop(divide):
        def step(guard, model, optimizer):
            optimizer.zero_grad()
            loss, _ = guard.evaluate(lambda: loss_of(model))
            divide(loss).backward()
            optimizer.step()

        return step

    in_place, apart = (trained(loop(how), batch) for how in (lambda one: one.div_(4), lambda one: one / 4))
    assert same(in_place[1], apart[1])
    assert in_place[0].counts == apart[0].counts
    assert in_place[0].counts["stayed"] < 5


@pytest.mark.parametrize("batch", ["fixed", "auto"])
def test_outputs_that_are_written_to_after_the_backward_pass_are_made_again_with_a_warning(batch):
    def step(written):
        def loop(guard, model, optimizer):
            optimizer.zero_grad()
            loss, out = guard.evaluate(lambda: loss_of(model))
            loss.backward()
            if written:
                out.detach().sigmoid_()
            optimizer.step()

        return loop

    _, apart = trained(step(False), batch)
    with pytest.warns(RuntimeWarning, match="outputs of the closure are written to before the update") as said:
        guard, found = trained(step(True), batch)
    assert same(found, apart)
    assert len(said) == 1
    assert said[0].filename == __file__
    assert guard.counts["stayed"] < 5


def test_passes_that_no_backward_pass_went_through_have_no_part_in_an_update():
    # ``if not loss.isfinite(): continue``
    def loop(set_to_none, behind):
        def step(guard, model, optimizer):
            if not behind:
                optimizer.zero_grad(set_to_none=set_to_none)
            if guard.counts["updates"] % 3 == 0:
                guard.evaluate(lambda: (F.mse_loss(out := model(X * 7), Y + 9), out))
            loss, _ = guard.evaluate(lambda: loss_of(model))
            if behind:
                optimizer.zero_grad(set_to_none=set_to_none)
            loss.backward()
            optimizer.step()

        return step

    def plain(guard, model, optimizer):
        optimizer.zero_grad()
        guard.evaluate(lambda: loss_of(model))[0].backward()
        optimizer.step()

    alone = trained(plain, "fresh")[1]
    for set_to_none in (True, False):
        for behind in (True, False):
            assert same(trained(loop(set_to_none, behind), "fresh")[1], alone)


HALVES = [(X[:16], Y[:16]), (X[16:], Y[16:])]


@pytest.mark.parametrize(
    "change",
    [
        lambda model, _: [p.grad.div_(2) for p in model.parameters()],
        lambda model, _: [setattr(p, "grad", p.grad / 2) for p in model.parameters()],
        lambda model, _: [setattr(p, "grad", p.grad.clamp(-1, 1)) for p in model.parameters()],
        lambda model, _: nn.utils.clip_grad_norm_(model.parameters(), 1.0),
    ],
    ids=["in place", "divided", "clamped", "clipped"],
)
def test_all_passes_of_an_accumulated_gradient_are_tried_whatever_is_done_to_it(change):
    def loop(guard, model, optimizer):
        optimizer.zero_grad()
        for x, y in HALVES:
            guard.evaluate(lambda x=x, y=y: loss_of(model, x, y))[0].backward()
        change(model, optimizer)
        before = guard.counts["forward"]
        optimizer.step()
        trials = guard.counts["forward"] - before - 2 * (guard.counts["updates"] in (1, 2, 4))
        assert trials % 2 == 0
        assert trials >= 2

    assert trained(loop, "fresh", 5)[0].counts["updates"] == 5


@pytest.mark.parametrize("set_to_none", [True, False])
def test_losses_that_are_added_up_before_one_backward_pass_are_all_tried(set_to_none):
    def loop(guard, model, optimizer):
        optimizer.zero_grad(set_to_none=set_to_none)
        losses = [guard.evaluate(lambda x=x, y=y: loss_of(model, x, y))[0] for x, y in HALVES]
        (sum(losses) / 2).backward()
        assert len(guard._passes.pending) == 2
        optimizer.step()
        assert guard._passes.pending == []

    assert trained(loop, "fresh", 5)[0].counts["updates"] == 5


@pytest.mark.parametrize("kind", ["an index", "a helper", "an object"])
def test_accumulated_passes_that_take_other_batches_again_are_told_of(kind):
    class Batch:
        pass

    def loop(guard, model, optimizer):
        optimizer.zero_grad()
        held = Batch()
        for i in range(2):
            held.x, held.y = X[16 * i : 16 * i + 16], Y[16 * i : 16 * i + 16]

            def helper():
                return X[16 * i : 16 * i + 16], Y[16 * i : 16 * i + 16]  # noqa: B023

            closure = {
                "an index": lambda: loss_of(model, X[16 * i : 16 * i + 16], Y[16 * i : 16 * i + 16]),  # noqa: B023
                "a helper": lambda: loss_of(model, *helper()),
                "an object": lambda: loss_of(model, held.x, held.y),
            }[kind]
            (guard.evaluate(closure)[0] / 2).backward()
        optimizer.step()

    with pytest.warns(RuntimeWarning, match="when it was called again with the same parameters"):
        trained(loop, "fresh", updates=1)


def test_accumulated_passes_that_keep_their_batches_are_not_told_of():
    def loop(guard, model, optimizer):
        optimizer.zero_grad()
        for i in range(2):
            (guard.evaluate(lambda i=i: loss_of(model, X[16 * i :][:16], Y[16 * i :][:16]))[0] / 2).backward()
        optimizer.step()

    guard, _ = trained(loop, "fresh", updates=6)
    # one round of trials an update, and one more at the first, second and fourth
    assert guard.counts["forward"] == 2 * (2 * 6 + 3)


@pytest.mark.parametrize("batch", ["fixed", "fresh"])
def test_weights_that_parametrizations_keep_for_the_time_of_a_step_are_those_of_the_trial(batch):
    def run(cached):
        torch.manual_seed(0)
        model = nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 16)), nn.Tanh(), nn.Linear(16, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=20.0)
        guard = Guard(model, optimizer, batch=batch)
        for _ in range(20):
            if cached:
                with parametrize.cached():
                    guard.step(lambda: loss_of(model))
            else:
                guard.step(lambda: loss_of(model))
        return [p.detach().clone() for p in model.parameters()], guard.counts

    kept, alone = run(True), run(False)
    assert same(kept[0], alone[0])
    assert kept[1] == alone[1]


class Twice(torch.optim.SGD):
    """Evaluates its closure before and after a step, as SAM does; not of torch.optim."""

    def step(self, closure=None):
        if closure is None:
            return super().step()
        with torch.enable_grad():
            closure()
        for p in self.param_groups[0]["params"]:
            p.data.add_(p.grad, alpha=-0.01)
        with torch.enable_grad():
            loss = closure()
        for p in self.param_groups[0]["params"]:
            p.data.add_(p.grad, alpha=-0.1)
        return loss


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("kind", [Twice, torch.optim.LBFGS])
def test_an_optimizer_that_calls_evaluate_in_its_own_closure_runs_unguarded(kind, first):
    def loop(guard, model, optimizer):
        if first and guard.counts["updates"] == 0 and kind is Twice:
            guard.step(lambda: loss_of(model))

        def closure():
            optimizer.zero_grad()
            loss, _ = guard.evaluate(lambda: loss_of(model))
            loss.backward()
            return loss

        optimizer.step(closure)

    def plain(_, model, optimizer):
        def closure():
            optimizer.zero_grad()
            loss, _ = loss_of(model)
            loss.backward()
            return loss

        optimizer.step(closure)

    with pytest.warns(RuntimeWarning, match="unguarded"):
        guard, found = trained(loop, "fresh", 4, kind)
    assert guard.counts["unguarded"] >= 4
    if not first:
        with pytest.warns(RuntimeWarning, match="unguarded"):
            assert same(found, trained(plain, "fresh", 4, kind)[1])


class Kept(nn.Module):
    """Batch norm in buffers that its kernel writes to without a word."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 1)
        self.register_buffer("mean", torch.zeros(5))
        self.register_buffer("variance", torch.ones(5))

    def forward(self, x):
        return self.layer(F.batch_norm(x, self.mean, self.variance, training=True))


@pytest.mark.parametrize("batch", ["fixed", "auto"])
def test_buffers_that_a_kernel_writes_to_without_a_word_are_seen(batch):
    torch.manual_seed(0)
    model, plain = Kept(), Kept()
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.1), batch=batch)

    def steps():
        for _ in range(12):
            guard.step(lambda: loss_of(model))
            loss_of(plain)

    if batch == "fixed":
        with pytest.warns(RuntimeWarning, match="changes buffers"):
            steps()
    else:
        steps()
    assert not guard._fixed_now
    torch.testing.assert_close(model.mean, plain.mean)


def test_the_weight_of_positive_answers_makes_no_distance_negative():
    guard = Guard(model := network(), torch.optim.SGD(model.parameters(), lr=1.0))
    weight = torch.tensor(20.0)

    def closure():
        out = model(X)
        return F.binary_cross_entropy_with_logits(out, Y, pos_weight=weight), out

    guard.step(closure)
    measure = guard._passes._distance_for(*closure())
    old = torch.linspace(-6, 6, 13)
    for new in torch.linspace(-9, 9, 19):
        for one in old:
            moved = float(measure(one.reshape(1, 1), new.reshape(1, 1)))
            assert moved >= -1e-6
            assert (moved < 1e-6) == bool(one == new)


def test_answers_whose_positive_ones_weigh_nothing_cost_nothing():
    none = Distance("bce", positive=torch.tensor([0.0, 1.0]))
    moved = none(torch.tensor([[-90.0, 0.0]]), torch.tensor([[-80.0, 0.0]]))
    assert float(moved) == 0.0
    assert float(none(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]]))) > 0


def test_the_state_of_a_guard_does_not_change_what_another_one_was_made_for():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer, batch="fresh")
    guard.step(lambda: loss_of(model))
    saved = optimizer.state_dict()
    for batch in ("fixed", "auto"):
        other = Guard(again := network(), made := torch.optim.SGD(again.parameters(), lr=0.1), batch=batch)
        made.load_state_dict(saved)
        assert other.batch == batch


def test_resuming_is_the_same_whichever_of_model_and_optimizer_is_loaded_first():
    def run(order, batch, upto, after):
        def steps(guard, model, count):
            for _ in range(count):
                guard.step(lambda: loss_of(model))

        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
        guard = Guard(model, optimizer, batch=batch)
        steps(guard, model, upto)
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
        guard = Guard(model, optimizer, batch=batch)
        for name in order:
            {"model": model, "optimizer": optimizer}[name].load_state_dict(saved[name])
        steps(guard, model, after)
        return [p.detach().clone() for p in model.parameters()], guard._is_fixed

    for batch, upto in (("auto", 2), ("auto", 20), ("fixed", 7)):
        first = run(("model", "optimizer"), batch, upto, 12)
        assert same(run(("optimizer", "model"), batch, upto, 12)[0], first[0])


def test_a_batch_that_was_found_not_to_be_fixed_is_not_fixed_after_resuming():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer, batch="fixed")

    def steps():
        for k in range(60):
            guard.step(lambda k=k: loss_of(model, X * (1 + k % 7)))

    with pytest.warns(RuntimeWarning, match="the batch changes"):
        steps()
    saved = optimizer.state_dict()
    again = network()
    resumed = torch.optim.SGD(again.parameters(), lr=0.1)
    guard = Guard(again, resumed, batch="fixed")
    again.load_state_dict(model.state_dict())
    resumed.load_state_dict(saved)
    looked_at = []
    for k in range(10):
        guard.step(lambda k=k: (looked_at.append(k), loss_of(again, X * (1 + k % 7)))[1])
    assert set(looked_at) == set(range(10))


def test_finite_gradients_whose_scaled_norm_overflows_are_no_reason_to_skip():
    scale = torch.tensor(2.0**70)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, fused=True)
    guard = Guard(model, optimizer)

    def steps():
        for _ in range(5):
            optimizer.zero_grad()
            optimizer.grad_scale, optimizer.found_inf = scale, torch.tensor(0.0)
            loss, _ = guard.evaluate(lambda: loss_of(model))
            (loss * scale).backward()
            optimizer.step()

    with pytest.warns(RuntimeWarning, match="fused"):
        steps()
    assert guard.counts["skipped"] == 0
    assert loss_of(model)[0] < loss_of(network())[0]


def test_kinds_of_parameters_that_come_later_are_seen():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer)
    guard.step(lambda: loss_of(model))
    model.double()
    for _ in range(3):
        before = [p.detach().clone() for p in model.parameters()]
        guard.step(lambda: loss_of(model, X.double(), Y.double()))
    # not rounded to float32
    assert any(bool((p != p.float().double()).any()) for p in model.parameters())
    assert not same(before, list(model.parameters()))
    optimizer.add_param_group({"params": [turned := nn.Parameter(torch.ones(2, dtype=torch.complex128))]})

    def closure():
        loss, out = loss_of(model, X.double(), Y.double())
        return loss + turned.abs().sum(), out

    with pytest.raises(ValueError, match=r"optimizer must have real parameters, got one of torch\.complex128"):
        guard.step(closure)


def test_a_guard_beside_a_monitor_with_a_file_can_be_copied(tmp_path):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer, batch="fixed")
    with Monitor(model, optimizer, path=tmp_path / "log.jsonl", guard=guard) as monitor:
        for _ in range(5):
            monitor.log(guard.step(lambda: loss_of(model)))
        others = copy.deepcopy((model, optimizer, guard))
        torch.save(guard, io.BytesIO())
        for _ in range(5):
            guard.step(lambda: loss_of(model))
    for _ in range(5):
        others[2].step(lambda: loss_of(others[0]))
    assert same(list(model.parameters()), list(others[0].parameters()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": None}, "model must be a torch.nn.Module, got NoneType"),
        ({"model": [network()]}, "model must be a torch.nn.Module, got list"),
        ({"fixed": {}}, "fixed must be a FixedBatch, got dict"),
        ({"fresh": FixedBatch()}, "fresh must be a FreshBatches, got FixedBatch"),
        ({"fixed": FreshBatches()}, "fixed must be a FixedBatch, got FreshBatches"),
        ({"criterion": "mse"}, "criterion must be a function, got 'mse'"),
        ({"on_update": "x"}, "on_update must be a function, got 'x'"),
        ({"generators": [0]}, "generators must be several of torch.Generator"),
        ({"generators": torch.Generator()}, "generators must be several of torch.Generator"),
    ],
)
def test_what_is_no_argument_is_named_and_the_guard_before_stays(given, message):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer)
    with pytest.raises(ValueError, match=message):
        Guard(given.get("model", model), optimizer, **{name: value for name, value in given.items() if name != "model"})
    guard.step(lambda: loss_of(model))
    assert guard.counts["updates"] == 1


def test_a_scheduler_is_no_optimizer():
    optimizer = torch.optim.SGD((model := network()).parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"optimizer must be a torch\.optim\.Optimizer, got LambdaLR"):
        Guard(model, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0))


def test_a_distance_of_ones_own_may_be_a_number_but_no_vector():
    def run(distance):
        model = network()
        guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.1), distance=distance)
        guard.step(lambda: loss_of(model))
        return guard.counts["updates"]

    assert run(lambda a, b: float((a - b).square().mean())) == 1
    with pytest.raises(ValueError, match=r"distance must return one real number, got torch.float32 of shape \(32, 1\)"):
        run(lambda a, b: (a - b) ** 2)


def test_a_guard_that_was_taken_off_keeps_no_passes():
    model = network()
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.1))
    guard.remove()
    for _ in range(3):
        guard.evaluate(lambda: loss_of(model))
    assert guard._passes.pending == []


def test_logits_of_answers_that_cannot_be_given_raise_no_doubt():
    torch.manual_seed(0)
    model = nn.Linear(5, 4)
    mask = torch.tensor([0.0, float("-inf"), 0, 0])
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.1))
    labels = torch.arange(32) % 2 * 2

    def closure():
        out = model(X) + mask
        return F.cross_entropy(out, labels), out

    assert guard.step(closure) > 0  # a warning would be an error


def test_a_temperature_behind_a_product_does_not_hide_what_the_outputs_are():
    torch.manual_seed(0)
    model = nn.Linear(5, 4)

    def closure():
        z = F.normalize(out := model(X[:8]), dim=-1)
        return F.cross_entropy(z @ z.T / 0.1, torch.arange(8)), out

    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.warns(RuntimeWarning, match="other terms or weights than its distance"):
        guard.step(closure)
