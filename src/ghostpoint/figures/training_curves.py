"""One curve of the history of a training over epochs, by what became of each network."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ghostpoint.figures.panels import POINTS, logarithmic, thinned
from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, LOST, styled


@styled()
def draw_on(axes: Axes, dataset: xr.Dataset, quantity: str, chance: float | None) -> Axes:
    """The curves of ``quantity`` of all networks in a panel that is there, and the level of chance
    as a dashed line.

    Parameters
    ----------
    axes : Axes
    dataset : Dataset over (network, epoch)
        With ``quantity``, and over network ``diverged``, ``no_learning_zone_entry`` and
        ``first_solved`` (-1 for never).
    quantity : str
    chance : float or None
    """
    happened = {name: dataset[name].values >= 0 for name in ("diverged", "no_learning_zone_entry", "first_solved")}
    fates = np.select(list(happened.values()), ["diverged", "lost", "solved"], "not solved")
    epoch, values = dataset["epoch"].values, dataset[quantity].transpose("network", "epoch").values
    for fate, colour in (("solved", GOOD), ("not solved", ACCENT), ("lost", LOST), ("diverged", GHOST)):
        rows = np.flatnonzero(fates == fate)
        lines = [np.column_stack(thinned(epoch, values[row], POINTS // 4)) for row in rows]
        if lines:
            axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.9, label=f"{fate} ({len(rows)})"))
    axes.autoscale()
    if chance is not None:
        axes.axhline(chance, color=INK, lw=0.8, ls="--", label="chance", zorder=1)
    axes.set(xlabel="epoch", ylabel=quantity.replace("_", " "), yscale="log" if logarithmic(values) else "linear")
    axes.legend(fontsize=7)
    return axes
