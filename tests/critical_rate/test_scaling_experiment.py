"""The scaling experiment at a scale of seconds: data, progress, the fit, claims that hold and fail,
the figure.
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

import ghostpoint as gp
from ghostpoint.critical_rate import GRID, lethal_update, probe
from ghostpoint.experiments import critical_rate_scaling as scaling
from ghostpoint.experiments.shared.base import Silent
from ghostpoint.figures import critical_rate_scaling as figure
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.sweeps.sweep_file import read_sweep


def measured(epochs, rates, models, grid, **task):
    """A sweep of few units."""
    return {
        "sweep": {"computes": "critical_rate"},
        "models": {"units": 40, **models},
        "task": {"name": "DelayedActivation", **task},
        "training": epochs,
        "measurement": {"predict": False, "lethal_update": True, **rates},
        "grid": {**grid, "models": {**grid.get("models", {}), "seed": [0, 1, 2]}},
    }


SMALL = {
    "sweeps": {
        "critical_rate_scaling_delay": measured(
            {}, {}, {},
            {"task": {"delay": [40.0, 60.0]}, "training": {"epochs": [2500, 3500]},
             "measurement": {"rates": [{"powers": [-1.35, -0.9, 4]}, {"powers": [-1.65, -1.05, 5]}]},
             "zip": [["delay", "rates", "epochs"]]},
        ),
        "critical_rate_scaling_confidence": measured(
            {"epochs": 2500}, {"rates": {"powers": [-1.35, -0.45, 7]}}, {}, {"models": {"confidence": [6.0, 10.0]}},
            delay=40.0,
        ),
    },
}  # fmt: skip


class Counted(Silent):
    def __init__(self):
        self.phases = []

    def phase(self, description, total, networks=None):
        self.phases.append([total, 0])

    def advance(self, amount):
        self.phases[-1][1] += amount


@cache
def sample():
    progress = Counted()
    return scaling.run(SMALL, progress), progress


def test_the_dataset_survives_the_disk_and_the_progress_adds_up(tmp_path):
    dataset, progress = sample()
    again = read_dataset(write_dataset(dataset, tmp_path / "data.zarr.zip"))
    xr.testing.assert_identical(again, dataset)
    claims = scaling.claims(dataset, SMALL)
    assert scaling.claims(again, SMALL) == claims
    assert all(claim.rule for claim in claims)
    assert {claim.origin for claim in claims} == {scaling.CRITICAL_RATE_SCALING.origin} == {"own"}
    assert all(total == done for total, done in progress.phases)
    for scale in ("quick", "paper"):
        json.dumps(scaling.CRITICAL_RATE_SCALING.parameters[scale])


def test_critical_rates_are_of_the_grid_and_come_with_the_lethal_update():
    dataset, _ = sample()
    rates = dataset["critical_rate"].values
    found = np.isfinite(rates)
    assert found.sum() >= 6
    assert np.isclose(np.log10(rates[found])[:, None], np.log10(GRID)).any(axis=1).all()
    delay = dataset["delay_steps"].values[:, None] * np.ones_like(rates)
    crossed = found & np.isfinite(dataset["time"].values)
    assert crossed.sum() >= 5
    # the hazard again, from its parts
    hazard = rates * np.abs(dataset["loss_slope"].values) * dataset["gradient_norm"].values ** 2 / (0.375 * delay**2)
    assert dataset["hazard"].values[crossed] == pytest.approx(hazard[crossed], rel=1e-9)
    assert (dataset["kept_rate"].values[found] < rates[found]).all()


@settings(max_examples=10, deadline=None)
@given(power=st.floats(-5, 2), scale=st.floats(1e-3, 10), spread=st.floats(0, 0.2), seed=st.integers(0, 1000))
def test_the_exponent_is_recovered(power, scale, spread, seed):
    x = np.array([8.0, 12.0, 24.0, 48.0])
    noise = np.random.default_rng(seed).normal(size=(4, 12)) * spread
    slope, low, high = scaling.exponent(x, scale * x[:, None] ** power * np.exp(noise))
    centred = np.log(x) - np.log(x).mean()
    exact = power + (centred @ noise.mean(axis=1)) / (centred @ centred)
    assert slope == pytest.approx(exact, abs=1e-9)
    assert low - 1e-9 <= slope <= high + 1e-9
    assert high - low <= 8 * spread / np.sqrt(12 * centred @ centred) + 1e-9


def test_too_few_conditions_have_no_exponent():
    assert np.isnan(scaling.exponent(np.array([8.0]), np.ones((1, 3)))).all()
    assert np.isnan(scaling.exponent(np.array([8.0, 16.0]), np.array([[1.0], [np.nan]]))).all()


def test_the_rates_of_the_files_are_those_of_the_grid_and_beyond():
    exponents = np.log10(GRID[0]) + np.log10(GRID[1] / GRID[0]) * np.arange(100)
    for scale in ("quick", "paper"):
        for sweep in scaling.CRITICAL_RATE_SCALING.parameters[scale]["sweeps"].values():
            for stack in read_sweep(sweep).stacks():
                rates = np.log10(stack.settings["measurement"]["rates"])
                first = np.flatnonzero(np.isclose(exponents, rates[0]))[0]
                assert rates == pytest.approx(exponents[first : first + len(rates)], abs=1e-9)


def test_a_swept_condition_has_the_bits_of_its_networks_probed_alone(tmp_path):
    dataset = sample()[0]
    models = gp.LowRankRNN.initialize(40, [0, 1, 2], confidence=6.0)
    task, rates = gp.tasks.DelayedActivation(40.0), 10 ** np.linspace(-1.35, -0.45, 7)
    probes = probe(models, task, rates, 2500, engine="compiled")
    found = {"critical_rate": probes.critical, "kept_rate": probes.kept, "at_lowest_rate": probes.kept == 0}
    found |= lethal_update(models, task, probes, engine="compiled")
    assert np.isfinite(found["hazard"]).any()
    [row] = np.flatnonzero(dataset["confidence"].values == 6.0)
    swept = gp.sweep(SMALL["sweeps"]["critical_rate_scaling_confidence"], tmp_path / "swept", threads=1)
    names = {**scaling.MEASURES, "at_lowest_rate": ""}
    assert set(names) == set(found) == set(dataset.data_vars) - {"exponent", "exponent_low", "exponent_high"}
    for name, values in found.items():
        np.testing.assert_array_equal(dataset[name].values[row], values)
        if names[name]:
            np.testing.assert_array_equal(swept[names[name]].sel(confidence=6.0).values, values)


def made_up(power=-2.0, sensitivity=2.0, hazard=2.0, by_confidence=-1.0):
    """A dataset that follows powers of the delay and the confidence."""
    sweeps, t, c = (
        np.array(one) for one in (["delay"] * 3 + ["confidence"] * 2, [8, 16, 64, 12, 12], [10.0, 10, 10, 2, 10])
    )
    jitter = np.exp(0.02 * np.random.default_rng(0).normal(size=(5, 8)))
    rate = (t**power * c**by_confidence)[:, None] * jitter
    variables = {
        "critical_rate": rate,
        "gradient_norm": (t**sensitivity)[:, None] * jitter,
        "ghost_height": (1 / t)[:, None] * jitter,
        "ghost_passage": 4 * jitter,
        "hazard": hazard * jitter,
    }
    columns = {"sweep": sweeps, "delay_steps": t, "confidence": c, "units": np.full(5, 100)}
    dataset = xr.Dataset(
        {name: (("condition", "seed"), value) for name, value in variables.items()},
        coords={**{name: ("condition", one) for name, one in columns.items()}, "seed": np.arange(8)},
    ).assign_coords(fit=list(scaling.SWEEPS))
    fits = np.transpose([scaling._exponent_of(dataset, sweep) for sweep in scaling.SWEEPS])
    names = ("exponent", "exponent_low", "exponent_high")
    return scaling.claims(dataset.assign({name: ("fit", row) for name, row in zip(names, fits, strict=True)}), {})


@pytest.mark.parametrize(
    ("index", "good", "bad"),
    [
        (0, {"power": -4.0}, {"power": -2.0}),
        (1, {"power": -2.0, "sensitivity": 2.0}, {"power": -2.0, "sensitivity": 3.0}),
        (2, {"hazard": 2.0}, {"hazard": 0.5}),
        (3, {"by_confidence": -1.0}, {"by_confidence": 0.5}),
    ],
)
def test_every_claim_can_hold_and_fail(index, good, bad):
    assert made_up(**good)[index].verdict == "holds"
    assert made_up(**bad)[index].verdict == "does not hold"


def test_the_figure_draws_what_was_saved():
    dataset, _ = sample()
    before = dataset.copy(deep=True)
    drawn = figure.draw(dataset)
    FigureCanvasAgg(drawn).draw()
    assert dataset.identical(before)
    letters = {text.get_text(): axes for axes in drawn.axes for text in axes.texts if text.get_fontweight() == "bold"}
    assert "".join(sorted(letters)) == "ABCDEF"
    for letter, axes in letters.items():
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert letter in figure.CRITICAL_RATE_SCALING.caption
    shown = np.concatenate([np.asarray(line.get_ydata(), float) for line in letters["A"].lines])
    rows = dataset["sweep"].values == "delay"
    saved = dataset["critical_rate"].values[rows].ravel()
    assert np.isin(saved[np.isfinite(saved)], shown).all()
