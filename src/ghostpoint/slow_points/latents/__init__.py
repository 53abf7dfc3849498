"""Latent flows of networks of rank one to three: all zeros and ghosts, proven where that is
possible.

`gp.find_slow_points` uses these for one network. Here they are for stacks of networks, parts of the
space, and flows on a grid.
"""

from __future__ import annotations

from ghostpoint.slow_points.latents.ghosts import latent_ghosts, latent_speed
from ghostpoint.slow_points.latents.latent_records import LatentGhosts, LatentZeros
from ghostpoint.slow_points.latents.rank_one import flow_ghosts, flow_zeros, fold_epochs, latent_flow
from ghostpoint.slow_points.latents.rank_one_records import FlowGhosts, FlowZeros
from ghostpoint.slow_points.latents.zeros_in_box import latent_zeros

__all__ = [  # noqa: RUF022  (in reading order)
    # rank one, stacks of networks
    "latent_flow",
    "flow_zeros",
    "FlowZeros",
    "flow_ghosts",
    "FlowGhosts",
    "fold_epochs",
    # rank one to three, one network
    "latent_zeros",
    "LatentZeros",
    "latent_speed",
    "latent_ghosts",
    "LatentGhosts",
]
