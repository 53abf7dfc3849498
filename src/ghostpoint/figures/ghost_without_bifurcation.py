"""Fig. 3A: loss and gradient, the latent flow at several epochs, and the ghost over training."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.pyplot import get_cmap

from ghostpoint.figures.style import ACCENT, GHOST, INK, LOST, MUTED, new_figure, panel_label, say, styled

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "A: loss, B: L2 norm of the gradient; the dashed line is the first epoch above chance. C: the latent flow at "
    "the marked "
    "epochs (dark to light), with the initial latent as a dot; where a curve comes near zero without touching it, "
    "there is "
    "a ghost. D: number of fixed points (all of them found, with proof). E: height r of the slowest ghost. F: time "
    "from the "
    "start to the threshold, of the ghost's normal form and of the network, in units of the delay T."
)


def draw(dataset: xr.Dataset) -> Figure:
    """Six panels: loss, gradient, flow, fixed points, ghost height, escape time."""
    with styled():
        figure, panels = new_figure(3, 2)
        drop = dataset.attrs["drop_epoch"]
        epoch, flow_epoch = dataset["epoch"].values + 1, dataset["flow_epoch"].values + 1
        shown = dataset["shown"].values
        colours = get_cmap("viridis")(np.linspace(0.05, 0.85, len(shown)))

        for axes, name, label in (
            (panels[0], "loss", "loss (chance = 1)"),
            (panels[1], "gradient_norm", "gradient norm"),
        ):
            axes.plot(epoch, dataset[name], color=ACCENT, lw=0.8)
            axes.set(yscale="log", ylabel=label)
        panels[0].set_title("Loss")
        panels[1].set_title("Gradient")

        flow = panels[2]
        for colour, at, curve in zip(colours, shown, dataset["curve"].values, strict=True):
            flow.plot(dataset["kappa"], curve, color=colour, lw=1.1, label=f"epoch {at:,}")
            start = float(dataset["start"].sel(flow_epoch=at))
            flow.plot(start, np.interp(start, dataset["kappa"].values, curve), "o", color=colour, ms=4)
            panels[0].axvline(at + 1, color=colour, lw=0.6, ls=":")
        flow.axhline(0, color=INK, lw=0.8)
        flow.set(xlabel="latent kappa", ylabel="d kappa/dt (1/tau)", ylim=(-1.5, 4), title="Latent flow")
        flow.legend(fontsize=6.5, loc="upper right")

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
        for axes, letter in zip(panels, "ABCDEF", strict=True):
            panel_label(axes, letter)
        return figure
