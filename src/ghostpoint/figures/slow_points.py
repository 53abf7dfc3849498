"""The flow of one network with its slow points, from a saved portrait."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, INK, LOST, MUTED, new_figure, styled

CAPTION = (
    "The flow of one network: a curve for one latent; for two the direction of the flow and the lines on which one "
    "component vanishes; for more, trajectories in two principal axes. Filled: stable fixed points; open: unstable "
    "ones; diamonds: ghosts; crosses: undecided."
)


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """One panel, of the kind that the portrait has the arrays for."""
    figure, (axes,) = new_figure(1, width=5.2, height=4.2)
    draw_on(axes, dataset)
    return figure


@styled()
def draw_on(axes: Axes, dataset: xr.Dataset) -> Axes:
    """The portrait in a panel that is there."""
    if "path" in dataset:
        _paths(axes, dataset)
    elif "flow" not in dataset:
        axes.set(xlabel=dataset.attrs["xlabel"], ylabel=dataset.attrs["ylabel"])
    elif "kappa" in dataset.coords:
        axes.plot(dataset["kappa"], dataset["flow"], color=ACCENT)
        axes.axhline(0, color=INK, lw=0.8)
        axes.set(xlabel="latent kappa", ylabel="d kappa/dt (1/tau)")
    else:
        _map(axes, dataset)
    _points(axes, dataset)
    axes.set_title("Slow points")
    return axes


def _map(axes: Axes, dataset: xr.Dataset) -> None:
    x, y = dataset["kappa_1"].values, dataset["kappa_2"].values
    flow = dataset["flow"].transpose("kappa_2", "kappa_1", "component").values
    axes.streamplot(x, y, flow[..., 0], flow[..., 1], color=MUTED, density=1.1, linewidth=0.5, arrowsize=0.7)
    for component, colour in enumerate((ACCENT, LOST)):
        axes.contour(x, y, flow[..., component], levels=[0.0], colors=[colour], linewidths=1.2)
        axes.plot([], [], color=colour, label=f"d kappa_{component + 1}/dt = 0")
    axes.set(xlabel="latent kappa_1", ylabel="latent kappa_2", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))


def _paths(axes: Axes, dataset: xr.Dataset) -> None:
    for path in dataset["path"].values:
        axes.plot(path[:, 0], path[:, 1], color=MUTED, lw=0.5, alpha=0.7)
    shares = [f"{100 * share:.0f} %" for share in dataset["explained"].values]
    axes.set(xlabel=f"principal axis 1 ({shares[0]})", ylabel=f"principal axis 2 ({shares[1]})")


def _points(axes: Axes, dataset: xr.Dataset) -> None:
    kind, stable = dataset["kind"].values, dataset["stable"].values
    looks: Any = (
        ("stable fixed point", (kind == "fixed") & stable, {"marker": "o", "mfc": INK, "mec": INK}),
        ("unstable fixed point", (kind == "fixed") & ~stable, {"marker": "o", "mfc": "white", "mec": INK}),
        ("ghost", kind == "ghost", {"marker": "D", "mfc": GHOST, "mec": GHOST}),
        ("undecided", kind == "undecided", {"marker": "x", "mec": INK}),
    )
    for label, chosen, look in looks:
        if np.any(chosen):
            axes.plot(dataset["x"].values[chosen], dataset["y"].values[chosen], ls="", label=label, zorder=5, **look)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
