"""Delimited text as a table: separator, header, comment lines, repeated headers and rows that are
cut short.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from ghostpoint.diagnosis.readers.cells import MISSING, cell_number
from ghostpoint.diagnosis.readers.table import Table
from ghostpoint.errors import InputError

__all__ = ["decoded", "delimited_table"]

_COMMENT = ("#", "%", "//", ";;")


def decoded(blob: bytes) -> str:
    """Text of a file: UTF-8, UTF-16 or UTF-32, with or without a byte-order mark, else Latin-1;
    lines end in ``\\n``.
    """
    if blob.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        text = blob.decode("utf-32", errors="replace")
    elif blob.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = blob.decode("utf-16", errors="replace")
    elif len(blob) > 3 and blob[1:2] == b"\0" and b"\0" in blob[3:40:2]:
        text = blob.decode("utf-16-le", errors="replace")
    elif len(blob) > 3 and blob[0:1] == b"\0" and b"\0" in blob[2:40:2]:
        text = blob.decode("utf-16-be", errors="replace")
    else:
        try:
            text = blob.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = blob.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")


def delimited_table(text: str, source: str) -> Table | None:
    """The table in ``text``; None if it is not one (then it may be a log).

    Raises
    ------
    ValueError
        If more than a tenth of the rows have another number of cells than the header.
    """
    lines = _without_inner_breaks(text.split("\n"))
    plain = [i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith(_COMMENT)]
    comments = [i for i, line in enumerate(lines) if line.lstrip().startswith(_COMMENT)]
    if not plain:
        return None
    account: list[str] = []
    sample = [lines[i] for i in plain[:60]]
    separator = _separator(sample)
    # "name: number" or "name=number" in most lines: a log
    pairs = sum(bool(re.search(r"(?:^|[\s,|;])[A-Za-z_][\w/.-]*[A-Za-z_]\s*[:=]\s*[-+.]?\d", x)) for x in sample)
    if separator is None or 2 * pairs > len(sample):
        return None
    above = _above_the_table(sample, separator)
    if above:
        account.append(f"{above} line{'s' * (above > 1)} above the table left out")
        plain, sample = plain[above:], sample[above:]
    first = _cells(sample[0], separator)
    if len(plain) == 1 and len(first) >= 5 and not _is_header(first):
        return Table(source, {"loss": first}, ["one row of numbers read as losses"])
    if _is_header(first):
        header, body = first, plain[1:]
        if len(body) > 1 and len(_cells(sample[1], separator)) == len(first) + 1:
            # a header of one word has been asked about already; behind the names of rows there is
            # a column of steps
            whole = all(re.fullmatch(r"[-+\d,\s]+", line) for line in sample[1:])
            if (
                separator == ","
                and len(first) > 1
                and whole
                and not _ascend([line.split(",")[1] for line in sample[1:]])
            ):
                wide = len(first)
                raise InputError(
                    f"{source}: row {body[0] + 1} must have {wide} cells as the header has, got {wide + 1}: "
                    "where commas are decimal ones, columns must be separated by semicolons or tabs"
                )
            header = ["", *header]  # as R writes the names of rows
        units = _cells(sample[1], separator) if len(body) > 1 else []
        if units and _numeric_row(_cells(sample[2], separator)) and not any(_begins_a_number(c) for c in units):
            body = body[1:]
            account.append("the row of units below the header left out")
    else:
        header, body = _header_above(lines, comments, plain[0], separator, len(first)), plain
    header = _unique([name.strip().strip('"') for name in header])
    left = [i for i in comments if i > plain[0]]
    if left:
        account.append(f"{len(left)} comment lines left out")
    if not body:
        raise InputError(f"{source}: must have a header and rows, and has 1 row")
    table = None if comments or separator == " " else _fast(lines, header, body, separator, source)
    if table is None:
        table = _careful(lines, header, body, separator, source, text.endswith("\n"))
    table.account[:0] = account
    return table


def _without_inner_breaks(lines: list[str]) -> list[str]:
    """The lines, where a quoted cell goes on over some of them joined to the first; the others are
    empty then, so that numbers of lines stay."""
    odd = [i for i, line in enumerate(lines) if line.count('"') % 2]
    if not odd or len(odd) % 2:
        return lines
    joined = list(lines)
    for first, last in zip(odd[::2], odd[1::2], strict=True):
        joined[first : last + 1] = [" ".join(lines[first : last + 1])] + [""] * (last - first)
    return joined


def _above_the_table(sample: list[str], separator: str) -> int:
    """Lines before the first one that is as wide as most lines: a title, or Excel's ``sep=;``."""
    widths = [len(_cells(line, separator)) for line in sample]
    usual = Counter(widths).most_common(1)[0][0]
    first = widths.index(usual)
    # a header may be one cell short, for the names of rows
    short = first == 1 and widths[0] == usual - 1 > 0 and all(_cells(sample[0], separator))
    return 0 if short or len(widths) - first <= 3 else first


def _separator(sample: list[str]) -> str | None:
    """The separator that cuts the most lines into the same number of cells, at least two; "," for
    one column.
    """
    best: tuple[float, str] | None = None
    for weight, separator in ((1.0, "\t"), (0.99, ";"), (0.98, ","), (0.97, "|"), (0.5, " ")):
        counts = Counter(len(_cells(line, separator)) for line in sample)
        size, often = max(counts.items(), key=lambda item: (item[1], item[0]))
        share = often / len(sample)
        if size < 2 or share < 0.6:
            continue
        rows = [_cells(line, separator) for line in sample[1:] if len(_cells(line, separator)) == size]
        good = sum(_numeric_row(row) for row in rows) / max(len(rows), 1)
        if rows and good < 0.6:
            continue
        if separator == "," and _within_numbers(sample):
            continue
        score = weight * share * (good if rows else 1.0) * (1.0 if separator != "," or not _decimal(rows) else 0.5)
        if best is None or score > best[0]:
            best = (score, separator)
    if best is not None:
        return best[1]
    if _is_one_column(sample):
        return "\t"
    numbers = sum(_is_number(line) for line in sample[1:])
    alone = len(sample) == 1 and re.fullmatch(r"[\w ./-]+", sample[0].strip())
    return "," if alone or (len(sample) > 1 and numbers >= 0.8 * (len(sample) - 1)) else _nearly(sample)


def _nearly(sample: list[str]) -> str | None:
    """A comma where the header has one and the rows are those of a table that is wrong: its errors
    name the cell.
    """
    first = _cells(sample[0], ",")
    rows = [_cells(line, ",") for line in sample[1:]]
    simple = re.fullmatch(r"[\w ./-]+(,[\w ./-]*)*", sample[0].strip())
    if simple and rows and not re.search(r"\d+ ?[/:=]", sample[0]) and _is_header(first):
        same = sum(len(row) == len(first) for row in rows) / len(rows)
        return "," if same > 0.5 and (len(first) > 1 or len(rows[0][0].split()) == 1) else None
    return None


def _within_numbers(sample: list[str]) -> bool:
    """Whether commas stand inside numbers: rows are such numbers with spaces between them, or one
    of them each.
    """
    rows = [line.split() for line in sample[1:] if "," in line]
    spaced = [len(row) > 1 and all(map(_is_number, row)) for row in rows]
    return (len(rows) > 0 and sum(spaced) >= 0.8 * len(rows)) or _is_one_column(sample)


def _is_one_column(sample: list[str]) -> bool:
    """Whether rows are numbers with a decimal comma below a header of one word, and not the names
    of rows, or steps, beside whole numbers.
    """
    rows = [line.strip() for line in sample[1:]]
    alone = [bool(re.fullmatch(r"[-+]?\d+(,\d+)?(?:[eE][-+]?\d+)?", row)) for row in rows]
    if "," in sample[0] or len(rows) < 2 or not all(alone) or not any("," in row for row in rows):
        return False
    return not _ascend([row.split(",")[0] for row in rows])


def _ascend(texts: list[str]) -> bool:
    """Whether cells are whole numbers that ascend by the same step, as those of rows and steps."""
    try:
        gaps = np.diff([int(text) for text in texts])
    except ValueError:
        return False
    return len(gaps) > 0 and bool(gaps[0] > 0) and bool((gaps == gaps[0]).all())


def _decimal(rows: list[list[str]]) -> bool:
    """Whether a comma seems to stand inside numbers: rows of integers with two cells or an even
    number of them.
    """
    return bool(rows) and all(re.search(r"[;\t|]", ",".join(row)) for row in rows)


def _numeric_row(row: list[str]) -> bool:
    numbers = sum(_is_number(cell) for cell in row)
    return numbers >= 1 and 2 * numbers >= sum(cell.strip() != "" for cell in row) - 2


def _begins_a_number(cell: str) -> bool:
    return bool(re.match(r"\s*[-+.]?\d|\s*$|\s*nan", cell.lower()))


def _is_number(cell: str) -> bool:
    try:
        return cell_number(cell)[1]
    except ValueError:
        return False


def _cells(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    if separator == "|":  # as in Markdown, with or without bars at the ends
        line = line.strip().strip("|")
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])


def _is_header(cells: list[str]) -> bool:
    """Whether a row names columns: some cell is text that is no number and not a way to write
    nothing.
    """
    return any(cell.strip().lower() not in MISSING and not _is_number(cell) for cell in cells)


def _header_above(lines: list[str], comments: list[int], first: int, separator: str, width: int) -> list[str]:
    """A header in the comment line above the numbers, or names by place."""
    for i in reversed([i for i in comments if i < first]):
        text = lines[i].lstrip("#%/; ").strip()
        for cells in (_cells(text, separator), text.split(), text.split(",")):
            if len(cells) == width and _is_header(cells):
                return cells
    return [f"column {i + 1}" for i in range(width)]


def _unique(names: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    result = []
    for i, name in enumerate(names):
        name = name or f"Unnamed: {i}"
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}.{seen[name] - 1}")
    return result


def _fast(lines: list[str], header: list[str], body: list[int], separator: str, source: str) -> Table | None:
    """The table by pandas' compiled parser, where every row has as many separators as the header;
    else None.
    """
    rows = lines[body[0] : body[-1] + 1]
    text = "\n".join(rows)
    if '"' in text or text.count(separator) != len(body) * (len(header) - 1) or len(body) != len(rows):
        return None
    try:
        frame = pd.read_csv(
            io.StringIO(text), sep=separator, header=None, names=range(len(header)), keep_default_na=False,
            na_values=[""], index_col=False, skipinitialspace=True, low_memory=False, skip_blank_lines=False,
        )  # fmt: skip
    except (ValueError, pd.errors.ParserError):
        return None
    if len(frame) != len(body):
        return None
    # pandas reads a column of numbers and "nan" as text, so what was written stays known
    columns: dict[str, Any] = {name: frame[i].to_numpy() for i, name in enumerate(header)}
    first = [str(columns[name][0]) for name in header]
    if any(_same_row(str(columns[header[0]][i]), header[0]) for i in range(0, len(body), max(1, len(body) // 50))):
        return None
    repeated = columns[header[0]] == header[0] if columns[header[0]].dtype == object else None
    if first == header or (repeated is not None and repeated.any()):
        return None
    return Table(source, columns, lines=range(body[0] + 1, body[-1] + 2))


def _same_row(cell: str, name: str) -> bool:
    return cell.strip() == name


def _careful(lines: list[str], header: list[str], body: list[int], separator: str, source: str, ended: bool) -> Table:
    """The table row by row: repeated headers and rows of another width are left out and counted."""
    width = len(header)
    kept: list[list[str]] = []
    places: list[int] = []
    account: list[str] = []
    repeated = 0
    ragged: list[tuple[int, int]] = []
    for i in body:
        row = _cells(lines[i], separator)
        if len(row) > width and not any(cell.strip() for cell in row[width:]):
            row = row[:width]
        if len(row) == width and _is_header(row) and _names_again(row, header):
            repeated += 1
        elif len(row) == width:
            kept.append(row)
            places.append(i + 1)
        elif i == body[-1] and not ended:
            account.append(f"the last line (row {i + 1}) is cut short: left out")
        else:
            ragged.append((i + 1, len(row)))
    if repeated:
        account.append(f"{repeated} repeated headers left out")
    if ragged:
        row_number, cells = ragged[0]
        if 10 * len(ragged) > len(body):
            raise InputError(f"{source}: row {row_number} must have {width} cells as the header has, got {cells}")
        account.append(f"{len(ragged)} rows with another number of cells than {width} left out, first row {row_number}")
    if not kept:
        raise InputError(f"{source}: must have a header and rows, and has no row of {width} cells")
    if not ended and places[-1] == body[-1] + 1 and len(kept) > 3 and _cut(kept[-1], kept[-2]):
        kept.pop()
        places.pop()
        account.append(f"the last line (row {body[-1] + 1}) is cut short: left out")
    columns = {name: [row[i] for row in kept] for i, name in enumerate(header)}
    return Table(source, columns, account, places)


def _names_again(row: list[str], header: list[str]) -> bool:
    return [cell.strip() for cell in row] == header or sum(a.strip() == b for a, b in zip(row, header, strict=True)) > 1


def _cut(last: list[str], before: list[str]) -> bool:
    """Whether the last cell ends inside a number, such as ``1e-`` or ``-``."""
    return bool(re.fullmatch(r"[-+]|.*\d[eE][-+]?", last[-1].strip())) and _is_number(before[-1])
