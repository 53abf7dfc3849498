"""Warnings that are given once, of the line that called."""

from __future__ import annotations

import sys
import warnings

__all__ = ["Once"]

#: modules whose lines are not the caller's
_OWN = ("ghostpoint.torch.", "torch.")


class Once:
    """Warns of each thing once, in the name of ``who``."""

    def __init__(self, who: str):
        self.who = who
        self.said: set[str] = set()

    def __call__(self, key: str, message: str) -> None:
        """Warn, where ``key`` is new, of the line that called the library."""
        if key in self.said:
            return
        self.said.add(key)
        level, caller = 2, sys._getframe(1)
        while caller.f_back is not None and caller.f_globals.get("__name__", "").startswith(_OWN):
            level, caller = level + 1, caller.f_back
        warnings.warn(f"{self.who}: {message}", RuntimeWarning, stacklevel=level)
