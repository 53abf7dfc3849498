"""One look for all figures: colours, sizes, and the helpers every figure needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import xarray as xr
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK = "#1f2933"
MUTED = "#7b8794"
ACCENT = "#2563a8"  # what was measured
GHOST = "#8a4fbf"  # ghosts and theory
LOST = "#c2412d"  # the no-learning zone, lost networks
GOOD = "#2f8f5b"  # learned, recovered
SEQUENCE = ("#2563a8", "#c2412d", "#2f8f5b", "#b7791f", "#8a4fbf", "#0f8b8d", "#7b8794")

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "ghostpoint",
}


@dataclass(frozen=True)
class Drawing:
    """The figure of an experiment: ``draw(dataset)``, which computes nothing, and the caption under
    it.
    """

    draw: Callable[[xr.Dataset], Figure]
    caption: str


def styled() -> Any:
    """A context, and decorator, within which everything matplotlib makes has this project's
    look.
    """
    return rc_context(RC)


def new_figure(columns: int, rows: int = 1, width: float = 9.6, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A figure of ``rows`` by ``columns`` panels (inches), without pyplot's global state; axes in
    reading order.
    """
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    return figure, list(grid.ravel())


def axes_or_new(axes: Axes | None) -> Axes:
    """The panel given, or one of a new figure of pyplot, so that notebooks and ``pyplot.show()``
    show it.
    """
    if axes is not None:
        return axes
    from matplotlib import pyplot

    with styled():
        return pyplot.subplots(figsize=(5.2, 3.6), layout="constrained")[1]


def say(axes: Axes, sentence: str) -> None:
    """A sentence in the middle of a panel that has nothing to show."""
    axes.text(
        0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=8, wrap=True
    )  # fmt: skip


def few_ticks(*axes: Axis) -> None:
    """Label 1, 2 and 5 of each decade on logarithmic axes of about one decade, and 1 and 3 of wider
    ones; matplotlib labels most digits.
    """
    for axis in axes:
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 20 * low else (1.0, 3.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value:.0e}"))
        axis.set_minor_formatter(NullFormatter())


def letters(panels: Iterable[Axes]) -> None:
    """A bold letter at the upper left of each panel, from A on."""
    for axes, letter in zip(panels, ascii_uppercase, strict=False):
        axes.text(
            -0.14, 1.06, letter, transform=axes.transAxes, fontweight="bold", fontsize=12, va="bottom", ha="right"
        )  # fmt: skip
