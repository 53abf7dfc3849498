"""Article, Fig. 3B: one network lost through a saddle-node, and the same count over all seeds."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.panels import flow_curves
from ghostpoint.figures.style import ACCENT, GOOD, INK, LOST, MUTED, Drawing, letters, new_figure, say, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Four panels for the network shown, two for all seeds."""
    figure, panels = new_figure(3, 2)
    fold, seed = dataset.attrs["fold_epoch"], dataset.attrs["shown_seed"]
    panels[0].plot(dataset["epoch"], dataset["loss"], color=ACCENT, lw=0.8)
    panels[0].set(ylabel="loss (chance = 1)", title=f"Seed {seed}: loss")
    norm = dataset["gradient_norm"]
    panels[1].plot(dataset["epoch"], norm.where(norm > 0), color=ACCENT, lw=0.8)
    panels[1].set(yscale="log", ylabel="gradient norm", title="Gradient")
    panels[2].plot(dataset["flow_epoch"], dataset["count"], color=LOST, drawstyle="steps-post")
    panels[2].set(ylabel="fixed points", yticks=[0, 1, 2, 3], ylim=(0, 3.5), title="Fixed points")
    for axes in panels[:3]:
        if fold >= 0:
            axes.axvline(fold, color=INK, lw=0.8, ls="--")
        axes.set_xlabel("epoch")

    title = "Latent flow around the fold" if fold >= 0 else "Latent flow (no fold)"
    flow_curves(panels[3], dataset, dataset["start"].values, 3, title)

    learned, lost = dataset["learned"].values, dataset["entry"].values >= 0
    zeros = dataset["n_fixed_points"].values
    fates = ((lost, "lost", LOST), (learned & ~lost, "kept", GOOD), (~learned, "never\nlearned", MUTED))
    for x, (chosen, _label, colour) in enumerate(fates):
        for offset, wanted in ((-0.2, zeros == 1), (0.2, zeros >= 3)):
            bar = panels[4].bar(
                x + offset, (chosen & wanted).sum(), 0.36, color=colour, alpha=0.4 if offset < 0 else 1.0
            )
            panels[4].bar_label(bar, fontsize=8)
    panels[4].set_xticks(range(3), [label for _, label, _ in fates])
    panels[4].set(ylabel="networks", title="Final zeros: 1 (pale), 3 (full)")
    panels[4].margins(y=0.12)

    through = lost & (dataset["fold"].values >= 0)
    panels[5].plot(dataset["entry"].values[through], dataset["fold"].values[through], "o", color=LOST, ms=3.5, mew=0)
    limits = [0, int(dataset["epoch"].values[-1])]
    panels[5].plot(limits, limits, color=INK, lw=0.8)
    if not through.any():
        say(panels[5], "No network is lost\nthrough a fold.")
    panels[5].set(xlabel="epoch of entry", ylabel="epoch of the fold", title="Fold and entry")
    letters(panels)
    return figure


COLLAPSE = Drawing(
    draw,
    "One lost network: A loss, B norm of the gradient, C number of fixed points, D latent flow around the fold (dots: "
    "the initial latent). All seeds: E zeros of the final flow by fate; F epoch of the fold against epoch of entry "
    "into the no-learning zone. Dashed: the fold.",
)
