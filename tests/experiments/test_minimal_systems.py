"""The experiment on minimal systems at a scale of seconds: claims that hold and fail."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import get
from ghostpoint.experiments.minimal_systems import FAMILIES, ROTATING, Interpolated, measured_critical_rate, starts_of
from ghostpoint.theory import FastPlane, PowerLawDelay, SaddleNodesInSeries
from tests.experiments.claim_checks import check_failure, check_round_trip
from tests.experiments.network_samples import Counted

EXPERIMENT = get("minimal_systems")
SMALL = {
    **EXPERIMENT.parameters["quick"],
    "starts": 200,
    "epochs": 100,
    "tolerance": 3e-3,
    "delays": [16.0, 32.0, 64.0, 128.0, 256.0],
    "longest": 3,
    "past_delays": [12.0, 16.0, 20.0],
    "counts": [1, 2, 3],
    "share_starts": 30,
    "complex_starts": 30,
    "complex_delays": [16.0],
}


@cache
def sample():
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return EXPERIMENT.run(SMALL, progress), progress


def test_the_dataset_survives_the_disk_and_gives_the_same_claims(tmp_path):
    check_round_trip(EXPERIMENT, SMALL, sample(), tmp_path / "data.zarr.zip")


def test_every_claim_holds_of_the_sample():
    assert [claim.verdict for claim in EXPERIMENT.claims(sample()[0], SMALL)] == ["holds"] * 11


def cases():
    """For every claim, a variable and a change of it that must make the claim fail."""
    names = list(FAMILIES)

    def at(name):
        return np.arange(len(names)) == names.index(name)

    yield 0, "exponent", lambda v: v + 0.1 * at("flow of order 4")[:, None]
    yield 0, "exponent", lambda v: v + 0.1 * at("three in series")[:, None]
    yield 1, "exponent", lambda v: v - 0.3 * at("rotating plane")[:, None]
    yield 2, "critical_rate", lambda v: v * (1 + 0.2 * at("on a circle, one lap"))[:, None]
    yield 2, "critical_rate", lambda v: v * (1 + at("slaved direction"))[:, None]
    yield 3, "past_rate", lambda v: 1e-3 * np.array(SMALL["past_delays"]) ** -5
    yield 4, "count_rate", lambda v: v * np.array([1, 0.9, 0.8])
    yield 5, "count_rate", lambda v: v * np.where(np.arange(5) == 4, 1.05, 1)[:, None]
    yield 5, "count_rate", lambda v: v * np.where(np.arange(5) == 2, 0.9, 1)[:, None]
    yield 6, "share", lambda v: v * np.array([1, 1.1, 1])[:, None, None]
    yield 6, "share", lambda v: v[[1, 1, 2]]
    yield 7, "late", lambda v: v * 1.2
    yield 7, "late", lambda v: v[::-1]
    yield 8, "rotating_minimum", np.abs
    yield 8, "critical_rate", lambda v: v * (1 + at("rotating plane"))[:, None]
    yield 9, "held_learned", lambda v: ~v
    yield 9, "held_learned", lambda v: v | True
    yield 9, "edge_exponent", lambda v: v + 0.2
    yield 10, "trained_loss", lambda v: v * np.where(np.arange(v.shape[-1]) == 0, 0.1, 1)
    yield 10, "grown", lambda v: v * 1.2


@pytest.mark.parametrize(("index", "name", "change"), list(cases()))
def test_every_claim_fails_on_data_that_does_not_show_it(index, name, change):
    check_failure(EXPERIMENT, SMALL, sample()[0], index, name, change)


def test_the_figure_has_every_family():
    figure = figures.draw("minimal_systems", sample()[0])
    FigureCanvasAgg(figure).draw()
    assert len(figure.axes) == 6
    assert len(figure.axes[0].lines) == len(FAMILIES)
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == list(FAMILIES)


@pytest.mark.parametrize("changes", [ROTATING, {"decay": 1.0, "drive": 1.0, "feedback": 1.0}])
def test_the_table_of_a_system_is_the_system(changes):
    system = FastPlane(40.0, **changes)
    table = Interpolated(system, 200)
    p = np.linspace(system.parameter_for(79.0), system.parameter_for(21.0), 37)[:, None]
    np.testing.assert_allclose(table.escape_time(p), system.escape_time(p), rtol=1e-5)
    np.testing.assert_allclose(table.time_gradient(p), system.time_gradient(p), rtol=1e-3)
    assert np.isinf(table.escape_time([p[0, 0] - 1]))


def test_the_measured_rate_is_that_of_the_worst_start_and_not_above_the_search():
    system = PowerLawDelay(32.0)
    starts = starts_of(system, 300, np.random.default_rng(3))
    found = measured_critical_rate(system, starts, 200, 1e-4)
    assert system.critical_learning_rate * (1 - 1e-4) <= found <= 1.005 * system.critical_learning_rate
    assert not (system.descend(starts, found * 0.999, 200).lost_epoch >= 0).any()
    assert (system.descend(starts, found * 1.001, 200).lost_epoch >= 0).any()
    series = SaddleNodesInSeries(32.0, 2)
    drawn = starts_of(series, 50, np.random.default_rng(3))
    assert (series.escape_time(drawn) < 32).all()
