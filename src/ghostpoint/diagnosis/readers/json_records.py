"""JSON and JSON lines: histories of Keras, logs of Hugging Face, W&B and MLflow, records and
columns of pandas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ghostpoint.diagnosis.readers.columns import MATCHED, SIDES, STEPS, rank_of, words_of
from ghostpoint.diagnosis.readers.table import Table
from ghostpoint.errors import InputError

__all__ = ["json_tables", "table_of_rows", "tables_of_value"]

#: lists and objects inside of each other, at most, in a document that ends too soon
DEEPEST = 12
#: values that a curve has at least in what is read of a document that ends too soon
FEWEST = 5


def json_tables(text: str, source: str) -> list[Table] | None:
    """Tables of a JSON document or of JSON lines; None if it is neither.

    Raises
    ------
    ValueError
        If the document is damaged, or holds no curves.
    """
    head = text.lstrip()[:1]
    if head not in ("{", "["):
        return None
    try:
        value = _loads(text)
    except json.JSONDecodeError as error:
        whole = _whole_records(text, error.pos)
        if whole:
            table = table_of_rows(whole, source)
            table.account.append(f"the document is cut short: its {len(whole)} whole records were read")
            return [table]
        rows, bad = _lines(text)
        for value in _completed(text) if not rows else ():
            try:
                tables = tables_of_value(value, source)
            except InputError:
                continue
            if any(max(map(len, table.columns.values()), default=0) < FEWEST for table in tables):
                break  # it may have just begun to be written
            for table in tables:
                table.account.append("the document is cut short: what is whole of it was read")
            return tables
        if len(rows) >= 1 and len(rows) > 4 * len(bad):
            table = table_of_rows([row for _, row in rows], source)
            table.lines = [number for number, _ in rows]
            if bad:
                table.account.append(f"{len(bad)} lines that are no JSON left out, first row {bad[0]}")
            return [table]
        looks = text.lstrip().startswith(("{'", "[{'")) or re.match(
            r"\[[^\]\[{\"]*[A-Za-z]|\[[^\]\[\n]*\][ \t]*[^\s,\]]", text.lstrip()
        )  # a printed dictionary, or a log whose lines begin with brackets
        if looks or (len(text.splitlines()) > 1 and rows and head != "["):
            return None
        raise InputError(
            f"{source}: row {error.lineno}, column {error.colno}: must be JSON, but {error.msg.lower()}"
        ) from None
    try:
        return tables_of_value(value, source)
    except InputError:
        if not _is_one_record(value, text):
            raise
    return [table_of_rows([value], source)]


def _is_one_record(value: Any, text: str) -> bool:
    """Whether this is the first line of a log: the loss of one step alone."""
    one = isinstance(value, dict) and "\n" not in text.strip()
    return one and any(rank_of(str(key), "loss") and isinstance(cell, int | float | str) for key, cell in value.items())


def _loads(text: str) -> Any:
    """The value of a document; NaN and infinities, which JSON has not, stay text: they were written
    down."""
    return json.loads(text, parse_constant=str)


def _whole_records(text: str, wrong: int) -> list[dict[str, Any]]:
    """The records of a list that ends in the middle of one, as a running program leaves it; none
    for other texts."""
    end = text.rfind("}") + 1
    if not text.lstrip().startswith("[") or not 0 < end <= wrong:
        return []
    try:
        value = _loads(text[:end] + "]")
    except json.JSONDecodeError:
        return []
    return value if value and all(isinstance(row, dict) for row in value) else []


def _completed(text: str) -> Iterator[Any]:
    """What a document that ends too soon holds, with its lists and objects closed after the last
    whole value in each of those that are open, the innermost first; nothing for one that is wrong
    before its end.
    """
    stack: list[str] = []
    ends: list[int] = []  # of the last whole value in each
    quoted = escaped = False
    for place, letter in enumerate(text):
        if quoted:
            quoted, escaped = escaped or letter != '"', letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        elif letter in "[{":
            stack.append("]" if letter == "[" else "}")
            ends.append(place + 1)
        elif letter in "]}":
            if not stack or stack.pop() != letter:
                return
            ends.pop()
            if ends:
                ends[-1] = place + 1
        elif letter == "," and ends:
            ends[-1] = place
    # the rest is a value that was being written, and not the text of a log
    if not stack or len(stack) > DEEPEST or "\n" in text[ends[-1] :].strip().lstrip(",").strip():
        return
    for depth in range(len(stack), 0, -1):
        try:
            yield _loads(text[: ends[depth - 1]] + "".join(reversed(stack[:depth])))
        except json.JSONDecodeError:
            continue


def _lines(text: str) -> tuple[list[tuple[int, dict[str, Any]]], list[int]]:
    rows: list[tuple[int, dict[str, Any]]] = []
    bad: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = _loads(line)
        except json.JSONDecodeError:
            bad.append(number)
            continue
        if isinstance(value, dict):
            rows.append((number, value))
        else:
            bad.append(number)
    return rows, bad


def tables_of_value(value: Any, source: str, run: str | None = None) -> list[Table]:
    """Tables of plain Python data: lists of numbers or of records, mappings of columns, and these
    by run.
    """
    if isinstance(value, list):
        if value and all(isinstance(row, dict) for row in value):
            return [_of_records(value, source, run)]
        if value and all(_is_column(row) for row in value):
            widths = {len(row) for row in value}
            if (
                widths == {3} and len(value) > 3 and all(row[0] > 1e8 for row in value)
            ):  # TensorBoard: time, step, value
                _, steps, values = zip(*value, strict=True)
                return [Table(source, {"step": steps, "loss": values}, run=run)]
            if widths == {2} and len(value) > 2:
                raise InputError(
                    f"{source}: {len(value)} lists of two numbers: is each (epoch, loss)? Write a header, or a mapping "
                    "with epoch and loss"
                )
            return [Table(source, {"loss": row}, run=str(i)) for i, row in enumerate(value)]
        if _is_column(value):
            return [Table(source, {"loss": value}, run=run)]
    if isinstance(value, dict):
        if {"columns", "data"} <= set(value) and isinstance(value["data"], list):  # pandas' "split"
            rows = [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
            return [_of_records(rows, source, run)]
        value = _one_training(value)
        for key in ("log_history", "history", "logs", "metrics", "data", "records"):
            inner = value.get(key)
            if isinstance(inner, list | dict) and inner and not _is_column(inner):
                return tables_of_value(inner, source, run)
        columns = {str(name): cells for name, cells in value.items() if _is_column(cells)}
        if len(columns) > 1 and not any(words_of(n) in STEPS or rank_of(n, r) for n in columns for r in MATCHED):
            return [Table(source, {"loss": cells}, run=name) for name, cells in columns.items()]  # losses by run
        if columns:
            longest = max(map(len, columns.values()))
            kept = {name: cells for name, cells in columns.items() if len(cells) == longest or "loss" in name.lower()}
            dropped = [name for name in columns if name not in kept]
            padded = {name: list(cells) + [None] * (longest - len(cells)) for name, cells in kept.items()}
            account = [f"columns of another length left out: {', '.join(dropped[:12])}"] if dropped else []
            return [Table(source, padded, account, run=run)]
        by_place = [cells for cells in value.values() if isinstance(cells, dict)]
        if len(by_place) == len(value) > 1 and _by_number(value):  # pandas' "index": place to record
            return [table_of_rows(by_place, source, run)]
        if by_place and all(_by_number(cells) for cells in by_place):  # pandas' columns: name to place to value
            places = sorted({int(k) for cells in by_place for k in cells})
            return [
                Table(source, {str(name): [cells.get(str(k)) for k in places] for name, cells in value.items()
                               if isinstance(cells, dict)}, run=run)
            ]  # fmt: skip
        nested = {str(name): part for name, part in value.items() if isinstance(part, list | dict) and part}
        tables = []
        for name, part in nested.items():
            try:
                tables += tables_of_value(part, source, name)
            except ValueError:
                continue
        if tables:
            return tables
    raise InputError(f"{source}: must hold lists of numbers by name, or records with a loss, and holds neither")


def _one_training(value: dict[Any, Any]) -> dict[Any, Any]:
    """The curves of a training set and a validation set under one mapping, and Sacred's metrics as
    records; another mapping as it is."""
    parts = {str(name): part for name, part in value.items() if isinstance(part, dict)}
    if len(parts) > 1 and all(words_of(name) in SIDES for name in parts):
        return {f"{side}/{name}": cells for side, part in parts.items() for name, cells in part.items()}
    if parts and all({"steps", "values"} <= set(part) for part in parts.values()):
        rows: dict[Any, dict[str, Any]] = {}
        for name, part in parts.items():
            for at, cell in zip(part["steps"], part["values"], strict=False):
                rows.setdefault(at, {"step": at})[name] = cell
        return {"records": list(rows.values())}
    return value


def table_of_rows(rows: list[dict[str, Any]], source: str, run: str | None = None) -> Table:
    """Records as a table: nested names are joined with "/", what is no number is left out."""
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    return Table(source, {name: [row.get(name) for row in flat] for name in names}, run=run)


def _of_records(rows: list[dict[str, Any]], source: str, run: str | None) -> Table:
    if {"key", "value"} <= set(rows[0]):  # MLflow: one record a metric and step
        merged: dict[Any, dict[str, Any]] = {}
        for i, row in enumerate(rows):
            merged.setdefault(row.get("step", i), {"step": row.get("step", i)})[str(row["key"])] = row["value"]
        return table_of_rows(list(merged.values()), source, run)
    return table_of_rows(rows, source, run)


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}/")
        elif value is None or isinstance(value, int | float | str):
            found[prefix + str(name)] = "nan" if isinstance(value, float) and np.isnan(value) else value
        elif _is_column(value) and len(value) == 1:
            found[prefix + str(name)] = value[0]
    return found


def _is_column(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(
        cell is None or isinstance(cell, int | float) or (isinstance(cell, str) and len(cell) < 40) for cell in value
    ) and any(isinstance(cell, int | float) or cell == "NaN" or _writes_a_number(cell) for cell in value)  # fmt: skip


def _writes_a_number(cell: Any) -> bool:
    return isinstance(cell, str) and bool(re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", cell))


def _by_number(cells: dict[Any, Any]) -> bool:
    return bool(cells) and all(str(k).isdigit() for k in cells)
