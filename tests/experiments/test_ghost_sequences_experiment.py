"""The experiment on the ghosts that trajectories pass, at a scale of seconds: claims that hold and
fail.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import get
from tests.experiments.claim_checks import check_failure, check_round_trip
from tests.experiments.network_samples import Counted

EXPERIMENT = get("ghost_sequences")
SMALL = {
    **EXPERIMENT.parameters["quick"],
    "mu": [1e-1, 1e-8],
    "samples": 1001,
    "seeds": [1, 3, 5, 6, 8],
    "epochs": 20_001,
    "cue_seeds": [0, 3, 4],
    "cue_trials": 3,
}


@cache
def sample():
    """The dataset of a small run, and the progress it made."""
    progress = Counted()
    return EXPERIMENT.run(SMALL, progress), progress


def test_the_dataset_survives_the_disk_and_gives_the_same_claims(tmp_path):
    check_round_trip(EXPERIMENT, SMALL, sample(), tmp_path / "data.zarr.zip")


def test_the_claims_of_the_sample():
    verdicts = [claim.verdict for claim in EXPERIMENT.claims(sample()[0], SMALL)]
    assert verdicts[:7] == ["holds"] * 7


def cases():
    """For every claim, a variable and a change of it that must make the claim fail."""
    first = np.arange(5)[:, None] == 0
    yield 0, "missed", lambda v: v + (np.arange(2) == 0)
    yield 0, "wrong", lambda v: v + np.array([[[0, 0], [0, 1]]])
    yield 1, "right_dimension", lambda v: v * 0
    yield 2, "error", lambda v: v + 0.35 * first
    yield 2, "error", lambda v: v * np.nan
    yield 3, "passage", lambda v: v * np.where(first, 1.05, 1.0)
    yield 4, "passages", lambda v: v + np.array([[0], [1]])
    yield 4, "passages", lambda v: v + np.array([[1], [0]])
    yield 5, "ghost_dwell", lambda v: 2 * v
    yield 6, "ghost_predicted", lambda v: 1.2 * v
    yield 6, "ghost_predicted", lambda v: v * np.nan


@pytest.mark.parametrize(("index", "name", "change"), list(cases()))
def test_every_claim_fails_on_data_that_does_not_show_it(index, name, change):
    check_failure(EXPERIMENT, SMALL, sample()[0], index, name, change)


def made_up(ends):
    """The sample with six networks of rank two that have learned, whose trials end as given."""
    dataset = sample()[0].drop_dims("cue_network")
    ends = np.broadcast_to(ends, (6, 2, 3))
    return dataset.assign(
        cue_loss=("cue_network", np.full(6, 0.1)),
        cue_end=(("cue_network", "cue", "cue_trial"), ends),
        cue_held=(("cue_network", "last"), np.tile([6, 0, 0], (6, 1))),
        cue_passages=(("cue_network", "passed"), np.zeros((6, 2), int)),
    )


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ([[0, 0, 2], [1, 1, 1]], "holds"),
        ([[0, 0, 1], [1, 1, 1]], "does not hold"),
        ([[0, 0, -1], [1, 1, 1]], "does not hold"),
    ],
)
def test_the_claim_on_two_cues(ends, verdict):
    assert EXPERIMENT.claims(made_up(ends), SMALL)[7].verdict == verdict


def test_the_figure_shows_every_passage():
    dataset = sample()[0]
    figure = figures.draw("ghost_sequences", dataset)
    FigureCanvasAgg(figure).draw()
    times, cycle, rank_one, _ = figure.axes
    assert sum(line.get_marker() == "o" for line in times.lines) == dataset.sizes["system"]
    assert len(cycle.patches) == dataset.sizes["shown_visit"]
    drawn = next(line for line in rank_one.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(drawn.get_ydata(), dataset["ghost_dwell"].values[1])
