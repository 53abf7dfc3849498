"""Figures of saved results: ``figures.draw(id, dataset)``. Nothing is computed here.

The figure of an experiment is a :class:`ghostpoint.figures.style.Drawing`, found through
:data:`ghostpoint.catalogue.CATALOGUE`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ghostpoint.catalogue import CATALOGUE

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from ghostpoint.figures.style import Drawing

__all__ = ["caption", "draw"]


def draw(id: str, dataset: xr.Dataset) -> Figure:
    """The figure of experiment ``id`` from its saved ``dataset``."""
    return _drawing(id).draw(dataset)


def caption(id: str) -> str:
    """What the figure of experiment ``id`` shows."""
    return _drawing(id).caption


def _drawing(id: str) -> Drawing:
    file, entry = CATALOGUE[id]
    drawing: Drawing = getattr(import_module(f"ghostpoint.figures.{file}"), entry)
    return drawing
