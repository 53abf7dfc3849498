"""The sweeps that come with the package: valid, and those of published experiments have their
settings.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import ghostpoint as gp
from ghostpoint import experiments
from ghostpoint.command.cli import run
from ghostpoint.errors import InputError
from ghostpoint.experiments.shared.networks import log_grid
from ghostpoint.sweeps.boundaries import exponents
from ghostpoint.sweeps.sweep_file import FILES, read_sweep

PUBLISHED = ("rates_rank_one", "rates_full_rank", "rates_dcdt", "rates_dmts", "ranks")


def axes(configuration):
    return {axis.name: np.array(axis.values) for axis in configuration.axes}


@pytest.mark.parametrize("id", PUBLISHED)
def test_a_published_sweep_has_the_settings_of_its_experiment(id):
    sweep, paper = read_sweep(id), experiments.get(id).parameters["paper"]
    np.testing.assert_array_equal(axes(sweep)["learning_rate"], log_grid(paper["log10_rates"], paper["rates"]))
    assert axes(sweep)["seed"].tolist() == paper["seeds"]
    assert sweep.settings["training"]["epochs"] == paper["epochs"]
    assert sweep.settings["training"]["dtype"] == paper["dtype"]
    assert sweep.settings["recording"]["history"] == paper["epochs_shown"]
    if "ranks" in paper:
        assert axes(sweep)["rank"].tolist() == paper["ranks"]
    if "figure" in paper:
        assert sweep.settings["models"]["published"] == paper["figure"]
    if "task" in paper:
        task = {"task" if key == "name" else key: value for key, value in sweep.settings["task"].items()}
        assert gp.tasks.Task.from_dict(task) == gp.tasks.Task.from_dict(paper["task"])


@pytest.mark.parametrize("file", sorted(FILES.glob("stability_*.toml")), ids=lambda path: path.stem)
def test_the_stability_boundaries_are_valid(file):
    sweep = read_sweep(file.stem)
    cells = sweep.count // sweep.sizes["seed"]
    assert sweep.kind == "critical_rate"
    most = {"stability_boundaries": 2000, "stability_boundaries_quick": 200, "stability_boundaries_tasks": 40}
    assert cells >= most.get(file.stem, 4)


def test_a_name_that_is_neither_file_nor_shipped_lists_those_there_are(capsys):
    assert run(["sweep", "rates", "--out", "nowhere"]) == 2
    said = capsys.readouterr().err
    assert "rates_dcdt" in said
    assert said.count("\n") == 1


def test_exponents_are_those_of_power_laws():
    rng = np.random.default_rng(1)
    delay, units, seeds = np.array([40.0, 80.0, 160.0]), np.array([50, 100]), 40
    rate = delay[:, None, None] ** -2.5 * units[None, :, None] ** 0.5 * np.exp(0.1 * rng.normal(size=(3, 2, seeds)))
    rate[2, 1, ::3] = np.nan  # no critical rate within the grid
    dataset = xr.Dataset(
        {"measured": (("delay", "units", "seed"), rate)},
        {"delay": delay, "units": units, "seed": np.arange(seeds), "optimizer": "sgd"},
    )
    found = exponents(dataset)
    for axis, true in (("delay", -2.5), ("units", 0.5)):
        at = found.sel(axis=axis)
        assert float(at["low"]) < true < float(at["high"])
        assert float(at["exponent"]) == pytest.approx(true, abs=0.1)
    assert int(found["count"][0]) == np.isfinite(rate).sum()
    with pytest.raises(InputError, match="critical_rate"):
        exponents(dataset.drop_vars("measured"))
