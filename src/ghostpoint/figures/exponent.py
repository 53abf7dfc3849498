"""Critical rates of the toy model, of overlaps and of networks over the delay; their terms; and
predictions beside measurements.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, GOOD, LOST, MUTED, Drawing, letters, new_figure, styled

NAMES = {"rank_one": "rank one", "rank_two": "rank two", "full_rank": "full rank"}


def _middle(values: np.ndarray) -> np.ndarray:
    """The median of every row, NaN where a row has no number."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values])


def _part(dataset: xr.Dataset, family: str, confidence: float) -> xr.Dataset:
    rows = np.flatnonzero((dataset["family"].values == family) & (dataset["confidence"].values == confidence))
    return dataset.isel(condition=rows[np.argsort(dataset["delay_steps"].values[rows])])


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Rates over the delay, terms, predictions, and other families."""
    figure, panels = new_figure(2, 2, height=3.4)
    rates, terms, single, others = panels
    main = _part(dataset, "rank_one", 10.0)
    delays = main["delay_steps"].values
    rates.plot(np.repeat(delays, main.sizes["seed"]), main["measured"].values.ravel(), ".", ms=2, color=MUTED)
    for name, label, style, colour in (
        ("measured", "networks", "o-", ACCENT),
        ("overlaps", "overlaps", "s--", GOOD),
        ("linear", "linear units", "^:", LOST),
    ):  # fmt: skip
        rates.plot(delays, _middle(main[name].values), style, ms=3, color=colour, label=label)
    rates.plot(delays, main["toy"], "-", color=GHOST, label="toy model")
    _logarithmic(rates, "critical learning rate", "Rank one")
    rates.legend()

    for name, label, style, colour in (
        ("width", "width l", "o-", ACCENT),
        ("sensitivity", "sensitivity A", "s-", GOOD),
    ):
        terms.plot(delays, _middle(main[name].values), style, ms=3, color=colour, label=label)
    terms.plot(delays, main["toy_width"], "-", color=GHOST, label="l of the toy model")
    _logarithmic(terms, "units of the state", "Terms of the formula")
    terms.legend()

    ends = [np.nanmin(dataset["measured"].values), np.nanmax(dataset["measured"].values)]
    for (family, confidence), colour in zip(_kinds(dataset), (ACCENT, GOOD, LOST, GHOST), strict=False):
        part = _part(dataset, family, confidence)
        label = f"{NAMES[family]}, c = {confidence:g}"
        single.plot(
            part["measured"].values.ravel(), part["overlaps"].values.ravel(), ".", ms=3, color=colour, label=label
        )
    single.plot(ends, ends, color=MUTED, lw=0.8, zorder=0)
    for factor in (0.75, 1.25):
        single.plot(ends, [factor * end for end in ends], ":", color=MUTED, lw=0.8, zorder=0)
    single.set(xscale="log", yscale="log", xlabel="measured", ylabel="predicted by overlaps", title="Single networks")
    single.legend()

    every = dict.fromkeys(zip(dataset["family"].values.tolist(), dataset["confidence"].values.tolist(), strict=True))
    for (family, confidence), colour in zip(every, (ACCENT, GOOD, LOST, GHOST, MUTED), strict=False):
        part = _part(dataset, family, confidence)
        label = f"{NAMES[family]}, c = {confidence:g}"
        others.plot(part["delay_steps"], _middle(part["measured"].values), "o-", ms=3, color=colour, label=label)
        others.plot(part["delay_steps"], _middle(part["overlaps"].values), "x--", ms=3, color=colour)
    _logarithmic(others, "critical learning rate", "Other families (dashed: overlaps)")
    others.legend()
    letters(panels)
    return figure


def _kinds(dataset: xr.Dataset) -> list[tuple[str, float]]:
    """Families and confidences that the overlaps can predict."""
    pairs = dict.fromkeys(zip(dataset["family"].values.tolist(), dataset["confidence"].values.tolist(), strict=True))
    return [pair for pair in pairs if pair[0] != "full_rank"]


def _logarithmic(panel: Axes, label: str, title: str) -> None:
    panel.set(xscale="log", yscale="log", xlabel="delay T (steps)", ylabel=label, title=title)


EXPONENT = Drawing(
    draw,
    "A: critical learning rates over the delay: single networks (dots), their medians, the medians of what overlaps of "
    "the initial weights predict, with and without the saturation of the units, and the toy model's. B: width of the "
    "slow region and sensitivity of the speed in trained networks, medians, and the toy model's width. C: predicted "
    "against measured rate of every network; dotted: 25 % off. D: other ranks and confidences, medians.",
)
