"""Escape times against the definition, their gradients against finite differences and autograd."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ghostpoint import FullRankRNN, LowRankRNN, NormalForm
from ghostpoint.critical_rate import escape_gradient, escape_time
from ghostpoint.tasks import DelayedActivation, from_arrays

TASK = DelayedActivation(30.0)


def crossing_networks(seed, rank=1, scheme="fixed_readout", count=6):
    """Networks of which most cross: a slow passage near kappa = 0 through sharpened random
    factors.
    """
    rng = np.random.default_rng(seed)
    keywords = {"threshold": 0.1, "confidence": 3.0} if scheme == "fixed_readout" else {}
    drawn = LowRankRNN.initialize(12, range(count), scheme, rank=rank, **keywords)
    m = drawn.m * rng.uniform(2, 4) + 1.0
    n = drawn.n + 0.15 * np.eye(1, rank)
    changes = {} if drawn.w_out is None else {"w_out": 0.3 * drawn.w_out + 0.2, "b_out": np.full((count, 1), -0.4)}
    return drawn.replace(m=m, n=n, b=rng.uniform(0.0, 0.6, drawn.b.shape), **changes)


def full_networks(seed, count=6):
    rng = np.random.default_rng(seed)
    drawn = FullRankRNN.initialize(9, range(count))
    return drawn.replace(
        W=drawn.W + 0.15,
        b=rng.uniform(0.2, 0.8, drawn.b.shape),
        w_out=0.3 * drawn.w_out + 0.2,
        b_out=np.full((count, 1), -0.5),
    )


def two_step_task():
    """A target that rises and falls, in two trials with inputs, read before the update."""
    targets = np.zeros((2, 14, 1))
    targets[0, 4:9, 0], targets[1, 7:, 0] = 1.0, 1.0
    inputs = np.zeros((2, 14, 1))
    inputs[0, 2:7, 0], inputs[0, 7:, 0], inputs[1, 5:, 0] = 3.0, -3.0, 2.0
    return from_arrays(inputs, targets, dt=5, tau=10, read_out="before")


def dense_crossing(z, start, stop, level, sign):
    """The first upward crossing by a plain search, counted from 1 at ``start``; NaN for none."""
    for t in range(start, stop - 1):
        low, high = sign * (z[t] - level), sign * (z[t + 1] - level)
        if low <= 0 < high:
            return t - start + 1 - low / (high - low)
    return np.nan


KINDS = {
    "rank one": (lambda seed: crossing_networks(seed), TASK),
    "rank two": (lambda seed: crossing_networks(seed, 2), TASK),
    "rank two, state readout": (lambda seed: crossing_networks(seed, 2, "state_readout"), TASK),
    "full rank": (full_networks, TASK),
}


def with_inputs(seed):
    drawn = full_networks(seed)
    rng = np.random.default_rng(seed)
    return drawn.replace(w_in=rng.normal(size=(len(drawn), 9, 1)), b=0.3 * drawn.b)


KINDS["inputs, two trials, two transitions"] = (with_inputs, two_step_task())
EVERY = pytest.mark.parametrize("kind", KINDS)


@EVERY
def test_times_are_first_crossings(kind):
    make, task = KINDS[kind]
    models, trial = make(3), task.trial()
    escape = escape_time(models, task)
    shift = task.read_out == "after"
    found = 0
    for row, crossing in enumerate(escape.crossings):
        x = np.array(models.initial_state)
        z = []
        for t in range(task.steps):
            after = models.step(x, task.alpha, trial.inputs[crossing.trial, t])
            z.append(models.logit_of_state(after if shift else x)[:, crossing.output])
            x = after
        for network, path in enumerate(np.array(z).T):
            expected = dense_crossing(path, crossing.start, crossing.stop, crossing.logit, crossing.sign)
            assert escape.time[row, network] == pytest.approx(expected, rel=1e-12, nan_ok=True)
            found += np.isfinite(expected)
    assert found >= 2
    assert escape.gradient is None


@EVERY
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_gradients_are_finite_differences(kind, seed):
    make, task = KINDS[kind]
    models = make(seed)
    rng = np.random.default_rng(seed)
    direction = {part: rng.normal(size=getattr(models, part).shape) for part in models.trainable}
    escape = escape_gradient(models, task)
    assume(np.isfinite(escape.time).any())
    h = 1e-6
    ends = [
        escape_time(models.replace(**{p: getattr(models, p) + s * h * d for p, d in direction.items()}), task).time
        for s in (-1, 1)
    ]
    # the time is smooth only while the crossing stays between two readings
    same = np.floor(ends[0]) == np.floor(ends[1])
    slope = sum(
        (escape.gradient[part] * direction[part]).reshape(*escape.time.shape, -1).sum(axis=2) for part in direction
    )
    measured = (ends[1] - ends[0]) / (2 * h)
    scale = escape.norm * np.sqrt(sum((d**2).reshape(len(models), -1).sum(axis=1) for d in direction.values()))
    error = np.abs(slope - measured) / scale
    # beside a turn of the readout, where it barely crosses, the second derivative is as large as 1
    # / h
    judged = same & np.isfinite(escape.time) & (escape.speed > 0.02)
    assume(judged.any())
    assert error[judged].max() < 1e-5


def test_the_gradient_is_that_of_autograd():
    torch = pytest.importorskip("torch")
    models = crossing_networks(5)
    escape = escape_gradient(models, TASK)
    compared = 0
    for network in np.flatnonzero(np.isfinite(escape.time[0])):
        m, n, b = (
            torch.tensor(part[network].reshape(-1), dtype=torch.float64, requires_grad=True)
            for part in (models.m, models.n, models.b)
        )
        x, readings = torch.tensor(models.initial_state[network], dtype=torch.float64), []
        for _ in range(TASK.steps):
            x = (1 - TASK.alpha) * x + TASK.alpha * torch.tanh(m * (n @ x) + b)
            readings.append(n @ x - models.threshold[network])
        j = next(j for j in range(TASK.steps - 1) if readings[j] <= 0 < readings[j + 1])
        time = j + 1 + readings[j] / (readings[j] - readings[j + 1])
        time.backward()
        assert time.item() == pytest.approx(escape.time[0, network], rel=1e-12)
        for part, leaf in (("m", m), ("n", n), ("b", b)):
            assert escape.gradient[part][0, network].reshape(-1) == pytest.approx(leaf.grad.numpy(), rel=1e-9, abs=1e-9)
        compared += 1
    assert compared >= 2


def test_a_passage_takes_as_long_as_its_normal_form_says():
    # Two units: the first bends the flow, the second is constant and lifts it. At kappa = 0 the
    # first one's slope is 1, where it curves upwards, so that flow = r + a kappa**2 up to the cubic
    # term
    y, r = 0.5, 4e-3
    m = 1 / (1 - np.tanh(y) ** 2)
    lift = r + np.tanh(y)
    a = m**2 * np.tanh(y) * (1 - np.tanh(y) ** 2)
    low, high = -0.15, 0.15
    models = LowRankRNN([m, 0.0], [1.0, lift], [-y, 20.0], threshold=high, initial_state=[low - lift, 1.0])
    task = DelayedActivation(500.0, dt=0.25, tau=10)
    assert models.flow(np.zeros((1, 1))).item() == pytest.approx(r)
    steps = escape_time(models, task).time.item()
    assert steps * task.alpha == pytest.approx(NormalForm(r, a).escape_time(low, high), rel=0.02)


def test_networks_that_do_not_cross_have_no_time_and_no_gradient():
    models = crossing_networks(1).replace(threshold=50.0)
    escape = escape_gradient(models, TASK)
    assert np.isnan(escape.time).all()
    assert np.isnan(escape.speed).all()
    assert np.isnan(escape.norm).all()
    assert all(np.isnan(values).all() for values in escape.gradient.values())


def test_the_gradient_has_only_what_is_trained():
    escape = escape_gradient(crossing_networks(1).replace(trainable="n"), TASK)
    assert set(escape.gradient) == {"n"}
    crossed = np.isfinite(escape.time[0])
    assert escape.norm[0, crossed] == pytest.approx(np.linalg.norm(escape.gradient["n"][0, crossed, :, 0], axis=1))


def test_the_delay_counts_readings_of_the_window():
    assert escape_time(crossing_networks(1), TASK).delay.tolist() == [6]
    assert escape_time(with_inputs(1), two_step_task()).delay.tolist() == [4, 5, 7]


def test_bad_tasks_say_why():
    flat = from_arrays(np.zeros((1, 5, 0)), np.ones((1, 5, 1)), dt=5, tau=10, levels=[0, 1])
    with pytest.raises(ValueError, match="task must have a target that goes from one counted answer to another"):
        escape_time(crossing_networks(1), flat)
    from ghostpoint.tasks import EvidenceIntegration

    with pytest.raises(ValueError, match="trial must be given for a task with random trials"):
        escape_time(with_inputs(1), EvidenceIntegration())
