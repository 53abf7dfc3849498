"""The figures of the low-rank experiments and the intervention draw the saved values, with labels
and a caption.
"""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.storage import read_dataset, write_dataset
from tests.experiments.low_rank_samples import SMALL, sample

PANELS = {"latent_dcdt": "ABCDEF", "latent_dmts": "ABCDEF", "ranks": "ABCD", "intervention": "ABCD"}
IDS = pytest.mark.parametrize("id", SMALL)
LATENT = pytest.mark.parametrize("id", ["latent_dcdt", "latent_dmts"])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return {id: read_dataset(write_dataset(sample(id)[0], folder / f"{id}.zarr.zip")) for id in SMALL}


def lettered(figure):
    """The axes that carry a panel's letter, by letter."""
    marked = {text.get_text(): axes for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"}
    return dict(sorted(marked.items()))


def shows(axes, values):
    """Whether a line of a panel has these heights."""
    lines = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    return any(len(y) == len(values) and np.array_equal(y, values, equal_nan=True) for y in lines)


@IDS
def test_every_panel_is_lettered_labelled_and_in_the_caption(id, saved):
    before = saved[id].copy(deep=True)
    figure = figures.draw(id, saved[id])
    panels = lettered(figure)
    assert "".join(panels) == PANELS[id]
    for letter, axes in panels.items():
        assert axes.get_ylabel()
        assert axes.get_xlabel()
        assert axes.get_title("left")
        assert f"{letter}: " in figures.caption(id)
        assert axes.has_data()
    FigureCanvasAgg(figure).draw()
    assert saved[id].identical(before)


@LATENT
def test_a_column_an_epoch_with_its_flow_trials_and_outputs(id, saved):
    dataset = saved[id]
    figure = figures.draw(id, dataset)
    panels = lettered(figure)
    first = dataset["followed"].values[0]
    assert shows(panels["A"], dataset["median_loss"].sel(seed=first).values)
    assert shows(panels["B"], dataset["n_fixed"].values[0])
    assert all(shows(panels["C"], values) for values in dataset["slowest_ghost"].values)
    titled = [axes for axes in figure.axes if axes.get_title("left").startswith("Epoch")]
    assert [axes.get_title("left") for axes in titled] == [f"Epoch {epoch:,}" for epoch in dataset["shown"].values]
    for place, axes in enumerate(titled):
        mesh = axes.collections[0].get_array()
        assert np.array_equal(np.asarray(mesh).ravel(), dataset["speed"].values[place].ravel())
        points = sorted(float(line.get_ydata()[0]) for line in axes.lines)
        zeros = dataset["fixed_point"].values[place, dataset["unstable"].values[place] >= 0, 1]
        ghosts = dataset["ghost"].values[place, :, 1]
        assert points == pytest.approx(sorted([*zeros, *ghosts[np.isfinite(ghosts)]]))
    assert all(shows(panels["E"], path[:, 1]) for path in dataset["path"].values[0])
    assert all(shows(panels["F"], output) for output in dataset["outputs"].values[0])


def test_the_grid_of_ranks_has_the_counts(saved):
    dataset = saved["ranks"].copy(deep=True)
    place = np.arange(dataset["score"].size).reshape(dataset["score"].shape)
    dataset["score"] = (dataset["score"].dims, np.where(place % 3 < place // 15, 0.001, 0.5))
    panels = lettered(figures.draw("ranks", dataset))
    counts = (dataset["score"] < 0.01).sum("seed").values
    assert len(np.unique(counts)) > 1
    cells = [text.get_text() for text in panels["A"].texts if text.get_fontweight() != "bold"]
    assert cells == [str(count) for count in counts.ravel()]
    heights = [bar.get_height() for bar in panels["B"].patches][: len(counts)]
    assert heights == list(counts.sum(axis=1))
    FigureCanvasAgg(figures.draw("ranks", dataset)).draw()


def test_the_bars_of_the_intervention_are_those_who_recovered(saved):
    dataset = saved["intervention"]
    panels = lettered(figures.draw("intervention", dataset))
    lost = dataset["before_end_accuracy"].values < 0.9
    back = (dataset["end_accuracy"].values[:, lost] >= 0.9).sum(axis=1)
    assert [bar.get_height() for bar in panels["C"].patches] == list(back)
    assert all(shows(panels["A"], row) for row in dataset["before_loss"].values)
    medians = np.median(dataset["loss"].values[:, lost], axis=1)
    assert all(shows(panels["B"], row) for row in medians)
