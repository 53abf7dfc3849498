"""Abrupt learning in recurrent networks: ghost points, no-learning zones, and how to train past
them.

The names below are imported on first use, so that ``import ghostpoint`` and ``ghostpoint --help``
cost nothing.

References
----------
Article, and "the publication" : F. Dinc, E. Cirakman, Y. Jiang, M. Yuksekgonul, M. J. Schnitzer, H.
Tanaka, "A ghost
    mechanism: An analytical model of abrupt learning in recurrent networks", Phys. Rev. X 16,
        021058 (2026).
Letter : the same authors, "A ghost mechanism: An analytical model of abrupt learning",
arXiv:2501.02378 (2025).

Docstrings cite figures and equations of these two as "article, Fig. 3A" and "letter, eq. 15".
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ghostpoint._version import __version__

if TYPE_CHECKING:
    from ghostpoint import critical_rate, experiments, figures, remedies, slow_points, sweeps, tasks, theory, torch
    from ghostpoint.critical_rate import critical_learning_rate
    from ghostpoint.diagnosis import Diagnosis, diagnose
    from ghostpoint.models import GRU, LSTM, FullRankRNN, LowRankRNN
    from ghostpoint.results import TrainingRun, load
    from ghostpoint.slow_points import abrupt_drop, find_slow_points, ghost_sequence, slow_passage, track_slow_points
    from ghostpoint.sweeps import open_sweep, sweep
    from ghostpoint.theory import NormalForm, SaddleNodeToy
    from ghostpoint.training import Computing, train
    from ghostpoint.weights import read_weights, write_weights

#: the public names in reading order, and where each is defined; None for a module of its own
_PUBLIC: dict[str, str | None] = {
    # the analytic theory
    "theory": None,
    "SaddleNodeToy": "theory",
    "NormalForm": "theory",
    # tasks and networks
    "tasks": None,
    "LowRankRNN": "models",
    "FullRankRNN": "models",
    "GRU": "models",
    "LSTM": "models",
    # training
    "remedies": None,
    "train": "training",
    "Computing": "training",
    "TrainingRun": "results",
    "load": "results",
    # grids of trainings
    "sweep": "sweeps",
    "open_sweep": "sweeps",
    "sweeps": None,
    # the critical learning rate
    "critical_rate": None,
    "critical_learning_rate": "critical_rate",
    # fixed points and ghosts
    "slow_points": None,
    "find_slow_points": "slow_points",
    "slow_passage": "slow_points",
    "ghost_sequence": "slow_points",
    "track_slow_points": "slow_points",
    "abrupt_drop": "slow_points",
    "read_weights": "weights",
    "write_weights": "weights",
    # the phases of a training
    "diagnose": "diagnosis",
    "Diagnosis": "diagnosis",
    # all of it for any PyTorch network; needs the extra torch
    "torch": None,
    # the published experiments
    "experiments": None,
    "figures": None,
}

__all__ = [
    "GRU",
    "LSTM",
    "Computing",
    "Diagnosis",
    "FullRankRNN",
    "LowRankRNN",
    "NormalForm",
    "SaddleNodeToy",
    "TrainingRun",
    "__version__",
    "abrupt_drop",
    "critical_learning_rate",
    "critical_rate",
    "diagnose",
    "experiments",
    "figures",
    "find_slow_points",
    "ghost_sequence",
    "load",
    "open_sweep",
    "read_weights",
    "remedies",
    "slow_passage",
    "slow_points",
    "sweep",
    "sweeps",
    "tasks",
    "theory",
    "torch",
    "track_slow_points",
    "train",
    "write_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ghostpoint' has no attribute {name!r}")
    home = _PUBLIC[name]
    value = import_module(f"ghostpoint.{home or name}")
    if home is not None:
        value = getattr(value, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
