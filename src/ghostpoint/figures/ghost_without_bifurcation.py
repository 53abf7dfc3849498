"""Article, Fig. 3A: loss and gradient, the latent flow at several epochs, and the ghost over
training.
"""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.panels import flow_curves
from ghostpoint.figures.style import ACCENT, GHOST, INK, LOST, MUTED, Drawing, letters, new_figure, say, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Six panels: loss, gradient, flow, fixed points, ghost height, escape time."""
    figure, panels = new_figure(3, 2)
    drop = dataset.attrs["drop_epoch"]
    epoch, flow_epoch = dataset["epoch"].values + 1, dataset["flow_epoch"].values + 1
    shown = dataset["shown"].values
    panels[0].plot(epoch, dataset["loss"], color=ACCENT, lw=0.8)
    panels[0].set(yscale="log", ylabel="loss (chance = 1)", title="Loss")
    panels[1].plot(epoch, dataset["gradient_norm"], color=ACCENT, lw=0.8)
    panels[1].set(yscale="log", ylabel="gradient norm", title="Gradient")

    starts = dataset["start"].sel(flow_epoch=shown).values
    for at, colour in zip(shown, flow_curves(panels[2], dataset, starts, 4, "Latent flow"), strict=True):
        panels[0].axvline(at + 1, color=colour, lw=0.6, ls=":")

    panels[3].plot(flow_epoch, dataset["n_fixed_points"], color=LOST, drawstyle="steps-post")
    panels[3].set(ylabel="fixed points", ylim=(0, 3.5), yticks=[0, 1, 2, 3], title="Fixed points")
    panels[4].plot(flow_epoch, dataset["ghost_height"], ".", color=GHOST, ms=2)
    panels[4].set(ylabel="ghost height r (kappa / tau)", title="Height of the ghost")
    delay = dataset.attrs["delay_in_tau"]
    panels[5].plot(flow_epoch, dataset["escape_time"] / delay, ".", color=GHOST, ms=2, label="normal form")
    panels[5].plot(flow_epoch, dataset["crossing_time"] / delay, ".", color=ACCENT, ms=2, label="network")
    panels[5].axhline(1, color=MUTED, lw=0.8)
    panels[5].set(ylabel="time to threshold / T", ylim=(0, 2.2), title="Escape time")
    panels[5].legend(loc="lower left", markerscale=3)
    for index in (0, 1, 3, 4, 5):
        if drop >= 0:
            panels[index].axvline(drop + 1, color=INK, lw=0.8, ls="--")
        panels[index].set(xscale="log", xlabel="epoch + 1", xlim=(max(1, drop // 100), epoch[-1]))
    if not (dataset["n_ghosts"].values > 0).any():
        say(panels[4], "There is no ghost.")
    letters(panels)
    return figure


GHOST_WITHOUT_BIFURCATION = Drawing(
    draw,
    "A: loss, B: L2 norm of the gradient; the dashed line is the first epoch above chance. C: the latent flow at the "
    "marked epochs (dark to light), with the initial latent as a dot; where a curve comes near zero without touching "
    "it, there is a ghost. D: number of fixed points (all of them found, with proof). E: height r of the slowest "
    "ghost. F: time from the start to the threshold, of the ghost's normal form and of the network, in units of the "
    "delay T.",
)
