"""Article, Fig. 8B: lost networks that go on with a lower confidence, and networks whose confidence
is trainable.
"""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GOOD, INK, LOST, MUTED, Drawing, letters, new_figure, say, styled


@styled()
def draw_fixed(dataset: xr.Dataset) -> Figure:
    """Losses of the first training, and accuracy and share recovered over confidence."""
    figure, (left, middle, right) = new_figure(3)
    lost = dataset["entry"].values >= 0
    for row, gone in zip(dataset["first_loss"].values, lost, strict=True):
        left.plot(dataset["first_epoch"], row, color=LOST if gone else MUTED, lw=0.5, alpha=0.45, rasterized=False)
    left.set(xlabel="epoch", ylabel="loss (chance = 1)", title=f"{lost.sum()} of {lost.size} networks are lost")
    left.set_ylim(0, 1.5)

    confidence = dataset["confidence"].values
    middle.errorbar(
        confidence,
        dataset["accuracy_mean"],
        yerr=dataset["accuracy_sem"],
        color=ACCENT,
        marker="o",
        ms=3,
        capsize=1.5,
    )
    middle.axhline(0.5, color=INK, lw=0.8, ls="--")
    middle.set(xscale="log", xlabel="confidence c", ylabel="accuracy", title="Accuracy after going on", ylim=(0.45, 1))

    right.plot(confidence, dataset["recovered"], color=GOOD, marker="o", ms=3)
    right.set(xscale="log", xlabel="confidence c", ylabel="share above chance", title="Share above chance")
    right.set_ylim(-0.03, 1.03)
    if not lost.any():
        for axes in (middle, right):
            say(axes, "No network is lost.")
            axes.set_xlim(confidence[0], confidence[-1])
    letters((left, middle, right))
    return figure


@styled()
def draw_trainable(dataset: xr.Dataset) -> Figure:
    """Loss, accuracy and confidence over epochs, one line a network."""
    figure, panels = new_figure(3)
    lost, shown = dataset["entry"].values >= 0, dataset.attrs["shown"]
    epoch = dataset["epoch"].values
    rows = (("loss", "loss (chance = 1)"), ("accuracy", "accuracy"), ("confidence", "confidence c"))
    for axes, (name, label) in zip(panels, rows, strict=True):
        values = dataset[name].values[:, ::5]
        for network in range(len(values)):
            colour = LOST if lost[network] else MUTED
            axes.plot(epoch[::5], values[network], color=colour, lw=0.4, alpha=0.3)
        axes.plot(epoch, dataset[name].values[shown], color=ACCENT, lw=1.3)
        axes.axvline(dataset.attrs["reset_epoch"], color=INK, ls="--", lw=0.8)
        axes.set(xlabel="epoch", ylabel=label)
    letters(panels)
    panels[0].set(ylim=(0, 1.5), title=f"Seed {int(dataset['seed'].values[shown])} in blue")
    panels[1].set(title=f"{lost.sum()} of {lost.size} lost before the reset")
    panels[2].set(title="Confidence")
    return figure


FIXED = Drawing(
    draw_fixed,
    "A: loss of the first training at c = 10; networks that are lost at the end in red, the others in grey. B: "
    "accuracy of the lost networks after going on from their last weights at confidence c (mean and standard error "
    "over networks); the dashed line is chance. C: share of them above chance at the end.",
)
TRAINABLE = Drawing(
    draw_trainable,
    "Loss (A), accuracy (B) and confidence (C) of networks with trainable confidence. Blue: the published seed; red: "
    "other networks that are lost before the reset; grey: the rest. Dashed: the epoch at which the confidence is "
    "set by hand.",
)
