"""Remedies that act when a network has entered the no-learning zone: a smaller step from there on,
with or without going back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.checks import integer, number
from ghostpoint.errors import InputError
from ghostpoint.remedies.remedy import Reaction, Remedy


@dataclass(frozen=True)
class ReduceRate(Remedy):
    """On entry into the no-learning zone, multiply every later update by ``factor``, and again on
    each entry.

    A network has entered when it was above the task's chance accuracy at some epoch, and at none of
    the last ``patience``. Mostly too late, as the gradient is gone by then: the control for
    :class:`Rewind`.

    Parameters
    ----------
    factor : float
        Below 1.
    patience : int
        Epochs.
    """

    factor: float = 0.5
    patience: int = 50

    memoryless = False

    def __post_init__(self) -> None:
        if number("factor", self.factor, above=0) >= 1:
            raise InputError(f"factor must be below 1, got {self.factor!r}")
        integer("patience", self.patience, at_least=1)

    def react(self, epoch: int, loss: NDArray[Any], above: NDArray[np.bool_], state: dict[str, Any]) -> Reaction:
        """``factor`` to the power of the number of entries; who enters in this epoch goes back,
        where that is done.
        """
        last = state.setdefault("last_above", np.full(len(above), -1))  # -1 too after an entry, until above again
        rate = state.setdefault("rate", np.ones(len(above)))
        last[above] = epoch
        entering = np.asarray((last >= 0) & (epoch - last >= self.patience))
        last[entering] = -1
        rate[entering] *= self.factor
        return Reaction(rate, entering & self.rewinds)


@dataclass(frozen=True)
class Rewind(ReduceRate):
    """On entry into the no-learning zone, go back to the parameters of the lowest loss so far, with
    a smaller step.

    The optimiser's state goes back too, and every later update is multiplied by ``factor`` (once
    more on each entry). The epoch of the entry makes no other update. Entry as for
    :class:`ReduceRate`.

    Parameters
    ----------
    factor : float
        Below 1.
    patience : int
        Epochs.
    """

    rewinds = True
