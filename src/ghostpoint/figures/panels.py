"""Panels that several figures have: values and fates over learning rates, latent flows, trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ghostpoint.figures.style import INK

#: points of a curve that are drawn at most; of more, the smallest and largest in each stretch
POINTS = 2000


def draw_spread(axes: Axes, values: xr.DataArray, **look: Any) -> None:
    """Median of values (learning_rate, seed) over learning rates, with their range over the
    seeds.
    """
    middle = values.median("seed")
    spread = np.abs(np.stack([values.min("seed") - middle, values.max("seed") - middle]))
    axes.errorbar(values["learning_rate"], middle, yerr=spread, lw=1.1, marker="o", **look)


def draw_fates(
    axes: Axes, rates: NDArray[Any], fates: Iterable[tuple[NDArray[Any], str, str]], title: str, **legend: Any
) -> None:
    """Stacked shares of networks over learning rates.

    Parameters
    ----------
    axes : Axes
    rates : (P,)
        Ascending by a constant factor.
    fates : iterable of (bools (P, seeds), colour, label)
        Which networks have each fate, from the bottom up.
    title : str
    **legend
        For ``Axes.legend``.
    """
    edges = np.append(rates, rates[-1] ** 2 / rates[-2]) * np.sqrt(rates[0] / rates[1])
    bottom = np.zeros(len(rates))
    for chosen, colour, label in fates:
        height = chosen.mean(axis=1)
        axes.bar(edges[:-1], height, np.diff(edges), bottom, align="edge", color=colour, label=label)
        bottom = bottom + height
    axes.set(xscale="log", xlabel="learning rate", ylabel="share of networks", title=title)
    axes.set_ylim(0, 1)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, **legend)


def flow_curves(axes: Axes, dataset: xr.Dataset, starts: Iterable[float], top: float, title: str) -> Any:
    """Latent flow f(kappa) at the epochs shown, dark to light, with initial latents as dots.

    Parameters
    ----------
    axes : Axes
    dataset : Dataset
        ``curve`` (shown, kappa) in 1/tau over the latent ``kappa``, and the epochs ``shown``.
    starts : iterable of float
        The initial latent at each epoch shown.
    top : float
        Upper end of the axis, in 1/tau.
    title : str

    Returns
    -------
    (shown, 4) array
        The colours.
    """
    shown, kappa = dataset["shown"].values, dataset["kappa"].values
    colours = colormaps["viridis"](np.linspace(0.05, 0.85, len(shown)))
    for colour, at, curve, start in zip(colours, shown, dataset["curve"].values, starts, strict=True):
        axes.plot(kappa, curve, color=colour, lw=1.1, label=f"epoch {at:,}")
        axes.plot(start, np.interp(start, kappa, curve), "o", color=colour, ms=4)
    axes.axhline(0, color=INK, lw=0.8)
    axes.set(xlabel="latent kappa", ylabel="d kappa/dt (1/tau)", ylim=(-1.5, top), title=title)
    axes.legend(fontsize=6.5, loc="upper right")
    return colours


def answers(axes: Axes, at: xr.Dataset, colours: Sequence[str], width: float, dotted: float) -> None:
    """Outputs (lines) and targets (dotted) of trials over time in ms.

    Parameters
    ----------
    axes : Axes
    at : Dataset over (trial, step)
        ``outputs`` and ``targets`` at one epoch; the attribute ``dt`` is the step in ms.
    colours : sequence of str
        One per trial; trials beyond the last colour are not drawn.
    width, dotted : float
        Line widths of outputs and of targets, in points.
    """
    time = at["step"].values * at.attrs["dt"]
    for colour, output, target in zip(colours, at["outputs"].values, at["targets"].values, strict=False):
        axes.plot(time, target, color=colour, lw=dotted, ls=":")
        axes.plot(time, output, color=colour, lw=width)
    axes.set_xlabel("time (ms)")


def thinned(epoch: NDArray[Any], values: NDArray[Any], most: int = POINTS) -> tuple[NDArray[Any], NDArray[Any]]:
    """The finite points of a curve, thinned to about ``most`` so that spikes stay.

    The curve is cut into stretches of equally many points, of which the smallest and the largest
    value are kept; the last point always is.

    Parameters
    ----------
    epoch, values : (E,)
    most : int

    Returns
    -------
    (P,), (P,)
        Epochs and values, in their order.
    """
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


def logarithmic(loss: NDArray[Any]) -> bool:
    """Whether all losses are positive and span more than a factor of 100, leaving out the outermost
    hundredth.
    """
    finite = loss[np.isfinite(loss)]
    if not len(finite) or finite.min() <= 0:
        return False
    low, high = np.quantile(finite, [0.01, 0.99])
    return bool(high > 100 * low)
