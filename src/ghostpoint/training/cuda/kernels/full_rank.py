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

Low-rank networks whose weights do not fit into a warp's registers come here too: W = m n^T,
dL/dm = dL/dW n and dL/dn = (dL/dW)^T m. A readout V of their latents is one of the state,
``W_out = V n^T``, so ``dL/dV = dL/dW_out n`` and dL/dn gets ``(dL/dW_out)^T V``; with the
confidence V is c of the first latent, and ``b_out = -c kappa*``. Numbers that are no unit's (V and
b_out, or c) are called small.

The gradient of a crossing's time takes a backward pass of its own, from the two readings that
define it, before that of the loss; its s has a place of its own, and the gradient goes to ``work``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda, types

from ghostpoint.numerics.random import INITIAL, NOISE
from ghostpoint.training.cuda.kernels import frame
from ghostpoint.training.cuda.kernels.frame import begin, end, note, over, write
from ghostpoint.training.cuda.kernels.full_rank_parts import part_functions
from ghostpoint.training.cuda.kernels.full_rank_restraint import crossing_functions
from ghostpoint.training.cuda.kernels.full_rank_tiles import (
    LARGEST,
    column_sums,
    fixed_size,
    grid,
    registers,
    rest_size,
    rows,
    small_of_thread,
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
from ghostpoint.training.cuda.kernels.low_rank_storage import small_size
from ghostpoint.training.cuda.kernels.random import normal_at
from ghostpoint.training.cuda.kernels.restraint import MADE, measure
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank import CHUNK_KEY
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE
from ghostpoint.training.kernels.optimizers import SGD
from ghostpoint.training.kernels.trust import row_size

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
    of_state, of_latents, by_confidence = (spec.readout == kind for kind in (STATE, LATENT, CONFIDENCE))
    of_small, own_small = small_size(spec), small_of_thread(spec)
    at_w, at_in, at_b, at_out = (spec.place(part) for part in ("W", "w_in", "b", "w_out"))
    at_small = spec.place("confidence" if by_confidence else "w_out" if of_latents else "b_out")
    train_w, train_in, train_b = (spec.trains(part) for part in ("W", "w_in", "b"))
    train_out, train_bias = of_state and spec.trains("w_out"), spec.trains("b_out")
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

    acts, watched, found_row = spec.acts, spec.watched, row_size(spec.watched)
    write_crossing, act = crossing_functions(spec)
    small_trains, head_of_latents, factor_gradients, small_gradient, share_of_square, copy, take, normalize = (
        part_functions(spec)
    )

    x_place, s_place, times, transpose_times, add_outer, hand_over, lay_down, take_up = tile_functions(spec)

    @device
    def read(own, t, steps, readout, read_at):
        """The thread's share of an output at step t, of the last step for any t beyond."""
        at, z = (min(t, steps - 1) + shift) * x_row, zero
        for k in range(unit_blocks):
            z += readout[k] * load(own, at + read_at[k])
        return z

    def train(networks, asked, settings, watch, recorder, work):
        state, first, second, rate, initial, threshold, norms, keys, order = networks
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
        small = cuda.shared.array(of_small, real)
        if of_state:
            small = b_out
        tile_of_w, by_w = cuda.local.array(tile, real), cuda.local.array(tile, real)
        row_parts, column_parts = cuda.local.array(max_row, real), cuda.local.array(column_space, real)
        by_in, by_out = cuda.local.array(input_space, real), cuda.local.array(outputs, real)
        own_out = cuda.local.array(outputs, real)
        by_bias, pair = cuda.local.array(outputs, real), cuda.local.array(2, real)
        by_small = cuda.local.array(own_small, real)
        if acts:
            made, found = cuda.shared.array(MADE, np.float64), watch.seen[block % watch.seen.shape[0]]
        if watched:
            # the loss's gradient while a crossing's is taken
            kept_in, kept_out = cuda.local.array(input_space, real), cuda.local.array(outputs, real)
            kept_bias = cuda.local.array(outputs, real)
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
        # of crossings: the logits, then dL/dz of the two readings, and s
        crossing_z = slope_at + (steps * outputs + 3) // 4 * 4
        crossing_s = crossing_z + (steps * outputs + 3) // 4 * 4
        w_at = thread
        if not on_chip:
            w_at += crossing_s + steps * s_row if watched else crossing_z
        by_w_at = w_at + of_w
        m_at = w_at - thread + 2 * of_w
        n_at = m_at + latents * s_row
        by_m_at, by_n_at = m_at + of_factors, n_at + of_factors
        e_at = m_at + 2 * of_factors + thread
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
        memory = partial, scratch, row_parts, column_parts
        gradient = by_w, by_in, by_out, by_small, pair, scratch
        places = thread, owns, m_at, n_at, tile_x, tile_s, mine_s, partial_at
        for place in range(block, order.size, cuda.gridDim.x):
            w = order[place]
            take(state, w, resting, w_at, b, w_in, w_out, small, thread, r, c)
            for i in range(thread, slope_at, block_size):  # places that no unit has stay zero
                store(own, i, zero)
            if watched:
                for i in range(thread, steps * s_row, block_size):
                    store(own, crossing_s + i, zero)
            cuda.syncthreads()
            eta, key, kappa_star = rate[w], keys[w], threshold[w]
            begin(events, now, w, marks, seen)
            recorded, saved = 0, 0
            last = start if over(marks) else stop
            for epoch in range(start, last):
                row = (epoch - start) % n_rows
                u_of, target_of = inputs[row], targets[row]
                weight_of, counted_of = weights[row], counted[row]
                if normed:
                    normalize(w_out, small, norms[w], pair, scratch, thread)
                if not of_state:
                    head_of_latents(small, resting, n_at, w_out, b_out, kappa_star, thread)
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
                    if watched:
                        if thread == 0:
                            for k in range(watched):
                                if watch.crossings[k, 0] == trial:
                                    measure(
                                        watch.crossings, watch.marks, k, trial, own[slope_at:], 1, outputs,
                                        found[k * found_row :],
                                    )  # fmt: skip
                        for k in range(thread, steps * outputs, block_size):
                            store(own, crossing_z + k, zero)
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
                    # passes backwards: of the trial's crossings, then of the loss
                    for passing in range(watched + 1):
                        of_loss = passing == watched
                        z_at, s_at, top = slope_at, path_of_s, steps
                        if watched and not of_loss:
                            if watch.crossings[passing, 0] != trial:
                                continue
                            of_it = found[passing * found_row :]
                            z_at, s_at, top = crossing_z, crossing_s, int(of_it[5]) + shift
                            first_at = z_at + int(of_it[3]) * outputs + watch.crossings[passing, 1]
                            second_at = z_at + int(of_it[5]) * outputs + watch.crossings[passing, 1]
                            if thread == 0:
                                store(own, first_at, real(of_it[4]))
                                store(own, second_at, load(own, second_at) + real(of_it[6]))
                            kept_b, by_b = by_b, zero
                            for k in range(n_inputs):
                                kept_in[k], by_in[k] = by_in[k], zero
                            for o in range(outputs):
                                kept_out[o], kept_bias[o], by_out[o], by_bias[o] = by_out[o], by_bias[o], zero, zero
                            cuda.syncthreads()
                        y = zero
                        for back in range(top + 1):
                            t = top - back
                            if back > 0:
                                if thread < units:
                                    phi = load(own, path_of_s + t * s_row + thread_s)
                                    s = alpha * (one - phi * phi) * y
                                    by_b += s
                                    for k in range(n_inputs):
                                        by_in[k] += s * load(u_of, (trial * steps + t) * n_inputs + k)
                                    store(own, s_at + t * s_row + thread_s, s)
                                cuda.syncthreads()
                                transpose_times(tile_of_w, own, s_at + t * s_row + tile_s, column_parts)
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
                                    by_z = load(own, z_at + step * outputs + o)
                                    by_bias[o] += by_z
                                    if thread < units:
                                        y += own_out[o] * by_z
                                        by_out[o] += by_z * load(own, t * x_row + thread_x)
                        cuda.syncthreads()
                        # the gradient of W, in the registers that W had
                        if trial == 0 or not of_loss:
                            for k in range(tile):
                                by_w[k] = zero
                        else:
                            take_up(by_w, resting, by_w_at)
                        for t in range(top if makes_w else 0):
                            add_outer(by_w, own, s_at + t * s_row + tile_s, own, t * x_row + tile_x)
                        if of_loss and trial + 1 < trials:
                            lay_down(by_w, resting, by_w_at)
                        cuda.syncthreads()
                        if watched and not of_loss:
                            # the gradient e of the crossing, of what is trained
                            if factored:
                                lay_down(tile_of_w, resting, w_at)
                                factor_gradients(by_w, resting, memory, places, by_out, small)
                            small_gradient(by_small, by_bias, by_out, w_out, resting, n_at, kappa_star, thread)
                            write_crossing(gradient, by_b, (resting, e_at, by_m_at, by_n_at), passing, thread)
                            by_b = kept_b
                            for k in range(n_inputs):
                                by_in[k] = kept_in[k]
                            for o in range(outputs):
                                by_out[o], by_bias[o] = kept_out[o], kept_bias[o]
                            if not of_state:
                                cuda.syncthreads()
                                head_of_latents(small, resting, n_at, w_out, b_out, kappa_star, thread)
                            if thread == 0:
                                store(own, first_at, zero)
                                store(own, second_at, zero)
                            cuda.syncthreads()
                            take_up(tile_of_w, resting, w_at)
                # the norm of what is trained, and what was seen before the update
                pair[0], pair[1] = own_loss, own_right
                sums(pair, scratch, thread)
                seen[0], seen[2] = pair[0], pair[1] / n_counted[row]
                pair[0], pair[1] = zero, zero
                if factored and (train_m or train_n):
                    pair[0] += factor_gradients(by_w, resting, memory, places, by_out, small)
                if acts or not of_state:
                    small_gradient(by_small, by_bias, by_out, w_out, resting, n_at, kappa_star, thread)
                pair[0] += share_of_square(gradient, by_b, thread)
                sums(pair, scratch, thread)
                square = pair[0]
                if of_state and not acts and train_bias:
                    for o in range(outputs):
                        square += by_bias[o] * by_bias[o]
                if by_confidence:
                    seen[3] = small[0]
                seen[1] = real(math.sqrt(square))
                factor, bad = limit(seen, square, eta, largest)
                if acts:
                    at = e_at, by_m_at, by_n_at
                    direct = first, second, w, moving, *step_of(eta, corrections, epoch - start)
                    by_b, bad = act(
                        watch, (found, made, seen), gradient, by_b, (resting, *at), direct, (factor, bad, w, thread)
                    )
                    factor = one
                if recorded < records.size and records[recorded] == epoch:
                    if thread == 0:
                        write(history, w, recorded, seen)
                    recorded += 1
                if saved < kept.size and kept[saved] == epoch:
                    copy(snapshots[saved], w, resting, w_at, b, w_in, w_out, small, thread, r, c)
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
                    if of_state and not acts and train_bias:
                        for o in range(outputs):
                            if thread == o % block_size:
                                small[o], pair[0] = move(small[o], factor * by_bias[o], pair[0], at_small + o, how)
                    for k in range(own_small):
                        entry = k * block_size + thread
                        if (acts or not of_state) and entry < of_small and small_trains(entry):
                            small[entry], pair[0] = move(
                                small[entry], factor * by_small[k], pair[0], at_small + entry, how
                            )
                sums(pair, scratch, thread)
                cuda.syncthreads()
                note(marks, seen, epoch, chance, solved, bad, pair[0] != zero or not may_freeze)
                if over(marks):
                    break
            copy(state, w, resting, w_at, b, w_in, w_out, small, thread, r, c)
            for k in range(saved, kept.size if kept[0] >= 0 else 0):
                copy(snapshots[k], w, resting, w_at, b, w_in, w_out, small, thread, r, c)
            if thread == 0:
                end(history, events, now, w, recorded, records.size, marks, seen)
            cuda.syncthreads()

    return train
