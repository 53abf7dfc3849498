"""The page, bundled from the sources in ``explorer/`` of the repository, with saved runs in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

__all__ = ["page"]

_READS_FILES_AT = '<meta name="reads-files-at" content="">'
_PLACE = '<script type="application/json" id="saved-runs"></script>'


def page(saved: Mapping[str, Any] | None = None, *, reads_files_at: str = "") -> str:
    """The page as HTML text.

    Parameters
    ----------
    saved : mapping, optional
        What it opens on, as :func:`read_saved` gives it.
    reads_files_at : str
        Address on the page's own server that reads and diagnoses a file that is dropped on the
        page. Without one the page reads it itself, and has no diagnosis of it.
    """
    text = files("ghostpoint.explorer").joinpath("page.html").read_text(encoding="utf-8")
    if reads_files_at:
        assert _READS_FILES_AT in text, "the page has no place for an address that reads files"
        text = text.replace(_READS_FILES_AT, _READS_FILES_AT.replace('""', f'"{escape(reads_files_at)}"'), 1)
    if saved is None:
        return text
    # "</script>" inside a text of the runs would end the element
    embedded = json.dumps(saved, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    before, found, after = text.partition(_PLACE)
    assert found, "the page has no place for saved runs"
    return f"{before}{_PLACE.replace('></', f'>{embedded}</')}{after}"
