"""The figure of a trial shows its arrays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint.figures.trial import draw_trial
from ghostpoint.tasks import (
    DelayedActivation,
    DelayedAddition,
    DelayedCueDiscrimination,
    DelayedMatchToSample,
    EvidenceIntegration,
    NBitFlipFlop,
    from_arrays,
)

TASKS = [
    DelayedActivation(),
    DelayedCueDiscrimination(10, 50, 50, copies=3),
    DelayedMatchToSample(30, 80, 50),
    NBitFlipFlop(),
    DelayedAddition(),
    EvidenceIntegration(),
    from_arrays(np.zeros((3, 4, 1)), np.zeros((3, 4, 1)), np.eye(3, 4), dt=5, tau=10, tolerance=0.1),
]


def curves(axes):
    """Values and edges of the step lines of a panel."""
    return [patch.get_data() for patch in axes.patches]


def lifted(values, drawn):
    """Whether what was drawn are the values plus one number, with the same gaps."""
    height = (drawn - values)[np.isfinite(values)]
    return np.array_equal(np.isnan(drawn), np.isnan(values)) and np.allclose(height, height[:1])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_every_channel_is_drawn_over_the_time_of_the_trial(task):
    trial = task.trial(1)
    figure = draw_trial(trial, task.dt)
    count = min(4, task.n_trials)
    rows = 2 if task.n_inputs else 1
    assert len(figure.axes) == rows * count
    panels = np.array(figure.axes).reshape(rows, count)
    for column in range(count):
        drawn = [
            *[(panels[0, column], trial.inputs[column, :, i]) for i in range(task.n_inputs)],
            *[
                (panels[-1, column], np.where(trial.mask, trial.targets, np.nan)[column, :, i])
                for i in range(task.n_outputs)
            ],
        ]
        for axes, values in drawn:
            assert axes.get_xlim() == (0, task.steps * task.dt)
            # up to the height of the channel's zero line
            edges = np.arange(task.steps + 1) * task.dt
            assert any(np.allclose(data.edges, edges) and lifted(values, data.values) for data in curves(axes))
    FigureCanvasAgg(figure).draw()


def test_channels_do_not_overlap():
    task = NBitFlipFlop(n_bits=3)
    panel = draw_trial(task.trial(0), task.dt, most=1).axes[0]
    ranges = sorted((data.values.min(), data.values.max()) for data in curves(panel))
    assert len(ranges) == 3
    assert all(below[1] < above[0] for below, above in pairwise(ranges))


@pytest.mark.parametrize(
    ("task", "outputs", "expected"),
    [
        (DelayedActivation(), None, []),
        (DelayedActivation(), "given", ["target", "output"]),
        (DelayedAddition(), None, ["target", "does not count"]),
        (DelayedAddition(), "given", ["target", "does not count", "output"]),
    ],
)
def test_the_legend_names_what_is_there(task, outputs, expected):
    trial = task.trial(0)
    figure = draw_trial(trial, task.dt, outputs=trial.targets + 0.1 if outputs else None)
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == expected


def test_what_does_not_fit_is_refused():
    trial = DelayedActivation().trial()
    with pytest.raises(ValueError, match="dt must be above 0"):
        draw_trial(trial, 0)
    with pytest.raises(ValueError, match="most must be at least 1, got 0"):
        draw_trial(trial, 5.0, most=0)
    with pytest.raises(ValueError, match=r"outputs must have shape \(1, 40, 1\), got \(40,\)"):
        draw_trial(trial, 5.0, outputs=np.zeros(40))
