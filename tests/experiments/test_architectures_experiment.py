"""The experiment on other architectures, at a scale of seconds: claims that hold and fail."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import Silent, architecture_claims, architecture_runs, architectures, get
from ghostpoint.experiments.architecture_runs import ACTIVATION, CUE, GHOSTS, MATCH, MEASURES, MEMORY, MOMENTS, SIGN
from tests.experiments.claim_checks import check_failure, check_round_trip
from tests.experiments.network_samples import Counted

EXPERIMENT = get("architectures")
PAPER = EXPERIMENT.parameters["paper"]
SMALL = {
    "units": 4,
    "seeds": [0, 1],
    "rates": PAPER["rates"],
    "cases": [
        architectures.case("gru", ACTIVATION, 4, 60, (6, 9), recovery=3),
        architectures.case("convolution", SIGN, 4, 40, (1, 3)),
        architectures.case("gru", ACTIVATION, 4, 60, (6, 7), **architectures.LOW),
    ],
    "ghosts": [{"architecture": "gru", "delay": 4, "rate": 3.0, "epochs": 300, "stride": 10}],
}
#: three of the six are enough to see every statement
CASES = [case for case in PAPER["cases"] if case["architecture"] in ("tanh", "gru", "convolution")]
TASKS, TREATMENTS, NAMES = (np.array([c[k] for c in CASES]) for k in ("task", "treatment", "architecture"))
DELAYS = np.array([case["delay"] for case in CASES])
SEEDS = 6


@cache
def sample():
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return EXPERIMENT.run(SMALL, progress), progress


@cache
def ideal():
    """What a run of the paper scale would give if every statement carried over."""
    shape = (len(CASES), len(PAPER["rates"]), SEEDS)
    values = {name: np.full(shape, np.nan) for name in MEASURES}
    for row, case in enumerate(CASES):
        last = {ACTIVATION: {6: 6, 12: 4, 24: 2}.get(case["delay"]), CUE: 3, MATCH: 5, SIGN: 6}[case["task"]]
        remedied = case["treatment"] != "plain"
        for place in range(*case["rates"]):
            good = remedied or place <= last
            start, end = (2, 20) if case["task"] == SIGN else (200, 300)
            seen = {
                "drop_from": start if good else np.nan, "drop_to": end if good else np.nan,
                "first_learned": end if good or place <= last + 2 else np.nan,
                "lowest": 0.01 if good else 0.5, "final": 0.01 if good else 2.0,
                "gradient_start": 0.1, "gradient_end": 1e-6, "logit_start": 0.1,
                "logit_learned": 2.0 if good or place <= last + 2 else np.nan,
                "logit_collapse": 5.0 if last < place <= last + 2 else np.nan, "logit_end": 20.0,
                "recovered": np.nan if good or "recovery" not in case else 1.0,
                "alone": np.nan if good or "recovery" not in case else 0.0,
            }  # fmt: skip
            for name, value in seen.items():
                values[name][row, place] = value
    data = {name: (("case", "rate", "seed"), value) for name, value in values.items()}
    data["curve"] = (("case", "rate", "point"), np.ones((*shape[:2], architecture_runs.POINTS)))
    data["curve_epoch"] = (("case", "point"), np.tile(np.arange(architecture_runs.POINTS), (len(CASES), 1)))
    cells = ["tanh", "gru"]
    data |= {
        f"ghost_{name}": (("cell", "seed"), np.full((len(cells), SEEDS), 300.0)) for name in ("drop_from", "drop_to")
    }
    for name, value in zip(GHOSTS, (1.0, 1.0, 1.0, 0.5), strict=True):
        data[f"ghost_{name}"] = (("cell", "moment", "seed"), np.full((len(cells), len(MOMENTS), SEEDS), value))
    coords = {"rate": PAPER["rates"], "seed": np.arange(SEEDS), "moment": list(MOMENTS), "cell": np.array(cells)}
    coords |= {name: ("case", np.array([case[name] for case in CASES])) for name in ("architecture", "task", "delay")}
    dataset = xr.Dataset(data, {**coords, "treatment": ("case", TREATMENTS)}, {"torch": 1})
    return dataset.assign(architecture_claims.summaries(dataset))


def test_the_dataset_survives_the_disk_and_gives_the_same_claims(tmp_path):
    check_round_trip(EXPERIMENT, SMALL, sample(), tmp_path / "data.zarr.zip")


def test_a_small_run_keeps_what_it_trained_and_nothing_else():
    dataset = sample()[0]
    was_trained = np.isfinite(dataset["gradient_start"].values).all(axis=2)
    for row, case in enumerate(SMALL["cases"]):
        expected = np.isin(np.arange(10), np.arange(*case["rates"]))
        if dataset.attrs["torch"]:
            assert (was_trained[row] == expected).all()
    assert (dataset["ghost_fixed"].values[np.isfinite(dataset["ghost_fixed"].values)] >= 1).all()
    # two networks decide nothing
    assert {claim.verdict for claim in EXPERIMENT.claims(dataset, SMALL)} == {"not testable at this scale"}


def test_without_pytorch_the_families_of_the_library_are_trained_and_the_rest_is_named(monkeypatch):
    for module in (architecture_runs, architectures):
        monkeypatch.setattr(module, "has_torch", lambda: False)
    dataset = EXPERIMENT.run({**SMALL, "ghosts": []}, Silent())
    assert np.isfinite(dataset["lowest"].values[0, 6:9]).all()
    assert np.isnan(dataset["lowest"].values[1:]).all()
    claims = EXPERIMENT.claims(dataset, SMALL)
    assert all("PyTorch" in claim.note for claim in claims)


def test_both_ways_to_train_agree(monkeypatch):
    pytest.importorskip("torch")
    settings = {**architectures.case("gru", CUE, 4, 30, (2, 4)), "rates": [0.2, 0.5], "units": 4, "seeds": [0, 1]}
    by_torch = architecture_runs.condition(settings, Silent())
    monkeypatch.setattr(architecture_runs, "has_torch", lambda: False)
    reference = architecture_runs.condition(settings, Silent())
    for name in ("final", "gradient_start", "gradient_end", "curve"):
        assert by_torch[name].values == pytest.approx(reference[name].values, rel=1e-3)


def test_fates_of_made_up_curves():
    epoch = np.arange(400.0)
    learns = np.where(epoch < 200, 1.0, np.maximum(1 - (epoch - 199) / 20, 0.01))
    lost = np.where(epoch < 300, learns, 2.0)
    stuck, gone = np.ones(400), np.where(epoch < 50, 1.0, np.nan)
    loss = 0.25 * np.array([learns, lost, stuck, gone])
    sizes = np.tile(epoch, (4, 1))
    found = architecture_runs.fates(architecture_runs.History(loss, np.ones_like(loss), sizes, {}), 0.25)
    assert found["drop_from"][:2].tolist() == [201, 201]
    assert found["drop_to"][:2].tolist() == [217, 217]
    assert found["first_learned"].tolist()[:2] == [215, 215]
    assert found["final"].tolist() == pytest.approx([0.01, 2.0, 1.0, np.inf])
    assert found["logit_collapse"][1] == 300
    assert np.isnan(found["logit_collapse"][[0, 2, 3]]).all()
    assert np.isnan(found["drop_to"][2:]).all()


@pytest.mark.parametrize("name", [*MEMORY, SIGN])
def test_the_plateau_is_the_best_answer_without_memory_of_the_trial(name):
    task = architecture_runs.task_of(name, 10, 0.5)
    level = architecture_runs.plateau_loss(name, task)
    trial = task.trial()
    assert (trial.inputs[..., -1] == 1).all()
    # any other constant over steps (activation) or trials (the rest) is worse
    other = trial.targets.mean(axis=1 if name == ACTIVATION else 0, keepdims=True) + 0.1
    assert task.loss(np.broadcast_to(other, trial.targets.shape), trial) == pytest.approx(level + 0.01)
    # 5 steps of response: of 17 in cue discrimination; half a mistake in 5 of 19 in match to sample
    known = {ACTIVATION: 0.25, CUE: 5 / 17, MATCH: 0.25 * 5 / 19}
    assert level == pytest.approx(known.get(name, level))


def test_every_claim_holds_of_ideal_data():
    claims = EXPERIMENT.claims(ideal(), PAPER)
    assert [claim.verdict for claim in claims] == ["holds"] * len(architecture_claims.STATEMENTS)
    assert all("carries over" in claim.measured for claim in claims)


def rows(of, change):
    """A change of the cases that ``of`` chooses."""

    def changed(values):
        result = values.copy()
        result[of] = change(values[of])
        return result

    return changed  # fmt: skip


def sometimes_kept(values):
    result = values.copy()
    top = ~np.isnan(values[:, 8:, :2])
    result[:, 8:, :2][top] = 0.01
    return result


def until(places):
    """Losses of delayed activation, kept up to a place for every delay."""

    def changed(values):
        result = values.copy()
        for row in np.flatnonzero((TASKS == ACTIVATION) & (TREATMENTS == "plain")):
            kept = np.arange(10)[:, None] <= places[DELAYS[row]]
            result[row] = np.where(np.isnan(values[row]), np.nan, np.where(kept, 0.01, 2.0))
        return result

    return changed  # fmt: skip


def cases():
    """For every claim, a variable and a change of it that must make the claim fail."""
    number = {key: place for place, key in enumerate(architecture_claims.STATEMENTS)}
    yield number["plateau"], "drop_to", lambda v: v + 1000
    yield number["plateau"], "drop_to", rows((NAMES == "gru") & (TASKS == MATCH), lambda v: v + 1000)
    yield number["no memory"], "drop_from", lambda v: np.where(v == 2, 15, v)
    yield number["highest rate"], "final", sometimes_kept
    yield number["vanishing"], "gradient_end", lambda v: 1e5 * v
    yield number["collapse"], "first_learned", lambda v: np.full_like(v, np.nan)
    yield number["confident"], "logit_end", lambda v: 0 * v + 2
    yield number["delay"], "final", until({6: 3, 12: 4, 24: 4})
    yield number["exponent"], "final", until({6: 6, 12: 5, 24: 4})
    yield number["recovery"], "recovered", lambda v: 0 * v
    yield number["recovery"], "alone", lambda v: 0 * v + 1
    for key in ("confidence 0.2", "clip 0.1"):
        yield number[key], "final", rows(key == TREATMENTS, lambda v: 0 * v + 2)
    yield number["ghost"], "ghost_dwell", lambda v: 0.4 * v
    yield number["bifurcation"], "ghost_fixed", lambda v: v + 2 * (np.arange(len(MOMENTS)) > 1)[:, None]


@pytest.mark.parametrize(("index", "name", "change"), list(cases()))
def test_every_claim_fails_on_data_that_does_not_show_it(index, name, change):
    check_failure(EXPERIMENT, PAPER, ideal(), index, name, change)


def test_every_claim_has_a_failure():
    assert {index for index, _, _ in cases()} == set(range(len(architecture_claims.STATEMENTS)))


@pytest.mark.parametrize("made", [ideal, lambda: sample()[0]])
def test_the_figure_draws_what_is_there(made):
    figure = figures.draw("architectures", made())
    FigureCanvasAgg(figure).draw()
    assert len(figure.axes) == 6
