"""Where a network hardly moves: fixed points and ghosts, found completely and with proof."""

from __future__ import annotations

from ghostpoint.slow_points.flow_records import FlowGhosts, FlowZeros
from ghostpoint.slow_points.latent_flow import flow_ghosts, flow_zeros, fold_epochs, latent_flow

__all__ = ["FlowGhosts", "FlowZeros", "flow_ghosts", "flow_zeros", "fold_epochs", "latent_flow"]
