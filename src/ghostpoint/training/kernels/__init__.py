"""The compiled engine: SIMD vectors, elementary functions, and the kernels made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Any:
    """``numba.njit`` for a kernel: cached on disk, free of the interpreter's lock, IEEE division by zero.

    Numba's cache notices changes of the file a kernel is in, and a kernel here is made of several files. So the stamp
    that the cache compares is the content of all of them.
    """
    dispatcher: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    dispatcher._cache._cache_file._source_stamp = sources.hexdigest()
    return dispatcher
