"""Article, text on Fig. 7: rates and outputs of a network around the collapse of its learning."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.panels import answers
from ghostpoint.figures.style import ACCENT, INK, LOST, SEQUENCE, Drawing, letters, new_figure, say, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Histories and shares above, outputs and rates before, after and at the end below."""
    figure, panels = new_figure(3, 3, height=2.6)
    lost = dataset.sizes["lost"] > 0
    for axes, name, label in zip(
        panels, ("window_loss", "window_norm"), ("loss (chance = 1)", "gradient norm"), strict=False
    ):
        axes.plot(dataset["lag"], dataset[name], color=ACCENT, lw=0.9)
        axes.axvline(0, color=INK, lw=0.8, ls="--")
        axes.set(yscale="log" if lost else "linear", xlabel="epochs from the last with the task", ylabel=label)
    panels[0].set_title(f"Seed {dataset.attrs['shown_seed']}: loss")
    panels[1].set_title("Gradient")
    if not lost:
        panels[0].set_title("No network is lost")
        for axes in panels:
            say(axes, "No network is lost.")
    moments = np.arange(dataset.sizes["moment"])
    for name, colour, label in (("saturated_units", LOST, "units"), ("saturated_outputs", ACCENT, "outputs")):
        for values in dataset[name].values.T:
            panels[2].plot(moments, values, color=colour, lw=0.6, alpha=0.4)
        if lost:
            panels[2].plot(moments, dataset[name].values[:, 0], color=colour, lw=1.8, marker="o", ms=3, label=label)
    panels[2].set_xticks(moments, list(dataset["moment"].values))
    panels[2].set(ylabel="share saturated", ylim=(-0.03, 1.03), title="Saturation")
    if lost:
        panels[2].legend(loc="center left")

    time = dataset["step"].values * dataset.attrs["dt"]
    for place, (moment, epoch) in enumerate(zip(dataset["moment"].values, dataset["moment_epoch"].values, strict=True)):
        above, below = panels[3 + place], panels[6 + place]
        answers(above, dataset.isel(moment=place), SEQUENCE, 1.2, 0.9)
        above.set(ylabel="output", ylim=(-0.05, 1.05))
        above.set_title(f"{str(moment).capitalize()}: epoch {epoch:,}" if lost else str(moment).capitalize())
        image = below.pcolormesh(
            time, np.arange(dataset.sizes["unit"]), dataset["rates"].values[place, 0].T,
            cmap="RdBu_r", vmin=-1, vmax=1, shading="nearest", rasterized=True,
        )  # fmt: skip
        below.set(xlabel="time (ms)", ylabel="unit", title="Rates")
    figure.colorbar(image, ax=panels[6:], label="rate", aspect=12)
    letters(panels)
    return figure


SATURATION_DMTS = Drawing(
    draw,
    "One lost network: A loss and B gradient norm around the last epoch with the task (dashed). C: shares of saturated "
    "units and outputs of every lost network in that epoch, some epochs later and at the end (thick: the network "
    "shown). D, E, F: its outputs (lines) and targets (dotted) in the four trials at these epochs; G, H, I: its rates "
    "in the first trial, units in the order of their mean rate before the collapse.",
)
