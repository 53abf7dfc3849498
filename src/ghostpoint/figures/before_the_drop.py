"""Does a ghost precede the drop? When six readings of it first hold, in five families of
networks.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, LOST, MUTED, Drawing, letters, styled

SHORT = {
    "ghost": "ghost",
    "path_minimum": "minimum on path",
    "slow_stretch": "slower than 1/T",
    "transient": "... and left again",
    "inflection": "inflection",
    "passage": "passage = delay",
}
WHEN = (
    ("before 0.99", GOOD),
    ("0.99 to 0.9", "#9bcfb1"),
    ("0.9 to 0.1", "#e8c27a"),
    ("later", LOST),
    ("never", "#d5dae0"),
)
EARLIEST = 1e-3  # of the plateau; the left edge of B


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Leads and lags in both units, and the shares, a column for each family."""
    families = dataset.attrs["families"]
    figure = Figure(figsize=(2.2 * len(families) + 1.2, 7.4), layout="constrained")
    rows = figure.subplots(3, len(families), squeeze=False, sharey=True)
    for column, (name, title) in zip(rows.T, families.items(), strict=True):
        at = dataset.isel(network=np.flatnonzero(dataset["family"].values == name))
        able = at.isel(network=np.flatnonzero(at["learned"].values))
        rank, task = title.split(", ")
        column[0].set_title(f"{rank}\n{task}\n{able.sizes['network']} of {at.sizes['network']} learn", fontsize=7.5)
        _lags(column[0], able)
        _plateaus(column[1], able)
        _shares(column[2], able)
        if not able.sizes["network"]:
            column[0].text(0.5, 0.5, "no network learned", transform=column[0].transAxes, ha="center", color=LOST)
    readings = dataset["reading"].values
    for axes, title in zip(rows[:, 0], ("first holds", "first holds", "when"), strict=True):
        axes.set_yticks(range(len(readings)), [SHORT[str(reading)] for reading in readings], fontsize=8)
        axes.set_ylim(len(readings) - 0.5, -0.5)
        axes.set_ylabel(title)
    letters(rows[:, 0])
    handles, labels = rows[2, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=7.5)
    return figure


def _dots(axes: Axes, at: xr.Dataset, values: xr.DataArray) -> None:
    """One dot per network on the line of each reading, with a small vertical offset, and the
    median.
    """
    networks = at.sizes["network"]
    shift = (np.arange(networks) % 7 - 3) * 0.08
    for place, reading in enumerate(at["reading"].values):
        row = values.sel(reading=reading).values
        early = at["at_start"].sel(reading=reading).values > 0
        for some, colour in ((early, MUTED), (~early, ACCENT)):
            axes.plot(row[some], place + shift[some], ".", color=colour, ms=3, alpha=0.7)
        if np.isfinite(row).any():
            axes.plot([float(np.nanmedian(row))] * 2, [place - 0.36, place + 0.36], color=INK, lw=1.2)


def _lags(axes: Axes, at: xr.Dataset) -> None:
    axes.axvspan(0, 1, color="#f3e6c8", lw=0)
    axes.axvline(0, color=INK, lw=0.7)
    _dots(axes, at, at["lag"])
    axes.set_xscale("symlog", linthresh=1)
    largest = float(np.nanmax(np.abs(at["lag"].values), initial=10.0))
    axes.set_xlim(-1.5 * largest, 1.5 * largest)
    axes.set_xlabel("lag (durations of the drop)", fontsize=7.5)
    axes.tick_params(axis="x", labelsize=6.5)


def _plateaus(axes: Axes, at: xr.Dataset) -> None:
    axes.axvline(1, color=INK, lw=0.7)
    _dots(axes, at, at["first_over_plateau"].clip(min=EARLIEST))
    axes.set_xscale("log")
    axes.set_xlim(EARLIEST, max(10.0, 1.3 * float(np.nanmax(at["first_over_plateau"].values, initial=1.0))))
    axes.set_xlabel("epoch / length of plateau", fontsize=7.5)
    axes.tick_params(axis="x", labelsize=6.5)


def _shares(axes: Axes, at: xr.Dataset) -> None:
    """Stacked shares over `when`, and the two controls."""
    networks = max(1, at.sizes["network"])
    place = np.arange(at.sizes["reading"])
    left = np.zeros(len(place))
    for code, (label, colour) in enumerate(WHEN):
        width = (at["when"].values == code).sum(axis=0) / networks
        axes.barh(place, width, 0.7, left=left, color=colour, label=label)
        left += width
    if at.sizes["network"]:
        axes.plot(at["at_start"].mean("network"), place - 0.15, "o", mfc="w", mec=INK, ms=4, label="at epoch 0")
        axes.plot(
            at["on_plateau"].mean("network"), place + 0.15, "D", mfc=GHOST, mec="w", ms=4, mew=0.5,
            label="at random moments of the plateau",
        )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of networks", fontsize=7.5)
    axes.tick_params(axis="x", labelsize=6.5)


BEFORE_THE_DROP = Drawing(
    draw,
    "A column a family of networks. A: when each reading of a ghost first holds, in durations of the drop (from 0.9 to "
    "0.25 of the plateau, shaded) after it began; a dot a network that learns, a line the median, grey where it holds "
    "before training. The scale is linear from -1 to 1. B: the same in units of the plateau's length; what holds "
    "before training is at the left edge. C: share of these networks in which it first holds before the loss is below "
    "0.99 of its plateau, from there to 0.9, in the drop to 0.1, later, or never. Circles: share in which it holds at "
    "epoch 0; diamonds: share of random moments of the plateau at which it holds.",
)
