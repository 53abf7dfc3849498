"""Where a monitor's rows go: JSON lines, CSV, TensorBoard, Weights & Biases."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

__all__ = ["CSV", "JSONLines", "Sink", "TensorBoard", "WandB", "writes"]

#: a row: "step" and what was measured at it
Row = dict[str, Any]


class Sink(Protocol):
    """What a monitor needs of a place to write to."""

    def write(self, rows: Sequence[Row]) -> None:
        """Keep rows, each with a "step"."""

    def close(self) -> None:
        """Nothing more will come."""


class JSONLines:
    """A file with one JSON object a line, appended to, which ``ghostpoint diagnose`` reads while it
    grows.

    Every call writes whole lines and hands them to the operating system, so a program that dies
    loses nothing that was written. A line that a machine's crash or a full disk has torn is closed
    before the next one is written.

    Parameters
    ----------
    path : path
        Folders are made.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b", buffering=0)

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows; numbers that are not finite as the texts "nan", "inf" and "-inf"."""
        lines = [json.dumps({name: _plain(value) for name, value in row.items()}) + "\n" for row in rows]
        _append(self._file, "".join(lines))

    def close(self) -> None:
        """Write through to the disk."""
        if not self._file.closed:
            try:
                os.fsync(self._file.fileno())
            finally:
                self._file.close()


class CSV:
    """A table with a column for each quantity.

    A file that is there is appended to. A quantity that it has no column for gets a new one: the
    file is then written anew, in the place of the old one.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.columns: list[str] = []
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open(newline="", encoding="utf-8") as written:
                self.columns = next(csv.reader(written))

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows; empty cells where nothing was measured."""
        columns = list(dict.fromkeys([*self.columns, *(name for row in rows for name in row)]))
        if self.columns and columns != self.columns:
            self._widen(columns)
        table = io.StringIO()
        writer = csv.DictWriter(table, columns)
        if not self.columns:
            writer.writeheader()
        writer.writerows(rows)
        with self.path.open("a+b", buffering=0) as file:
            _append(file, table.getvalue())
        self.columns = columns

    def _widen(self, columns: Sequence[str]) -> None:
        """Give the table that is there more columns, empty in its rows."""
        with self.path.open(newline="", encoding="utf-8") as written:
            rows = list(csv.reader(written))[1:]
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(columns)
        more = [""] * (len(columns) - len(self.columns))
        # a line that a crash has torn stays as it is
        writer.writerows(row + more if len(row) == len(self.columns) else row for row in rows)
        anew = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        anew.write_text(table.getvalue(), encoding="utf-8", newline="")
        anew.replace(self.path)
        self.columns = list(columns)

    def close(self) -> None:
        """Nothing is held open."""


class TensorBoard:
    """Scalars in TensorBoard.

    Parameters
    ----------
    where : folder, or a ``SummaryWriter``
    prefix : str
        Before the names, such as "train/".
    """

    def __init__(self, where: Any, prefix: str = ""):
        self.prefix, self._own = prefix, not hasattr(where, "add_scalar")
        if self._own:
            try:
                module = import_module("torch.utils.tensorboard")
            except ImportError:
                raise ImportError("TensorBoard needs the package tensorboard: pip install tensorboard") from None
            where = module.SummaryWriter(os.fspath(where))
        self.writer = where

    def write(self, rows: Sequence[Row]) -> None:
        """One scalar a number."""
        for row in rows:
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float):
                    self.writer.add_scalar(self.prefix + name, value, row["step"])

    def close(self) -> None:
        """Close a writer that was made here; flush another one."""
        (self.writer.close if self._own else self.writer.flush)()


class WandB:
    """Rows in Weights & Biases.

    Parameters
    ----------
    run : the ``wandb`` run, optional
        By default a new one, from ``wandb.init(**keywords)``.
    """

    def __init__(self, run: Any = None, prefix: str = "", **keywords: Any):
        self.prefix, self._own = prefix, run is None
        if run is None:
            try:
                run = import_module("wandb").init(**keywords)
            except ImportError:
                raise ImportError("WandB needs the package wandb: pip install wandb") from None
        self.run = run

    def write(self, rows: Sequence[Row]) -> None:
        """One row a step; the step is a column of its own, so that it need not be that of the
        run.
        """
        for row in rows:
            self.run.log({self.prefix + name: value for name, value in row.items()})

    def close(self) -> None:
        """Finish a run that was begun here."""
        if self._own:
            self.run.finish()


def _append(file: io.FileIO, lines: str) -> None:
    """Write whole lines at the end of an unbuffered file; a torn line there is closed first."""
    data = lines.encode()
    if file.seekable() and file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            data = b"\n" + data
    while data:
        data = data[file.write(data) :]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def writes() -> bool:
    """Whether this process writes: rank 0 of a distributed training, or the only one."""
    distributed: Any = getattr(torch, "distributed", None)
    ready = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return not ready or distributed.get_rank() == 0
