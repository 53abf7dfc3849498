"""Full-rank networks of up to 128 units: one network a block, W and its gradient in the block's
registers.

The mathematics is that of ``kernels/full_rank.py``, for one trial after the other::

    phi[t] = tanh(W x[t] + W_in u[t] + b + noise[t]),   x[t+1] = (1 - alpha) x[t] + alpha phi[t]
    y[t] = dL/dx[t] = (1 - alpha) y[t+1] + W^T s[t] + W_out^T dL/dz of the step that reads x[t]
    s[t] = alpha (1 - phi[t]**2) y[t+1],   dL/dW = sum s[t] x[t]^T,   dL/dW_in = sum s[t] u[t]^T,
    dL/db = sum s[t]

Layout: threads form a grid of ``down x across``; the one at (r, c) holds the tile of W of ``tall``
rows from ``r tall`` and ``wide`` columns from ``c wide`` on, and the gradient of the same. The
numbers of x and s that go with a tile lie together in shared memory, four to a load. For W x it
takes part of x from shared memory and its sums go over the threads of a row, which are neighbours
in a warp; for W^T s it takes part of s, and its sums go over the rows: within a warp by shuffles,
over the warps through shared memory. Both come from the same registers, and so does the outer
product. Beside W, unit j is thread j's. x and phi of a trial are in shared memory or, where a trial
is too long for that, in ``work``, of the networks on the chip alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda, types

from ghostpoint.numerics.random import INITIAL, NOISE
from ghostpoint.training.cuda.kernels import frame
from ghostpoint.training.cuda.kernels.frame import begin, end, note, over, write
from ghostpoint.training.cuda.kernels.functions import functions, judge
from ghostpoint.training.cuda.kernels.lanes import (
    SIMULATED,
    WARP,
    block_total,
    device,
    first_total,
    load,
    load_four,
    power_of_two,
    scatter,
    scratch_size,
    store,
    store_four,
    total,
)
from ghostpoint.training.cuda.kernels.random import normal_at
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.optimizers import SGD

#: units at most: W and its gradient fill half of a processor's registers
LARGEST = 128
#: units up to which a grid of threads (down, across) is taken
GRIDS = {32: (4, 8), 64: (8, 8), 104: (16, 8), LARGEST: (16, 16)}


def _grid(units: int) -> tuple[int, int]:
    return next(grid for most, grid in GRIDS.items() if units <= most)


def threads(spec: Specification) -> int:
    """Of a block."""
    down, across = _grid(spec.units)
    return down * across


def work_size(spec: Specification, steps: int) -> int:
    """Numbers of ``work`` for a block."""
    return (2 * steps + 1) * spec.units + steps * spec.outputs


def kernel(spec: Specification) -> Any:
    """The kernel's Python function, for ``cuda.jit``."""
    real, units, n_inputs, outputs = spec.real, spec.units, spec.inputs, spec.outputs
    down, across = _grid(units)
    block_size, warps = down * across, down * across // WARP
    tall, wide = -(-units // down), -(-units // across)  # of a thread's tile
    tile = tall * wide
    # W x: sums over a row of the grid end with one row of W in each of its first threads
    row_space = power_of_two(tall)
    row_masks = [row_space >> k for k in range(1, row_space.bit_length())]
    row_scatter, row_rest = scatter(row_space, row_masks), first_total(row_space, across // 2)
    # W^T s: the rows of the grid in a warp differ in the thread's bits from ``across`` on
    column_masks = tuple(mask for mask in (16, 8) if mask >= across)
    share = 4 << len(column_masks)
    column_space = -(-wide // share) * share
    column_scatter, fours = scatter(column_space, column_masks), column_space >> len(column_masks) >> 2
    # an odd number of fours from a tile to the next keeps the threads of a load on different banks
    across_step = column_space + (4 if column_space % 8 == 0 else 0)
    down_step = -(-tall // 4) * 4
    x_size, s_size = across * across_step, down * down_step
    x_fours, s_fours = -(-wide // 4), -(-tall // 4)
    at_w, at_in, at_b, at_out, at_bias = (spec.place(part) for part in ("W", "w_in", "b", "w_out", "b_out"))
    train_w, train_in, train_b, train_out, train_bias = (
        spec.trains(part) for part in ("W", "w_in", "b", "w_out", "b_out")
    )
    may_freeze, remembers, shift = spec.may_freeze, spec.rule != SGD, spec.shift
    on_chip, element = spec.on_chip, getattr(types, spec.dtype)
    drawn_start, noisy, normed = spec.drawn_start, spec.noisy, spec.normed
    width = 64 // (4 if spec.dtype == "float32" else 8)
    drawn_plane = -(-(units + n_inputs + 1) // width) * width  # of the compiled kernel, whose numbers are drawn
    zero, one = real(0), real(1)
    tanh = functions(real).tanh
    compare = judge(real, spec.activation, spec.cuts)
    n_events, n_quantities = frame.N_EVENTS, frame.N_QUANTITIES
    limit, step_of, move, normal = frame.limiter(spec), frame.stepper(spec), frame.mover(spec), normal_at(real)
    sums, warp_sum = block_total(2, block_size), total(1, WARP)
    scratch_shape = scratch_size(block_size, max(2, row_space, column_space))
    input_space, in_size = max(n_inputs, 1), max(units * n_inputs, 1)
    head_size, both, all_partial = outputs * units, 2 * x_size, warps * x_size

    @device
    def x_place(j):
        """Of unit j in ``xs`` and ``partial``."""
        return j // wide * across_step + j % wide

    @device
    def s_place(i):
        """Of unit i in ``ss``."""
        return i // tall * down_step + i % tall

    @device
    def times(tile_of_w, x, at, parts):
        """The thread's share of W x, its part of x being at ``x[at]``."""
        values = cuda.local.array(4, real)
        for a in range(row_space):
            parts[a] = zero
        for four in range(x_fours):
            values[0], values[1], values[2], values[3] = load_four(x, at + 4 * four)
            for one_of in range(4):
                k = 4 * four + one_of
                if k < wide:
                    for a in range(tall):
                        parts[a] += tile_of_w[a * wide + k] * values[one_of]

    @device
    def transpose_times(tile_of_w, by_w, s, s_at, x, x_at, parts):
        """The thread's share of W^T s, and its tile of s x^T added to the gradient."""
        values, states = cuda.local.array(4, real), cuda.local.array(4, real)
        for k in range(column_space):
            parts[k] = zero
        for four in range(s_fours):
            values[0], values[1], values[2], values[3] = load_four(s, s_at + 4 * four)
            for one_of in range(4):
                a = 4 * four + one_of
                if a < tall:
                    for k in range(wide):
                        parts[k] += tile_of_w[a * wide + k] * values[one_of]
        for x_four in range(x_fours):
            states[0], states[1], states[2], states[3] = load_four(x, x_at + 4 * x_four)
            for four in range(s_fours):
                values[0], values[1], values[2], values[3] = load_four(s, s_at + 4 * four)
                for one_of in range(4):
                    a = 4 * four + one_of
                    if a < tall:
                        for x_one in range(4):
                            k = 4 * x_four + x_one
                            if k < wide:
                                by_w[a * wide + k] += values[one_of] * states[x_one]

    @device
    def copy(values, row, tile_of_w, b, w_in, w_out, b_out, thread, r, c):
        """Write the parameters to a flat state."""
        for a in range(tall):
            for k in range(wide):
                i, j = r * tall + a, c * wide + k
                if i < units and j < units:
                    values[row, at_w + i * units + j] = tile_of_w[a * wide + k]
        if thread < units:
            values[row, at_b + thread] = b[thread]
            for k in range(n_inputs):
                values[row, at_in + thread * n_inputs + k] = w_in[thread * n_inputs + k]
            for o in range(outputs):
                values[row, at_out + o * units + thread] = w_out[o * units + thread]
        for o in range(thread, outputs, block_size):
            values[row, at_bias + o] = b_out[o]

    def train(
        state, first, second, rate, corrections, numbers, solved, trials, steps, inputs, targets, weights, counted,
        n_counted, cuts, initial, threshold, norms, keys, order, start, stop, records, kept, history, snapshots, events,
        now, work,
    ):  # fmt: skip
        thread, block = cuda.threadIdx.x, cuda.blockIdx.x
        r, c, lane, warp = thread // across, thread % across, thread % WARP, thread // WARP
        scratch = cuda.shared.array(scratch_shape, real)
        if SIMULATED:
            xs = cuda.shared.array(both, real)
            ss = cuda.shared.array(s_size, real)
            partial = cuda.shared.array(all_partial, real)
        else:
            xs = cuda.shared.array(both, real, alignment=16)
            ss = cuda.shared.array(s_size, real, alignment=16)
            partial = cuda.shared.array(all_partial, real, alignment=16)
        b = cuda.shared.array(units, real)
        w_in = cuda.shared.array(in_size, real)
        w_out = cuda.shared.array(head_size, real)
        b_out = cuda.shared.array(outputs, real)
        tile_of_w, by_w = cuda.local.array(tile, real), cuda.local.array(tile, real)
        row_parts, column_parts = cuda.local.array(row_space, real), cuda.local.array(column_space, real)
        by_in, by_out = cuda.local.array(input_space, real), cuda.local.array(outputs, real)
        by_bias, pair = cuda.local.array(outputs, real), cuda.local.array(2, real)
        marks, seen = cuda.local.array(n_events, np.int64), cuda.local.array(n_quantities, real)
        alpha, tolerance, chance, spread, sigma = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
        largest, moving = numbers[5], (numbers[6], numbers[7], numbers[8], numbers[9], numbers[10])
        leak = one - alpha
        own = cuda.shared.array(0, element) if on_chip else work[block]
        n_rows = targets.shape[0]
        phi_at = (steps + 1) * units
        slope_at = phi_at + steps * units
        # the row of W whose sum this thread gets, and where its columns' sums begin
        mine = r * tall + (c & (row_space - 1))
        owns = c < row_space and c < tall and mine < units
        mine_x, thread_x, thread_s = x_place(mine), x_place(thread), s_place(thread)
        tile_x, tile_s = c * across_step, r * down_step
        column = 0
        for k in range(len(column_masks)):
            if thread & column_masks[k]:
                column += column_space >> (k + 1)
        for place in range(block, order.size, cuda.gridDim.x):
            w = order[place]
            for a in range(tall):
                for k in range(wide):
                    i, j = r * tall + a, c * wide + k
                    tile_of_w[a * wide + k] = zero
                    if i < units and j < units:
                        tile_of_w[a * wide + k] = state[w, at_w + i * units + j]
            for i in range(thread, both, block_size):
                xs[i] = zero
            for i in range(thread, s_size, block_size):
                ss[i] = zero
            cuda.syncthreads()
            if thread < units:
                b[thread] = state[w, at_b + thread]
                for k in range(n_inputs):
                    w_in[thread * n_inputs + k] = state[w, at_in + thread * n_inputs + k]
                for o in range(outputs):
                    w_out[o * units + thread] = state[w, at_out + o * units + thread]
            for o in range(thread, outputs, block_size):
                b_out[o] = state[w, at_bias + o]
            cuda.syncthreads()
            eta, key = rate[w], keys[w]
            begin(events, now, w, marks, seen)
            recorded, saved = 0, 0
            last = start if over(marks) else stop
            for epoch in range(start, last):
                row = (epoch - start) % n_rows
                u_of, target_of = inputs[row], targets[row]
                weight_of, counted_of = weights[row], counted[row]
                if normed:
                    pair[0], pair[1] = zero, zero
                    if thread < units:
                        for o in range(outputs):
                            pair[0] += abs(w_out[o * units + thread])
                    sums(pair, scratch, thread)
                    if pair[0] > zero:
                        scale = norms[w] / pair[0]
                        if thread < units:
                            for o in range(outputs):
                                w_out[o * units + thread] *= scale
                        for o in range(thread, outputs, block_size):
                            b_out[o] *= scale
                    cuda.syncthreads()
                for k in range(tile):
                    by_w[k] = zero
                for k in range(input_space):
                    by_in[k] = zero
                for o in range(outputs):
                    by_out[o], by_bias[o] = zero, zero
                by_b, own_loss, own_right = zero, zero, zero
                for trial in range(trials):
                    if thread < units:
                        x = initial[w, thread]
                        if drawn_start:
                            x = tanh(spread * normal(key, INITIAL, epoch, trial * drawn_plane + thread))
                        store(xs, thread_x, x)
                        store(own, thread, x)
                    cuda.syncthreads()
                    # forwards; x[t] is in xs[t % 2]
                    for t in range(steps):
                        here, there = t % 2 * x_size, (t + 1) % 2 * x_size
                        times(tile_of_w, xs, here + tile_x, row_parts)
                        row_scatter(row_parts, scratch, thread)
                        row_rest(row_parts, scratch, thread)
                        if owns:
                            drive = row_parts[0] + load(b, mine)
                            for k in range(n_inputs):
                                drive += load(w_in, mine * n_inputs + k) * load(
                                    u_of, (trial * steps + t) * n_inputs + k
                                )
                            if noisy:
                                drawn = (t * trials + trial) * drawn_plane + mine
                                drive += sigma * normal(key, NOISE, epoch, drawn)
                            phi = tanh(drive)
                            following = leak * load(xs, here + mine_x) + alpha * phi
                            store(xs, there + mine_x, following)
                            store(own, (t + 1) * units + mine, following)
                            store(own, phi_at + t * units + mine, phi)
                        cuda.syncthreads()
                    # outputs: a warp takes every ``warps``-th step
                    for first_step in range(0, steps, warps):
                        t = min(first_step + warp, steps - 1)
                        alone = first_step + warp < steps
                        for o in range(outputs):
                            at = (trial * steps + t) * outputs + o
                            row_parts[0] = zero
                            for i in range(lane, units, WARP):
                                row_parts[0] += load(w_out, o * units + i) * load(own, (t + shift) * units + i)
                            warp_sum(row_parts, scratch, thread)
                            of_loss, by_z, is_right = compare(
                                row_parts[0] + b_out[o], load(target_of, at), load(weight_of, at), cuts, tolerance
                            )  # fmt: skip
                            if alone and lane == 0:
                                own_loss += of_loss
                                own_right += load(counted_of, at) * is_right
                                store(own, slope_at + t * outputs + o, by_z)
                    if thread < units:
                        last_x = load(xs, steps % 2 * x_size + thread_x)
                        own_loss += last_x - last_x  # NaN where a unit has overflowed
                    cuda.syncthreads()
                    # backwards
                    y = zero
                    for back in range(steps + 1):
                        t = steps - back
                        x = zero
                        if thread < units:
                            x = load(own, t * units + thread)
                        if back > 0:
                            s = zero
                            if thread < units:
                                phi = load(own, phi_at + t * units + thread)
                                s = alpha * (one - phi * phi) * y
                                by_b += s
                                for k in range(n_inputs):
                                    by_in[k] += s * load(u_of, (trial * steps + t) * n_inputs + k)
                                store(ss, thread_s, s)
                                store(xs, thread_x, x)
                            cuda.syncthreads()
                            transpose_times(tile_of_w, by_w, ss, tile_s, xs, tile_x, column_parts)
                            column_scatter(column_parts, scratch, thread)
                            for four in range(fours):
                                store_four(
                                    partial, warp * x_size + tile_x + column + 4 * four, column_parts[4 * four],
                                    column_parts[4 * four + 1], column_parts[4 * four + 2], column_parts[4 * four + 3],
                                )  # fmt: skip
                            cuda.syncthreads()
                            if thread < units:
                                y = leak * y
                                for k in range(warps):
                                    y += load(partial, k * x_size + thread_x)
                        step = t - shift
                        if step >= 0 and step < steps:
                            for o in range(outputs):
                                by_z = load(own, slope_at + step * outputs + o)
                                by_bias[o] += by_z
                                if thread < units:
                                    y += load(w_out, o * units + thread) * by_z
                                    by_out[o] += by_z * x
                    cuda.syncthreads()
                # the norm of what is trained, and what was seen before the update
                pair[0], pair[1] = own_loss, own_right
                sums(pair, scratch, thread)
                seen[0], seen[2] = pair[0], pair[1] / n_counted[row]
                pair[0], pair[1] = zero, zero
                if train_w:
                    for k in range(tile):
                        pair[0] += by_w[k] * by_w[k]
                if thread < units:
                    if train_b:
                        pair[0] += by_b * by_b
                    if train_in:
                        for k in range(n_inputs):
                            pair[0] += by_in[k] * by_in[k]
                    if train_out:
                        for o in range(outputs):
                            pair[0] += by_out[o] * by_out[o]
                sums(pair, scratch, thread)
                square = pair[0]
                if train_bias:
                    for o in range(outputs):
                        square += by_bias[o] * by_bias[o]
                seen[1] = real(math.sqrt(square))
                factor, bad = limit(seen, square, eta, largest)
                if recorded < records.size and records[recorded] == epoch:
                    if thread == 0:
                        write(history, w, recorded, seen)
                    recorded += 1
                if saved < kept.size and kept[saved] == epoch:
                    copy(snapshots[saved], w, tile_of_w, b, w_in, w_out, b_out, thread, r, c)
                    saved += 1
                how = (first, second, w, moving, *step_of(eta, corrections, epoch - start))
                pair[0], pair[1] = zero, zero
                if not bad:
                    if train_w:
                        for a in range(tall):
                            for k in range(wide):
                                i, j = r * tall + a, c * wide + k
                                if (i < units and j < units) or not remembers:  # beyond, gradients are zero
                                    at = a * wide + k
                                    tile_of_w[at], pair[0] = move(
                                        tile_of_w[at], factor * by_w[at], pair[0], at_w + i * units + j, how
                                    )
                    if thread < units:
                        if train_b:
                            b[thread], pair[0] = move(b[thread], factor * by_b, pair[0], at_b + thread, how)
                        if train_in:
                            for k in range(n_inputs):
                                at = thread * n_inputs + k
                                w_in[at], pair[0] = move(w_in[at], factor * by_in[k], pair[0], at_in + at, how)
                        if train_out:
                            for o in range(outputs):
                                at = o * units + thread
                                w_out[at], pair[0] = move(w_out[at], factor * by_out[o], pair[0], at_out + at, how)
                    if train_bias:
                        for o in range(outputs):
                            if thread == o % block_size:
                                b_out[o], pair[0] = move(b_out[o], factor * by_bias[o], pair[0], at_bias + o, how)
                sums(pair, scratch, thread)
                cuda.syncthreads()
                note(marks, seen, epoch, chance, solved, bad, pair[0] != zero or not may_freeze)
                if over(marks):
                    break
            copy(state, w, tile_of_w, b, w_in, w_out, b_out, thread, r, c)
            for k in range(saved, kept.size):
                copy(snapshots[k], w, tile_of_w, b, w_in, w_out, b_out, thread, r, c)
            if thread == 0:
                end(history, events, now, w, recorded, records.size, marks, seen)
            cuda.syncthreads()

    return train
