"""Pickles and ``.pt`` files of plain numbers, by an unpickler that makes numbers, containers and
arrays and no more.

A pickle names functions that its reader calls, so reading one can run anything. Only the few names
below are known here, and each stands for code of this module or of NumPy that builds data.
PyTorch's format is a zip archive with a pickle whose tensors are persistent ids of raw files in it
(torch/serialization.py), which needs no PyTorch.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError

__all__ = ["plain_pickle", "torch_archive"]

_STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?", "BFloat16Storage": "bf16",
}  # fmt: skip


def _tensor(storage: NDArray[Any], offset: int, size: Any, stride: Any, *_: Any) -> NDArray[Any]:
    """The strided view that torch._utils._rebuild_tensor_v2 makes."""
    flat = storage[offset:]
    reach = sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1 if all(size) else 0
    if reach > len(flat) or min((*stride, 0)) < 0:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    steps = tuple(s * flat.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(flat, tuple(size), steps).copy()


_NUMPY = {"_reconstruct", "scalar", "_frombuffer", "ndarray", "dtype"}


class _Plain(pickle.Unpickler):
    """An unpickler of numbers, text, containers, NumPy arrays and PyTorch tensors."""

    archive: zipfile.ZipFile | None = None
    root = ""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("collections", "defaultdict"): defaultdict,
            ("builtins", "dict"): dict, ("builtins", "list"): list, ("builtins", "set"): set,
            ("builtins", "complex"): complex, ("builtins", "bytearray"): bytearray,
            ("_codecs", "encode"): lambda text, _: text.encode("latin-1"),
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }  # fmt: skip
        if (module, name) in known:
            return known[module, name]
        if module.startswith("torch") and name in _STORAGES:
            return _STORAGES[name]
        if name in _NUMPY and module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray",
                                         "numpy.core.numeric", "numpy._core.numeric"):  # fmt: skip
            from numpy._core import multiarray, numeric

            return getattr(np, name, None) or getattr(multiarray, name, None) or getattr(numeric, name)
        raise pickle.UnpicklingError(f"it holds an object of {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        if self.archive is None or not isinstance(pid, tuple) or pid[0] != "storage":
            raise pickle.UnpicklingError("it refers to data outside")
        kind, key = pid[1], pid[2]
        raw = self.archive.read(f"{self.root}data/{key}")
        if kind == "bf16":
            return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        return np.frombuffer(raw, kind)


def plain_pickle(blob: bytes, source: str) -> Any:
    """What a pickle of plain numbers holds, made without running anything that it names.

    Raises
    ------
    ValueError
        If it holds anything else, with the name of that, or is damaged.
    """
    try:
        return _Plain(io.BytesIO(blob)).load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(
            f"{source}: a pickle must hold plain numbers, lists, dicts and NumPy arrays only, since loading others "
            f"can run any code; {error}. Save it as csv, json or npz"
        ) from None


def torch_archive(path: Path, blob: bytes) -> Any:
    """What a ``.pt`` file of numbers and tensors holds, without PyTorch."""
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            reader = _Plain(io.BytesIO(archive.read(name)))
            reader.archive, reader.root = archive, name[: -len("data.pkl")]
            return reader.load()
    except Exception as error:  # as above
        raise InputError(
            f"{path}: a .pt file must hold a dict of numbers and tensors only, since loading others can run any code; "
            f"{error}"
        ) from None
