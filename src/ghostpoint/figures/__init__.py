"""Figures of saved results: ``figures.draw(id, dataset)``. Nothing is computed here.

Each experiment ``X`` has a module ``figures/X.py`` with ``draw(dataset) -> matplotlib.figure.Figure``, and a
``CAPTION``, the text under it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["caption", "draw"]


def draw(id: str, dataset: xr.Dataset) -> Figure:
    """The figure of experiment ``id`` from its saved ``dataset``."""
    figure: Figure = import_module(f"ghostpoint.figures.{id}").draw(dataset)
    return figure


def caption(id: str) -> str:
    """What the figure of experiment ``id`` shows."""
    text: str = import_module(f"ghostpoint.figures.{id}").CAPTION
    return text
