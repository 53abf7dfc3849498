"""The loss curves of diagnosed trainings with their phases, from the diagnosis' saved dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ghostpoint.checks import integer
from ghostpoint.errors import InputError
from ghostpoint.figures.panels import POINTS, logarithmic, thinned
from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, LOST, MUTED, SEQUENCE, new_figure, styled

CAPTION = (
    "Loss (blue) and gradient norm (grey, logarithmic, right axis) of a training, with the phases that the diagnosis "
    "finds; the dashed line is the level of chance, the dotted lines are the beginning and end of the main drop. Of "
    "more than six runs: all losses by verdict above, and the phases of every run as a bar below."
)
#: panels of single runs at most; more runs are drawn together
MOST = 6
_COLOURS = {
    "plateau at chance": MUTED,
    "plateau at a constant answer": SEQUENCE[3],
    "plateau above chance": SEQUENCE[5],
    "gradual learning": ACCENT,
    "abrupt learning": GOOD,
    "staircase learning": GOOD,
    "converged": SEQUENCE[5],
    "oscillation near a minimum": GHOST,
    "no-learning zone": LOST,
    "rise of the loss": SEQUENCE[3],
    "restart of a schedule": GHOST,
    "divergence": LOST,
    "recovered": GOOD,
    "cannot tell": MUTED,
}
_HATCHED = ("recovered", "divergence", "cannot tell", "staircase learning", "rise of the loss")


@styled()
def draw(dataset: xr.Dataset, network: int | None = None) -> Figure:
    """One panel for ``network`` or for each of up to six runs; of more, all losses and a bar of phases for each run.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    count = dataset.sizes["network"]
    if network is None and count > MOST:
        return _together(dataset)
    rows = list(range(count)) if network is None else [_checked(network, count)]
    figure, panels = new_figure(1, len(rows), width=7.2, height=2.8)
    for axes, row in zip(panels, rows, strict=True):
        _panel(axes, dataset.isel(network=row), _name(dataset, row) if count > 1 else "")
    return figure


@styled()
def draw_on(axes: Axes, dataset: xr.Dataset, network: int | None = None) -> Axes:
    """One run with its phases in a panel that is there, or the losses of all, coloured by verdict.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    count = dataset.sizes["network"]
    if network is None and count > 1:
        _losses(axes, dataset)
        return axes
    row = _checked(0 if network is None else network, count)
    _panel(axes, dataset.isel(network=row), _name(dataset, row) if count > 1 else "")
    return axes


def _checked(network: int, count: int) -> int:
    if not 0 <= integer("network", network) < count:
        raise InputError(f"network must be from 0 to {count - 1}, got {network}")
    return network


def _name(dataset: xr.Dataset, row: int) -> str:
    return f"{dataset['run'].values[row]}" if "run" in dataset.coords else f"network {row}"


def _panel(axes: Axes, one: xr.Dataset, name: str) -> None:
    epoch, loss = one["epoch"].values, one["loss"].values
    x, y = thinned(epoch, loss)
    axes.plot(x, y, color=ACCENT, lw=0.9, zorder=3, marker="." if len(x) < 60 else "", ms=3)
    if "evidence_chance_loss" in one and np.isfinite(one["evidence_chance_loss"]):
        axes.axhline(float(one["evidence_chance_loss"]), color=INK, lw=0.8, ls="--", zorder=2)
    for key in ("drop_start", "drop_end", "entry_epoch", "rises_since", "last_restart", "first_epoch_not_finite"):
        if f"evidence_{key}" in one and np.isfinite(one[f"evidence_{key}"]):
            axes.axvline(float(one[f"evidence_{key}"]), color=INK, lw=0.7, ls=":", zorder=2)
    seen: set[str] = set()
    for label, start, end in _phases(one):
        shown: Any = None if label in seen else label
        hatch = "//" if label in _HATCHED else None
        axes.axvspan(start, end, color=_COLOURS[label], alpha=0.16, lw=0, hatch=hatch, label=shown, zorder=1)
        seen.add(label)
    if "validation_loss" in one and np.isfinite(one["validation_loss"]).any():
        known = np.isfinite(one["validation_loss"].values)
        axes.plot(epoch[known], one["validation_loss"].values[known], color=SEQUENCE[3], lw=0.8, zorder=3)
    if "gradient_norm" in one:
        norm = one["gradient_norm"].values
        if (norm > 0).any():
            right = axes.twinx()
            right.plot(*thinned(epoch, np.where(norm > 0, norm, np.nan)), color=MUTED, lw=0.5, alpha=0.7)
            right.set(yscale="log", ylabel="gradient norm")
            axes.set_zorder(right.get_zorder() + 1)
            axes.patch.set_visible(False)
    which = f"{name}: " if name else ""
    axes.set(xlabel="epoch", ylabel="loss", title=f"{which}{one['verdict'].item()}")
    if logarithmic(loss):
        axes.set_yscale("log")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, fontsize=7)  # "best" searches every point


def _together(dataset: xr.Dataset) -> Figure:
    """All losses in one panel, coloured by verdict, above one bar of phases for each run."""
    count = dataset.sizes["network"]
    height = 2.8 + float(np.clip(0.14 * count, 1.6, 9.0))
    figure = Figure(figsize=(7.2, height), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.8, height - 2.8])
    _losses(above, dataset)
    above.set_xlabel("")
    for row in range(count):
        for label, start, end in _phases(dataset.isel(network=row)):
            below.barh(row, end - start, left=start, height=0.9, color=_COLOURS[label], alpha=0.75, lw=0)
    below.set(xlabel="epoch", ylim=(count - 0.5, -0.5))
    if count <= 40:
        below.set_yticks(range(count), [_name(dataset, row) for row in range(count)], fontsize=7)
    else:
        below.set_ylabel("run")
    below.margins(x=0)
    return figure


def _losses(axes: Axes, dataset: xr.Dataset) -> None:
    """All losses, coloured by verdict."""
    count = dataset.sizes["network"]
    verdicts = [str(name) for name in dataset["verdict"].values]
    for label in dict.fromkeys(verdicts):
        rows = [row for row in range(count) if verdicts[row] == label]
        lines = []
        for row in rows:
            one = dataset.isel(network=row)
            lines.append(np.column_stack(thinned(one["epoch"].values, one["loss"].values, POINTS // 4)))
        legend = f"{label} ({len(rows)})"
        axes.add_collection(LineCollection(lines, colors=_COLOURS[label], linewidths=0.6, alpha=0.7, label=legend))
    axes.autoscale()
    finite = dataset["loss"].values
    axes.set(xlabel="epoch", ylabel="loss", title=f"{count} runs", yscale="log" if logarithmic(finite) else "linear")
    # a run that diverged must not hide the others
    good = finite[np.isfinite(finite)]
    if len(good) and not logarithmic(finite):
        low, high = np.quantile(good, [0.0, 0.995])
        axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)


def _phases(one: xr.Dataset) -> list[tuple[str, float, float]]:
    columns = (one[f"phase_{key}"].values for key in ("name", "start", "end"))
    return [(str(name), float(start), float(end)) for name, start, end in zip(*columns, strict=True) if name]
