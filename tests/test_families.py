"""The contract of a model family (`ghostpoint.models.Record`), for every family that is
registered.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

import ghostpoint as gp
from ghostpoint.models import FAMILIES, Record
from ghostpoint.models.arithmetic import NUMPY
from ghostpoint.slow_points.fields import network_field
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination
from ghostpoint.training.by_epoch.torch_engine import TORCH
from ghostpoint.training.compiled.kernel_families import KERNELS
from ghostpoint.weights import read_weights, write_weights
from tests.training.calls import train_with

SOURCE = Path(gp.__file__).parent
#: two networks or more of every family, with input
SAMPLES = {
    "LowRankRNN": gp.LowRankRNN.initialize(7, [0, 1, 2], "latent_readout", rank=2, n_inputs=2, n_outputs=3),
    "FullRankRNN": gp.FullRankRNN.initialize(6, [0, 1, 2], "xavier_biased", n_inputs=2, n_outputs=3),
    "GRU": gp.GRU.initialize(5, [0, 1, 2], n_inputs=2, n_outputs=3),
    "LSTM": gp.LSTM.initialize(3, [0, 1, 2], n_inputs=2, n_outputs=3),
}
EVERY = pytest.mark.parametrize("models", [pytest.param(models, id=name) for name, models in SAMPLES.items()])


def drawn(models, seed=0):
    """States (B, R, N), inputs (B, I) and noise (B, R, N) of four trials."""
    generator = np.random.default_rng(seed)
    shape = (4, len(models), models.n_units)
    return generator.normal(size=shape), generator.normal(size=(4, models.n_inputs)), generator.normal(size=shape)


def test_every_family_has_a_sample_and_is_public():
    assert set(SAMPLES) == set(FAMILIES)
    assert all(getattr(gp, name) is family for name, family in FAMILIES.items())
    assert all(type(models) is FAMILIES[name] for name, models in SAMPLES.items())
    assert {family.kernels for family in FAMILIES.values()} - {None} == set(KERNELS)


@EVERY
def test_stacks_are_picked_repeated_and_made_again(models):
    for same in (models.replace(), models[:], models.repeat(2)[len(models) :]):
        assert same.settings() == models.settings()
        for name, array in models.arrays().items():
            np.testing.assert_array_equal(getattr(same, name), array)
            assert array.shape[0] == len(models)
            assert array.ndim == 1 + len(models.dims[name])
    assert set(models.trainable) <= set(models.present_parts()) <= set(models.parts) <= set(models.dims)
    assert set(models.readout_parts) <= set(models.present_parts())
    assert models.rank <= models.n_units
    with pytest.raises(ValueError, match="must be"):
        models.replace(trainable="nothing of the kind")
    with pytest.raises(AttributeError, match="does not change"):
        models.seed = 3


@EVERY
@pytest.mark.parametrize("noisy", [False, True])
def test_torch_steps_and_reads_as_numpy_does(models, noisy):
    x, u, noise = drawn(models)
    p = {name: torch.tensor(array) for name, array in models.arrays().items()}
    ours, _ = models.advance(NUMPY, models.arrays(), x, u, 0.3, noise if noisy else None)
    theirs, _ = models.advance(TORCH, p, torch.tensor(x), torch.tensor(u), 0.3, torch.tensor(noise) if noisy else None)
    assert ours.shape == x.shape
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-13, atol=1e-14)
    read = models.read(NUMPY, models.arrays(), x)
    assert read.shape == (4, len(models), models.n_outputs)
    np.testing.assert_allclose(models.read(TORCH, p, torch.tensor(x)).numpy(), read, rtol=1e-13, atol=1e-14)
    # networks of a stack do not see each other, nor do trials
    np.testing.assert_allclose(models[1].step(x[2, 1:2], 0.3, u[2], noise[2, 1:2] if noisy else None), ours[2, 1:2])


@EVERY
def test_the_adjoint_by_hand_is_that_of_autograd(models):
    x, u, noise = drawn(models)
    y, by_logit = (np.random.default_rng(k).normal(size=size) for k, size in ((5, x.shape), (6, (4, 3, 3))))
    p = {name: torch.tensor(array, requires_grad=name in models.parts) for name, array in models.arrays().items()}
    state = torch.tensor(x, requires_grad=True)
    after, _ = models.advance(TORCH, p, state, torch.tensor(u), 0.3, torch.tensor(noise))
    total = (torch.tensor(y) * after).sum() + (torch.tensor(by_logit) * models.read(TORCH, p, state)).sum()
    total.backward()
    gradient = {part: np.zeros_like(models.arrays()[part]) for part in models.present_parts()}
    _, kept = models.advance(NUMPY, models.arrays(), x, u, 0.3, noise)
    by_x = models.advance_back(gradient, y, x, u, 0.3, kept) + models.read_back(gradient, by_logit, x)
    np.testing.assert_allclose(by_x, state.grad.numpy(), rtol=1e-11, atol=1e-12)
    for part, found in gradient.items():
        assert np.abs(found).max() > 0
        np.testing.assert_allclose(found, p[part].grad.numpy(), rtol=1e-11, atol=1e-12, err_msg=part)


@EVERY
def test_the_readout_parts_multiply_the_logit(models):
    x, _, _ = drawn(models)
    louder = models.replace(**{part: 3 * getattr(models, part) for part in models.readout_parts})
    np.testing.assert_allclose(louder.logit_of_state(x), 3 * models.logit_of_state(x), rtol=1e-12, atol=1e-13)


@EVERY
def test_the_field_is_the_flow_of_the_step_with_its_derivatives(models):
    model, u = models[1], np.array([0.4, -0.7])
    network = network_field(model, u)
    x = np.random.default_rng(3).normal(size=(5, model.n_units))
    for alpha in (1.0, 0.2):
        moved = np.concatenate([model.step(each[None], alpha, u) for each in x])
        velocity = (network.coordinates(moved) - network.coordinates(x)) / alpha
        np.testing.assert_allclose(network.exact.flow(network.coordinates(x)), velocity, atol=1e-13)
    np.testing.assert_allclose(network.state_flow(x), moved / alpha - x / alpha, atol=1e-13)
    exact, kappa, h = network.exact, network.coordinates(x), 1e-5
    p = np.random.default_rng(4).normal(size=kappa.shape)
    axes = h * np.eye(exact.size)
    slopes = [(exact.flow(kappa + e) - exact.flow(kappa - e)) / (2 * h) for e in axes]
    np.testing.assert_allclose(exact.jacobian(kappa), np.stack(slopes, axis=2), atol=1e-8)
    bends = [np.einsum("bi,bij->bj", p, exact.jacobian(kappa + e) - exact.jacobian(kappa - e)) / (2 * h) for e in axes]
    curvature = exact.curvature(kappa, p)
    np.testing.assert_allclose(curvature, np.stack(bends, axis=2), atol=1e-8)
    np.testing.assert_allclose(curvature, curvature.transpose(0, 2, 1), atol=1e-13)
    other = network_field(models[2], u).exact
    np.testing.assert_allclose(exact.between(other, 0.0).flow(kappa), exact.flow(kappa), atol=1e-14)
    np.testing.assert_allclose(exact.between(other, 1.0).flow(kappa), other.flow(kappa), atol=1e-14)


@EVERY
def test_a_constant_network_has_its_fixed_points_within_the_bound(models):
    found = gp.find_slow_points(models[0], inputs=[0.4, -0.7], n_starts=12)
    assert len(found.fixed)
    assert (np.abs(found.fixed.position) <= models.state_bound).all()
    for x in found.fixed.position:
        np.testing.assert_allclose(models[0].step(x[None], 0.5, np.array([0.4, -0.7]))[0], x, atol=1e-12)
    if models.tanh_form() is None:
        assert set(found.certificate) == {"none"}
        assert all(type(models).__name__ in reason for reason in found.reason)
        without = gp.find_slow_points(models[0], inputs=[0.4, -0.7], n_starts=12, certify=False)
        assert set(without.reason) == {"not asked for"}
    else:
        assert "none" not in set(found.certificate)


@EVERY
def test_the_full_state_has_the_same_flow(models):
    whole = models.in_full_state()
    x, u, _ = drawn(models)
    np.testing.assert_allclose(whole.step(x, 1.0, u), models.step(x, 1.0, u), atol=1e-12)
    assert not network_field(whole[0]).low_rank


@EVERY
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_weights_come_back_from_a_file(models, suffix, tmp_path):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    again = read_weights(write_weights(models, tmp_path / f"weights{suffix}"))
    assert type(again) is type(models)
    for name, array in models.arrays().items():
        np.testing.assert_array_equal(getattr(again, name), array)


TASK = DelayedCueDiscrimination(10, 20, 15)
TRAINED = {
    "LowRankRNN": gp.LowRankRNN.initialize(7, [0, 1], "latent_readout", rank=2, n_inputs=1, activation="tanh"),
    "FullRankRNN": gp.FullRankRNN.initialize(6, [0, 1], "xavier_biased", n_inputs=1, activation="tanh"),
    "GRU": gp.GRU.initialize(5, [0, 1], n_inputs=1, activation="tanh"),
    "LSTM": gp.LSTM.initialize(3, [0, 1], n_inputs=1, activation="tanh"),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("remedy", [None, "auto"])
def test_engines_agree_and_runs_are_saved(name, remedy, tmp_path):
    models = TRAINED[name]
    asked = {"dtype": "float64", "record": "all", "checkpoints": [0, 2], "remedy": remedy}
    slow = train_with(models, TASK, 0.3, 4, engine="reference", **asked)
    fast = train_with(models, TASK, 0.3, 4, engine="torch", **asked)
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-9, atol=1e-13)
    for part in models.trainable:
        assert (getattr(slow.models, part) != getattr(models, part)).any()
        np.testing.assert_allclose(getattr(fast.models, part), getattr(slow.models, part), rtol=1e-9, atol=1e-12)
    again = gp.load(fast.save(tmp_path / "run.zip"))
    assert type(again.models) is type(models)
    assert again.models.settings() == models.settings()
    for part, array in fast.models.arrays().items():
        np.testing.assert_array_equal(getattr(again.models, part), array)
    assert again.checkpoints.identical(fast.checkpoints)
    at_two = again.models_at(1)
    assert type(at_two) is type(models)
    np.testing.assert_array_equal(at_two.arrays()[models.parts[0]], fast.checkpoints[models.parts[0]][1])


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.kernels is None])
def test_a_family_without_kernels_is_trained_by_torch_with_a_warning(name):
    with pytest.warns(UserWarning, match=f"slower torch engine: the kernels do not know {name}"):
        run = gp.train(TRAINED[name], TASK, 0.1, 2)
    assert run.config["engine"] == "torch"
    with pytest.raises(ValueError, match=f"engine must be torch or reference .*here.*{name}"):
        gp.train(TRAINED[name], TASK, 0.1, 2, engine="compiled")


def test_a_family_of_ones_own_needs_no_other_file(tmp_path, monkeypatch):
    """A leaky linear network, by the hooks alone: trained, analysed, saved, loaded and read."""

    class Linear(gp.FullRankRNN):
        kernels = None

        def advance(self, lib, p, x, u, alpha, noise=None):
            return (1 - alpha) * x + alpha * (self.recurrent(lib, p, x) + p["b"]), None

        def advance_back(self, gradient, y, x, u, alpha, kept):
            gradient["b"] += alpha * y.sum(axis=0)
            return (1 - alpha) * y + self.recurrent_back(gradient, alpha * y, x)

        def tanh_form(self):
            return None

        def state_jacobian(self, p, x, u=None):
            return np.broadcast_to(p["W"] - np.eye(self.n_units), (*x.shape, self.n_units))

        def state_curvature(self, p, x, weights, u=None):
            return np.zeros((*x.shape, self.n_units))

    monkeypatch.setitem(FAMILIES, "Linear", Linear)
    models, task = Linear.initialize(4, [0, 1]), DelayedActivation(30)
    asked = {"dtype": "float64", "record": "all", "checkpoints": [0, 1, 2]}
    slow, fast = (train_with(models, task, 0.1, 3, engine=engine, **asked) for engine in ("reference", "torch"))
    np.testing.assert_allclose(slow.history["loss"], fast.history["loss"], rtol=1e-10)
    again = gp.load(slow.save(tmp_path / "run.zip"))
    assert type(again.models) is Linear
    found = gp.find_slow_points(again.models[0], n_starts=8)
    assert len(found.fixed) == 1
    exact = np.linalg.solve(np.eye(4) - again.models.W[0], again.models.b[0])
    np.testing.assert_allclose(found.fixed.position[0], exact, rtol=1e-9)
    tracks = gp.track_slow_points(again, n_starts=8)
    assert tracks.count("fixed").tolist() == [1, 1, 1]
    assert isinstance(again.models, Record)


@pytest.mark.parametrize(
    ("hooks", "reason"),
    [
        ({}, "must have tanh_form, or else state_jacobian and state_curvature"),
        ({"state_jacobian": lambda self, p, x, u=None: x}, "must have tanh_form, or else state_curvature$"),
        ({"tanh_form": lambda self: None, "torch_gates": 4}, "must have from_torch, as it has torch_gates"),
    ],
)
def test_a_family_without_a_hook_that_another_one_needs_is_refused_when_it_is_defined(hooks, reason):
    with pytest.raises(TypeError, match=f"Half {reason}"):
        type("Half", (Record,), {"dims": {"b": ("unit",)}, "parts": ("b",), **hooks})


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_outside_the_models_asks_which_family_it_is(path):
    if path.parent.name == "models":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            names = [name for name in ast.walk(node) if isinstance(name, ast.Attribute | ast.Name)]
            # a layer of PyTorch (nn.LSTM) is no family
            layers = [
                name for name in names if isinstance(name, ast.Attribute) and getattr(name.value, "id", "") == "nn"
            ]
            asked = {name.attr if isinstance(name, ast.Attribute) else name.id for name in names if name not in layers}
            assert not asked & set(FAMILIES), f"line {node.lineno} of {path.name} asks for a family"


def test_every_family_takes_the_same_arguments_in_the_same_order():
    own = {"LowRankRNN": ("m", "n"), "FullRankRNN": ("W",), "GRU": ("w_rec",), "LSTM": ("w_rec",)}
    for name, family in FAMILIES.items():
        given = inspect.signature(family).parameters
        assert list(given)[: len(own[name]) + 1] == [*own[name], "b"]
        assert list(given)[-1] == "common"
        assert family.initialize.__func__ is Record.initialize.__func__
        with pytest.raises(TypeError, match="unexpected keyword argument 'w_inn'"):
            SAMPLES[name].replace(w_inn=None)
    assert gp.LowRankRNN.published.__func__ is gp.FullRankRNN.published.__func__
    with pytest.raises(ValueError, match="rank must be left out for FullRankRNN"):
        gp.FullRankRNN.initialize(5, [0], rank=2)
    with pytest.raises(ValueError, match="rank must be 100 or left out for figure 5, got 2"):
        gp.FullRankRNN.published([0], rank=2)


@pytest.mark.parametrize("name", ["FullRankRNN", "GRU"])
def test_without_a_readout_it_is_zero_and_so_are_biases(name):
    models, first = SAMPLES[name], FAMILIES[name].required[0]
    bare = FAMILIES[name](getattr(models, first))
    for part in set(models.parts) - {first, "w_in"}:
        assert not getattr(bare, part).any()
    assert bare.n_inputs == 0
    assert bare.n_outputs == 1
