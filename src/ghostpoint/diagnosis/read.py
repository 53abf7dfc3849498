"""Histories from files: CSV, NumPy archives, netCDF, Zarr and this library's results, TensorBoard event files."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.diagnosis.diagnose import CURVES
from ghostpoint.diagnosis.event_file import event_scalars
from ghostpoint.errors import InputError
from ghostpoint.results import KIND, TrainingRun
from ghostpoint.storage import read_dataset

__all__ = ["read_history"]

#: other names of what is looked at, as words in lower case
_NAMES: Mapping[str, tuple[str, ...]] = {
    "loss": ("loss", "cost", "error"),
    "gradient_norm": ("gradient_norm", "grad_norm", "gradnorm", "total_norm"),
    "accuracy": ("accuracy", "acc"),
    "confidence": ("confidence", "output_confidence"),
    "learning_rate": ("learning_rate", "lr"),
    "epoch": ("epoch", "step", "global_step", "iteration", "iter"),
}
_TRAINING = ("", "train", "training")
_ELSEWHERE = ("val", "valid", "validation", "eval", "test", "dev")


def read_history(path: str | os.PathLike[str], *, loss: str | None = None) -> xr.Dataset | TrainingRun | dict[str, Any]:
    """What :func:`ghostpoint.diagnosis.diagnose` takes, from a file.

    * ``.csv``, ``.tsv``: one row per epoch, with a header; a column ``network``, ``run`` or ``seed`` makes a stack.
      Empty cells are missing.
    * ``.npz``: arrays by name, (E,) or (R, E); ``.npy``: the loss.
    * ``.nc``: netCDF as xarray reads it (version 3 with scipy alone).
    * ``.zip`` or ``.zarr``: a saved run or dataset of this library, or any Zarr group.
    * a name that contains ``tfevents``: a TensorBoard event file.

    Names are matched without regard to case: ``train/loss``, ``Loss``, ``grad_norm``, ``acc``, ``lr``, ``step``.
    Training curves come before validation curves.

    Parameters
    ----------
    loss : str, optional
        Which name is the loss, where several could be.

    Raises
    ------
    ValueError
        If the file is missing, of no known kind or damaged, or if no name, or more than one, could be the loss.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"path must be a file with a history, and there is no {path}")
    name = path.name.lower()
    if "tfevents" in name:
        scalars = event_scalars(path)
        chosen = _choose(scalars, loss, path)
        steps = sorted(scalars[chosen["loss"]])
        chosen.pop("epoch", None)
        return {"epoch": steps} | {key: [scalars[tag].get(s, np.nan) for s in steps] for key, tag in chosen.items()}
    if name.endswith((".csv", ".tsv", ".txt")):
        return _table(path, loss)
    if name.endswith(".npy"):
        return {"loss": _numeric(_opened(np.load, path), "loss", path)}
    if name.endswith(".npz"):
        with _opened(np.load, path) as archive:
            chosen = _choose(archive.files, loss, path)
            return {key: _numeric(archive[name], name, path) for key, name in chosen.items()}
    if name.endswith((".nc", ".nc3", ".cdf")):
        return _of_dataset(_opened(xr.load_dataset, path), loss, path)
    if name.endswith(".zip"):
        dataset = read_dataset(path)
        if dataset.attrs.get("kind") == KIND:
            return TrainingRun.from_dataset(dataset)
        return _of_dataset(dataset, loss, path)
    if name.endswith(".zarr"):
        return _of_dataset(_opened(lambda place: xr.open_zarr(place, consolidated=False).load(), path), loss, path)
    kinds = ".csv, .tsv, .npy, .npz, .nc, .zarr, .zarr.zip or tfevents"
    raise InputError(f"path must be a history of a known kind ({kinds}), got {path.name}")


def _opened(how: Any, path: Path) -> Any:
    """``how(path)``, whose errors of every library become one that names the file."""
    try:
        return how(path)
    except Exception as error:
        raise InputError(f"path must be a readable history, and {path} cannot be read: {error}") from error


def _of_dataset(dataset: xr.Dataset, loss: str | None, path: Path) -> xr.Dataset:
    chosen = _choose([str(name) for name in dataset.variables], loss, path)
    found = dataset[[name for key, name in chosen.items() if key != "epoch" and name in dataset.data_vars]]
    return found.rename({name: key for key, name in chosen.items() if name != key and name in found.variables})


def _table(path: Path, loss: str | None) -> dict[str, Any]:
    """Columns of a table; rows of a stack are told apart by its column and put on the epochs of all."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",") if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"path must be a table in UTF-8, and {path} is not: {error}") from None
    if len(rows) < 2:
        raise InputError(f"path must have a header and rows, and {path} has {len(rows)} rows")
    header = [name.strip() for name in rows[0]]
    ragged = [i for i, row in enumerate(rows, 1) if len(row) != len(header)]
    if ragged:
        raise InputError(f"path must have {len(header)} cells in every row, and row {ragged[0]} of {path} has others")
    columns = {name: [row[i].strip() for row in rows[1:]] for i, name in enumerate(header)}
    chosen = _choose(header, loss, path)
    values = {key: _cells(columns[name], name, path) for key, name in chosen.items()}
    stack = next((name for name in header if name.lower() in ("network", "run", "seed")), None)
    if stack is None:
        return values
    labels = list(dict.fromkeys(columns[stack]))
    member = np.array([labels.index(label) for label in columns[stack]])
    epoch = values.pop("epoch", None)
    if epoch is None:
        epoch = np.zeros(len(member))
        for network in range(len(labels)):
            epoch[member == network] = np.arange((member == network).sum())
    epochs, at = np.unique(epoch, return_inverse=True)
    stacked: dict[str, Any] = {}
    for key, column in values.items():
        array = np.full((len(labels), len(epochs)), np.nan)
        array[member, at] = column
        stacked[key] = array
    return {"epoch": epochs, **stacked}


def _cells(cells: list[str], name: str, path: Path) -> NDArray[np.float64]:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError as error:
        raise InputError(f"column {name!r} of {path} must hold numbers: {error}") from None


def _numeric(array: Any, name: str, path: Path) -> NDArray[np.float64]:
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name!r} of {path} must be an array of numbers") from None


def _choose(names: Iterable[str], loss: str | None, path: Path) -> dict[str, str]:
    """What is looked at to the name it has in the file."""
    names = list(names)
    if loss is not None and loss not in names:
        raise InputError(f"loss must be one of {', '.join(names)}; got {loss!r}")
    chosen: dict[str, str] = {}
    for key in (*CURVES, "epoch"):
        ranked = sorted((rank, name) for name in names if (rank := _rank(name, _NAMES[key])) is not None)
        best = [name for rank, name in ranked if rank == ranked[0][0]]
        if key == "loss":
            if loss is not None:
                best = [loss]
            if len(best) != 1:
                given = ", ".join(best or names) or "none"
                raise InputError(
                    f"loss must be named, as {path} has {'several' if best else 'no'} that could be it: {given}"
                )
        if len(best) == 1:
            chosen[key] = best[0]
    return chosen


def _rank(name: str, known: tuple[str, ...]) -> int | None:
    """How well a name fits, 0 for best: the word itself, of training, of another kind, of validation; None for not."""
    words = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")
    if words in known:
        return known.index(words)
    for word in known:
        match = re.search(rf"(^|_){word}(_|$)", words)
        if match:
            rest = (words[: match.start()] + "_" + words[match.end() :]).strip("_")
            parts = set(rest.split("_"))
            return 10 if rest in _TRAINING or parts & {"train", "training"} else 30 if parts & set(_ELSEWHERE) else 20
    return None
