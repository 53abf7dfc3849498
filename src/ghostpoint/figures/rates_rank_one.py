"""Fig. 6A: loss over learning rates after several numbers of epochs, and what became of each network."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GOOD, LOST, MUTED, new_figure, panel_label, styled

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "A: loss over learning rates after increasing numbers of epochs (mean and standard error over seeds; darker is "
    "later). "
    "B: share of networks that never left chance, that learned and kept it, and that learned and were lost."
)


def draw(dataset: xr.Dataset) -> Figure:
    """Loss and fates over learning rates."""
    with styled():
        figure, (left, right) = new_figure(2)
        rates, loss = dataset["learning_rate"].values, dataset["loss"]
        shades = np.linspace(0.25, 1, loss.sizes["epoch"])
        root = np.sqrt(loss.sizes["seed"])
        for shade, epoch in zip(shades, dataset["epoch"].values, strict=True):
            at = loss.sel(epoch=epoch)
            left.errorbar(
                rates, at.mean("seed"), yerr=at.std("seed", ddof=1) / root, color=ACCENT, alpha=shade, lw=1.1,
                marker="o", ms=2.2, label=f"{epoch:,} epochs",
            )  # fmt: skip
        left.set(
            xscale="log",
            yscale="log",
            xlabel="learning rate",
            ylabel="loss (chance = 1)",
            title="Loss",
        )
        left.legend(loc="lower left")

        learned = dataset["first_above_chance"].values >= 0
        lost = dataset["no_learning_zone_entry"].values >= 0
        fates = (
            (~learned, MUTED, "never left chance"),
            (learned & ~lost, GOOD, "learned"),
            (lost, LOST, "lost"),
        )
        bottom = np.zeros(len(rates))
        edges = np.append(rates, rates[-1] ** 2 / rates[-2]) * np.sqrt(rates[0] / rates[1])
        for share, colour, label in fates:
            height = share.mean(axis=1)
            right.bar(edges[:-1], height, np.diff(edges), bottom, align="edge", color=colour, label=label)
            bottom = bottom + height
        right.set(xscale="log", xlabel="learning rate", ylabel="share of networks", title="Fates")
        right.set_ylim(0, 1)
        right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3)
        for axes, letter in zip((left, right), "AB", strict=True):
            panel_label(axes, letter)
        return figure
