"""Article, Fig. 3, text: the one fixed point over training."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, LOST, MUTED, Drawing, letters, new_figure, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Counts, position and slope."""
    figure, (left, middle, right) = new_figure(3)
    bars = left.bar(dataset["count"], dataset["n_fixed_points"], color=LOST, width=0.6)
    left.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    left.set(
        xlabel="fixed points", ylabel="epochs", title=f"All {dataset.attrs['epochs']:,} epochs", xticks=[0, 1, 2, 3]
    )
    left.set_xlim(-0.6, 3.6)
    left.margins(y=0.12)

    epoch = dataset["epoch"].values
    behind = middle.twinx()
    behind.plot(epoch, dataset["loss"], color=MUTED, lw=0.6)
    behind.set(yscale="log", ylabel="loss (chance = 1)")
    behind.spines["right"].set_visible(True)
    middle.plot(epoch, dataset["fixed_point"], color=ACCENT)
    middle.set(xlabel="epoch", ylabel="position (kappa)", title="Position")
    middle.set_zorder(behind.get_zorder() + 1)
    middle.patch.set_visible(False)

    right.plot(epoch, dataset["slope"], color=ACCENT)
    right.set(xlabel="epoch", ylabel="slope of the flow (1/tau)", title="Slope")
    letters((left, middle, right))
    return figure


FIXED_POINT_COUNT = Drawing(
    draw,
    "A: number of zeros of the latent flow, as epochs counted (every epoch of the run). B: position of the leftmost "
    "zero, with the loss behind it. C: slope of the flow there; negative is stable.",
)
