"""Plain gradient descent on a block of networks of any rank, one network per lane, compiled.

The mathematics is that of ``low_rank.py``, and so are the operations and their order: a network has
the same bits here and there. (What a network that diverges gives in its last epoch may be infinite
here and NaN there, where the units that fill up a vector are infinity times zero.) One network
alone spends its time waiting: a step needs the latents of the step before it, which take two
products, a tanh and a sum over lanes one after the other. ``lanes`` networks at once have other
work to do meanwhile, and no sum over lanes. So this is the faster kernel for stacks of networks of
low rank. It is for fixed trials without noise, SGD, and neither clipping nor remedies nor a norm of
the readout.

Layout, each number a vector of ``lanes`` networks: ``state`` is M, (units, K + inputs + 1), then P,
(units, rows) with ``rows`` = K or, for a readout of the state, K + outputs; then W_out (O, K) of a
latent readout and b_out, or the confidence alone. Both numbers of columns are at most
``lanes_passes.MOST``.

``records.py`` says what the arguments hold; ``inputs``, ``targets``, ``weights`` and ``counted``
are flat, a row of those of ``low_rank.train``, and the recorder has a column per network. A lane
whose ``events`` say that it is finished when the call begins is empty.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.simd import (
    fma,
    full,
    lanes,
    load,
    maximum,
    not_inlined,
    pointer,
    put,
    select,
    splat,
    store,
    take,
    tree_of_vectors,
    unequal,
)
from ghostpoint.training.kernels.epoch import (
    ACCURACY,
    CONFIDENCE,
    LOSS,
    NORM,
    SCALE,
    judged,
    note,
    remember,
)
from ghostpoint.training.kernels.lanes_passes import Memory, backward, forward, outer, outer_rates
from ghostpoint.training.kernels.low_rank_passes import STATE, Sizes, logits, readout_gradient
from ghostpoint.training.kernels.optimizers import SEGMENT


def work_size(state: int, shape: Any, width: int) -> int:
    """The number of elements of ``work``, from that of the state."""
    terms = shape.steps * shape.trials
    padded = -(-terms // width) * width
    columns = shape.latents + shape.inputs + 1
    rows = shape.latents + (shape.outputs if shape.readout == STATE else 0)
    vectors = terms * (columns + 2 * shape.units) + 2 * (terms + shape.trials) * (rows + 1)
    return state + (vectors + rows + 4 * width + shape.outputs * padded + 5) * width


@njit
def _compare(z, task, sizes, activation, parts):
    """Loss and the sum of what is right; ``z`` becomes dL/dz. Answer k is in partial sum
    ``k mod lanes``.
    """
    not_inlined()
    targets, weights, counted = pointer(task.targets, 0), pointer(task.weights, 0), pointer(task.counted, 0)
    width, zero, one = lanes(z), full(z, 0.0), full(z, 1.0)
    right = pointer(parts, width * width)
    for p in range(width):
        store(parts, p * width, zero)
        store(right, p * width, zero)
    # L = sum w (o - target)^2, dL/dz = 2 w (o - target) f'(z)
    for o in range(sizes.outputs):
        for k in range(sizes.steps * sizes.trials):
            place, p = o * sizes.padded + k, k % width * width
            weighted, error, slope, apart = judged(
                load(z, place * width), splat(targets[place]), splat(weights[place]), task.thresholds,
                task.tolerance, activation,
            )  # fmt: skip
            store(parts, p, fma(weighted, error, load(parts, p)))
            store(right, p, fma(splat(counted[place]), one - apart, load(right, p)))
            store(z, place * width, slope)
    return tree_of_vectors(parts), tree_of_vectors(right)


@njit
def _square(gradient, segments, count, parts):
    """``|g|**2`` over what is trained, summed as ``updates.inner`` does for one network."""
    not_inlined()
    width, zero = lanes(gradient), full(gradient, 0.0)
    even, odd, square = pointer(parts, 0), pointer(parts, width * width), zero
    for p in range(2 * width):
        store(parts, p * width, zero)
    for k in range(count):
        row = SEGMENT * k
        start, stop, jump = segments[row], segments[row + 1], segments[row + 2]
        # a segment is added to the running sums in turn, or summed apart first
        apart = segments[row + 3] == 0
        for p in range(width):
            total = zero if apart else load(odd, p * width)
            at = start + p * jump
            while at < stop:
                value = load(gradient, at)
                total = fma(value, value, total)
                at += width * jump
            if apart:
                store(even, p * width, load(even, p * width) + total)
            else:
                store(odd, p * width, total)
        if apart:
            even, odd = odd, even
        # the end of a sum: even and odd segments, then the partial sums
        if segments[row + 4]:
            for p in range(width):
                store(even, p * width, load(even, p * width) + load(odd, p * width))
            square = square + tree_of_vectors(even)
            for p in range(2 * width):
                store(parts, p * width, zero)
    return square


@njit
def _update(state, gradient, segments, count, back, bad):
    """``p <- p - eta g`` for the networks that are not ``bad``; nonzero where a bit changed."""
    not_inlined()
    changed = full(state, 0.0)
    for k in range(count):
        at, stop, jump = segments[SEGMENT * k], segments[SEGMENT * k + 1], segments[SEGMENT * k + 2]
        while at < stop:
            # p <- p - eta g
            old = load(state, at)
            new = select(bad, old, fma(back, load(gradient, at), old))
            changed = maximum(changed, unequal(new, old))
            store(state, at, new)
            at += jump
    return changed


@compiled
def train(weights, shape, task, recorder, work, start, stop):
    """Do epochs ``start`` to ``stop - 1``, or fewer if all networks are finished; return the next
    epoch to do.
    """
    state, now, events, rates = weights.state, recorder.now, recorder.events, weights.rates
    latents, outputs, trials, steps = shape.latents, shape.outputs, shape.trials, shape.steps
    width = lanes(state)
    columns, rows = latents + shape.inputs + 1, latents + (outputs if shape.readout == STATE else 0)
    plane, terms = shape.units * width, steps * trials
    padded = (terms + width - 1) // width * width
    left_size, small_at = plane * columns, plane * (columns + rows)
    # the parts of work
    gradient, at = pointer(work, 0), state.size
    g, at = pointer(work, at), at + terms * columns * width
    path, at = pointer(work, at), at + (terms + trials) * rows * width
    adjoint, at = pointer(work, at), at + (terms + trials) * rows * width
    hot, at = pointer(work, at), at + terms * plane
    s, at = pointer(work, at), at + terms * plane
    buffer, at = pointer(work, at), at + 2 * (terms + trials) * width
    net, at = pointer(work, at), at + rows * width
    parts, at = pointer(work, at), at + 4 * width * width
    z, at = pointer(work, at), at + outputs * padded * width
    values = pointer(work, at)
    read_from, shift = (trials, 0) if shape.read_out else (0, 1)
    sizes = Sizes(
        shape.readout, shape.units, latents, shape.inputs, outputs, columns, rows, plane, columns, rows, trials,
        steps, padded, shift,
    )  # fmt: skip
    memory = Memory(
        pointer(state, 0), pointer(state, left_size), pointer(weights.initial, 0), pointer(state, small_at), g,
        path, hot, adjoint, s, net, parts, buffer,
    )  # fmt: skip
    segments, count, inputs = pointer(weights.segments, 0), weights.segments.shape[0], pointer(task.inputs, 0)
    alpha, zero, kappas = splat(task.alpha), full(state, 0.0), load(weights.kappa_star, 0)
    # -eta per network
    for i in range(width):
        values[i] = -rates[i]
    back, n_counted = load(values, 0), task.counted.sum()
    for epoch in range(start, stop):
        # kappa[t] and phi[t], then z
        forward(memory, sizes, inputs, alpha)
        logits(sizes, memory.small, path, read_from, kappas, z, zero)
        loss, correct = _compare(z, task, sizes, shape.activation, parts)
        # lambda[t] and s[t]; dL/dM = sum s g^T, dL/dP, and the rest of the gradient
        backward(memory, sizes, z, alpha)
        outer(gradient, columns, s, shape.units, g, terms, buffer)
        outer_rates(memory, sizes, pointer(work, left_size), alpha)
        readout_gradient(
            sizes, pointer(work, small_at), path, read_from, z, (0, terms, 1), kappas, weights.trainable, zero
        )  # fmt: skip
        # |g|^2 over what is trained
        square = _square(gradient, segments, count, parts)
        for k in range(terms * rows, (terms + trials) * rows):
            last = take(path, k, zero)
            loss = loss + (last - last)  # NaN where a latent has overflowed, whether or not the answers show it
        put(values, 0, loss)
        put(values, 1, square)
        put(values, 2, correct)
        for i in range(width):
            now[LOSS, i] = values[i]
            now[NORM, i] = math.sqrt(values[width + i])
            now[ACCURACY, i] = values[2 * width + i] / n_counted
            now[CONFIDENCE, i] = memory.small[i]
            # the length of the update, rounded to the state's type, in which its square must be
            # finite too
            now[SCALE, i] = rates[i] * now[NORM, i]
            total = values[i] + values[width + i] + now[SCALE, i] * now[SCALE, i]
            now[SCALE, i] = 1
            values[3 * width + i] = 1 if total - total != 0 else 0
        # what was seen before the update
        snapshot = remember(recorder, epoch)
        if snapshot >= 0:
            recorder.snapshots[snapshot] = state
        # the update, and what it means
        put(values, 4, _update(memory.left, gradient, segments, count, back, take(values, 3, zero)))
        finished = True
        for i in range(width):
            done = note(
                events, now, i, epoch, values[4 * width + i] != 0, values[3 * width + i] != 0, task.chance_accuracy,
                task.solved_loss,
            )  # fmt: skip
            finished = finished and done
        if finished:
            return epoch + 1
    return stop
