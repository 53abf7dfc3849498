"""Saved runs come back bit for bit; what is not one is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import ghostpoint as gp
from ghostpoint import LowRankRNN, TrainingRun, load
from ghostpoint.results import NO_LEARNING_WINDOW, no_learning_zone_entry
from ghostpoint.storage import write_dataset
from ghostpoint.tasks import DelayedActivation
from tests.training.calls import train_with
from tests.training.problems import networks, same_bits, tasks


@settings(max_examples=15)
@given(
    models=networks(most=4, units=7),
    task=tasks(4),
    epochs=st.integers(1, 6),
    dtype=st.sampled_from(["float32", "float64"]),
    kept=st.booleans(),
)
def test_a_run_survives_the_disk_bit_for_bit(models, task, epochs, dtype, kept):
    run = train_with(models, task, 0.1, epochs, dtype=dtype, checkpoints=[0, epochs - 1] if kept else ())
    with tempfile.TemporaryDirectory() as folder:
        path = run.save(Path(folder) / "run.zarr.zip")
        again = load(path)
    assert same_bits(again, run)
    assert again.config == run.config
    assert again.version == run.version
    assert again.models.trainable == run.models.trainable
    for ours, theirs in ((run.history, again.history), (run.events, again.events)):
        assert {name: value.dtype for name, value in ours.variables.items()} == {
            name: value.dtype for name, value in theirs.variables.items()
        }
    if kept:
        assert np.array_equal(again.models_at(-1).m, run.models_at(-1).m)
        with pytest.raises(IndexError):
            again.models_at(len(run.checkpoints["epoch"]))
    # the loaded networks go on as the others would
    more = [train_with(each.models, task, 0.1, 2, dtype=dtype) for each in (run, again)]
    assert same_bits(*more)


def test_something_else_is_not_loaded(tmp_path):
    other = write_dataset(xr.Dataset({"a": ("x", [1.0])}), tmp_path / "other.zarr.zip")
    with pytest.raises(ValueError, match="must be a training run, got kind None"):
        load(other)
    with pytest.raises(ValueError, match="must be a training run, got kind 'sweep'"):
        TrainingRun.from_dataset(xr.Dataset(attrs={"kind": "sweep"}))
    with pytest.raises(ValueError, match=r"there is no file .*nothing"):
        load(tmp_path / "nothing")
    (tmp_path / "text").write_text("no run")
    with pytest.raises(ValueError, match=r"text cannot be read"):
        load(tmp_path / "text")


@pytest.mark.parametrize("silent", [0, 1, NO_LEARNING_WINDOW - 1, NO_LEARNING_WINDOW, NO_LEARNING_WINDOW + 1, 70])
@given(data=st.data(), epochs=st.integers(30, 70))
def test_the_no_learning_zone_begins_after_the_last_epoch_above_chance(silent, data, epochs):
    above = np.array(
        data.draw(st.lists(st.lists(st.booleans(), min_size=epochs, max_size=epochs), min_size=1, max_size=3))
    )
    above[:, max(epochs - silent, 0) :] = False
    above[0, max(epochs - silent - 1, 0)] = silent < epochs  # at the boundary of the window
    first = np.where(above.any(axis=1), above.argmax(axis=1), -1)
    last = np.where(above.any(axis=1), epochs - 1 - above[:, ::-1].argmax(axis=1), -1)
    entry = no_learning_zone_entry(first, last, epochs)
    for row, begins in zip(above, entry, strict=True):
        lost = row.any() and not row[-NO_LEARNING_WINDOW:].any()
        assert (begins >= 0) == lost
        if lost:
            assert row[begins - 1]
            assert not row[begins:].any()


def test_the_final_networks_keep_what_training_does_not_touch():
    models = LowRankRNN.initialize(4, [3], threshold=0.7, initial_state=[0.1, 0.2, 0.3, 0.4])
    run = train_with(models, DelayedActivation(20), 0.1, 2, dtype="float64")
    for name in ("threshold", "initial_state", "seed", "confidence"):
        assert np.array_equal(getattr(run.models, name), getattr(models, name)), name
    assert not np.array_equal(run.models.m, models.m)


def test_a_run_says_in_a_few_lines_what_it_is():
    run = gp.train(gp.LowRankRNN.published([0, 1, 2]), gp.tasks.DelayedActivation(30), 0.1, 60, remedy="auto")
    text = str(run)
    assert len(text.splitlines()) == 11
    for part in (
        "LowRankRNN(3 networks",
        "DelayedActivation(",
        "60 of 60",
        "SGD(momentum=0.0)",
        "TrustRegion(",
        "compiled",
    ):
        assert part in text
    learned = int((run.events["first_above_chance"] >= 0).sum())
    assert f"{learned} of 3" in next(line for line in text.splitlines() if "learned" in line)
    assert run._repr_html_().count("<tr>") == 10
    assert repr(run) == "TrainingRun(3 networks, 60 epochs)"
