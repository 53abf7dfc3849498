"""Article, Fig. 8C: recovery of collapsed networks with a readout of a given norm."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GOOD, INK, LOST, MUTED, SEQUENCE, Drawing, letters, new_figure, say, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Collapse, what follows it, and who recovers."""
    recovered = 0.9
    lost = dataset["before_end_accuracy"].values < recovered
    norms = [f"{norm:g}" if norm else "alone" for norm in dataset["norm"].values]
    colours = [MUTED, *SEQUENCE[: len(norms) - 1]]
    place = np.arange(len(norms))
    after = dataset.isel(seed=np.flatnonzero(lost))
    figure, panels = new_figure(2, 2)
    _collapse(panels[0], dataset, lost)
    some = after.sizes["seed"] > 0
    if not some:
        for axes in panels[1:]:
            say(axes, "Every network has the task.")
    for colour, label, row in zip(colours, norms, after["loss"].values if some else (), strict=some):
        panels[1].plot(after["later"] + 1, np.median(row, axis=0), color=colour, lw=1.0, label=label)
    panels[1].set(
        xscale="log", yscale="log", xlabel="epoch after the collapse + 1", ylabel="loss (chance = 1)",
        title="Going on, median",
    )  # fmt: skip
    if some:
        panels[1].legend(title="norm", title_fontsize=7, fontsize=7, ncols=2, loc="lower left")
    back = (after["end_accuracy"] >= recovered).sum("seed")
    panels[2].bar(place, back, color=[MUTED, *[GOOD] * (len(norms) - 1)], width=0.6)
    panels[2].set(
        ylabel=f"networks (of {after.sizes['seed']})", title="Recovered", ylim=(0, max(1, after.sizes["seed"]))
    )
    jitter = np.linspace(-0.22, 0.22, after.sizes["seed"])
    for x, values, least in zip(place, after["end_loss"].values, dataset["least_loss"].values, strict=True):
        panels[3].plot(x + jitter, values, ".", color=ACCENT, ms=4)
        if some:
            panels[3].plot(x, np.median(values), "_", color=INK, ms=16, mew=1.6)
        panels[3].bar(x, least, 0.6, color="#e4e7eb")
    panels[3].set(yscale="log", ylabel="loss (chance = 1)", title="At the end")
    for axes in panels[2:]:
        axes.set_xticks(place, norms)
        axes.set_xlabel("L1 norm of the readout")
    letters(panels)
    return figure


def _collapse(axes: Axes, dataset: xr.Dataset, lost: np.ndarray) -> None:
    """Losses of the first training, the lost networks in red."""
    for row, gone in zip(dataset["before_loss"].values, lost, strict=True):
        axes.plot(dataset["epoch"] + 1, row, color=LOST if gone else GOOD, lw=0.5, alpha=0.6)
    axes.set(xscale="log", yscale="log", xlabel="epoch + 1", ylabel="loss (chance = 1)", title="Training")


INTERVENTION = Drawing(
    draw,
    "A: loss of every network while it is trained at the high rate (red: those without the task at the end). B: how "
    "these go on: median loss with the readout scaled to each L1 norm before every epoch, and left alone. C: how many "
    "of them have recovered, with at least 0.9 of the answers right at one of the last epochs. D: the lowest loss of "
    "each over these, and its median; bars: the best that a readout of this norm allows.",
)
