"""The engines for every model and task: the reference against autograd, torch's engine against the
reference.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import ghostpoint as gp
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.remedies import ClipGradient
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination, DelayedMatchToSample
from ghostpoint.training import SGD, Adam
from ghostpoint.training.plan import draws
from ghostpoint.training.reference import evaluate
from tests.training.calls import train_with

CUE = DelayedCueDiscrimination(10, 20, 15)
NOISY = DelayedCueDiscrimination(10, 20, 15, copies=2, initial_scale=0.3, noise=0.1)
MATCH = DelayedMatchToSample(10, 15, 15)
PROBLEMS = {
    "full rank, cue": (FullRankRNN.initialize(7, [0, 1, 2], "xavier_biased", n_inputs=1, activation="tanh"), CUE),
    "full rank, match": (FullRankRNN.initialize(6, [3, 4], "xavier_biased", n_inputs=1), MATCH),
    "full rank, activation": (FullRankRNN.initialize(5, [3, 4]), DelayedActivation(30)),
    "full rank, identity": (FullRankRNN.initialize(5, [3, 4], activation="identity"), DelayedActivation(30)),
    "rank 3, state": (LowRankRNN.initialize(8, [0, 1], "state_readout", rank=3), DelayedActivation(30)),
    "rank 2, latent": (LowRankRNN.initialize(8, [0, 1], "latent_readout", rank=2, n_inputs=1, activation="tanh"), CUE),
    "rank 1": (LowRankRNN.initialize(8, [0, 1], trainable=("m", "n", "b", "confidence")), DelayedActivation(30)),
    "frozen parts": (
        LowRankRNN.initialize(8, [5], "latent_readout", rank=2, n_inputs=1, trainable=("n", "b_out")),
        MATCH,
    ),
}


def autograd(models, task, parameters, x, noise):
    """The loss of one network, written once more and differently: one trial, one step, one product
    at a time.
    """
    trial, total = task.trial(), 0.0
    weights = torch.tensor(task.weights(trial))
    activation = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "identity": lambda z: z}[models.activation]
    p = parameters
    for b in range(task.n_trials):
        state = x[b]
        for t in range(task.steps):
            recurrent = p["W"] @ state if "W" in p else p["m"] @ (p["n"].T @ state)
            drive = recurrent + p["b"] + (noise[t, b] if noise is not None else 0.0)
            if "w_in" in p:
                drive = drive + p["w_in"] @ torch.tensor(trial.inputs[b, t])
            after = state + task.alpha * (torch.tanh(drive) - state)
            read = after if task.read_out == "after" else state
            if "w_out" not in p:
                z = (p["confidence"] * (p["n"][:, 0] @ read - p["threshold"]))[None]
            elif "W" not in p and models.readout == "latent":
                z = p["w_out"] @ (p["n"].T @ read) + p["b_out"]
            else:
                z = p["w_out"] @ read + p["b_out"]
            total = total + (weights[b, t] * (activation(z) - torch.tensor(trial.targets[b, t])) ** 2).sum()
            state = after
    return total


def tensors(models, network):
    return {
        name: torch.tensor(np.array(array[network], dtype=np.float64), requires_grad=name in models.parts)
        for name, array in models.arrays().items()
        if name != "seed"
    }


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("disturbed", [False, True])
def test_the_specification_is_the_gradient(name, disturbed):
    models, task = PROBLEMS[name]
    generator = np.random.default_rng(1)
    shape = (task.n_trials, len(models), models.n_units)
    states = generator.normal(size=shape) if disturbed else np.broadcast_to(models.initial_state, shape)
    noise = 0.3 * generator.normal(size=(task.steps, *shape)) if disturbed else None
    seen = evaluate(models, task, initial_states=states if disturbed else None, noise=noise)
    for network in range(len(models)):
        p = tensors(models, network)
        own = None if noise is None else torch.tensor(noise[:, :, network])
        loss = autograd(models, task, p, torch.tensor(np.array(states[:, network])), own)
        loss.backward()
        assert seen.loss[network] == pytest.approx(loss.item(), rel=1e-12)
        for part, gradient in seen.gradient.items():
            exact = p[part].grad.numpy()
            assert np.abs(gradient[network] - exact).max() <= 1e-12 * max(np.abs(exact).max(), 1e-3)


@pytest.mark.parametrize("name", PROBLEMS)
def test_torch_follows_the_specification(name):
    models, task = PROBLEMS[name]
    asked = {"dtype": "float64", "record": "all", "checkpoints": [0, 3, 7]}
    slow = train_with(models, task, 0.1, 8, engine="reference", **asked)
    fast = train_with(models, task, 0.1, 8, engine="torch", **asked)
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-9, atol=1e-13)
    for part in models.present_parts():
        np.testing.assert_allclose(fast.checkpoints[part], slow.checkpoints[part], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(getattr(fast.models, part), getattr(slow.models, part), rtol=1e-9, atol=1e-12)
        if part not in models.trainable:
            np.testing.assert_array_equal(getattr(slow.models, part), getattr(models, part))
    assert all((fast.events[event] == slow.events[event]).all() for event in slow.events)


@pytest.mark.parametrize(
    ("rule", "clip", "oracle"),
    [
        (SGD(), None, lambda p, rate: torch.optim.SGD(p, lr=rate)),
        (SGD(momentum=0.7), None, lambda p, rate: torch.optim.SGD(p, lr=rate, momentum=0.7)),
        (Adam((0.8, 0.95), 1e-6), None, lambda p, rate: torch.optim.Adam(p, lr=rate, betas=(0.8, 0.95), eps=1e-6)),
        (Adam(), 0.01, lambda p, rate: torch.optim.Adam(p, lr=rate)),
        (SGD(), 0.01, lambda p, rate: torch.optim.SGD(p, lr=rate)),
    ],
)
def test_updates_are_those_of_torch_optim(rule, clip, oracle):
    models, task = PROBLEMS["full rank, cue"]
    rates = np.array([0.02, 0.05, 0.1])
    run = train_with(
        models, task, rates, 12, optimizer=rule, remedy=clip and ClipGradient(clip), engine="reference", dtype="float64"
    )
    for network, rate in enumerate(rates):
        p = tensors(models, network)
        trained = [p[part] for part in models.trainable]
        optimizer = oracle(trained, rate)
        x = torch.tensor(np.broadcast_to(models.initial_state[network], (task.n_trials, models.n_units)).copy())
        for _ in range(12):
            optimizer.zero_grad()
            autograd(models, task, p, x, None).backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(trained, clip)
            optimizer.step()
        for part in models.trainable:
            np.testing.assert_allclose(getattr(run.models, part)[network], p[part].detach(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("engine", ["reference", "torch"])
def test_draws_belong_to_the_network_and_the_seed(engine):
    models = FullRankRNN.initialize(6, [7, 8, 9], "xavier_biased", n_inputs=1, activation="tanh")
    asked = {"engine": engine, "dtype": "float64", "record": "all"}
    whole = train_with(models, NOISY, 0.1, 4, seed=3, **asked)
    alone = train_with(models[1], NOISY, 0.1, 4, seed=3, **asked)
    other = train_with(models[1], NOISY, 0.1, 4, seed=4, **asked)
    np.testing.assert_allclose(alone.history["loss"][0], whole.history["loss"][1], rtol=1e-10)
    assert not np.allclose(alone.history["loss"][0], other.history["loss"][0])
    states, noise = draws(models, NOISY, 3)()
    assert states.shape == (4, 3, 6)
    assert noise.shape == (NOISY.steps, 4, 3, 6)
    assert np.abs(states).max() < 1
    assert noise.std() == pytest.approx(0.1, rel=0.1)


def test_auto_takes_the_kernels_where_it_can_and_says_so_where_it_cannot(monkeypatch):
    models, task = PROBLEMS["rank 1"]
    assert gp.train(models, task, 0.1, 2).config["engine"] == "compiled"
    monkeypatch.setattr("ghostpoint.training.compiled.dispatch.obstacle", lambda *_: "the kernels are away")
    with pytest.warns(UserWarning, match="slower torch engine: the kernels are away"):
        assert gp.train(*PROBLEMS["rank 3, state"], 0.1, 2).config["engine"] == "torch"
    with pytest.raises(ValueError, match=r"engine must be torch or reference .* here"):
        gp.train(*PROBLEMS["rank 3, state"], 0.1, 2, engine="compiled")
    with pytest.raises(ValueError, match="w_in"):
        gp.train(models, CUE, 0.1, 2)
    with pytest.raises(ValueError, match="task must be a task"):
        gp.train(models, "delayed", 0.1, 2)
    with pytest.raises(ValueError, match=r"models must be one of .*GRU.*; got DelayedActivation"):
        gp.train(task, models, 0.1, 2)


def test_without_torch_the_message_says_why_and_what_to_do(monkeypatch):
    monkeypatch.setattr("ghostpoint.training.engines.find_spec", lambda name: None)
    monkeypatch.setattr("ghostpoint.training.compiled.dispatch.obstacle", lambda *_: "the kernels are away")
    message = r"must be reference \(in float64\) here, got .auto.: the kernels are away; PyTorch.*pip install torch"
    with pytest.raises(ValueError, match=message):
        gp.train(*PROBLEMS["rank 3, state"], 0.1, 2)
    with pytest.raises(ValueError, match="got 'torch': PyTorch is not installed"):
        gp.train(*PROBLEMS["rank 3, state"], 0.1, 2, engine="torch")


def test_recorded_epochs_are_heard_of_and_an_interrupt_keeps_what_there_is(tmp_path):
    models, task = PROBLEMS["rank 3, state"]
    heard = []

    def listen(epoch, seen):
        heard.append((epoch, seen["loss"].copy()))
        if epoch == 6:
            raise KeyboardInterrupt

    run = train_with(
        models, task, 0.1, 50, engine="torch", record=2, checkpoints=[1, 40], on_record=listen, on_interrupt="return"
    )
    assert not run.complete
    assert run.config["epochs_done"] == 7
    assert [epoch for epoch, _ in heard] == [0, 2, 4, 6]
    assert run.checkpoints.sizes["checkpoint"] == 1
    same = gp.train(models, task, 0.1, 7, engine="torch")
    np.testing.assert_array_equal(run.models.m, same.models.m)
    again = gp.load(run.save(tmp_path / "run.zip"))
    assert not again.complete
    assert again.history.identical(run.history)


@pytest.mark.parametrize("name", ["full rank, cue", "rank 2, latent"])
def test_a_saved_run_of_any_model_comes_back(name, tmp_path):
    models, task = PROBLEMS[name]
    run = gp.train(models, task, 0.1, 3, engine="torch", checkpoints=[0, 2])
    again = gp.load(run.save(tmp_path / "run.zip"))
    assert type(again.models) is type(models)
    assert again.models.settings() == run.models.settings()
    for part, array in run.models.arrays().items():
        np.testing.assert_array_equal(getattr(again.models, part), array)
    assert again.checkpoints.identical(run.checkpoints)


def test_a_diverging_network_takes_no_other_down():
    models = FullRankRNN.initialize(6, [0, 1], activation="identity")
    huge = models.replace(w_out=np.stack([models.w_out[0] * 1e30, models.w_out[1]]))
    run = gp.train(huge, DelayedActivation(30), 0.1, 5, engine="torch", record="all")
    assert run.events["diverged"].values.tolist() == [0, -1]
    np.testing.assert_array_equal(run.models.W[0], models.W[0].astype(np.float32))
    alone = gp.train(models[1], DelayedActivation(30), 0.1, 5, engine="torch", record="all")
    np.testing.assert_allclose(run.history["loss"][1], alone.history["loss"][0], rtol=1e-5)


@pytest.mark.parametrize("name", ["full rank, cue", "rank 3, state", "frozen parts"])
@pytest.mark.parametrize("engine", ["reference", "torch"])
def test_the_readout_is_brought_to_its_norm_before_every_forward_pass(name, engine):
    models, task = PROBLEMS[name]
    norms = np.linspace(0.3, 2.0, len(models))
    run = train_with(
        models, task, 0.5, 4, engine=engine, dtype="float64", record="all", checkpoints=range(4), readout_norm=norms
    )
    before = models
    for epoch in range(4):
        now = run.models_at(epoch)
        by = norms / np.abs(before.w_out).sum(axis=(1, 2))
        np.testing.assert_allclose(np.abs(now.w_out).sum(axis=(1, 2)), norms, rtol=1e-12)
        np.testing.assert_allclose(now.w_out, by[:, None, None] * before.w_out, rtol=1e-12)
        np.testing.assert_allclose(now.b_out, by[:, None] * before.b_out, rtol=1e-12)
        seen = evaluate(now, task)
        np.testing.assert_allclose(run.history["loss"][:, epoch], seen.loss, rtol=1e-9)
        before = now.replace(**{part: getattr(now, part) - 0.5 * seen.gradient[part] for part in models.trainable})
    for part in models.present_parts():
        np.testing.assert_allclose(getattr(run.models, part), getattr(before, part), rtol=1e-8, atol=1e-11)


def test_a_readout_of_zeros_stays_and_a_norm_out_of_range_is_refused():
    models, task = PROBLEMS["full rank, cue"]
    zero = models.replace(w_out=0 * models.w_out, trainable=("W",))
    run = gp.train(zero, task, 0.1, 2, engine="torch", readout_norm=1.0)
    assert (run.models.w_out == 0).all()
    np.testing.assert_array_equal(run.models.b_out, models.b_out.astype(np.float32))
    for norm, message in (
        (-1.0, "readout_norm must be positive, got -1"),
        ([1.0, 1.0], r"readout_norm must be one value or one per network \(3\), got shape \(2,\)"),
        (np.nan, "readout_norm must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            gp.train(models, task, 0.1, 2, readout_norm=norm)


def test_a_module_of_the_users_own_that_is_called_cuda_does_not_stop_a_training(tmp_path):
    """numba-cuda looks for a package cuda, and finds the user's file beside the script."""
    (tmp_path / "cuda.py").write_text("")
    (tmp_path / "script.py").write_text(
        "import sys, types\n"
        "sys.modules['numba_cuda'] = types.ModuleType('numba_cuda')\n"
        "sys.modules['numba_cuda'].__spec__ = types.SimpleNamespace()\n"
        "sys.modules['numba.cuda'] = None  # its import fails\n"
        "import ghostpoint as gp\n"
        "models = gp.LowRankRNN.initialize(2, range(1000))\n"
        "task = gp.tasks.DelayedActivation(delay=5.0, dt=5.0)\n"
        "gp.train(models, task, 0.01, 1)\n"
        "gp.train(models, task, 0.01, 1, engine='cuda')\n"
    )
    ran = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "got 'cuda': numba-cuda does not import (" in ran.stderr.splitlines()[-1]
    assert "line 9" in ran.stderr  # not in the training before
