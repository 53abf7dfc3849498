"""Compiled algebra of the descent: the Hessian of q for a full-rank network, its Cholesky factor,
the solution.

Of symmetric matrices the upper triangles are made, by tiles of `tile_kernels`; below the diagonal
they hold whatever the tiles left there. W, and with it every matrix and vector, is padded by zeros
(see `pack`), so that no tile ends outside. Every sum has an order that the source fixes, and so
returns the same bits whatever runs beside it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.tile_kernels import COLUMNS, ROWS, add_row, dot, not_inlined, set_row, tile

LINE = 8  # numbers in a line of the cache


class Packed(NamedTuple):
    """W (N, N) as the kernels read it.

    ``rows`` has `ROWS` rows of zeros more, and columns of zeros up to a multiple of `COLUMNS`, at
    least as many more. ``panels`` holds its columns in panels of `ROWS`, each row by row: the left
    factor of a `tile`.
    """

    rows: Floats
    panels: Floats


def aligned(shape: tuple[int, ...]) -> Floats:
    """Zeros that begin where a line of the cache does: a register that straddles two takes longer
    to fill.
    """
    count = math.prod(shape)
    room = np.zeros(count + LINE)
    first = -(room.ctypes.data // room.itemsize) % LINE
    return room[first : first + count].reshape(shape)


def pack(W: Floats) -> Packed:
    """W for the kernels."""
    size = len(W)
    count, width = -(-size // ROWS), -(-(size + ROWS) // COLUMNS) * COLUMNS
    rows, panels = aligned((size + ROWS, width)), aligned((size * count * ROWS,))
    rows[:size, :size] = W
    panels.reshape(count, size, ROWS)[...] = rows[:size, : count * ROWS].reshape(size, count, ROWS).transpose(1, 0, 2)
    return Packed(rows, panels)


@compiled
def weighted_square(W: Any, panels: Any, size: int, weights: Any, gain: Any, scaled: Any, out: Any) -> None:
    """Fill ``out`` with ``W^T diag(weights) W - G W - (G W)^T + 1``, G = diag(gain).

    It is ``W^T (diag(weights) W - G)`` added to ``1 - G W``. For weights ``gain**2`` it is J^T J,
    as J = G W - 1.
    """
    not_inlined()
    width = W.shape[1]
    # 1 - G W, to which the tiles add W^T (diag(weights) W - G)
    for i in range(size):
        set_row(out, i * width, W, i * width, width, -gain[i])
        out[i, i] += 1.0
    # rows after the last, which complete a panel, are those of the identity
    for i in range(size, out.shape[0]):
        out[i, i] = 1.0
    for first in range(0, size, COLUMNS):
        # a panel of diag(weights) W - G, the right factor of the tiles
        for k in range(size):
            set_row(scaled, k * COLUMNS, W, k * width + first, COLUMNS, weights[k])
        for j in range(min(COLUMNS, size - first)):
            scaled[(first + j) * COLUMNS + j] -= gain[first + j]
        # upper triangle: tiles that begin above the end of this panel
        for i in range(0, min(first + COLUMNS, size), ROWS):
            tile(out, (i * width + first, i * size, 0), (width, ROWS, COLUMNS), panels, scaled, size, 1.0, True)


@compiled
def _corner(panel: Any, first: int, lower: Any, inverse: Any) -> bool:
    """Fill ``inverse`` with L^-T, L the Cholesky factor of the square that begins at column
    ``first``.
    """
    not_inlined()
    for i in range(ROWS):
        for j in range(i):
            total = panel[j, first + i]
            # l_ij = (a_ij - sum_k l_ik l_jk) / l_jj, the division as a product with 1 / l_jj
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = total * inverse[j, j]
        total = panel[i, first + i]
        for k in range(i):
            total -= lower[i, k] * lower[i, k]
        if not 0.0 < total < math.inf:
            return False
        # column i of L^-T by forward substitution
        inverse[i, i] = 1.0 / math.sqrt(total)
        for j in range(i):
            total = 0.0
            for k in range(j, i):
                total += lower[i, k] * inverse[j, k]
            inverse[j, i] = -total * inverse[i, i]
    return True


@compiled
def factorize(matrix: Any, size: int, damping: float, right: Any, U: Any, panel: Any, corner: Any) -> bool:
    """Fill U with the Cholesky factor of ``matrix + damping``, damping >= 0; False where that is
    not positive definite.

    The column after the last panel of `ROWS` becomes ``-U^-T right``. ``panel`` (ROWS, width) and
    ``corner`` (2, ROWS, ROWS), zeros at first, are for its own use.
    """
    not_inlined()
    width, last = matrix.shape[1], -(-size // ROWS) * ROWS
    for first in range(0, size, ROWS):
        start = first // COLUMNS * COLUMNS
        # the rows of this panel, damped, and the right side as one more column
        for i in range(ROWS):
            set_row(panel, i * width + start, matrix, (first + i) * width + start, width - start, 1.0)
            panel[i, first + i] += damping
            panel[i, last] = -right[first + i]
        for j in range(start, last + 1, COLUMNS):
            # minus what the rows above have eliminated: A - U^T U
            tile(panel, (j, first, j), (width, width, width), U, U, first, -1.0, True)
        if not _corner(panel, first, corner[0], corner[1]):
            return False
        for j in range(start, last + 1, COLUMNS):
            # U = L^-1 times the panel, with L^-T as the left factor of the tile
            tile(U, (first * width + j, ROWS * ROWS, j), (width, ROWS, width), corner, panel, ROWS, 1.0, False)
    return True


@compiled
def solve(U: Any, size: int, step: Any) -> None:
    """Fill ``step`` with the solution of ``U^T U step = -right``, after `factorize`."""
    not_inlined()
    width, last = U.shape[1], -(-size // ROWS) * ROWS
    for k in range(width):
        step[k] = 0.0
    for k in range(size - 1, -1, -1):
        # what is not yet solved for is zero, and takes no part
        start = k // COLUMNS * COLUMNS
        step[k] = (U[k, last] - dot(U, k * width + start, step, start, width - start)) / U[k, k]


@compiled
def eliminate(U: Any, size: int, right: Any, rest: Any) -> None:
    """Make the column after the last panel of U ``-U^-T right``, as `factorize` does; ``rest``
    (width,) is for its own use.
    """
    not_inlined()
    width, last = U.shape[1], -(-size // ROWS) * ROWS
    set_row(rest, 0, right, 0, width, -1.0)
    for k in range(size):
        # what is left of the right side; entries up to k are not looked at again
        start, value = k // COLUMNS * COLUMNS, rest[k] / U[k, k]
        add_row(rest, start, U, k * width + start, width - start, -value)
        U[k, last] = value
