"""On which line of a TOML text each key stands, which Python's own reader does not say."""

from __future__ import annotations

import re
from bisect import bisect_right

__all__ = ["lines_of"]

Path = tuple[str | int, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\])*"'),
    re.compile(r"'[^']*'"),
)


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of every key, table and list element of valid TOML, by its path.

    A path has the keys from the outermost table inwards, and whole numbers for the elements of a
    list.

    Examples
    --------
    >>> lines_of('[grid]\\nseed = [0,\\n 1]')[("grid", "seed", 1)]
    3
    """
    return _Scanner(text).scan()


class _Scanner:
    """One pass over text that is known to be valid."""

    def __init__(self, text: str):
        self.text, self.at = text, 0
        self.places: dict[Path, int] = {}
        self.ends = [match.start() for match in re.finditer("\n", text)]
        #: elements so far of each list of tables
        self.counts: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_BLANK) < len(self.text):
            line = self._line()
            if self.text[self.at] != "[":
                self._pair(table)
                continue
            several = self.text.startswith("[[", self.at)
            self.at += 1 + several
            table = self._inside(self._keys(), several)
            self.at += 1 + several
            self.places.setdefault(table, line)
        return self.places

    def _inside(self, keys: list[str], several: bool) -> Path:
        """The path of a table's header; the last element of every list of tables on the way is
        meant.
        """
        path: Path = ()
        for place, key in enumerate(keys):
            path = (*path, key)
            if several and place == len(keys) - 1:
                self.counts[path] = self.counts.get(path, 0) + 1
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        line, path = self._line(), table
        for key in self._keys():
            path = (*path, key)
            self.places.setdefault(path, line)
        self.at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        self.places.setdefault(path, self._line())
        opened = self.text[self.at]
        if opened in "\"'":
            self._string()
        elif opened in "[{":
            self.at += 1
            count = 0
            while self.text[self._skip(_BLANK)] not in "]}":
                if opened == "[":
                    self._value((*path, count))
                    count += 1
                else:
                    self._pair(path)
                if self.text[self._skip(_BLANK)] == ",":
                    self.at += 1
            self.at += 1
        else:
            self._skip(_SCALAR)

    def _keys(self) -> list[str]:
        found = []
        while True:
            self._skip(_SPACE)
            quoted = self.text[self.at] in "\"'"
            start = self.at
            if quoted:
                self._string()
            else:
                self._skip(_BARE)
            found.append(self.text[start + quoted : self.at - quoted])
            if self.text[self._skip(_SPACE)] != ".":
                return found
            self.at += 1

    def _string(self) -> None:
        self.at = next(match.end() for kind in _STRINGS if (match := kind.match(self.text, self.at)))

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _line(self) -> int:
        return bisect_right(self.ends, self.at - 1) + 1
