"""Article, Fig. 2A and 8A: loss and gradient of the toy model over r."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostpoint.figures.style import GHOST, INK, LOST, SEQUENCE, Drawing, letters, new_figure, styled

PUBLISHED_IN_A = (0.1, 1.0)


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """The figure of the saved results of ``toy_loss``."""
    figure, (loss, gradient, difference) = new_figure(3, width=11.4, height=3.5)
    letters((loss, gradient, difference))
    for axes in (loss, gradient, difference):
        axes.set_xlabel(r"$r\,/\,r^*$")
        axes.set_xlim(-1, 2)
    _landmarks(loss)
    _landmarks(gradient)
    confidences = list(dataset.confidence.values)
    colours = {c: SEQUENCE[i] for i, c in enumerate(confidences)}
    loss.plot(dataset.u_fine, dataset.loss_limit, color=INK, lw=1.8, label="analytic limit", zorder=3)
    for c in PUBLISHED_IN_A:
        one = dataset.sel(confidence=c)
        loss.plot(dataset.u_fine, one.loss_fine, color=colours[c], lw=0.9, alpha=0.7)
        loss.plot(dataset.u, one.loss_euler, "o", ms=2.6, color=colours[c], label=f"c = {c:g}, Euler", zorder=4)
    loss.set(title="Loss", ylabel="loss (units of time)", ylim=(-4, 128))
    loss.text(1.03, 64, r"$r^*$", color=GHOST, va="center")
    loss.text(0.28, 116, r"$r^*/4$", color=LOST, va="center")
    loss.text(-0.9, 8, "no-learning\nzone", color=LOST, fontsize=8)
    loss.legend(loc="upper right", handlelength=1.4, borderaxespad=0)

    positive = dataset.gradient_limit != 0
    size = abs(dataset.gradient_limit).where(positive)
    gradient.plot(dataset.u_fine, size, color=INK, lw=1.8, label="analytic limit", zorder=3)
    for c in confidences:
        gradient.plot(
            dataset.u_fine, abs(dataset.gradient_fine.sel(confidence=c)), color=colours[c], label=f"c = {c:g}"
        )
    gradient.set(title="Size of the gradient", ylabel=r"$|dL/dr|$ (time$^3$)", yscale="log", ylim=(1e-5, 3e9))
    gradient.legend(loc="upper left", ncols=2, handlelength=1.2, columnspacing=1.0, borderaxespad=0.2)

    difference.axhline(0, color=INK, lw=0.6)
    difference.axvline(1, color=GHOST, lw=0.9, ls=":")
    for c in confidences:
        difference.plot(dataset.u, dataset.loss_difference.sel(confidence=c), color=colours[c], label=f"c = {c:g}")
    difference.set(title="Euler sum minus exact integral", ylabel="loss difference (units of time)")
    difference.legend(loc="lower left", handlelength=1.2)
    return figure


def _landmarks(axes: Axes) -> None:
    """The minimum, the point of no return and the zone below it."""
    axes.axvspan(-1, 0.25, color=LOST, alpha=0.07, lw=0)
    axes.axvline(0.25, color=LOST, lw=0.9, ls="--")
    axes.axvline(1, color=GHOST, lw=0.9, ls=":")


TOY_LOSS = Drawing(
    draw,
    "A: loss of the toy model over r. Black: analytic limit. Lines: exact integral at finite confidence c; "
    "dots: the published explicit Euler sum. Below the point of no return (shaded) the analytic loss is "
    "flat. B: size of the exact gradient; in the analytic limit it vanishes in the shaded zone, at finite "
    "confidence it does not. It changes sign at the minimum. C: Euler loss minus exact loss.",
)
