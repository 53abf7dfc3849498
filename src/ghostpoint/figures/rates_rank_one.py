"""Article, Fig. 6A: loss over learning rates after several numbers of epochs, and what became of
each network.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.panels import draw_fates
from ghostpoint.figures.style import ACCENT, GOOD, LOST, MUTED, Drawing, letters, new_figure, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Loss and fates over learning rates."""
    figure, (left, right) = new_figure(2)
    rates, loss = dataset["learning_rate"].values, dataset["loss"]
    root = np.sqrt(loss.sizes["seed"])
    for shade, epoch in zip(np.linspace(0.25, 1, loss.sizes["epoch"]), dataset["epoch"].values, strict=True):
        at = loss.sel(epoch=epoch)
        left.errorbar(
            rates, at.mean("seed"), yerr=at.std("seed", ddof=1) / root, color=ACCENT, alpha=shade, lw=1.1, marker="o",
            ms=2.2, label=f"{epoch:,} epochs",
        )  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss (chance = 1)", title="Loss")
    left.legend(loc="lower left")
    learned, lost = dataset["first_above_chance"].values >= 0, dataset["no_learning_zone_entry"].values >= 0
    fates = ((~learned, MUTED, "never left chance"), (learned & ~lost, GOOD, "learned"), (lost, LOST, "lost"))
    draw_fates(right, rates, fates, "Fates")
    letters((left, right))
    return figure


RATES_RANK_ONE = Drawing(
    draw,
    "A: loss over learning rates after increasing numbers of epochs (mean and standard error over seeds; darker is "
    "later). B: share of networks that never left chance, that learned and kept it, and that learned and were lost.",
)
