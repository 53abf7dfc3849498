"""Plain text logs: ``Epoch 3/100 - loss: 0.69 - acc: 0.51``, ``step 200 | train loss 1.23``,
printed dictionaries.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from ghostpoint.diagnosis.readers.cells import cell_number
from ghostpoint.diagnosis.readers.columns import STEPS, rank_of, words_of
from ghostpoint.diagnosis.readers.table import Table

__all__ = ["log_table"]

_NUMBER = r"[-+]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:[eE][-+]?\d+)?%?|nan|NaN|inf|-inf|Infinity|None|null"
_PAIR = re.compile(
    rf"(?P<name>[A-Za-z_][\w/.\-]*(?:[ ]{{1,3}}[A-Za-z_][\w/.\-]*){{0,2}})[\"']?(?:\s*\(\w+\))?\s*[:=#\[(]?\s*[\[(]*\s*"
    rf"(?:tensor\()?(?P<value>{_NUMBER})(?![\w.])(?P<of>\s*/\s*\d+)?"
)
_BARS = re.compile(r"\[[=>.\-#█▏▎▍▌▋▊▉ ]{4,}\]|\d+%\||[━█▏▎▍▌▋▊▉]{3,}")
#: words of a sentence that name nothing
_BETWEEN = {"the", "a", "is", "was", "and", "of"}
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?|\b\d\d:\d\d:\d\d(?:[.,]\d+)?")


def log_table(text: str, source: str) -> Table | None:
    """Pairs of names and numbers in every line as a table with one row a line; None if no line has
    a loss.

    A line with a step and no loss (``Epoch 4/100``) gives its step to the lines below it. Of a
    progress bar that is written again for the same step, the last state stands.
    """
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    open_step: dict[str, float] = {}
    passed, bars = 0, False
    for number, line in enumerate(_COLOURS.sub("", text).split("\n"), 1):
        if not line.strip():
            continue
        pairs = _pairs(line)
        steps = {name: value for name, value in pairs.items() if words_of(name) in STEPS[:9]}
        values = {name: value for name, value in pairs.items() if name not in steps}
        if any(rank_of(name, role) for name in values for role in ("loss", "accuracy")):
            bar = not steps and bool(_BARS.search(line) or re.match(r"\s*\d+/\d+\s", line))
            if bar and rows and bars and rows[-1].items() >= open_step.items():
                rows.pop()  # the same bar, written again
                places.pop()
            rows.append({**open_step, **steps, **values})
            places.append(number)
            bars = bar
        elif steps:
            open_step, bars = steps, False
        else:
            passed += 1
    if not any(rank_of(name, "loss") for row in rows for name in row):
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    common = [name for name in names if 20 * sum(name in row for row in rows) >= len(rows)]
    columns = {name: [row.get(name) for row in rows] for name in common}
    account = [f"read as a text log; {passed} lines without numbers by name left out"] if passed else ["read as a log"]
    return Table(source, columns, account, places)


def _pairs(line: str) -> dict[str, Any]:
    """Name to number of one line."""
    stripped = line.strip()
    start = stripped.find("{")
    if start >= 0 and stripped.endswith("}"):
        try:
            found = ast.literal_eval(re.sub(r"\b(nan|inf)\b", "None", stripped[start:]))
            return {str(k): number for k, v in found.items() if (number := _number(v)) is not None}
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
    clean = _STAMP.sub(" ", _BARS.sub(" ", line))
    pairs: dict[str, Any] = {}
    for match in _PAIR.finditer(clean):
        name = _name(match["name"])
        if not name:
            continue
        value, written = cell_number(match["value"])
        if written and name not in pairs:
            pairs[name] = value
    return pairs


def _number(value: Any) -> float | None:
    """A number, also one that is written as text; None for anything else."""
    try:
        number, written = cell_number(str(value))
    except ValueError:
        return None
    return number if written else None


def _name(text: str) -> str:
    """The words of ``text`` that name a curve or a step: the last ones."""
    words = [word for word in text.strip().strip("\"'").split() if word.lower() not in _BETWEEN]
    for start in range(len(words)):
        name = " ".join(words[start:])
        known = words_of(name)
        if known in STEPS or known in ("ep", "eps") or any(
            rank_of(name, role) and len(words) - start <= 3
            for role in ("loss", "accuracy", "learning_rate", "gradient_norm")
        ):  # fmt: skip
            return "epoch" if known in ("ep", "eps") else name
        if known.split("_")[-1] in STEPS[:6] and len(words) - start == 1 and "_per_" not in known:
            return known.split("_")[-1]
    return ""
