"""The inverse of a factorised matrix by LAPACK, called so that other threads run meanwhile (scipy holds them up)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numba.extending import get_cython_function_address
from numpy.typing import NDArray

__all__ = ["inverse_of_factors"]

Floats = NDArray[np.float64]


@cache
def _dgetri() -> Any:
    """LAPACK's routine; ctypes gives up the interpreter's lock while it runs."""
    types = [ctypes.c_void_p] * 7
    return ctypes.CFUNCTYPE(None, *types)(get_cython_function_address("scipy.linalg.cython_lapack", "dgetri"))


def inverse_of_factors(factors: Floats, pivots: NDArray[np.integer]) -> Floats | None:
    """What `scipy.linalg.lapack.dgetrf` factorised, inverted in the place of ``factors``; None where that is singular.

    ``factors`` is contiguous by columns.
    """
    if not (factors.flags.f_contiguous and factors.dtype == np.float64 and factors.flags.writeable):
        raise ValueError("factors must be a float64 array that is contiguous by columns")
    n = len(factors)
    # LAPACK counts from 1; the blocked algorithm wants room for blocks of up to 64 columns
    rows = (pivots + 1).astype(np.intc)
    work = np.empty(64 * max(n, 1))
    size, room, info = ctypes.c_int(n), ctypes.c_int(len(work)), ctypes.c_int()
    n_at = ctypes.addressof(size)
    _dgetri()(
        n_at,
        factors.ctypes.data,
        n_at,
        rows.ctypes.data,
        work.ctypes.data,
        ctypes.addressof(room),
        ctypes.addressof(info),
    )
    return factors if info.value == 0 else None
