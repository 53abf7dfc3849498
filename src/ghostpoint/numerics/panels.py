"""Matrices in panels (see ``blocks.py``) from ordinary ones, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def into_panels(matrix: NDArray[Any], out: NDArray[Any], plane: int, width: int) -> None:
    """Write ``matrix`` to the flat ``out`` in panels of ``width`` columns, with zeros beyond it.

    Panel by panel, in each panel blocks of w rows, in a block column by column: with w the width
    and P = ``plane``, element (i, j) goes to place
    ``((j // w) P + (i // w) w) w + (j % w) w + i % w``.

    Parameters
    ----------
    matrix : (rows, columns)
    out : (P C,)
        C the columns there is room for; P and C are multiples of w.
    plane : int
        P, rows with padding.
    width : int
        Lanes of a vector.
    """
    columns = out.size // plane
    padded = np.zeros((plane, columns))
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    tiles = padded.reshape(plane // width, width, columns // width, width)  # row block, row, panel, column
    out[:] = tiles.transpose(2, 0, 3, 1).reshape(-1)


def from_panels(flat: NDArray[Any], plane: int, width: int) -> NDArray[Any]:
    """The matrix (``plane``, columns) that :func:`into_panels` wrote to ``flat``, with zeros."""
    columns = flat.size // plane
    tiles = flat.reshape(columns // width, plane // width, width, width)
    return np.asarray(tiles.transpose(1, 3, 0, 2).reshape(plane, columns))
