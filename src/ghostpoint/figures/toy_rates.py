"""Article, Fig. 2D: final loss over learning rates, and the critical rate over delays."""

from __future__ import annotations

import matplotlib
import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, INK, LOST, MUTED, Drawing, letters, new_figure, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """The figure of the saved results of ``toy_rates``."""
    critical = dataset.attrs["critical_learning_rate"]
    figure, (sweep, share, delays) = new_figure(3, width=11.4, height=3.5)
    letters((sweep, share, delays))
    colours = matplotlib.colormaps["viridis_r"]
    for i, epoch in enumerate(dataset.epoch.values):
        one = dataset.sel(epoch=epoch)
        sweep.errorbar(
            dataset.learning_rate.values,
            one.loss_mean.values,
            one.loss_sem.values,
            color=colours(0.15 + 0.85 * i / max(dataset.sizes["epoch"] - 1, 1)),
            lw=1.1,
            elinewidth=0.6,
            label=f"{epoch:,}".replace(",", " "),
        )
    sweep.plot(dataset.learning_rate, dataset.settled_loss_theory, color=GHOST, ls="--", lw=1)
    sweep.axvline(critical, color=GHOST, lw=0.9, ls=":")
    sweep.text(critical * 1.1, 0.035, r"$\alpha^*$ (eq. 15)", color=GHOST, va="bottom")
    sweep.set(title="Loss over learning rates", xlabel="learning rate", ylabel="loss (units of time)")
    sweep.set(xscale="log", yscale="log", ylim=(0.03, 300))
    sweep.legend(title="after epochs", loc="center right", handlelength=1.2, title_fontsize=8)

    share.plot(dataset.near_ratio, dataset.lost_share, "o-", color=LOST, ms=2.8, lw=0.8)
    for ratio, words in ((1, "eq. 15"), (dataset.attrs["surviving_ratio"], "period three ends")):
        share.axvline(ratio, color=GHOST, lw=0.9, ls=":")
        share.text(ratio - 0.001, 1.04, words, color=GHOST, ha="right", va="bottom", fontsize=8)
    share.set(title="Share of starts lost", xlabel="learning rate / eq. 15", ylabel="share lost", ylim=(-0.04, 1.18))

    delays.plot(dataset.delay, dataset.critical_rate_theory, color=GHOST, label=r"eq. 15: $\frac{3\pi^4}{32}\,T^{-5}$")
    delays.plot(dataset.delay, dataset.critical_rate, "o", ms=4, mfc="none", color=ACCENT, label="measured")
    delays.set(title="Critical rate over delays", xlabel="delay T", ylabel="critical learning rate")
    delays.set(xscale="log", yscale="log")
    delays.legend(loc="upper right")
    for axes in (sweep, delays):
        axes.tick_params(which="minor", color=MUTED)
    share.axhline(1, color=INK, lw=0.4)
    return figure


TOY_RATES = Drawing(
    draw,
    "A: loss after a number of epochs over learning rates, mean and s.e.m. of the starts; dotted: critical rate of eq. "
    "15; dashed: mean loss of the oscillation that theory gives for low rates. B: share of starts that are lost, close "
    "to the critical rate. None is lost below eq. 15; up to 1.029 times that rate (second line) a stable orbit of "
    "period three keeps some from being lost. C: lowest rate that loses any start, found by bisection on descents, "
    "over delays; line: eq. 15, which falls as the fifth power of the delay.",
)
