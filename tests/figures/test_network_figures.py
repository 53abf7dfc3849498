"""The figures of the network experiments draw from a saved dataset, with labels, a caption and the
saved values.
"""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.storage import read_dataset, write_dataset
from tests.experiments.network_samples import SMALL, sample

PANELS = {
    "ghost_without_bifurcation": 6,
    "collapse": 6,
    "fixed_point_count": 3,
    "rates_rank_one": 2,
    "confidence": 3,
    "trainable_confidence": 3,
}
IDS = pytest.mark.parametrize("id", SMALL)
#: variables that some line must show as they were saved
LINES = {
    "ghost_without_bifurcation": ("loss", "gradient_norm", "ghost_height"),
    "collapse": ("loss", "count"),
    "fixed_point_count": ("fixed_point", "slope", "loss"),
    "confidence": ("accuracy_mean", "recovered"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return {id: read_dataset(write_dataset(sample(id)[0], folder / f"{id}.zarr.zip")) for id in SMALL}


def labelled(figure):
    """The axes that carry a panel's letter, by letter."""
    return {text.get_text(): axes for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"}


@IDS
def test_every_panel_is_lettered_labelled_and_in_the_caption(id, saved):
    figure = figures.draw(id, saved[id])
    panels = labelled(figure)
    assert "".join(sorted(panels)) == "ABCDEF"[: PANELS[id]]
    for letter, axes in panels.items():
        assert axes.get_ylabel()
        assert axes.get_xlabel() or axes.get_xticklabels()
        assert axes.get_title("left") or axes.get_title()
        assert letter in figures.caption(id)
        assert axes.has_data()
    FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize("id", LINES)
def test_lines_are_the_saved_values(id, saved):
    drawn = [np.asarray(line.get_ydata(), float) for axes in figures.draw(id, saved[id]).axes for line in axes.lines]
    for name in LINES[id]:
        values = saved[id][name].values.astype(float)
        assert any(len(y) == len(values) and np.array_equal(y, values, equal_nan=True) for y in drawn), name


def test_the_shares_of_fates_add_up_to_one(saved):
    bars = labelled(figures.draw("rates_rank_one", saved["rates_rank_one"]))["B"].patches
    rates = saved["rates_rank_one"].sizes["learning_rate"]
    heights = np.array([bar.get_height() for bar in bars]).reshape(3, rates)
    assert heights.sum(axis=0) == pytest.approx(1)
    left, width = (np.array([getattr(bar, f"get_{name}")() for bar in bars])[:rates] for name in ("x", "width"))
    assert (
        (left < saved["rates_rank_one"]["learning_rate"]) & (saved["rates_rank_one"]["learning_rate"] < left + width)
    ).all()


@IDS
def test_drawing_changes_no_data(id, saved):
    before = saved[id].copy(deep=True)
    figures.draw(id, saved[id])
    assert saved[id].identical(before)
