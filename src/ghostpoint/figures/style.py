"""One look for all figures: colours, sizes, and the helpers every figure needs."""

from __future__ import annotations

from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "GHOST",
    "GOOD",
    "INK",
    "LOST",
    "MUTED",
    "SEQUENCE",
    "new_figure",
    "panel_label",
    "say",
    "styled",
]

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


def styled() -> Any:
    """A context in which everything matplotlib makes has this project's look; draw inside it."""
    return rc_context(RC)


def new_figure(columns: int, rows: int = 1, width: float = 9.6, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A figure of ``rows`` by ``columns`` panels (inches), without pyplot's global state; axes in reading order."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    return figure, list(grid.ravel())


def say(axes: Axes, sentence: str) -> None:
    """A sentence in the middle of a panel that has nothing to show."""
    axes.text(
        0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=8, wrap=True
    )  # fmt: skip


def panel_label(axes: Axes, letter: str) -> None:
    """A bold letter at the upper left of a panel."""
    axes.text(-0.14, 1.06, letter, transform=axes.transAxes, fontweight="bold", fontsize=12, va="bottom", ha="right")
