"""Power laws of critical rates along the axes of a sweep, with intervals."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.sweeps.results import coordinates_of

__all__ = ["exponents"]

RESAMPLES = 1000


def exponents(dataset: xr.Dataset, value: str = "measured", seed: int = 0) -> xr.Dataset:
    """Exponents p of ``rate ~ x**p`` along each numeric axis of a sweep of critical rates.

    Least squares of log rate on log x, with a level of its own for every combination of the other
    axes, so that combinations without a critical rate at some x bias nothing but the precision. The
    interval is of 95 % of 1000 resamples of the seeds, which are alike along all axes.

    Parameters
    ----------
    dataset : Dataset
        Of :func:`ghostpoint.open_sweep`, with an axis ``seed``.
    value : "measured", "predicted" or "first_order"
    seed : int
        Of the resampling.

    Returns
    -------
    Dataset over axis
        ``exponent``, ``low``, ``high``, and ``count``, the rates that it is of; NaN where fewer
        than two values along the axis have rates.
    """
    one_of("value", value, ("measured", "predicted", "first_order"))
    if value not in dataset or "seed" not in dataset.dims:
        raise InputError('dataset must be a sweep with computes = "critical_rate" and an axis seed')
    logs = dataset[value].load().copy(data=np.log(dataset[value].values))
    axes = {
        name: dim
        for name, dim in coordinates_of(dataset).items()
        if name != "seed" and dataset[name].dtype.kind in "iuf" and dataset.sizes[dim] > 1
    }
    draws = np.random.default_rng(seed).integers(0, dataset.sizes["seed"], (RESAMPLES, dataset.sizes["seed"]))
    rows = []
    for name, dim in axes.items():
        others = [other for other in logs.dims if other not in (dim, "seed")]
        table = logs.transpose("seed", *others, dim).values.reshape(dataset.sizes["seed"], -1, dataset.sizes[dim])
        sums = _sums(np.log(dataset[name].values.astype(float)), table)
        low, high = _limits(np.array([_slope(sums[:, draw]) for draw in draws]))
        rows.append((_slope(sums), low, high, int(np.isfinite(table).sum())))
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    names = ("exponent", "low", "high", "count")
    return xr.Dataset(
        {one: ("axis", np.asarray(column)) for one, column in zip(names, columns, strict=True)}, {"axis": list(axes)}
    )


def _sums(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over each seed's rows of the products of deviations: x with y, x with itself; (2,
    seeds).
    """
    there = np.isfinite(y)
    count = np.maximum(there.sum(axis=-1, keepdims=True), 1)
    dx = np.where(there, x - np.where(there, x, 0).sum(axis=-1, keepdims=True) / count, 0)
    dy = np.where(there, np.where(there, y, 0) - np.where(there, y, 0).sum(axis=-1, keepdims=True) / count, 0)
    return np.stack([(dx * dy).sum(axis=(1, 2)), (dx * dx).sum(axis=(1, 2))])


def _slope(sums: NDArray[np.float64]) -> float:
    product, square = sums.sum(axis=1)
    return float(product / square) if square > 0 else np.nan


def _limits(samples: NDArray[np.float64]) -> tuple[float, float]:
    if not np.isfinite(samples).any():
        return np.nan, np.nan
    low, high = np.nanquantile(samples, [0.025, 0.975])
    return float(low), float(high)
