"""Low-rank networks of any task: one network a warp, its weights in registers, on latents as in
``kernels/low_rank.py``.

With ``g[t] = (kappa[t], u[t], 1)``, M the matrix with the columns m, W_in and b, P that with the
columns n and the rows
of W_out of a readout of the state, ``rho = (kappa, zeta)``::

    phi[t] = tanh(M g[t] + noise[t]),   rho[t+1] = (1 - alpha) rho[t] + alpha P^T phi[t],
    rho[0] = P^T x[0]
    lambda[t] = dL/drho[t] = (1 - alpha) lambda[t+1] + (m^T s[t], 0)
        + (dz/drho)^T dL/dz of the step that reads rho[t]
    s[t] = alpha (1 - phi[t]**2) P lambda[t+1]
    dL/dM = sum s[t] g[t]^T,   dL/dP = x[0] lambda[0]^T + sum alpha phi[t] lambda[t+1]^T

Layout: a thread has the ``held`` units from ``held lane`` on. Trials are taken one after the other,
forwards and back; what is kept of one, rho, phi and dL/dz, is in shared memory or, where a trial is
too long for that, in ``work``, of the networks on the chip alone. Every row of rho and lambda
belongs to ``parts`` neighbouring threads. A sum over the units goes through shared memory: every
thread writes its share of all rows, the threads of a row add theirs up, take the step of the row's
recursion, and write the row for all to read. The loss of a step is one thread's, all steps at once.

The gradient of a crossing's time takes a backward pass of its own, from the two readings that
define it, before that of the loss; its lambda has a place of its own, and the gradient goes to
``work``.
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
    barrier,
    device,
    first_total,
    load,
    load_four,
    power_of_two,
    scratch_size,
    store,
    total,
)
from ghostpoint.training.cuda.kernels.low_rank_parts import part_functions
from ghostpoint.training.cuda.kernels.low_rank_restraint import crossing_functions
from ghostpoint.training.cuda.kernels.low_rank_storage import (
    STRIDE,
    fixed_size,
    fours_of,
    registers,
    rest_size,
    sizes_of,
    small_of_thread,
    small_size,
    storage_functions,
    work_size,
)
from ghostpoint.training.cuda.kernels.random import normal_at
from ghostpoint.training.cuda.kernels.restraint import MADE, measure
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank import CHUNK_KEY
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE
from ghostpoint.training.kernels.optimizers import SGD
from ghostpoint.training.kernels.trust import row_size

__all__ = ["fixed_size", "kernel", "registers", "rest_size", "work_size"]


def kernel(spec: Specification) -> Any:
    """The kernel's Python function, for ``cuda.jit``."""
    real, units, latents, n_inputs, outputs = spec.real, spec.units, spec.latents, spec.inputs, spec.outputs
    held, plane, row_stride = sizes_of(spec)
    of_state, of_latents, by_confidence = (spec.readout == kind for kind in (STATE, LATENT, CONFIDENCE))
    columns, rows = latents + n_inputs + 1, latents + (outputs if of_state else 0)
    row_fours, latent_fours = fours_of(rows), fours_of(latents)
    # the small part: W_out of a latent readout, then b_out; or the confidence
    of_small = small_size(spec)
    small_at = spec.place("confidence") if by_confidence else spec.place("w_out" if of_latents else "b_out")
    bias_at = outputs * latents if of_latents else 0
    may_freeze, remembers, shift = spec.may_freeze, spec.rule != SGD, spec.shift
    on_chip, element = spec.on_chip, getattr(types, spec.dtype)
    drawn_start, noisy, normed, chunk = spec.drawn_start, spec.noisy, spec.normed, spec.chunk
    width = 64 // (4 if spec.dtype == "float32" else 8)
    drawn_plane = -(-units // width) * width  # of the compiled kernel, whose numbers are drawn
    zero, one = real(0), real(1)
    tanh = functions(real).tanh
    compare = judge(real, spec.activation, spec.cuts)
    n_events, n_quantities = frame.N_EVENTS, spec.quantities
    limit, step_of, move, normal = frame.limiter(spec), frame.stepper(spec), frame.mover(spec), normal_at(real)
    row_space = power_of_two(rows)
    parts = WARP // row_space
    pair_sums, rest_of_row = total(2, WARP), first_total(1, parts // 2)
    scratch_shape = scratch_size(WARP, 2)
    left_size, right_size, shares_size = columns * held, rows * held, rows * STRIDE
    own_small, phi_at = small_of_thread(spec), row_stride  # of (steps + 1) rows of rho

    acts, watched, found_row = spec.acts, spec.watched, row_size(spec.watched)
    write_crossing, act = crossing_functions(spec)
    left_place, right_place, left_trains, right_trains, small_trains, copy, normalize = part_functions(spec)

    share, keep, fetch, fetch_phi, lay_down, take_up = storage_functions(spec)

    @device
    def row_sum(shares, at, pair, scratch, lane):
        """The sum of a row, to each of its threads; the thread's shares begin at ``at``."""
        if row_space >= 4:
            a, b, c, d = load_four(shares, at)
            for four in range(1, row_space // 4):
                e, f, g, h = load_four(shares, at + 4 * four)
                a, b, c, d = a + e, b + f, c + g, d + h
            pair[0] = (a + b) + (c + d)
        else:
            pair[0] = load(shares, at)
            for k in range(1, row_space):
                pair[0] += load(shares, at + k)
        rest_of_row(pair, scratch, lane)
        return pair[0]

    input_space, pull_space = max(n_inputs, 1), 4 * latent_fours

    def train(networks, asked, settings, watch, recorder, work):
        state, first, second, rate, initial, threshold, norms, keys, order = networks
        inputs, targets, weights, counted, n_counted, cuts = asked
        corrections, numbers, solved, trials, steps, start, stop = settings
        records, kept, history, snapshots, events, now = recorder
        lane, block = cuda.threadIdx.x, cuda.blockIdx.x
        scratch = cuda.shared.array(scratch_shape, real)
        small = cuda.shared.array(of_small, real)
        if SIMULATED:
            shares = cuda.shared.array(shares_size, real)
            own = cuda.shared.array(0, element) if on_chip else work[block % work.shape[0]]
        else:
            shares = cuda.shared.array(shares_size, real, alignment=16)
            own = cuda.shared.array(0, element, alignment=16) if on_chip else work[block % work.shape[0]]
        left, by_left = cuda.local.array(left_size, real), cuda.local.array(left_size, real)
        right, by_right = cuda.local.array(right_size, real), cuda.local.array(right_size, real)
        by_small, head = cuda.local.array(own_small, real), cuda.local.array(outputs, real)
        x0, phi, s = cuda.local.array(held, real), cuda.local.array(held, real), cuda.local.array(held, real)
        rho, lam = cuda.local.array(pull_space, real), cuda.local.array(row_stride, real)
        values, given = cuda.local.array(row_stride, real), cuda.local.array(input_space, real)
        pair, part = cuda.local.array(2, real), cuda.local.array(own_small, real)
        made, found = cuda.shared.array(MADE, np.float64), watch.seen[block % watch.seen.shape[0]]
        gradient = by_left, by_right, by_small, pair, scratch
        # the same of all threads, which would take registers
        marks = cuda.shared.array(n_events, np.int64)
        seen = cuda.shared.array(n_quantities, real)
        resting = work[block % work.shape[0]]
        alpha, tolerance, chance, spread, sigma = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
        largest, moving = numbers[5], (numbers[6], numbers[7], numbers[8], numbers[9], numbers[10])
        leak, inverse = one - alpha, one / alpha
        n_rows = targets.shape[0]
        path_of_phi = (steps + 1) * phi_at
        slope_at = path_of_phi + steps * plane
        # of crossings: the logits, then dL/dz of the two readings, and lambda
        crossing_z = slope_at + (steps * outputs + 3) // 4 * 4
        crossing_lambda = crossing_z + (steps * outputs + 3) // 4 * 4
        rest_at = lane
        if not on_chip:
            rest_at += crossing_lambda + (steps + 1) * row_stride if watched else crossing_z
        e_at = rest_at + (left_size + right_size) * WARP
        first_unit = lane * held
        busy = first_unit < units
        # the row of rho and lambda that this thread takes care of
        row_of = lane // parts
        writes = lane % parts == 0 and row_of < rows
        row_of = min(row_of, rows - 1)
        shares_at = row_of * STRIDE + lane % parts * row_space
        pulled = row_of < latents
        for place in range(block, order.size, cuda.gridDim.x):
            w = order[place]
            for u in range(held):
                i = first_unit + u
                for j in range(columns):
                    left[j * held + u] = state[w, left_place(j, i)] if i < units else zero
                for k in range(rows):
                    right[k * held + u] = state[w, right_place(k, i)] if i < units else zero
            for k in range(lane, of_small, WARP):
                small[k] = state[w, small_at + k]
            for k in range(lane, path_of_phi, WARP):
                own[k] = zero
            barrier()
            kappa_star, eta, key = threshold[w], rate[w], keys[w]
            begin(events, now, w, marks, seen)
            recorded, saved = 0, 0
            last = start if over(marks) else stop
            for epoch in range(start, last):
                row = (epoch - start) % n_rows
                u_of, target_of = inputs[row], targets[row]
                weight_of, counted_of = weights[row], counted[row]
                if normed:
                    normalize(right, small, norms[w], pair, scratch, lane)
                for k in range(own_small):
                    by_small[k] = zero
                # what a step's dL/dz adds to the thread's row of lambda
                for o in range(outputs):
                    if of_state:
                        head[o] = one if row_of == latents + o else zero
                    elif of_latents:
                        head[o] = small[o * latents + row_of]
                    else:
                        head[o] = small[0] if row_of == 0 else zero
                own_loss, own_right, confidence = zero, zero, small[0]
                for trial in range(trials):
                    inner = trial % chunk
                    trial_key = key ^ (trial // chunk * CHUNK_KEY)
                    # forwards: rho[0], then phi and rho of every step
                    for u in range(held):
                        i = first_unit + u
                        x0[u] = initial[w, i] if i < units else zero
                        if drawn_start and i < units:
                            x0[u] = tanh(spread * normal(trial_key, INITIAL, epoch, inner * drawn_plane + i))
                    for k in range(rows):
                        values[k] = zero
                        for u in range(held):
                            values[k] += right[k * held + u] * x0[u]
                    share(shares, lane, values, rows)
                    barrier()
                    mine = row_sum(shares, shares_at, pair, scratch, lane)
                    if writes:
                        store(own, row_of, mine)
                    barrier()
                    for t in range(steps):
                        fetch(own, t * row_stride, rho, latent_fours)
                        for j in range(n_inputs):
                            given[j] = load(u_of, (trial * steps + t) * n_inputs + j)
                        for k in range(rows):
                            values[k] = zero
                        for u in range(held):
                            i = first_unit + u
                            drive, odd_drive = left[(columns - 1) * held + u], zero
                            for j in range(0, latents, 2):
                                drive += left[j * held + u] * rho[j]
                            for j in range(1, latents, 2):
                                odd_drive += left[j * held + u] * rho[j]
                            drive += odd_drive
                            for j in range(n_inputs):
                                drive += left[(latents + j) * held + u] * given[j]
                            if noisy and i < units:
                                drawn = (t * chunk + inner) * drawn_plane + i
                                drive += sigma * normal(trial_key, NOISE, epoch, drawn)
                            phi[u] = tanh(drive)
                            for k in range(rows):
                                values[k] += right[k * held + u] * phi[u]
                        share(shares, lane, values, rows)
                        if busy:
                            keep(own, path_of_phi + t * plane + first_unit, phi)
                        barrier()
                        mine = leak * mine + alpha * row_sum(shares, shares_at, pair, scratch, lane)
                        if writes:
                            store(own, (t + 1) * row_stride + row_of, mine)
                        barrier()
                    if writes:
                        own_loss += mine - mine  # NaN where a latent has overflowed
                    # outputs: a thread takes every 32nd step
                    for step in range(lane, steps, WARP):
                        at = (step + shift) * row_stride
                        for o in range(outputs):
                            if of_state:
                                z = load(own, at + latents + o) + small[o]
                            elif of_latents:
                                z = small[bias_at + o]
                                for j in range(latents):
                                    z += small[o * latents + j] * load(own, at + j)
                            else:
                                z = small[0] * (load(own, at) - kappa_star)
                            entry = (trial * steps + step) * outputs + o
                            of_loss, by_z, is_right = compare(
                                z, load(target_of, entry), load(weight_of, entry), cuts, tolerance
                            )  # fmt: skip
                            own_loss += of_loss
                            own_right += load(counted_of, entry) * is_right
                            store(own, slope_at + step * outputs + o, by_z)
                            if watched:
                                store(own, crossing_z + step * outputs + o, z)
                    barrier()
                    if watched:
                        if lane == 0:
                            for k in range(watched):
                                if watch.crossings[k, 0] == trial:
                                    measure(
                                        watch.crossings, watch.marks, k, trial, own[crossing_z:], 1, outputs,
                                        found[k * found_row :],
                                    )  # fmt: skip
                        barrier()
                        for k in range(lane, steps * outputs, WARP):
                            store(own, crossing_z + k, zero)
                        barrier()
                    # passes backwards: of the trial's crossings, then of the loss
                    for k in range(watched + 1):
                        of_loss = k == watched
                        z_at, lambda_at, top = slope_at, 0, steps
                        if watched and not of_loss:
                            if watch.crossings[k, 0] != trial:
                                continue
                            mine_of = found[k * found_row :]
                            z_at, lambda_at, top = crossing_z, crossing_lambda, int(mine_of[5]) + shift
                            first_at = z_at + int(mine_of[3]) * outputs + watch.crossings[k, 1]
                            second_at = z_at + int(mine_of[5]) * outputs + watch.crossings[k, 1]
                            if lane == 0:
                                store(own, first_at, real(mine_of[4]))
                                store(own, second_at, load(own, second_at) + real(mine_of[6]))
                            barrier()
                        # of what is small, a thread takes every 32nd
                        for entry_of in range(own_small):
                            entry = entry_of * WARP + lane
                            part[entry_of] = zero
                            if entry < of_small:
                                for step in range(steps):
                                    if of_latents and entry < bias_at:
                                        by_z = load(own, z_at + step * outputs + entry // latents)
                                        part[entry_of] += by_z * load(
                                            own, (step + shift) * row_stride + entry % latents
                                        )
                                    elif by_confidence:
                                        by_z = load(own, z_at + step * outputs)
                                        part[entry_of] += by_z * (load(own, (step + shift) * row_stride) - kappa_star)
                                    else:
                                        part[entry_of] += load(own, z_at + step * outputs + entry - bias_at)
                        barrier()
                        # lambda, the loss's in the place of rho, and the sum over steps for M
                        if trial == 0 or not of_loss:
                            for j in range(left_size):
                                by_left[j] = zero
                        else:
                            take_up(by_left, left_size, resting, rest_at)
                        mine = zero
                        for back in range(top + 1):
                            t = top - back
                            if back > 0:
                                fetch(own, lambda_at + (t + 1) * row_stride, lam, row_fours)
                                fetch(own, t * row_stride, rho, latent_fours)
                                fetch_phi(own, path_of_phi + t * plane + first_unit, phi, busy)
                                for j in range(latents):
                                    values[j] = zero
                                for u in range(held):
                                    pull, odd_pull = zero, zero
                                    for j in range(0, rows, 2):
                                        pull += right[j * held + u] * lam[j]
                                    for j in range(1, rows, 2):
                                        odd_pull += right[j * held + u] * lam[j]
                                    s[u] = alpha * (one - phi[u] * phi[u]) * (pull + odd_pull)
                                    for j in range(latents):
                                        values[j] += left[j * held + u] * s[u]
                                share(shares, lane, values, latents)
                                for j in range(n_inputs):
                                    given[j] = load(u_of, (trial * steps + t) * n_inputs + j)
                                for u in range(held):
                                    for j in range(latents):
                                        by_left[j * held + u] += s[u] * rho[j]
                                    for j in range(n_inputs):
                                        by_left[(latents + j) * held + u] += s[u] * given[j]
                                    by_left[(columns - 1) * held + u] += s[u]
                                barrier()
                                pulls = row_sum(shares, shares_at, pair, scratch, lane)
                                mine = leak * mine + (pulls if pulled else zero)
                            step = t - shift
                            if step >= 0 and step < steps:
                                for o in range(outputs):
                                    mine += head[o] * load(own, z_at + step * outputs + o)
                            if writes:
                                store(own, lambda_at + t * row_stride + row_of, mine)
                            barrier()
                        # the sum over steps for P
                        if trial == 0 or not of_loss:
                            for j in range(right_size):
                                by_right[j] = zero
                        else:
                            take_up(by_right, right_size, resting, rest_at + left_size * WARP)
                        for t in range(top):
                            fetch(own, lambda_at + (t + 1) * row_stride, lam, row_fours)
                            fetch_phi(own, path_of_phi + t * plane + first_unit, phi, busy)
                            for u in range(held):
                                for j in range(rows):
                                    by_right[j * held + u] += phi[u] * lam[j]
                        fetch(own, lambda_at, lam, row_fours)
                        for u in range(held):
                            for j in range(rows):
                                by_right[j * held + u] += inverse * x0[u] * lam[j]
                        if of_loss:
                            for j in range(own_small):
                                by_small[j] += part[j]
                            if trial + 1 < trials:
                                lay_down(by_left, left_size, resting, rest_at)
                                lay_down(by_right, right_size, resting, rest_at + left_size * WARP)
                        elif watched:
                            # the gradient e of the crossing, of what is trained
                            write_crossing((by_left, by_right, part), alpha, resting, e_at, k, lane)
                            barrier()
                            if lane == 0:
                                store(own, first_at, zero)
                                store(own, second_at, zero)
                        barrier()
                # the norm of what is trained, and what was seen before the update
                pair[0], pair[1] = own_loss, own_right
                pair_sums(pair, scratch, lane)
                seen[0], seen[2], seen[3] = pair[0], pair[1] / n_counted[row], confidence
                pair[0], pair[1] = zero, zero
                for k in range(right_size):
                    by_right[k] *= alpha
                for u in range(held):
                    for j in range(columns):
                        if left_trains(j):
                            pair[0] += by_left[j * held + u] * by_left[j * held + u]
                    for k in range(rows):
                        if right_trains(k):
                            pair[0] += by_right[k * held + u] * by_right[k * held + u]
                for k in range(own_small):
                    if small_trains(k * WARP + lane):
                        pair[0] += by_small[k] * by_small[k]
                pair_sums(pair, scratch, lane)
                square = pair[0]
                seen[1] = real(math.sqrt(square))
                factor, bad = limit(seen, square, eta, largest)
                how = (first, second, w, moving, *step_of(eta, corrections, epoch - start))
                if acts:
                    bad, factor = (
                        act(watch, (found, made, seen), gradient, (resting, e_at), how, (factor, bad, w, lane)),
                        one,
                    )
                if recorded < records.size and records[recorded] == epoch:
                    if lane == 0:
                        write(history, w, recorded, seen)
                    recorded += 1
                if saved < kept.size and kept[saved] == epoch:
                    copy(snapshots[saved], w, left, right, small, lane)
                    saved += 1
                pair[0], pair[1] = zero, zero
                if not bad:
                    for u in range(held):
                        i = first_unit + u
                        if i < units or not remembers:  # beyond, gradients are zero
                            for j in range(columns):
                                if left_trains(j):
                                    at = j * held + u
                                    left[at], pair[0] = move(
                                        left[at], factor * by_left[at], pair[0], left_place(j, i), how
                                    )
                            for k in range(rows):
                                if right_trains(k):
                                    at = k * held + u
                                    right[at], pair[0] = move(
                                        right[at], factor * by_right[at], pair[0], right_place(k, i), how
                                    )
                    for k in range(own_small):
                        entry = k * WARP + lane
                        if entry < of_small and small_trains(entry):
                            small[entry], pair[0] = move(
                                small[entry], factor * by_small[k], pair[0], small_at + entry, how
                            )
                pair_sums(pair, scratch, lane)
                barrier()
                note(marks, seen, epoch, chance, solved, bad, pair[0] != zero or not may_freeze)
                if over(marks):
                    break
            copy(state, w, left, right, small, lane)
            for k in range(saved, kept.size if kept[0] >= 0 else 0):
                copy(snapshots[k], w, left, right, small, lane)
            if lane == 0:
                end(history, events, now, w, recorded, records.size, marks, seen)
            barrier()

    return train
