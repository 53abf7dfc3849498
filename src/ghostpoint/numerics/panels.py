"""Matrices in panels (see ``blocks.py``) from ordinary ones, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def into_panels(matrix: NDArray[Any], out: NDArray[Any], plane: int, width: int) -> None:
    """Write ``matrix`` to the flat ``out``, with zeros up to ``plane`` rows and as many columns as
    ``out`` has.
    """
    columns = out.size // plane
    padded = np.zeros((plane, columns))
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    tiles = padded.reshape(plane // width, width, columns // width, width)  # row block, row, panel, column
    out[:] = tiles.transpose(2, 0, 3, 1).reshape(-1)


def from_panels(flat: NDArray[Any], plane: int, width: int) -> NDArray[Any]:
    """The matrix (plane, columns) in a flat array of panels."""
    columns = flat.size // plane
    tiles = flat.reshape(columns // width, plane // width, width, width)
    return np.asarray(tiles.transpose(1, 3, 0, 2).reshape(plane, columns))
