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
#: thousands set apart by points, as in German: two groups at least, or a decimal comma after them
_POINTS = re.compile(r"^[-+]?\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?$|^[-+]?\d{1,3}\.\d{3},\d+$")
#: 1,000 and 1.000, which are one or a thousand; and what says that the comma is for thousands
_EITHER = re.compile(r"^[-+]?[1-9]\d{0,2},\d{3}$")
_POINTED = re.compile(r"^[-+]?[1-9]\d{0,2}\.\d{3}$")
_GROUPED = re.compile(r"^[-+]?\d{1,3}(?:(?:,\d{3}){2,}|(?:,\d{3})+\.\d+)$")
_WHOLE = re.compile(r"^[-+]?\d{1,3}$")
_DECIMAL_POINT = re.compile(r"^[-+]?\d+\.\d+$")


class CellError(ValueError):
    """A cell that is no number: its place in the column and its text."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index, self.text = index, text


def cell_number(cell: str, thousands: str = "") -> tuple[float, bool]:
    """The number in ``cell``, and whether anything was written there; ``thousands`` is what sets
    them apart in its column, where that is known.

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
    if thousands and (_EITHER if thousands == "," else _POINTED).match(text):
        return float(text.replace(thousands, "")), True
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
    if _POINTS.match(text):
        return float(text.replace(".", "").replace(",", ".")), True
    if _FORTRAN.match(text):
        return float(low.replace("d", "e")), True
    if low in ("true", "false"):
        return float(low == "true"), True
    raise InputError(f"{cell!r} is no number")


def _thousands(texts: list[str]) -> str:
    """What sets thousands apart in a column, whose cells are given in order: a comma or a point
    where some cell can only be read so, a comma also where the column ascends with it and not
    without; empty for nothing.
    """
    texts = [text.strip().strip("\"'").strip() for text in texts]
    if any(map(_POINTS.match, texts)):
        return "."
    if not any(map(_EITHER.match, texts)):
        return ""
    if any(map(_GROUPED.match, texts)) or any(map(_DECIMAL_POINT.match, texts)):
        return ","
    known = [text for text in texts if text.lower() not in MISSING and text.lower() not in _NOT_FINITE]
    if not all(_EITHER.match(text) or _WHOLE.match(text) for text in known):
        return ""
    # a count of steps that goes on beyond a thousand
    grouped, decimal = (np.array([float(text.replace(",", sign)) for text in known]) for sign in ("", "."))
    return "," if bool((np.diff(grouped) > 0).all()) and not bool((np.diff(decimal) > 0).all()) else ""


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
    # once each, in the order in which they come first
    thousands = _thousands([cell for cell in unique if isinstance(cell, str)])
    for i, cell in enumerate(unique):
        if cell is None or cell is pd.NA or cell is pd.NaT:
            continue
        if isinstance(cell, int | float | np.number | bool | np.bool_):
            values[i], marks[i] = float(cell), not np.isnan(float(cell))
            continue
        try:
            values[i], marks[i] = cell_number(str(cell), thousands)
        except ValueError:
            raise CellError(int(np.argmax(codes == i)), str(cell)) from None
    return values[codes], marks[codes]
