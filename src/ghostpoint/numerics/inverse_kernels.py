"""A compiled inverse of small matrices: Gauss-Jordan elimination in place, with pivots, a panel of
columns at a time.

LAPACK's takes three times as long for 100 rows. Nothing is proven of the result: proofs bound what
it lacks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.symmetric_kernels import aligned
from ghostpoint.numerics.tile_kernels import COLUMNS, ROWS, add_row, set_row, tile

PANEL = 2 * ROWS
LARGEST_SIZE = 200  # beyond it the matrix leaves the cache between panels, and LAPACK is as fast


@compiled
def _eliminate(T: Any, first: int, size: int, A: Any, rows: Any, order: Any) -> bool:
    """Gauss-Jordan steps for the columns in the rows of T, with the swaps of rows in A; False at a
    zero pivot.
    """
    width = A.shape[1]
    for c in range(PANEL):
        # partial pivoting: the largest number of the column not yet eliminated
        at, here, largest = first + c, first + c, -1.0
        for i in range(at, size):
            if abs(T[c, i]) > largest:
                here, largest = i, abs(T[c, i])
        if not 0.0 < largest < math.inf:
            return False
        if here != at:
            for k in range(PANEL):
                T[k, at], T[k, here] = T[k, here], T[k, at]
            order[at], order[here] = order[here], order[at]
            set_row(rows, 0, A, at * width, width, 1.0)
            set_row(A, at * width, A, here * width, width, 1.0)
            set_row(A, here * width, rows, 0, width, 1.0)
        # T holds columns as rows: subtract multiples of the pivot's, and keep the inverse in place
        inverse = 1.0 / T[c, at]
        for k in range(PANEL):
            if k != c:
                factor = T[k, at] * inverse
                add_row(T, k * width, T, c * width, width, -factor)
                T[k, at] = factor
        set_row(T, c * width, T, c * width, width, -inverse)
        T[c, at] = inverse
    return True


@compiled
def _invert(matrix: Any, A: Any, T: Any, rows: Any, order: Any, result: Any) -> bool:
    """Fill ``result`` with the inverse; False where elimination meets a zero. T and ``rows`` are
    (PANEL, width).
    """
    n, (size, width) = matrix.shape[0], A.shape
    for i in range(size):
        order[i] = i
        for j in range(n):
            A[i, j] = matrix[i, j] if i < n else 0.0
        if i >= n:
            A[i, i] = 1.0
    # the panel's columns by themselves, then its effect on all others as one product
    for first in range(0, size, PANEL):
        for i in range(size):
            for c in range(PANEL):
                T[c, i] = A[i, first + c]
        if not _eliminate(T, first, size, A, rows, order):
            return False
        # the pivot rows, with zeros where the panel itself stands: its columns come from T
        for c in range(PANEL):
            set_row(rows, c * width, A, (first + c) * width, width, 1.0)
            set_row(rows, c * width + first, rows, c * width + first, PANEL, 0.0)
        for i in range(0, size, ROWS):
            # the panel's own rows are replaced, multiples of them are added to all others
            keep = not first <= i < first + PANEL
            for j in range(0, size, COLUMNS):
                tile(A, (i * width + j, i, j), (width, width, width), T, rows, PANEL, 1.0, keep)
        for i in range(size):
            for c in range(PANEL):
                A[i, first + c] = T[c, i]
    # the elimination was that of the rows in their new order
    for i in range(n):
        for j in range(n):
            result[i, order[j]] = A[i, j]
    return True


def small_inverse(matrix: Floats) -> Floats | None:
    """The inverse; None where elimination meets an exact zero or a number that is not finite."""
    n = len(matrix)
    size, width = -(-n // PANEL) * PANEL, -(-n // COLUMNS) * COLUMNS
    result = np.empty((n, n))
    room = aligned((size + 2 * PANEL, width))
    order = np.empty(size, dtype=np.int64)
    work = room[:size], room[size : size + PANEL], room[size + PANEL :]
    return result if _invert(np.ascontiguousarray(matrix), *work, order, result) else None
