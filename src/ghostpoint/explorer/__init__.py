"""One self-contained web page on abrupt learning; saved runs can be put into it."""

from __future__ import annotations

from ghostpoint.explorer.page import page
from ghostpoint.explorer.saved_runs import read_saved

__all__ = ["page", "read_saved"]
