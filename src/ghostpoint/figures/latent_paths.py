"""What the figures of latent_dcdt and latent_dmts share: losses, fixed points over epochs, and flow
maps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostpoint.figures.style import ACCENT, GHOST, GOOD, INK, LOST, MUTED, SEQUENCE, Drawing, letters, say, styled

CAPTION = (
    "A: loss of every network (running medians); those in colour learn, the one shown below is blue, dashed are the "
    "epochs shown. B: fixed points of its latent flow without input, how many of them are stable, and ghosts (minima "
    "of the speed), with its drop shaded. C: the speed of the slowest ghost of each network that was followed. D: the "
    "flow without input in the plane of the latents at the epochs shown: speed (colour), direction (arrows), fixed "
    "points (circles: filled stable, half filled saddle, open unstable) and ghosts (diamonds). E: what is read out "
    "there (shades: {levels}) and the latents of some trials from their start (dots), without noise; a colour for each "
    "answer that is asked for. F: the outputs in these trials, and targets (dotted)."
)
#: of what is read out or asked for, by its level
SHADES = {-1.0: "#f6d5cf", 0.0: "#eef1f4", 1.0: "#d3ebdd"}
LINES = {-1.0: LOST, 0.0: ACCENT, 1.0: GOOD}
SPEED_MAP = "viridis_r"
ARROWS = 12  # at most, along an axis


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Histories above; below, a column for each epoch shown: flow map, trials and outputs."""
    columns = dataset.sizes["shown"]
    figure = Figure(figsize=(9.6, 9.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 2.9))
    top = list(parts[0].subplots(1, 3))
    rows = parts[1].subplots(3, columns, squeeze=False)
    _losses(top[0], dataset)
    _counts(top[1:], dataset)
    speed = dataset["speed"].values
    limits = LogNorm(max(speed.min(), speed.max() / 1e3), speed.max(), clip=True)
    for place, epoch in enumerate(dataset["shown"].values):
        at = dataset.isel(shown=place)
        _flow(rows[0, place], at, limits)
        _trials(rows[1, place], at)
        _outputs(rows[2, place], at)
        rows[0, place].set_title(f"Epoch {epoch:,}")
    rows[1, 0].set_title("Trials")
    rows[2, 0].set_title("Outputs")
    for axes in rows[:2, 0]:
        axes.set_ylabel("latent 2")
    rows[2, 0].set_ylabel("output")
    parts[1].colorbar(ScalarMappable(limits, SPEED_MAP), ax=list(rows[0]), label="speed |dz/dt| (1/tau)", aspect=12)
    letters((*top, *rows[:, 0]))
    return figure


def _losses(axes: Axes, dataset: xr.Dataset) -> None:
    """Loss over epochs, the network shown on top."""
    learned = dataset["first_learned"].values >= 0
    shown = dataset["seed"].values == dataset["followed"].values[0]
    for chosen, colour, width in ((~learned, MUTED, 0.4), (learned & ~shown, GOOD, 0.6), (shown, ACCENT, 1.0)):
        for row in dataset["median_loss"].values[chosen]:
            axes.plot(dataset["epoch"] + 1, row, color=colour, lw=width)
    for epoch in dataset["shown"].values:
        axes.axvline(epoch + 1, color=INK, lw=0.6, ls="--")
    title = "Loss" if learned.any() else "Loss: no network learns"
    axes.set(xscale="log", yscale="log", xlabel="epoch + 1", ylabel="loss (chance = 1)", title=title)


def _counts(panels: list[Axes], dataset: xr.Dataset) -> None:
    """Fixed points and ghosts over the kept epochs, and the speed of the slowest ghost; the drop
    shaded.
    """
    first = dataset["followed"].values[0]
    at, of_seed = dataset.sel(followed=first), dataset.sel(seed=first)
    x = dataset["kept"] + 1
    lines = (
        ("n_fixed", INK, "fixed points", "-"),
        ("n_stable", GOOD, "stable", "--"),
        ("n_ghosts", GHOST, "ghosts", "-"),
    )
    for name, colour, label, style in lines:
        panels[0].step(x, at[name], where="mid", color=colour, ls=style, label=label)
    panels[0].set(ylabel="number", title=f"Slow points, seed {first}", ylim=(-0.2, None))
    panels[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].legend(loc="upper left", fontsize=7)
    for seed, colour in zip(dataset["followed"].values, (ACCENT, *SEQUENCE[1:]), strict=False):
        slowest = dataset["slowest_ghost"].sel(followed=seed)
        panels[1].plot(x, slowest, color=colour, marker="o", ms=2.5, lw=0.8, label=f"seed {seed}")
    panels[1].set(ylabel="least |dz/dt| (1/tau)", title="Slowest ghost", yscale="log")
    panels[1].legend(loc="lower left", fontsize=7)
    for axes in panels:
        if of_seed["first_learned"] >= 0:
            axes.axvspan(
                float(of_seed["drop_begins"]) + 1, float(of_seed["first_learned"]) + 1, color=ACCENT, alpha=0.15, lw=0
            )
        axes.set(xscale="log", xlabel="epoch + 1", xlim=(1, float(x.max())))
    if not (dataset["n_ghosts"].values > 0).any():
        say(panels[1], "No ghost was found.")


def _plane(axes: Axes, at: xr.Dataset) -> tuple[Any, Any]:
    """The two coordinates of a map, which are its limits too."""
    x, y = at["grid"].values.T
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel="latent 1")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    return x, y


def _flow(axes: Axes, at: xr.Dataset, limits: LogNorm) -> None:
    """Speed and direction of the flow, and what is slow in it."""
    x, y = _plane(axes, at)
    axes.pcolormesh(x, y, at["speed"].values, norm=limits, cmap=SPEED_MAP, shading="nearest", rasterized=True)
    some = slice(None, None, -(-len(x) // ARROWS))
    # the speed is that of the orthonormal latents, not the length of these arrows
    flow = at["flow"].values[some, some]
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    u, v = np.moveaxis(flow / np.where(length > 0, length, 1.0), -1, 0)
    axes.quiver(x[some], y[some], u, v, color="w", angles="xy", scale=22, width=0.006, alpha=0.8)
    for (first, second), unstable in zip(at["fixed_point"].values, at["unstable"].values, strict=True):
        if unstable >= 0:
            fill = ("full", "left", "none")[min(unstable, 2)]
            axes.plot(
                first, second, "o", ms=6.5, fillstyle=fill, color=INK, mec="w" if unstable == 0 else INK, mew=0.8,
                markerfacecoloralt="w",
            )  # fmt: skip
    for first, second in at["ghost"].values:
        if np.isfinite(first):
            axes.plot(first, second, "D", ms=5, mfc=GHOST, mec="w", mew=0.8)


def _trials(axes: Axes, at: xr.Dataset) -> None:
    """What is read out in the plane, and the trials' ways through it."""
    x, y = _plane(axes, at)
    levels = at.attrs["levels"]
    edges = np.arange(len(levels) + 1) - 0.5
    axes.contourf(x, y, at["level"].values, levels=edges, colors=[SHADES[level] for level in levels])
    for path, target in zip(at["path"].values, at["targets"].values, strict=True):
        axes.plot(*path.T, color=LINES[target[-1]], lw=0.6, alpha=0.8)
        axes.plot(*path[0], "o", color=INK, ms=1.8)


def _outputs(axes: Axes, at: xr.Dataset) -> None:
    """Outputs, with the targets over them, a colour for each answer that is asked for."""
    time = at["step"].values * at.attrs["dt"]
    for output, target in zip(at["outputs"].values, at["targets"].values, strict=True):
        axes.plot(time, output, color=LINES[target[-1]], lw=0.6, alpha=0.8)
        axes.plot(time, target, color=LINES[target[-1]], lw=0.8, ls=":")
    axes.set(xlabel="time (ms)", ylim=(min(at.attrs["levels"]) - 0.08, 1.08))
    axes.xaxis.set_major_locator(MaxNLocator(4))


DCDT = Drawing(draw, CAPTION.format(levels="red -1, grey 0, green +1"))
DMTS = Drawing(draw, CAPTION.format(levels="grey no match, green match"))
