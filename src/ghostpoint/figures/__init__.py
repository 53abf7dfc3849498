"""Figures of saved results: ``figures.draw(id, dataset)``. Nothing is computed here.

The figure of an experiment is a :class:`ghostpoint.figures.style.Drawing`, found through
:data:`ghostpoint.catalogue.CATALOGUE`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ghostpoint.catalogue import CATALOGUE
from ghostpoint.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from matplotlib.figure import Figure

    from ghostpoint.figures.style import Drawing

__all__ = ["caption", "draw", "save"]


def draw(id: str, dataset: xr.Dataset) -> Figure:
    """The figure of experiment ``id`` from its saved ``dataset``."""
    return _drawing(id).draw(dataset)


def caption(id: str) -> str:
    """What the figure of experiment ``id`` shows."""
    return _drawing(id).caption


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` to the file ``path``, whose suffix says the format; its folder is made."""
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in formats:
        raise InputError(f"figure must end in one of {', '.join('.' + name for name in formats)}; got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _drawing(id: str) -> Drawing:
    file, entry = CATALOGUE[id]
    drawing: Drawing = getattr(import_module(f"ghostpoint.figures.{file}"), entry)
    return drawing
