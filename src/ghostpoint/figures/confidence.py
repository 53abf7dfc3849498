"""Fig. 8B: accuracy of the lost networks against the confidence they go on with."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GOOD, INK, LOST, MUTED, new_figure, panel_label, say, styled

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "A: loss of the first training at c = 10; networks that are lost at the end in red, the others in grey. "
    "B: accuracy of the lost networks after going on from their last weights at confidence c (mean and standard "
    "error over "
    "networks); the dashed line is chance. C: share of them above chance at the end."
)


def draw(dataset: xr.Dataset) -> Figure:
    """Losses of the first training, and accuracy and share recovered over confidence."""
    with styled():
        figure, (left, middle, right) = new_figure(3)
        lost = dataset["entry"].values >= 0
        for row, gone in zip(dataset["first_loss"].values, lost, strict=True):
            left.plot(
                dataset["first_epoch"],
                row,
                color=LOST if gone else MUTED,
                lw=0.5,
                alpha=0.45,
                rasterized=False,
            )
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
        middle.set(
            xscale="log",
            xlabel="confidence c",
            ylabel="accuracy",
            title="Accuracy after going on",
            ylim=(0.45, 1),
        )

        right.plot(confidence, dataset["recovered"], color=GOOD, marker="o", ms=3)
        right.set(xscale="log", xlabel="confidence c", ylabel="share above chance", title="Share above chance")
        right.set_ylim(-0.03, 1.03)
        if not lost.any():
            for axes in (middle, right):
                say(axes, "No network is lost.")
                axes.set_xlim(confidence[0], confidence[-1])
        for axes, letter in zip((left, middle, right), "ABC", strict=True):
            panel_label(axes, letter)
        return figure
