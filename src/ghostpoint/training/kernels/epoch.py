"""What ends an epoch in every kernel: outputs compared with targets, and what happened to the
network.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ghostpoint.numerics.elementary import logistic
from ghostpoint.numerics.simd import (
    fma,
    full,
    greater,
    lanes,
    load,
    maximum,
    not_inlined,
    splat,
    store,
    tree_sum,
    unequal,
)

#: names of the output functions, in the order of their codes
ACTIVATIONS = ("sigmoid", "tanh", "identity")
SIGMOID, TANH, IDENTITY = range(3)
#: whether the output of a step is read before or after the update, in the order of the codes
READ_OUTS = ("before", "after")
#: rows of ``events``: epochs, or -1 for never
EVENTS = ("first_above_chance", "last_above_chance", "first_solved", "frozen", "diverged")
FIRST_ABOVE, LAST_ABOVE, SOLVED, FROZEN, DIVERGED = range(5)
#: rows of ``history`` and ``now``; without a confidence its row stays zero
QUANTITIES = ("loss", "gradient_norm", "accuracy", "confidence", "update_scale")
LOSS, NORM, ACCURACY, CONFIDENCE, SCALE = range(5)


@njit
def remember(recorder, epoch):
    """Write what ``epoch`` saw to the history, if it is recorded; the row of a snapshot that is
    due, or -1.
    """
    cursor = recorder.cursor
    record, snapshot = cursor[0], cursor[1]
    if record < recorder.record_epochs.size and recorder.record_epochs[record] == epoch:
        recorder.history[record] = recorder.now
        cursor[0] = record + 1
    if snapshot < recorder.snapshot_epochs.size and recorder.snapshot_epochs[snapshot] == epoch:
        cursor[1] = snapshot + 1
        return snapshot
    return np.int64(-1)


@njit(inline="always")
def note(events, now, i, epoch, changed, bad, chance_accuracy, solved_loss):
    """Update the events of network ``i`` with what happened at ``epoch``; whether the network is
    finished.

    Answers do not count where the loss is not finite.
    """
    if now[ACCURACY, i] > chance_accuracy and now[LOSS, i] - now[LOSS, i] == 0:
        if events[FIRST_ABOVE, i] < 0:
            events[FIRST_ABOVE, i] = epoch
        events[LAST_ABOVE, i] = epoch
    if events[SOLVED, i] < 0 and now[LOSS, i] < solved_loss:
        events[SOLVED, i] = epoch
    if bad:
        if events[DIVERGED, i] < 0:
            events[DIVERGED, i] = epoch
    elif not changed and events[FROZEN, i] < 0:
        # the update changed no bit: every later epoch is this one again
        events[FROZEN, i] = epoch
    return events[FROZEN, i] >= 0 or events[DIVERGED, i] >= 0


@njit
def keep_logits(recorder, z, first, size):
    """Write ``size`` logits down from ``first`` on, where there is a place for them."""
    if recorder.logits.size > 0:
        for k in range(size):
            recorder.logits[first + k] = z[k]


@njit(inline="always")
def judged(argument, target, weight, thresholds, tolerance, activation):
    """Of vectors of answers: ``weight (o - target)``, ``o - target``, dL/dz, and 1 where the answer
    is wrong.
    """
    zero, one = full(argument, 0.0), full(argument, 1.0)
    # output o = f(z), error o - target and bend f'(z)
    if activation == IDENTITY:
        output, error, bend = argument, argument - target, one
    else:
        # with p, q = logistic(+-steep z), both outputs are p - low q with 1 = p + q, and keep their
        # digits near an end
        steep, low, gain = one, zero, one
        if activation == TANH:
            steep, low, gain = one + one, one, full(argument, 4.0)
        p, q = logistic(steep * argument), logistic(-(steep * argument))
        output = fma(-low, q, p)
        error = (one - target) * p - (target + low) * q
        bend = gain * (p * q)
    weighted = weight * error
    # wrong: off by the tolerance or more, or a threshold lies between output and target
    apart = zero
    if tolerance > 0:
        apart = one - greater(splat(tolerance), maximum(error, -error))
    else:
        for threshold in thresholds:
            apart = maximum(apart, unequal(greater(output, splat(threshold)), greater(target, splat(threshold))))
    return weighted, error, (weighted + weighted) * bend, apart


@njit
def compare(z, size, targets, weights, counted, thresholds, tolerance, activation):
    """Loss and the sum of what is counted as right; ``z`` becomes dL/dz.

    An output is right when it is above as many of ``thresholds`` as its target is or, where
    ``tolerance`` is positive, when it is less than this far from it.
    """
    not_inlined()
    width = lanes(z)
    one = full(z, 1.0)
    loss, right = full(z, 0.0), full(z, 0.0)
    # L = sum w (o - target)^2, dL/dz = 2 w (o - target) f'(z)
    for k in range(0, size, width):
        weighted, error, slope, apart = judged(
            load(z, k), load(targets, k), load(weights, k), thresholds, tolerance, activation
        )
        loss = fma(weighted, error, loss)
        store(z, k, slope)
        right = fma(load(counted, k), one - apart, right)
    return tree_sum(loss), tree_sum(right)
