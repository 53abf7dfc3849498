"""The critical learning rate of networks over delay, size and confidence, and the update that loses them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, LOST, MUTED, new_figure, panel_label, styled

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "A: critical rate over the delay (median and middle 80 % over seeds; a dot is a network) with the toy's power "
    "of the delay through the first point. B, C: over size and confidence. D: norm of the gradient of the escape time "
    "one update before a network is lost, and the toy model's power. E: hazard of that update; above the line it "
    "lengthens the escape time by more than (3/8) T to first order. F: critical rate of rank-two "
    "(purple) and full-rank networks."
)


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


def draw(dataset: xr.Dataset) -> Figure:
    """Six panels; a sweep that the run left out stays empty."""
    with styled():
        figure, axes = new_figure(3, 2)
        panels = (
            ("delay", "delay_steps", "critical_rate", "delay T (steps)", "critical rate", "Delay"),
            ("size", "units", "critical_rate", "units N", "critical rate", "Size"),
            ("confidence", "confidence", "critical_rate", "confidence c", "critical rate", "Confidence"),
            ("delay", "delay_steps", "gradient_norm", "delay T (steps)", "|grad t|", "Sensitivity"),
            ("delay", "delay_steps", "hazard", "delay T (steps)", "hazard", "Lethal update"),
            ("full_rank", "delay_steps", "critical_rate", "delay T (steps)", "critical rate", "Rank two, full rank"),
        )
        colours = (ACCENT, ACCENT, ACCENT, GHOST, LOST, ACCENT)
        for axis, colour, letter, (sweep, along, name, x_label, y_label, title) in zip(
            axes, colours, "ABCDEF", panels, strict=True
        ):
            rows = np.flatnonzero(dataset["sweep"].values == sweep)
            x, values = dataset[along].values[rows].astype(float), dataset[name].values[rows]
            _cloud(axis, x, values, colour)
            axis.set(xlabel=x_label, ylabel=y_label, title=title)
            panel_label(axis, letter)
            power = {"A": dataset.attrs["toy_exponent"], "D": 1 - dataset.attrs["toy_exponent"] / 2}.get(letter)
            if power is not None and len(x) and np.isfinite(values[0]).any():
                line = np.nanmedian(values[0]) * (x / x[0]) ** power
                axis.plot(x, line, "--", color=MUTED, lw=1, label=f"toy: T^{power:g}")
                axis.legend()
            two = np.flatnonzero(dataset["sweep"].values == "rank_two")
            if letter == "F" and len(two):
                _cloud(axis, dataset[along].values[two].astype(float), dataset[name].values[two], GHOST)
            if letter == "E":
                axis.axhline(1.0, color=MUTED, lw=1, ls="--")
        return figure
