"""Where a task wants a readout to cross from one answer to the next, and when the readout does.

Times are counted in readings: the first reading of a window is at 1, so that a readout that is read
after each update, as in delayed activation, is at reading j after j steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.tasks import Task, Trial

#: the logit of an output, by activation
_LOGIT: dict[str, Any] = {
    "sigmoid": lambda o: np.log(o / (1 - o)),
    "tanh": np.arctanh,
    "identity": lambda o: o,
}
#: the open range of the outputs of an activation
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "identity": (-np.inf, np.inf)}


@dataclass(frozen=True)
class Crossing:
    """One transition of one target: where, and which logit lies between the two answers.

    Attributes
    ----------
    trial, output : int
        Which trial and output channel.
    start, stop : int
        The readings ``start <= t < stop`` belong to it: from the transition before (or the trial's
        start) to the transition after (or the trial's end).
    delay : int
        T: readings from ``start`` to the target's transition.
    logit : float
        The readout z at which the output is midway between the two targets.
    sign : float
        +1 where the target rises, -1 where it falls.
    """

    trial: int
    output: int
    start: int
    stop: int
    delay: int
    logit: float
    sign: float

    def margin(self, z: NDArray[Any]) -> NDArray[Any]:
        """``g = sign (z - logit)`` of logits (..., steps) within the window; crossing is from g <=
        0 to g > 0.
        """
        return np.asarray(self.sign * (z[..., self.start : self.stop] - self.logit))

    def measure(self, z: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """What the readout does in the window, and the derivative of what the trust region watches.

        The first crossing lies between the first readings j, j + 1 of the window with
        ``g[j] <= 0 < g[j+1]``, at ``t = j + 1 + g[j] / (g[j] - g[j+1])`` by linear interpolation (j
        counts from 0 in the window), so that

            dt/dg[j] = -g[j+1] / (g[j+1] - g[j])**2,  dt/dg[j+1] = g[j] / (g[j+1] - g[j])**2

        Parameters
        ----------
        z : (R, steps) array
            Logits of the crossing's trial and channel.

        Returns
        -------
        crossed : (R,) bool
        time : (R,)
            t of the first crossing; 0 where there is none.
        peak : (R,)
            The largest g of the window.
        seed : (R, steps)
            Derivative by z of t where crossed, else of the peak (the first reading that attains
            it).
        """
        g = self.margin(z)
        rows = np.arange(len(g))
        upward = (g[:, :-1] <= 0) & (g[:, 1:] > 0)
        crossed, peak_at = np.asarray(upward.any(axis=1)), g.argmax(axis=1)
        before = upward.argmax(axis=1) if g.shape[1] > 1 else np.zeros(len(g), np.int64)
        after = np.minimum(before + 1, g.shape[1] - 1)
        low, high = g[rows, before], g[rows, after]
        rise = np.where(crossed, high - low, 1.0)
        by_margin = np.zeros_like(g)
        by_margin[rows, peak_at] = 1.0
        by_margin[crossed] = 0.0
        by_margin[rows[crossed], before[crossed]] = (-high / rise**2)[crossed]
        by_margin[rows[crossed], after[crossed]] = (low / rise**2)[crossed]
        seed = np.zeros_like(z)
        seed[:, self.start : self.stop] = self.sign * by_margin
        time = np.where(crossed, before + 1 - low / rise, 0.0)
        return crossed, time, g[rows, peak_at], seed


def crossings(task: Task, trial: Trial, activation: str, most: int | None = None) -> list[Crossing]:
    """The transitions between targets that both count, in the order of trial, output channel and
    time.

    None for tasks of continuous targets, nor where the mask hides the answer before or after the
    transition, nor where the midpoint of the two targets is no output of the activation.

    Parameters
    ----------
    most : int, optional
        Only the first so many.
    """
    found: list[Crossing] = []
    if task.tolerance is not None:
        return found
    low, high = RANGES[activation]
    counted = trial.mask[:, 1:] & trial.mask[:, :-1]
    switches = (trial.targets[:, 1:] != trial.targets[:, :-1]) & counted
    # per channel with a switch: each one, with the stretch between its neighbours as its window
    for row, channel in np.argwhere(switches.any(axis=1)):
        at = np.flatnonzero(switches[row, :, channel]) + 1
        edges = [0, *at.tolist(), task.steps]
        for place, switch in enumerate(edges[1:-1]):
            first, second = trial.targets[row, switch - 1 : switch + 1, channel]
            # the readout crosses where it is half way between the two answers
            middle = (first + second) / 2
            if not low < middle < high:
                continue
            start, stop = edges[place], edges[place + 2]
            found.append(
                Crossing(
                    trial=int(row),
                    output=int(channel),
                    start=start,
                    stop=stop,
                    delay=switch - start,
                    logit=float(_LOGIT[activation](middle)),
                    sign=float(np.sign(second - first)),
                )
            )
            if most is not None and len(found) == most:
                return found
    return found
