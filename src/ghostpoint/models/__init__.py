"""The networks, and their equations in one place. A record holds R networks stacked along the first
axis.

:class:`Record` is the contract of a family; :data:`FAMILIES` registers those there are.
"""

from ghostpoint.models.arithmetic import Arithmetic, logistic
from ghostpoint.models.full_rank import FullRankRNN
from ghostpoint.models.gru import GRU
from ghostpoint.models.low_rank import LowRankRNN
from ghostpoint.models.lstm import LSTM
from ghostpoint.models.record import ACTIVATIONS, Record, TanhForm

__all__ = [
    "ACTIVATIONS",
    "FAMILIES",
    "GRU",
    "LSTM",
    "Arithmetic",
    "FullRankRNN",
    "LowRankRNN",
    "Record",
    "TanhForm",
    "logistic",
]

#: every family by the name under which its networks are saved; a new one is registered here
FAMILIES: dict[str, type[Record]] = {family.__name__: family for family in (LowRankRNN, FullRankRNN, GRU, LSTM)}
