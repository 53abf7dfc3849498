"""The length of the plateau: predicted against measured, a loss curve with its reduced model, other
conditions, and other trainings.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import (
    ACCENT,
    GHOST,
    GOOD,
    LOST,
    MUTED,
    SEQUENCE,
    Drawing,
    few_ticks,
    letters,
    new_figure,
    styled,
)

#: what the groups of extensions are called, and their colours
GROUPS = {
    "momentum": ("momentum", ACCENT),
    "rank": ("rank 2 and 5", GOOD),
    "state": ("readout of the state", GHOST),
    "second": ("second plateau", LOST),
    "adam": ("Adam", SEQUENCE[3]),
}


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Epochs, errors, a curve, conditions, and extensions."""
    figure, panels = new_figure(3, 2, height=3.4)
    left, errors, curve, conditions, drops, extensions = panels
    found = dataset["measured"].where(dataset["measured"] > 0)
    by_overlaps = dataset["predicted"].sel(prediction="overlaps")
    for rate, colour in zip(dataset["rate"].values, SEQUENCE * 3, strict=False):
        left.plot(found.sel(rate=rate), by_overlaps.sel(rate=rate), "o", ms=2.5, color=colour, label=f"{rate:g}")
    ends = [float(found.min()), float(found.max())]
    left.plot(ends, ends, color=MUTED, lw=0.8, zorder=0)
    left.set(
        xscale="log", yscale="log", xlabel="measured epoch of the drop", ylabel="predicted",
        title="Length of the plateau",
    )  # fmt: skip
    few_ticks(left.xaxis, left.yaxis)
    left.legend(title="learning rate")

    order = np.argsort(found.mean("rate").values)
    for method, colour in (("closed", GOOD), ("linear", LOST), ("overlaps", ACCENT)):
        ratio = (dataset["predicted"].sel(prediction=method, drop=True) / found).mean("rate").values[order]
        errors.plot(100 * (ratio - 1), "o", ms=2.5, color=colour, label=method)
    errors.axhline(0, color=MUTED, lw=0.8, zorder=0)
    errors.set(xlabel="networks, by length", ylabel="error (%), mean over rates", title="Three predictions")
    errors.legend()

    shown = dataset.isel(curve=0)
    curve.plot(shown["epoch"], shown["loss"], color=ACCENT, label="network")
    curve.plot(shown["epoch"], shown["reduced_loss"], color=GHOST, ls="--", label="nine overlaps")
    drop = float(shown["epoch"][int((shown["reduced_loss"].values < 0.9).argmax())])
    curve.set(
        xlim=(0.97 * drop, 1.1 * drop), xlabel="epoch", ylabel="loss (chance = 1)",
        title=f"Seed {int(shown['curve'])}, rate {float(shown['curve_rate']):.3g}",
    )  # fmt: skip
    curve.locator_params(axis="x", nbins=4)
    curve.legend()

    ratio = dataset["ratio"].sel(prediction="overlaps").values
    names = [str(name).replace("_", " ") for name in dataset["condition"].values]
    places, many = np.arange(len(names)), dataset["valid"].values.mean(axis=1) > 0.5
    for row, (values, inside) in enumerate(zip(ratio, many, strict=True)):
        seen = values[np.isfinite(values)]
        conditions.plot(100 * (seen - 1), np.full(len(seen), row), ".", ms=3, color=ACCENT if inside else MUTED)
    conditions.axvline(0, color=MUTED, lw=0.8, zorder=0)
    conditions.set_yticks(places, names, fontsize=5)
    conditions.set(xlabel="error (%)", title="Other conditions", xlim=(-5, 5))
    conditions.invert_yaxis()

    _extensions(drops, extensions, dataset)
    letters(panels)
    return figure


def _extensions(drops: Axes, errors: Axes, dataset: xr.Dataset) -> None:
    """Predicted against measured epochs by group, and the errors of each extension."""
    measured = dataset["extended_measured"].where(dataset["extended_measured"] > 0).values
    predicted, valid = dataset["extended_predicted"].sel(prediction="overlaps").values, dataset["extended_valid"].values
    names = list(dict.fromkeys(map(str, dataset["extension"].values)))
    places = np.array([names.index(name) for name in dataset["extension"].values])[:, None] + np.zeros(measured.shape)
    error = 100 * (np.ceil(predicted) / measured - 1)
    errors.plot(error[~valid], places[~valid], ".", ms=3, color=MUTED)
    for group, (word, colour) in GROUPS.items():
        shown = valid & (dataset["group"].values == group)[:, None]
        drops.plot(measured[shown], predicted[shown], "o", ms=2.5, color=colour, label=word)
        errors.plot(error[shown], places[shown], ".", ms=3, color=colour)
    ends = [np.nanmin(measured), np.nanmax(measured)]
    drops.plot(ends, ends, color=MUTED, lw=0.8, zorder=0)
    drops.set(
        xscale="log", yscale="log", xlabel="measured epoch of the drop", ylabel="predicted",
        title="Other trainings and ranks",
    )  # fmt: skip
    drops.legend()
    errors.axvline(0, color=MUTED, lw=0.8, zorder=0)
    errors.set_yticks(range(len(names)), names, fontsize=5)
    far = max(5.0, 1.1 * float(np.nanmax(np.abs(error[valid]), initial=0.0)))
    errors.set(xlabel="error (%)", title="Their errors", xlim=(-far, far))
    errors.invert_yaxis()


PLATEAU = Drawing(
    draw,
    "A: epoch at which the loss falls below 0.9 of chance, predicted by nine overlaps of the initial weights, against "
    "the measured one, for every network and rate. B: errors of the one-integral form, of the overlaps with linear "
    "units, and of the overlaps with the first order of saturation. C: the drop of one network and of its reduced "
    "model. D: errors of the overlaps where one thing at a time is changed; grey where most networks are outside the "
    "range of validity. E: predicted against measured epochs with momentum, at higher rank, with a readout of the "
    "state, on the second plateau, and under Adam. F: their errors; grey, and some beyond the edges, outside the "
    "range of validity.",
)
