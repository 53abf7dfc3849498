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
has a flag for each of :data:`PARTS`. ``constants`` holds alpha. ``inputs`` is flat ``(K, I)``. ``targets``, ``weights``
and ``counted`` (0 or 1 of the state's type, in the accuracy) are flat ``(outputs, padded)``, zero in the padding.
An output counts as right when it is above as many of ``thresholds`` as its target is.

``initial`` is ``(rows, B plane)`` and ``noise`` ``(rows, K plane)``, of which epoch k takes row ``k mod rows``; no rows
of noise means none. With ``spread > 0``, ``initial`` is not read and the initial rates are ``tanh(spread normal)``,
drawn anew every epoch; with ``sigma > 0``, ``noise`` is not read but is ``sigma normal``. Both are functions of
``(seed, epoch)`` alone (``random.py``), with ``seed`` in [0, 2**63). ``activation`` and ``read_out`` are indices into
:data:`ACTIVATIONS` and :data:`READ_OUTS`. ``work`` has :func:`work_size` elements, any content.

``events``, ``history``, ``now``, ``snapshots`` (whole states), ``cursor``, ``start`` and ``stop`` are those of
``rank_one``, with the rows :data:`QUANTITIES` and one column. Loss, gradient norm (of what is trainable, before
clipping) and accuracy are those before the update. A network whose loss, gradient or step is not finite keeps its last
parameters (``diverged``); one that an update changes in no bit is ``frozen``, but only where all later epochs must
then be the same: SGD, one row of initial states, at most one row of noise, nothing drawn.

No array but ``snapshots`` and ``history`` has to be kept between calls except ``state``, the moments and ``cursor``;
epochs can be cut into calls anywhere, which changes no bit. All arrays are C-contiguous; aligned to 64 bytes is faster.
"""

from __future__ import annotations

import math

from numba import njit

from ghostpoint.training.kernels import compiled
from ghostpoint.training.kernels.elementary import logistic, tanh
from ghostpoint.training.kernels.optimizers import ADAM, SGD, clipping, prepare, update
from ghostpoint.training.kernels.products import matrix_times, outer_products, transpose_times
from ghostpoint.training.kernels.random import INITIAL, NOISE, fill_normals
from ghostpoint.training.kernels.rank_one import EVENTS, _note
from ghostpoint.training.kernels.simd import (
    any_nonzero,
    fma,
    full,
    greater,
    lanes,
    load,
    maximum,
    pointer,
    splat,
    store,
    tree_sum,
    unequal,
)

__all__ = ["ACTIVATIONS", "EVENTS", "PARTS", "QUANTITIES", "READ_OUTS", "plane_size", "train", "work_size"]

#: names of the output functions, in the order of their codes
ACTIVATIONS = ("sigmoid", "tanh", "identity")
SIGMOID, TANH, IDENTITY = range(3)
#: whether the output of a step is read before or after the update, in the order of the codes
READ_OUTS = ("before", "after")
#: what may be trainable
PARTS = ("w", "w_in", "b", "w_out", "b_out")
#: rows of ``history`` and ``now``
QUANTITIES = ("loss", "gradient_norm", "accuracy")


def plane_size(units: int, inputs: int, width: int) -> int:
    """The length of ``(x, u, 1)`` in whole vectors of ``width`` lanes."""
    return -(-(units + inputs + 1) // width) * width


def work_size(plane: int, outputs: int, trials: int, steps: int, width: int) -> int:
    """The number of elements of ``work``."""
    padded = -(-steps * trials // width) * width
    return plane * (plane + outputs + 3 + (3 * steps + 3) * trials) + 3 * outputs * padded


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
    width = lanes(state)
    columns = units + n_inputs + 1
    one = full(state, 1.0)
    leak = load(leaks, 0)
    for t in range(steps):
        here = t * trials * plane
        there = here + trials * plane
        matrix_times(state, plane, columns, x, here, trials, net, t % 2 == 1)
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
    width = lanes(x)
    for o in range(outputs):
        for k in range(count):
            total = full(x, 0.0)
            for i in range(0, plane, width):
                total = fma(load(readout, o * plane + i), load(x, first + k * plane + i), total)
            out[o * padded + k] = tree_sum(total)


@njit
def _compare(z, size, targets, weights, counted, thresholds, activation):
    """Loss and the sum of what is counted as right; ``z`` becomes dL/dz."""
    width = lanes(z)
    zero, one = full(z, 0.0), full(z, 1.0)
    # with p, q = logistic(+-steep z), both outputs are p - low q with 1 = p + q, and keep their digits near an end
    steep, low, gain = (one + one, one, full(z, 4.0)) if activation == TANH else (one, zero, one)
    loss, right = zero, zero
    for k in range(0, size, width):
        target, weight, argument = load(targets, k), load(weights, k), load(z, k)
        if activation == IDENTITY:
            output, error, bend = argument, argument - target, one
        else:
            p, q = logistic(steep * argument), logistic(-(steep * argument))
            output = fma(-low, q, p)
            error = (one - target) * p - (target + low) * q
            bend = gain * (p * q)
        weighted = weight * error
        loss = fma(weighted, error, loss)
        store(z, k, (weighted + weighted) * bend)
        apart = zero
        for threshold in thresholds:
            apart = maximum(apart, unequal(greater(output, splat(threshold)), greater(target, splat(threshold))))
        right = fma(load(counted, k), one - apart, right)
    return tree_sum(loss), tree_sum(right)


@njit
def _backward(state, readout, slope, by_z, pull, y, leaks, units, outputs, plane, trials, steps, padded, shift):
    """``slope`` becomes s; the state after step t is read at step ``t + shift``."""
    width = lanes(state)
    leak = load(leaks, 0)
    zero = full(state, 0.0)
    for i in range(0, trials * plane, width):
        store(y, i, zero)
        store(pull, i, zero)
    for t in range(steps - 1, -1, -1):
        read = t + shift < steps
        for b in range(trials):
            for i in range(0, plane, width):
                at = b * plane + i
                adjoint = fma(leak, load(y, at), load(pull, at))
                if read:
                    for o in range(outputs):
                        d = splat(by_z[o * padded + (t + shift) * trials + b])
                        adjoint = fma(d, load(readout, o * plane + i), adjoint)
                store(y, at, adjoint)
                at += t * trials * plane
                store(slope, at, load(slope, at) * adjoint)
        if t > 0:
            transpose_times(state, plane, units, slope, t * trials * plane, trials, pull, t % 2 == 1)


@njit
def _readout_gradient(gradient, at, x, first, by_z, mask, outputs, plane, count, padded):
    """Of W_out and b_out, at ``gradient[at:]``; zero where ``mask`` is."""
    width = lanes(x)
    for o in range(outputs):
        for i in range(0, plane, width):
            total = full(x, 0.0)
            for k in range(count):
                total = fma(splat(by_z[o * padded + k]), load(x, first + k * plane + i), total)
            store(gradient, at + o * plane + i, load(mask, i) * total)


@njit(inline="always")
def _column(j, plane, width):
    """The place of column j in a matrix in panels; its vectors are ``width**2`` apart."""
    return j // width * width * plane + j % width * width


@njit(inline="always")
def _part_of(j, units, n_inputs):
    """The index into ``trainable`` of column j."""
    return 0 if j < units else (1 if j < units + n_inputs else 2)


@njit
def _square(gradient, units, n_inputs, plane, outputs, trainable):
    """The squared norm of what is trainable."""
    width = lanes(gradient)
    even, odd = full(gradient, 0.0), full(gradient, 0.0)
    for j in range(units + n_inputs + 1):
        if trainable[_part_of(j, units, n_inputs)]:
            at = _column(j, plane, width)
            total = full(gradient, 0.0)
            for i in range(at, at + plane * width, width * width):
                total = fma(load(gradient, i), load(gradient, i), total)
            even, odd = odd, even + total
    for i in range(plane * plane, plane * (plane + outputs), width):
        odd = fma(load(gradient, i), load(gradient, i), odd)
    return tree_sum(even + odd)


@njit
def _change(
    rule, state, gradient, first, second, units, n_inputs, plane, outputs, trainable, settings, factor, step, root
):  # fmt: skip
    """Update what is trainable; whether a bit changed."""
    width = lanes(state)
    changed = full(state, 0.0)
    for j in range(units + n_inputs + 1):
        if trainable[_part_of(j, units, n_inputs)]:
            at = _column(j, plane, width)
            differs = update(
                rule,
                state,
                gradient,
                first,
                second,
                at,
                at + plane * width,
                width * width,
                settings,
                factor,
                step,
                root,
            )
            changed = maximum(changed, differs)
    if trainable[3] or trainable[4]:
        size = plane * plane
        differs = update(
            rule, state, gradient, first, second, size, size + outputs * plane, width, settings, factor, step, root
        )
        changed = maximum(changed, differs)
    return any_nonzero(changed)


@compiled
def train(
    state, first, second, rule, settings, trainable, constants, inputs, targets, weights, counted, thresholds,
    initial, noise, spread, sigma, seed, activation, read_out, units, n_inputs, outputs, trials, steps,
    chance_accuracy, solved_loss, start, stop, record_epochs, snapshot_epochs, cursor, history, snapshots, events,
    now, work,
):  # fmt: skip
    """Do epochs ``start`` to ``stop - 1``, or fewer if the network is finished; return the next epoch to do."""
    width = lanes(state)
    plane = (units + n_inputs + width) // width * width
    terms = steps * trials
    padded = (terms + width - 1) // width * width
    size = plane * plane
    # the parts of work
    gradient, at = pointer(work, 0), size + outputs * plane
    alphas, mask, leaks = pointer(work, at), pointer(work, at + plane), pointer(work, at + 2 * plane)
    at += 3 * plane
    x, at = pointer(work, at), at + (terms + trials) * plane
    slope, at = pointer(work, at), at + terms * plane
    drawn, at = pointer(work, at), at + terms * plane
    net, y, at = pointer(work, at), pointer(work, at + trials * plane), at + 2 * trials * plane
    z = pointer(work, at)
    matrix, readout, u = pointer(state, 0), pointer(state, size), pointer(inputs, 0)
    for i in range(outputs * padded):
        z[i] = 0
    for i in range(plane):
        leaks[i] = 1
        leaks[i] -= constants[0]
        alphas[i] = constants[0] if i < units else 0
        mask[i] = trainable[3] if i < units else (trainable[4] if i == units + n_inputs else 0)
    memory = rule != SGD or spread > 0 or sigma > 0 or initial.shape[0] > 1 or noise.shape[0] > 1
    read_from = trials * plane if read_out else 0
    shift = 0 if read_out else 1
    n_counted = counted.sum()
    for epoch in range(start, stop):
        if spread > 0:
            fill_normals(x, trials * plane, spread, seed, INITIAL, epoch)
            for i in range(0, trials * plane, width):
                store(x, i, tanh(load(x, i)))
        else:
            row = epoch % initial.shape[0]
            for i in range(trials * plane):
                x[i] = initial[row, i]
        for b in range(trials):
            _begin(x, b * plane, units, n_inputs, plane, u, b, terms)
        added, noisy = drawn, sigma > 0
        if noisy:
            fill_normals(drawn, terms * plane, sigma, seed, NOISE, epoch)
        elif noise.shape[0] > 0:
            added, noisy = pointer(noise, epoch % noise.shape[0] * terms * plane), True
        _forward(matrix, x, slope, added, noisy, net, leaks, alphas, u, units, n_inputs, plane, trials, steps)
        _read_out(readout, x, read_from, outputs, plane, terms, padded, z)
        loss, right = _compare(
            z, outputs * padded, pointer(targets, 0), pointer(weights, 0), pointer(counted, 0), thresholds, activation
        )
        _backward(matrix, readout, slope, z, net, y, leaks, units, outputs, plane, trials, steps, padded, shift)
        outer_products(gradient, plane, units + n_inputs + 1, slope, x, terms)
        _readout_gradient(gradient, size, x, read_from, z, mask, outputs, plane, terms, padded)
        square = _square(gradient, units, n_inputs, plane, outputs, trainable)
        # what was seen before the update
        now[0, 0] = loss
        now[1, 0] = math.sqrt(square)
        now[2, 0] = right / n_counted
        if cursor[0] < record_epochs.size and record_epochs[cursor[0]] == epoch:
            history[cursor[0]] = now
            cursor[0] += 1
        if cursor[1] < snapshot_epochs.size and snapshot_epochs[cursor[1]] == epoch:
            snapshots[cursor[1]] = state
            cursor[1] += 1
        # update
        factor = clipping(float(now[1, 0]), settings[4])
        reach = settings[0] * factor * now[1, 0]
        total = loss + square + reach * reach
        bad = total - total != 0
        changed = False
        if not bad:
            step, root = prepare(settings, epoch) if rule == ADAM else (0.0, 0.0)
            changed = _change(
                rule, matrix, gradient, pointer(first, 0), pointer(second, 0), units, n_inputs, plane, outputs,
                trainable, pointer(settings, 0), factor, step, root,
            )  # fmt: skip
        if _note(events, now, 0, epoch, changed or memory, bad, chance_accuracy, solved_loss):
            return epoch + 1
    return stop
