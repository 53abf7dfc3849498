"""The results of a sweep as one labelled dataset whose arrays are read when they are looked at, and
tables of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from ghostpoint.errors import InputError
from ghostpoint.sweeps.folder import SweepFolder
from ghostpoint.sweeps.shard_file import Damaged, Header, read_header, read_rows

__all__ = ["export", "open_sweep", "runs_table"]


def open_sweep(path: str | os.PathLike[str]) -> xr.Dataset:
    """The results in the folder of a sweep, also while it is computed.

    Returns
    -------
    Dataset over the grid's own dimensions, and epoch
        Of a training: the history (``loss``, ``gradient_norm``, ``accuracy``, ...; NaN where an
        epoch is not recorded), the events (epochs, -1 for never) and ``final_...``, the trained
        parts after the last update (NaN beyond the size of smaller networks); what is recorded
        under the name of an axis, ``confidence``, is ``recorded_confidence``. Of critical rates:
        ``predicted``, ``measured``, .... ``done`` says which networks are finished; the others have
        NaN and -1. Arrays are read, and their checksums compared, when they are looked at: opening
        takes no longer for long histories.

    Raises
    ------
    ValueError
        If the folder is no sweep; on reading, for a damaged file.

    Examples
    --------
    >>> import tempfile
    >>> import ghostpoint as gp
    >>> small = {
    ...     "models": {"units": 5, "scheme": "fixed_readout"},
    ...     "task": {"name": "DelayedActivation"},
    ...     "training": {"epochs": 3, "engine": "reference", "dtype": "float64"},
    ...     "grid": {"models": {"seed": [0, 1]}, "training": {"learning_rate": [0.01, 0.1]}},
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = gp.sweep(small, f"{folder}/out")
    ...     found = gp.open_sweep(f"{folder}/out").load()
    >>> found["loss"].shape, bool(found["done"].all())
    ((2, 2, 3), True)
    """
    return _Reader(SweepFolder.open(path)).dataset()


class _Reader:
    """Which file and row has each network of the grid."""

    def __init__(self, folder: SweepFolder):
        self.folder = folder
        self.sizes = folder.configuration.sizes
        self.shape = tuple(self.sizes.values())
        finished = folder.finished()
        self.keys = [shard.key for shard in folder.shards if shard.key in finished]
        self.shard_of = np.full(folder.configuration.count, -1, np.int64)
        self.row_of = np.zeros(folder.configuration.count, np.int64)
        self.headers: dict[int, Header] = {}
        self.epochs: dict[int, NDArray[np.int64]] = {}
        #: one finished shard of each kind of arrays, by the settings that decide about their shapes
        self.samples: dict[str, int] = {}
        for place, key in enumerate(self.keys):
            shard = folder.by_key[key]
            there = shard.members >= 0
            self.shard_of[shard.members[there]] = place
            self.row_of[shard.members[there]] = np.flatnonzero(there)
            settings = shard.settings
            kind = [settings[name] for name in ("models", "recording", "remedies", "task")]
            kind += [settings["training"][name] for name in ("epochs", "dtype")]
            self.samples.setdefault(json.dumps(kind, sort_keys=True), place)

    def dataset(self) -> xr.Dataset:
        configuration = self.folder.configuration
        coords: dict[str, Any] = {axis.name: (axis.along, np.asarray(axis.labels)) for axis in configuration.axes}
        variables: dict[str, Any] = {"done": (tuple(self.sizes), (self.shard_of >= 0).reshape(self.shape))}
        lengths: dict[str, int] = {}
        kinds: dict[str, tuple[tuple[str, ...], np.dtype[Any]]] = {}
        epochs = [np.zeros(0, np.int64)]
        for place in self.samples.values():
            header = self.header(place)
            for name, entry in header.arrays.items():
                dims = tuple(entry["dims"])
                if name == "epoch":
                    epochs.append(self.epochs_of(place))
                    continue
                inner = dims[1:]
                before = kinds[name][1] if name in kinds else entry["dtype"]
                kinds[name] = (inner, np.result_type(before, entry["dtype"]))
                for dim, length in zip(inner, entry["shape"][1:], strict=True):
                    if dim != "epoch":
                        lengths[dim] = max(lengths.get(dim, 0), length)
        epoch = np.unique(np.concatenate(epochs))
        lengths["epoch"] = len(epoch)
        if len(epoch):
            coords["epoch"] = epoch
        for name, (inner, dtype) in kinds.items():
            shape = (*self.shape, *(lengths[dim] for dim in inner))
            lazy = indexing.LazilyIndexedArray(_Lazy(self, name, shape, dtype, inner, epoch))
            # the history has the confidence too, which may be an axis
            variables[f"recorded_{name}" if name in coords else name] = xr.Variable((*self.sizes, *inner), lazy)
        attributes = {
            "kind": configuration.kind,
            "code": self.folder.code,
            "settings": json.dumps(configuration.settings),
            "networks": configuration.count,
            "networks_done": int((self.shard_of >= 0).sum()),
        }
        return xr.Dataset(variables, coords, attributes)

    def header(self, place: int) -> Header:
        if place not in self.headers:
            key = self.keys[place]
            with _naming(self.folder.file(key)):
                self.headers[place] = read_header(self.folder.file(key), key)
        return self.headers[place]

    def epochs_of(self, place: int) -> NDArray[np.int64]:
        if place not in self.epochs:
            with _naming(self.folder.file(self.keys[place])):
                self.epochs[place] = read_rows(self.header(place), "epoch")
        return self.epochs[place]


class _naming:
    """Within it a damaged file is an input error that names the file and the remedy."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, Damaged):
            raise InputError(f"{self.path}: {error}; the sweep's own command computes it again") from None


class _Lazy(BackendArray):
    """One variable over the grid, read from the shards that have the networks asked for."""

    def __init__(
        self,
        reader: _Reader,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        inner: tuple[str, ...],
        epoch: Any,
    ):
        self.reader, self.name, self.shape, self.dtype = reader, name, shape, dtype
        self.inner, self.epoch = inner, epoch

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        scalar = tuple(axis for axis, one in enumerate(key) if isinstance(one, int | np.integer))
        chosen = [np.atleast_1d(np.arange(length)[one]) for one, length in zip(key, self.shape, strict=True)]
        outer = len(self.shape) - len(self.inner)
        grid = np.ix_(*chosen[:outer])
        flat = np.asarray(np.ravel_multi_index(grid, self.shape[:outer]) if outer else np.zeros(1, np.int64)).ravel()
        inner = chosen[outer:]
        out = np.full((len(flat), *map(len, inner)), _missing(self.dtype), self.dtype)
        places = self.reader.shard_of[flat]
        for place in np.unique(places[places >= 0]):
            here = np.flatnonzero(places == place)
            header = self.reader.header(int(place))
            if self.name not in header.arrays:
                continue
            with _naming(header.path):
                values = read_rows(header, self.name, self.reader.row_of[flat[here]])
            at, into = self._matched(int(place), values, inner)
            out[np.ix_(here, *into)] = values[np.ix_(np.arange(len(here)), *at)]
        whole = out.reshape(*map(len, chosen[:outer]), *out.shape[1:])
        return whole[tuple(0 if axis in scalar else slice(None) for axis in range(whole.ndim))]

    def _matched(self, place: int, values: NDArray[Any], inner: list[NDArray[Any]]) -> tuple[list[Any], list[Any]]:
        """Which entries of a shard's rows are asked for, and where they go, for each inner axis."""
        at, into = [], []
        for dim, wanted, length in zip(self.inner, inner, values.shape[1:], strict=True):
            if dim == "epoch":
                known = self.reader.epochs_of(place)
                asked = self.epoch[wanted]
                found = np.minimum(np.searchsorted(known, asked), max(0, len(known) - 1))
                there = (known[found] == asked) if len(known) else np.zeros(len(asked), bool)
                at.append(found[there])
            else:
                there = wanted < length
                at.append(wanted[there])
            into.append(np.flatnonzero(there))
        return at, into


def _missing(dtype: np.dtype[Any]) -> Any:
    return {"f": np.nan, "b": False}.get(dtype.kind, -1)


def runs_table(dataset: xr.Dataset) -> pd.DataFrame:
    """One row a network: where it is in the grid, its events, and the last recorded loss and
    accuracy.
    """
    dims = [dim for dim in dataset["done"].dims]
    flat = {name: value for name, value in dataset.data_vars.items() if set(value.dims) == set(dims)}
    columns: dict[str, Any] = {}
    for name, coordinate in dataset.coords.items():
        if name != "epoch":
            columns[str(name)] = coordinate.broadcast_like(dataset["done"]).transpose(*dims).values.ravel()
    for name, value in flat.items():
        columns[str(name)] = value.transpose(*dims).values.ravel()
    if dataset.sizes.get("epoch"):
        for name in ("loss", "accuracy"):
            columns[f"last_{name}"] = dataset[name].isel(epoch=-1).transpose(*dims).values.ravel()
    return pd.DataFrame(columns)


def export(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Write the results of a sweep for other programs, in the format of the suffix.

    ``.zarr``: the whole dataset, a folder; ``.nc``: the same as netCDF; ``.parquet`` and ``.csv``:
    :func:`runs_table`.
    """
    dataset, out = open_sweep(path), Path(target)
    if out.exists():
        raise InputError(f"{out} is there already: choose another file")
    if out.suffix == ".zarr":
        dataset.to_zarr(out, mode="w", zarr_format=2, consolidated=True)  # as others open it without a warning
    elif out.suffix == ".nc":
        engine = "h5netcdf" if find_spec("h5netcdf") and find_spec("h5py") else None
        engine = engine or ("netcdf4" if find_spec("netCDF4") else None)
        if engine is None:
            raise InputError("netCDF needs h5netcdf and h5py: pip install 'ghostpoint[export]'")
        dataset.assign(done=dataset["done"].astype("i1")).to_netcdf(out, engine=engine)  # type: ignore[call-overload]
    elif out.suffix == ".parquet":
        if find_spec("pyarrow") is None:
            raise InputError("Parquet needs pyarrow: pip install 'ghostpoint[export]'; .csv needs nothing")
        runs_table(dataset).to_parquet(out, index=False)
    elif out.suffix == ".csv":
        runs_table(dataset).to_csv(out, index=False)
    else:
        raise InputError(f"the file must end in .zarr, .nc, .parquet or .csv, got {out.name!r}")
    return out


def coordinates_of(dataset: xr.Dataset) -> Mapping[str, str]:
    """The dimension of each coordinate of the grid, by name."""
    return {str(name): str(value.dims[0]) for name, value in dataset.coords.items() if value.dims and name != "epoch"}


def size_of(dataset: xr.Dataset) -> int:
    """Bytes of all arrays, read or not."""
    return sum(prod(value.shape) * value.dtype.itemsize for value in dataset.variables.values())
