"""Article, Fig. 6B: networks of rank 1 to 100 over learning rates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.panels import draw_spread
from ghostpoint.figures.style import ACCENT, INK, MUTED, Drawing, letters, new_figure, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Networks that learned, their losses, and how soon."""
    score = 0.01
    figure, panels = new_figure(2, 2, height=3.3)
    learned = dataset["score"] < score
    _grid(figure, panels[0], learned.sum("seed"), dataset.sizes["seed"])
    _totals(panels[1], dataset, score)
    _losses(panels[2], dataset, score)
    _epochs(panels[3], dataset)
    letters(panels)
    return figure


def _grid(figure: Figure, axes: Axes, count: xr.DataArray, most: int) -> None:
    """Counts over rates and ranks, written into their cells."""
    image = axes.imshow(count.values, cmap="Greens", vmin=0, vmax=most, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(count.values):
        axes.text(column, row, str(value), ha="center", va="center", fontsize=7, color="w" if value > most / 2 else INK)
    rates = [f"{rate:.2g}" for rate in count["learning_rate"].values]
    axes.set_xticks(range(len(rates)), rates, rotation=45, fontsize=7)
    axes.set_yticks(range(count.sizes["rank"]), [str(rank) for rank in count["rank"].values])
    axes.set(xlabel="learning rate", ylabel="rank", title="Networks that learned")
    figure.colorbar(image, ax=axes, label=f"of {most}", aspect=15)


def _totals(axes: Axes, dataset: xr.Dataset, score: float) -> None:
    place = np.arange(dataset.sizes["rank"])
    rules = (("score", ACCENT, "final loss", -0.2), ("best_score", MUTED, "lowest at the end", 0.2))
    for name, colour, label, shift in rules:
        axes.bar(place + shift, (dataset[name] < score).sum(("learning_rate", "seed")), 0.38, color=colour, label=label)
    axes.set_xticks(place, [str(rank) for rank in dataset["rank"].values])
    total = dataset.sizes["learning_rate"] * dataset.sizes["seed"]
    axes.set(xlabel="rank", ylabel=f"networks (of {total})", title="Over all rates")
    axes.legend(loc="upper left")


def _losses(axes: Axes, dataset: xr.Dataset, score: float) -> None:
    """Final over first loss over rates, a line a rank."""
    shades = colormaps["viridis_r"](np.linspace(0.05, 1, dataset.sizes["rank"]))
    for colour, (rank, values) in zip(shades, dataset["score"].groupby("rank"), strict=True):
        at = values.squeeze("rank")
        draw_spread(axes, at, color=colour, elinewidth=0.5, ms=2.5, label=f"{rank}")
    axes.axhline(score, color=INK, lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="final loss / first", title="Final loss")
    axes.set_ylim(top=500)  # room for the legend: a score is hardly above 1
    axes.legend(title="rank", fontsize=6.5, title_fontsize=7, ncols=5, loc="upper center")


def _epochs(axes: Axes, dataset: xr.Dataset) -> None:
    """First epochs below a quarter of chance over ranks, a colour a rate."""
    first = dataset["first_learned"].where(dataset["first_learned"] > 0)
    shades = colormaps["plasma"](np.linspace(0, 0.85, dataset.sizes["learning_rate"]))
    ranks = dataset["rank"].values
    for place, (rate, colour) in enumerate(zip(dataset["learning_rate"].values, shades, strict=True)):
        at = first.isel(learning_rate=place)
        axes.plot(ranks, at.median("seed"), color=colour, lw=0.9, label=f"{rate:.2g}")
        axes.plot(np.repeat(ranks, at.sizes["seed"]), at.values.ravel(), ".", color=colour, ms=3)
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="first epoch", title="Epochs until learned")
    axes.set_xlim(ranks[0] / 1.3, ranks[-1] * 1.3)
    axes.set_xticks(ranks, [str(rank) for rank in ranks], fontsize=7)
    axes.minorticks_off()
    axes.set_ylim(0.7, 100 * max(10.0, float(dataset["first_learned"].max())))  # room for the legend
    axes.legend(title="rate", fontsize=6, title_fontsize=7, ncols=5, loc="upper center")


RANKS = Drawing(
    draw,
    "A: how many networks of each rank have learned at each rate: their final loss is below 0.01 (dashed in C) of the "
    "first. B: learned networks of each rank over all rates, by the final loss and by the lowest of the last epochs. "
    "C: final over first loss, median and range over the seeds, darker for higher ranks. D: the epoch at which each "
    "network is first below a quarter of the chance loss, a colour a rate, lines through the medians of those that "
    "get there.",
)
