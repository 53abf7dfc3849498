"""What a phase diagram of a sweep shows: shares with intervals, medians, and the theory's curve
where one applies.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.sweeps.results import coordinates_of
from ghostpoint.theory import SaddleNodeToy

__all__ = ["VALUES", "phase_diagram"]

#: what can be shown, and how it is called in a figure
VALUES = {
    "lost": "lost, of the networks that learned",
    "learned": "share above chance",
    "solved": "share solved",
    "epochs": "epochs until solved, median",
    "loss": "last recorded loss, median",
    "critical": "critical learning rate, median",
    "predicted": "predicted critical rate, median",
}
SHARES = ("lost", "learned", "solved")


def phase_diagram(dataset: xr.Dataset, x: str, y: str | None = None, value: str = "lost") -> xr.Dataset:
    """One value of a sweep over one or two axes of its grid; all its other axes are pooled.

    Parameters
    ----------
    dataset : Dataset
        Of :func:`ghostpoint.open_sweep`; unfinished networks are left out.
    x, y : str
        Axes of the grid. ``x = "epoch"`` with ``value = "loss"`` gives loss curves, one for each
        value of y.
    value : str
        "lost", of those that were above chance; "learned" and "solved", of all; "epochs" until
        solved, the median of the solved; "loss", the median of the last recorded epoch; "critical",
        the lowest rate of the axis ``learning_rate`` at which a network is lost (of critical rates:
        the measured one), the median.

    Returns
    -------
    Dataset over (y, x)
        ``value``; ``low`` and ``high``: the 95 % score interval of a share (E. B. Wilson, J. Am.
        Stat. Assoc. 22, 209, 1927), else the quartiles; ``count``, networks that it is of; and
        ``theory`` (y or x), where rates are compared with delays: the toy model's critical rate ``3
        pi**4 / (32 T**4)`` (letter, eq. 15, the loss divided by T), T in units of tau.

    Raises
    ------
    ValueError
        For an axis that the grid does not have, and a value that this kind of sweep has not.
    """
    one_of("value", value, VALUES)
    axes = coordinates_of(dataset)
    names = [x] if y is None else [y, x]
    for name in names:
        if name != "epoch" or value != "loss":
            one_of("axis", name, list(axes))
    for name in names:
        if name in dataset.coords and len(np.unique(dataset[name].values)) < dataset[name].size:
            others = [one for one, dim in axes.items() if dim == axes[name] and one != name]
            raise InputError(f"axis must have every value once, and {name} goes with {', '.join(others)}")
    if x == y:
        raise InputError(f"y must be another axis than x, got {y!r} twice")
    if value == "critical" and "measured" not in dataset and "learning_rate" in names:
        raise InputError("axis must not be learning_rate for the value critical, which is a learning rate itself")
    values = _values(dataset, value, names)
    dims = [axes.get(name, name) for name in names]
    pooled = [dim for dim in values.dims if dim not in dims]
    table = values.transpose(*dims, *pooled).values
    table = table.reshape(*table.shape[: len(dims)], -1)
    count = np.isfinite(table).sum(axis=-1)
    if value in SHARES:
        middle, low, high = wilson(np.nansum(table, axis=-1), count)
    else:
        low, middle, high = _quartiles(table)
    coords = {name: (name, _coordinate(dataset, name)) for name in names}
    shown = {"value": middle, "low": low, "high": high, "count": count}
    result = xr.Dataset({name: (tuple(names), one) for name, one in shown.items()}, coords)
    result.attrs = {"x": x, "y": y or "", "value": value, "label": VALUES[value]}
    return _with_theory(dataset, result, names)


def wilson(successes: NDArray[Any], count: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Shares, and the limits of their 95 % score intervals; NaN where nothing was counted."""
    z = 1.959963984540054
    n = np.where(count > 0, count, np.nan)
    share = successes / n
    centre, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return share, (centre - half) / scale, (centre + half) / scale


def _values(dataset: xr.Dataset, value: str, names: list[str]) -> xr.DataArray:
    """Per network what is to be pooled; NaN for networks that it is not about."""
    done = dataset["done"]
    if "measured" in dataset:
        name = {"critical": "measured", "predicted": "predicted"}.get(value)
        if name is None:
            raise InputError(f"value must be critical or predicted for a sweep of critical rates, got {value!r}")
        return dataset[name].load()
    if value == "predicted":
        raise InputError('value must be another than predicted: only computes = "critical_rate" predicts rates')
    if value == "loss":
        if not dataset.sizes.get("epoch"):
            raise InputError("value must be another than loss: this sweep recorded no epochs")
        return dataset["loss"] if "epoch" in names else dataset["loss"].isel(epoch=-1)
    learned = dataset["first_above_chance"].load() >= 0
    lost = dataset["no_learning_zone_entry"].load() >= 0
    solved = dataset["first_solved"].load()
    if value == "lost":
        return lost.where(done & learned).astype(float)
    if value == "learned":
        return learned.where(done).astype(float)
    if value == "solved":
        return (solved >= 0).where(done).astype(float)
    if value == "epochs":
        return solved.where(done & (solved >= 0)).astype(float)
    along = coordinates_of(dataset).get("learning_rate")
    if along is None:
        raise InputError("value must be another than critical: the grid has no axis learning_rate")
    rate = dataset["learning_rate"].astype(float)
    return xr.where(lost & done, rate, np.nan).min(along)


def _quartiles(table: NDArray[Any]) -> NDArray[Any]:
    """Lower quartile, median and upper quartile along the last axis; NaN where nothing is
    finite.
    """
    some = np.isfinite(table).any(axis=-1)
    filled = np.where(some[..., None], table, 0.0)
    return np.where(some, np.nanquantile(filled, [0.25, 0.5, 0.75], axis=-1), np.nan)


def _coordinate(dataset: xr.Dataset, name: str) -> NDArray[Any]:
    return np.asarray(dataset[name].values)


def _with_theory(dataset: xr.Dataset, result: xr.Dataset, names: list[str]) -> xr.Dataset:
    """The diagram with the toy's critical rate over delays, where rates are on the other axis or
    are the value.
    """
    settings = json.loads(dataset.attrs["settings"])
    rates = "learning_rate" in names or result.attrs["value"] in ("critical", "predicted")
    if "delay" not in names or not rates or settings["task"]["name"] != "DelayedActivation":
        return result
    tau = settings["task"].get("tau", 10.0)
    delays = result["delay"].values / tau
    curve = [SaddleNodeToy(float(T)).critical_learning_rate * float(T) for T in delays]
    return result.assign(theory=("delay", np.array(curve)))
