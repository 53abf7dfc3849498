"""Fig. 4E-H: a rank-two network learns delayed match to sample."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures import latent_paths

__all__ = ["CAPTION", "draw"]

CAPTION = latent_paths.CAPTION.format(levels="grey no match, green match")


def draw(dataset: xr.Dataset) -> Figure:
    """Losses, fixed points and ghosts over training, and flow maps with trials at some epochs."""
    return latent_paths.draw_latent(dataset)
