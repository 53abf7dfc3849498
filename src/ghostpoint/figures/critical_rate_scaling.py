"""The critical learning rate of networks over delay, size and confidence, and the update that loses
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, LOST, MUTED, Drawing, letters, new_figure, styled


def _cloud(axes: Axes, x: np.ndarray, values: np.ndarray, colour: str) -> None:
    some = np.isfinite(values).any(axis=1)
    if not some.any():
        axes.text(0.5, 0.5, "not in this run", ha="center", va="center", color=MUTED, transform=axes.transAxes)
        return
    x, values = x[some], values[some]
    axes.plot(np.repeat(x, values.shape[1]), values.ravel(), ".", color=MUTED, ms=3, alpha=0.6)
    low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9], axis=1)
    axes.errorbar(x, middle, [middle - low, high - middle], color=colour, marker="o", ms=4, capsize=2)
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_xticks([], minor=True)


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Six panels; a sweep that the run left out stays empty."""
    figure, panels = new_figure(3, 2)
    steps = ("delay_steps", "delay T (steps)")
    exponent = dataset.attrs["toy_exponent"]
    shown: Any = (  # sweep, coordinate and its label, variable and its label, title, colour, power of the toy model
        ("delay", *steps, "critical_rate", "critical rate", "Delay", ACCENT, exponent),
        ("size", "units", "units N", "critical_rate", "critical rate", "Size", ACCENT, None),
        ("confidence", "confidence", "confidence c", "critical_rate", "critical rate", "Confidence", ACCENT, None),
        ("delay", *steps, "gradient_norm", "|grad t|", "Sensitivity", GHOST, 1 - exponent / 2),
        ("delay", *steps, "hazard", "hazard", "Lethal update", LOST, None),
        ("full_rank", *steps, "critical_rate", "critical rate", "Rank two, full rank", ACCENT, None),
    )
    for axes, (sweep, along, x_label, name, y_label, title, colour, power) in zip(panels, shown, strict=True):
        x, values = _sweep(dataset, sweep, along, name)
        _cloud(axes, x, values, colour)
        axes.set(xlabel=x_label, ylabel=y_label, title=title)
        if power is not None and len(x) and np.isfinite(values[0]).any():
            line = np.nanmedian(values[0]) * (x / x[0]) ** power
            axes.plot(x, line, "--", color=MUTED, lw=1, label=f"toy: T^{power:g}")
            axes.legend()
    panels[4].axhline(1.0, color=MUTED, lw=1, ls="--")
    if (dataset["sweep"].values == "rank_two").any():
        _cloud(panels[5], *_sweep(dataset, "rank_two", "delay_steps", "critical_rate"), GHOST)
    letters(panels)
    return figure


def _sweep(dataset: xr.Dataset, sweep: str, along: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Coordinate (condition,) and values (condition, seed) of one sweep."""
    rows = np.flatnonzero(dataset["sweep"].values == sweep)
    return dataset[along].values[rows].astype(float), dataset[name].values[rows]


CRITICAL_RATE_SCALING = Drawing(
    draw,
    "A: critical rate over the delay (median and middle 80 % over seeds; a dot is a network) with the toy's power of "
    "the delay through the first point. B, C: over size and confidence. D: norm of the gradient of the escape time one "
    "update before a network is lost, and the toy model's power. E: hazard of that update; above the line it lengthens "
    "the escape time by more than (3/8) T to first order. F: critical rate of rank-two (purple) and full-rank "
    "networks.",
)
