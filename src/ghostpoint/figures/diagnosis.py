"""The loss curves of diagnosed trainings with their phases, from the diagnosis' saved dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ghostpoint.checks import integer
from ghostpoint.errors import InputError
from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, LOST, MUTED, SEQUENCE, new_figure, styled

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "Loss (blue) and gradient norm (grey, logarithmic, right axis) of a training, with the phases that the diagnosis "
    "finds; the dashed line is the level of chance, the dotted lines are the beginning and end of the main drop. Of "
    "more than six runs: all losses by verdict above, and the phases of every run as a bar below."
)
#: panels of single runs at most; more runs are drawn together
MOST = 6
#: points of a curve that are drawn at most; of more, the smallest and largest in each stretch
POINTS = 2000
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
    if network is not None and not 0 <= integer("network", network) < count:
        raise InputError(f"network must be from 0 to {count - 1}, got {network}")
    if network is None and count > MOST:
        return _together(dataset)
    rows = list(range(count)) if network is None else [network]
    figure, panels = new_figure(1, len(rows), width=7.2, height=2.8)
    for axes, row in zip(panels, rows, strict=True):
        _panel(axes, dataset.isel(network=row), _name(dataset, row) if count > 1 else "")
    return figure


def _name(dataset: xr.Dataset, row: int) -> str:
    return f"{dataset['run'].values[row]}" if "run" in dataset.coords else f"network {row}"


def _panel(axes: Axes, one: xr.Dataset, name: str) -> None:
    epoch, loss = one["epoch"].values, one["loss"].values
    x, y = _thinned(epoch, loss)
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
            right.plot(*_thinned(epoch, np.where(norm > 0, norm, np.nan)), color=MUTED, lw=0.5, alpha=0.7)
            right.set(yscale="log", ylabel="gradient norm")
            axes.set_zorder(right.get_zorder() + 1)
            axes.patch.set_visible(False)
    which = f"{name}: " if name else ""
    axes.set(xlabel="epoch", ylabel="loss", title=f"{which}{one['verdict'].item()}")
    if _logarithmic(loss):
        axes.set_yscale("log")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, fontsize=7)  # "best" searches every point


def _together(dataset: xr.Dataset) -> Figure:
    """All losses in one panel, coloured by verdict, above one bar of phases for each run."""
    count = dataset.sizes["network"]
    height = 2.8 + float(np.clip(0.14 * count, 1.6, 9.0))
    figure = Figure(figsize=(7.2, height), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.8, height - 2.8])
    verdicts = [str(name) for name in dataset["verdict"].values]
    for label in dict.fromkeys(verdicts):
        rows = [row for row in range(count) if verdicts[row] == label]
        lines = []
        for row in rows:
            one = dataset.isel(network=row)
            lines.append(np.column_stack(_thinned(one["epoch"].values, one["loss"].values, POINTS // 4)))
        legend = f"{label} ({len(rows)})"
        above.add_collection(LineCollection(lines, colors=_COLOURS[label], linewidths=0.6, alpha=0.7, label=legend))
    above.autoscale()
    finite = dataset["loss"].values
    above.set(ylabel="loss", title=f"{count} runs", yscale="log" if _logarithmic(finite) else "linear")
    # a run that diverged must not hide the others
    good = finite[np.isfinite(finite)]
    if len(good) and not _logarithmic(finite):
        low, high = np.quantile(good, [0.0, 0.995])
        above.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    for row in range(count):
        for label, start, end in _phases(dataset.isel(network=row)):
            below.barh(row, end - start, left=start, height=0.9, color=_COLOURS[label], alpha=0.75, lw=0)
    below.set(xlabel="epoch", ylim=(count - 0.5, -0.5))
    if count <= 40:
        below.set_yticks(range(count), [_name(dataset, row) for row in range(count)], fontsize=7)
    else:
        below.set_ylabel("run")
    below.margins(x=0)
    above.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    return figure


def _phases(one: xr.Dataset) -> list[tuple[str, float, float]]:
    columns = (one[f"phase_{key}"].values for key in ("name", "start", "end"))
    return [(str(name), float(start), float(end)) for name, start, end in zip(*columns, strict=True) if name]


def _thinned(epoch: NDArray[Any], values: NDArray[Any], most: int = POINTS) -> tuple[NDArray[Any], NDArray[Any]]:
    """The finite points; of more than ``most``, the smallest and largest of each stretch, which keeps spikes."""
    known = np.isfinite(values) & np.isfinite(epoch)
    x, y = epoch[known], values[known]
    size = -(-len(x) // (most // 2))
    if size <= 2:
        return x, y
    kept = len(x) // size * size
    block = y[:kept].reshape(-1, size)
    base = np.arange(len(block)) * size
    at = np.sort(np.stack([base + block.argmin(axis=1), base + block.argmax(axis=1)], axis=1), axis=1).ravel()
    at = np.append(np.unique(at), len(x) - 1)
    return x[at], y[at]


def _logarithmic(loss: NDArray[Any]) -> bool:
    """Whether all losses are positive and span more than a factor of 100, leaving out the outermost hundredth."""
    finite = loss[np.isfinite(loss)]
    if not len(finite) or finite.min() <= 0:
        return False
    low, high = np.quantile(finite, [0.01, 0.99])
    return bool(high > 100 * low)
