"""The loss curves of diagnosed trainings with their phases, from the diagnosis' saved dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ghostpoint.checks import integer
from ghostpoint.errors import InputError
from ghostpoint.figures.panels import POINTS, logarithmic, thinned
from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, LOST, MUTED, SEQUENCE, new_figure, styled

CAPTION = (
    "Loss (blue) and gradient norm (grey, logarithmic, right axis) of a training, with the phases that the diagnosis "
    "finds; the dashed line is the level of chance, the dotted lines are events, such as the beginning and end of the "
    "main drop. Of more than six runs: the losses in one panel for each verdict, and the phases of every run as a row, "
    "ordered by verdict where they are more than forty."
)
#: panels of single runs at most; more runs are drawn together
MOST = 6
#: rows of phases that are named at most
NAMED = 40
#: cells of the image of phases along the epochs
CELLS = 1200
#: least range of the loss axis as a share of chance: noise on a plateau must not fill the panel
RANGE = 0.3
_COLOURS = {
    "plateau at chance": MUTED,
    "plateau at a constant answer": SEQUENCE[3],
    "plateau above chance": "#a9c7c8",
    "gradual learning": ACCENT,
    "abrupt learning": GOOD,
    "staircase learning": "#86c49a",
    "converged": SEQUENCE[5],
    "oscillation near a minimum": GHOST,
    "no-learning zone": LOST,
    "rise of the loss": "#e3964a",
    "restart of a schedule": "#cda6e6",
    "divergence": "#6e1423",
    "recovered": "#a3b83a",
    "cannot tell": "#cfd4da",
}
_EVENTS = ("drop_start", "drop_end", "entry_epoch", "rises_since", "last_restart", "first_epoch_not_finite")


@styled()
def draw(dataset: xr.Dataset, network: int | None = None) -> Figure:
    """One panel for ``network`` or for each of up to six runs; of more, losses by verdict and
    phases by run.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    count = dataset.sizes["network"]
    if network is None and count > MOST:
        return _together(dataset)
    rows = list(range(count)) if network is None else [_checked(network, count)]
    figure, panels = new_figure(1, len(rows), width=7.2, height=2.8 if len(rows) < 3 else 2.3)
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
    chance = float(one["evidence_chance_loss"]) if "evidence_chance_loss" in one else np.nan
    if np.isfinite(chance):
        axes.axhline(chance, color=INK, lw=0.8, ls="--", zorder=2, label="chance")
    for key in _EVENTS:
        if f"evidence_{key}" in one and np.isfinite(one[f"evidence_{key}"]):
            axes.axvline(float(one[f"evidence_{key}"]), color=INK, lw=0.7, ls=":", zorder=2)
    seen: set[str] = set()
    for label, start, end in _phases(one):
        shown: Any = None if label in seen else label
        axes.axvspan(start, end, color=_COLOURS[label], alpha=0.2, lw=0, label=shown, zorder=1)
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
    sure = np.floor(100 * float(one["verdict_confidence"])) / 100  # 0.997 is not 1
    axes.set(xlabel="epoch", ylabel="loss", title=f"{which}{one['verdict'].item()} (confidence {sure:.2f})")
    axes.margins(x=0)
    if logarithmic(loss):
        axes.set_yscale("log")
    elif np.isfinite(chance) and len(y) and np.ptp(y) < RANGE * abs(chance):
        middle = 0.5 * float(y.min() + y.max())
        axes.set_ylim(middle - 0.5 * RANGE * abs(chance), middle + 0.5 * RANGE * abs(chance))
    # below the label of the axis; "best" would search every point
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=4.8, ncols=4, fontsize=7)


def _together(dataset: xr.Dataset) -> Figure:
    """A panel of losses for each verdict, the most frequent first, above one row of phases for each
    run."""
    count = dataset.sizes["network"]
    verdicts = [str(name) for name in dataset["verdict"].values]
    kinds = sorted(dict.fromkeys(verdicts), key=lambda name: -verdicts.count(name))
    across = min(len(kinds), 3)
    down = -(-len(kinds) // across)
    below = float(np.clip(0.14 * count, 1.6, 5.6))
    figure = Figure(figsize=(9.0, 1.9 * down + below + 0.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.9 * down, below + 0.6])
    upper, lower = parts
    panels = upper.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    wide = logarithmic(dataset["loss"].values)
    for number, axes in enumerate(panels.ravel()):
        if number >= len(kinds):
            axes.set_visible(False)
            continue
        rows = [row for row in range(count) if verdicts[row] == kinds[number]]
        lines = [np.column_stack(thinned(dataset["epoch"].values if dataset["epoch"].ndim == 1 else
                                          dataset["epoch"].values[row], dataset["loss"].values[row], POINTS // 4))
                 for row in rows]  # fmt: skip
        alpha = float(np.clip(6.0 / len(rows), 0.15, 0.8))
        axes.add_collection(LineCollection(lines, colors=_COLOURS[kinds[number]], linewidths=0.6, alpha=alpha))
        axes.autoscale()
        axes.set_title(f"{kinds[number]} ({len(rows)})", fontsize=8)
        axes.margins(x=0)
    panels[0, 0].set(yscale="log" if wide else "linear")
    good = dataset["loss"].values[np.isfinite(dataset["loss"].values)]
    if len(good) and not wide:  # a run that diverged must not hide the others
        low, high = np.quantile(good, [0.0, 0.995])
        panels[0, 0].set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    upper.supylabel("loss", fontsize=9)
    _rows_of_phases(lower.subplots(), lower, dataset, verdicts, kinds)
    return figure


def _rows_of_phases(axes: Axes, figure: Any, dataset: xr.Dataset, verdicts: list[str], kinds: list[str]) -> None:
    """The phases of every run over its epochs as an image, so that 400 rows do not fall between the
    pixels."""
    count = len(verdicts)
    phases = [_phases(dataset.isel(network=row)) for row in range(count)]
    ends = [part[-1][2] if part else 0.0 for part in phases]
    order = list(range(count))
    if count > NAMED:  # by verdict, then by the beginning of the last phase
        order.sort(key=lambda row: (kinds.index(verdicts[row]), phases[row][-1][1] if phases[row] else 0.0))
    first = min((part[0][1] for part in phases if part), default=0.0)
    last = max([first + 1e-9, *ends])
    names = list(_COLOURS)
    image = np.full((count, CELLS), np.nan)
    for place, row in enumerate(order):
        for label, start, end in sorted(phases[row], key=lambda phase: phase[1] - phase[2]):  # a brief one stays seen
            begin, stop = (int((at - first) / (last - first) * CELLS) for at in (start, end))
            image[place, min(begin, CELLS - 1) : max(stop, begin + 1)] = names.index(label)
    axes.imshow(
        image, cmap=ListedColormap(list(_COLOURS.values())), vmin=-0.5, vmax=len(names) - 0.5, aspect="auto",
        interpolation="nearest", extent=(first, last, count - 0.5, -0.5), alpha=0.85,
    )  # fmt: skip
    axes.set(xlabel="epoch")
    if count <= NAMED:
        axes.set_yticks(range(count), [_name(dataset, row) for row in order], fontsize=7)
    else:
        counts = [verdicts.count(kind) for kind in kinds]
        edges = np.concatenate([[0], np.cumsum(counts)])
        for edge in edges[1:-1]:
            axes.axhline(edge - 0.5, color="white", lw=1.0)
        large = [i for i, many in enumerate(counts) if many >= 0.03 * count]
        axes.set_yticks([0.5 * (edges[i] + edges[i + 1]) - 0.5 for i in large], [kinds[i] for i in large], fontsize=7)
    shown = [label for label in names if any(label == part[0] for each in phases for part in each)]
    handles = [Patch(color=_COLOURS[label], alpha=0.85, label=label) for label in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=7)


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
