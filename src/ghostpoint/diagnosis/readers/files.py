"""Histories from files and folders: what a file is, by its first bytes before its name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ghostpoint.diagnosis.history import History
from ghostpoint.diagnosis.readers.columns import SIDES, words_of
from ghostpoint.diagnosis.readers.delimited import decoded, delimited_table
from ghostpoint.diagnosis.readers.event_file import event_scalars
from ghostpoint.diagnosis.readers.json_records import json_tables, tables_of_value
from ghostpoint.diagnosis.readers.log_lines import log_table
from ghostpoint.diagnosis.readers.memory import history_of
from ghostpoint.diagnosis.readers.plain_pickle import plain_pickle, torch_archive
from ghostpoint.diagnosis.readers.table import Choice, Source, Table, history_of_table
from ghostpoint.errors import InputError
from ghostpoint.results import KIND, TrainingRun
from ghostpoint.storage import read_dataset

__all__ = ["READERS", "read_history"]

_NETCDF = (".nc", ".nc3", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5")
_LOGS = ("metrics.csv", "trainer_state.json", "history.csv", "training_log.csv", "log.csv", "wandb-history.jsonl",
         "training.log")  # fmt: skip
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".log", ".txt", ".dat")


def read_history(
    path: str | os.PathLike[str],
    *,
    loss: str | None = None,
    step: str | None = None,
    accuracy: str | None = None,
) -> History:
    """The runs in a file or folder, or in the standard input for ``"-"``, for
    :func:`ghostpoint.diagnosis.diagnose`.

    Text: delimited tables of any separator (UTF-8 or UTF-16, decimal commas, comment lines), JSON,
    JSON lines, logs. Binary: ``.npy``, ``.npz``, netCDF, Zarr, this library's runs, TensorBoard
    event files, parquet, feather, pickles and ``.pt`` files of plain numbers. Each may be
    compressed (gzip, bzip2, xz). Folders: TensorBoard, MLflow, DVCLive, Zarr, and those with a
    ``metrics.csv`` or ``trainer_state.json``; of another folder, and of a zip archive, each table
    is a run. The first bytes say what a file is, its name only where they do not.

    Parameters
    ----------
    loss, step, accuracy : str, optional
        Names of columns, where the names of common tools do not say it.

    Raises
    ------
    ValueError
        If the file is missing, damaged or of no known kind, a cell is no number, or no column, or
        more than one, could be the loss.
    """
    path = Path(path)
    choice = Choice(step, loss, accuracy)
    if str(path) != "-" and not path.exists():
        raise InputError(f"path must be a file with a history, and there is no {path}")
    try:
        return _read(path, choice)
    except ValueError:
        raise
    except Exception as error:  # a damaged file makes every library raise what it likes
        raise InputError(f"path must be a readable history, and {path} cannot be read: {_said(error)}") from error


def _read(path: Path, choice: Choice) -> History:
    """The runs of ``path`` by the first reader that knows it, else as text."""
    file = Source(path, path.name.lower(), b"") if path.is_dir() else _decompressed(path)
    for reader in READERS.values():
        found = _opened(lambda _, reader=reader: reader(file, choice), file.blob, path)
        if found is not None:
            return _named(lambda found=found: history_of(found, choice, str(path)), str(path))
    if path.is_dir():
        tables = _folder_of_tables(file, choice)
        if tables is not None:
            return tables
        raise InputError(
            f"path must be a folder of TensorBoard, MLflow, DVCLive, Zarr, Lightning or Hugging Face, or of "
            f"tables, and {path} is none of these"
        )
    if file.name.endswith((".npz", ".zip", ".zarr", ".npy", ".pt", ".pth", ".pkl", ".pickle")):
        raise InputError(
            f"path must be a readable history, and {path} cannot be read: it is no {file.name.rpartition('.')[2]} file"
        )
    blob = file.blob
    if b"\0" in blob[:1000] and blob[:2] not in (b"\xff\xfe", b"\xfe\xff") and blob[1:2] != b"\0" and blob[:1] != b"\0":
        raise InputError(f"path must be a history of a known kind ({_kinds()}), got {path.name}")
    return _of_text(decoded(blob), path, choice)


def _decompressed(path: Path) -> Source:
    """The content of a file that may be compressed as a whole."""
    blob, name = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes(), path.name.lower()
    for magic, suffix, decompress in (
        (b"\x1f\x8b", ".gz", gzip.decompress),
        (b"BZh", ".bz2", bz2.decompress),
        (b"\xfd7zXZ\0", ".xz", lzma.decompress),
    ):
        if blob.startswith(magic):
            blob, name = _opened(decompress, blob, path), name.removesuffix(suffix)
            break
    if not blob:
        raise InputError(f"path must be a file with a history, and {path} is empty")
    return Source(path, name, blob)


def _numpy(file: Source, choice: Choice) -> History | None:
    if file.blob[:6] != b"\x93NUMPY":
        return None
    return _of_array(np.load(io.BytesIO(file.blob)), choice, str(file.path))


def _zip(file: Source, choice: Choice) -> History | None:
    named = file.blob[:2] == b"PK" and file.name.endswith((".npz", ".zip", ".pt", ".pth"))
    return _of_zip(file.blob, file.path, choice) if named or file.blob[:4] == b"PK\x03\x04" else None


def _event_file(file: Source, choice: Choice) -> History | None:
    if "tfevents" not in file.name or file.path.is_dir():
        return None
    return _of_events({"": event_scalars(file.path)}, str(file.path), choice)


def _parquet(file: Source, choice: Choice) -> pd.DataFrame | None:
    known = file.blob[:4] == b"PAR1" or (file.blob and file.name.endswith(".parquet"))
    return pd.read_parquet(io.BytesIO(file.blob)) if known else None


def _feather(file: Source, choice: Choice) -> pd.DataFrame | None:
    known = file.blob[:6] == b"ARROW1" or file.blob[:4] == b"FEA1" or (file.blob and file.name.endswith(".feather"))
    return pd.read_feather(io.BytesIO(file.blob)) if known else None


def _netcdf(file: Source, choice: Choice) -> xr.Dataset | None:
    known = file.blob[:4] == b"\x89HDF" or file.blob[:3] == b"CDF" or (file.blob and file.name.endswith(_NETCDF))
    return xr.load_dataset(file.path) if known else None


def _pickle(file: Source, choice: Choice) -> History | None:
    if not re.match(rb"\x80[\x02-\x05]", file.blob):
        return None
    return _of_value(plain_pickle(file.blob, str(file.path)), str(file.path), choice)


def _of_text(text: str, path: Path, choice: Choice) -> History:
    """A table, JSON or a log."""
    source = str(path)
    if not text.strip():
        raise InputError(f"path must be a file with a history, and {path} is empty")
    tables = json_tables(text, source)
    if tables is not None:
        return _joined(tables, choice, source)
    if path.parent.name == "metrics" or not path.suffix or re.match(r"\d{13} \S+ \d+\n", text):
        table = _mlflow_metric(text, path)
        if table is not None:
            return history_of_table(table, choice)
    trouble: ValueError | None = None
    try:
        found = delimited_table(text, source)
        if found is not None:
            return history_of_table(found, choice)
    except ValueError as error:
        if path.suffix in (".csv", ".tsv", ".dat") or found_table(error):
            raise
        trouble = error
    log = log_table(text, source)
    if log is not None:
        return history_of_table(log, choice)
    raise trouble or InputError(f"path must be a history of a known kind ({_kinds()}), got {path.name}")


def found_table(error: ValueError) -> bool:
    """Whether the error is about a cell or a column of a table, so that the text is no log."""
    return "could be it" in str(error) or "must be one of" in str(error)


def _mlflow_metric(text: str, path: Path) -> Table | None:
    """MLflow's metric file: time in ms, value, step."""
    rows = [line.split() for line in text.split("\n") if line.strip()]
    if not rows or any(len(row) not in (2, 3) or not re.fullmatch(r"\d{12,14}", row[0]) for row in rows):
        return None
    steps = [row[2] if len(row) == 3 else str(i) for i, row in enumerate(rows)]
    return Table(str(path), {"step": steps, "loss": [row[1] for row in rows]}, [f"MLflow metric {path.name}"])


def _of_array(array: Any, choice: Choice, source: str) -> History:
    """An array: structured ones have named columns."""
    if array.dtype.names:
        return history_of_table(Table(source, {name: array[name] for name in array.dtype.names}), choice)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{source}: must hold an array of numbers, got {array.dtype}")
    return history_of(array, choice, source)


def _of_zip(blob: bytes, path: Path, choice: Choice) -> History:
    """A zip archive: npz, ``.pt``, a Zarr group, or a single compressed file."""
    source = str(path)
    try:
        names = zipfile.ZipFile(io.BytesIO(blob)).namelist()
    except Exception as error:
        raise InputError(f"path must be a readable history, and {path} cannot be read: {_said(error)}") from None
    if any(name.endswith("data.pkl") for name in names):
        return _of_value(torch_archive(path, blob), source, choice)
    if names and all(name.endswith(".npy") for name in names):
        with np.load(io.BytesIO(blob)) as archive:
            arrays = {}
            for name in archive.files:
                try:
                    arrays[name] = archive[name]
                except Exception as error:
                    raise InputError(f"{path}: array {name!r} cannot be read: {_said(error)}") from None
        strange = [name for name, array in arrays.items() if array.dtype.kind not in "fiub"]
        if choice.loss in strange:
            raise InputError(
                f"{source}: {choice.loss!r} must be an array of numbers, got {arrays[str(choice.loss)].dtype}"
            )
        numeric = {name: array for name, array in arrays.items() if name not in strange}
        if len(numeric) == 1 and np.ndim(next(iter(numeric.values()))) and choice.loss is None:
            numeric = {"loss": next(iter(numeric.values()))}
        return _named(lambda: history_of(numeric, choice, source), source)
    if any(name.endswith(("zarr.json", ".zgroup", ".zarray", ".zmetadata")) for name in names):
        try:
            dataset = read_dataset(path)
        except ValueError as error:
            if "another kind of Zarr" not in str(error):
                raise
            from zarr.storage import ZipStore

            with ZipStore(path, mode="r", read_only=True) as store:
                dataset = xr.open_zarr(store, consolidated=False).load()
        if dataset.attrs.get("kind") == KIND:
            return history_of(TrainingRun.from_dataset(dataset))
        return _named(lambda: history_of(dataset, choice, source), source)
    files = [name for name in names if not name.endswith("/")]
    archive_of_texts = zipfile.ZipFile(io.BytesIO(blob))
    if len(files) == 1:
        return _of_text(decoded(archive_of_texts.read(files[0])), Path(source) / files[0], choice)
    if any(name.startswith("xl/") for name in names):
        return history_of(pd.read_excel(io.BytesIO(blob)), choice, source)
    tables = [name for name in files if name.endswith(_TABLES)]
    if tables:
        return _each_a_run(
            tables, lambda name: _of_text(decoded(archive_of_texts.read(name)), Path(source) / name, choice), source
        )
    raise InputError(f"path must be a readable history, and {path} holds {', '.join(names[:5]) or 'nothing'}")


def _each_a_run(names: list[str], read: Callable[[str], History], source: str) -> History:
    """The runs of several files, named after them; those without a loss are left out and
    listed."""
    found: dict[str, History] = {}
    left: list[str] = []
    for name in names:
        try:
            found[name] = read(name)
        except ValueError:
            left.append(name)
    if not found:
        raise InputError(f"path must hold a history, and none of {', '.join(left[:5])} in {source} is one")
    runs = []
    for name, part in found.items():
        label = name.rpartition(".")[0] or name
        runs += [
            replace(run, name=label if len(part) == 1 else f"{label}/{run.name}", padded=False) for run in part.runs
        ]
    first = next(iter(found.values()))
    account = [*first.account, *([f"files without a loss left out: {', '.join(left[:8])}"] if left else [])]
    return History(tuple(runs), first.columns, tuple(account), len(runs) > 1)


def _of_value(value: Any, source: str, choice: Choice) -> History:
    """Plain Python data of a pickle or ``.pt`` file."""
    if isinstance(value, np.ndarray):
        return _of_array(value, choice, source)
    if isinstance(value, dict) and any(isinstance(part, np.ndarray) for part in value.values()):
        arrays = {str(k): np.asarray(v) for k, v in value.items() if not isinstance(v, dict | str) and np.size(v) > 1}
        return _named(lambda: history_of(arrays, choice, source), source)
    return _joined(tables_of_value(_plain(value), source), choice, source)


def _plain(value: Any) -> Any:
    """Arrays and tuples as lists, numbers of NumPy as Python's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _joined(tables: list[Table], choice: Choice, source: str) -> History:
    """The runs of several tables as one history, named where their tables are."""
    if len(tables) == 1:
        return history_of_table(tables[0], choice)
    parts = []
    for table in tables:
        try:
            parts.append(history_of_table(table, choice))
        except ValueError as error:
            if len(parts) == 0 and table is tables[-1]:
                raise error
    if not parts:
        raise InputError(f"{source}: must have a loss, and none of its {len(tables)} parts has one")
    runs = tuple(run for part in parts for run in part.runs)
    named = len({run.name for run in runs}) == len(runs)
    return History(runs, parts[0].columns, parts[0].account, named)


def _of_events(found: dict[str, dict[str, dict[int, float]]], source: str, choice: Choice) -> History:
    """Runs of TensorBoard scalars: run name to tag to step to value."""
    tables = []
    for run, scalars in found.items():
        steps = sorted({step for curve in scalars.values() for step in curve})
        columns: dict[str, Any] = {tag: [curve.get(step) for step in steps] for tag, curve in scalars.items()}
        columns = {
            tag: ["nan" if x is not None and np.isnan(x) else x for x in cells] for tag, cells in columns.items()
        }
        name = "event step" if "step" in columns else "step"
        tables.append(Table(source, {name: steps} | columns, run=run or None))
    if not any(table.columns for table in tables) or not any(scalars for scalars in found.values()):
        raise InputError(f"path must have scalars, and {source} has none")
    if choice.loss is not None and len(tables) > 1:
        tables = [table for table in tables if choice.loss in table.columns] or tables
    return _joined(tables, choice, source)


def _zarr_folder(file: Source, choice: Choice) -> xr.Dataset | None:
    known = any((file.path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata"))
    return xr.open_zarr(file.path, consolidated=False).load() if known else None


def _event_folder(file: Source, choice: Choice) -> History | None:
    """TensorBoard's: a run for each folder with event files."""
    path = file.path
    found: dict[str, dict[str, dict[int, float]]] = {}
    for place in sorted(place for place in path.rglob("*tfevents*") if place.is_file()) if path.is_dir() else ():
        run = "" if place.parent == path else str(place.parent.relative_to(path))
        for tag, curve in event_scalars(place).items():
            found.setdefault(run, {}).setdefault(tag, {}).update(curve)
        found.setdefault(run, {})
    if not found:
        return None
    found = _same_training(found)
    return _of_events({run: curves for run, curves in found.items() if curves} or {"": {}}, str(path), choice)


def _log_folder(file: Source, choice: Choice) -> History | None:
    """Lightning's, Hugging Face's and others': a run for each file of a known name."""
    for name in _LOGS if file.path.is_dir() else ():
        files = sorted(file.path.rglob(name))
        if len(files) == 1:
            return _read(files[0], choice)
        if files:
            parts = [(place, _read(place, choice)) for place in files]
            runs = tuple(
                type(run)(str(place.parent.relative_to(file.path)), run.epoch, run.curves, run.broken, notes=run.notes)
                for place, part in parts for run in part.runs
            )  # fmt: skip
            return History(runs, parts[0][1].columns, parts[0][1].account, True)
    return None


def _metrics_folder(file: Source, choice: Choice) -> History | None:
    """MLflow's and DVCLive's: a run for each folder ``metrics``, whose files are the curves."""
    path = file.path
    folders = [path] if path.name == "metrics" else [place for place in path.rglob("metrics") if place.is_dir()]
    tables = []
    for folder in sorted(folders) if path.is_dir() else ():
        merged: dict[str, dict[str, Any]] = {}
        for metric in sorted(place for place in folder.rglob("*") if place.is_file()):
            text = decoded(metric.read_bytes())
            table = delimited_table(text, str(metric)) if metric.suffix == ".tsv" else _mlflow_metric(text, metric)
            if table is None or len(table.columns) != 2:
                continue
            key = str(metric.relative_to(folder)).removesuffix(".tsv")
            for at, cell in zip(*table.columns.values(), strict=True):
                merged.setdefault(str(at), {})[key] = str(cell)
        if merged:
            keys = list(dict.fromkeys(key for row in merged.values() for key in row))
            columns = {"step": list(merged)} | {key: [row.get(key) for row in merged.values()] for key in keys}
            label = folder.parent.name if len(folders) > 1 else None
            tables.append(Table(str(path), columns, ["one file for each metric"], run=label))
    return _joined(tables, choice, str(path)) if tables else None


def _folder_of_tables(file: Source, choice: Choice) -> History | None:
    """A folder of tables and logs of any name: each that has a loss is a run."""
    path = file.path
    places = sorted(place for place in path.rglob("*") if place.is_file() and place.name.lower().endswith(_TABLES))
    if not places or len(places) > 2000:
        return None
    names = [str(place.relative_to(path)) for place in places]
    return _each_a_run(names, lambda name: _read(path / name, choice), str(path))


def _matlab(file: Source, choice: Choice) -> dict[str, Any] | None:
    if not file.blob.startswith(b"MATLAB 5.0"):
        return None
    from scipy.io import loadmat

    found = loadmat(io.BytesIO(file.blob))
    return {
        name: array.ravel() if 1 in array.shape else array
        for name, array in found.items()
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub" and array.size > 1
    }


def _same_training(found: dict[str, dict[str, dict[int, float]]]) -> dict[str, dict[str, dict[int, float]]]:
    """``train`` and ``validation`` folders, as Keras writes them, are curves of one run."""
    merged: dict[str, dict[str, dict[int, float]]] = {}
    for run, curves in found.items():
        parent, _, last = run.rpartition("/")
        side = SIDES.get(words_of(last))
        name = parent if side else run
        for tag, curve in curves.items():
            label = f"{side}_{tag}" if side else tag
            merged.setdefault(name, {}).setdefault(label, {}).update(curve)
    return merged


def _opened(how: Any, blob: bytes, path: Path) -> Any:
    """``how(blob)``, whose errors of every library become one that names the file."""
    try:
        return how(blob)
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{path} needs a package that is not installed: {_said(error)}") from None
    except Exception as error:
        hint = ""
        if blob[:4] == b"\x89HDF":
            hint = " (netCDF version 4 needs the package h5netcdf or netCDF4)"
        raise InputError(f"path must be a readable history, and {path} cannot be read{hint}: {_said(error)}") from None


def _named(make: Any, source: str) -> History:
    """``make()``, whose errors name the file."""
    try:
        history: History = make()
    except ValueError as error:
        text = str(error)
        raise InputError(text if source in text else f"{source}: {text}") from None
    return history


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _kinds() -> str:
    return ", ".join(["a table", "JSON", "a log with a loss", *READERS])


#: The readers by the kind of file or folder, asked in this order; what none of them knows is read
#: as text. Each gives None for what is of another kind, else anything that ``history_of`` makes a
#: history of: a DataFrame, a Dataset, a mapping of curves, an array or a History. New ones are
#: registered here.
READERS: dict[str, Callable[[Source, Choice], Any]] = {
    "NumPy": _numpy,
    "zip archive": _zip,
    "event file": _event_file,
    "parquet": _parquet,
    "feather": _feather,
    "MATLAB": _matlab,
    "netCDF": _netcdf,
    "pickle": _pickle,
    "Zarr": _zarr_folder,
    "TensorBoard folder": _event_folder,
    "folder of logs": _log_folder,
    "MLflow or DVCLive folder": _metrics_folder,
}
