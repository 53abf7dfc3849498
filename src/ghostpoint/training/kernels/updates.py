"""The end of an epoch of one network, whatever its weights: from the gradient to the events.

The gradient is clipped, the optimiser makes a direction q of it, a trust region or a hazard limit
shortens or splits the update ``-by q``, what was seen is written down, the weights change, and
events are noted.

What is trained is the array ``segments`` (S, 5). A row is ``start, stop, jump`` of the vectors of a
segment (``optimizers``), then two flags for inner products: whether its terms are added to the
running sum one after the other (they are summed apart first, and even and odd segments have sums of
their own), and whether the sum ends here. The inner product is the total of the sums.
"""

from __future__ import annotations

import math

from numba import njit

from ghostpoint.numerics.elementary import tanh
from ghostpoint.numerics.random import fill_normals
from ghostpoint.numerics.simd import any_nonzero, fma, full, lanes, load, not_inlined, pointer, store, tree_sum
from ghostpoint.training.kernels.epoch import LOSS, NORM, SCALE, note, remember
from ghostpoint.training.kernels.optimizers import (
    SEGMENT,
    SGD,
    apply,
    blend,
    clipping,
    direct,
    step_of,
    update,
)
from ghostpoint.training.kernels.trust import (
    ALONG,
    BY_LOSS,
    GRAM,
    HAZARD,
    WEIGHT,
    acts,
    allowed,
    hazard,
    split,
    splits,
)


@njit
def draw_states(x, draws, seed, stream, epoch, trials, units, plane):
    """The initial rates of every trial, to ``x``: fixed, or ``tanh(spread normal)``. ``stream`` is
    INITIAL.
    """
    width = lanes(x)
    if draws.spread > 0:
        fill_normals(x, trials * plane, draws.spread, seed, stream, epoch)
        for i in range(0, trials * plane, width):
            store(x, i, tanh(load(x, i)))
        for b in range(trials):
            for i in range(units, plane):
                x[b * plane + i] = 0
    else:
        row = epoch % draws.initial.shape[0]
        for i in range(trials * plane):
            x[i] = draws.initial[row, i]


@njit
def draw_noise(drawn, draws, seed, stream, epoch, size):
    """Where the noise of an epoch is, if there is any: ``drawn``, or a row. ``stream`` is NOISE."""
    if draws.sigma > 0:
        fill_normals(drawn, size, draws.sigma, seed, stream, epoch)
        return drawn
    if draws.noise.shape[0] > 0:
        return pointer(draws.noise, epoch % draws.noise.shape[0] * size)
    return drawn


@njit(inline="always")
def has_memory(weights, shape, task, draws, rule):
    """Whether an epoch can differ from the one before it though no weight does."""
    drawn = draws.spread > 0 or draws.sigma > 0 or draws.initial.shape[0] > 1 or draws.noise.shape[0] > 1
    return drawn or rule.code != SGD or task.inputs.shape[0] > shape.chunks or weights.readout_norm > 0


@njit
def inner(a, b, segments, count):
    """The inner product of a and b over what is trained."""
    not_inlined()
    # sums of the even and of the odd segments are apart, so that two chains are in flight
    zero = full(a, 0.0)
    even, odd, product = zero, zero, tree_sum(zero)
    for k in range(count):
        row = SEGMENT * k
        at, stop, jump = segments[row], segments[row + 1], segments[row + 2]
        if segments[row + 3]:
            while at < stop:
                odd = fma(load(a, at), load(b, at), odd)
                at += jump
        else:
            total = zero
            while at < stop:
                total = fma(load(a, at), load(b, at), total)
                at += jump
            even, odd = odd, even + total
        if segments[row + 4]:
            product += tree_sum(even + odd)
            even, odd = zero, zero
    return product


@njit
def _restrain(vectors, segments, count, size, watch, now, length, by, norm):
    """What the remedies make of the update ``d = -by q``, whose length is given.

    Returns
    -------
    scale, touched : float, bool
        The length that remains over that of d, and whether anything is changed. Where the region
        splits, q is changed here; else d is still to be multiplied by ``scale``.
    """
    not_inlined()
    crossings, region, direction = watch.crossings, watch.region, vectors.direction
    loss, watched, splitting = float(now[LOSS, 0]), watch.crossings.shape[0], splits(watch.crossings, watch.region)
    seen, row = pointer(watch.seen, 0), watch.seen.shape[1]
    uphill = inner(vectors.gradient, direction, segments, count) < 0
    scale, touched = math.inf if watched else 1.0, False
    for i in range(watched):
        found = pointer(watch.seen, i * row)
        # e_i . q, and the Gram matrix e_i . e_j as far as it is read
        e = pointer(vectors.slopes, i * size)
        along = by * inner(e, direction, segments, count)
        for j in range(0 if splitting else i, i + 1):
            found[GRAM + j] = inner(e, pointer(vectors.slopes, j * size), segments, count)
        if splitting:
            found[ALONG], found[BY_LOSS] = -along, inner(e, vectors.gradient, segments, count)
        else:
            slope = math.sqrt(found[GRAM + i])
            scale = min(scale, allowed(region, found, crossings[i, 4], loss, slope, length, along, uphill))
    if splitting:
        # d is split into its part in the span of the e_i and the rest
        most, scale, touched = split(region, crossings, seen, row, loss, norm, length, uphill)
        if touched:
            blend(vectors, size, most, seen, row, WEIGHT, watched, by)
    elif region[HAZARD] < math.inf:
        scale = min(scale, hazard(region, norm, length))
    return scale, touched or scale != 1


@njit
def finish_epoch(weights, rule, vectors, watch, recorder, task, epoch, memory):
    """Update the weights by ``vectors.gradient`` and note what happened; whether the network is
    finished.

    ``recorder.now`` holds the loss and the accuracy. A network whose loss, gradient or step is not
    finite keeps its last parameters (``diverged``); one that an update changes in no bit is
    ``frozen``, but only where all later epochs must then be the same: not with ``memory``.
    """
    not_inlined()
    now, acting = recorder.now, acts(watch.crossings, watch.region)
    segments, count = pointer(weights.segments, 0), weights.segments.shape[0]
    # |g| over what is trained, and the factor that clipping allows
    square = inner(vectors.gradient, vectors.gradient, segments, count)
    now[NORM, 0] = math.sqrt(square)
    factor = clipping(float(now[NORM, 0]), rule.settings[4])
    # the length of the update, rounded to the state's type, in which its square must be finite too
    now[NORM, 0], norm = rule.settings[0] * factor * now[NORM, 0], now[NORM, 0]
    total = now[LOSS, 0] + square + now[NORM, 0] * now[NORM, 0]
    now[NORM, 0] = norm
    bad = total - total != 0
    step, scale = step_of(rule, factor, epoch), 1.0
    if acting:
        # the optimiser's direction q and the length of the update by q
        direct(rule.code, vectors, segments, count, step)
        length = step.by * math.sqrt(inner(vectors.direction, vectors.direction, segments, count))
        scale, touched = _restrain(
            vectors, segments, count, weights.state.size, watch, now, length, step.by, float(norm)
        )  # fmt: skip
        now[NORM, 0] = scale * length  # rounded to the state's type
        total = now[NORM, 0] * now[NORM, 0]
        now[NORM, 0] = norm
        bad = bad or total - total != 0  # the update that is made, too, must be finite
        if touched and not bad:
            recorder.acted[0] += 1
    # what was seen before the update
    now[SCALE, 0] = scale
    snapshot = remember(recorder, epoch)
    if snapshot >= 0:
        recorder.snapshots[snapshot] = weights.state
    # p <- p - by q
    changed = False
    if not bad:
        if acting:
            by = step.by if splits(watch.crossings, watch.region) else step.by * scale
            changed = any_nonzero(apply(vectors, segments, count, by))
        else:
            changed = any_nonzero(update(rule.code, vectors, segments, count, step))
    return note(recorder.events, now, 0, epoch, changed or memory, bad, task.chance_accuracy, task.solved_loss)
