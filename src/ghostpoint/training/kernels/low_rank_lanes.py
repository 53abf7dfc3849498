"""Plain gradient descent on a block of networks of any rank, one network per lane, compiled.

The mathematics is that of ``low_rank.py``, and so are the operations and their order: a network has the same bits here
and there. (What a network that diverges gives in its last epoch may be infinite here and NaN there, where the units
that fill up a vector are infinity times zero.) One network alone spends its time waiting: a step needs the latents of
the step before it, which take two products, a tanh and a sum over lanes one after the other. ``lanes`` networks at once
have other work to do meanwhile, and no sum over lanes. So this is the faster kernel for stacks of networks of low rank.
It is for fixed trials without noise, SGD, and neither clipping nor remedies nor a norm of the readout.

Layout, each number a vector of ``lanes`` networks: ``state`` is M, (units, K + inputs + 1), then P, (units, rows) with
``rows`` = K or, for a readout of the state, K + outputs; then W_out (O, K) of a latent readout and b_out, or the
confidence alone. Both numbers of columns are at most ``lanes_passes.MOST``.

``learning_rates`` (float64) and ``kappa_star`` have a value per network. ``first`` is (units,) vectors, the x[0] of
every trial; ``constants`` holds alpha and the tolerance of ``epoch.compare``; ``inputs``, ``targets``, ``weights`` and
``counted`` are flat, a row of those of ``low_rank.train``. All else is as there, with a column per network in
``events``, ``history`` and ``now``. A lane whose ``events`` say that it is finished when the call begins is empty.
"""

from __future__ import annotations

import math

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
    select,
    splat,
    store,
    unequal,
)
from ghostpoint.training.kernels.epoch import judged, note
from ghostpoint.training.kernels.lanes_passes import backward, forward, outer, outer_rates, tree
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE

__all__ = ["train", "work_size"]


def work_size(
    units: int, columns: int, rows: int, small: int, outputs: int, trials: int, steps: int, width: int
) -> int:
    """The number of elements of ``work``."""
    padded = -(-steps * trials // width) * width
    terms = steps * trials
    vectors = units * (columns + rows) + small + terms * (columns + 2 * units) + 2 * (terms + trials) * (rows + 1)
    return (vectors + rows + 4 * width + outputs * padded + 5) * width


@njit
def _logits(kind, small, path, first, rows, latents, outputs, terms, padded, kappa_star, z):
    """z of the states from ``path[first]`` on."""
    not_inlined()
    width = lanes(path)
    for o in range(outputs):
        for k in range(terms):
            at = (first + k) * rows * width
            if kind == STATE:
                answer = load(path, at + (latents + o) * width) + load(small, o * width)
            elif kind == LATENT:
                answer = load(small, (outputs * latents + o) * width)
                for j in range(latents):
                    answer = answer + load(small, (o * latents + j) * width) * load(path, at + j * width)
            else:
                answer = load(small, 0) * (load(path, at) - load(kappa_star, 0))
            store(z, (o * padded + k) * width, answer)


@njit
def _compare(z, targets, weights, counted, thresholds, tolerance, activation, outputs, terms, padded, parts):
    """Loss and the sum of what is right; ``z`` becomes dL/dz. Answer k is in partial sum ``k mod lanes``."""
    not_inlined()
    width = lanes(z)
    zero, one = full(z, 0.0), full(z, 1.0)
    right = pointer(parts, width * width)
    for p in range(width):
        store(parts, p * width, zero)
        store(right, p * width, zero)
    for o in range(outputs):
        for k in range(terms):
            place, p = o * padded + k, k % width * width
            weighted, error, slope, apart = judged(
                load(z, place * width), splat(targets[place]), splat(weights[place]), thresholds, tolerance, activation
            )
            store(parts, p, fma(weighted, error, load(parts, p)))
            store(right, p, fma(splat(counted[place]), one - apart, load(right, p)))
            store(z, place * width, slope)
    return tree(parts, width), tree(right, width)


@njit
def _small_gradient(
    kind, gradient, path, first, rows, by_z, latents, outputs, terms, padded, kappa_star, trainable
):  # fmt: skip
    """Of W_out of a latent readout and b_out, or of the confidence; zero where not trainable."""
    not_inlined()
    width = lanes(path)
    zero = full(path, 0.0)
    if kind == CONFIDENCE:
        total = zero
        if trainable[6]:
            for k in range(terms):
                state = load(path, (first + k) * rows * width)
                total = total + load(by_z, k * width) * (state - load(kappa_star, 0))
        store(gradient, 0, total)
        return
    offset = outputs * latents if kind == LATENT else 0
    for o in range(outputs):
        for j in range(latents if kind == LATENT else 0):
            total = zero
            if trainable[4]:
                for k in range(terms):
                    d = load(by_z, (o * padded + k) * width)
                    total = total + d * load(path, ((first + k) * rows + j) * width)
            store(gradient, (o * latents + j) * width, total)
        total = zero
        if trainable[5]:
            for k in range(terms):
                total = total + load(by_z, (o * padded + k) * width)
        store(gradient, (offset + o) * width, total)


@njit
def _square(gradient, at, columns, first, last, units, parts):
    """The sum of squares of the columns ``first`` to ``last - 1`` of the matrix at ``gradient[at:]``."""
    not_inlined()
    width = lanes(gradient)
    zero = full(gradient, 0.0)
    even, odd = pointer(parts, 0), pointer(parts, width * width)
    for p in range(2 * width):
        store(parts, p * width, zero)
    for j in range(first, last):
        for p in range(width):
            total = zero
            for i in range(p, units, width):
                value = load(gradient, at + (i * columns + j) * width)
                total = fma(value, value, total)
            store(even, p * width, load(even, p * width) + total)
        even, odd = odd, even
    for p in range(width):
        store(even, p * width, load(even, p * width) + load(odd, p * width))
    return tree(even, width)


@njit
def _small_square(gradient, count, parts):
    not_inlined()
    width = lanes(gradient)
    for p in range(width):
        store(parts, p * width, full(gradient, 0.0))
    for i in range(count):
        p, value = i % width * width, load(gradient, i * width)
        store(parts, p, fma(value, value, load(parts, p)))
    return tree(parts, width)


@njit
def _update(state, gradient, at, columns, first, last, units, back, bad):
    """Columns ``first`` to ``last - 1`` of the matrix at ``[at:]`` where not ``bad``; nonzero where a bit changed."""
    not_inlined()
    width = lanes(state)
    changed = full(state, 0.0)
    for i in range(units):
        for j in range(first, last):
            place = at + (i * columns + j) * width
            old = load(state, place)
            new = select(bad, old, fma(back, load(gradient, place), old))
            changed = maximum(changed, unequal(new, old))
            store(state, place, new)
    return changed


@compiled
def train(
    state, learning_rates, trainable, constants, kappa_star, inputs, targets, weights, counted, thresholds, first,
    activation, read_out, kind, units, latents, n_inputs, outputs, trials, steps, chance_accuracy, solved_loss, start,
    stop, record_epochs, snapshot_epochs, cursor, history, snapshots, events, now, work,
):  # fmt: skip
    """Do epochs ``start`` to ``stop - 1``, or fewer if all networks are finished; return the next epoch to do."""
    width = lanes(state)
    columns, rows = latents + n_inputs + 1, latents + (outputs if kind == STATE else 0)
    plane, terms = units * width, steps * trials
    padded = (terms + width - 1) // width * width
    left_size, right_size = plane * columns, plane * rows
    small_at = left_size + right_size
    small_count = (state.size - small_at) // width
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
    rest = pointer(work, at)
    left, right, small = pointer(state, 0), pointer(state, left_size), pointer(state, small_at)
    small_part = pointer(work, small_at)
    first_, kappas = pointer(first, 0), pointer(kappa_star, 0)
    inputs_, targets_, weights_ = pointer(inputs, 0), pointer(targets, 0), pointer(weights, 0)
    counted_ = pointer(counted, 0)
    alpha, zero = splat(constants[0]), full(state, 0.0)
    for i in range(width):
        rest[i] = -learning_rates[i]
    back = load(rest, 0)
    n_counted = counted.sum()
    read_from, shift = (trials, 0) if read_out else (0, 1)
    # the columns of m, n, w_in, b and, of a readout of the state, w_out
    places = (0, left_size, 0, 0, left_size)
    widths = (columns, rows, columns, columns, rows)
    begins = (0, 0, latents, latents + n_inputs, latents)
    ends = (latents, latents, latents + n_inputs, columns, rows)
    for epoch in range(start, stop):
        forward(
            left, right, inputs_, first_, g, path, hot, net, parts, alpha, latents, n_inputs, rows, units,
            trials, steps,
        )  # fmt: skip
        _logits(kind, small, path, read_from, rows, latents, outputs, terms, padded, kappas, z)
        loss, correct = _compare(
            z, targets_, weights_, counted_, thresholds, constants[1], activation, outputs, terms, padded, parts
        )  # fmt: skip
        backward(
            kind, left, right, small, hot, z, adjoint, s, net, parts, alpha, latents, n_inputs, outputs,
            rows, units, trials, steps, padded, shift,
        )  # fmt: skip
        outer(gradient, columns, s, units, g, terms, buffer)
        outer_rates(pointer(work, left_size), rows, first_, hot, alpha, units, trials, adjoint, terms, buffer)
        _small_gradient(kind, small_part, path, read_from, rows, z, latents, outputs, terms, padded, kappas, trainable)
        square = _small_square(small_part, small_count, parts)
        for part in range(5):
            if trainable[part]:
                square = square + _square(
                    gradient, places[part], widths[part], begins[part], ends[part], units, parts
                )  # fmt: skip
        for k in range(terms * rows, (terms + trials) * rows):
            last = load(path, k * width)
            loss = loss + (last - last)  # NaN where a latent has overflowed, whether or not the answers show it
        store(rest, 0, loss)
        store(rest, width, square)
        store(rest, 2 * width, correct)
        for i in range(width):
            now[0, i] = rest[i]
            now[1, i] = math.sqrt(rest[width + i])
            now[2, i] = rest[2 * width + i] / n_counted
            now[3, i] = small[i]
            # the length of the update, rounded to the state's type, in which its square must be finite too
            now[4, i] = learning_rates[i] * now[1, i]
            total = rest[i] + rest[width + i] + now[4, i] * now[4, i]
            now[4, i] = 1
            rest[3 * width + i] = 1 if total - total != 0 else 0
        # what was seen before the update
        if cursor[0] < record_epochs.size and record_epochs[cursor[0]] == epoch:
            history[cursor[0]] = now
            cursor[0] += 1
        if cursor[1] < snapshot_epochs.size and snapshot_epochs[cursor[1]] == epoch:
            snapshots[cursor[1]] = state
            cursor[1] += 1
        bad = load(rest, 3 * width)
        changed = zero
        for i in range(small_count):
            old = load(small, i * width)
            new = select(bad, old, fma(back, load(small_part, i * width), old))
            changed = maximum(changed, unequal(new, old))
            store(small, i * width, new)
        for part in range(5):
            if trainable[part]:
                differs = _update(
                    left, gradient, places[part], widths[part], begins[part], ends[part], units, back, bad
                )  # fmt: skip
                changed = maximum(changed, differs)
        store(rest, 4 * width, changed)
        finished = True
        for i in range(width):
            done = note(
                events, now, i, epoch, rest[4 * width + i] != 0, rest[3 * width + i] != 0, chance_accuracy, solved_loss
            )  # fmt: skip
            finished = finished and done
        if finished:
            return epoch + 1
    return stop
