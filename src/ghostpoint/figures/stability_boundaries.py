"""Critical learning rates over the axes of a grid, predicted and measured, and those of tasks."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, MUTED, Drawing, letters, new_figure, say, styled

#: axis, its label, title
AXES = (
    ("delay", "delay (ms)", "Delay"),
    ("units", "units N", "Size"),
    ("rank", "rank K", "Rank"),
    ("confidence", "confidence c", "Confidence"),
)
COLOURS = {"sgd": ACCENT, "momentum": GOOD, "adam": GHOST}


def _along(axes: Axes, dataset: xr.Dataset, axis: str) -> None:
    """Geometric means over all other axes of the networks that have a rate at every value, so that
    a line compares the same networks.
    """
    rates = dataset["measured"]
    for place, optimizer in enumerate(dataset["optimizer"].values):
        one = rates.sel(optimizer=optimizer).transpose(..., axis)
        table = np.log10(one.values.reshape(-1, one.sizes[axis]))
        whole = table[np.isfinite(table).all(axis=1)]
        x = dataset[axis].values.astype(float)
        colour = COLOURS.get(str(optimizer), MUTED)
        if not len(whole):
            axes.text(0.5, 0.9 - 0.1 * place, f"{optimizer}: none", ha="center", color=colour, transform=axes.transAxes)
            continue
        low, high = np.quantile(whole, [0.1, 0.9], axis=0)
        axes.fill_between(x, 10**low, 10**high, color=colour, alpha=0.15, lw=0)
        axes.plot(x, 10 ** whole.mean(axis=0), "o-", color=colour, ms=4, label=f"{optimizer} ({len(whole)})")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(dataset[axis].values, [f"{value:g}" for value in dataset[axis].values])
    axes.set_xticks([], minor=True)
    if axes.lines:
        axes.legend(fontsize=7)


def _prediction(axes: Axes, dataset: xr.Dataset) -> None:
    for optimizer in dataset["optimizer"].values:
        at = dataset.sel(optimizer=optimizer)
        x, y = at["measured"].values.ravel(), at["predicted"].values.ravel()
        both = np.isfinite(x) & np.isfinite(y)
        pairs, counts = np.unique(np.stack([x[both], y[both]]), axis=1, return_counts=True)
        size, colour = 6 + 90 * counts / counts.max(initial=1), COLOURS.get(str(optimizer), MUTED)
        axes.scatter(pairs[0], pairs[1], size, colour, alpha=0.5, label=str(optimizer), lw=0)
    axes.set(xscale="log", yscale="log")
    axes.axline((0.1, 0.1), (1.0, 1.0), color=INK, lw=0.8)
    axes.legend(fontsize=7)


def _tasks(axes: Axes, dataset: xr.Dataset) -> None:
    rates, labels = dataset["tasks_measured"], list[str]()
    for task in dataset["task"].values:
        for optimizer in dataset["tasks_optimizer"].values:
            values = rates.sel(task=task, tasks_optimizer=optimizer).values.ravel()
            found = values[np.isfinite(values)]
            place = len(labels)
            labels.append(f"{task}\n{optimizer}\n{len(found)}/{len(values)}")
            colour = COLOURS.get(str(optimizer), MUTED)
            axes.plot(np.full(len(found), place), found, ".", color=colour, ms=4, alpha=0.5)
            if len(found):
                axes.plot(place, np.median(found), "_", color=colour, ms=14, mew=2)
    axes.set(yscale="log")
    if not np.isfinite(rates.values).any():
        say(axes, "no network has a critical rate in the grid")
        axes.set_yticks([])
        axes.minorticks_off()
    axes.set_xticks(range(len(labels)), labels, fontsize=7)
    axes.set_xlim(-0.5, len(labels) - 0.5)


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Four panels over the axes, one of predictions, one of tasks."""
    figure, panels = new_figure(3, 2)
    for axes, (axis, label, title) in zip(panels, AXES, strict=False):
        _along(axes, dataset, axis)
        axes.set(xlabel=label, ylabel="critical rate", title=title)
    _prediction(panels[4], dataset)
    panels[4].set(xlabel="measured", ylabel="predicted", title="Prediction")
    _tasks(panels[5], dataset)
    panels[5].set(xlabel="task and optimiser", ylabel="critical rate", title="Tasks with inputs")
    letters(panels)
    return figure


STABILITY_BOUNDARIES = Drawing(
    draw,
    "A to D: measured critical rates over one axis each, by optimiser: geometric means, with the middle 80 %, over the "
    "networks of all other axes that have one at every value (their number in the legend). E: predicted and measured "
    "rates of every network that has both; larger dots are more networks, the line is equality. F: tasks with inputs; "
    "a dot is a network, a bar the median, and below it how many networks have a critical rate in the grid.",
)
