"""The code that judges the claims of an experiment, and the line of it at which each claim is
made.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

__all__ = ["Listing"]

_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Listing:
    """The file in which the claims of an experiment are judged.

    Attributes
    ----------
    name : str
        Path of the file, from the package on.
    source : str
    first : int
        Line of the function that judges the claims, from 1 on.
    """

    name: str
    source: str
    first: int

    @classmethod
    def of(cls, claims: Callable[..., Any]) -> Listing:
        """The listing of the function ``claims`` of an experiment, which may be a partial one."""
        while isinstance(claims, partial):
            claims = claims.func
        path = Path(inspect.getsourcefile(claims) or "")
        name = path.relative_to(_PACKAGE).as_posix() if path.is_relative_to(_PACKAGE) else path.name
        return cls(name, path.read_text(encoding="utf-8"), claims.__code__.co_firstlineno)

    @cached_property
    def _sentences(self) -> list[tuple[int, re.Pattern[str]]]:
        """Line and pattern of every text in the file that could be a sentence; what is filled in
        matches anything.
        """
        found = []
        for node in ast.walk(ast.parse(self.source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((node.lineno, re.escape(node.value)))
            elif isinstance(node, ast.JoinedStr):
                parts = (re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".*" for p in node.values)
                found.append((node.lineno, "".join(parts)))
        # a short text with a gap in it would match sentences that are not its own
        return [(line, re.compile(text, re.DOTALL)) for line, text in found if len(text.replace(".*", "")) > 12]

    def line_of(self, sentence: str) -> int:
        """The line that holds the claim ``sentence``, else the one at which the function begins."""
        return min((line for line, pattern in self._sentences if pattern.fullmatch(sentence)), default=self.first)

    def lines(self) -> list[tuple[int, str]]:
        """The lines of the file with their numbers."""
        return list(enumerate(self.source.splitlines(), start=1))
