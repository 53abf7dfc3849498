"""What prevents the collapse: fates, losses and epochs under each remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, MUTED, SEQUENCE, Drawing, letters, new_figure, styled

#: treatments with a colour of their own, in C to F; whichever the dataset has
SHOWN = {
    "plain": MUTED,
    "hazard limit": GHOST,
    "clip 0.1": SEQUENCE[3],
    "trust region": ACCENT,
    "trust region, guarded": GOOD,
    "trust region, undivided": INK,
    "guard": SEQUENCE[5],
}
SOLVED = 0.05


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Fates over rates and treatments, losses, epochs, and the other problems."""
    problems = list(dict.fromkeys(dataset["problem"].values.tolist()))
    main = dataset.isel(case=dataset["problem"].values == problems[0])
    treatments = list(dict.fromkeys(main["treatment"].values.tolist()))
    figure, panels = new_figure(2, 3, height=0.9 + max(2.2, 0.17 * len(treatments)))
    for axes, optimizer, name in zip(panels, ("sgd", "adam"), ("plain gradient descent", "Adam"), strict=False):
        _fates(axes, main.isel(case=main["optimizer"].values == optimizer), treatments, f"Rank one, {name}")
    _losses(panels[2], main)
    _epochs(panels[3], main)
    _others(panels[4], dataset, problems[1:], "solved")
    _others(panels[5], dataset, problems[1:], "lost")
    letters(panels)
    return figure


def _solved(dataset: xr.Dataset) -> Any:
    """Networks of each case that solve the task; those that a case does not have are not below
    anything.
    """
    return (dataset["final_loss"] < SOLVED).sum("network").values


def _fates(axes: Axes, dataset: xr.Dataset, treatments: list[str], title: str) -> None:
    """A cell for each treatment and rate."""
    rates = np.unique(dataset["learning_rate"].values)
    grid, text = np.full((len(treatments), len(rates)), np.nan), {}
    lost, learned = (dataset[name].sum("network").values for name in ("lost", "learned"))
    cells = zip(
        dataset["treatment"].values, dataset["learning_rate"].values, dataset["networks"].values, _solved(dataset),
        lost, learned, strict=True,
    )  # fmt: skip
    for treatment, rate, networks, solved, gone, of in cells:
        row, column = treatments.index(treatment), int(np.searchsorted(rates, rate))
        grid[row, column] = solved / networks
        text[row, column] = f"{100 * solved / networks:.0f}/{100 * gone / max(of, 1):.0f}"
    axes.imshow(grid, cmap="RdYlGn", vmin=0, vmax=1, aspect="auto", alpha=0.75)
    for (row, column), words in text.items():
        axes.text(column, row, words, ha="center", va="center", fontsize=5.5, color=INK)
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates], fontsize=7)
    axes.set_yticks(range(len(treatments)), treatments, fontsize=6.5)
    axes.set(xlabel="learning rate", ylabel="treatment", title=title)


def _lines(dataset: xr.Dataset) -> list[tuple[xr.Dataset, str, str, str, str]]:
    """What C and D show: cases of one treatment and optimiser by rate, with label, colour, line
    style and marker.
    """
    found = []
    names = list(dict.fromkeys(dataset["treatment"].values.tolist()))
    shown = [(name, colour) for name, colour in SHOWN.items() if name in names]
    shown += [(name, SHOWN["clip 0.1"]) for name in names if name.startswith("clip ") and name != "clip 0.1"]
    for optimizer, line, marker in (("sgd", "-", "o"), ("adam", "--", "s")):
        for name, colour in shown:
            mine = dataset.isel(
                case=(dataset["optimizer"].values == optimizer) & (dataset["treatment"].values == name)
            ).sortby("learning_rate")
            if mine.sizes["case"]:
                found.append((mine, name, colour, line, marker))
    return found


def _losses(axes: Axes, dataset: xr.Dataset) -> None:
    for mine, name, colour, line, marker in _lines(dataset):
        other = name.startswith("clip ") and name != "clip 0.1"
        axes.plot(
            mine["learning_rate"], mine["final_loss"].median("network"), color=colour, ls=line, marker=marker, ms=2.5,
            lw=0.5 if other else 1.2, label=None if other or line == "--" else name,
        )  # fmt: skip
    axes.axhline(SOLVED, color=INK, lw=0.6, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss (chance = 1)", title="Final loss, median")
    axes.legend(fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)


def _epochs(axes: Axes, dataset: xr.Dataset) -> None:
    for mine, name, colour, line, marker in _lines(dataset):
        first = mine["first_solved"].values
        own = np.arange(mine.sizes["network"]) < mine["networks"].values[:, None]
        after = np.where(own, np.where(first < 0, np.inf, first), np.nan)
        middle = np.nanmedian(after, axis=1)
        other = name.startswith("clip ") and name != "clip 0.1"
        axes.plot(
            mine["learning_rate"], np.where(np.isfinite(middle), middle, np.nan), color=colour, ls=line,
            marker=marker, ms=2.5, lw=0.5 if other else 1.2,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="epoch", title="First solved, median")


def _others(axes: Axes, dataset: xr.Dataset, problems: list[str], what: str) -> None:
    """Bars for each problem and treatment."""
    names = dataset["treatment"].values[np.isin(dataset["problem"].values, problems)].tolist()
    shown = [name for name in SHOWN if name in names]
    height = 0.8 / max(len(shown), 1)
    for place, name in enumerate(shown):
        at, width = [], []
        for row, problem in enumerate(problems):
            mine = dataset.isel(case=(dataset["problem"].values == problem) & (dataset["treatment"].values == name))
            of = int(mine["networks"].sum() if what == "solved" else mine["learned"].sum())
            some = int(_solved(mine).sum() if what == "solved" else mine["lost"].sum())
            if mine.sizes["case"]:
                at.append(row + (place + 0.5) * height - 0.4)
                width.append(some / max(of, 1))
        axes.barh(at, width, 0.9 * height, color=SHOWN[name], label=name)
    axes.set_yticks(range(len(problems)), problems, fontsize=7)
    axes.set(xlim=(0, 1), xlabel=f"share {what}", ylabel="problem", title=f"Other problems: {what}")
    axes.invert_yaxis()
    if what == "lost":
        axes.set_xlabel("share lost of those that learned")
        axes.legend(fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


REMEDIES = Drawing(
    draw,
    "A, B: percentage of the rank-one networks that solve the task, and after the slash of those that learn and are "
    "lost, for each treatment and rate (green: all solve it; the colour is of the first number; empty: not tried). C: "
    "median final loss, solid for plain gradient descent and dashed for Adam; clipping is shown at all thresholds. D: "
    "median of the first epoch below 0.05 of chance, where half of the networks get there. E, F: the other problems, "
    "over all rates of both optimisers: share solved, and share lost of those that learned.",
)
