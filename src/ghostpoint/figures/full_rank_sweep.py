"""What the figures of the full-rank sweeps share: loss, fates and epochs of learning over learning rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, GOOD, LOST, MUTED, new_figure, panel_label, styled

__all__ = ["draw_epochs", "draw_fates", "draw_loss", "draw_sweep"]


def draw_loss(axes: Axes, dataset: xr.Dataset) -> None:
    """Median loss over learning rates with its range over the seeds, darker for later epochs."""
    rates, loss = dataset["learning_rate"].values, dataset["loss"]
    for shade, epoch in zip(np.linspace(0.2, 1, loss.sizes["epoch"]), dataset["epoch"].values, strict=True):
        at = loss.sel(epoch=epoch)
        middle = at.median("seed")
        spread = np.abs(np.stack([at.min("seed") - middle, at.max("seed") - middle]))
        axes.errorbar(
            rates, middle, yerr=spread, color=ACCENT, alpha=shade, lw=1.1, elinewidth=0.6, marker="o", ms=2.2,
            label=f"{epoch:,}",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss (chance = 1)", title="Loss")
    axes.legend(title="epoch", fontsize=6.5, title_fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4)


def draw_fates(axes: Axes, dataset: xr.Dataset, prefix: str = "", title: str = "Fates") -> None:
    """Stacked shares of networks over learning rates, by what became of them."""
    rates = dataset["learning_rate"].values
    learned, kept = dataset[f"{prefix}first_learned"].values >= 0, dataset[f"{prefix}kept"].values
    fates = ((~learned, MUTED, "never learned"), (kept, GOOD, "learned"), (learned & ~kept, LOST, "lost"))
    edges = np.append(rates, rates[-1] ** 2 / rates[-2]) * np.sqrt(rates[0] / rates[1])
    bottom = np.zeros(len(rates))
    for chosen, colour, label in fates:
        height = chosen.mean(axis=1)
        axes.bar(edges[:-1], height, np.diff(edges), bottom, align="edge", color=colour, label=label)
        bottom = bottom + height
    axes.set(xscale="log", xlabel="learning rate", ylabel="share of networks", title=title)
    axes.set_ylim(0, 1)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, fontsize=7)


def draw_epochs(axes: Axes, dataset: xr.Dataset, prefix: str = "", label: str = "", colour: str = ACCENT) -> None:
    """The epoch at which each network first learns, filled where it keeps the task."""
    first, kept = dataset[f"{prefix}first_learned"], dataset[f"{prefix}kept"].values
    x = np.broadcast_to(dataset["learning_rate"].values[:, None], first.shape)
    y = first.where(first > 0).values
    common: dict[str, Any] = {"ls": "", "marker": "o", "ms": 3, "color": colour}
    axes.plot(x[kept], y[kept], **common, label=f"{label}kept")
    axes.plot(x[~kept], y[~kept], **common, mfc="white", label=f"{label}lost")
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="first epoch", title="Epochs until learned")
    axes.set_xlim(x.min() / 2, x.max() * 2)
    axes.set_ylim(0.7, max(10.0, 2 * float(first.max()), axes.get_ylim()[1]))  # also where no network learns
    axes.legend(fontsize=6.5, loc="lower left")


def draw_sweep(dataset: xr.Dataset, rank_one: bool = False) -> Figure:
    """The figure of a sweep; with the rank-one networks beside it where the dataset has them."""
    with styled():
        figure, panels = new_figure(2, 2, height=3.2) if rank_one else new_figure(3)
        draw_loss(panels[0], dataset)
        draw_fates(panels[1], dataset, title="Fates, full rank" if rank_one else "Fates")
        draw_epochs(panels[2], dataset, label="full rank, " if rank_one else "")
        if rank_one:
            draw_epochs(panels[2], dataset, "rank_one_", "rank one, ", GHOST)
            draw_fates(panels[3], dataset, "rank_one_", "Fates, rank one")
        for axes, letter in zip(panels, "ABCD", strict=False):
            panel_label(axes, letter)
        return figure
