"""Eigenvalues by LAPACK, called so that other threads run meanwhile.

ctypes gives up the interpreter's lock, which numpy and scipy keep here.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numba.extending import get_cython_function_address
from numpy.typing import NDArray

from ghostpoint.numerics.arrays import Floats


@cache
def _dgeev() -> Any:
    """LAPACK's routine, all arguments by reference."""
    address = get_cython_function_address("scipy.linalg.cython_lapack", "dgeev")
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 14)(address)


def eigenvalues_of(matrix: Floats) -> NDArray[np.complex128]:
    """Of a square matrix of finite numbers (N, N): shape (N,), complex, in no order.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the iteration does not converge.
    """
    n = len(matrix)
    # eigenvalues of the transpose are the same; it is overwritten
    a, parts, work, none = np.array(matrix, dtype=np.float64), np.empty((2, n)), np.empty(64 * max(n, 1)), np.empty(1)
    size, one, room, info = ctypes.c_int(n), ctypes.c_int(1), ctypes.c_int(len(work)), ctypes.c_int()
    no = ctypes.c_char(b"N")
    n_at, no_at, one_at = ctypes.addressof(size), ctypes.addressof(no), ctypes.addressof(one)
    _dgeev()(
        no_at, no_at, n_at, a.ctypes.data, n_at, parts[0].ctypes.data, parts[1].ctypes.data, none.ctypes.data, one_at,
        none.ctypes.data, one_at, work.ctypes.data, ctypes.addressof(room), ctypes.addressof(info),
    )  # fmt: skip
    if info.value:
        raise np.linalg.LinAlgError(f"eigenvalues did not converge (LAPACK says {info.value})")
    return parts[0] + 1j * parts[1]
