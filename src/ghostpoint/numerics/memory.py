"""Arrays as the kernels want them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def aligned(size: int, dtype: Any) -> NDArray[Any]:
    """``size`` zeros on a 64-byte boundary: a vector that straddles two cache lines costs twice."""
    item = np.dtype(dtype).itemsize
    raw = np.zeros(size + 64 // item, dtype)
    offset = (-raw.ctypes.data % 64) // item
    return raw[offset : offset + size]
