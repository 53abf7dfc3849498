"""Cells of text files as numbers: decimal commas, percents, ``tensor(0.5)``, and the ways to write
nothing.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ghostpoint.errors import InputError

__all__ = ["CellError", "cell_number", "column_numbers"]

#: what stands for a value that was not recorded, in lower case
MISSING = {"", "none", "null", "n/a", "na", "<na>", "nat", "-", "--", "?", ".", "missing", "#n/a", "undefined"}
#: what stands for a loss that was computed and is not finite
_NOT_FINITE = {
    "nan": np.nan, "+nan": np.nan, "-nan": np.nan, "#nan": np.nan, "1.#qnan": np.nan, "-1.#ind": np.nan,
    "inf": np.inf, "+inf": np.inf, "infinity": np.inf, "-inf": -np.inf, "-infinity": -np.inf, "1.#inf": np.inf,
}  # fmt: skip
_WRAPPED = re.compile(
    r"^[A-Za-z_][\w.<>' =]*\(\s*\[?\s*([^,()\[\]]+?)\s*\]?\s*(?:,[^()]*)?\)$|^\[\s*([^,\[\]]+?)\s*\]$"
)
_FORTRAN = re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[dD][-+]?\d+$")
_COMMA = re.compile(r"^[-+]?\d+,\d+(?:[eE][-+]?\d+)?$")
_THOUSANDS = re.compile(r"^[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?$|^[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?$")


class CellError(ValueError):
    """A cell that is no number: its place in the column and its text."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index, self.text = index, text


def cell_number(cell: str) -> tuple[float, bool]:
    """The number in ``cell``, and whether anything was written there.

    ``("50.0%")`` is 0.5, ``"tensor(0.5, device='cuda:0')"`` and ``"[0.5]"`` are 0.5, ``"0,5"`` is
    0.5, ``"None"`` is (NaN, False) and ``"nan"`` is (NaN, True).

    Raises
    ------
    ValueError
        If the cell is none of these.
    """
    text = cell.strip().strip("\"'").strip()
    low = text.lower()
    if low in MISSING:
        return np.nan, False
    if low in _NOT_FINITE:
        return _NOT_FINITE[low], True
    try:
        return float(text), True
    except ValueError:
        pass
    wrapped = _WRAPPED.match(text)
    if wrapped:
        return cell_number(wrapped.group(1) or wrapped.group(2))
    if text.endswith("%"):
        value, written = cell_number(text[:-1])
        return value / 100.0, written
    if _COMMA.match(text):
        return float(text.replace(",", ".")), True
    if _THOUSANDS.match(text):
        return float(text.replace(",", "").replace(" ", "")), True
    if _FORTRAN.match(text):
        return float(low.replace("d", "e")), True
    if low in ("true", "false"):
        return float(low == "true"), True
    raise InputError(f"{cell!r} is no number")


def column_numbers(cells: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers and marks of what was written, one per cell; a :class:`CellError` names the first
    that is no number.
    """
    if not isinstance(cells, np.ndarray) or cells.dtype != object:
        array = np.asarray(cells)
        if array.dtype.kind in "fiub":
            numbers = array.astype(np.float64)
            return numbers, ~np.isnan(numbers)
        cells = np.asarray(cells, dtype=object)
    codes, unique = pd.factorize(np.asarray(cells, dtype=object), use_na_sentinel=False)
    values, marks = np.full(len(unique), np.nan), np.zeros(len(unique), dtype=bool)
    for i, cell in enumerate(unique):
        if cell is None or cell is pd.NA or cell is pd.NaT:
            continue
        if isinstance(cell, int | float | np.number | bool | np.bool_):
            values[i], marks[i] = float(cell), not np.isnan(float(cell))
            continue
        try:
            values[i], marks[i] = cell_number(str(cell))
        except ValueError:
            raise CellError(int(np.argmax(codes == i)), str(cell)) from None
    return values[codes], marks[codes]
