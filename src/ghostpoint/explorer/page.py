"""The page, bundled from the sources in ``explorer/`` of the repository, with saved runs in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

__all__ = ["page"]

_PLACE = '<script type="application/json" id="saved-runs"></script>'


def page(saved: Mapping[str, Any] | None = None) -> str:
    """The page as HTML text; with ``saved``, as :func:`read_saved` gives it, it opens on these
    runs.
    """
    text = files("ghostpoint.explorer").joinpath("page.html").read_text(encoding="utf-8")
    if saved is None:
        return text
    # "</script>" inside a text of the runs would end the element
    embedded = json.dumps(saved, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    before, found, after = text.partition(_PLACE)
    assert found, "the page has no place for saved runs"
    return f"{before}{_PLACE.replace('></', f'>{embedded}</')}{after}"
