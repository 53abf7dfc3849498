"""Gradient descent on the loss of the toy model: many runs at once, with the exact outcome of each.

What the analytic limit does (derived for this project): with ``u = r / r_star`` and
``k = (3/4) learning_rate / critical_learning_rate`` an update is ``u -> u -+ k u**-1.5``, minus
above u = 1. The loss is steeper below the minimum than above it, so each pair of updates across it
drifts up, by ``1.5 k**2`` for small k: there is no orbit of period two. For small k the orbit turns
slowly through ``1 - k < u < 1 + k``, closes after many updates, and has mean loss ``T k / 4``. From
0.41 of the critical rate on most runs settle on an orbit of period three, one update up and two
down. It outlives the critical rate: see ``SaddleNodeToy.surviving_learning_rate``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer
from ghostpoint.errors import InputError

if TYPE_CHECKING:
    from ghostpoint.theory.saddle_node import SaddleNodeToy


Array = NDArray[np.float64]
OUTCOMES = ("converging", "oscillation", "no-learning zone")


@dataclass(frozen=True)
class Descent:
    """What gradient descent did. Epoch k is the state after k updates; epoch 0 is the start.

    Attributes
    ----------
    r0, learning_rate : array
        The runs, broadcast together; their shape S is the shape of everything that has one value
        per run.
    epochs : int
        Updates made.
    epoch : array of int, (E,)
        The recorded epochs.
    r, loss : array, S + (E,)
        At the recorded epochs.
    r_final, loss_final, r_min : array
        After the last epoch, and the lowest r of all epochs.
    outcome : array of str
        ``"no-learning zone"`` if the run ended there, else ``"oscillation"`` if r has been on both
        sides of the minimum, else ``"converging"``. The zone is r at or below the r whose readout
        crosses its threshold at 2T; with a step readout nothing leaves it.
    lost_epoch, crossing_epoch : array of int
        First epoch in the no-learning zone; first epoch at which r has reached or crossed the
        minimum, seen from its start; -1 if never. Exact, whatever was recorded.
    period : array of int
        Number of updates after which r repeats to the last bit; 0 if it did not within the run.
    r_low, r_high : array
        Limits of the settled oscillation: of the closed orbit if ``period`` is above 0, else of at
        least the last half of the epochs since the crossing. NaN unless the outcome is an
        oscillation.
    loss_high : array
        The highest loss of the settled oscillation; NaN likewise.
    """

    r0: Array
    learning_rate: Array
    epochs: int
    epoch: NDArray[np.int64]
    r: Array
    loss: Array
    r_final: Array
    loss_final: Array
    r_min: Array
    outcome: NDArray[np.str_]
    lost_epoch: NDArray[np.int64]
    crossing_epoch: NDArray[np.int64]
    period: NDArray[np.int64]
    r_low: Array
    r_high: Array
    loss_high: Array


def descend(
    toy: SaddleNodeToy,
    r0: ArrayLike,
    learning_rate: ArrayLike,
    epochs: int,
    *,
    record: int | Iterable[int] = 1,
) -> Descent:
    """``r -> r - learning_rate dL/dr(r)``, ``epochs`` times (letter, Fig. 2B-D).

    Parameters
    ----------
    toy : SaddleNodeToy
        The loss. A step readout runs compiled, 1e8 updates in about a second; a finite confidence
        costs a quadrature an update.
    r0 : array_like
        Starts, finite.
    learning_rate : array_like
        Rates, above 0, in units of r**2 over time; broadcast with ``r0``.
    epochs : int
        Updates, at least 0.
    record : int or iterable of int
        A stride (1 is every epoch; 0 and the last epoch are always among them), or the epochs to
        record.

    Returns
    -------
    Descent

    Raises
    ------
    ValueError
        If an argument is out of range or the shapes do not broadcast.
    """
    # one run for each element of the broadcast arrays
    starts, rates = finite_array("r0", r0), finite_array("learning_rate", learning_rate)
    if not (rates > 0).all():
        raise InputError(f"learning_rate must be above 0, got {rates.min():g}")
    try:
        starts, rates = np.broadcast_arrays(starts, rates)
    except ValueError:
        raise InputError(
            f"r0 and learning_rate must broadcast together, got shapes {starts.shape} and {rates.shape}"
        ) from None
    epochs = integer("epochs", epochs, at_least=0)
    kept = _recorded(record, epochs)
    flat, flat_rates = starts.ravel().astype(float), rates.ravel().astype(float)
    walk = _by_kernel if math.isinf(toy.confidence) else _by_quadrature
    final, path, state = walk(toy, flat, flat_rates, epochs, kept)
    return _summary(
        toy, starts.copy(), rates.copy(), epochs, kept, path.reshape(*starts.shape, kept.size), final, state
    )


def _by_kernel(
    toy: SaddleNodeToy, r0: Array, rates: Array, epochs: int, kept: NDArray[np.int64]
) -> tuple[Array, Array, Array]:
    """Final r, recorded r and bookkeeping of each run; a step readout, compiled."""
    from ghostpoint.theory.descent_kernels import LANES, approach, step_readout

    lost, best = toy.kinks
    spare = -r0.size % LANES  # runs that start at the minimum, and so never move, fill the last lanes
    r, padded_rates = np.append(r0, np.full(spare, best)), np.append(rates, np.ones(spare))
    made = np.zeros(r.size, dtype=np.int64)
    path, state = np.empty((r0.size, kept.size)), np.zeros((r0.size, 10))
    # far above the minimum runs go in vectors, down to it; then one by one, with their events
    if math.isinf(toy.x_threshold):
        approach(r, padded_rates, epochs, kept, best, path, made)
    step_readout(r0, r, made, rates, epochs, kept, lost, best, toy.x_threshold, state, path)
    return r[: r0.size], path, state


def _by_quadrature(
    toy: SaddleNodeToy, r0: Array, rates: Array, epochs: int, kept: NDArray[np.int64]
) -> tuple[Array, Array, Array]:
    """The same at finite confidence."""
    from ghostpoint.theory.descent_kernels import observe_all

    lost, best = toy.kinks
    path, state, r = np.empty((r0.size, kept.size)), np.zeros((r0.size, 10)), r0.copy()
    for epoch in range(epochs + 1):
        if epoch:
            r = r - rates * toy.gradient(r)
        # events of this epoch; state is that of epoch k after k updates
        observe_all(epoch, r, r0, lost, best, state)
        path[:, kept == epoch] = r[:, None]
    return r, path, state


def _recorded(record: int | Iterable[int], epochs: int) -> NDArray[np.int64]:
    if isinstance(record, Iterable):
        kept = np.array(sorted({integer("record", epoch, at_least=0) for epoch in record}), dtype=np.int64)
        if kept.size and kept[-1] > epochs:
            raise InputError(f"record must hold epochs up to {epochs}, got {kept[-1]}")
        return kept
    stride = integer("record", record, at_least=1)
    return np.unique(np.append(np.arange(0, epochs + 1, stride, dtype=np.int64), epochs))


def _summary(
    toy: SaddleNodeToy,
    r0: Array,
    rates: Array,
    epochs: int,
    kept: NDArray[np.int64],
    path: Array,
    final: Array,
    state: Array,
) -> Descent:
    from ghostpoint.theory.descent_kernels import (
        CROSSED,
        HIGH,
        HIGH_BEFORE,
        LOST,
        LOW,
        LOW_BEFORE,
        LOWEST,
        PERIOD,
    )

    final, state = final.reshape(r0.shape), state.reshape(*r0.shape, 10)
    crossed, lost = state[..., CROSSED].astype(np.int64), state[..., LOST].astype(np.int64)
    # at or below the point of no return; else on both sides of the minimum, or on one
    zone = final <= toy.kinks[0]
    settled = ~zone & (crossed >= 0)
    # limits over the last two windows of the bookkeeping, so over at least half of the epochs
    low = np.where(settled, np.minimum(state[..., LOW], state[..., LOW_BEFORE]), np.nan)
    high = np.where(settled, np.maximum(state[..., HIGH], state[..., HIGH_BEFORE]), np.nan)
    ends = np.where(settled[..., None], np.stack([low, high], axis=-1), toy.r_star)
    return Descent(
        r0=r0,
        learning_rate=rates,
        epochs=epochs,
        epoch=kept,
        r=path,
        loss=np.asarray(toy.loss(path)),
        r_final=final,
        loss_final=np.asarray(toy.loss(final)),
        r_min=state[..., LOWEST],
        outcome=np.array(OUTCOMES)[np.where(zone, 2, settled.astype(int))],
        lost_epoch=lost,
        crossing_epoch=crossed,
        period=np.where(settled, state[..., PERIOD], 0).astype(np.int64),
        r_low=low,
        r_high=high,
        # The loss falls towards the minimum on both sides, so an end has the highest.
        loss_high=np.where(settled, np.asarray(toy.loss(ends)).max(-1), np.nan),
    )
