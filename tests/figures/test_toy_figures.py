"""The toy figures draw what was saved, and nothing runs over anything else."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import Silent, get

TOYS = ("toy_loss", "toy_descent", "toy_rates")


@pytest.fixture(scope="module")
def results():
    return {id: get(id).run(get(id).parameters["quick"], Silent()) for id in TOYS}


@pytest.mark.parametrize("id", TOYS)
def test_three_labelled_panels_with_data_and_a_caption(id, results):
    figure = figures.draw(id, results[id])
    assert len(figure.axes) == 3
    for axes, letter in zip(figure.axes, "ABC", strict=True):
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_title("left")
        assert letter in {text.get_text() for text in axes.texts}
        assert f"{letter}:" in figures.caption(id)
        assert any(np.isfinite(line.get_ydata()).sum() > 5 for line in axes.lines)


@pytest.mark.parametrize("id", TOYS)
def test_no_text_overlaps_another(id, results):
    figure = figures.draw(id, results[id])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = []
    for axes in figure.axes:
        legend = axes.get_legend()
        texts += [
            *axes.texts,
            *(legend.get_texts() if legend else []),
            axes.title,
            axes.xaxis.label,
            axes.yaxis.label,
        ]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    for i, (first, box) in enumerate(boxes):
        for second, other in boxes[i + 1 :]:
            assert not box.overlaps(other), f"{first!r} overlaps {second!r}"


def test_the_lines_are_the_saved_values(results):
    dataset = results["toy_descent"]
    panel = figures.draw("toy_descent", dataset).axes[1]
    drawn = [line.get_ydata() for line in panel.lines]
    for run in dataset.loss.values:
        assert any(len(line) == run.size and np.array_equal(line, run) for line in drawn)
