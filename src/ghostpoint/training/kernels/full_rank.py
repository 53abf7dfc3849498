"""Training of one full-rank network, compiled: one call does many epochs without leaving the
kernel.

With ``alpha = dt / tau``, for each of B trials (x a column, e elementwise, W acts as ``W x``)::

    phi[t] = tanh(W x[t] + W_in u[t] + b + noise[t]),   e[t] = 1 - phi[t]**2
    x[t+1] = (1 - alpha) x[t] + alpha phi[t]
    o[t] = f(W_out x' + b_out),   x' = x[t] (read out before the update) or x[t+1] (after),
    f in ACTIVATIONS
    L = sum weights (o - target)**2 over trials, steps and channels
    d[t] = dL/d(W_out x' + b_out) = 2 weights (o - target) f'
    y[t] = dL/dx[t] = (1 - alpha) y[t+1] + W^T s[t] + W_out^T (d of the step that reads x[t])
    s[t] = alpha e[t] y[t+1]
    dL/dW = sum s[t] x[t]^T,   dL/dW_in = sum s[t] u[t]^T,   dL/db = sum s[t]
    dL/dW_out = sum d[t] x'^T,   dL/db_out = sum d[t]

Layout: units across lanes. The state of a trial is followed by its input and by a one, ``(x, u,
1)``, in ``plane`` = ``units + inputs + 1`` numbers, rounded up to whole vectors with zeros. So ``W,
W_in, b`` are the columns of one matrix of ``plane x plane`` numbers, in panels as in ``blocks.py``,
with zeros in the rows beyond ``units``; and ``W_out, b_out`` are ``outputs`` rows of ``plane``,
zero at the inputs and beyond. Both in one flat array, the matrix first: ``state``. What has a value
per step and trial is ordered ``k = step B + trial``; with C steps and ``K = C B``, ``padded`` is K
rounded up to whole vectors. ``packing.py`` makes these arrays; ``records.py`` says what the
arguments hold.

The call does epochs ``start`` to ``stop - 1``; epoch k is evaluated after k updates. No array but
the snapshots and the history has to be kept between calls except the state, the moments and
``cursor``; epochs can be cut into calls anywhere, which changes no bit. A trust region
(``trust.py``) takes a second backward pass for each crossing, of one trial and from the readings
that define its time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.elementary import tanh
from ghostpoint.numerics.products import matrix_times, outer_products, transpose_times
from ghostpoint.numerics.random import INITIAL, NOISE
from ghostpoint.numerics.simd import fma, full, lanes, load, not_inlined, pointer, splat, store, tree_sum
from ghostpoint.training.kernels.epoch import (
    ACCURACY,
    LOSS,
    compare,
    keep_logits,
)
from ghostpoint.training.kernels.optimizers import Vectors
from ghostpoint.training.kernels.trust import acts, measure
from ghostpoint.training.kernels.updates import draw_noise, draw_states, finish_epoch, has_memory

#: what may be trainable
PARTS = ("W", "w_in", "b", "w_out", "b_out")


def plane_size(units: int, inputs: int, width: int) -> int:
    """The length of ``(x, u, 1)`` in whole vectors of ``width`` lanes."""
    return -(-(units + inputs + 1) // width) * width


def work_size(plane: int, outputs: int, trials: int, steps: int, width: int, watched: int) -> int:
    """The number of elements of ``work``; ``watched`` is how many crossings are, -1 if no remedy
    acts.
    """
    padded = -(-steps * trials // width) * width
    plain = plane * (plane + outputs + 3 + (3 * steps + 3) * trials) + outputs * padded
    acting = steps * trials * plane + outputs * padded + (1 + watched) * plane * (plane + outputs)
    return plain + (acting if watched >= 0 else 0)


class _Sizes(NamedTuple):
    """Whole numbers; the state after step t is read at step ``t + shift``."""

    units: int
    inputs: int
    outputs: int
    plane: int
    trials: int
    steps: int
    padded: int
    shift: int


class _Memory(NamedTuple):
    """Pointers: the weights, the path ``(x, u, 1)``, ``slope = alpha e``, and vectors of one or all
    trials.
    """

    matrix: Any
    readout: Any
    x: Any
    slope: Any
    net: Any
    y: Any
    leaks: Any
    alphas: Any
    mask: Any


@njit(inline="always")
def _begin(x, at, sizes, inputs, k):
    """Put ``(u, 1)`` of step-and-trial k after the state; beyond the last step, where u is not
    used, zeros.
    """
    there = k < sizes.steps * sizes.trials
    for i in range(sizes.inputs):
        x[at + sizes.units + i] = inputs[k * sizes.inputs + i] if there else 0
    x[at + sizes.units + sizes.inputs] = 1
    for i in range(sizes.units + sizes.inputs + 1, sizes.plane):
        x[at + i] = 0


@njit
def _forward(memory, sizes, inputs, noise, noisy):
    """The states of every step and ``slope = alpha (1 - phi**2)``, from the initial states in
    ``x``.
    """
    not_inlined()
    x, slope, net, alphas = memory.x, memory.slope, memory.net, memory.alphas
    plane, trials = sizes.plane, sizes.trials
    width, columns = lanes(x), sizes.units + sizes.inputs + 1
    one, leak = full(x, 1.0), load(memory.leaks, 0)
    for t in range(sizes.steps):
        here = t * trials * plane
        there = here + trials * plane
        # W x[t] + W_in u[t] + b, a product with (x, u, 1)
        matrix_times(memory.matrix, plane, columns, x, here, plane, trials, net, t % 2 == 1)
        for b in range(trials):
            for i in range(b * plane, (b + 1) * plane, width):
                z = load(net, i)
                if noisy:
                    z = z + load(noise, here + i)
                phi = tanh(z)
                alpha = load(alphas, i - b * plane)
                # x[t+1] = (1 - alpha) x[t] + alpha phi[t]
                store(x, there + i, fma(alpha, phi, leak * load(x, here + i)))
                store(slope, here + i, alpha * fma(-phi, phi, one))
            _begin(x, there + b * plane, sizes, inputs, (t + 1) * trials + b)


@njit
def _read_out(memory, sizes, first, out):
    """``out[o padded + k] = W_out x + b_out`` of the state at ``first + k plane``, for every k."""
    not_inlined()
    x, readout, plane = memory.x, memory.readout, sizes.plane
    width = lanes(x)
    # (W_out, 0, b_out) (x, u, 1)
    for o in range(sizes.outputs):
        for k in range(sizes.steps * sizes.trials):
            total = full(x, 0.0)
            for i in range(0, plane, width):
                total = fma(load(readout, o * plane + i), load(x, first + k * plane + i), total)
            out[o * sizes.padded + k] = tree_sum(total)


@njit
def _backward(memory, sizes, by_z, s, last, trial, count):
    """``s`` of the ``count`` trials from ``trial`` on, for the steps up to ``last``."""
    not_inlined()
    pull, y, slope, readout = memory.net, memory.y, memory.slope, memory.readout
    plane, trials = sizes.plane, sizes.trials
    width, leak, zero = lanes(y), load(memory.leaks, 0), full(y, 0.0)
    for i in range(0, count * plane, width):
        store(y, i, zero)
        store(pull, i, zero)
    for t in range(last, -1, -1):
        read = t + sizes.shift < sizes.steps
        first = (t * trials + trial) * plane
        for b in range(count):
            reading = (t + sizes.shift) * trials + trial + b
            for i in range(0, plane, width):
                at = b * plane + i
                # y[t+1] = (1 - alpha) y[t+2] + W^T s[t+1] + W_out^T d
                adjoint = fma(leak, load(y, at), load(pull, at))
                if read:
                    for o in range(sizes.outputs):
                        d = splat(by_z[o * sizes.padded + reading])
                        adjoint = fma(d, load(readout, o * plane + i), adjoint)
                store(y, at, adjoint)
                # s[t] = alpha e[t] y[t+1]
                store(s, first + at, load(slope, first + at) * adjoint)
        # W^T s[t], the pull on the step before
        if t > 0:
            transpose_times(memory.matrix, plane, sizes.units, s, first, count, pull, plane, t % 2 == 1)


@njit
def _readout_gradient(memory, sizes, gradient, first, by_z, start, stop, jump):
    """``sum d x'^T`` over the answers ``range(start, stop, jump)``, of W_out and b_out; zero where
    ``mask`` is.
    """
    not_inlined()
    x, mask, plane = memory.x, memory.mask, sizes.plane
    width = lanes(x)
    for o in range(sizes.outputs):
        for i in range(0, plane, width):
            total = full(x, 0.0)
            for k in range(start, stop, jump):
                total = fma(splat(by_z[o * sizes.padded + k]), load(x, first + k * plane + i), total)
            store(gradient, o * plane + i, load(mask, i) * total)


@njit
def _normalize(readout, sizes, norm):
    """Scale W_out and b_out so that ``sum |W_out|`` is ``norm``; a readout of zeros stays."""
    not_inlined()
    width, plane = lanes(readout), sizes.plane
    # sum |W_out|
    size = abs(readout[0])
    for o in range(sizes.outputs):
        for i in range(1 if o == 0 else 0, sizes.units):
            size += abs(readout[o * plane + i])
    if size > 0:
        factor = splat(norm / size)
        for i in range(0, sizes.outputs * plane, width):
            store(readout, i, factor * load(readout, i))


@compiled
def train(weights, shape, task, draws, rule, watch, recorder, work, start, stop):
    """Do epochs ``start`` to ``stop - 1``, or fewer if the network is finished; return the next
    epoch to do.
    """
    state, now = weights.state, recorder.now
    crossings, marks, seen = watch.crossings, watch.marks, watch.seen
    units, n_inputs, outputs, trials, steps = shape.units, shape.inputs, shape.outputs, shape.trials, shape.steps
    width = lanes(state)
    # numbers that are not literals: a function is compiled anew for every literal that it is called
    # with
    none, once = np.int64(0), np.int64(1)
    noise_stream, initial_stream = np.int64(NOISE), np.int64(INITIAL)
    plane = (units + n_inputs + width) // width * width
    columns, terms = units + n_inputs + 1, steps * trials
    padded = (terms + width - 1) // width * width
    size, whole = plane * plane, plane * (plane + outputs)
    acting = acts(crossings, watch.region)
    read_from, shift = (trials * plane, none) if shape.read_out else (none, once)
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
    sizes = _Sizes(units, n_inputs, outputs, plane, trials, steps, padded, shift)
    memory = _Memory(pointer(state, 0), pointer(state, size), x, slope, net, y, leaks, alphas, mask)
    vectors = Vectors(
        memory.matrix, gradient, pointer(weights.first, 0), pointer(weights.second, 0), direction, slopes
    )  # fmt: skip
    for i in range(whole):
        gradient[i] = 0
    for i in range(outputs * padded):
        z[i] = 0
    trainable = weights.trainable
    for i in range(plane):
        leaks[i] = 1
        leaks[i] -= task.alpha
        alphas[i] = task.alpha if i < units else 0
        mask[i] = trainable[3] if i < units else (trainable[4] if i == units + n_inputs else 0)
    # whether an epoch can differ from the one before it though no weight does
    remembering = has_memory(weights, shape, task, draws, rule)
    noisy = draws.sigma > 0 or draws.noise.shape[0] > 0
    for epoch in range(start, stop):
        row = epoch % task.inputs.shape[0]
        u, place = pointer(task.inputs, row * terms * n_inputs), row * outputs * padded
        if weights.readout_norm > 0:
            _normalize(memory.readout, sizes, weights.readout_norm)
        # forwards: the states, the outputs, and when they cross
        draw_states(x, draws, draws.seed, initial_stream, epoch, trials, units, plane)
        for b in range(trials):
            _begin(x, b * plane, sizes, u, b)
        noise = draw_noise(drawn, draws, draws.seed, noise_stream, epoch, terms * plane)
        _forward(memory, sizes, u, noise, noisy)
        _read_out(memory, sizes, read_from, z)
        keep_logits(recorder, z, none, outputs * padded)
        for i in range(crossings.shape[0]):
            measure(crossings, marks, i, none, z, padded, trials, pointer(seen, i * seen.shape[1]))
        # the loss; z becomes d
        loss, right = compare(
            z, outputs * padded, pointer(task.targets, place), pointer(task.weights, place),
            pointer(task.counted, place), task.thresholds, task.tolerance, shape.activation,
        )  # fmt: skip
        # backwards: s, and the gradient of the loss from it
        _backward(memory, sizes, z, s, steps - 1, none, trials)
        # dL/d(W, W_in, b) = sum s (x, u, 1)^T, dL/d(W_out, b_out) = sum d (x', 1)^T
        outer_products(gradient, plane, columns, s, plane, x, plane, terms)
        _readout_gradient(memory, sizes, pointer(work, size), read_from, z, none, terms, once)
        # the gradient e_i of the time of every crossing, from the two readings that define it
        for i in range(crossings.shape[0]):
            b, o = crossings[i, 0], crossings[i, 1]
            begin, last = int(seen[i, 3]) * trials + b, int(seen[i, 5])
            end, e = last * trials + b, pointer(slopes, i * whole)
            by_z[o * padded + begin] = seen[i, 4]
            by_z[o * padded + end] += seen[i, 6]
            _backward(memory, sizes, by_z, s, last - shift, b, once)
            outer_products(
                e, plane, columns, pointer(s, b * plane), trials * plane, pointer(x, b * plane), trials * plane,
                last - shift + 1,
            )  # fmt: skip
            _readout_gradient(memory, sizes, pointer(e, size), read_from, by_z, begin, end + 1, trials)
            by_z[o * padded + begin] = 0
            by_z[o * padded + end] = 0
        now[LOSS, 0] = loss
        now[ACCURACY, 0] = right / task.counted[row].sum()
        if finish_epoch(weights, rule, vectors, watch, recorder, task, epoch, remembering):
            return epoch + 1
    return stop
