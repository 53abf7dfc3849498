"""Training of one full-rank network, compiled: one call does many epochs without leaving the kernel.

Theory, section 3, with ``alpha = dt / tau``, for each of B trials (x a column, e elementwise, W acts as ``W x``)::

    phi[t] = tanh(W x[t] + W_in u[t] + b + noise[t]),   e[t] = 1 - phi[t]**2
    x[t+1] = (1 - alpha) x[t] + alpha phi[t]
    o[t] = f(W_out x' + b_out),   x' = x[t] (read out before the update) or x[t+1] (after),   f in ACTIVATIONS
    L = sum weights (o - target)**2 over trials, steps and channels
    d[t] = dL/d(W_out x' + b_out) = 2 weights (o - target) f'
    y[t] = dL/dx[t] = (1 - alpha) y[t+1] + W^T s[t] + W_out^T (d of the step that reads x[t])
    s[t] = alpha e[t] y[t+1]
    dL/dW = sum s[t] x[t]^T,   dL/dW_in = sum s[t] u[t]^T,   dL/db = sum s[t]
    dL/dW_out = sum d[t] x'^T,   dL/db_out = sum d[t]

Layout: units across lanes. The state of a trial is followed by its input and by a one, ``(x, u, 1)``, in ``plane`` =
``units + inputs + 1`` numbers, rounded up to whole vectors with zeros. So ``W, W_in, b`` are the columns of one matrix
of ``plane x plane`` numbers, in panels as in ``blocks.py``, with zeros in the rows beyond ``units``; and
``W_out, b_out`` are ``outputs`` rows of ``plane``, zero at the inputs and beyond. Both in one flat array, the matrix
first: ``state``. What has a value per step and trial is ordered ``k = step B + trial``; with C steps and ``K = C B``,
``padded`` is K rounded up to whole vectors. ``full_rank_packing.py`` makes these arrays.

Conventions of :func:`train`
----------------------------
``state`` is changed in place; ``first`` and ``second`` are the optimiser's moments, zero at epoch 0 and shaped like it
(any array where the rule has none). ``rule`` and ``settings`` (float64) are those of ``optimizers.py``. ``trainable``
has a flag for each of :data:`PARTS`. ``constants`` holds alpha, the tolerance of ``epoch.compare`` (0 for none) and,
where it is positive, the L1 norm that W_out has before every epoch (b_out is scaled by the same factor).

``inputs`` is ``(rows, K I)``; ``targets``, ``weights`` and ``counted`` (0 or 1 of the state's type, in the accuracy)
are ``(rows, outputs padded)``, zero in the padding. ``initial`` is ``(rows, B plane)`` and ``noise`` is
``(rows, K plane)``; no rows of noise means none. Of all these, epoch k takes row ``k mod rows``. An output counts as
right as ``epoch.compare`` says. With ``spread > 0``, ``initial`` is not read and the initial rates are
``tanh(spread normal)``, drawn anew every epoch; with ``sigma > 0``, ``noise`` is not read but is ``sigma normal``. Both
are functions of ``(seed, epoch)`` alone (``random.py``), with ``seed`` of 64 bits. ``activation`` and ``read_out``
are indices into :data:`ACTIVATIONS` and :data:`READ_OUTS`. ``work`` has :func:`work_size` elements, any content.

``events``, ``history``, ``now``, ``snapshots`` (whole states), ``cursor``, ``start`` and ``stop`` are those of
``rank_one``, with the rows :data:`QUANTITIES` and one column. Loss, gradient norm (of what is trainable, before
clipping) and accuracy are those before the update. A network whose loss, gradient or step is not finite keeps its last
parameters (``diverged``); one that an update changes in no bit is ``frozen``, but only where all later epochs must
then be the same: SGD, one row of initial states, at most one row of noise, nothing drawn.

``crossings``, ``marks`` and ``region`` are those of ``trust.py``. With a crossing or a hazard limit, and without
a split, every update is multiplied by one factor, ``now``'s ``update_scale``; ``acted`` counts the epochs in which an
update is changed. It takes a
second backward pass for each crossing, of one trial and from the readings that define its time. Where the region splits
updates, the direction is changed before it is applied (``optimizers.blend``), and ``update_scale`` is the ratio of the
lengths. ``seen`` is ``(crossings, trust.row_size(crossings))``, any content.

No array but ``snapshots`` and ``history`` has to be kept between calls except ``state``, the moments and ``cursor``;
epochs can be cut into calls anywhere, which changes no bit. All arrays are C-contiguous; aligned to 64 bytes is faster.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.elementary import tanh
from ghostpoint.numerics.products import matrix_times, outer_products, transpose_times
from ghostpoint.numerics.random import INITIAL, NOISE, fill_normals
from ghostpoint.numerics.simd import (
    any_nonzero,
    fma,
    full,
    lanes,
    load,
    maximum,
    not_inlined,
    pointer,
    splat,
    store,
    tree_sum,
)
from ghostpoint.training.kernels.epoch import ACTIVATIONS, EVENTS, READ_OUTS, compare, note
from ghostpoint.training.kernels.optimizers import (
    ADAM,
    APPLY,
    DIRECT,
    SGD,
    UPDATE,
    apply,
    blend,
    clipping,
    direct,
    length,
    prepare,
    update,
)
from ghostpoint.training.kernels.trust import (
    ALONG,
    BY_LOSS,
    GRAM,
    WEIGHT,
    acts,
    allowed,
    hazard,
    measure,
    split,
    splits,
)

__all__ = ["ACTIVATIONS", "EVENTS", "PARTS", "QUANTITIES", "READ_OUTS", "plane_size", "train", "work_size"]

#: what may be trainable
PARTS = ("w", "w_in", "b", "w_out", "b_out")
#: rows of ``history`` and ``now``
QUANTITIES = ("loss", "gradient_norm", "accuracy", "update_scale")


def plane_size(units: int, inputs: int, width: int) -> int:
    """The length of ``(x, u, 1)`` in whole vectors of ``width`` lanes."""
    return -(-(units + inputs + 1) // width) * width


def work_size(plane: int, outputs: int, trials: int, steps: int, width: int, watched: int) -> int:
    """The number of elements of ``work``; ``watched`` is how many crossings are, -1 if no remedy acts."""
    padded = -(-steps * trials // width) * width
    plain = plane * (plane + outputs + 3 + (3 * steps + 3) * trials) + outputs * padded
    acting = steps * trials * plane + outputs * padded + (1 + watched) * plane * (plane + outputs)
    return plain + (acting if watched >= 0 else 0)


@njit(inline="always")
def _begin(x, at, units, n_inputs, plane, inputs, k, terms):
    """Put ``(u, 1)`` of step-and-trial k after the state; beyond the last step, where u is not used, zeros."""
    for i in range(n_inputs):
        x[at + units + i] = inputs[k * n_inputs + i] if k < terms else 0
    x[at + units + n_inputs] = 1
    for i in range(units + n_inputs + 1, plane):
        x[at + i] = 0


@njit
def _forward(
    state, x, slope, noise, noisy, net, leaks, alphas, inputs, units, n_inputs, plane, trials, steps
):  # fmt: skip
    """The states of every step and ``slope = alpha (1 - phi**2)``, from the initial states in ``x``."""
    not_inlined()
    width = lanes(state)
    columns = units + n_inputs + 1
    one = full(state, 1.0)
    leak = load(leaks, 0)
    for t in range(steps):
        here = t * trials * plane
        there = here + trials * plane
        matrix_times(state, plane, columns, x, here, plane, trials, net, t % 2 == 1)
        for b in range(trials):
            for i in range(b * plane, (b + 1) * plane, width):
                z = load(net, i)
                if noisy:
                    z = z + load(noise, here + i)
                phi = tanh(z)
                alpha = load(alphas, i - b * plane)
                store(x, there + i, fma(alpha, phi, leak * load(x, here + i)))
                store(slope, here + i, alpha * fma(-phi, phi, one))
            _begin(x, there + b * plane, units, n_inputs, plane, inputs, (t + 1) * trials + b, steps * trials)


@njit
def _read_out(readout, x, first, outputs, plane, count, padded, out):
    """``out[o padded + k] = W_out x + b_out`` of the state at ``first + k plane``, for ``k < count``."""
    not_inlined()
    width = lanes(x)
    for o in range(outputs):
        for k in range(count):
            total = full(x, 0.0)
            for i in range(0, plane, width):
                total = fma(load(readout, o * plane + i), load(x, first + k * plane + i), total)
            out[o * padded + k] = tree_sum(total)


@njit
def _backward(
    state, readout, slope, by_z, s, pull, y, leaks, units, outputs, plane, trials, steps, padded, shift, last, trial,
    count,
):  # fmt: skip
    """``s`` of the ``count`` trials from ``trial`` on, for the steps up to ``last``.

    The state after step t is read at step ``t + shift``.
    """
    not_inlined()
    width = lanes(state)
    leak = load(leaks, 0)
    zero = full(state, 0.0)
    for i in range(0, count * plane, width):
        store(y, i, zero)
        store(pull, i, zero)
    for t in range(last, -1, -1):
        read = t + shift < steps
        first = (t * trials + trial) * plane
        for b in range(count):
            for i in range(0, plane, width):
                at = b * plane + i
                adjoint = fma(leak, load(y, at), load(pull, at))
                if read:
                    for o in range(outputs):
                        d = splat(by_z[o * padded + (t + shift) * trials + trial + b])
                        adjoint = fma(d, load(readout, o * plane + i), adjoint)
                store(y, at, adjoint)
                store(s, first + at, load(slope, first + at) * adjoint)
        if t > 0:
            transpose_times(state, plane, units, s, first, count, pull, plane, t % 2 == 1)


@njit
def _readout_gradient(gradient, x, first, by_z, mask, outputs, plane, start, stop, jump, padded):
    """Of W_out and b_out, from the answers ``range(start, stop, jump)``; zero where ``mask`` is."""
    not_inlined()
    width = lanes(x)
    for o in range(outputs):
        for i in range(0, plane, width):
            total = full(x, 0.0)
            for k in range(start, stop, jump):
                total = fma(splat(by_z[o * padded + k]), load(x, first + k * plane + i), total)
            store(gradient, o * plane + i, load(mask, i) * total)


@njit(inline="always")
def _column(j, plane, width):
    """The place of column j in a matrix in panels; its vectors are ``width**2`` apart."""
    return j // width * width * plane + j % width * width


@njit(inline="always")
def _part_of(j, units, n_inputs):
    """The index into ``trainable`` of column j."""
    return 0 if j < units else (1 if j < units + n_inputs else 2)


@njit
def _product(a, b, units, n_inputs, plane, outputs, trainable):
    """Inner product over what is trainable."""
    not_inlined()
    width = lanes(a)
    even, odd = full(a, 0.0), full(a, 0.0)
    for j in range(units + n_inputs + 1):
        if trainable[_part_of(j, units, n_inputs)]:
            at = _column(j, plane, width)
            total = full(a, 0.0)
            for i in range(at, at + plane * width, width * width):
                total = fma(load(a, i), load(b, i), total)
            even, odd = odd, even + total
    for i in range(plane * plane, plane * (plane + outputs), width):
        odd = fma(load(a, i), load(b, i), odd)
    return tree_sum(even + odd)


@njit
def _change(
    rule, state, gradient, first, second, direction, units, n_inputs, plane, outputs, trainable, settings, factor,
    step, root, by, phase,
):  # fmt: skip
    """An update of what is trainable, its direction alone, or the application of that; whether a bit changed.

    ``phase`` is one of :data:`UPDATE`, :data:`DIRECT`, :data:`APPLY`.
    """
    not_inlined()
    width, size = lanes(state), plane * plane
    changed = full(state, 0.0)
    columns = units + n_inputs + 1
    for j in range(columns + 1):
        part, at, jump = _part_of(j, units, n_inputs), _column(j, plane, width), width * width
        stop = at + plane * width
        if j == columns:  # the readout, whose gradient is zero where it is not trainable
            part, at, stop, jump = 3 if trainable[3] else 4, size, size + outputs * plane, width
        if not trainable[part]:
            continue
        if phase == UPDATE:
            differs = update(
                rule, state, gradient, first, second, at, stop, jump, settings, factor, step, root
            )  # fmt: skip
            changed = maximum(changed, differs)
        elif phase == DIRECT:
            direct(rule, direction, gradient, first, second, at, stop, jump, settings, factor, root)
        else:
            changed = maximum(changed, apply(state, direction, at, stop, jump, by))
    return any_nonzero(changed)


@njit
def _normalize(readout, outputs, plane, units, norm):
    """Scale W_out and b_out so that ``sum |W_out|`` is ``norm``; a readout of zeros stays."""
    not_inlined()
    width = lanes(readout)
    size = abs(readout[0])
    for o in range(outputs):
        for i in range(1 if o == 0 else 0, units):
            size += abs(readout[o * plane + i])
    if size > 0:
        factor = splat(norm / size)
        for i in range(0, outputs * plane, width):
            store(readout, i, factor * load(readout, i))


@compiled
def train(
    state, first, second, rule, settings, trainable, constants, inputs, targets, weights, counted, thresholds,
    initial, noise, spread, sigma, seed, activation, read_out, crossings, marks, region, units, n_inputs, outputs,
    trials, steps, chance_accuracy, solved_loss, start, stop, record_epochs, snapshot_epochs, cursor, history,
    snapshots, events, acted, now, seen, work,
):  # fmt: skip
    """Do epochs ``start`` to ``stop - 1``, or fewer if the network is finished; return the next epoch to do."""
    width = lanes(state)
    # numbers that are not literals: a function is compiled anew for every literal that it is called with
    none, once, directing = np.int64(0), np.int64(1), np.int64(DIRECT)
    noise_stream, initial_stream = np.int64(NOISE), np.int64(INITIAL)
    plane = (units + n_inputs + width) // width * width
    columns = units + n_inputs + 1
    terms = steps * trials
    padded = (terms + width - 1) // width * width
    size, whole = plane * plane, plane * (plane + outputs)
    acting, splitting, seen_row = acts(crossings, region), splits(crossings, region), seen.shape[1]
    # the parts of work
    gradient, at = pointer(work, 0), whole
    alphas, mask, leaks = pointer(work, at), pointer(work, at + plane), pointer(work, at + 2 * plane)
    at += 3 * plane
    x, at = pointer(work, at), at + (terms + trials) * plane
    slope, at = pointer(work, at), at + terms * plane
    drawn, at = pointer(work, at), at + terms * plane
    net, y, at = pointer(work, at), pointer(work, at + trials * plane), at + 2 * trials * plane
    z, at = pointer(work, at), at + outputs * padded
    s, by_z, direction, slopes = slope, z, gradient, gradient
    if acting:
        s, at = pointer(work, at), at + terms * plane
        by_z, at = pointer(work, at), at + outputs * padded
        for i in range(at - outputs * padded, at + (1 + crossings.shape[0]) * whole):
            work[i] = 0
        direction, slopes = pointer(work, at), pointer(work, at + whole)
    matrix, readout = pointer(state, 0), pointer(state, size)
    moments, second_moments, numbers = pointer(first, 0), pointer(second, 0), pointer(settings, 0)
    for i in range(whole):
        gradient[i] = 0
    for i in range(outputs * padded):
        z[i] = 0
    for i in range(plane):
        leaks[i] = 1
        leaks[i] -= constants[0]
        alphas[i] = constants[0] if i < units else 0
        mask[i] = trainable[3] if i < units else (trainable[4] if i == units + n_inputs else 0)
    memory = rule != SGD or spread > 0 or sigma > 0 or initial.shape[0] > 1 or noise.shape[0] > 1
    memory = memory or inputs.shape[0] > 1 or constants[2] > 0
    read_from = trials * plane if read_out else 0
    shift = 0 if read_out else 1
    for epoch in range(start, stop):
        row = epoch % inputs.shape[0]
        u, n_counted = pointer(inputs, row * terms * n_inputs), counted[row].sum()
        if constants[2] > 0:
            _normalize(readout, outputs, plane, units, constants[2])
        if spread > 0:
            fill_normals(x, trials * plane, spread, seed, initial_stream, epoch)
            for i in range(0, trials * plane, width):
                store(x, i, tanh(load(x, i)))
        else:
            for i in range(trials * plane):
                x[i] = initial[epoch % initial.shape[0], i]
        for b in range(trials):
            _begin(x, b * plane, units, n_inputs, plane, u, b, terms)
        added, noisy = drawn, sigma > 0
        if noisy:
            fill_normals(drawn, terms * plane, sigma, seed, noise_stream, epoch)
        elif noise.shape[0] > 0:
            added, noisy = pointer(noise, epoch % noise.shape[0] * terms * plane), True
        _forward(matrix, x, slope, added, noisy, net, leaks, alphas, u, units, n_inputs, plane, trials, steps)
        _read_out(readout, x, read_from, outputs, plane, terms, padded, z)
        for i in range(crossings.shape[0]):
            measure(crossings, marks, i, 0, z, padded, trials, pointer(seen, i * seen_row))
        place = row * outputs * padded
        loss, right = compare(
            z, outputs * padded, pointer(targets, place), pointer(weights, place), pointer(counted, place), thresholds,
            constants[1], activation,
        )  # fmt: skip
        _backward(
            matrix, readout, slope, z, s, net, y, leaks, units, outputs, plane, trials, steps, padded, shift, steps - 1,
            none, trials,
        )  # fmt: skip
        outer_products(gradient, plane, columns, s, plane, x, plane, terms)
        _readout_gradient(
            pointer(work, size), x, read_from, z, mask, outputs, plane, none, terms, once, padded
        )  # fmt: skip
        square = _product(gradient, gradient, units, n_inputs, plane, outputs, trainable)
        now[0, 0] = loss
        now[1, 0] = math.sqrt(square)
        now[2, 0] = right / n_counted
        factor = clipping(float(now[1, 0]), settings[4])
        # the length of the update, rounded to the state's type, in which its square must be finite too
        now[1, 0], norm = settings[0] * factor * now[1, 0], now[1, 0]
        total = loss + square + now[1, 0] * now[1, 0]
        now[1, 0] = norm
        bad = total - total != 0
        step, root = prepare(settings, epoch) if rule == ADAM else (0.0, 0.0)
        by, scale, touched = length(rule, numbers, step), 1.0, False
        if acting:
            _change(
                rule, matrix, gradient, moments, second_moments, direction, units, n_inputs, plane, outputs, trainable,
                numbers, factor, step, root, by, directing,
            )  # fmt: skip
            far = by * math.sqrt(_product(direction, direction, units, n_inputs, plane, outputs, trainable))
            uphill = _product(gradient, direction, units, n_inputs, plane, outputs, trainable) < 0
            if crossings.shape[0]:
                scale = math.inf
            for i in range(crossings.shape[0]):
                b, o = crossings[i, 0], crossings[i, 1]
                begin, last = int(seen[i, 3]) * trials + b, int(seen[i, 5])
                near, near_readout = pointer(slopes, i * whole), pointer(slopes, i * whole + size)
                end = last * trials + b
                by_z[o * padded + begin] = seen[i, 4]
                by_z[o * padded + end] += seen[i, 6]
                _backward(
                    matrix, readout, slope, by_z, s, net, y, leaks, units, outputs, plane, trials, steps, padded, shift,
                    last - shift, b, once,
                )  # fmt: skip
                outer_products(
                    near, plane, columns, pointer(s, b * plane), trials * plane, pointer(x, b * plane), trials * plane,
                    last - shift + 1,
                )  # fmt: skip
                _readout_gradient(
                    near_readout, x, read_from, by_z, mask, outputs, plane, begin, end + 1, trials, padded
                )  # fmt: skip
                by_z[o * padded + begin] = 0
                by_z[o * padded + end] = 0
                along = by * _product(near, direction, units, n_inputs, plane, outputs, trainable)
                for j in range(0 if splitting else i, i + 1):
                    other = pointer(slopes, j * whole)
                    seen[i, GRAM + j] = _product(near, other, units, n_inputs, plane, outputs, trainable)
                if splitting:
                    seen[i, ALONG] = -along
                    seen[i, BY_LOSS] = _product(near, gradient, units, n_inputs, plane, outputs, trainable)
                    continue
                most = allowed(
                    region, pointer(seen, i * seen_row), crossings[i, 4], float(loss), math.sqrt(seen[i, GRAM + i]),
                    far, along, uphill,
                )  # fmt: skip
                scale = min(scale, most)
            if splitting:
                most, scale, touched = split(
                    region, crossings, pointer(seen, 0), seen_row, float(loss), float(now[1, 0]), far, uphill
                )  # fmt: skip
                if touched:
                    blend(
                        direction, whole, slopes, most, pointer(seen, 0), seen_row, WEIGHT, crossings.shape[0], by
                    )  # fmt: skip
            elif region[7] < math.inf:
                scale = min(scale, hazard(region, float(now[1, 0]), far))
            now[1, 0], norm = scale * far, now[1, 0]  # rounded to the state's type
            total = now[1, 0] * now[1, 0]
            now[1, 0] = norm
            bad = bad or total - total != 0  # the update that is made, too, must be finite
            touched = scale != 1 or touched
            if touched and not bad:
                acted[0] += 1
        # what was seen before the update
        now[3, 0] = scale
        if cursor[0] < record_epochs.size and record_epochs[cursor[0]] == epoch:
            history[cursor[0]] = now
            cursor[0] += 1
        if cursor[1] < snapshot_epochs.size and snapshot_epochs[cursor[1]] == epoch:
            snapshots[cursor[1]] = state
            cursor[1] += 1
        changed = False
        if not bad:
            changed = _change(
                rule, matrix, gradient, moments, second_moments, direction, units, n_inputs, plane, outputs, trainable,
                numbers, factor, step, root, by if splitting else by * scale, APPLY if acting else UPDATE,
            )  # fmt: skip
        if note(events, now, 0, epoch, changed or memory, bad, chance_accuracy, solved_loss):
            return epoch + 1
    return stop
