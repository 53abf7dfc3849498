"""Article, Figs. 6A and 7: loss, fates and epochs of learning of full-rank networks over learning
rates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.panels import draw_fates, draw_spread
from ghostpoint.figures.style import ACCENT, GHOST, GOOD, LOST, MUTED, Drawing, letters, new_figure, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Loss, fates and epochs of learning; with the rank-one networks beside it where the dataset
    has them.
    """
    rank_one = "rank_one_loss" in dataset
    figure, panels = new_figure(2, 2, height=3.2) if rank_one else new_figure(3)
    _losses(panels[0], dataset)
    _fates(panels[1], dataset, "", "Fates, full rank" if rank_one else "Fates")
    _epochs(panels[2], dataset, label="full rank, " if rank_one else "")
    if rank_one:
        _epochs(panels[2], dataset, "rank_one_", "rank one, ", GHOST)
        _fates(panels[3], dataset, "rank_one_", "Fates, rank one")
    letters(panels)
    return figure


def _losses(axes: Axes, dataset: xr.Dataset) -> None:
    """Median loss over learning rates with its range over the seeds, darker for later epochs."""
    loss = dataset["loss"]
    for shade, epoch in zip(np.linspace(0.2, 1, loss.sizes["epoch"]), dataset["epoch"].values, strict=True):
        draw_spread(axes, loss.sel(epoch=epoch), color=ACCENT, alpha=shade, elinewidth=0.6, ms=2.2, label=f"{epoch:,}")
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss (chance = 1)", title="Loss")
    axes.legend(title="epoch", fontsize=6.5, title_fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4)


def _fates(axes: Axes, dataset: xr.Dataset, prefix: str, title: str) -> None:
    """Shares of networks that never learned, that keep the task, and that lost it."""
    learned, kept = dataset[f"{prefix}first_learned"].values >= 0, dataset[f"{prefix}kept"].values
    fates = ((~learned, MUTED, "never learned"), (kept, GOOD, "learned"), (learned & ~kept, LOST, "lost"))
    draw_fates(axes, dataset["learning_rate"].values, fates, title, fontsize=7)


def _epochs(axes: Axes, dataset: xr.Dataset, prefix: str = "", label: str = "", colour: str = ACCENT) -> None:
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


CAPTION = (
    "A: loss over learning rates after increasing numbers of epochs (median and range over seeds; darker is later). B: "
    "share of networks that never learned, that learned and kept it, and that learned and were lost; learned is a loss "
    "below a quarter of chance. C: the first epoch at which each network has learned; open circles are lost later. "
)
DCDT = DMTS = Drawing(draw, CAPTION)
DELAYED_ACTIVATION = Drawing(
    draw, f"{CAPTION}D: shares as in B for rank-one networks of the same seeds; their epochs of learning are in C too."
)
