"""Article, Fig. 2B-C: r and the loss over epochs, below and above the critical learning rate."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, LOST, MUTED, Drawing, letters, new_figure, say, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """The figure of the saved results of ``toy_descent``."""
    slow, fast = dataset.isel(learning_rate=0), dataset.isel(learning_rate=-1)
    figure, (path, loss, zoom) = new_figure(3, width=11.4, height=3.4)
    letters((path, loss, zoom))
    for axes in (path, loss, zoom):
        axes.set_xlabel("epoch")
    for one, colour in ((fast, LOST), (slow, ACCENT)):
        label = f"rate {float(one.learning_rate):.0e}"
        path.plot(dataset.epoch, one.u, color=colour, label=label)
        loss.plot(dataset.epoch, one.loss, color=colour, label=label)
    last = float(dataset.epoch[-1])
    path.set(title="Parameter", ylabel=r"$r\,/\,r^*$", yscale="log", ylim=(0.17, 14), xlim=(0, last))
    path.set_yticks([0.25, 1, 10], ["1/4", "1", "10"])
    path.axhline(1, color=GHOST, lw=0.9, ls=":")
    path.axhline(0.25, color=MUTED, lw=0.9, ls="--")
    path.text(last, 0.265, "point of no return", color=MUTED, ha="right", va="bottom", fontsize=8)
    path.text(0.24 * last, 1.04, r"$r^*$", color=GHOST, va="bottom")
    path.legend(loc="upper right")
    chance = dataset.attrs["T"]
    loss.axhline(chance, color=MUTED, lw=0.9, ls="--")
    loss.text(last, 0.98 * chance, "chance, T", color=MUTED, ha="right", va="top", fontsize=8)
    loss.set(title="Loss", ylabel="loss (units of time)", xlim=(0, last), ylim=(0, 1.06 * chance))
    drop = int(slow.crossing_epoch)
    if drop >= 0:
        loss.annotate(
            f"r reaches $r^*$\nat epoch {drop}",
            (drop, float(slow.loss.sel(epoch=drop))),
            (drop + 0.12 * last, 0.33 * chance),
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.8},
        )
        _zoom(zoom, slow, drop)
    else:
        say(zoom, "r does not come down to $r^*$.")
    return figure


def _zoom(axes: Axes, slow: xr.Dataset, drop: int) -> None:
    """The epochs just after the drop, with the limits of the oscillation."""
    shown = slow.sel(epoch=slice(drop - 15, drop + 65))
    axes.plot(shown.epoch, shown.u, "-", color=ACCENT, lw=0.5, alpha=0.6)
    axes.plot(shown.epoch, shown.u, "o", color=ACCENT, ms=2.6)
    axes.axhline(1, color=GHOST, lw=0.9, ls=":")
    low, high = float(slow.u_bound_low), float(slow.u_bound_high)
    for bound in (low, high):
        axes.axhline(bound, color=GHOST, lw=0.9, ls="--")
    axes.text(
        drop + 65, high + 0.004, "limits of the oscillation (theory)", color=GHOST, ha="right", va="bottom", fontsize=8
    )
    axes.set(title=f"Oscillation, rate {float(slow.learning_rate):.0e}", ylabel=r"$r\,/\,r^*$")
    axes.set_ylim(low - 0.03, high + 0.22)


TOY_DESCENT = Drawing(
    draw,
    "Gradient descent on the analytic loss of the toy model from r = 10 r_star. A: r, which stays "
    "positive: no bifurcation. B: loss, which drops when r reaches r_star. C: the oscillation that follows "
    "at the lower rate, epoch by epoch, within the limits that theory gives. The higher rate exceeds the "
    "critical one and ends in the no-learning zone.",
)
