"""Minimal systems: critical rates over the delay and the number of ghosts, shares of the delay, and
the complex ghost.
"""

from __future__ import annotations

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import (
    ACCENT,
    GHOST,
    GOOD,
    INK,
    LOST,
    MUTED,
    SEQUENCE,
    Drawing,
    letters,
    new_figure,
    styled,
)


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """The figure of the saved results of ``minimal_systems``."""
    figure, panels = new_figure(3, 2, width=13.0, height=4.2)
    rates, exponents, counts, shares, past, zone = panels
    delay, names = dataset["delay"].values, dataset["family"].values
    colours = matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, len(names)))
    for row, colour in enumerate(colours):
        values = (dataset["critical_rate"] / dataset["toy_rate"]).values[row]
        seen = np.isfinite(values)
        rates.plot(delay[seen], values[seen], "o-", ms=3, lw=1, color=colour)
        value, low, high = dataset["exponent"].values[row]
        exponents.plot([low, high], [row, row], color=colour, lw=2)
        exponents.plot(value, row, "o", ms=4, color=colour)
        exponents.plot(dataset["exponent_theory"].values[row], row, "|", ms=11, color=INK)
    rates.set(xscale="log", yscale="log", xlabel="delay T", ylabel="critical rate / eq. 15", title="Over the delay")
    exponents.set_yticks(range(len(names)), names, fontsize=7)
    exponents.invert_yaxis()
    exponents.set(xlabel="exponent of T", title="Exponents")

    n = dataset["count"].values
    for way, colour in zip(dataset["way"].values, SEQUENCE, strict=False):
        counts.plot(n, dataset["count_rate"].sel(way=way), "o-", ms=3.5, color=colour, label=way)
    for power in (4, 5):
        counts.plot(n, n.astype(float) ** power, color=MUTED, lw=0.7, ls=":")
    counts.set(xscale="log", yscale="log", xlabel="saddle-nodes n", ylabel="critical rate / that of one")
    counts.set_title("Several ghosts")
    counts.set_xticks(n, [str(k) for k in n])
    counts.minorticks_off()
    counts.legend()

    start, crossing, predicted = dataset["share"].values[..., -1]
    shares.plot(start, crossing, "o", ms=2.5, color=ACCENT, label="measured")
    shares.plot(start, predicted, "o", ms=5, mfc="none", mew=0.6, color=GHOST, label="conserved differences")
    ends = np.array([1 / 3, crossing.max()])
    shares.plot(ends, ends, color=MUTED, lw=0.8)
    shares.set(xlabel="largest share of the delay, start", ylabel="at the crossing", title="Three in series")
    shares.legend()

    past.plot(dataset["past_delay"], dataset["past_theory"], color=GHOST, label="theory")
    past.plot(dataset["past_delay"], dataset["past_rate"], "o", ms=4, mfc="none", color=ACCENT, label="measured")
    past.set(yscale="log", xlabel="delay T", ylabel="critical rate", title="A start past the ghost")
    past.legend()

    inside = np.abs(dataset["held_r2"].values) < dataset["edge"].values[:, None]
    zone.plot(delay, inside.mean(1), color=GHOST, label="r2 held, by the edge")
    zone.plot(delay, dataset["held_learned"].mean("complex_start"), "o", ms=4, color=GOOD, label="r2 held, measured")
    near = (dataset["trained_loss"] < 0.1).mean(["complex_rate", "complex_start"])
    zone.plot(dataset["complex_delay"], near, "s", ms=4, color=LOST, label="r2 trained")
    zone.set(xscale="log", xlabel="delay T", ylabel="share that learns", title="Two slow directions")
    zone.legend()
    letters(panels)
    return figure


MINIMAL_SYSTEMS = Drawing(
    draw,
    "A: lowest learning rate that loses any start, over the delay, in units of the toy model's (eq. 15); colours as "
    "in B. B: exponents of the delay with 95 % intervals of the fit; ticks: theory. C: critical rate over the number "
    "of saddle-nodes: in series with equal, shared or drawn parameters, and in parallel where the first or the last "
    "answers; dotted: fourth and fifth power. D: largest share of the delay of three saddle-nodes in series, before "
    "training and when it reaches T, and what the conserved differences of r**2.5 predict. E: critical rate from a "
    "start past the ghost, which falls exponentially. F: share of starts that learn beside a ghost with two slow "
    "directions, with its second parameter held or trained.",
)
