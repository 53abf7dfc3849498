"""Fig. 7D-F: delayed match to sample over learning rates."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.full_rank_sweep import draw_sweep

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "A: loss over learning rates after increasing numbers of epochs (median and range over seeds; darker is later). "
    "B: share of networks that never learned, that learned and kept it, and that learned and were lost; learned is a "
    "loss below a quarter of chance. C: the first epoch at which each network has learned; open circles are lost "
    "later. "
)


def draw(dataset: xr.Dataset) -> Figure:
    """Loss, fates and epochs of learning over learning rates."""
    return draw_sweep(dataset)
