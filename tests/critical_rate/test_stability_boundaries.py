"""The experiment on stability boundaries at a scale of seconds: it is its sweeps, its claims hold
and fail, its figure draws what was saved.
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg

import ghostpoint as gp
from ghostpoint.experiments import stability_boundaries as boundaries
from ghostpoint.figures import stability_boundaries as figure
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.sweeps.boundaries import exponents
from ghostpoint.sweeps.sweep_file import read_sweep
from tests.experiments.network_samples import Counted

REFERENCE = {"engine": "reference", "dtype": "float64"}
CUES = {"cue": 10.0, "delay": 20.0, "response": 10.0}
SMALL = {
    "activation": {"small": {
        "sweep": {"computes": "critical_rate"},
        "models": {"scheme": "fixed_readout", "confidence": 3.0, "rank": 1, "units": 20},
        "task": {"name": "DelayedActivation"},
        "training": {"epochs": 300, **REFERENCE},
        "measurement": {"rates": [0.1, 1.0, 10.0], "horizon": 100},
        "grid": {"task": {"delay": [30.0, 40.0]}, "training": {"optimizer": ["sgd", "momentum", "adam"]},
                 "models": {"seed": [100, 101]}},
    }},
    "tasks": {"small": {
        "sweep": {"computes": "critical_rate"},
        "models": {"scheme": "latent_readout", "initial_state": 0.0, "rank": 2, "units": 10},
        "training": {"epochs": 60, **REFERENCE},
        "measurement": {"rates": [0.1], "horizon": 60},
        "grid": {
            "models": {"activation": ["tanh", "sigmoid"], "seed": [100]},
            "task": [{"name": "DelayedCueDiscrimination", **CUES, "label": "DCDT"},
                     {"name": "DelayedMatchToSample", **CUES, "label": "DMTS"}],
            "training": {"optimizer": ["sgd"]},
            "zip": [["task", "activation"]],
        },
    }},
}  # fmt: skip


@cache
def sample():
    progress = Counted()
    return boundaries.run(SMALL, progress), progress


def test_the_experiment_is_its_sweeps_and_survives_the_disk(tmp_path):
    dataset, progress = sample()
    assert len(progress.phases) == 2
    assert all(total == done for _, total, done in progress.phases)
    swept = gp.sweep(SMALL["activation"]["small"], tmp_path / "swept", threads=1)
    for name in boundaries.KEPT:
        np.testing.assert_array_equal(dataset[name].values, swept[name].values)
    assert np.isfinite(dataset["measured"]).any()
    again = read_dataset(write_dataset(dataset, tmp_path / "data.zarr.zip"))
    xr.testing.assert_identical(again, dataset)
    claims = boundaries.claims(dataset, SMALL)
    assert boundaries.claims(again, SMALL) == claims
    assert {claim.origin for claim in claims} == {"own"}


@pytest.mark.parametrize(("scale", "cells", "tasks"), [("quick", 200, 4), ("paper", 2000, 40)])
def test_the_grids_have_the_cells_that_are_promised(scale, cells, tasks):
    parameters = json.loads(json.dumps(boundaries.PARAMETERS[scale]))
    for name, wanted in (("activation", cells), ("tasks", tasks)):
        (one,) = parameters[name].values()
        sweep = read_sweep(one)
        assert sweep.count // sweep.sizes["seed"] >= wanted


SIZES = {"delay": [40.0, 80.0], "units": [50, 100], "rank": [1, 2], "confidence": [2.0, 8.0],
         "optimizer": ["sgd", "adam"], "seed": list(range(6))}  # fmt: skip


def made_up(
    delay=-2.0, confidence=-1.0, rank=0.5, units=0.0, wrong=1.0, adam=0.1, adam_delay=-2.0, lost=True, learned=True,
    optimizers=("sgd", "adam"), tasks=("DCDT",),
):  # fmt: skip
    """Claims about power laws of the axes."""
    sizes = {**SIZES, "optimizer": list(optimizers)}
    rng, shape = np.random.default_rng(0), tuple(map(len, sizes.values()))
    grid = dict(zip(sizes, np.meshgrid(*[np.asarray(one) for one in sizes.values()], indexing="ij"), strict=True))
    by_adam = grid["optimizer"] == "adam"
    power = np.where(by_adam, adam_delay, delay)
    rate = grid["delay"] ** power * grid["confidence"] ** confidence * grid["rank"] ** rank * grid["units"] ** units
    rate *= np.where(by_adam, adam * 80.0 ** (delay - adam_delay), 1.0) * np.exp(0.02 * rng.normal(size=shape))
    measured = xr.DataArray(rate, sizes, list(sizes))
    data = xr.Dataset({"measured": measured, "predicted": measured * wrong, "kept_below": measured / 2})
    fits = xr.concat([exponents(data.sel(optimizer=one)) for one in optimizers], data["optimizer"])
    lost_at = xr.DataArray(
        np.full((len(tasks), 1, 8), 0.1 if lost else np.nan), {"task": list(tasks), "tasks_optimizer": ["sgd"]},
        ("task", "tasks_optimizer", "tasks_seed"),
    )  # fmt: skip
    tasks_of = {"tasks_measured": lost_at, "tasks_learned": xr.full_like(lost_at, float(learned))}
    return boundaries.claims(xr.merge([data, fits]).assign(tasks_of).assign_attrs(step=1.5), {})


@pytest.mark.parametrize(
    ("index", "bad"),
    [
        (0, {"delay": 0.5}),
        (1, {"adam_delay": 0.5}),
        (2, {"confidence": 0.5}),
        (3, {"rank": -0.5}),
        (4, {"units": 1.0}),
        (5, {"wrong": 3.0}),
        (6, {"wrong": np.nan}),
        (7, {"adam": 3.0}),
        (8, {"lost": False}),
    ],
)
def test_every_claim_can_hold_and_fail(index, bad):
    assert made_up()[index].verdict == "holds"
    assert made_up(**bad)[index].verdict == "does not hold"
    assert len(made_up()) == 9


def test_a_task_that_no_network_learns_tests_no_claim():
    assert made_up(lost=False, learned=False)[8].verdict == "not testable at this scale"


def test_an_axis_that_was_not_varied_tests_no_claim():
    claims = boundaries.claims(sample()[0], SMALL)
    assert [claim.verdict for claim in claims if "rank" in claim.measured] == ["not testable at this scale"]


def test_the_figure_draws_what_was_saved():
    dataset, _ = sample()
    before = dataset.copy(deep=True)
    whole = dataset.expand_dims(rank=[1, 2], confidence=[2.0, 4.0], units=[50, 100])
    drawn = figure.draw(whole)
    FigureCanvasAgg(drawn).draw()
    assert dataset.identical(before)
    letters = {text.get_text(): axes for axes in drawn.axes for text in axes.texts if text.get_fontweight() == "bold"}
    assert "".join(sorted(letters)) == "ABCDEF"
    drawn_rates = [np.asarray(line.get_ydata(), float) for line in letters["A"].lines]
    compared = 0
    for optimizer in dataset["optimizer"].values:
        rates = dataset["measured"].sel(optimizer=optimizer).values
        whole = rates[:, np.isfinite(rates).all(axis=0)]
        if whole.size:
            compared += 1
            assert any(np.allclose(np.exp(np.log(whole).mean(axis=1)), one) for one in drawn_rates)
    assert compared == len(drawn_rates) > 0
