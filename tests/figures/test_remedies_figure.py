"""The figure of the comparison of remedies shows the saved counts and medians."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.storage import read_dataset, write_dataset
from tests.experiments.test_remedies_experiment import cases, sample


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("figures") / "remedies.zarr.zip"
    return read_dataset(write_dataset(sample()[0], path))


@pytest.fixture(scope="module")
def panels(saved):
    figure = figures.draw("remedies", saved)
    FigureCanvasAgg(figure).draw()
    return {text.get_text(): axes for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"}


def test_every_panel_is_lettered_labelled_and_in_the_caption(panels):
    assert "".join(sorted(panels)) == "ABCDEF"
    for letter, axes in panels.items():
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_title("left")
        assert letter in figures.caption("remedies")
        assert axes.has_data()


@pytest.mark.parametrize(("letter", "optimizer"), [("A", "sgd"), ("B", "adam")])
def test_cells_show_how_many_solve_and_how_many_are_lost(panels, saved, letter, optimizer):
    axes = panels[letter]
    names = [label.get_text() for label in axes.get_yticklabels()]
    rates = [label.get_text() for label in axes.get_xticklabels()]
    shown = {
        (names[round(text.get_position()[1])], rates[round(text.get_position()[0])]): text.get_text()
        for text in axes.texts
        if "/" in text.get_text()
    }
    expected = {}
    for case in cases(saved, problem="rank one", optimizer=optimizer):
        one = saved.isel(case=case)
        networks = int(one["networks"])
        solved = sum(loss < 0.05 for loss in one["final_loss"].values[:networks])
        lost, learned = int(one["lost"].sum()), int(one["learned"].sum())
        key = (str(one["treatment"].item()), f"{float(one['learning_rate']):g}")
        expected[key] = f"{100 * solved / networks:.0f}/{100 * lost / max(learned, 1):.0f}"
    assert shown == expected


def test_a_line_is_the_median_over_networks(panels, saved):
    rows = cases(saved, problem="rank one", optimizer="sgd", treatment="trust region")
    losses = [np.median(saved["final_loss"].values[row, :3]) for row in rows]
    assert any(np.array_equal(line.get_ydata(), losses) for line in panels["C"].lines)
    first = saved["first_solved"].values[rows, :3]
    middle = np.median(np.where(first < 0, np.inf, first), axis=1)
    assert np.isfinite(middle).any()
    middle[~np.isfinite(middle)] = np.nan
    assert any(np.array_equal(line.get_ydata(), middle, equal_nan=True) for line in panels["D"].lines)


def test_bars_are_shares_over_all_rates(panels, saved):
    widths = [bar.get_width() for bar in panels["E"].patches]
    rows = cases(saved, problem="T = 48", treatment="trust region")
    share = np.mean(saved["final_loss"].values[rows, :2] < 0.05)
    assert share in widths
    assert len(widths) == 4  # two problems, two treatments


def test_drawing_changes_no_data(saved):
    before = saved.copy(deep=True)
    figures.draw("remedies", saved)
    assert saved.identical(before)
