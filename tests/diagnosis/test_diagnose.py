"""``diagnose`` on runs of this library, what it takes and refuses, its record, its figure and its
command.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ghostpoint import LowRankRNN, train
from ghostpoint.command.diagnose import diagnose_file
from ghostpoint.diagnosis import Diagnosis, diagnose
from ghostpoint.figures.diagnosis import draw
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.tasks import DelayedActivation
from tests.diagnosis.curves import collapse, exponential, noisy_jump


@pytest.fixture(scope="module")
def run():
    """Published networks at a rate at which most that learn are lost."""
    return train(LowRankRNN.published(range(12)), DelayedActivation(), 0.02, 6000)


@pytest.fixture(scope="module")
def found(run):
    return diagnose(run)


def test_a_run_s_events_agree(run, found):
    """The events come from the training, the verdicts from the history."""
    entry, first = (run.events[name].values for name in ("no_learning_zone_entry", "first_above_chance"))
    assert (entry >= 0).any()
    assert (first < 0).any()
    for row, finding in enumerate(found):
        if first[row] < 0:
            assert finding.verdict == "plateau at chance"
        elif entry[row] >= 0:
            assert finding.verdict == "no-learning zone"
            assert finding.evidence["entry_epoch"] == entry[row]
            assert f"{entry[row]:g}" in finding.advice
        else:
            assert finding.verdict not in ("plateau at chance", "no-learning zone")


def test_a_lost_network_has_a_flat_gradient_and_is_told_a_lower_rate(found):
    lost = [finding for finding in found if finding.verdict == "no-learning zone"]
    assert all("learning rate below" in finding.advice for finding in lost)
    flat = [finding for finding in lost if finding.evidence["gradient_share"] < 1e-6]
    assert flat
    assert all(finding.confidence > 0.8 for finding in flat)
    assert all(float(finding.advice.split("below ")[1].split(",")[0]) <= 0.01 for finding in lost)


def test_a_network_is_diagnosed_alike_alone_and_in_a_stack(run, found):
    for row in np.flatnonzero(run.events["first_above_chance"] >= 0)[:2]:  # a history tells no plateau's end
        alone = diagnose(run.history.isel(network=[row]), chance_loss=1.0, chance_accuracy=0.5)
        assert alone.findings == (found.findings[row],)
        assert found[row].findings == alone.findings
        assert found[row].verdict == found.verdict[row]


def test_forms_of_a_history_are_one():
    loss = noisy_jump(0)
    forms = [
        loss,
        loss.tolist(),
        loss[None],
        {"loss": loss, "epoch": np.arange(len(loss))},
        xr.Dataset({"loss": ("epoch", loss)}),
        xr.Dataset({"loss": (("epoch", "network"), loss[:, None])}),
    ]
    assert len({str(diagnose(form)) for form in forms}) == 1
    stack = diagnose(np.stack([loss, loss]))
    assert len(stack) == 2
    assert stack.verdict == ("abrupt learning",) * 2


def test_a_given_chance_level_is_used_and_an_inferred_one_is_named():
    loss = np.full(400, 0.05) + 1e-4 * np.sin(np.arange(400))
    assert "chance_loss" in str(diagnose(loss))
    assert diagnose(loss).verdict == "plateau at chance"
    trained_before = diagnose(loss, chance_loss=1.0)
    assert trained_before.verdict != "plateau at chance"
    assert "inferred" not in str(trained_before)


def test_nan_to_the_end_is_divergence_and_a_gap_is_not():
    loss = exponential(0)
    loss[1500:] = np.nan
    ended = diagnose(loss)
    assert ended.verdict == "divergence"
    assert ended.evidence["first_epoch_not_finite"] == 1500
    assert ended.confidence < diagnose(np.where(np.arange(2000) < 1500, exponential(0), np.inf)).confidence
    gaps = exponential(0)
    gaps[[3, 700, 701, 1999]] = np.nan
    assert diagnose(gaps).verdict == "gradual learning"
    assert "4 losses are missing" in str(diagnose(gaps))


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"learning_rate": [1.0]}, "history must have loss, got learning_rate"),
        (xr.Dataset({"x": ("epoch", [1.0])}), "variable loss, got x"),
        (xr.Dataset({"loss": (("a", "b", "c"), [[[1.0]]])}), "got \\('a', 'b', 'c'\\)"),
        (np.zeros((2, 2, 2)), "loss must have shape"),
        ([], "loss must have shape"),
        ("loss", "loss must be an array of numbers"),
        ({"loss": [1.0, 2.0], "epoch": [1, 1]}, "epoch must be 2 ascending numbers"),
        ({"loss": [1.0, 2.0], "accuracy": [1.0, 2.0, 3.0]}, "accuracy must have shape"),
    ],
)
def test_what_is_no_history_is_refused(history, message):
    with pytest.raises(ValueError, match=message):
        diagnose(history)


def test_a_chance_level_must_be_a_number():
    with pytest.raises(ValueError, match="chance_loss must be finite, got nan"):
        diagnose([1.0], chance_loss=float("nan"))


def test_the_record_survives_the_disk_and_is_drawn_from_there(found, tmp_path):
    dataset = found.to_dataset()
    path = write_dataset(dataset, tmp_path / "diagnosis.zarr.zip")
    again = read_dataset(path)
    xr.testing.assert_identical(again, dataset)
    assert tuple(again["verdict"].values) == found.verdict
    assert again.sizes["phase"] == max(map(len, found.phases))
    figure = draw(again.isel(network=slice(6)))
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes if axes.get_ylabel() == "loss"]
    assert titles == [
        f"network {row}: {found.verdict[row]} (confidence {np.floor(100 * found.confidence[row]) / 100:.2f})"
        for row in range(6)
    ]
    assert len(draw(again, network=7).axes) == 2
    with pytest.raises(ValueError, match="network must be from 0 to 11, got 12"):
        draw(again, network=12)
    *panels, below = draw(again).axes
    shown = {axes.get_title(loc="left"): len(axes.collections[0].get_paths()) for axes in panels if axes.collections}
    counts = {name: found.verdict.count(name) for name in found.verdict}
    assert shown == {f"{name} ({count})": count for name, count in counts.items()}
    rows = below.images[0].get_array()
    assert [len(np.unique(row)) for row in rows] == [len({phase.name for phase in each}) for each in found.phases]


def test_the_figure_shows_the_phases_of_the_dataset():
    found = diagnose(collapse(0))
    axes = draw(found.to_dataset()).axes[0]
    assert set(axes.get_legend_handles_labels()[1]) == {phase.name for phase in found.phases} | {"chance"}


def test_a_table_for_a_stack_and_all_for_one_network(found):
    lines = str(found).splitlines()
    assert len(lines) == len(found) + 2
    assert all(verdict in line for verdict, line in zip(found.verdict, lines[1:], strict=False))
    assert "evidence:" in str(found[0])
    assert isinstance(found[-1], Diagnosis)
    with pytest.raises(IndexError):
        found[12]


def test_the_command_reads_diagnoses_and_draws(run, tmp_path):
    path = run.save(tmp_path / "run.zarr.zip")
    assert diagnose_file(path) == str(diagnose(run))
    text = diagnose_file(path, network=2, figure=tmp_path / "sub" / "one.png")
    assert text == str(diagnose(run)[2])
    assert (tmp_path / "sub" / "one.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="network must be from 0 to 11, got 12"):
        diagnose_file(path, network=12)
    with pytest.raises(ValueError, match=r"figure must end in one of .*\.png.*; got x.bmpx"):
        diagnose_file(path, network=0, figure=tmp_path / "x.bmpx")


def test_a_training_in_which_nothing_changes_is_told_what_to_check() -> None:
    rows = {"epoch": np.arange(400), "loss": np.full(400, 0.6931)}
    noisy = {**rows, "loss": 0.6931 + 1e-3 * np.random.default_rng(0).normal(size=400)}
    same = diagnose(rows)
    assert same.verdict == "plateau at chance"
    assert "same number in every row" in same.advice
    still = diagnose({**noisy, "learning_rate": np.zeros(400)})
    assert still.advice.startswith("The recorded learning rate is 0 in every row. Unless it is rounded")
    some = np.where(np.arange(400) % 10 == 0, 0.0, np.nan)
    assert diagnose({**noisy, "learning_rate": some}).advice == still.advice
    learned = diagnose({"loss": np.exp(-np.arange(400) / 40), "learning_rate": np.zeros(400)})
    assert "0 in every row" not in learned.advice
    above = diagnose({**rows, "loss": np.full(400, 2.53)}, classes=10)
    assert "same number in every row" in above.advice
    moving = diagnose({**noisy, "learning_rate": np.full(400, 0.01)})
    assert moving.advice.startswith("Wait")
    for end in (np.inf, np.nan):
        broken = diagnose({"loss": np.r_[np.full(30, 2.3), np.full(30, end)]})
        assert broken.verdict == "divergence"
        assert "same number" not in broken.advice
