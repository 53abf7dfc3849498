"""Stacks of other architectures: equations written once more, and what training promises."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import ghostpoint as gp  # noqa: E402
from ghostpoint.torch import architectures  # noqa: E402
from ghostpoint.torch.architectures import ARCHITECTURES, stack, stack_of, train_stack  # noqa: E402

INPUTS = np.random.default_rng(0).normal(size=(3, 7, 2))
TASK = gp.tasks.from_arrays(INPUTS, np.sign(INPUTS[:, :, :1]), dt=5.0, tau=10.0)


def logits(networks):
    found = networks.forward(networks.parameters, torch.tensor(INPUTS, dtype=torch.float32))
    return found.detach().numpy()


def of_network(networks, place):
    return {name: value[place].double().numpy() for name, value in networks.parameters.items()}


def relu(p, u):
    x, answers = np.zeros(len(p["b"])), []
    for each in u:
        x = 0.5 * x + 0.5 * np.maximum(p["W"] @ x + p["w_in"] @ each + p["b"], 0)
        answers.append(p["w_out"] @ x + p["b_out"][0])
    return answers


def convolution(p, u):
    answers = []
    for t in range(len(u)):
        drive = p["b"] + sum(p["kernel"][:, lag] @ u[t - lag] for lag in range(t + 1))
        answers.append(p["w_out"] @ np.tanh(drive) + p["b_out"][0])
    return answers


def transformer(p, u):
    width = len(p["b"])
    rates = 10_000.0 ** (-np.arange(width // 2) / (width / 2))
    x = [
        p["embed"] @ each + p["b"] + np.concatenate([np.sin(t * rates), np.cos(t * rates)]) for t, each in enumerate(u)
    ]
    answers = []
    for t in range(len(u)):
        scores = np.array([(p["w_query"] @ x[t]) @ (p["w_key"] @ x[s]) for s in range(t + 1)]) / np.sqrt(width)
        weights = np.exp(scores) / np.exp(scores).sum()
        h = x[t] + p["w_attended"] @ sum(w * (p["w_value"] @ x[s]) for s, w in enumerate(weights))
        h = h + p["w_2"] @ np.maximum(p["w_1"] @ h + p["b_1"], 0) + p["b_2"]
        answers.append(p["w_out"] @ h + p["b_out"][0])
    return answers


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_stack_has_the_equations_of_its_docstring(architecture):
    networks = stack(architecture, TASK, 6, [3, 4])
    written = {"relu": relu, "convolution": convolution, "transformer": transformer}[architecture]
    for place in range(2):
        expected = [written(of_network(networks, place), u) for u in INPUTS]
        assert logits(networks)[:, place] == pytest.approx(np.array(expected), abs=2e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_seed_gives_the_same_network_in_any_stack(architecture):
    both, one = stack(architecture, TASK, 6, [3, 4]), stack(architecture, TASK, 6, [4])
    for name, value in one.parameters.items():
        assert torch.equal(value[0], both.parameters[name][1])
    assert len(both) == 2
    assert torch.equal(both.chosen([1]).parameters["w_out"], one.parameters["w_out"])


@pytest.mark.parametrize("family", [gp.FullRankRNN, gp.GRU, gp.LSTM])
def test_recurrent_families_train_as_in_the_reference(family):
    models = family.initialize(5, [0, 1], n_inputs=2, activation="tanh", initial_state=0.0)
    rates = np.array([0.1, 0.3])
    found = train_stack(stack_of(models, TASK), TASK, rates, 20, activation="tanh")
    run = gp.train(models, TASK, rates, 20, record="all", engine=gp.Computing("reference", dtype="float64"))
    assert found.loss == pytest.approx(run.history["loss"].values, rel=1e-4)
    assert found.gradient_norm == pytest.approx(run.history["gradient_norm"].values, rel=1e-3)
    assert found.accuracy == pytest.approx(run.history["accuracy"].values, abs=1e-6)


def test_checkpoints_are_the_parameters_of_their_epochs():
    models = gp.GRU.initialize(4, [0], n_inputs=2, activation="tanh", initial_state=0.0)
    networks = stack_of(models, TASK)
    found = train_stack(networks, TASK, np.array([0.2]), 9, activation="tanh", checkpoints=[0, 8])
    assert found.parameters["w_rec"][0] == pytest.approx(models.w_rec, abs=1e-6)
    later = gp.train(models, TASK, 0.2, 9, engine=gp.Computing("reference", dtype="float64")).models
    assert networks.parameters["w_rec"].numpy() == pytest.approx(later.w_rec, abs=1e-5)
    assert not np.array_equal(found.parameters["w_rec"][0], found.parameters["w_rec"][1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_do_not_see_each_other(architecture):
    seeds, rates = [0, 1, 2], np.array([0.05, 0.2, 0.1])
    together = train_stack(stack(architecture, TASK, 4, seeds), TASK, rates, 15, activation="tanh")
    for place, seed in enumerate(seeds):
        alone = train_stack(stack(architecture, TASK, 4, [seed]), TASK, rates[[place]], 15, activation="tanh")
        assert together.loss[place] == pytest.approx(alone.loss[0], rel=1e-3)


def test_a_diverged_network_is_left_alone_and_the_others_go_on():
    networks = stack("relu", TASK, 4, [0, 1, 2])
    networks.parameters["w_out"][1] = torch.inf
    found = train_stack(networks, TASK, np.full(3, 0.1), 10, activation="tanh")
    assert np.isnan(found.loss[1]).all()
    assert np.isfinite(found.loss[[0, 2]]).all()
    assert found.loss[0, -1] < found.loss[0, 0]


def test_a_network_that_nothing_changes_repeats_itself():
    networks = stack("relu", TASK, 4, [0, 1])
    networks.parameters["w_out"][0] = 1e4  # saturated: no gradient in float32
    networks.parameters["b_out"][0] = 1e6
    found = train_stack(networks, TASK, np.full(2, 0.1), 6, activation="tanh")
    assert (found.loss[0] == found.loss[0, 0]).all()
    assert found.gradient_norm[0, -1] == 0
    assert len(np.unique(found.loss[1])) == 6


def test_clipping_shortens_the_update_and_confidence_multiplies_the_logits():
    rates = np.full(2, 0.5)
    plain, clipped = (stack("convolution", TASK, 4, [0, 1]) for _ in range(2))
    before = plain.parameters["w_out"].clone()
    norm = train_stack(plain, TASK, rates, 1, activation="tanh").gradient_norm[:, 0]
    train_stack(clipped, TASK, rates, 1, activation="tanh", clip=float(norm.min()) / 2)
    moved = [(one.parameters["w_out"] - before).numpy() for one in (plain, clipped)]
    assert moved[1] == pytest.approx(moved[0] * (norm.min() / 2 / norm)[:, None], rel=1e-3)
    sharp = train_stack(stack("convolution", TASK, 4, [0, 1]), TASK, rates, 1, activation="tanh", confidence=[1.0, 3.0])
    assert sharp.logit[1, 0] == pytest.approx(3 * np.abs(logits(stack("convolution", TASK, 4, [1]))).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "mlp"}, "architecture must be"),
        ({"units": 0}, "units must be"),
        ({"architecture": "transformer", "units": 5}, "units must be even"),
        ({"seeds": [-1]}, "seed must be"),
        ({"seeds": []}, "seeds must hold"),
    ],
)
def test_wrong_stacks_are_refused(change, words):
    given = {"architecture": "relu", "task": TASK, "units": 4, "seeds": [0], **change}
    with pytest.raises(ValueError, match=words):
        stack(**given)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rates": np.ones(1)}, "rates must be 2"),
        ({"rates": np.array([0.1, -1.0])}, "rates must be 2"),
        ({"epochs": 0}, "epochs must be"),
        ({"clip": 0.0}, "clip must be"),
        ({"confidence": [1.0, 0.0]}, "confidence must be"),
        ({"activation": "identity"}, "activation must be"),
    ],
)
def test_wrong_trainings_are_refused(change, words):
    given = {"rates": np.ones(2), "epochs": 1, **change}
    with pytest.raises(ValueError, match=words):
        train_stack(stack("relu", TASK, 4, [0, 1]), TASK, **given)


def test_a_task_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="read_out"):
        stack("relu", gp.tasks.DelayedCueDiscrimination(10, 50, 50), 4, [0])
    two = np.repeat([[0.0, 1.0], [1.0, 0.0]], 4, axis=1).T[None]
    several = gp.tasks.from_arrays(np.ones((1, 8, 1)), two, dt=5.0, tau=10.0)
    for refused in (
        lambda: stack("relu", several, 4, [0]),
        lambda: stack_of(gp.GRU.initialize(4, [0], n_inputs=1), several),
        lambda: train_stack(stack("relu", TASK, 4, [0]), several, np.ones(1), 1),
    ):
        with pytest.raises(ValueError, match="one output"):
            refused()
    assert architectures.positions(3, 4).shape == (3, 4)
