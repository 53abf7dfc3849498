"""What the figures of full_dcdt and full_dmts share: losses, answers and trajectories at several
epochs.
"""

from __future__ import annotations

from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostpoint.figures.panels import answers
from ghostpoint.figures.style import ACCENT, GHOST, INK, MUTED, SEQUENCE, Drawing, letters, styled

CAPTION = (
    "A: loss of every network; the one shown below is coloured, dashed are the epochs shown. B: its gradient norm. "
    "C: fixed points and ghosts that were found in the network shown. D: outputs (lines) and targets (dotted) of each "
    "trial at these epochs, without noise. E: the trials' states in two principal axes, from the dot; slow points of "
    "the flow without input are coloured by their speed (circles: fixed points, filled where stable; diamonds: "
    "ghosts; crosses: undecided)."
)
MARKERS = {"fixed": "o", "ghost": "D", "undecided": "x"}
SPEEDS = (1e-4, 1.0)  # limits of the colours; fixed points are at the lower one


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Loss and gradient above, then a row of outputs and a row of trajectories, a column an
    epoch.
    """
    figure = Figure(figsize=(9.6, 7.4), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 2))
    upper, lower = halves
    top = list(upper.subplots(1, 3))
    outputs, states = lower.subplots(2, dataset.sizes["shown"], sharex="row", sharey="row", squeeze=False)
    _histories(top, dataset)
    speeds = ScalarMappable(LogNorm(*SPEEDS, clip=True), "viridis")
    for place, epoch in enumerate(dataset["shown"].values):
        at = dataset.sel(shown=epoch, searched=epoch)
        answers(outputs[place], at, SEQUENCE, 1.1, 0.9)
        outputs[place].xaxis.set_major_locator(MaxNLocator(4))
        outputs[place].set_title(f"Epoch {epoch:,}")
        _trajectories(states[place], at, speeds)
    outputs[0].set_ylabel("output")
    first, second = (f"PC {n} ({100 * share:.0f} %)" for n, share in enumerate(dataset["explained"].values, 1))
    for axes in states:
        axes.set_xlabel(first)
    states[0].set_ylabel(second)
    states[0].set_title("States")
    lower.colorbar(speeds, ax=list(states), label="speed (1/tau)", aspect=15)
    letters((*top, outputs[0], states[0]))
    return figure


def _histories(panels: list[Axes], dataset: xr.Dataset) -> None:
    """Loss and gradient norm over epochs, the network shown on top of the others."""
    for axes, name, label in zip(
        panels[:2], ("loss", "gradient_norm"), ("loss (chance = 1)", "gradient norm"), strict=True
    ):
        for row in dataset[name].values[:0:-1]:
            axes.plot(dataset["epoch"] + 1, row, color=MUTED, lw=0.5, alpha=0.5)
        axes.plot(dataset["epoch"] + 1, dataset[name].values[0], color=ACCENT, lw=1.0)
        for epoch in dataset["shown"].values:
            axes.axvline(epoch + 1, color=INK, lw=0.6, ls="--")
        axes.set(xscale="log", yscale="log", xlabel="epoch + 1", ylabel=label)
    for name, colour, label in (("n_fixed", INK, "fixed points"), ("n_ghosts", GHOST, "ghosts")):
        panels[2].plot(dataset["searched"] + 1, dataset[name], color=colour, marker="o", ms=3, label=label)
    panels[2].set(xscale="log", xlabel="epoch + 1", ylabel="number", title="Slow points", ylim=(-0.2, None))
    panels[2].yaxis.set_major_locator(MaxNLocator(integer=True))
    panels[2].legend(loc="center left")
    panels[0].set_title("Loss" if dataset["first_learned"].values[0] >= 0 else "Loss: the network shown never learns")
    panels[1].set_title("Gradient")


def _trajectories(axes: Axes, at: xr.Dataset, speeds: ScalarMappable) -> None:
    """The trials' states and the slow points around them."""
    for colour, path in zip(SEQUENCE, at["path"].values, strict=False):
        axes.plot(*path.T, color=colour, lw=1.0, alpha=0.85)
        axes.plot(*path[0], "o", color=INK, ms=3.5)
    kinds, unstable = at["slow_point_kind"].values, at["slow_point_unstable"].values
    colours = speeds.to_rgba(at["slow_point_speed"].values)
    for position, kind, ways, colour in zip(at["slow_point"].values, kinds, unstable, colours, strict=True):
        if kind:
            hollow = kind == "fixed" and ways > 0
            axes.plot(*position, MARKERS[kind], ms=5, mec=colour, mfc="none" if hollow else colour, mew=1.2, zorder=3)


DCDT = DMTS = Drawing(draw, CAPTION)
