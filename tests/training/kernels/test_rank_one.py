"""The compiled kernels against the reference, and bit for bit against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint import LowRankRNN
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training.kernels.epoch import QUANTITIES
from ghostpoint.training.reference import evaluate
from tests.training.calls import train_with
from tests.training.problems import PARTS, networks, same_bits, tasks

LAYOUTS = pytest.mark.parametrize("layout", ["networks", "units"])


def unit_rates(models, task):
    """Learning rates with which the update has length one, so that it shows the gradient to the
    last digits.
    """
    return 1 / np.maximum(evaluate(models, task).gradient_norm, 1e-30)


@LAYOUTS
@settings(max_examples=60)
@given(models=networks(most=10), task=tasks())
def test_float64_is_the_reference(layout, models, task):
    rate = unit_rates(models, task)
    seen = evaluate(models, task)
    run = train_with(models, task, rate, 1, dtype="float64", layout=layout, threads=1)
    first = run.history.isel(epoch=0)
    assert first["loss"].values == pytest.approx(seen.loss, rel=1e-11, abs=1e-300)
    # a norm is the root of a sum of squares, which are no normal numbers below this
    assert first["gradient_norm"].values == pytest.approx(
        seen.gradient_norm, rel=1e-10, abs=np.finfo(float).tiny ** 0.5
    )
    for part in PARTS:
        column = rate.reshape(-1, *[1] * (getattr(models, part).ndim - 1))
        update = getattr(models, part) - getattr(run.models, part)
        expected = column * seen.gradient[part] * (part in models.trainable)
        # the update as a difference of parameters has the rounding of the parameters
        size = 1 + np.abs(getattr(models, part))
        assert (np.abs(update - expected) <= 1e-10 * size).all(), part
        if part not in models.trainable:
            assert np.array_equal(getattr(run.models, part), getattr(models, part))


@LAYOUTS
@settings(max_examples=25)
@given(models=networks(most=4, units=20), task=tasks(6), epochs=st.integers(2, 12))
def test_float64_follows_the_reference_over_several_updates(layout, models, task, epochs):
    rate = 0.05 * unit_rates(models, task)
    runs = [
        train_with(models, task, rate, epochs, dtype="float64", layout=layout, threads=1, checkpoints=[0, epochs // 2]),
        train_with(models, task, rate, epochs, dtype="float64", engine="reference", checkpoints=[0, epochs // 2]),
    ]
    # small steps on a smooth loss: rounding grows by a modest factor only, unless the gradient
    # nearly vanishes
    if rate.max() > 10:
        return
    compiled, reference = runs
    for name in QUANTITIES[:-1]:  # no remedy, no scale
        if name != "accuracy":
            assert compiled.history[name].values == pytest.approx(reference.history[name].values, rel=1e-8, abs=1e-12)
    for part in PARTS:
        assert getattr(compiled.models, part) == pytest.approx(getattr(reference.models, part), rel=1e-8, abs=1e-10)
        kept = compiled.checkpoints[part].values
        assert kept == pytest.approx(reference.checkpoints[part].values, rel=1e-8, abs=1e-10)


@LAYOUTS
@settings(max_examples=40)
@given(models=networks(most=10), task=tasks())
def test_float32_is_the_reference_to_its_own_precision(layout, models, task):
    # from weights that float32 holds; the output's error is that of its argument, c times the
    # latent's
    models = models.replace(**{part: getattr(models, part).astype(np.float32) for part in PARTS})
    rate = np.minimum(unit_rates(models, task), 1e3)
    run = train_with(models, task, rate, 1, layout=layout, threads=1)
    expected = train_with(models, task, rate, 1, dtype="float64", engine="reference")
    scale = (1 + models.confidence) * (1 + np.abs(models.n).sum(axis=(1, 2)))
    tolerance = 2e-6 * scale * 1.5 ** min(task.steps, 8)
    for name in ("loss", "gradient_norm"):
        got, wanted = (each.history[name].values[:, 0] for each in (run, expected))
        assert (np.abs(got - wanted) <= tolerance * (np.abs(wanted) + 1e-12)).all(), name
    for part in PARTS:
        got, wanted = (getattr(each.models, part).reshape(len(models), -1) for each in (run, expected))
        assert (np.abs(got - wanted) <= tolerance[:, None] * (1 + np.abs(wanted))).all(), part


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=30)
@given(models=networks(most=20), task=tasks(), epochs=st.integers(1, 25), data=st.data())
def test_bits_depend_on_neither_layout_nor_stack_nor_threads(dtype, models, task, epochs, data):
    rate = np.exp(np.random.default_rng(epochs).uniform(-7, 1, len(models)))

    def bits(some, rates, **keywords):
        return train_with(some, task, rates, epochs, dtype=dtype, checkpoints=[epochs - 1], **keywords)

    whole = bits(models, rate, layout="networks", threads=1)
    for layout, threads in (("units", 1), ("units", 3), ("networks", 2), ("auto", 2), ("auto", 3)):
        assert same_bits(bits(models, rate, layout=layout, threads=threads), whole)
    rows = data.draw(st.permutations(range(len(models))))[: data.draw(st.integers(1, len(models)))]
    some = bits(models[rows], rate[rows], layout=data.draw(st.sampled_from(["networks", "units"])), threads=1)
    for name in QUANTITIES[:-1]:  # no remedy, no scale
        assert np.array_equal(some.history[name], whole.history[name][rows], equal_nan=True), name
    for name in whole.events:
        assert np.array_equal(some.events[name], whole.events[name][rows]), name
    for part in PARTS:
        assert np.array_equal(getattr(some.models, part), getattr(whole.models, part)[rows]), part


def test_saturated_units_have_the_same_bits_in_both_layouts():
    # one network far beyond the bound up to which the block kernel takes the shorter tanh, in a
    # block with others
    models = LowRankRNN.initialize(20, range(17))
    scale = np.where(np.arange(17) == 5, 60.0, 1.0)[:, None, None]
    stretched = models.replace(m=models.m * scale, b=models.b + 3.0)
    runs = [
        train_with(stretched, DelayedActivation(30), 0.1, 3, layout=layout, record="all")
        for layout in ("networks", "units")
    ]
    assert runs[0].history.identical(runs[1].history)
    np.testing.assert_array_equal(runs[0].models.m, runs[1].models.m)
