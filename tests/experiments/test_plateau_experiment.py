"""The experiment on the length of the plateau, at a scale of seconds: claims that hold and fail."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import get
from ghostpoint.experiments.plateau import interval_of_median
from tests.experiments.claim_checks import check_failure, check_round_trip
from tests.experiments.network_samples import Counted

EXPERIMENT = get("plateau")
SMALL = {
    **EXPERIMENT.parameters["paper"],
    "seeds": [2, 3, 5, 40],
    "rates": [0.02, 0.1],
    "named_seeds": [2, 3, 5, 40, 0, 1],
    "searched_seeds": [0, 1, 2, 3],
    "searched_epochs": 3001,
    "curve_seeds": [0, 1, 2, 3],
    "curve_epochs": 20_000,
    "conditions": [
        {}, {"delay": 8}, {"delay": 12}, {"delay": 30}, {"confidence": 3.0}, {"units": 20}, {"scale_n": 2.0},
    ],
    "extensions": [
        {"group": "momentum", "momentum": 0.9, "epochs": [1500]},
        {"group": "rank", "rank": 2, "epochs": [1500]},
        {"group": "state", "readout": "state", "rank": 1, "epochs": [1000]},
        {"group": "second", "second plateau at T": 48, "epochs": [4000]},
        {"group": "adam", "Adam at T": 20, "rates": [1e-4]},
    ],
    "condition_seeds": [100, 101, 102, 103],
    "condition_epochs": 1500,
}  # fmt: skip


@cache
def sample():
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return EXPERIMENT.run(SMALL, progress), progress


def test_the_dataset_survives_the_disk_and_gives_the_same_claims(tmp_path):
    check_round_trip(EXPERIMENT, SMALL, sample(), tmp_path / "data.zarr.zip")


def test_every_claim_holds_of_the_sample():
    assert [claim.verdict for claim in EXPERIMENT.claims(sample()[0], SMALL)] == ["holds"] * 13


def test_a_condition_without_a_plateau_is_outside_the_range():
    dataset = sample()[0].sel(condition="confidence 3")
    assert not dataset["valid"].any()


def cases():
    """For every claim, a variable and a change of it that must make the claim fail."""
    one = np.arange(4) == 0
    yield 0, "predicted", lambda v: v * np.where(one, 1.02, 1.0)
    yield 1, "predicted", lambda v: v * np.where(one, 1.01, 1.0)
    yield 1, "measured", lambda v: np.where(one, -1, v)
    yield 2, "measured", lambda v: v * np.array([[1.0], [1.03]])
    yield 3, "named", lambda v: v ^ (np.arange(6) == 1)
    yield 3, "learned", lambda v: v | True
    yield 4, "learned_beside", lambda v: v | True
    yield 4, "learned_beside", lambda v: v & False
    yield 5, "reduced_loss", lambda v: np.ones_like(v)
    yield 5, "loss", lambda v: np.roll(v, -300, axis=1)
    yield 6, "ratio", lambda v: v * np.where(np.arange(7) == 5, 1.05, 1.0)[:, None, None]
    yield 6, "ratio", lambda v: v * np.nan
    yield 7, "ratio", lambda v: v * np.where(np.arange(7) == 3, 1.05, 1.0)[:, None, None]

    for row in range(5):
        yield (
            8 + row,
            "extended_predicted",
            lambda v, row=row: v * np.where(np.arange(5) == row, 1.06, 1.0)[:, None, None],
        )
        yield 8 + row, "extended_measured", lambda v, row=row: np.where((np.arange(5) == row)[:, None], -1, v)
        yield 8 + row, "extended_valid", lambda v: v & False


@pytest.mark.parametrize(("index", "name", "change"), list(cases()))
def test_every_claim_fails_on_data_that_does_not_show_it(index, name, change):
    check_failure(EXPERIMENT, SMALL, sample()[0], index, name, change)


def test_the_figure_shows_every_network():
    figure = figures.draw("plateau", sample()[0])
    FigureCanvasAgg(figure).draw()
    assert len(figure.axes) == 6
    assert sum(line.get_marker() == "o" for line in figure.axes[0].lines) == 2


def test_the_interval_of_a_median_covers_it_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(4000, 20))
    inside = [low <= 0 <= high for _, low, high in map(interval_of_median, draws)]
    assert 0.94 < np.mean(inside) < 0.98


def test_the_page_shows_the_saved_run():
    path = Path(__file__).parents[2] / "benchmarks/plateau.py"
    spec = importlib.util.spec_from_file_location("plateau_tables", path)
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    saved, text = json.loads(tables.RESULTS.read_text()), tables.PAGE.read_text(encoding="utf-8")
    assert text == tables.page(text, saved)
    assert len(saved["learn"]) == 74
