"""Remedies in the kernels: the factors of the reference engine, and no bit changed where they do
not act.
"""

from __future__ import annotations

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.remedies import ClipGradient, HazardLimit, Rewind, TrustRegion
from ghostpoint.tasks import (
    DelayedActivation,
    DelayedCueDiscrimination,
    DelayedMatchToSample,
    NBitFlipFlop,
    from_arrays,
)
from ghostpoint.training.compiled import rank_one_stacks
from tests.training.calls import train_with

CUE = DelayedCueDiscrimination(10, 20, 15, copies=2)
PROBLEMS = {
    "one": (LowRankRNN.initialize(23, [0, 1], trainable=("m", "n", "b", "confidence")), DelayedActivation(30)),
    "ranks": (LowRankRNN.initialize(23, [0, 1], "state_readout", rank=2), DelayedActivation(30)),
    "latent": (
        LowRankRNN.initialize(23, [0, 1], "latent_readout", rank=2, n_inputs=1, activation="tanh", initial_state=0.1),
        CUE,
    ),
    "match": (
        LowRankRNN.initialize(23, [0, 1], "latent_readout", rank=3, n_inputs=1),
        DelayedMatchToSample(10, 15, 15),
    ),
    "full": (FullRankRNN.initialize(17, [3, 4], "normal"), DelayedActivation(30)),
    "full cue": (FullRankRNN.initialize(17, [3, 4], "xavier_biased", n_inputs=1, activation="tanh"), CUE),
    "parts": (FullRankRNN.initialize(17, [3, 4], "normal", trainable=("W", "b_out")), DelayedActivation(30)),
}


def crossing(models, task, epochs):
    """The networks when they have learned to cross, so that there are times to watch, not only
    peaks.
    """
    return train_with(models, task, 0.5, epochs, engine="reference", dtype="float64", remedy=TrustRegion()).models


PROBLEMS["full, learned"] = crossing(*PROBLEMS["full"], 30), PROBLEMS["full"][1]
PROBLEMS["ranks, learned"] = crossing(*PROBLEMS["ranks"], 30), PROBLEMS["ranks"][1]
RATES = {"sgd": 5.0, "momentum": 2.0, "adam": 0.3}
REMEDIES = {
    "region": TrustRegion(),
    "undivided": TrustRegion(split=False, tilt=0.5, growth=1.0),
    "hazard": HazardLimit(0.05),
    "both": (TrustRegion(growth=3.0, tilt=0.5), HazardLimit(0.3), ClipGradient(0.5)),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("rule", RATES)
@pytest.mark.parametrize("remedy", REMEDIES)
def test_the_factors_are_those_of_the_reference(name, rule, remedy, monkeypatch):
    models, task = PROBLEMS[name]
    divided = count_divided(monkeypatch)
    asked = {"optimizer": rule, "dtype": "float64", "record": "all", "remedy": REMEDIES[remedy]}
    epochs = 40 if name == "one" else 6  # its plateau is long
    slow = train_with(models, task, RATES[rule], epochs, engine="reference", **asked)
    fast = train_with(models, task, RATES[rule], epochs, engine="compiled", **asked)
    assert set(fast.history) == set(slow.history)
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-6, atol=1e-11)
    np.testing.assert_array_equal(fast.events["remedy_epochs"], slow.events["remedy_epochs"])
    if "learned" not in name:  # these are too near a minimum for the hazard limit
        assert slow.events["remedy_epochs"].min() > 0
    elif remedy in ("region", "both"):
        assert sum(divided) > 0


def count_divided(monkeypatch):
    """A list that gets the number of networks whose two parts have two factors, from every epoch of
    the reference.
    """
    found, split = [], TrustRegion.reshape

    def counted(*arguments):
        step = split(*arguments)
        if step is not None:
            found.append(int((step.weights != 0).any(axis=1).sum()))
        return step

    monkeypatch.setattr(TrustRegion, "reshape", counted)
    return found


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RATES)
def test_a_remedy_that_never_acts_changes_no_bit(name, dtype, rule):
    models, task = PROBLEMS[name]
    asked = {"optimizer": rule, "dtype": dtype, "record": "all", "engine": "compiled"}
    plain = train_with(models, task, 1e-3, 20, **asked)
    lax = TrustRegion(h=1e9, eta=1e9, shrink=np.inf, brake=1.0, polyak=np.inf, growth=1.0)
    watched = train_with(models, task, 1e-3, 20, remedy=(lax, HazardLimit(1e9)), **asked)
    assert (watched.history["update_scale"] == 1).all()
    assert (watched.events["remedy_epochs"] == 0).all()
    for quantity in plain.history:
        np.testing.assert_array_equal(plain.history[quantity], watched.history[quantity])
    for part in models.present_parts():
        np.testing.assert_array_equal(getattr(plain.models, part), getattr(watched.models, part))


def test_bits_of_a_split_update_do_not_depend_on_the_layout():
    """Once only the blocks of networks were rounded differently, from epoch 51 of one network in
    eighteen.
    """
    models = LowRankRNN.initialize(37, range(18), trainable=("m", "n", "b", "confidence"))
    asked = {"record": "all", "remedy": TrustRegion()}
    runs = [
        train_with(models, DelayedActivation(50), 0.05, 300, layout=layout, **asked) for layout in ("networks", "units")
    ]
    assert runs[0].history.identical(runs[1].history)
    for part in models.present_parts():
        np.testing.assert_array_equal(getattr(runs[0].models, part), getattr(runs[1].models, part))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_the_layout_or_the_stack(dtype):
    models = LowRankRNN.published(range(20), trainable=("m", "n", "b", "confidence"))
    asked = {"dtype": dtype, "record": "all", "remedy": (TrustRegion(growth=4.0), HazardLimit(3.0))}
    runs = [
        train_with(models, DelayedActivation(), 1.0, 150, layout=layout, **asked) for layout in ("networks", "units")
    ]
    runs.append(train_with(models, DelayedActivation(), 1.0, 150, threads=1, **asked))
    for other in runs[1:]:
        assert runs[0].history.identical(other.history)
        assert runs[0].events.identical(other.events)
        for part in models.present_parts():
            np.testing.assert_array_equal(getattr(runs[0].models, part), getattr(other.models, part))
    alone = train_with(models[7], DelayedActivation(), 1.0, 150, **asked)
    np.testing.assert_array_equal(alone.history["update_scale"][0], runs[0].history["update_scale"][7])
    assert (runs[0].events["remedy_epochs"] > 0).mean() > 0.8


def test_a_network_that_would_be_lost_is_kept():
    models, task = LowRankRNN.published(range(8)), DelayedActivation()
    plain = gp.train(models, task, 2.0, 400)
    # long enough for float32 gradients to be nearly all rounding beside the crossing's
    kept = gp.train(models, task, 2.0, 2000, remedy="auto")
    assert kept.config["engine"] == "compiled"
    assert (plain.history["loss"][:, -1] > 0.5).all()
    assert (kept.history["loss"][:, 200:].max("epoch") < 0.05).all()
    assert (kept.history["loss"][:, -1] < 0.001).all()


def test_one_crossing_of_several_is_the_same_in_both_kinds_of_rank_one_kernels(monkeypatch):
    """A target that goes up and down has two crossings: with one looked at, networks share a kernel
    call.
    """
    targets = np.array([0.0] * 6 + [1.0] * 6 + [0.0] * 4)[None, :, None]
    task = from_arrays(np.zeros((1, 16, 0)), targets, dt=5, tau=10, read_out="after")
    start = LowRankRNN.published(range(3), trainable=("m", "n", "b", "confidence"))
    models = train_with(start, task, 0.5, 300, dtype="float64", remedy=TrustRegion(crossings=1)).models
    divided, shared = count_divided(monkeypatch), []
    run = rank_one_stacks.run
    monkeypatch.setattr(rank_one_stacks, "run", lambda *given, **named: shared.append(1) or run(*given, **named))
    for most in (1, 2):
        asked = {"dtype": "float64", "record": "all", "remedy": TrustRegion(crossings=most, h=0.1)}
        slow, fast = (train_with(models, task, 0.5, 30, engine=engine, **asked) for engine in ("reference", "compiled"))
        for quantity in slow.history:
            np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-6, atol=1e-11)
        assert slow.events["remedy_epochs"].min() > 0
        assert sum(divided) > 0
        assert len(shared) == 1  # of the region that looks at one
        divided.clear()


@pytest.mark.parametrize(
    ("remedy", "task", "message"),
    [
        (Rewind(), CUE, "Rewind"),
        (TrustRegion(), NBitFlipFlop(2, duration=60.0, interval=30.0, n_trials=3), "TrustRegion"),
    ],
)
def test_what_the_kernels_do_not_know_is_refused_by_name(remedy, task, message):
    channels = {"n_inputs": task.n_inputs, "n_outputs": task.n_outputs, "activation": "tanh"}
    models = FullRankRNN.initialize(5, [0], "xavier_biased", **channels)
    with pytest.raises(ValueError, match=message):
        gp.train(models, task, 0.1, 2, remedy=remedy, engine="compiled")
