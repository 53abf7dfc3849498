"""Fig. 8B: loss, accuracy and confidence of networks whose confidence is trainable, before and after setting it to
1."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, INK, LOST, MUTED, new_figure, panel_label, styled

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "Loss (A), accuracy (B) and confidence (C) of networks with trainable confidence. Blue: the published seed; red: "
    "other networks that are lost before the reset; grey: the rest. Dashed: the epoch at which the confidence is "
    "set by hand."
)


def draw(dataset: xr.Dataset) -> Figure:
    """Loss, accuracy and confidence over epochs, one line a network."""
    with styled():
        figure, panels = new_figure(3)
        lost, shown = dataset["entry"].values >= 0, dataset.attrs["shown"]
        epoch = dataset["epoch"].values
        rows = (("loss", "loss (chance = 1)"), ("accuracy", "accuracy"), ("confidence", "confidence c"))
        for axes, letter, (name, label) in zip(panels, "ABC", rows, strict=True):
            values = dataset[name].values[:, ::5]
            for network in range(len(values)):
                colour = LOST if lost[network] else MUTED
                axes.plot(epoch[::5], values[network], color=colour, lw=0.4, alpha=0.3)
            axes.plot(epoch, dataset[name].values[shown], color=ACCENT, lw=1.3)
            axes.axvline(dataset.attrs["reset_epoch"], color=INK, ls="--", lw=0.8)
            axes.set(xlabel="epoch", ylabel=label)
            panel_label(axes, letter)
        panels[0].set(ylim=(0, 1.5), title=f"Seed {int(dataset['seed'].values[shown])} in blue")
        panels[1].set(title=f"{lost.sum()} of {lost.size} lost before the reset")
        panels[2].set(title="Confidence")
        return figure
