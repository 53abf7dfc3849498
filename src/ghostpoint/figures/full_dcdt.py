"""Fig. 5A-C: a full-rank network learns delayed cue discrimination."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.full_rank_paths import CAPTION, draw_paths

__all__ = ["CAPTION", "draw"]


def draw(dataset: xr.Dataset) -> Figure:
    """Loss, outputs and trajectories over training."""
    return draw_paths(dataset)
