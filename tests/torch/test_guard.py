"""The guard: what it accepts, what it leaves alone, what it costs, and that it says what it cannot
do.
"""

import copy
import warnings
from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import ghostpoint as gp  # noqa: E402
from ghostpoint.diagnosis import read_history  # noqa: E402
from ghostpoint.torch import FixedBatch, FreshBatches, Guard, Monitor  # noqa: E402
from ghostpoint.torch.parameters import Parameters  # noqa: E402
from ghostpoint.torch.secants import Secants  # noqa: E402
from ghostpoint.torch.weight_decay import DecoupledDecay  # noqa: E402

from .networks import MODULES, OPTIMIZERS, batch, closure_of  # noqa: E402


def made(module="gru", optimizer="adam", seed=3):
    torch.manual_seed(seed)
    model = MODULES[module]()
    return model, OPTIMIZERS[optimizer](model.parameters())


def weights(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).clone()


def delayed_activation(seed=200, rate=30.0):
    """A long short-term memory at a rate at which gradient descent destroys it."""
    torch.manual_seed(seed)
    trial = gp.tasks.DelayedActivation().trial()
    y = torch.as_tensor(trial.targets, dtype=torch.float32)
    model = nn.ModuleList([nn.LSTM(1, 64, batch_first=True), nn.Linear(64, 1)])

    def closure():
        outputs = torch.sigmoid(model[1](model[0](torch.zeros_like(y))[0]))
        return nn.functional.mse_loss(outputs, y), outputs

    return model, torch.optim.SGD(model.parameters(), lr=rate), closure


# What it is for.


def test_a_rate_at_which_training_breaks_is_survived():
    model, optimizer, closure = delayed_activation()
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = closure()
        loss.backward()
        optimizer.step()
    assert loss > 0.1
    passes = []
    for seed in range(200, 205):
        model, optimizer, closure = delayed_activation(seed)
        guard = Guard(model, optimizer, batch="fixed")
        losses = [guard.step(closure).item() for _ in range(250)]
        assert max(losses[60 if seed == 200 else 120 :]) < 0.05 * 0.5  # chance is 1/2
        assert guard.counts["backward"] == guard.counts["updates"] == 250  # one backward pass an update
        passes.append(guard.counts["forward"] / 250)
    # forward passes an update, of whole trainings: single ones reach 1.35, as refusals depend on
    # rounding
    assert np.median(passes) <= 1.3, passes


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("module", ["gru", "lstm"])
def test_every_update_on_a_fixed_batch_obeys_the_rule(module, optimizer):
    model, chosen = made(module, optimizer)
    for group in chosen.param_groups:
        group["lr"] *= 100
    x, y = batch()
    closure = closure_of(model, x, y)
    rule = FixedBatch()
    guard = Guard(model, chosen, batch="fixed", fixed=rule)
    first, best = None, np.inf
    for _ in range(40):
        before = weights(model)
        with torch.no_grad():
            loss, outputs = closure()
        first, best = loss.item() if first is None else first, min(best, loss.item())
        guard.step(closure)
        with torch.no_grad():
            trial, moved = closure()
        assert ((moved - outputs) ** 2).mean() <= rule.kappa**2 * loss * (1 + 1e-5)
        assert trial <= rule.most(best, first) * (1 + 1e-5)
        if guard.last.action == "stayed":
            assert torch.equal(weights(model), before)
    assert guard.counts["changed"] > 0


def test_weights_that_somebody_else_has_made_worse_are_trained_on():
    model, optimizer = made("gru", "adam")
    closure = closure_of(model, *batch())
    guard = Guard(model, optimizer, batch="fixed")
    for _ in range(20):
        low = guard.step(closure).item()
    with torch.no_grad():
        model.readout.weight.add_(3.0)
    high = guard.step(closure).item()
    for _ in range(20):
        end = guard.step(closure).item()
    assert high > 1.5 * low
    assert end < 0.95 * high
    assert guard.counts["stayed"] == 0


def test_with_fresh_batches_an_update_that_is_accepted_at_once_is_the_optimizers_own_to_the_last_bit():
    runs = []
    for guarded in (False, True):
        model, optimizer = made("lstm", "adamw")
        rule = FreshBatches(noise=np.inf, cap=np.inf, clip=np.inf)
        guard = Guard(model, optimizer, batch="fresh", fresh=rule) if guarded else None
        for step in range(15):
            closure = closure_of(model, *batch(3 + step))
            if guard is not None:
                guard.step(closure)
            else:
                optimizer.zero_grad()
                closure()[0].backward()
                optimizer.step()
        runs.append(weights(model))
    assert guard.counts["kept"] == 15
    assert guard.counts["forward"] == 30
    assert torch.equal(*runs)


@pytest.mark.parametrize("kind", ["fixed", "fresh"])
@pytest.mark.parametrize("level", [-0.5, -5.0])
def test_a_loss_below_zero_is_trained_on_with_a_warning(kind, level):
    torch.manual_seed(0)
    x = nn.Parameter(torch.tensor([2.0, -1.0, 0.5]))
    optimizer = torch.optim.SGD([x], lr=0.3)
    guard = Guard(nn.ParameterList([x]), optimizer, batch=kind, distance="squared")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(300):
            guard.step(lambda: ((x**2).mean() + level, x))
    assert ["negative" in str(one.message) for one in said] == [True]
    assert (x**2).mean() < 1e-3
    assert guard.counts["stayed"] == 0


def noisy_quadratic(rate, overshoot, updates=400, level=0.0, **options):
    """The pace and the mean of late losses on ``|x|**2 / 2 + level``, its gradient with noise."""
    torch.manual_seed(0)
    x = nn.Parameter(torch.full((20,), 3.0))
    rule = FreshBatches(overshoot=overshoot, kappa=np.inf, noise=np.inf, cap=np.inf, clip=np.inf, **options)
    guard = Guard(nn.ParameterList([x]), torch.optim.SGD([x], lr=rate), batch="fresh", distance="squared", fresh=rule)
    losses = []
    for _ in range(updates):
        noise = torch.randn(20)
        losses.append((x.detach() ** 2).sum().item() / 2)
        guard.step(lambda: (level + (x**2).sum() / 2 + (noise * x).sum(), x))  # noqa: B023
    return guard.state_dict()["fresh"]["pace"], np.mean(losses[-100:])


def test_the_pace_comes_down_where_updates_are_noise_and_not_where_they_go_downhill():
    # at the minimum every update is the noise of its batch: the stationary loss falls with the rate
    plain, slowed = (noisy_quadratic(0.5, overshoot) for overshoot in (np.inf, 0.1))
    assert plain[0] == 1
    assert slowed[0] < 0.3
    assert slowed[1] < 0.3 * plain[1]
    # on the way down, a hundred times as slow, an update is followed by the same slope again
    assert noisy_quadratic(0.0005, 0.1, 200)[0] > 0.9


def bare_fresh(optimizer, parameters, **options):
    """A guard for fresh batches that refuses nothing, and keeps the pace at 1."""
    rule = FreshBatches(**{"kappa": np.inf, "noise": np.inf, "cap": np.inf, "clip": np.inf, "slowing": 0.0} | options)
    return Guard(nn.ParameterList(parameters), optimizer, batch="fresh", distance="squared", fresh=rule)


@pytest.mark.parametrize("clip", [0.5, 1.0, 2.0])
def test_gradients_of_fresh_batches_are_shortened_to_the_median_of_the_last_norms(clip):
    draw = np.random.default_rng(3)
    slopes = [torch.as_tensor(draw.standard_cauchy(4)) for _ in range(25)]
    x = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    guard = bare_fresh(torch.optim.SGD([x], lr=0.1), [x], clip=clip, norms=7)
    norms = []
    for slope in slopes:
        before = x.detach().clone()
        guard.step(lambda: (10 + slope @ x, x))  # noqa: B023
        norms.append(slope.norm().item())
        factor = min(1.0, clip * np.median(norms[-7:]) / norms[-1])
        np.testing.assert_allclose(x.detach() - before, -0.1 * factor * slope, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(x.grad, slope, rtol=0, atol=0)  # whole again
        # an update of a shortened gradient is not the optimizer's own, and is not told to be
        assert guard.last.action == ("kept" if factor == 1 else "changed")


def test_batches_without_a_gradient_do_not_make_the_others_too_long():
    x = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    guard = bare_fresh(torch.optim.SGD([x], lr=0.1), [x], clip=1.0, norms=5)
    for step in range(20):
        scale = 1.0 if step % 4 == 3 else 0.0
        before = x.detach().clone()
        guard.step(lambda: (10 + scale * x.sum(), x))  # noqa: B023
        np.testing.assert_allclose(x.detach() - before, np.full(3, -0.1 * scale), rtol=1e-12, atol=0)


@pytest.mark.parametrize("steep", [0.1, 10.0, 1000.0])
def test_updates_are_as_long_as_the_steepness_of_the_loss_allows(steep):
    x = nn.Parameter(torch.full((5,), 2.0, dtype=torch.float64))
    slope = torch.tensor([1.0, -2.0, 0.5, 1.0, 1.0], dtype=torch.float64)
    size = x.detach().norm()
    level = float(slope.norm() * size / steep)  # e = |g| |theta| / L
    guard = bare_fresh(torch.optim.SGD([x], lr=1e9), [x], cap=0.04, flat=10.0)
    before = x.detach().clone()
    guard.step(lambda: (level + slope @ (x - before), x))
    length = 0.04 * (steep / (steep + 10)) ** 0.5 * size
    np.testing.assert_allclose(x.detach() - before, -length * slope / slope.norm(), rtol=1e-9)


@pytest.mark.parametrize("loss_of", [lambda k: 8.0, lambda k: 8.0 if k < 150 else 0.1, lambda k: 0.1 + k])
def test_updates_become_shorter_as_the_loss_falls_below_what_it_was(loss_of):
    x = nn.Parameter(torch.full((5,), 2.0, dtype=torch.float64))
    slope = torch.tensor([1.0, -2.0, 0.5, 1.0, 1.0], dtype=torch.float64)
    guard = bare_fresh(torch.optim.SGD([x], lr=1e9), [x], cap=0.04, flat=0.0)
    losses, mean, last = [], None, np.inf
    for k in range(200):
        before = x.detach().clone()
        guard.step(lambda: (loss_of(k) + slope @ (x - before), x))  # noqa: B023
        losses.append(loss_of(k))
        mean = losses[-1] if mean is None else 0.9 * mean + 0.1 * losses[-1]
        # sqrt(min(1, L / L_mean)), L_mean the geometric mean of all losses
        share = min(1.0, mean / np.exp(np.mean(np.log(losses)))) ** 0.5
        expected = 0.04 * share * before.norm()
        # the factor of an update grows by a quarter at most
        assert (x.detach() - before).norm() <= expected * (1 + 1e-9)
        assert (x.detach() - before).norm() >= min(expected, 1.25 * last) * (1 - 1e-9)
        last = (x.detach() - before).norm()
    assert (share < 0.3) == (loss_of(199) < loss_of(0))


def test_one_enormous_loss_does_not_make_later_updates_short():
    x = nn.Parameter(torch.full((5,), 2.0, dtype=torch.float64))
    guard = bare_fresh(torch.optim.SGD([x], lr=1e9), [x], cap=0.04, flat=0.0)
    for k in range(400):
        with torch.no_grad():
            x.fill_(2.0)
        before = x.detach().clone()
        guard.step(lambda: ((1e8 if k == 0 else 1.0) + (x - before).sum(), x))  # noqa: B023
    assert (x.detach() - before).norm() > 0.97 * 0.04 * before.norm()


def test_a_slope_that_is_a_small_part_of_the_loss_does_not_slow_the_pace():
    # the same noise, once beside a loss of its own size and once on a plateau far above
    assert noisy_quadratic(0.5, 0.1)[0] < 0.3
    assert noisy_quadratic(0.5, 0.1, level=1e5)[0] == 1
    assert noisy_quadratic(0.5, 0.1, level=1e5, share=0.0)[0] < 0.3


@pytest.mark.parametrize("slowest", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate", [0.02, 0.2, 2.0])
def test_the_pace_slows_a_rate_no_more_than_the_cap_did(slowest, rate):
    # every gradient is opposite to the one before it: each update ends uphill, and the pace falls
    x = nn.Parameter(torch.ones(4, dtype=torch.float64))
    rule = {"cap": 0.04, "flat": 0.0, "slowing": 0.1, "warm": 0, "share": 0.0, "overshoot": 0.0, "slowest": slowest}
    guard = bare_fresh(torch.optim.SGD([x], lr=rate), [x], **rule)
    fits = fitted = 1.0
    for step in range(100):
        known = fitted  # what the pace learns comes before the update
        before, sign = x.detach().clone(), -1.0 if step % 2 else 1.0
        # the norm of the gradient is 2 at first, then 0.2, where the cap hardly acts
        size = 1.0 if step < 50 else 0.1
        guard.step(lambda: (100 + sign * size * (x - before).sum(), x))  # noqa: B023
        capped = min(1.0, 0.04 * before.norm().item() / (rate * 2 * size))
        fits = 0.98 * fits + 0.02 * capped
        fitted = min(fitted, fits)
    pace = guard.state_dict()["fresh"]["pace"]
    assert pace == pytest.approx(max(slowest * known, 1e-3), rel=1e-9)
    assert (fitted == 1) == (rate == 0.02)


def test_without_a_cap_the_pace_may_slow_every_rate():
    assert noisy_quadratic(0.5, 0.1, slowest=1.0)[0] < 0.3


def test_a_fused_optimizers_scale_of_gradients_changes_nothing():
    # a power of two: no rounding
    ends, paces = [], []
    for scale in (1.0, 1024.0):
        torch.manual_seed(0)
        x = nn.Parameter(torch.full((20,), 3.0))
        optimizer = torch.optim.SGD([x], lr=0.5, fused=True)
        rule = FreshBatches(cap=0.5, flat=1.0, share=3.0)
        guard = Guard(nn.ParameterList([x]), optimizer, batch="fresh", distance="squared", fresh=rule)
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(scale), torch.tensor(0.0)
        for step in range(150):
            noise = torch.randn(20)
            optimizer.zero_grad()
            with nullcontext() if step else pytest.warns(RuntimeWarning, match="fused"):
                loss, _ = guard.evaluate(lambda: (1 + (x**2).sum() / 2 + (noise * x).sum(), x))  # noqa: B023
                (scale * loss).backward()
                optimizer.step()
        ends.append(x.detach().clone())
        paces.append(guard.state_dict()["fresh"]["pace"])
    assert torch.equal(*ends)
    assert paces[0] == paces[1] < 1


# Decay of the weights.

DECOUPLED = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-3),
    "nadam": lambda groups: torch.optim.NAdam(groups, lr=1e-3, decoupled_weight_decay=True),
    "radam": lambda groups: torch.optim.RAdam(groups, lr=1e-3, decoupled_weight_decay=True),
}


@pytest.mark.parametrize("optimizer", DECOUPLED)
def test_a_decoupled_decay_is_made_at_the_optimizers_own_rate_however_large_the_factor(optimizer):
    model, _ = made("gru", "adam")
    # the loss does not depend on them: decay alone moves them
    apart = [nn.Parameter(torch.full((5,), value)) for value in (3.0, -2.0)]
    groups = [
        {"params": [*model.parameters(), apart[0]], "weight_decay": 0.1},
        {"params": [apart[1]], "weight_decay": 0.4},
    ]
    x, y = batch()

    def closure():
        outputs = model(x) + 0 * (apart[0].sum() + apart[1].sum())
        return nn.functional.mse_loss(outputs, y), outputs

    guard = Guard(model, DECOUPLED[optimizer](groups), batch="fixed")
    factors = []
    for _ in range(30):
        guard.step(closure)
        factors.append(guard.last.factor)
    assert guard.counts["refused"] == 0
    assert max(factors) > 5
    torch.testing.assert_close(apart[0], torch.full((5,), 3.0 * (1 - 1e-4) ** 30), rtol=3e-5, atol=0)
    torch.testing.assert_close(apart[1], torch.full((5,), -2.0 * (1 - 4e-4) ** 30), rtol=3e-5, atol=0)


def test_a_decay_that_the_loss_does_not_stand_is_cut_down_and_the_share_is_in_the_checkpoint():
    model, _ = made("gru", "adam")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    guard = Guard(model, optimizer, batch="fixed")
    closure = closure_of(model, *batch())
    for _ in range(60):
        guard.step(closure)
    learned, low = weights(model), guard.last.trial_loss
    optimizer.param_groups[0]["weight_decay"] = 50.0  # half of the weights in a step
    for _ in range(5):
        guard.step(closure)
    assert guard.counts["refused"] > 0
    assert guard.last.trial_loss < 1.2 * low
    assert weights(model).norm() > 0.5 * learned.norm()  # all of the decay would leave 0.03 of it
    share = guard.state_dict()["fixed"]["share"]
    assert 0 < share < 1
    again, other = made("gru", "adamw", seed=9)
    second = Guard(again, other, batch="fixed")
    other.load_state_dict(optimizer.state_dict())
    assert second.state_dict()["fixed"]["share"] == share


def test_a_decay_that_is_part_of_the_gradient_is_part_of_the_update():
    model, _ = made("gru", "adam")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)
    assert not DecoupledDecay(Parameters(optimizer)).read()


# Secants.


@pytest.mark.parametrize("compact", [False, True])
def test_on_a_quadratic_the_update_along_stiff_directions_is_at_most_newtons(compact):
    torch.manual_seed(0)
    # eigenvalues of the Hessian 1 and 100
    x = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    hessian = torch.diag(torch.tensor([100.0, 1.0, 1.0]))
    secants = Secants(Parameters(torch.optim.SGD([x], lr=1.0)), 2, compact)
    theta = x.detach().clone()
    with torch.no_grad():
        x.add_(torch.tensor([0.3, 0.0, 0.0]))
    secants.add(hessian @ (x.detach() - theta), theta)
    x.grad = hessian @ x.detach()
    d = -x.grad  # a step of gradient descent with rate 1: a hundred times too far
    stiff = secants.stiff()
    assert stiff.slope == pytest.approx([130.0], rel=0.02)
    assert stiff.curvature == pytest.approx([100.0], rel=0.02)
    along = secants.along(stiff, d)
    assert along == pytest.approx([-130.0], rel=0.02)
    for rate, expected in ((1.0, -1.3), (0.001, -0.13)):  # Newton's step, or the rate if that is shorter
        moved = d + stiff.correction(1.0, along, rate)[0] * secants.piece(0, slice(0, 3))
        torch.testing.assert_close(moved, torch.tensor([expected, -1.0, -1.0]), rtol=0.02, atol=1e-5)
    # the gradient without its stiff part
    rest = x.grad - stiff.gradient[0] * secants.piece(0, slice(0, 3))
    torch.testing.assert_close(rest, torch.tensor([0.0, 1.0, 1.0]), rtol=0.02, atol=0.02)


def test_the_optimizer_sees_the_gradient_without_its_stiff_part_and_the_loop_sees_it_whole():
    torch.manual_seed(0)
    x = nn.Parameter(torch.randn(50))
    stiffness = torch.ones(50)
    stiffness[0] = 1000.0
    optimizer = torch.optim.SGD([x], lr=0.03, momentum=0.9)
    guard = Guard(nn.ParameterList([x]), optimizer, batch="fixed", fixed=FixedBatch(secants=3), distance="squared")
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(x.grad.clone()))
    monitor = Monitor(nn.ParameterList([x]), optimizer, guard=guard, every={"gradient_norm": 1})
    wholes = []
    for _ in range(5):
        gradient = stiffness * x.detach()
        monitor.log(guard.step(lambda: ((stiffness * x**2).sum() / 2, x)))
        torch.testing.assert_close(x.grad, gradient)
        wholes.append(gradient)
    monitor.read_out()
    for given, whole in zip(seen[1:], wholes[1:], strict=True):
        assert abs(whole[0]) > 20
        assert abs(given[0]) < 1e-4 * abs(whole[0])
        torch.testing.assert_close(given[1:], whole[1:], rtol=1e-3, atol=1e-3)
    # the monitor sees what the loop sees
    np.testing.assert_allclose(monitor.record["gradient_norm"], [g.norm().item() for g in wholes], rtol=1e-5)


def test_where_all_of_the_gradient_is_stiff_the_update_is_newtons():
    x = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    guard = Guard(nn.ParameterList([x]), torch.optim.SGD([x], lr=1e-3), batch="fixed", distance="squared")
    for _ in range(3):
        guard.step(lambda: ((50 * x**2).sum(), x))
    assert abs(x.item()) < 0.3


def walked(hessian, steps, count):
    """The secants of a quadratic loss along some steps."""
    x = nn.Parameter(torch.zeros(len(hessian), dtype=torch.float64))
    secants = Secants(Parameters(torch.optim.SGD([x], lr=1.0)), count, False)
    for step in steps:
        theta = x.detach().clone()
        with torch.no_grad():
            x.add_(step)
        secants.add(hessian @ (x.detach() - theta), theta)
    combine, curvature = secants.directions()
    return combine @ torch.stack(secants.y).numpy(), curvature


def test_steps_in_all_dimensions_give_the_eigenvectors_of_the_hessian_and_its_eigenvalues():
    torch.manual_seed(1)
    values = torch.tensor([0.5, 2.0, 7.0, 40.0, 300.0], dtype=torch.float64)
    vectors, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    hessian = vectors @ torch.diag(values) @ vectors.T
    # eight steps, so that the three oldest of them depend on the others
    q, curvature = walked(hessian, torch.randn(8, 5, dtype=torch.float64), 8)
    np.testing.assert_allclose(curvature, values, rtol=1e-6)
    np.testing.assert_allclose(np.abs(q @ vectors.numpy()), np.eye(5), atol=1e-6)


def test_directions_are_orthonormal_and_curvatures_no_larger_than_the_hessians_along_them():
    torch.manual_seed(1)
    root = torch.randn(20, 20, dtype=torch.float64)
    hessian, twice = root @ root.T, torch.randn(20, dtype=torch.float64)
    others = torch.randn(3, 20, dtype=torch.float64)
    q, curvature = walked(hessian, [others[0], twice, twice, others[1], others[2]], 4)
    assert len(q) == 3  # of the same step twice one
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-9)
    assert (curvature <= np.diag(q @ hessian.numpy() @ q.T) * (1 + 1e-9)).all()


def test_directions_of_negative_curvature_are_not_limited():
    hessian = torch.diag(torch.tensor([5.0, -3.0], dtype=torch.float64))
    q, curvature = walked(hessian, torch.eye(2, dtype=torch.float64), 4)
    np.testing.assert_allclose(curvature, [5.0])
    np.testing.assert_allclose(np.abs(q), [[1.0, 0.0]])


def test_secants_in_8_bits_are_within_two_percent():
    torch.manual_seed(2)
    x = nn.Parameter(torch.zeros(5000))
    secants = Secants(Parameters(torch.optim.SGD([x], lr=1.0)), 1, True)
    theta = x.detach().clone()
    with torch.no_grad():
        x.add_(torch.randn(5000))
    y = torch.randn(5000)
    secants.add(y, theta)
    assert (secants.piece(0, slice(0, 5000)) - y).norm() < 0.02 * y.norm()


def test_memory_of_a_large_network_is_three_copies():
    model = nn.Linear(1100, 1000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer, batch="fixed")
    x, y = torch.randn(4, 1100), torch.randn(4, 1000)
    for _ in range(8):
        guard.step(closure_of(model, x, y))
    found = []

    def collect(value):
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, dict):
            [collect(one) for one in value.values()]
        elif isinstance(value, list | tuple):
            [collect(one) for one in value]

    collect(guard.state_dict())
    assert guard._work is None
    assert len(guard._fixed.secants.y) == 4
    copies = sum(t.numel() * t.element_size() for t in found) / sum(4 * p.numel() for p in model.parameters())
    assert 2.9 < copies <= 3


# Random numbers and buffers.


@pytest.mark.parametrize("module", ["rnn", "stack"])
def test_generators_and_running_statistics_are_those_of_a_loop_without_the_guard(module):
    left = []
    for guarded in (False, True):
        model, optimizer = made(module, "sgd")
        x, y = batch(6)
        closure = closure_of(model, x, y)
        rule = FreshBatches(noise=np.inf, cap=np.inf, clip=np.inf)
        guard = Guard(model, optimizer, batch="fresh", fresh=rule) if guarded else None
        for _ in range(5):
            if guard is not None:
                guard.step(closure)
            else:
                optimizer.zero_grad()
                closure()[0].backward()
                optimizer.step()
        left.append([torch.get_rng_state(), weights(model), *[b.clone() for b in model.buffers()]])
    assert guard.counts["kept"] == 5
    assert all(torch.equal(a, b) for a, b in zip(*left, strict=True))


def test_a_trial_has_the_dropout_and_the_noise_of_its_update():
    model, optimizer = made("rnn", "sgd")
    model.dropout.p = 0.5
    optimizer.param_groups[0]["lr"] = 1e-8
    x, y = batch()
    own = torch.Generator().manual_seed(1)

    def closure():
        outputs = model(x + torch.randn(x.shape, generator=own))
        return nn.functional.mse_loss(outputs, y), outputs

    guard = Guard(model, optimizer, batch="fresh", generators=[own])
    for _ in range(3):
        guard.step(closure)
        assert guard.last.distance < 1e-12
    expected = torch.Generator().manual_seed(1)
    for _ in range(3):
        torch.randn(x.shape, generator=expected)
    assert torch.equal(own.get_state(), expected.get_state())


def test_a_fixed_batch_with_dropout_is_judged_as_fresh_and_says_so():
    model, optimizer = made("rnn", "sgd")
    guard = Guard(model, optimizer, batch="fixed")
    with pytest.warns(RuntimeWarning, match="draws random numbers or changes buffers"):
        guard.step(closure_of(model, *batch()))
    assert guard.last.rule == "fresh"


# State.


@pytest.mark.parametrize("kind", ["fixed", "fresh", "auto"])
def test_training_goes_on_from_a_checkpoint_with_the_same_bits(kind, tmp_path):
    x, y = batch()

    def step(guard, model, k):
        guard.step(closure_of(model, *(batch(3 + k) if kind == "fresh" else (x, y))))

    model, optimizer = made("lstm", "momentum")
    optimizer.param_groups[0]["lr"] = 10.0
    guard = Guard(model, optimizer, batch=kind)
    for k in range(14):
        step(guard, model, k)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "checkpoint.pt")
    for k in range(14, 24):
        step(guard, model, k)
    again, other = made("lstm", "momentum", seed=9)
    second = Guard(again, other, batch=kind)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    again.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    for k in range(14, 24):
        step(second, again, k)
    assert torch.equal(weights(model), weights(again))
    assert second.counts["updates"] == 24
    assert second.last == guard.last
    if kind != "fresh":
        assert guard.last.rule == "fixed"
    # without a guard the checkpoint is an ordinary one
    plain, third = made("lstm", "momentum")
    third.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["optimizer"])
    copy.deepcopy(plain)


def test_a_batch_that_stays_is_noticed_and_one_that_does_not_too():
    model, optimizer = made("gru", "sgd")
    guard = Guard(model, optimizer)
    for _ in range(6):
        guard.step(closure_of(model, *batch()))
    assert guard.last.rule == "fixed"
    for k in range(3):
        guard.step(closure_of(model, *batch(8 + k)))
    assert guard.last.rule == "fresh"


def test_a_batch_that_was_declared_fixed_and_is_not_is_found_out():
    model, optimizer = made("gru", "sgd")
    guard = Guard(model, optimizer, batch="fixed")
    for k in range(50):
        guard.step(closure_of(model, *batch(3 + k % 7)))
    with pytest.warns(RuntimeWarning, match="the batch changes"):
        guard.step(closure_of(model, *batch(4)))
    assert guard.last.rule == "fresh"


def test_weights_that_somebody_else_writes_to_are_not_taken_for_another_batch():
    model, optimizer = made("gru", "sgd")
    guard = Guard(model, optimizer, batch="fixed")
    closure = closure_of(model, *batch())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            loss = guard.step(closure)
            with torch.no_grad():
                model.readout.bias += 0.5
                now = closure()[0]
        assert guard.step(closure) == now != loss


# Inside other people's loops.


def test_a_loop_with_clipping_accumulation_groups_and_a_scheduler():
    model, _ = made("gru")
    groups = [{"params": model.layer.parameters(), "lr": 0.5}, {"params": model.readout.parameters()}]
    optimizer = torch.optim.Adam(groups, lr=0.1)
    guard = Guard(model, optimizer)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [0.5, 0.1], total_steps=12)
    monitor = Monitor(model, optimizer, guard=guard, every=1)
    assert type(optimizer) is torch.optim.Adam
    norms = []
    for _ in range(10):
        optimizer.zero_grad()
        for rows in (3, 5):
            loss, _ = guard.evaluate(closure_of(model, *batch(rows)))
            (loss / 2).backward()
        before = weights(model)
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
        schedule.step()
        norms.append((weights(model) - before).norm().item())
        monitor.log(loss)
    assert guard.counts["updates"] == 10
    assert guard.counts["unguarded"] == 0
    monitor.read_out(last=True)
    # the monitor sees the update that stands, in whatever order the two were made
    np.testing.assert_allclose(monitor.record["update_size"], norms, rtol=1e-4)
    assert monitor.record["guard_refused"][-1] == guard.counts["refused"]


def test_a_step_that_amp_skips_is_not_judged_and_the_next_one_is():
    model, optimizer = made("gru", "sgd")
    guard = Guard(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    x, y = batch()
    before = weights(model)
    optimizer.zero_grad()
    loss, _ = guard.evaluate(closure_of(model, x, y))
    scaler.scale(loss * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(before, weights(model))
    assert guard.counts["updates"] == 0
    for _ in range(3):
        guard.step(closure_of(model, x, y), scaler=scaler, before_step=lambda: None)
    assert guard.counts["updates"] == 3
    assert len(guard._passes.pending) == 0


def test_bfloat16_autocast_and_a_compiled_model():
    torch._dynamo.reset()
    model, optimizer = made("stack", "adam")
    model.layers[1], model.layers[3] = nn.Identity(), nn.Identity()
    run = torch.compile(model, backend="aot_eager")
    x, y = batch()

    def closure():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = run(x)
        return nn.functional.mse_loss(outputs.float(), y), outputs

    guard = Guard(model, optimizer, batch="fixed", distance="squared")
    losses = [guard.step(closure).item() for _ in range(30)]
    assert losses[-1] < losses[0]
    assert guard.counts["stayed"] == 0


class Stranger(nn.Module):
    """Two recurrent layers over packed sequences, dropout, attention over their states, an answer a
    sequence.
    """

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 8, padding_idx=0)
        self.layers = nn.GRU(8, 8, num_layers=2, dropout=0.1, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.readout = nn.Linear(16, 3)

    def forward(self, tokens, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(self.words(tokens), lengths, batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.layers(packed)[0], batch_first=True)
        padding = tokens[:, : states.shape[1]] == 0
        found, _ = self.attention(states, states, states, key_padding_mask=padding)
        return self.readout(found.masked_fill(padding[..., None], 0).sum(1) / lengths[:, None])


def test_a_strangers_module_in_four_added_lines(tmp_path):
    torch.manual_seed(0)
    model = Stranger()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.03)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        guard = Guard(model, optimizer)  # 1
        monitor = Monitor(model, optimizer, path=tmp_path / "log.jsonl", guard=guard)  # 2
        for _ in range(80):
            lengths = torch.randint(3, 9, (16,))
            tokens = torch.randint(1, 9, (16, 8)) * (torch.arange(8) < lengths[:, None])
            targets = tokens[:, 0] % 3
            loss = guard.step(lambda: (nn.functional.cross_entropy(o := model(tokens, lengths), targets), o))  # 3 # noqa: B023
            monitor.log(loss)  # 4
        monitor.close()
    losses = monitor.record["loss"]
    assert losses[-10:].mean() < 0.8 * losses[:10].mean()
    assert guard.last.rule == "fresh"
    assert guard.counts["unguarded"] == 0
    assert guard.counts["forward"] <= 2.3 * 80
    assert len(read_history(tmp_path / "log.jsonl").runs[0].epoch) == 80


def test_model_and_batch_in_place_of_a_closure():
    model, optimizer = made("gru", "adam")
    guard = Guard(model, optimizer, nn.functional.mse_loss)
    x, y = batch()
    losses = [guard.step(inputs=x, targets=y).item() for _ in range(10)]
    assert losses[-1] < losses[0]


def test_gradients_that_are_not_finite_change_neither_weights_nor_momenta():
    model, optimizer = made("gru", "adam")
    seen = []
    guard = Guard(model, optimizer, batch="fresh", on_update=seen.append)
    x, y = batch()
    guard.step(closure_of(model, x, y))
    before, state = weights(model), copy.deepcopy(optimizer.state_dict()["state"])
    guard.step(closure_of(model, x * float("nan"), y))
    assert torch.equal(before, weights(model))
    for index, old in state.items():
        assert all(torch.equal(old[k], optimizer.state_dict()["state"][index][k]) for k in old)
    assert model.readout.weight.grad is not None
    assert seen[-1].action == "skipped"
    assert guard.counts["skipped"] == 1


def test_after_eight_refusals_the_weights_stay_and_the_momenta_are_cleared():
    model, optimizer = made("gru", "adam")
    guard = Guard(model, optimizer, batch="fresh", distance=lambda old, new: torch.tensor(1e9))
    before = weights(model)
    guard.step(closure_of(model, *batch()))
    assert guard.last.action == "stayed"
    assert guard.last.refused == ("outputs",) * 8
    # a refusal slows the next updates too, but not below what the cap did
    seen = guard.state_dict()["fresh"]
    assert seen["factor"] < 1e-2
    assert seen["pace"] == pytest.approx(max(seen["fitted"], np.exp(-0.02 * 2.97)), rel=1e-12)
    assert torch.equal(before, weights(model))
    assert all(not s["exp_avg"].any() and s["exp_avg_sq"].any() for s in optimizer.state.values())


# What it cannot do.


def test_what_is_unguarded_says_so_once():
    model, optimizer = made("gru", "sgd")
    guard = Guard(model, optimizer)
    closure_of(model, *batch())()[0].backward()
    with pytest.warns(RuntimeWarning, match="without guard.evaluate"):
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    assert guard.counts["unguarded"] == 2
    lbfgs = torch.optim.LBFGS(model.parameters(), lr=0.1)
    guard = Guard(model, lbfgs)
    before = weights(model)
    with pytest.warns(RuntimeWarning, match="LBFGS evaluates its closure itself"):
        guard.step(closure_of(model, *batch()))
    assert guard.counts["unguarded"] == 1
    assert not torch.equal(before, weights(model))


def test_removed_it_is_gone():
    model, optimizer = made("gru", "sgd")
    guard = Guard(model, optimizer)
    guard.remove()
    optimizer.step()
    assert guard.counts["updates"] == 0
    assert set(optimizer.state_dict()) == {"state", "param_groups"}


def test_wrong_arguments_are_named():
    model, optimizer = made("gru", "sgd")
    with pytest.raises(ValueError, match="batch must be one of auto, fixed, fresh"):
        Guard(model, optimizer, batch="full")
    with pytest.raises(ValueError, match="distance must be one of auto, squared"):
        Guard(model, optimizer, distance="l1")
    with pytest.raises(ValueError, match="kappa must be above 0"):
        FixedBatch(kappa=0)
    guard = Guard(model, optimizer)
    x, y = batch()
    with pytest.raises(ValueError, match=r"closure must return \(loss, outputs\), got Tensor"):
        guard.step(lambda: model(x).sum())
    with pytest.raises(ValueError, match="a loss of one number"):
        guard.step(lambda: (model(x), model(x)))
    with pytest.raises(ValueError, match="closure must be given, or inputs and targets, and criterion"):
        guard.step(inputs=x, targets=y)
    with pytest.raises(ValueError, match="outputs must be one real tensor"):
        guard.step(lambda: (model(x).sum(), [model(x)]))


def test_an_optimizer_has_one_guard():
    model, optimizer = made()
    first = Guard(model, optimizer)
    with pytest.warns(RuntimeWarning, match="the optimizer had a guard already, which is taken off"):
        second = Guard(model, optimizer)
    second.step(closure_of(model, *batch()))
    assert (first.counts["updates"], second.counts["updates"]) == (0, 1)
    second.remove()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Guard(model, optimizer)


def test_parameters_that_get_no_gradient_are_told_of_once():
    model, _ = made()
    _, optimizer = made()  # of another network
    guard = Guard(model, optimizer)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            guard.step(closure_of(model, *batch()))
    assert [str(one.message)[:57] for one in told] == ["Guard: no parameter of the optimizer has a gradient in th"]


def test_a_closure_that_takes_another_batch_when_it_is_called_again_is_an_error():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    batches = iter(torch.randn(n, 3) for n in (4, 5, 6))
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.1))

    def closure():
        outputs = model(next(batches))
        return outputs.square().mean(), outputs

    before = weights(model)
    with pytest.raises(ValueError, match=r"shape \(4, 2\), and of shape \(5, 2\)"):
        guard.step(closure)
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("rule", ["fresh", "fixed"])
def test_a_trial_that_fails_leaves_the_network_as_it_was_before_the_update(rule):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), *([nn.BatchNorm1d(4), nn.Dropout(0.5)] if rule == "fresh" else []))
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.1), batch=rule)
    calls = []
    x = torch.randn(5, 3)

    def closure():
        outputs = model(x)
        calls.append((weights(model), [b.clone() for b in model.buffers()], torch.get_rng_state()))
        if len(calls) == 2:
            torch.rand(3)
            raise MemoryError("in the trial")
        return outputs.square().mean(), outputs

    with pytest.raises(MemoryError, match="in the trial"):
        guard.step(closure)
    (before, buffers, generator), (tried, _, _) = calls
    assert not torch.equal(tried, before)
    assert torch.equal(weights(model), before)
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    assert torch.equal(torch.get_rng_state(), generator)
    guard.step(closure)
    assert guard.last.rule == rule
    assert guard.counts["updates"] == 1


def slope(optimizer, at=1.0, rise=1e-3, **options):
    """A guard of one number w with the loss 1 + rise w."""
    w = nn.Parameter(torch.tensor([at], dtype=torch.float64))
    model = nn.ParameterList([w])
    guard = Guard(model, optimizer([w]), batch="fixed", distance="squared", fixed=FixedBatch(**options))
    return w, guard, lambda: ((1 + rise * w).squeeze(), 1e-6 * w)


def test_updates_may_be_longer_where_nothing_is_gained():
    w, guard, closure = slope(lambda w: torch.optim.SGD(w, lr=1e9), at=-1.0, rise=1e-6, growth=1.0)
    lengths = []
    for _ in range(60):
        before = w.item()
        guard.step(closure)
        lengths.append(abs(w.item() - before) / abs(before))
    np.testing.assert_allclose(lengths[:50], 0.02, rtol=1e-4)
    assert 0.02 < lengths[51] < 0.05  # the factor grows by a quarter an update at most
    np.testing.assert_allclose(lengths[55:], 0.05, rtol=1e-4)


def test_a_rise_is_accepted_where_nothing_is_gained_but_not_beyond_a_hundredth_of_the_lowest_loss():
    w, guard, closure = slope(lambda w: torch.optim.SGD(w, lr=1e9, maximize=True), patience=3)
    losses = [guard.step(closure).item() for _ in range(300)]
    assert max(losses[:3]) < losses[0] * (1 + 1e-12)  # but for rounding
    assert losses[0] * 1.005 < max(losses) <= losses[0] * 1.0101
    assert guard._fixed.lowest.loss == losses[0]

    state = copy.deepcopy(guard.state_dict())
    _, other, _ = slope(lambda w: torch.optim.SGD(w, lr=1e9, maximize=True), at=w.item())
    other.load_state_dict(state)
    assert other._fixed.lowest == guard._fixed.lowest


def test_a_network_whose_parameters_somebody_else_has_moved_waits_from_there():
    w, guard, closure = slope(lambda w: torch.optim.SGD(w, lr=1e9), at=-100.0)
    for _ in range(30):
        guard.step(closure)
    assert guard._fixed.lowest.waited > 0
    with torch.no_grad():
        w.fill_(100.0)
    guard.step(closure)
    assert guard._fixed.lowest.waited == 0
    assert guard._fixed.lowest.mark == guard._fixed.lowest.loss == pytest.approx(1.1)


def test_a_network_that_has_gained_is_not_stuck():
    rule = FixedBatch()
    assert rule.is_stuck(0.9, 1.0, 50)
    assert not rule.is_stuck(0.9, 1.0, 49)
    assert not rule.is_stuck(0.5, 1.0, 500)
    assert rule.most(0.9, 1.0) == pytest.approx(0.9 * (1 + 0.2 * 0.1))
    assert rule.most(0.999, 1.0, stuck=True) == pytest.approx(0.999 * 1.01)
    assert FixedBatch(cap=0.1).farthest(True) == 0.1


@pytest.mark.parametrize(("name", "value"), [("stuck", 0.0), ("patience", 0), ("gain", -0.1)])
def test_numbers_of_the_rule_for_plateaus_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        FixedBatch(**{name: value})


def test_a_network_that_is_stuck_at_chance_learns():
    from benchmarks.memory_tasks import problem

    parity = problem("parity")
    network = parity.network("tanh", 64, seed=1008)
    guard = Guard(network, torch.optim.Adam(network.parameters(), lr=0.03), batch="fixed")
    x, y = parity.batches(torch.Generator())()
    losses = [guard.step(lambda: parity.loss(network(x), y)).item() for _ in range(250)]
    assert min(losses[:50]) > 0.9 * parity.chance
    assert losses[-1] < 0.1 * parity.chance
