"""Fig. 4A-D: a rank-two network learns delayed cue discrimination."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures import latent_paths

__all__ = ["CAPTION", "draw"]

CAPTION = latent_paths.CAPTION.format(levels="red -1, grey 0, green +1")


def draw(dataset: xr.Dataset) -> Figure:
    """Losses, fixed points and ghosts over training, and flow maps with trials at some epochs."""
    return latent_paths.draw_latent(dataset)
