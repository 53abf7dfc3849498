"""The networks, and their equations in one place. A record holds R networks stacked along the first axis."""

from ghostpoint.models.full_rank import FullRankRNN
from ghostpoint.models.low_rank import LowRankRNN
from ghostpoint.models.record import ACTIVATIONS, Record, logistic

__all__ = ["ACTIVATIONS", "FullRankRNN", "LowRankRNN", "Record", "logistic"]
