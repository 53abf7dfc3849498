"""The graph of slow points that trajectories visit, from a saved portrait."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ghostpoint.figures.style import ACCENT, GHOST, INK, styled

LARGEST, WIDEST = 600.0, 3.0  # area of a point, in points squared; width of an arrow


@styled()
def draw_on(axes: Axes, dataset: xr.Dataset) -> Axes:
    """The graph in a panel that is there."""
    x, y, spent = (dataset[name].values for name in ("x", "y", "spent"))
    ghost, stable = dataset["kind"].values == "ghost", dataset["stable"].values
    area = 40 + LARGEST * spent / max(float(spent.max(initial=0.0)), 1e-300)
    for chosen, label, fill, marker in (
        (ghost, "ghost", GHOST, "D"),
        (~ghost & stable, "stable fixed point", INK, "o"),
        (~ghost & ~stable, "unstable fixed point", "white", "o"),
    ):
        if chosen.any():
            axes.scatter(x[chosen], y[chosen], area[chosen], fill, marker=marker, edgecolors=INK, lw=0.6, label=label)
    counts = dataset["transitions"].values
    for i, j in zip(*np.nonzero(counts), strict=True):
        if i == j:
            axes.annotate("again", (x[i], y[i]), (0, -22), textcoords="offset points", ha="center", fontsize=7)
            continue
        look = {
            "arrowstyle": "-|>", "color": ACCENT, "lw": 0.6 + WIDEST * counts[i, j] / counts.max(),
            "shrinkA": 0.5 * area[i] ** 0.5, "shrinkB": 0.5 * area[j] ** 0.5, "connectionstyle": "arc3,rad=0.2",
        }  # fmt: skip
        axes.annotate("", (x[j], y[j]), (x[i], y[i]), arrowprops=look)
    for k, number in enumerate(dataset["number"].values):
        text = (
            f"{number}" if dataset["dimension"].values[k] < 2 else f"{number} ({dataset['dimension'].values[k]}-dim.)"
        )
        axes.annotate(text, (x[k], y[k]), (7, 7), textcoords="offset points", fontsize=8)
    axes.set(xlabel=dataset.attrs["xlabel"], ylabel=dataset.attrs["ylabel"], title="Visits")
    axes.margins(0.2)
    if len(x):
        legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_sizes([40.0])  # type: ignore[attr-defined]
    return axes
