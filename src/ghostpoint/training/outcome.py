"""What every engine hands back, whatever it trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: what the history holds
QUANTITIES = ("loss", "gradient_norm", "accuracy")
#: epochs, or -1 for never
EVENTS = ("first_above_chance", "last_above_chance", "first_solved", "frozen", "diverged")


def hold_above(events: NDArray[np.int64], done: int) -> None:
    """After ``done`` epochs: a network that froze or diverged above chance has stayed above it to
    the end.
    """
    end = events[EVENTS.index("frozen") :].max(axis=0)
    events[1, (end >= 0) & (events[1] >= end)] = done - 1


@dataclass
class Outcome:
    """Results of a run of R networks.

    Attributes
    ----------
    history : dict
        Quantity to (R, recorded epochs).
    events : (len(EVENTS), R) int64
    parameters : dict
        Part to its final array, (R, ...); parts that are not trained may be left out.
    snapshots : dict
        Part to (checkpoints, R, ...).
    epochs : int
        Updates done; fewer than asked for when the run was interrupted before its last epoch.
    acted : (R,) int64, optional
        In how many epochs a remedy changed a network's update, where one was asked for; up to where
        it froze.
    interrupted : bool
        Whether Ctrl-C ended the run, be it in its last epoch.
    """

    history: dict[str, NDArray[Any]]
    events: NDArray[np.int64]
    parameters: dict[str, NDArray[Any]]
    snapshots: dict[str, NDArray[Any]]
    epochs: int
    acted: NDArray[np.int64] | None = None
    interrupted: bool = False
