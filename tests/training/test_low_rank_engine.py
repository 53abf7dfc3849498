"""The compiled engine for any rank through ``train``: the specification's results, and bits that
hold still.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ghostpoint as gp
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.remedies import ClipGradient, HazardLimit, TrustRegion
from ghostpoint.tasks import (
    DelayedActivation,
    DelayedAddition,
    DelayedCueDiscrimination,
    DelayedMatchToSample,
    NBitFlipFlop,
    from_arrays,
)
from ghostpoint.training import SGD, Adam
from ghostpoint.training.compiled import kernel_families, low_and_full_rank, single_network
from ghostpoint.training.kernels import low_rank_passes, packing
from ghostpoint.training.reference import evaluate
from tests.training.calls import train_with

FAR = 1e8  # a step so long that the parameters become the gradient
RULES = [("sgd", None), (SGD(0.7), 0.05), (Adam((0.8, 0.95), 1e-6), None)]
READOUTS = ("state", "latent", "confidence")


def random_problem(seed, units, rank, inputs, outputs, trials, steps, readout, activation, read_out):
    rng = np.random.default_rng(seed)
    outputs = 1 if readout == "confidence" else outputs
    read = rng.normal(size=(1, outputs, rank if readout == "latent" else units)) / 2
    weights = (
        {} if readout == "confidence" else {"w_out": read, "b_out": rng.normal(size=(1, outputs)), "readout": readout}
    )
    models = LowRankRNN(
        rng.normal(size=(1, units, rank)),
        rng.normal(size=(1, units, rank)) / np.sqrt(units),
        rng.normal(size=(1, units)) * 0.3,
        w_in=rng.normal(size=(1, units, inputs)) if inputs else None,
        confidence=3.0,
        threshold=0.2,
        initial_state=rng.uniform(-0.7, 0.7, (1, units)),
        activation=activation,
        **weights,
    )
    everything = models.replace(trainable=models.present_parts())
    task = from_arrays(
        rng.normal(size=(trials, steps, inputs)),
        rng.choice([0.0, 1.0], (trials, steps, outputs)),
        (rng.random((trials, steps, outputs)) < 0.9) | (np.arange(steps) == 0)[:, None],
        dt=5.0,
        tau=rng.uniform(5.0, 40.0),
        read_out=read_out,
        levels=[0.0, 1.0],
    )
    return everything, task


problems = st.builds(
    random_problem,
    seed=st.integers(0, 10**6),
    units=st.integers(1, 70),
    rank=st.integers(1, 20),
    inputs=st.integers(0, 3),
    outputs=st.integers(1, 3),
    trials=st.integers(1, 5),
    steps=st.integers(2, 9),
    readout=st.sampled_from(READOUTS),
    activation=st.sampled_from(["sigmoid", "tanh", "identity"]),
    read_out=st.sampled_from(["before", "after"]),
)


@settings(max_examples=40, deadline=None)
@given(problem=problems, dtype=st.sampled_from(["float64", "float32"]))
def test_the_gradient_is_that_of_the_specification(problem, dtype):
    models, task = problem
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    rounded = models.replace(
        **{name: value.astype(dtype).astype(float) for name, value in models.arrays().items() if name != "seed"}
    )
    wanted = evaluate(rounded, task)
    run = train_with(rounded, task, FAR, 1, engine="compiled", dtype=dtype, record="all", optimizer=SGD(0.5))
    assert run.history["loss"].item() == pytest.approx(wanted.loss.item(), rel=tolerance)
    assert run.history["gradient_norm"].item() == pytest.approx(wanted.gradient_norm.item(), rel=tolerance)
    scale = max(np.abs(gradient).max() for gradient in wanted.gradient.values())
    for part, gradient in wanted.gradient.items():
        before = getattr(rounded, part)
        step = (before - getattr(run.models, part)) / FAR
        lost = np.finfo(dtype).eps * (np.abs(gradient) + np.abs(before) / FAR)
        assert (np.abs(step - gradient) <= tolerance * scale + lost).all(), part


LATENT = LowRankRNN.initialize(
    23, [0, 1, 2], "latent_readout", rank=2, n_inputs=1, activation="tanh", initial_state=0.1
)
CUE = DelayedCueDiscrimination(10, 20, 15, copies=2)
NOISY = DelayedCueDiscrimination(10, 20, 15, initial_scale=0.3, noise=0.1)
FLIPS = NBitFlipFlop(2, duration=60.0, interval=30.0, n_trials=3)
ADDITION = DelayedAddition(n_trials=3) if "n_trials" in DelayedAddition.__dataclass_fields__ else DelayedAddition()
PROBLEMS = {
    "one": (LowRankRNN.initialize(9, [3, 4], trainable=("m", "n", "b", "confidence")), DelayedActivation(30)),
    "ranks": (LowRankRNN.initialize(17, [3, 4], "state_readout", rank=5), DelayedActivation(30)),
    "wide": (LowRankRNN.initialize(20, [3, 4], "state_readout", rank=20, activation="identity"), DelayedActivation(30)),
    "latent": (LATENT, CUE),
    "match": (
        LowRankRNN.initialize(23, [3, 4], "latent_readout", rank=2, n_inputs=1),
        DelayedMatchToSample(10, 15, 15),
    ),
    "parts": (
        LowRankRNN.initialize(9, [3, 4], "state_readout", rank=2, trainable=("n", "b_out")),
        DelayedActivation(30),
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(("rule", "clip"), RULES)
def test_training_follows_the_specification(name, rule, clip):
    models, task = PROBLEMS[name]
    rates = np.linspace(0.01, 0.1, len(models))
    asked = {
        "optimizer": rule,
        "remedy": clip and ClipGradient(clip),
        "dtype": "float64",
        "record": "all",
        "checkpoints": [0, 4],
    }
    slow = train_with(models, task, rates, 10, engine="reference", **asked)
    fast = train_with(models, task, rates, 10, engine="compiled", **asked)
    assert set(fast.history) == set(slow.history)
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-8, atol=1e-12)
    for part in models.present_parts():
        np.testing.assert_allclose(fast.checkpoints[part], slow.checkpoints[part], rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(getattr(fast.models, part), getattr(slow.models, part), rtol=1e-8, atol=1e-11)
    assert all((fast.events[event] == slow.events[event]).all() for event in slow.events)


@pytest.mark.parametrize("task", [FLIPS, ADDITION], ids=["levels", "tolerance"])
@pytest.mark.parametrize("kind", ["low", "full"])
def test_random_trials_are_those_of_the_other_engines(task, kind, monkeypatch):
    monkeypatch.setattr(single_network, "DRAWN", 1)  # a round of a single epoch, to draw anew often
    channels = {"n_inputs": task.n_inputs, "n_outputs": task.n_outputs, "activation": "identity", "initial_state": 0.0}
    if kind == "low":
        models = LowRankRNN.initialize(20, [3, 4], "latent_readout", rank=3, **channels)
    else:
        models = FullRankRNN.initialize(20, [3, 4], "xavier_biased", **channels)
    asked = {"optimizer": "adam", "dtype": "float64", "record": "all", "seed": 5}
    slow = train_with(models, task, 0.01, 6, engine="reference", **asked)
    fast = train_with(models, task, 0.01, 6, engine="compiled", **asked)
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-8, atol=1e-12)
    assert len(np.unique(slow.history["loss"])) == 12


@pytest.mark.parametrize("name", ["latent", "ranks", "full"])
def test_the_readout_norm_is_that_of_the_specification(name):
    full = FullRankRNN.initialize(7, [0, 1], "xavier_biased", n_inputs=1, activation="tanh", initial_state=0.1), CUE
    models, task = full if name == "full" else PROBLEMS[name]
    asked = {"optimizer": "adam", "dtype": "float64", "record": "all", "checkpoints": [0, 3], "readout_norm": 0.3}
    slow = train_with(models, task, 0.01, 6, engine="reference", **asked)
    fast = train_with(models, task, 0.01, 6, engine="compiled", **asked)
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-8, atol=1e-12)
    for part in models.present_parts():
        np.testing.assert_allclose(fast.checkpoints[part], slow.checkpoints[part], rtol=1e-8, atol=1e-11)
    assert np.abs(fast.checkpoints["w_out"]).sum(
        ["output", slow.checkpoints["w_out"].dims[-1]]
    ).values == pytest.approx(0.3)


@pytest.mark.parametrize("task", [FLIPS, DelayedMatchToSample(10, 15, 15, copies=3)], ids=["random", "fixed"])
def test_trials_in_chunks_are_those_of_the_specification(task, monkeypatch):
    monkeypatch.setattr(kernel_families, "CACHE", 1)  # two trials a chunk, the last one half empty
    channels = {"n_inputs": task.n_inputs, "n_outputs": task.n_outputs, "initial_state": 0.1}
    channels["activation"] = "tanh" if task.random else "sigmoid"
    models = LowRankRNN.initialize(20, [3, 4], "latent_readout", rank=2, **channels)
    remedy = HazardLimit(0.01) if task.random else TrustRegion(h=0.01, eta=0.01, crossings=7)
    asked = {"optimizer": "adam", "dtype": "float64", "record": "all", "seed": 5, "remedy": remedy}
    slow = train_with(models, task, 0.01, 6, engine="reference", **asked)
    fast = train_with(models, task, 0.01, 6, engine="compiled", **asked)
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-8, atol=1e-12)
    assert (slow.events["remedy_epochs"] > 0).all()


def test_the_random_numbers_of_chunks_differ(monkeypatch):
    task = DelayedCueDiscrimination(10, 20, 15, copies=3, initial_scale=0.5, noise=0.2)
    whole, cut = (gp.train(LATENT, task, 0.01, 40, record="all", seed=2), None)
    monkeypatch.setattr(kernel_families, "CACHE", 1)
    cut = gp.train(LATENT, task, 0.01, 40, record="all", seed=2)
    assert (whole.history["loss"].values != cut.history["loss"].values).any()  # other draws of the same kind
    np.testing.assert_allclose(cut.history["loss"].mean("epoch"), whole.history["loss"].mean("epoch"), rtol=0.1)


@pytest.mark.parametrize("kind", ["low", "full"])
@pytest.mark.parametrize("task", [DelayedCueDiscrimination(10, 50, 50), DelayedMatchToSample(10, 30, 20)])
def test_200_epochs_follow_autograd(kind, task):
    activation = "tanh" if isinstance(task, DelayedCueDiscrimination) else "sigmoid"
    channels = {"n_inputs": 1, "activation": activation, "initial_state": 0.0}
    if kind == "low":
        models = LowRankRNN.initialize(40, [0, 1], "latent_readout", rank=2, **channels)
    else:
        models = FullRankRNN.initialize(40, [6, 7], "xavier_biased", **channels)
    # at higher rates rank-two networks of this gain jump about, and rounding grows tenfold in a few
    # epochs
    rate = 0.001 if kind == "low" else 0.05
    asked = {"dtype": "float64", "record": "all"}
    slow = train_with(models, task, rate, 200, engine="torch", **asked)
    fast = train_with(models, task, rate, 200, engine="compiled", **asked)
    np.testing.assert_allclose(fast.history["loss"], slow.history["loss"], rtol=1e-6)
    for part in models.present_parts():
        np.testing.assert_allclose(getattr(fast.models, part), getattr(slow.models, part), rtol=0, atol=1e-6)
    assert (fast.history["loss"][:, -1] < fast.history["loss"][:, 0]).all()


def same(a, b):
    assert a.history.identical(b.history)
    for part in a.models.present_parts():
        np.testing.assert_array_equal(getattr(a.models, part), getattr(b.models, part))


@pytest.mark.parametrize("task", [CUE, NOISY])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_bits_do_not_depend_on_threads_stack_or_the_length_of_calls(task, rule, monkeypatch):
    asked = {"record": "all", "seed": 2, "optimizer": rule}
    whole = train_with(LATENT, task, 0.01, 30, threads=1, **asked)
    same(whole, train_with(LATENT, task, 0.01, 30, threads=3, **asked))
    by_itself = train_with(LATENT[1], task, 0.01, 30, **asked)
    np.testing.assert_array_equal(by_itself.history["loss"][0], whole.history["loss"][1])
    monkeypatch.setattr(low_and_full_rank, "CALL", 1.0)
    same(whole, train_with(LATENT, task, 0.01, 30, **asked))


def test_noise_has_the_variance_asked_for():
    """Units without weights hold the noise alone: tanh of it, filtered, is what the identity
    readout sums.
    """
    units = 4000
    models = LowRankRNN(
        np.zeros((1, units, 1)), np.zeros((1, units, 1)), w_out=np.full((1, 1, units), 1.0), activation="identity",
        initial_state=0.0, trainable=(), w_in=np.zeros((1, units, 1)),
    )  # fmt: skip
    task = DelayedCueDiscrimination(5, 5, 5, noise=0.1)
    losses = train_with(models, task, 0.1, 400, record="all", engine="compiled", dtype="float64").history["loss"][0]
    # x[1] = alpha tanh(noise), x[2] = (1 - alpha) x[1] + alpha tanh(noise); x[0] = 0; the
    # response's target is +-1
    each = np.mean(np.tanh(0.1 * np.random.default_rng(0).normal(size=10**6)) ** 2) * 0.25 * units
    wanted = (each + 1.25 * each + 1.0) / 3
    assert losses.mean().item() == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("name", ["latent", "ranks"])
def test_packing_and_unpacking_are_inverse(name):
    models, _ = PROBLEMS[name]
    kind = low_rank_passes.READOUTS.index(models.readout)
    parts = {name: getattr(models, name)[0] for name in models.present_parts()}
    state = packing.pack_low_rank(parts, kind, "float64")
    back = packing.unpack_low_rank(state, models.n_units, models.rank, models.n_inputs, 1, kind)
    for part in models.present_parts():
        np.testing.assert_array_equal(back[part], getattr(models, part)[0])


def test_recorded_epochs_are_heard_in_order_with_what_the_history_holds(monkeypatch):
    monkeypatch.setattr(low_and_full_rank, "CALL", 1.0)
    models, task = PROBLEMS["ranks"]
    heard = []
    run = train_with(models, task, 0.1, 50, record=7, engine="compiled", on_record=lambda *seen: heard.append(seen))
    assert [epoch for epoch, _ in heard] == list(range(0, 50, 7))
    np.testing.assert_array_equal(np.stack([seen["loss"] for _, seen in heard], axis=1), run.history["loss"])
