"""Networks of low rank together in one kernel call: the bits that each of them has alone, whatever
the others do.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.models import LowRankRNN
from ghostpoint.remedies import HazardLimit
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination, NBitFlipFlop, from_arrays
from ghostpoint.training import SGD
from ghostpoint.training.compiled import low_and_full_rank, network_blocks
from ghostpoint.training.compiled.rank_one_stacks import blocks_of
from ghostpoint.training.kernels.lanes_passes import MOST
from ghostpoint.training.plan import Plan
from tests.training.calls import train_with


def random_stack(seed, networks, units, rank, inputs, outputs, trials, steps, readout, activation, read_out, tolerance):
    """Networks with at most ``MOST`` columns in both matrices, and a task of fixed trials."""
    rng = np.random.default_rng(seed)
    inputs = min(inputs, MOST - 1 - rank)
    outputs = 1 if readout == "confidence" else min(outputs, MOST - rank if readout == "state" else 3)
    read = rng.normal(size=(networks, outputs, rank if readout == "latent" else units)) / 2
    weights = (
        {}
        if readout == "confidence"
        else {"w_out": read, "b_out": rng.normal(size=(networks, outputs)), "readout": readout}
    )
    models = LowRankRNN(
        rng.normal(size=(networks, units, rank)),
        rng.normal(size=(networks, units, rank)) / np.sqrt(units),
        rng.normal(size=(networks, units)) * 0.3,
        w_in=rng.normal(size=(networks, units, inputs)) if inputs or rng.random() < 0.2 else None,
        confidence=rng.uniform(1.0, 4.0, networks),
        threshold=rng.uniform(0.0, 1.0, networks),
        initial_state=rng.uniform(-0.7, 0.7, (networks, units)),
        activation=activation,
        **weights,
    )
    task = from_arrays(
        rng.normal(size=(trials, steps, inputs)),
        rng.choice([0.0, 1.0], (trials, steps, outputs)),
        (rng.random((trials, steps, outputs)) < 0.9) | (np.arange(steps) == 0)[:, None],
        dt=5.0,
        tau=rng.uniform(5.0, 40.0),
        read_out=read_out,
        tolerance=tolerance,
        levels=[] if tolerance else [0.0, 1.0],
    )
    parts = models.present_parts()
    kept = [part for part in parts if rng.random() < 0.7] or list(parts)
    return models.replace(trainable=tuple(kept)), task, rng.uniform(0.01, 0.3, networks)


stacks = st.builds(
    random_stack,
    seed=st.integers(0, 10**6),
    networks=st.integers(1, 20),
    units=st.integers(1, 70),
    rank=st.integers(1, MOST - 1),
    inputs=st.integers(0, 2),
    outputs=st.integers(1, 3),
    trials=st.integers(1, network_blocks.TRIALS),
    steps=st.integers(2, 20),
    readout=st.sampled_from(["state", "latent", "confidence"]),
    activation=st.sampled_from(["sigmoid", "tanh", "identity"]),
    read_out=st.sampled_from(["before", "after"]),
    tolerance=st.sampled_from([None, 0.3]),
)


def same(a, b):
    """Whether two runs have the same bits; an infinite number of a network that diverges may be NaN
    in the other.
    """
    finite = np.isfinite(a.history["loss"])
    assert finite.identical(np.isfinite(b.history["loss"]))
    histories = [one.history.where(np.isfinite(one.history)).where(finite) for one in (a, b)]
    assert histories[0].identical(histories[1])
    assert a.events.identical(b.events)
    assert (a.checkpoints is None) == (b.checkpoints is None)
    assert a.checkpoints is None or a.checkpoints.identical(b.checkpoints)
    for part in a.models.present_parts():
        np.testing.assert_array_equal(getattr(a.models, part), getattr(b.models, part))


def biased(models):
    """The biases away from zero, where the smallest step would still be seen."""
    return models.replace(b=np.full_like(models.b, 0.1))


def plan_of(networks, **changes):
    settings = {"clip_norm": None, "optimizer": SGD(), "solved_loss": 0.0, "seed": 0, **changes}
    none = np.zeros(0, np.int64)
    return Plan(rate=np.ones(networks), epochs=1, record_epochs=none, snapshot_epochs=none, **settings)


@settings(max_examples=60, deadline=None)
@given(stack=stacks, dtype=st.sampled_from(["float64", "float32"]), threads=st.integers(1, 3))
def test_a_network_has_the_bits_that_it_has_alone(stack, dtype, threads):
    models, task, rates = stack
    assert network_blocks.in_lanes(models, task, plan_of(len(models)))
    asked = {"dtype": dtype, "record": "all", "checkpoints": [0, 7], "threads": threads}
    block = train_with(models, task, rates, 12, layout="networks", **asked)
    same(block, train_with(models, task, rates, 12, layout="units", **asked))
    # a loss that does not depend on what is trained stays
    slope, loss = block.history["gradient_norm"].values[:, 0], block.history["loss"].values
    assert not (slope > 0.01).any() or (loss[:, -1] != loss[:, 0])[slope > 0.01].any()


@pytest.mark.parametrize("calls", [1.0, 2e9])
def test_networks_finish_each_in_its_own_time(calls, monkeypatch):
    """A network that diverges, one that stands still, and one that goes on, in the same block."""
    monkeypatch.setattr(low_and_full_rank, "CALL", calls)
    models = biased(LowRankRNN.initialize(30, range(6), "state_readout", rank=2, activation="identity"))
    rates = np.array([1e-3, 1e30, 1e-30, 3e4, 1e-2, 1e-12])
    asked = {"record": "all", "checkpoints": [0, 3, 39]}
    block = train_with(models, DelayedActivation(30), rates, 40, layout="networks", **asked)
    same(block, train_with(models, DelayedActivation(30), rates, 40, layout="units", **asked))
    assert (block.events["diverged"].values[[1, 3]] >= 0).all()
    assert (block.events["frozen"].values[[2, 5]] >= 0).all()
    assert (block.events.sel(network=[0, 4])[["diverged", "frozen"]].to_array() == -1).all()


def test_networks_whose_latents_overflow_diverge_in_both():
    """The answers of saturated units are finite, and their gradient is zero: only the latents show
    it.
    """
    models = LowRankRNN.initialize(10, range(3), "state_readout", rank=2)
    models = models.replace(m=np.abs(models.m), n=np.full_like(models.n, 3e38), trainable=("b_out",))
    asked = {"record": "all", "checkpoints": [0, 3]}
    runs = [
        train_with(models, DelayedActivation(30), 0.1, 5, layout=layout, **asked) for layout in ("networks", "units")
    ]
    same(*runs)
    assert (runs[0].events["diverged"] == 0).all()


def test_a_block_that_is_finished_ends_early(monkeypatch):
    reached, advance = [], network_blocks.Block.advance

    def counted(block, stop):
        done = advance(block, stop)
        reached.append(block.epoch)
        return done

    monkeypatch.setattr(network_blocks.Block, "advance", counted)
    models = biased(LowRankRNN.initialize(30, range(3), "state_readout", rank=2))
    told = []
    run = train_with(
        models, DelayedActivation(30), 1e-30, 10**6, layout="networks", record=[0, 10**5], on_progress=told.append
    )
    assert reached == [1]
    assert (run.events["frozen"] == 0).all()
    assert sum(told) == 3 * 10**6
    assert (run.history["loss"][:, 0] == run.history["loss"][:, 1]).all()


def test_what_the_kernel_does_not_know_is_trained_alone():
    task, models = DelayedActivation(30), LowRankRNN.initialize(20, range(3), "state_readout", rank=2)
    cue = LowRankRNN.initialize(20, range(3), "latent_readout", rank=2, n_inputs=1, activation="tanh")
    assert network_blocks.in_lanes(models, task, plan_of(3))
    assert network_blocks.in_lanes(cue, DelayedCueDiscrimination(10, 20, 15), plan_of(3))
    refused = [
        (LowRankRNN.initialize(20, range(3), "state_readout", rank=MOST), task, plan_of(3)),
        (cue, DelayedCueDiscrimination(10, 20, 15, copies=2), plan_of(3)),
        (cue, DelayedCueDiscrimination(10, 20, 15, noise=0.1), plan_of(3)),
        (cue, DelayedCueDiscrimination(10, 20, 15, initial_scale=0.1), plan_of(3)),
        (LowRankRNN.initialize(20, range(3), "latent_readout", n_inputs=1), NBitFlipFlop(1), plan_of(3)),
        (models, task, plan_of(3, optimizer=SGD(0.9))),
        (models, task, plan_of(3, clip_norm=1.0)),
        (models, task, plan_of(3, readout_norm=np.ones(3))),
        (models, task, plan_of(3, remedies=(HazardLimit(0.1),))),
    ]
    assert not any(network_blocks.in_lanes(*one) for one in refused)
    asked = {"record": "all", "remedy": HazardLimit(0.01)}
    same(*(train_with(models, task, 0.01, 5, layout=layout, **asked) for layout in ("networks", "units")))


@given(networks=st.integers(1, 500), threads=st.integers(1, 9), layout=st.sampled_from(["auto", "networks", "units"]))
def test_blocks_are_the_first_networks_and_at_most_the_lanes(networks, threads, layout):
    blocks = blocks_of(np.arange(networks), 16, threads, layout, 1.8)
    members = np.concatenate([*blocks, np.zeros(0, np.int64)])
    np.testing.assert_array_equal(members, np.arange(len(members)))
    assert all(1 <= len(block) <= 16 for block in blocks)
    assert layout != "networks" or len(members) == networks
    assert layout != "units" or not blocks


def test_few_networks_are_trained_alone_and_many_in_blocks():
    def sizes(networks):
        return [len(block) for block in blocks_of(np.arange(networks), 16, 2, "auto", 1.8)]

    assert sizes(4) == []
    assert sizes(100) == [16] * 6
    assert sizes(32) == [16, 16]
    assert sizes(31) == [16, 15]


MIXED = (
    LowRankRNN.initialize(20, range(34), "state_readout", rank=2),
    DelayedActivation(30),
)  # two blocks and two networks alone


def test_a_stack_of_blocks_and_networks_alone_keeps_its_order():
    models, task = MIXED
    heard, told = {}, {}
    rates = np.linspace(0.01, 0.3, len(models))

    def train(layout):
        heard[layout], told[layout] = [], []
        return train_with(
            models, task, rates, 30, layout=layout, threads=2, record=7, checkpoints=[0, 20],
            on_progress=told[layout].append, on_record=lambda *seen: heard[layout].append(seen),
        )  # fmt: skip

    same(train("auto"), train("units"))
    assert sum(told["auto"]) == sum(told["units"]) == 34 * 30
    assert [epoch for epoch, _ in heard["auto"]] == [0, 7, 14, 21, 28]
    for mixed, alone in zip(heard["auto"], heard["units"], strict=True):
        for quantity in alone[1]:
            np.testing.assert_array_equal(mixed[1][quantity], alone[1][quantity])


def test_an_interrupt_goes_back_to_the_last_round_of_every_network(monkeypatch):
    monkeypatch.setattr(low_and_full_rank, "CALL", 1.0)
    models, task = MIXED

    def stop(epoch, seen):
        if epoch >= 30:
            raise KeyboardInterrupt

    run = train_with(models, task, 0.05, 1000, threads=2, record="all", on_record=stop, on_interrupt="return")
    assert not run.complete
    whole = train_with(models, task, 0.05, run.history.sizes["epoch"], layout="units", record="all")
    np.testing.assert_array_equal(run.models.m, whole.models.m)
    np.testing.assert_array_equal(run.history["loss"], whole.history["loss"])
