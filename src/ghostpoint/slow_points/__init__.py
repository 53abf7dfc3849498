"""Where a network hardly moves: fixed points and ghosts, found completely and with proof where that
is possible.

The names below are for every network. `latents` holds what is special to networks of rank one to
three.
"""

from __future__ import annotations

from ghostpoint.slow_points import latents
from ghostpoint.slow_points.find import find_slow_points
from ghostpoint.slow_points.passages.passage import Passage, slow_passage
from ghostpoint.slow_points.passages.sensitivity import NormalFormGradient, normal_form_gradient
from ghostpoint.slow_points.points import Completeness, SlowPoints
from ghostpoint.slow_points.portrait import flow_portrait
from ghostpoint.slow_points.stability import passage_steps
from ghostpoint.slow_points.tracking.abrupt_drop import Answer, abrupt_drop
from ghostpoint.slow_points.tracking.track import track_slow_points
from ghostpoint.slow_points.tracking.tracks import Event, Tracks
from ghostpoint.slow_points.user_field import UserField
from ghostpoint.slow_points.visits.ghost_sequence import ghost_sequence
from ghostpoint.slow_points.visits.sequence_record import GhostSequence, Route

__all__ = [  # noqa: RUF022  (in reading order)
    # where a network hardly moves
    "find_slow_points",
    "SlowPoints",
    "Completeness",
    "UserField",
    "flow_portrait",
    # over its training
    "track_slow_points",
    "Tracks",
    "Event",
    "abrupt_drop",
    "Answer",
    # how long a ghost holds it
    "slow_passage",
    "Passage",
    "passage_steps",
    "normal_form_gradient",
    "NormalFormGradient",
    # which of them trajectories pass
    "ghost_sequence",
    "GhostSequence",
    "Route",
    # rank one to three
    "latents",
]
