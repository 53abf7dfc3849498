"""The GRU family: PyTorch's equations, the leaky form, training that learns, slow points that are
there.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ghostpoint as gp
from ghostpoint.command.slow_points import Output, find_in_file
from ghostpoint.models import GRU
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination
from ghostpoint.training.reference import evaluate
from ghostpoint.weights import read_weights
from tests.training.calls import train_with


def weights_of(module):
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(("units", "inputs"), [(1, 1), (7, 3), (20, 2)])
def test_a_step_of_one_is_that_of_pytorch(units, inputs):
    torch.manual_seed(units)
    cell = torch.nn.GRUCell(inputs, units).double()
    model = GRU.from_torch(weights_of(cell))
    generator = np.random.default_rng(0)
    x, u = generator.normal(size=(9, 1, units)), 3 * generator.normal(size=(9, inputs))
    with torch.no_grad():
        theirs = cell(torch.tensor(u), torch.tensor(x[:, 0])).numpy()
    np.testing.assert_allclose(model.step(x, 1.0, u)[:, 0], theirs, rtol=0, atol=1e-12)
    # the leaky form moves alpha of the way
    np.testing.assert_allclose(model.step(x, 0.3, u)[:, 0], 0.7 * x[:, 0] + 0.3 * theirs, rtol=0, atol=1e-12)


def test_a_file_of_a_pytorch_module_is_read(tmp_path):
    torch.manual_seed(3)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(2, 11, batch_first=True)
            self.readout = torch.nn.Linear(11, 3)

    net = Net().double()
    np.savez(tmp_path / "net.npz", **weights_of(net))
    model = read_weights(tmp_path / "net.npz")
    assert type(model) is GRU
    inputs = np.random.default_rng(0).normal(size=(6, 2))
    with torch.no_grad():
        states, _ = net.rnn(torch.tensor(inputs)[None])
        answers = net.readout(states)[0].numpy()
    x = model.initial_state
    for step, u in enumerate(inputs):
        x = model.step(x, 1.0, u)
        np.testing.assert_allclose(x[0], states[0, step].numpy(), atol=1e-13)
        np.testing.assert_allclose(model.logit_of_state(x)[0], answers[step], atol=1e-13)
    np.savez(tmp_path / "cell.npz", **weights_of(torch.nn.GRUCell(2, 4, bias=False)))
    assert (read_weights(tmp_path / "cell.npz").b == 0).all()


def test_initial_weights_have_the_distribution_of_pytorch():
    models = GRU.initialize(64, range(20), n_inputs=3)
    limit = 1 / 8
    for part in models.parts:
        values = getattr(models, part)[:, :64] if part == "b" else getattr(models, part)
        widest = 2 * limit if part == "b" else limit
        assert np.abs(values).max() <= widest
        variance = limit**2 / 3 * (2 if part == "b" else 1)
        assert values.var() == pytest.approx(variance, rel=8 / np.sqrt(values.size))
        assert abs(values.mean()) <= 5 * np.sqrt(variance / values.size)
    assert (models.initial_state == 0).all()
    assert not np.array_equal(models.w_rec[0], models.w_rec[1])
    np.testing.assert_array_equal(GRU.initialize(64, [7], n_inputs=3).w_rec[0], models.w_rec[7])
    assert GRU.initialize(4, [0]).w_in is None


def test_what_does_not_fit_is_refused():
    good = GRU.initialize(4, [0, 1], n_inputs=2).arrays()
    for name, value, message in (
        ("w_rec", np.zeros((2, 8, 4)), r"w_rec must have shape \(R, 3 N, N\) with at least one unit, got \(2, 8, 4\)"),
        ("w_rec", np.zeros((2, 0, 0)), "at least one unit"),
        ("b", np.zeros((2, 4)), r"b must have shape \(2, 12\)"),
        ("b_rec", np.zeros((2, 12)), r"b_rec must have shape \(2, 4\)"),
        ("w_in", np.zeros((2, 4, 2)), r"w_in must have shape \(2, 12, I\)"),
        ("w_out", np.zeros((2, 1, 5)), r"w_out must have shape \(2, O, 4\)"),
        ("b_out", np.full((2, 1), np.nan), "b_out must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            GRU(**{**good, name: value})


@pytest.mark.parametrize(
    "task", [DelayedActivation(30), DelayedCueDiscrimination(10, 20, 15, noise=0.1, initial_scale=0.2, copies=2)]
)
def test_the_gradient_is_the_slope_of_the_loss(task):
    models = GRU.initialize(5, [0, 1], n_inputs=task.n_inputs)
    generator = np.random.default_rng(0)
    shape = (task.n_trials, 2, 5)
    shown = {
        "initial_states": generator.normal(size=shape),
        "noise": 0.3 * generator.normal(size=(task.steps, *shape)),
    }
    gradient = evaluate(models, task, **shown).gradient
    for part in models.present_parts():
        value = np.array(getattr(models, part))
        way = generator.normal(size=value.shape)
        above, below = (evaluate(models.replace(**{part: value + h * way}), task, **shown).loss for h in (1e-5, -1e-5))
        along = (gradient[part] * way).reshape(2, -1).sum(axis=1)
        np.testing.assert_allclose(along, (above - below) / 2e-5, rtol=1e-6, atol=1e-9, err_msg=part)


@pytest.fixture(scope="module")
def run():
    """Delayed activation learned to a loss below 0.1 of chance."""
    models, task = GRU.initialize(10, [0, 1]), DelayedActivation(30)
    checkpoints = range(0, 80, 20)
    return train_with(
        models, task, 0.02, 80, optimizer="adam", engine="torch", dtype="float64", checkpoints=checkpoints
    )


def test_delayed_activation_is_learned(run):
    task = DelayedActivation(30)
    loss = run.history["loss"].values / task.chance_loss
    assert (loss[:, 0] > 0.4).all()
    assert (evaluate(run.models, task).loss < 0.1 * task.chance_loss).all()
    assert (run.events["first_solved"] >= 0).all()


def test_slow_points_of_a_trained_network_are_where_it_is_slow(run):
    model = run.models[0]
    found = gp.find_slow_points(model, n_starts=32)
    assert len(found)
    for k, x in enumerate(found.position):
        velocity = model.step(x[None], 1.0)[0] - x
        assert np.linalg.norm(velocity) == pytest.approx(found.speed[k], rel=1e-6, abs=1e-13)
        if found.kind[k] == "ghost":
            # no slower place near by
            near = x + 1e-3 * np.random.default_rng(k).normal(size=(200, len(x)))
            moved = np.array([model.step(each[None], 1.0)[0] - each for each in near])
            assert (np.linalg.norm(moved, axis=1) > found.speed[k]).all()


def bistable():
    """A unit that holds: x = 0 is unstable, and two stable fixed points are beside it."""
    w_rec = np.zeros((1, 6, 2))
    w_rec[0, 4:] = 3 * np.eye(2)
    return GRU(w_rec, np.zeros((1, 6)), np.zeros((1, 2)), w_out=np.ones((1, 1, 2)), b_out=np.zeros((1, 1)))


def test_the_command_takes_a_file_of_a_gru(tmp_path):
    torch.manual_seed(1)
    np.savez(tmp_path / "gru.npz", **weights_of(torch.nn.GRU(2, 6).double()))
    figure = tmp_path / "flow.png"
    text = find_in_file(tmp_path / "gru.npz", starts=8, inputs="0.5, -1", output=Output(figure=figure, passages=True))
    assert "found by search: nothing is proven about points that are not listed" in text
    assert figure.stat().st_size > 0


@pytest.mark.filterwarnings("error")
def test_where_a_gate_is_shut_to_the_last_bit_nothing_is_claimed():
    model = bistable()
    w_rec = np.array(model.w_rec)
    w_rec[0, 2:4] = 100 * np.eye(2)
    shut = model.replace(w_rec=w_rec)
    # 1 - z is 0 in float64 from x = 0.37 on
    found = gp.find_slow_points(shut, states=np.array([[0.6, 0.7]]), n_starts=8, noise=0.01)
    assert (np.abs(found.position) < 0.37).all()
    assert any("no zero is resolved" in reason for reason in found.unconverged.reason)


def test_fixed_points_are_where_a_simulation_ends():
    model = bistable()
    found = gp.find_slow_points(model, n_starts=64)
    # r = z = 1/2, so each unit has tanh(1.5 x) = x: three zeros for each
    assert len(found.fixed) == 9
    x = np.random.default_rng(0).uniform(-1, 1, (40, 1, 2))
    for _ in range(400):
        x = model.step(x, 1.0)
    stable = found.fixed.position[found.fixed.stable]
    assert len(stable) == 4
    distance = np.linalg.norm(x - stable, axis=-1)
    assert (distance.min(axis=1) < 1e-10).all()
    assert set(distance.argmin(axis=1)) == {0, 1, 2, 3}
    # eigenvalues of the map by the definition
    moved = [model.step(stable[:1] + 1e-6 * e, 1.0) - model.step(stable[:1] - 1e-6 * e, 1.0) for e in np.eye(2)]
    by_hand = np.linalg.eigvals(np.stack([m[0] for m in moved], axis=1) / 2e-6) - 1
    at = np.flatnonzero((found.position == stable[0]).all(axis=1))[0]
    np.testing.assert_allclose(np.sort(found.eigenvalues[at].real), np.sort(by_hand.real), atol=1e-8)


def test_a_pair_is_born_where_the_weights_say(tmp_path):
    """One unit with c = tanh(h / 2 + b_c): a pair of fixed points dies as b_c grows, and leaves a
    ghost.
    """
    w_rec = np.zeros((1, 3, 1))
    w_rec[0, 2] = 4.0
    offsets = np.linspace(0.0, 1.0, 5)
    stack = GRU(w_rec, np.zeros((1, 3)), np.zeros((1, 1)), w_out=np.ones((1, 1, 1)), b_out=np.zeros((1, 1))).repeat(5)
    b = np.array(stack.b)
    b[:, 2] = offsets
    stack = stack.replace(b=b)
    # x = tanh(2 x + b) folds where 2 (1 - x**2) = 1
    fold = -np.arctanh(-np.sqrt(0.5)) - np.sqrt(2.0)
    fold = abs(fold)
    tracks = gp.track_slow_points(stack, np.arange(5) * 100, n_starts=32)
    events = [event for event in tracks.events if event.kind == "pair died"]
    assert len(events) == 1
    assert events[0].epoch == pytest.approx(400 * fold, abs=1e-3)
    assert tracks.count("fixed").tolist() == [3 if b < fold else 1 for b in offsets]
    assert tracks.count("ghost").tolist()[3] == 1
    assert set(tracks.certificate) == {"none"}


def test_slow_points_are_tracked_over_a_training(run):
    tracks = gp.track_slow_points(run, network=1, n_starts=12)
    assert tracks.epochs.tolist() == [0, 20, 40, 60]
    assert not tracks.complete_zeros.any()
    assert "those found; a search that proves nothing about others" in str(tracks.answer())
    for epoch, kind, x in zip(tracks.epoch, tracks.kind, tracks.position, strict=True):
        model = run.models_at(int(np.flatnonzero(tracks.epochs == epoch)[0]))[1]
        if kind == "fixed":
            np.testing.assert_allclose(model.step(x[None], 1.0)[0], x, atol=1e-11)


def test_how_long_a_ghost_holds_a_network_and_what_needs_a_tanh_network():
    w_rec, b = np.zeros((1, 3, 1)), np.zeros((1, 3))
    w_rec[0, 2], b[0, 2] = 4.0, 0.54
    model = GRU(w_rec, b, np.zeros((1, 1)), w_out=np.ones((1, 1, 1)), b_out=np.zeros((1, 1)))
    ghost = gp.find_slow_points(model, n_starts=32).ghosts
    assert len(ghost) == 1
    passage = gp.slow_passage(model, ghost, alpha=0.2)
    assert not passage.reason
    # simulated from end to end of the same stretch, the last step cut linearly
    x, steps = np.array([[passage.latent_or_state[0, 0]]]), 0.0
    last = passage.latent_or_state[-1, 0]
    while True:
        after = model.step(x, 0.2)
        if (after - last)[0, 0] * (x - last)[0, 0] <= 0:
            steps += ((last - x) / (after - x))[0, 0]
            break
        x, steps = after, steps + 1
    assert steps > 50
    assert passage.duration == pytest.approx(steps, abs=max(2 * passage.error, 1e-3))
    with pytest.raises(ValueError, match=r"model must have the form .* got a GRU"):
        gp.slow_points.normal_form_gradient(model, ghost)
    latents = gp.slow_points.latents
    for refused in (latents.latent_zeros, latents.latent_ghosts, latents.flow_zeros):
        with pytest.raises(ValueError, match="GRU"):
            refused(model)
