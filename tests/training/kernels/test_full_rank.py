"""The compiled full-rank kernel against autograd and ``torch.optim``, and against itself bit for
bit.
"""

from __future__ import annotations

import threading
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.training.kernels import full_rank, packing
from ghostpoint.training.kernels.epoch import ACTIVATIONS, EVENTS, QUANTITIES, READ_OUTS
from tests.training.full_rank_problems import PARTS, Call, random_case, run, torch_run

torch.set_num_threads(1)

INFINITY = float("inf")
RULES = {
    "sgd": ("sgd", (0.05, 0.0, 0.0, 0.0, INFINITY)),
    "sgd, clipped": ("sgd", (0.3, 0.0, 0.0, 0.0, 0.2)),
    "momentum": ("momentum", (0.05, 0.9, 0.0, 0.0, INFINITY)),
    "momentum, clipped": ("momentum", (0.05, 0.8, 0.0, 0.0, 0.2)),
    "adam": ("adam", (0.003, 0.9, 0.999, 1e-8, INFINITY)),
    "adam, clipped": ("adam", (0.003, 0.8, 0.99, 1e-4, 0.2)),
}
FINISHED = [EVENTS.index("frozen"), EVENTS.index("diverged")]
FAR = (1e8, 0.0, 0.0, 0.0, INFINITY)  # a step so long that the parameters become the gradient
cases = st.builds(
    random_case,
    seed=st.integers(0, 10**6),
    units=st.integers(1, 150),
    inputs=st.integers(0, 3),
    outputs=st.integers(1, 3),
    trials=st.integers(1, 5),
    steps=st.integers(1, 9),
    rows=st.integers(1, 3),
    noise_rows=st.integers(0, 3),
    activation=st.sampled_from(ACTIVATIONS),
    read_out=st.sampled_from(READ_OUTS),
    alpha=st.floats(0.05, 1.0),
    thresholds=st.sampled_from([(0.5,), (-0.33, 0.33)]),
)


def same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in ("state", "history", "snapshots")
    ) and np.array_equal(a.events, b.events)


def check_gradient(case, dtype, tolerance, loss_tolerance):
    case = case.but(settings=FAR)
    got = run(case, dtype, 1)
    _, history, gradients = torch_run(case, 1)
    # the root of the loss is as long as the errors of the answers, of which the gradient is a
    # multiple; answers of order one are known to their own digits
    root, wanted, known = np.sqrt(got.history[0, 0]), np.sqrt(history[0, 0]), 16 * float(np.finfo(dtype).eps)
    assert root == pytest.approx(wanted, rel=loss_tolerance / 2, abs=known)
    tolerance += known / max(wanted, known)
    scale = max(np.abs(each).max() for each in gradients if each.size)
    for name, before, after, gradient in zip(PARTS, case.parts, got.parts, gradients, strict=True):
        step = (before - after) / FAR[0]
        # what the parameter's own digits leave of so long a step
        lost = np.finfo(dtype).eps * (np.abs(gradient) + np.abs(before) / FAR[0])
        assert (np.abs(step - gradient) <= tolerance * scale + lost).all(), name
    assert got.history[0, 1] == pytest.approx(history[0, 1], rel=tolerance, abs=1e-12)


@settings(max_examples=120, deadline=None)
@given(case=cases)
def test_float64_gradient_is_that_of_autograd(case):
    check_gradient(case, np.float64, 1e-10, 1e-11)


@settings(max_examples=60, deadline=None)
@given(case=cases)
def test_float32_gradient_is_that_of_autograd_to_its_own_precision(case):
    check_gradient(case, np.float32, 1e-4, 1e-4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("read_out", "activation"), list(product(READ_OUTS, ACTIVATIONS)))
@pytest.mark.parametrize("trials", [1, 2, 4])
def test_float64_follows_torch_optim_for_50_epochs(rule, read_out, activation, trials):
    name, numbers = RULES[rule]
    case = random_case(
        3, units=21, inputs=1, outputs=2, trials=trials, rows=2, noise_rows=3, read_out=read_out,
        activation=activation, rule=name, settings=numbers, thresholds=(-0.33, 0.33),
    )  # fmt: skip
    got = run(case, np.float64, 50)
    parts, history, _ = torch_run(case, 50)
    assert got.history == pytest.approx(history, rel=1e-9, abs=1e-11)
    if "clipped" in rule:
        assert (history[:, 1] > numbers[4]).any()
    else:
        assert history[-1, 0] < 0.98 * history[0, 0]
    for part, wanted, before in zip(got.parts, parts, case.parts, strict=True):
        assert part == pytest.approx(wanted, rel=1e-9, abs=1e-11)
        assert not np.array_equal(part, before)


@pytest.mark.parametrize("rule", ["sgd, clipped", "momentum", "adam"])
@pytest.mark.parametrize("kept", range(5))
def test_only_what_is_trainable_changes_and_counts_in_the_norm(rule, kept):
    name, numbers = RULES[rule]
    for trainable in (tuple(i != kept for i in range(5)), tuple(i == kept for i in range(5))):
        case = random_case(5, units=18, rule=name, settings=numbers, trainable=trainable)
        got = run(case, np.float64, 4)
        parts, history, _ = torch_run(case, 4)
        assert got.history == pytest.approx(history, rel=1e-10)
        for wanted, part, after, before in zip(trainable, got.parts, parts, case.parts, strict=True):
            assert part == pytest.approx(after, rel=1e-10, abs=1e-12)
            assert np.array_equal(part, before) != wanted


@settings(max_examples=40, deadline=None)
@given(case=cases, dtype=st.sampled_from([np.float32, np.float64]), rule=st.sampled_from(list(RULES)), data=st.data())
def test_bits_depend_on_neither_the_call_nor_how_epochs_are_cut(case, dtype, rule, data):
    name, numbers = RULES[rule]
    epochs = data.draw(st.integers(2, 8))
    cut = data.draw(st.integers(1, epochs - 1))
    random = data.draw(st.sampled_from([{}, {"sigma": 0.1, "spread": 0.3, "seed": 2**40 + 7}]))
    case = case.but(rule=name, settings=numbers, snapshots=(0, epochs - 1), **random)
    whole = run(case, dtype, epochs)
    assert same(run(case, dtype, epochs), whole)
    call = Call(case, dtype, epochs)
    part = call.advance(0, cut)
    if (part.events[FINISHED] < 0).all():
        part = call.advance(cut, epochs)
    assert same(part, whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_are_the_same_in_threads(dtype):
    some = [
        random_case(seed, units=50, trials=trials, rule="adam", settings=RULES["adam"][1]).but(sigma=0.05, spread=0.2)
        for seed, trials in enumerate([1, 2, 3, 4])
    ]
    wanted = [run(case, dtype, 30) for case in some]
    got = [None] * len(some)

    def work(i):
        got[i] = run(some[i], dtype, 30)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(some))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(a, b) for a, b in zip(got, wanted, strict=True))


def test_trials_weigh_in_alone():
    """The loss and the gradient of several trials are the sums of those of each: what the batch
    mixes up would show.
    """
    case = random_case(11, units=33, trials=3, inputs=2).but(settings=FAR)
    single = [
        case.but(**{name: getattr(case, name)[b : b + 1] for name in ("inputs", "targets", "weights", "counted")})
        .but(initial=case.initial[:, b : b + 1], noise=case.noise[:, b : b + 1])
        for b in range(3)
    ]  # fmt: skip
    parts = [run(each, np.float64, 1) for each in [case, *single]]
    assert parts[0].history[0, 0] == pytest.approx(sum(part.history[0, 0] for part in parts[1:]), rel=1e-13)
    for i, before in enumerate(case.parts):
        steps = [before - part.parts[i] for part in parts]
        assert steps[0] == pytest.approx(sum(steps[1:]), rel=1e-11, abs=1e-12 * np.abs(steps[0]).max())


def test_snapshots_and_records_are_the_states_along_the_way():
    case = random_case(2, units=17, record=(0, 3, 4), snapshots=(0, 2, 5))
    got = run(case, np.float64, 6)
    along = [run(case.but(record=None, snapshots=()), np.float64, epochs) for epochs in range(1, 7)]
    assert np.array_equal(got.history, along[-1].history[[0, 3, 4]])
    assert np.array_equal(got.snapshots[0], packing.pack_full_rank(*case.parts, np.float64))
    assert np.array_equal(got.snapshots[1], along[1].state)
    assert np.array_equal(got.snapshots[2], along[4].state)


def saturated(**changes):
    """Outputs at their target with no slope left: the gradient is exactly zero."""
    case = random_case(1, units=5, outputs=1, **changes)
    w, w_in, b, w_out, _ = case.parts
    parts = (w, w_in, b, w_out, np.array([1e4]))
    return case.but(parts=parts, targets=np.ones_like(case.targets))


def test_frozen_only_where_every_later_epoch_must_be_the_same():
    frozen, diverged = EVENTS.index("frozen"), EVENTS.index("diverged")
    for changes in ({}, {"settings": (0.1, 0, 0, 0, 1.0)}):
        got = run(saturated(**changes), np.float32, 10)
        assert (got.events[frozen], got.events[diverged], got.next_epoch) == (0, -1, 1)
    for changes in (
        {"rule": "momentum"}, {"rule": "adam"}, {"sigma": 0.1}, {"spread": 0.1}, {"rows": 2}, {"noise_rows": 2}
    ):  # fmt: skip
        got = run(saturated(**changes), np.float32, 10)
        assert (got.events[frozen], got.next_epoch) == (-1, 10), changes


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_a_network_that_is_not_finite_keeps_its_last_parameters(rule):
    case = random_case(4, activation="identity", rule=rule, settings=(1e17, 0.9, 0.999, 1e-8, INFINITY))
    call = Call(case, np.float32, 50)
    got = call.advance(0, 50)
    diverged = got.events[EVENTS.index("diverged")]
    assert 0 < diverged < 50
    assert got.next_epoch == diverged + 1
    assert np.isfinite(got.state).all()
    # what it saw last is finite: it is the square of the next step that overflows float32
    assert (got.history[-1, :2] > 1e16).all()


def test_events_are_read_off_the_history():
    case = random_case(8, units=30, outputs=1, rule="adam", settings=(0.02, 0.9, 0.999, 1e-8, INFINITY)).but(
        chance_accuracy=0.6, solved_loss=0.05
    )
    case = case.but(targets=(case.targets > 0).astype(float), counted=np.ones(case.targets.shape, bool))
    got = run(case, np.float64, 200)
    loss, accuracy = got.history[:, 0], got.history[:, QUANTITIES.index("accuracy")]
    above = np.flatnonzero(accuracy > 0.6)
    solved = np.flatnonzero(loss < 0.05)
    assert list(got.events[:3]) == [above[0], above[-1], solved[0]]
    assert accuracy[0] < 1


@given(
    units=st.integers(1, 40),
    inputs=st.integers(0, 4),
    outputs=st.integers(1, 3),
    double=st.booleans(),
    seed=st.integers(0, 99),
)
def test_packing_goes_both_ways(units, inputs, outputs, double, seed):
    dtype = np.float64 if double else np.float32
    rng = np.random.default_rng(seed)
    shapes = (units, units), (units, inputs), (units,), (outputs, units), (outputs,)
    parts = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    state = packing.pack_full_rank(*parts, dtype)
    plane = full_rank.plane_size(units, inputs, 64 // state.itemsize)
    assert state.size == plane * (plane + outputs)
    assert state.ctypes.data % 64 == 0
    for part, back in zip(parts, packing.unpack_full_rank(state, units, inputs, outputs), strict=True):
        assert np.array_equal(part, back)
