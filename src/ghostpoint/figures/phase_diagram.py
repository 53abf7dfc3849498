"""Phase diagrams of sweeps: one value over two axes as a map, over one as a line with its
interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ghostpoint.figures.style import ACCENT, GHOST, MUTED, new_figure, say, styled

__all__ = ["draw_phase_diagram"]

#: axes in words
LABELS = {"learning_rate": "learning rate", "delay": "delay (ms)", "units": "units N", "epoch": "epoch"}
#: values that are shares, from 0 to 1
SHARES = ("lost", "learned", "solved")
CURVES = 12


@styled()
def draw_phase_diagram(diagram: xr.Dataset) -> Figure:
    """The figure of what :func:`ghostpoint.sweeps.diagrams.phase_diagram` gives."""
    figure, (axes,) = new_figure(1, width=5.2, height=3.8)
    x, y = diagram.attrs["x"], diagram.attrs["y"]
    if not np.isfinite(diagram["value"]).any():
        say(axes, "nothing to show yet")
    elif y and x != "epoch":
        _map(figure, axes, diagram, x, y)
    else:
        _lines(axes, diagram, x, y)
    return figure


def _map(figure: Figure, axes: Axes, diagram: xr.Dataset, x: str, y: str) -> None:
    """Colours over both axes; cells without a network stay empty."""
    values = diagram["value"].values
    name = diagram.attrs["value"]
    norm: Normalize = Normalize(0, 1)
    if name not in SHARES:
        finite = values[np.isfinite(values) & (values > 0)]
        wide = len(finite) and finite.max() > 10 * finite.min()
        norm = LogNorm(finite.min(), finite.max()) if wide else Normalize(np.nanmin(values), np.nanmax(values))
    across, up = (_places(axes, which, label, diagram[label].values) for which, label in (("x", x), ("y", y)))
    colours = colormaps["magma_r" if name == "lost" else "viridis"]
    drawn = axes.pcolormesh(_edges(across), _edges(up), values, norm=norm, cmap=colours)
    axes.set_facecolor("#eceff2")
    empty = "" if np.isfinite(values).all() else " (grey: none)"
    figure.colorbar(drawn, ax=axes, label=diagram.attrs["label"] + empty, aspect=25)
    if "theory" in diagram:
        curve, other = diagram["theory"].values, up if y == "delay" else across
        pair = (curve, other) if y == "delay" else (other, curve)
        axes.plot(*pair, color=GHOST, lw=1.8, ls="--", label="toy model")
        axes.legend(loc="upper right", facecolor="white", frameon=True, framealpha=0.8, edgecolor="none")


def _lines(axes: Axes, diagram: xr.Dataset, x: str, y: str) -> None:
    """A line, or one for each value of y, with the interval around it."""
    across = _places(axes, "x", x, diagram[x].values)
    rows = diagram[y].values if y else [None]
    shades = colormaps["viridis"](np.linspace(0, 0.85, len(rows))) if y else [ACCENT]
    for place, (row, colour) in enumerate(zip(rows, shades, strict=True)):
        at = diagram.isel({y: place}) if y else diagram
        label = _short(row) if place % (1 + len(rows) // CURVES) == 0 else None
        axes.plot(across, at["value"], color=colour, marker="" if x == "epoch" else "o", ms=3, label=label)
        axes.fill_between(across, at["low"], at["high"], color=colour, alpha=0.15, lw=0)
    if "theory" in diagram:
        axes.plot(across, diagram["theory"], color=GHOST, ls="--", label="toy model")
    if y or "theory" in diagram:
        axes.legend(title=LABELS.get(y, y) if y else None, fontsize=6.5, title_fontsize=7)
    axes.set_ylabel(diagram.attrs["label"])
    values = diagram["value"].values
    if diagram.attrs["value"] in SHARES:
        axes.set_ylim(-0.02, 1.02)
    elif np.nanmin(values) > 0 and np.nanmax(values) > 10 * np.nanmin(values):
        axes.set_yscale("log")
    axes.axhline(0, color=MUTED, lw=0.5) if diagram.attrs["value"] in SHARES else None


def _places(axes: Axes, which: str, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Where values lie along an axis: themselves where they are ascending numbers, else 0, 1, 2,
    ..., with ticks.
    """
    label = LABELS.get(name, name.replace("_", " "))
    axes.set(**{f"{which}label": label})
    if values.dtype.kind in "iuf" and len(values) > 1 and (np.diff(values) > 0).all():
        if values[0] > 0 and values[-1] >= 8 * values[0]:
            axes.set(**{f"{which}scale": "log"})
        return values.astype(float)
    places = np.arange(len(values), dtype=float)
    ticks = {f"{which}ticks": places, f"{which}ticklabels": [_short(value) for value in values]}
    axes.set(**ticks)
    return places


def _edges(places: NDArray[Any]) -> NDArray[Any]:
    """Limits of cells around places: halfway between neighbours, on a logarithmic scale where they
    span a decade.
    """
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    log = places[0] > 0 and places[-1] >= 8 * places[0]
    at = np.log(places) if log else places
    middle = (at[1:] + at[:-1]) / 2
    edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.asarray(np.exp(edges) if log else edges)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
