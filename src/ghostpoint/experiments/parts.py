"""Parts of a long run that are kept where they are done, so that an interrupted run goes on from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import xarray as xr

from ghostpoint._version import __version__
from ghostpoint.storage import read_dataset, write_dataset

__all__ = ["keeping_parts", "part"]

#: where :func:`part` keeps what is done, set by whoever runs an experiment
_PARTS: ContextVar[Path | None] = ContextVar("parts", default=None)


@contextmanager
def keeping_parts(folder: Path | None) -> Iterator[None]:
    """Within this context :func:`part` keeps the parts of a run in ``folder``; with None it keeps nothing."""
    token = _PARTS.set(folder)
    try:
        yield
    finally:
        _PARTS.reset(token)


def part(name: str, settings: Any, make: Callable[[], xr.Dataset]) -> xr.Dataset:
    """The dataset that ``make()`` returns, read from the folder of parts where an earlier run left it.

    A part is found again by its name and ``settings``, which must be JSON and say everything ``make`` depends on but
    the version of ghostpoint, which is added.
    """
    folder = _PARTS.get()
    if folder is None:
        return make()
    key = hashlib.sha256(json.dumps([name, settings, __version__], sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{name}-{key}.zarr.zip"
    if path.is_file():
        return read_dataset(path)
    dataset = make()
    folder.mkdir(parents=True, exist_ok=True)
    write_dataset(dataset, path)
    return dataset
