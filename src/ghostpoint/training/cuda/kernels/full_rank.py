"""Full-rank networks of up to 128 units: one network a block, W and its gradient in the block's
registers.

The mathematics is that of ``kernels/full_rank.py``, for one trial after the other::

    phi[t] = tanh(W x[t] + W_in u[t] + b + noise[t]),   x[t+1] = (1 - alpha) x[t] + alpha phi[t]
    y[t] = dL/dx[t] = (1 - alpha) y[t+1] + W^T s[t] + W_out^T dL/dz of the step that reads x[t]
    s[t] = alpha (1 - phi[t]**2) y[t+1],   dL/dW = sum s[t] x[t]^T,   dL/dW_in = sum s[t] u[t]^T,
    dL/db = sum s[t]

Layout: threads form a grid of ``down x across``; the one at (r, c) holds the tile of W of ``tall``
rows from ``r tall`` and ``wide`` columns from ``c wide`` on. Of x and of s, the fours that threads
of a row or column read together lie together, so that they are on different banks. For W x a thread
takes its part of x and the sums go over the threads of a row, which are neighbours in a warp; for
W^T s it takes its part of s, and the sums go over the rows: within a warp by shuffles, over the
warps through shared memory. s[t] takes the place of phi[t], and when all are there, ``s x^T`` is
added up over the steps. W lies in ``work`` and is in registers for the two passes alone, as its
gradient is after them, so that more blocks fit on a processor. x and s of a trial are in shared
memory or, where a trial is too long for that, in ``work`` too, of the networks on the chip alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda, types

from ghostpoint.numerics.random import INITIAL, NOISE
from ghostpoint.training.cuda.kernels import frame
from ghostpoint.training.cuda.kernels.frame import begin, end, note, over, write
from ghostpoint.training.cuda.kernels.full_rank_tiles import (
    LARGEST,
    column_sums,
    fixed_size,
    grid,
    registers,
    rest_size,
    rows,
    threads,
    tile_functions,
    work_size,
)
from ghostpoint.training.cuda.kernels.functions import functions, judge
from ghostpoint.training.cuda.kernels.lanes import (
    SIMULATED,
    WARP,
    block_total,
    device,
    first_total,
    load,
    power_of_two,
    scatter,
    scratch_size,
    store,
    total,
)
from ghostpoint.training.cuda.kernels.random import normal_at
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank import CHUNK_KEY
from ghostpoint.training.kernels.optimizers import SGD

__all__ = ["LARGEST", "fixed_size", "kernel", "registers", "rest_size", "threads", "work_size"]


def kernel(spec: Specification) -> Any:
    """The kernel's Python function, for ``cuda.jit``."""
    real, units, n_inputs, outputs = spec.real, spec.units, spec.inputs, spec.outputs
    down, across = grid(units)
    block_size, warps = down * across, down * across // WARP
    tall, wide = -(-units // down), -(-units // across)  # of a thread's tile
    tile = tall * wide
    # W x: sums over a row of the grid end with one row of W in each of its first threads
    row_space = power_of_two(tall)
    row_masks = [row_space >> k for k in range(1, row_space.bit_length())]
    row_scatter, row_rest = scatter(row_space, row_masks), first_total(row_space, across // 2)
    # W^T s: the rows of the grid in a warp differ in the thread's bits from ``across`` on
    column_masks, column_space = column_sums(spec)
    column_scatter = scatter(column_space, column_masks)
    x_row, s_row = rows(spec)
    at_w, at_in, at_b, at_out, at_bias = (spec.place(part) for part in ("W", "w_in", "b", "w_out", "b_out"))
    train_w, train_in, train_b, train_out, train_bias = (
        spec.trains(part) for part in ("W", "w_in", "b", "w_out", "b_out")
    )
    factored = spec.latents > 0  # W = m n^T
    may_freeze, remembers, shift = spec.may_freeze, spec.rule != SGD, spec.shift
    on_chip, element = spec.on_chip, getattr(types, spec.dtype)
    drawn_start, noisy, normed = spec.drawn_start, spec.noisy, spec.normed
    width = 64 // (4 if spec.dtype == "float32" else 8)
    # of the compiled kernels, whose numbers are drawn
    drawn_plane = -(-(units if factored else units + n_inputs + 1) // width) * width
    zero, one = real(0), real(1)
    tanh = functions(real).tanh
    compare = judge(real, spec.activation, spec.cuts)
    n_events, n_quantities = frame.N_EVENTS, spec.quantities
    limit, step_of, move, normal = frame.limiter(spec), frame.stepper(spec), frame.mover(spec), normal_at(real)
    sums, warp_sums = block_total(2, block_size), total(4, WARP)
    max_row = max(row_space, 4)
    scratch_shape = scratch_size(block_size, max(4, row_space, column_space))
    input_space, in_size = max(n_inputs, 1), max(units * n_inputs, 1)
    head_size, partial_row = outputs * units, column_space * across
    latents, of_factors, chunk = spec.latents, spec.latents * sum(rows(spec)), spec.chunk
    all_partial, of_w = warps * partial_row, tile * block_size
    at_m, at_n, train_m, train_n = spec.place("m"), spec.place("n"), spec.trains("m"), spec.trains("n")
    makes_w = train_w or train_m or train_n
    unit_blocks = -(-units // WARP)

    x_place, s_place, times, transpose_times, add_outer, hand_over, lay_down, take_up = tile_functions(spec)

    @device
    def read(own, t, steps, readout, read_at):
        """The thread's share of an output at step t, of the last step for any t beyond."""
        at, z = (min(t, steps - 1) + shift) * x_row, zero
        for k in range(unit_blocks):
            z += readout[k] * load(own, at + read_at[k])
        return z

    @device
    def copy(values, row, work, w_at, b, w_in, w_out, b_out, thread, r, c):
        """Write the parameters to a flat state."""
        if factored:
            m_at = w_at - thread + 2 * of_w
            if thread < units:
                for j in range(latents):
                    values[row, at_m + thread * latents + j] = load(work, m_at + j * s_row + s_place(thread))
                    values[row, at_n + thread * latents + j] = load(
                        work, m_at + latents * s_row + j * x_row + x_place(thread)
                    )
        else:
            for a in range(tall):
                for k in range(wide):
                    i, j = r * tall + a, c * wide + k
                    if i < units and j < units:
                        values[row, at_w + i * units + j] = load(work, w_at + (a * wide + k) * block_size)
        if thread < units:
            values[row, at_b + thread] = b[thread]
            for k in range(n_inputs):
                values[row, at_in + thread * n_inputs + k] = w_in[thread * n_inputs + k]
            for o in range(outputs):
                values[row, at_out + o * units + thread] = w_out[o * units + thread]
        for o in range(thread, outputs, block_size):
            values[row, at_bias + o] = b_out[o]

    def train(networks, asked, settings, watch, recorder, work):
        state, first, second, rate, initial, _, norms, keys, order = networks
        inputs, targets, weights, counted, n_counted, cuts = asked
        corrections, numbers, solved, trials, steps, start, stop = settings
        records, kept, history, snapshots, events, now = recorder
        thread, block = cuda.threadIdx.x, cuda.blockIdx.x
        r, c, lane, warp = thread // across, thread % across, thread % WARP, thread // WARP
        scratch = cuda.shared.array(scratch_shape, real)
        if SIMULATED:
            partial = cuda.shared.array(all_partial, real)
            own = cuda.shared.array(0, element) if on_chip else work[block]
        else:
            partial = cuda.shared.array(all_partial, real, alignment=16)
            own = cuda.shared.array(0, element, alignment=16) if on_chip else work[block]
        b = cuda.shared.array(units, real)
        w_in = cuda.shared.array(in_size, real)
        w_out = cuda.shared.array(head_size, real)
        b_out = cuda.shared.array(outputs, real)
        tile_of_w, by_w = cuda.local.array(tile, real), cuda.local.array(tile, real)
        row_parts, column_parts = cuda.local.array(max_row, real), cuda.local.array(column_space, real)
        by_in, by_out = cuda.local.array(input_space, real), cuda.local.array(outputs, real)
        own_out = cuda.local.array(outputs, real)
        by_bias, pair = cuda.local.array(outputs, real), cuda.local.array(2, real)
        # the same of all threads, which would take registers
        marks = cuda.shared.array(n_events, np.int64)
        seen = cuda.shared.array(n_quantities, real)
        alpha, tolerance, chance, spread, sigma = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
        largest, moving = numbers[5], (numbers[6], numbers[7], numbers[8], numbers[9], numbers[10])
        leak = one - alpha
        resting = work[block]
        n_rows = targets.shape[0]
        path_of_s = (steps + 1) * x_row
        slope_at = path_of_s + steps * s_row
        w_at = thread if on_chip else thread + slope_at + (steps * outputs + 3) // 4 * 4
        by_w_at = w_at + of_w
        m_at = w_at - thread + 2 * of_w
        n_at = m_at + latents * s_row
        by_m_at, by_n_at = m_at + of_factors, n_at + of_factors
        # the row of W whose sum this thread gets, and where its columns' sums begin
        mine = r * tall + (c & (row_space - 1))
        owns = c < row_space and c < tall and mine < units
        mine_x, mine_s, thread_x, thread_s = x_place(mine), s_place(mine), x_place(thread), s_place(thread)
        tile_x, tile_s = 4 * c, 4 * r
        read_at, readout = cuda.local.array(unit_blocks, np.int32), cuda.local.array(unit_blocks, real)
        for k in range(unit_blocks):
            read_at[k] = x_place(min(k * WARP + lane, units - 1))
        column = 0
        for k in range(len(column_masks)):
            if thread & column_masks[k]:
                column += column_space >> (k + 1)
        partial_at = warp * partial_row + across * column + tile_x
        for place in range(block, order.size, cuda.gridDim.x):
            w = order[place]
            if factored:
                for i in range(thread, of_factors, block_size):
                    store(resting, m_at + i, zero)
                cuda.syncthreads()
                if thread < units:
                    for j in range(latents):
                        store(resting, m_at + j * s_row + thread_s, state[w, at_m + thread * latents + j])
                        store(resting, n_at + j * x_row + thread_x, state[w, at_n + thread * latents + j])
            else:
                for a in range(tall):
                    for k in range(wide):
                        i, j = r * tall + a, c * wide + k
                        value = zero
                        if i < units and j < units:
                            value = state[w, at_w + i * units + j]
                        store(resting, w_at + (a * wide + k) * block_size, value)
            for i in range(thread, slope_at, block_size):  # places that no unit has stay zero
                store(own, i, zero)
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
                for k in range(input_space):
                    by_in[k] = zero
                own_b = load(b, mine) if owns else zero
                for o in range(outputs):
                    by_out[o], by_bias[o] = zero, zero
                    own_out[o] = load(w_out, o * units + thread) if thread < units else zero
                by_b, own_loss, own_right = zero, zero, zero
                for trial in range(trials):
                    if factored and trial == 0:
                        # W = m n^T
                        for k in range(tile):
                            tile_of_w[k] = zero
                        for j in range(latents):
                            add_outer(tile_of_w, resting, m_at + j * s_row + tile_s, resting, n_at + j * x_row + tile_x)
                        if trials > 1:
                            lay_down(tile_of_w, resting, w_at)
                    else:
                        take_up(tile_of_w, resting, w_at)
                    inner, trial_key = trial, key
                    if factored:
                        inner, trial_key = trial % chunk, key ^ (trial // chunk * CHUNK_KEY)
                    if thread < units:
                        x = initial[w, thread]
                        if drawn_start:
                            x = tanh(spread * normal(trial_key, INITIAL, epoch, inner * drawn_plane + thread))
                        store(own, thread_x, x)
                    cuda.syncthreads()
                    # forwards
                    x = load(own, mine_x) if owns else zero
                    for t in range(steps):
                        times(tile_of_w, own, t * x_row + tile_x, row_parts)
                        row_scatter(row_parts, scratch, thread)
                        row_rest(row_parts, scratch, thread)
                        if owns:
                            drive = row_parts[0] + own_b
                            for k in range(n_inputs):
                                drive += load(w_in, mine * n_inputs + k) * load(
                                    u_of, (trial * steps + t) * n_inputs + k
                                )
                            if noisy:
                                drawn = (t * (chunk if factored else trials) + inner) * drawn_plane + mine
                                drive += sigma * normal(trial_key, NOISE, epoch, drawn)
                            phi = tanh(drive)
                            x = leak * x + alpha * phi
                            store(own, (t + 1) * x_row + mine_x, x)
                            store(own, path_of_s + t * s_row + mine_s, phi)
                        cuda.syncthreads()
                    if owns:
                        own_loss += x - x  # NaN where a unit has overflowed
                    # outputs: a warp takes four steps at a time, then a thread a number
                    for o in range(outputs):
                        for k in range(unit_blocks):
                            i = k * WARP + lane
                            readout[k] = load(w_out, o * units + i) if i < units else zero
                        for first_step in range(0, steps, warps * 4):
                            t = first_step + warp * 4
                            row_parts[0] = read(own, t, steps, readout, read_at)
                            row_parts[1] = read(own, t + 1, steps, readout, read_at)
                            row_parts[2] = read(own, t + 2, steps, readout, read_at)
                            row_parts[3] = read(own, t + 3, steps, readout, read_at)
                            warp_sums(row_parts, scratch, thread)
                            even, odd = row_parts[0], row_parts[1]
                            if lane >= 2:
                                even, odd = row_parts[2], row_parts[3]
                            if lane < 4 and t + lane < steps:
                                z = (odd if lane % 2 else even) + b_out[o]
                                store(own, slope_at + (t + lane) * outputs + o, z)
                    cuda.syncthreads()
                    for entry in range(thread, steps * outputs, block_size):
                        at = trial * steps * outputs + entry
                        of_loss, by_z, is_right = compare(
                            load(own, slope_at + entry), load(target_of, at), load(weight_of, at), cuts, tolerance
                        )  # fmt: skip
                        own_loss += of_loss
                        own_right += load(counted_of, at) * is_right
                        store(own, slope_at + entry, by_z)
                    cuda.syncthreads()
                    # backwards
                    y = zero
                    for back in range(steps + 1):
                        t = steps - back
                        if back > 0:
                            if thread < units:
                                phi = load(own, path_of_s + t * s_row + thread_s)
                                s = alpha * (one - phi * phi) * y
                                by_b += s
                                for k in range(n_inputs):
                                    by_in[k] += s * load(u_of, (trial * steps + t) * n_inputs + k)
                                store(own, path_of_s + t * s_row + thread_s, s)
                            cuda.syncthreads()
                            transpose_times(tile_of_w, own, path_of_s + t * s_row + tile_s, column_parts)
                            column_scatter(column_parts, scratch, thread)
                            hand_over(partial, partial_at, column_parts)
                            cuda.syncthreads()
                            if thread < units:
                                y = leak * y
                                for k in range(warps):
                                    y += load(partial, k * partial_row + thread_x)
                        step = t - shift
                        if step >= 0 and step < steps:
                            for o in range(outputs):
                                by_z = load(own, slope_at + step * outputs + o)
                                by_bias[o] += by_z
                                if thread < units:
                                    y += own_out[o] * by_z
                                    by_out[o] += by_z * load(own, t * x_row + thread_x)
                    cuda.syncthreads()
                    # the gradient of W, in the registers that W had
                    if trial == 0:
                        for k in range(tile):
                            by_w[k] = zero
                    else:
                        take_up(by_w, resting, by_w_at)
                    for t in range(steps if makes_w else 0):
                        add_outer(by_w, own, path_of_s + t * s_row + tile_s, own, t * x_row + tile_x)
                    if trial + 1 < trials:
                        lay_down(by_w, resting, by_w_at)
                    cuda.syncthreads()
                # the norm of what is trained, and what was seen before the update
                pair[0], pair[1] = own_loss, own_right
                sums(pair, scratch, thread)
                seen[0], seen[2] = pair[0], pair[1] / n_counted[row]
                pair[0], pair[1] = zero, zero
                if train_w:
                    for k in range(tile):
                        pair[0] += by_w[k] * by_w[k]
                if train_m:
                    # dL/dm = dL/dW n
                    for j in range(latents):
                        times(by_w, resting, n_at + j * x_row + tile_x, row_parts)
                        row_scatter(row_parts, scratch, thread)
                        row_rest(row_parts, scratch, thread)
                        if owns:
                            pair[0] += row_parts[0] * row_parts[0]
                            store(resting, by_m_at + j * s_row + mine_s, row_parts[0])
                if train_n:
                    # dL/dn = (dL/dW)^T m
                    for j in range(latents):
                        transpose_times(by_w, resting, m_at + j * s_row + tile_s, column_parts)
                        column_scatter(column_parts, scratch, thread)
                        hand_over(partial, partial_at, column_parts)
                        cuda.syncthreads()
                        if thread < units:
                            value = zero
                            for k in range(warps):
                                value += load(partial, k * partial_row + thread_x)
                            pair[0] += value * value
                            store(resting, by_n_at + j * x_row + thread_x, value)
                        cuda.syncthreads()
                if factored:
                    cuda.syncthreads()
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
                    copy(snapshots[saved], w, resting, w_at, b, w_in, w_out, b_out, thread, r, c)
                    saved += 1
                how = (first, second, w, moving, *step_of(eta, corrections, epoch - start))
                pair[0], pair[1] = zero, zero
                if not bad:
                    if train_w:
                        for a in range(tall):
                            for k in range(wide):
                                i, j, at = r * tall + a, c * wide + k, a * wide + k
                                if (i < units and j < units) or not remembers:  # beyond, gradients are zero
                                    value, pair[0] = move(
                                        load(resting, w_at + at * block_size), factor * by_w[at], pair[0],
                                        at_w + i * units + j, how,
                                    )  # fmt: skip
                                    store(resting, w_at + at * block_size, value)
                    if factored and thread < units:
                        for j in range(latents):
                            at = thread * latents + j
                            if train_m:
                                value, pair[0] = move(
                                    load(resting, m_at + j * s_row + thread_s),
                                    factor * load(resting, by_m_at + j * s_row + thread_s), pair[0], at_m + at, how,
                                )  # fmt: skip
                                store(resting, m_at + j * s_row + thread_s, value)
                            if train_n:
                                value, pair[0] = move(
                                    load(resting, n_at + j * x_row + thread_x),
                                    factor * load(resting, by_n_at + j * x_row + thread_x), pair[0], at_n + at, how,
                                )  # fmt: skip
                                store(resting, n_at + j * x_row + thread_x, value)
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
            copy(state, w, resting, w_at, b, w_in, w_out, b_out, thread, r, c)
            for k in range(saved, kept.size if kept[0] >= 0 else 0):
                copy(snapshots[k], w, resting, w_at, b, w_in, w_out, b_out, thread, r, c)
            if thread == 0:
                end(history, events, now, w, recorded, records.size, marks, seen)
            cuda.syncthreads()

    return train
