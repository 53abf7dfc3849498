"""The compiled loops of ``descent``; imported on first use, so that importing the theory does not
import numba.

Scalars and plain loops only: array expressions would take numba seconds to compile. Errors as in
numpy, so that a division by zero is no branch.
"""

from __future__ import annotations

import math
from typing import Any

from ghostpoint.numerics.compiled_code import compiled

# Columns of the bookkeeping of one run.
LOWEST, CROSSED, LOST, LOW, HIGH, LOW_BEFORE, HIGH_BEFORE, MARK, MARKED_AT, PERIOD = range(10)

LANES = 8  # runs advanced together in the approach: their divisions and square roots overlap


@compiled
def observe(epoch: int, r: float, r0: float, lost: float, best: float, s: Any) -> None:
    """Bookkeeping of one run at one epoch, in the row ``s``; called in order from epoch 0 on.

    From the crossing on, r is compared with a mark that is set anew after 1, 2, 4, ... epochs
    (Brent's search for cycles): when it comes back to the bit, the map being deterministic, the
    orbit is closed and its period known. The limits start afresh at every mark, and those of the
    block before are kept, so they span half of the epochs or more.
    """
    if epoch == 0:
        s[LOWEST], s[CROSSED], s[LOST], s[PERIOD] = r, -1.0, -1.0, 0.0
    if r < s[LOWEST]:
        s[LOWEST] = r
    if s[LOST] < 0 and r <= lost:
        s[LOST] = epoch
    if s[CROSSED] < 0:
        if (r0 >= best and r <= best) or (r0 < best and r >= best):
            s[CROSSED] = epoch
            s[MARK], s[MARKED_AT] = r, epoch
            s[LOW], s[HIGH], s[LOW_BEFORE], s[HIGH_BEFORE] = r, r, r, r
    elif s[PERIOD] == 0:
        s[LOW], s[HIGH] = min(s[LOW], r), max(s[HIGH], r)
        since = epoch - s[MARKED_AT]
        if r == s[MARK]:
            s[PERIOD] = since
            s[LOW_BEFORE], s[HIGH_BEFORE] = s[LOW], s[HIGH]
        elif since >= s[MARKED_AT] - s[CROSSED] + 1:
            s[LOW_BEFORE], s[HIGH_BEFORE] = s[LOW], s[HIGH]
            s[LOW], s[HIGH], s[MARK], s[MARKED_AT] = r, r, r, epoch


@compiled
def observe_all(epoch: int, r: Any, r0: Any, lost: float, best: float, state: Any) -> None:
    """:func:`observe` for every run."""
    for run in range(r.size):
        observe(epoch, r[run], r0[run], lost, best, state[run])


@compiled
def approach(r: Any, rates: Any, epochs: int, kept: Any, best: float, path: Any, made: Any) -> None:
    """Analytic limit, from above the minimum until each run crosses it; ``r`` and ``made``, the
    updates, in place.

    The sizes of ``r``, ``rates`` and ``made`` are multiples of ``LANES``. A run that has crossed
    stays where it is.
    """
    for first in range(0, r.size, LANES):
        epoch, column, moving = 0, 0, True
        while True:
            if column < kept.size and kept[column] == epoch:
                for run in range(first, first + LANES):
                    if made[run] == epoch and run < path.shape[0]:
                        path[run, column] = r[run]
                column += 1
            if epoch == epochs or not moving:
                break
            ahead = min((kept[column] if column < kept.size else epochs) - epoch, 512)
            for _ in range(ahead):
                for lane in range(LANES):  # no branch in here, so that it vectorises
                    run = first + lane
                    value = r[run]
                    moved = value - rates[run] * (math.pi / 4) / (value * value) * math.sqrt(value)
                    above = value > best
                    r[run] = moved if above else value
                    made[run] += 1 if above else 0
            epoch += ahead
            moving = False
            for run in range(first, first + LANES):
                moving = moving or r[run] > best


@compiled
def step_readout(
    r0: Any,
    r: Any,
    made: Any,
    rates: Any,
    epochs: int,
    kept: Any,
    lost: float,
    best: float,
    threshold: float,
    state: Any,
    path: Any,
) -> None:
    """A step readout: every run from ``r`` after ``made`` updates to the last epoch; ``r``, state,
    path in place.
    """
    for run in range(r0.size):
        value, rate, row, epoch, column = r[run], rates[run], state[run], made[run], 0
        observe(0, r0[run], r0[run], lost, best, row)
        if epoch > 0:  # the approach is monotone: its end says all that the epochs between would
            observe(epoch, value, r0[run], lost, best, row)
        while column < kept.size and kept[column] < epoch:
            column += 1
        while True:
            if column < kept.size and kept[column] == epoch:
                path[run, column] = value
                column += 1
            if epoch == epochs:
                break
            if value <= lost:  # the gradient is zero from here on
                for rest in range(column, kept.size):
                    path[run, rest] = value
                break
            if row[PERIOD] > 0:  # whole turns of a closed orbit need not be computed
                ahead = (kept[column] if column < kept.size else epochs) - epoch
                turns = ahead // int(row[PERIOD])
                if turns > 0:
                    epoch += turns * int(row[PERIOD])
                    continue
            if math.isinf(threshold):
                change = rate * (math.pi / 4) / (value * value) * math.sqrt(value)
            else:
                root = math.sqrt(value)
                bend = threshold / (value + threshold * threshold)
                change = rate * (math.atan2(threshold, root) / root + bend) / (2 * value)
            if value > best:
                value -= change
            elif value < best:
                value += change
            epoch += 1
            observe(epoch, value, r0[run], lost, best, row)
        r[run] = value
