"""Short summaries of a record: a few aligned lines for ``print``, a small table for notebooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape

Rows = Sequence[Sequence[object]]


class Summarised(ABC):
    """A record that ``print`` and notebooks show by its :meth:`summary`."""

    @abstractmethod
    def summary(self) -> tuple[str, Rows]:
        """The title, and the rows below it as cells (see :func:`lines`)."""

    def __str__(self) -> str:
        return lines(*self.summary())

    def _repr_html_(self) -> str:
        return html(*self.summary())


def lines(title: str, rows: Rows) -> str:
    """The title and below it the rows, their columns aligned.

    Parameters
    ----------
    title : str
        The first line.
    rows : sequence of sequences
        One sequence of cells for each line; rows may differ in length. A row of one cell is a line
        of text.
    """
    table = [[str(cell) for cell in row] for row in rows]
    columns = max((len(row) for row in table), default=0)
    width = [max((len(row[k]) for row in table if k < len(row) > 1), default=0) for k in range(columns)]
    body = ["  ".join(cell.ljust(width[k]) for k, cell in enumerate(row)).rstrip() for row in table]
    return "\n".join([title, *(f"  {line}" for line in body)])


def html(title: str, rows: Rows) -> str:
    """The same as an HTML table with the title as its caption."""
    columns = max((len(row) for row in rows), default=0)
    body = ""
    for row in rows:
        span = f' colspan="{columns}"' if len(row) == 1 else ""
        body += "<tr>" + "".join(f'<td{span} style="text-align:left">{escape(str(c))}</td>' for c in row) + "</tr>"
    caption = f'<caption style="text-align:left"><b>{escape(title)}</b></caption>'
    return f"<table>{caption}<tbody>{body}</tbody></table>"
