"""The loss curve of a diagnosed training with its phases, from the diagnosis' saved dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.checks import integer
from ghostpoint.errors import InputError
from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, LOST, MUTED, new_figure, styled

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "Loss (blue) and gradient norm (grey, logarithmic, right axis) of a training, with the phases that the diagnosis "
    "finds; the dashed line is the level of chance."
)
#: panels of a stack at most
MOST = 6
_COLOURS = {
    "plateau at chance": MUTED,
    "gradual learning": ACCENT,
    "abrupt learning": GOOD,
    "oscillation near a minimum": GHOST,
    "no-learning zone": LOST,
    "divergence": LOST,
    "recovered": GOOD,
    "cannot tell": MUTED,
}


def draw(dataset: xr.Dataset, network: int | None = None) -> Figure:
    """One panel for ``network``, or for each of the first six of a stack.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    count = dataset.sizes["network"]
    if network is not None and not 0 <= integer("network", network) < count:
        raise InputError(f"network must be from 0 to {count - 1}, got {network}")
    rows = list(range(min(count, MOST))) if network is None else [network]
    with styled():
        figure, panels = new_figure(1, len(rows), width=7.2, height=2.8)
        for axes, row in zip(panels, rows, strict=True):
            _panel(axes, dataset.isel(network=row), row, count)
        return figure


def _panel(axes: Axes, one: xr.Dataset, row: int, count: int) -> None:
    epoch, loss = one["epoch"].values, one["loss"].values
    axes.plot(epoch, loss, color=ACCENT, lw=0.9, zorder=3)
    if "evidence_chance_loss" in one and np.isfinite(one["evidence_chance_loss"]):
        axes.axhline(float(one["evidence_chance_loss"]), color=INK, lw=0.8, ls="--", zorder=2)
    seen: set[str] = set()
    for name, start, end in zip(*(one[f"phase_{key}"].values for key in ("name", "start", "end")), strict=True):
        if name:
            label: Any = None if name in seen else name
            hatch = "//" if name in ("recovered", "divergence", "cannot tell") else None
            axes.axvspan(start, end, color=_COLOURS[str(name)], alpha=0.16, lw=0, hatch=hatch, label=label, zorder=1)
            seen.add(str(name))
    if "gradient_norm" in one:
        norm = one["gradient_norm"].values
        if (norm > 0).any():
            right = axes.twinx()
            right.plot(epoch, np.where(norm > 0, norm, np.nan), color=MUTED, lw=0.5, alpha=0.7)
            right.set(yscale="log", ylabel="gradient norm")
            axes.set_zorder(right.get_zorder() + 1)
            axes.patch.set_visible(False)
    which = f"network {row}: " if count > 1 else ""
    axes.set(xlabel="epoch", ylabel="loss", title=f"{which}{one['verdict'].item()}")
    finite = loss[np.isfinite(loss)]
    if len(finite) and finite.min() > 0 and finite.max() > 1e3 * finite.min():
        axes.set_yscale("log")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, fontsize=7)  # "best" searches every point
