"""The compiled engine for full rank through ``train``: the reference's results, and bits of its own
that hold still.
"""

from __future__ import annotations

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.models import FullRankRNN
from ghostpoint.remedies import ClipGradient
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination, DelayedMatchToSample
from ghostpoint.training import SGD, Adam
from ghostpoint.training.compiled import low_and_full_rank
from tests.training.calls import train_with

CUE = DelayedCueDiscrimination(10, 20, 15, copies=2)
NOISY = DelayedCueDiscrimination(10, 20, 15, initial_scale=0.3, noise=0.1)
PROBLEMS = {
    "cue": (
        FullRankRNN.initialize(7, [0, 1, 2], "xavier_biased", n_inputs=1, activation="tanh", initial_state=0.1),
        CUE,
    ),
    "match": (FullRankRNN.initialize(17, [3, 4], "xavier_biased", n_inputs=1), DelayedMatchToSample(10, 15, 15)),
    "activation": (FullRankRNN.initialize(5, [3, 4]), DelayedActivation(30)),
    "parts": (
        FullRankRNN.initialize(5, [3, 4], activation="identity", trainable=("b", "w_out")),
        DelayedActivation(30),
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(("rule", "clip"), [("sgd", None), (SGD(0.7), 0.05), (Adam((0.8, 0.95), 1e-6), None)])
def test_the_kernel_follows_the_specification(name, rule, clip):
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
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-8, atol=1e-12)
    for part in models.present_parts():
        np.testing.assert_allclose(fast.checkpoints[part], slow.checkpoints[part], rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(getattr(fast.models, part), getattr(slow.models, part), rtol=1e-8, atol=1e-11)
    assert all((fast.events[event] == slow.events[event]).all() for event in slow.events)


def same(a, b):
    assert a.history.identical(b.history)
    for part in a.models.present_parts():
        np.testing.assert_array_equal(getattr(a.models, part), getattr(b.models, part))


@pytest.mark.parametrize("task", [CUE, NOISY])
def test_bits_do_not_depend_on_threads_stack_or_the_length_of_calls(task, monkeypatch):
    models = FullRankRNN.initialize(6, [5, 6, 7], "xavier_biased", n_inputs=1, activation="tanh")
    whole = train_with(models, task, 0.1, 30, threads=1, record="all", seed=2)
    same(whole, train_with(models, task, 0.1, 30, threads=3, record="all", seed=2))
    by_itself = gp.train(models[1], task, 0.1, 30, record="all", seed=2)
    np.testing.assert_array_equal(by_itself.history["loss"][0], whole.history["loss"][1])
    monkeypatch.setattr(low_and_full_rank, "CALL", 1.0)
    same(whole, gp.train(models, task, 0.1, 30, record="all", seed=2))


def test_noise_follows_the_seed():
    models = FullRankRNN.initialize(6, [5], "xavier_biased", n_inputs=1, activation="tanh")
    one, other = (gp.train(models, NOISY, 0.1, 3, record="all", seed=seed) for seed in (1, 2))
    assert (one.history["loss"].values != other.history["loss"].values).all()


def test_a_finished_network_is_filled_in_and_progress_adds_up():
    models = FullRankRNN.initialize(6, [5, 6], activation="identity", trainable=())
    huge = models.replace(w_out=np.stack([models.w_out[0] * 1e30, models.w_out[1]]))
    done = []
    run = train_with(huge, DelayedActivation(30), 0.1, 9, record="all", checkpoints=[8], on_progress=done.append)
    assert run.events["diverged"].values.tolist() == [0, -1]
    assert run.events["frozen"].values.tolist() == [-1, 0]
    assert sum(done) == 18
    assert (run.history["loss"].values[1] == run.history["loss"].values[1, 0]).all()
    np.testing.assert_array_equal(run.checkpoints["W"][0, 1], models.W[1].astype(np.float32))


def test_an_interrupt_returns_the_rounds_that_are_done(monkeypatch):
    monkeypatch.setattr(low_and_full_rank, "CALL", 1.0)
    models, task = PROBLEMS["activation"]
    heard = []

    def interrupt(amount):
        heard.append(amount)
        if sum(heard) > 2 * 3 * low_and_full_rank.ROUND:
            raise KeyboardInterrupt

    run = train_with(
        models, task, 0.1, 10_000, record="all", checkpoints=[0, 9000], on_progress=interrupt, on_interrupt="return"
    )
    done = run.config["epochs_done"]
    assert not run.complete
    assert 0 < done < 10_000
    same(run, gp.train(models, task, 0.1, done, record="all"))
