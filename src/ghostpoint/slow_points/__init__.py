"""Where a network hardly moves: fixed points and ghosts, found completely and with proof."""

from __future__ import annotations

from ghostpoint.slow_points.fields import UserField
from ghostpoint.slow_points.latents.ghosts import LatentGhosts, latent_ghosts, latent_speed
from ghostpoint.slow_points.latents.rank_one import flow_ghosts, flow_zeros, fold_epochs, latent_flow
from ghostpoint.slow_points.latents.rank_one_records import FlowGhosts, FlowZeros
from ghostpoint.slow_points.latents.rank_three import LatentZeros, latent_zeros
from ghostpoint.slow_points.passages.passage import Passage, slow_passage
from ghostpoint.slow_points.passages.sensitivity import NormalFormGradient, normal_form_gradient
from ghostpoint.slow_points.points import SlowPoints
from ghostpoint.slow_points.portrait import flow_portrait
from ghostpoint.slow_points.search.find import find_slow_points
from ghostpoint.slow_points.stability import passage_steps
from ghostpoint.slow_points.tracking.answer import Answer, abrupt_drop
from ghostpoint.slow_points.tracking.track import track_slow_points
from ghostpoint.slow_points.tracking.tracks import Event, Tracks

__all__ = [
    "Answer",
    "Event",
    "FlowGhosts",
    "FlowZeros",
    "LatentGhosts",
    "LatentZeros",
    "NormalFormGradient",
    "Passage",
    "SlowPoints",
    "Tracks",
    "UserField",
    "abrupt_drop",
    "find_slow_points",
    "flow_ghosts",
    "flow_portrait",
    "flow_zeros",
    "fold_epochs",
    "latent_flow",
    "latent_ghosts",
    "latent_speed",
    "latent_zeros",
    "normal_form_gradient",
    "passage_steps",
    "slow_passage",
    "track_slow_points",
]
