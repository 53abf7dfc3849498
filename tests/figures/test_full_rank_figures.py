"""The figures of the full-rank experiments draw from a saved dataset, with labels, a caption and
the saved values.
"""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.storage import read_dataset, write_dataset
from tests.experiments.full_rank_samples import SMALL, sample

PANELS = {
    "full_dcdt": 5,
    "full_dmts": 5,
    "rates_full_rank": 4,
    "rates_dcdt": 3,
    "rates_dmts": 3,
    "saturation_dmts": 9,
}
IDS = pytest.mark.parametrize("id", SMALL)
SWEEPS = ("rates_full_rank", "rates_dcdt", "rates_dmts")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return {id: read_dataset(write_dataset(sample(id)[0], folder / f"{id}.zarr.zip")) for id in SMALL}


def lettered(figure):
    """The axes that carry a panel's letter, by letter."""
    return {text.get_text(): axes for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"}


def drawn(axes):
    """What the lines of a panel show."""
    return [np.asarray(line.get_ydata(), float) for line in axes.lines]


def shows(axes, values):
    return any(len(y) == len(values) and np.array_equal(y, values, equal_nan=True) for y in drawn(axes))


@IDS
def test_every_panel_is_lettered_labelled_and_in_the_caption(id, saved):
    before = saved[id].copy(deep=True)
    figure = figures.draw(id, saved[id])
    panels = lettered(figure)
    assert "".join(sorted(panels)) == "ABCDEFGHI"[: PANELS[id]]
    for letter, axes in panels.items():
        assert axes.get_ylabel()
        assert axes.get_xlabel() or axes.get_xticklabels()
        assert axes.get_title("left") or axes.get_title()
        assert letter in figures.caption(id)
        assert axes.has_data()
    FigureCanvasAgg(figure).draw()
    assert saved[id].identical(before)


@pytest.mark.parametrize("id", SWEEPS)
def test_the_shares_of_fates_are_those_of_the_networks(id, saved):
    dataset = saved[id]
    rates = dataset["learning_rate"].values
    panels = lettered(figures.draw(id, dataset))
    for letter, prefix in (("B", ""), *((("D", "rank_one_"),) if id == "rates_full_rank" else ())):
        bars = panels[letter].patches
        never, kept, lost = np.array([bar.get_height() for bar in bars]).reshape(3, len(rates))
        assert never + kept + lost == pytest.approx(1)
        assert never == pytest.approx((dataset[f"{prefix}first_learned"] < 0).mean("seed").values)
        assert kept == pytest.approx(dataset[f"{prefix}kept"].mean("seed").values)
        left = np.array([bar.get_x() for bar in bars])[: len(rates)]
        width = np.array([bar.get_width() for bar in bars])[: len(rates)]
        assert ((left < rates) & (rates < left + width)).all()


@pytest.mark.parametrize("id", SWEEPS)
def test_every_network_that_learns_has_its_dot(id, saved):
    dataset = saved[id]
    axes = lettered(figures.draw(id, dataset))["C"]
    dots = np.concatenate(drawn(axes))
    first = dataset["first_learned"].values
    assert (first > 0).any()
    expected = first[first > 0]
    if id == "rates_full_rank":
        other = dataset["rank_one_first_learned"].values
        expected = np.append(expected, other[other > 0])
    assert sorted(dots[~np.isnan(dots)]) == sorted(expected)
    assert axes.get_ylim()[0] < expected.min()
    assert axes.get_ylim()[1] > expected.max()


@pytest.mark.parametrize("id", SWEEPS)
def test_a_sweep_in_which_no_network_learns_can_be_drawn(id, saved):
    dataset = saved[id].copy(deep=True)
    for name in dataset.data_vars:
        if str(name).endswith(("first_learned", "kept")):
            dataset[name] = (dataset[name].dims, np.full(dataset[name].shape, -1 if "first" in str(name) else False))
    FigureCanvasAgg(figures.draw(id, dataset)).draw()


@pytest.mark.parametrize("id", ["full_dcdt", "full_dmts"])
def test_losses_outputs_and_paths_are_the_saved_ones(id, saved):
    dataset = saved[id]
    figure = figures.draw(id, dataset)
    panels = lettered(figure)
    assert shows(panels["A"], dataset["loss"].values[0])
    assert shows(panels["B"], dataset["gradient_norm"].values[-1])
    assert shows(panels["C"], dataset["n_ghosts"].values)
    titled = [axes for axes in figure.axes if axes.get_title("left").startswith("Epoch")]
    assert [axes.get_title("left") for axes in titled] == [f"Epoch {epoch:,}" for epoch in dataset["shown"].values]
    for axes, outputs in zip(titled, dataset["outputs"].values, strict=True):
        assert all(shows(axes, output) for output in outputs)
    states = [axes for axes in figure.axes if axes.get_xlabel().startswith("PC 1")]
    for axes, epoch in zip(states, dataset["shown"].values, strict=True):
        assert all(shows(axes, path[:, 1]) for path in dataset["path"].sel(shown=epoch).values)
        points = dataset.sel(searched=epoch)
        there = points["slow_point_kind"].values != ""
        single = [y[0] for y in drawn(axes) if len(y) == 1]
        assert len(single) == there.sum() + dataset.sizes["trial"]
        assert set(points["slow_point"].values[there, 1]) <= set(single)


def test_the_collapse_shows_the_saved_outputs_and_rates(saved):
    dataset = saved["saturation_dmts"]
    panels = lettered(figures.draw("saturation_dmts", dataset))
    assert shows(panels["A"], dataset["window_loss"].values)
    for place, (outputs, rates) in enumerate((("D", "G"), ("E", "H"), ("F", "I"))):
        assert all(shows(panels[outputs], values) for values in dataset["outputs"].values[place])
        mesh = panels[rates].collections[0].get_array()
        assert np.array_equal(np.asarray(mesh).ravel(), dataset["rates"].values[place, 0].T.ravel())
