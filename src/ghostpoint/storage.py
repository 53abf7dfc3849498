"""Datasets and texts on disk: one file each, complete or absent, the same bytes for the same
content.

A dataset is a Zarr v3 group inside an uncompressed zip archive, so other Zarr software reads it
too. Every file is written under a temporary name in its own folder, flushed to disk and renamed: a
run that is killed leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import secrets
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import xarray as xr

from ghostpoint.errors import InputError

FORMAT = "ghostpoint-dataset"
FORMAT_VERSION = 1
TEMPORARY_PREFIX = ".ghostpoint-tmp-"
_HEADER = "ghostpoint_storage"  # the attribute of the group that says what wrote it
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex", "U": "str"}
_TAKEN = {"_FillValue", "_ARRAY_DIMENSIONS", "coordinates", "dtype"}
_STR_WARNING = ".*(Zarr V3|stable).*"  # fixed-width str is in Zarr's code and not in its text yet
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of a zip entry: the clock must not change the bytes


def write_dataset(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write ``dataset`` to the file ``path``, atomically; :func:`read_dataset` gives back an
    identical one.

    Values, order, dimensions, coordinates and dtypes (bool, int, uint, float, complex and
    fixed-width str, of every width) come back as they were, attributes as JSON has them: a tuple or
    an array as a list. Equal datasets give equal bytes.

    Raises
    ------
    ValueError
        If a variable has another dtype or attributes are not JSON, with the variable's name.
    """
    path = Path(path)
    variables = {name: _storable(name, variable) for name, variable in dataset.variables.items()}
    attributes = _json_attributes("dataset", dataset.attrs)
    if _HEADER in attributes:
        raise InputError(f"dataset must not have the attribute {_HEADER!r}, which the storage format uses")
    # A Zarr group has no order, which figures and tables that go through the variables need; the
    # width of a single str is lost in reading.
    types = {name: variable.dtype.str for name, variable in variables.items()}
    header = {"format": FORMAT, "version": FORMAT_VERSION, "variables": types}
    plain = xr.Dataset(variables, attrs={**attributes, _HEADER: header}).set_coords(list(dataset.coords))

    from zarr.storage import MemoryStore

    entries: dict[str, Any] = {}
    store = MemoryStore(entries)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_STR_WARNING)
        # chunks of one value are written too: in NaN there are bits that its name does not tell
        plain.to_zarr(store, mode="w", zarr_format=3, consolidated=False, write_empty_chunks=True)

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for key in sorted(entries):
                archive.writestr(zipfile.ZipInfo(key, _FIRST_DATE), entries[key].to_bytes())

    _replace(path, write)
    return path


def read_dataset(path: str | os.PathLike[str]) -> xr.Dataset:
    """The dataset that :func:`write_dataset` wrote to ``path``, all in memory; the file is closed
    again.

    Raises
    ------
    ValueError
        If the file is missing, damaged or not such a file, or if its format is newer than this
        version of ghostpoint reads; the message gives the path.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"path must be a saved dataset, and there is no file {path}")

    from zarr.storage import ZipStore

    # What is in the file is what was given: no decoding of times, fill values or scales by
    # attribute names.
    raw: dict[str, Any] = {"mask_and_scale": False, "decode_times": False, "decode_timedelta": False}
    try:
        with warnings.catch_warnings(), ZipStore(path, mode="r", read_only=True) as store:
            warnings.filterwarnings("ignore", message=_STR_WARNING)
            with xr.open_zarr(store, consolidated=False, chunks=None, **raw) as opened:
                dataset = opened.load()
    except Exception as error:  # zarr, zipfile and every codec have their own exceptions for a damaged file
        raise InputError(f"path must be a saved dataset, and {path} cannot be read: {error}") from error
    header = dataset.attrs.pop(_HEADER, None)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"path must be a saved dataset, and {path} is another kind of Zarr file")
    if header["version"] > FORMAT_VERSION:
        raise InputError(
            f"path must be a dataset of format version {FORMAT_VERSION} or older, and {path} has version "
            f"{header['version']}: update ghostpoint"
        )
    variables = {
        name: dataset.variables[name].drop_encoding().astype(dtype, keep_attrs=True)
        for name, dtype in header["variables"].items()
    }
    return xr.Dataset(variables, attrs=dataset.attrs).set_coords(list(dataset.coords))


def write_text_atomic(text: str, path: str | os.PathLike[str]) -> Path:
    """Write ``text`` in UTF-8 to ``path``, complete or not at all."""
    path = Path(path)
    _replace(path, lambda file: file.write(text.encode("utf-8")))
    return path


def write_json_atomic(value: Any, path: str | os.PathLike[str]) -> Path:
    """Write ``value`` as indented JSON to ``path``, complete or not at all; a ``ValueError`` if not
    JSON.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except TypeError as error:
        raise InputError(f"value must be JSON-serialisable: {error}") from None
    return write_text_atomic(text + "\n", path)


class Stored(ABC):
    """A record that is one dataset: :meth:`save` writes it to a file and :meth:`load` reads it."""

    @abstractmethod
    def to_dataset(self) -> xr.Dataset:
        """The record as a dataset."""

    @classmethod
    @abstractmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Self:
        """The inverse of :meth:`to_dataset`."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to one file, atomically (see `storage`); :meth:`load` reads it."""
        return write_dataset(self.to_dataset(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The record saved at ``path``."""
        return cls.from_dataset(read_dataset(path))


def _storable(name: Any, variable: xr.Variable) -> xr.Variable:
    """The variable without the encoding it was once read with, if it can be stored exactly."""
    if not isinstance(name, str) or not name or "/" in name:
        raise InputError(f"dataset must have variables named by text without '/', got {name!r}")
    if variable.dtype.kind not in _KINDS:
        raise InputError(f"variable {name!r} must be of {', '.join(_KINDS.values())}, got {variable.dtype}")
    taken = sorted(_TAKEN & variable.attrs.keys())
    if taken:
        raise InputError(f"variable {name!r} must not have the attribute {taken[0]!r}: the format uses it")
    attributes = _json_attributes(name, variable.attrs)
    # Without this xarray adds a fill value of its own, which would come back as one more attribute.
    return xr.Variable(variable.dims, np.asarray(variable.values), attributes, encoding={"_FillValue": None})


def _json_attributes(name: str, attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """``attributes`` as JSON gives them back."""
    try:
        result: dict[str, Any] = json.loads(json.dumps(dict(attributes), default=_listed))
    except TypeError as error:
        raise InputError(f"attributes of {name!r} must be JSON (numbers, text, lists): {error}") from None
    return result


def _listed(value: Any) -> Any:
    """A NumPy array or number as JSON can have it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} of {type(value).__name__} is not JSON-serialisable")


def _replace(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Give ``path`` the content that ``write`` writes: temporary name, flush to the disk,
    rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        with open(temporary, "xb") as file:  # a new file, with the permissions of any other that the user makes
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
