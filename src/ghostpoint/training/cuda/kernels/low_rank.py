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

Layout: unit ``32 u + lane`` in register u of a thread. Trials are taken one after the other,
forwards and back; what is kept of one, phi and rho, is in shared memory or, where a trial is too
long for that, in ``work``, of the networks on the chip alone. rho and lambda are in every thread's
registers. What W_out of a latent readout, b_out and the confidence are is in shared memory.
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
    WARP,
    barrier,
    device,
    load,
    power_of_two,
    scratch_size,
    store,
    total,
)
from ghostpoint.training.cuda.kernels.random import normal_at
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank import CHUNK_KEY
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE
from ghostpoint.training.kernels.optimizers import SGD


def work_size(spec: Specification, steps: int) -> int:
    """Numbers of ``work`` for a block."""
    rows = spec.latents + (spec.outputs if spec.readout == STATE else 0)
    return steps * -(-spec.units // WARP) * WARP + (steps + 1) * rows


def kernel(spec: Specification) -> Any:
    """The kernel's Python function, for ``cuda.jit``."""
    real, units, latents, n_inputs, outputs = spec.real, spec.units, spec.latents, spec.inputs, spec.outputs
    held = -(-units // WARP)
    plane = held * WARP
    of_state, of_latents, by_confidence = (spec.readout == kind for kind in (STATE, LATENT, CONFIDENCE))
    columns, rows = latents + n_inputs + 1, latents + (outputs if of_state else 0)
    # the small part: W_out of a latent readout, then b_out; or the confidence
    small_size = 1 if by_confidence else outputs * (latents + 1) if of_latents else outputs
    small_at = spec.place("confidence") if by_confidence else spec.place("w_out" if of_latents else "b_out")
    bias_at = outputs * latents if of_latents else 0
    train_head, train_bias = spec.trains("confidence" if by_confidence else "w_out"), spec.trains("b_out")
    at_m, at_n, at_in, at_b, at_out = (spec.place(part) for part in ("m", "n", "w_in", "b", "w_out"))
    train_m, train_n, train_in, train_b, train_out = (spec.trains(part) for part in ("m", "n", "w_in", "b", "w_out"))
    may_freeze, remembers, shift = spec.may_freeze, spec.rule != SGD, spec.shift
    on_chip, element = spec.on_chip, getattr(types, spec.dtype)
    drawn_start, noisy, normed, chunk = spec.drawn_start, spec.noisy, spec.normed, spec.chunk
    width = 64 // (4 if spec.dtype == "float32" else 8)
    drawn_plane = -(-units // width) * width  # of the compiled kernel, whose numbers are drawn
    zero, one = real(0), real(1)
    tanh = functions(real).tanh
    compare = judge(real, spec.activation, spec.cuts)
    n_events, n_quantities = frame.N_EVENTS, frame.N_QUANTITIES
    limit, step_of, move, normal = frame.limiter(spec), frame.stepper(spec), frame.mover(spec), normal_at(real)
    row_sums, latent_sums, pair_sums = total(rows, WARP), total(latents, WARP), total(2, WARP)
    row_space, latent_space = power_of_two(rows), power_of_two(latents)
    scratch_shape = scratch_size(WARP, max(2, row_space))
    left_size, right_size = columns * held, rows * held
    path_at = 0  # of rho in work; phi follows

    @device
    def left_place(j, i):
        """Where column j of M has unit i in the flat state."""
        if j < latents:
            return at_m + i * latents + j
        if j < latents + n_inputs:
            return at_in + i * n_inputs + (j - latents)
        return at_b + i

    @device
    def right_place(k, i):
        """Where column k of P has unit i in the flat state."""
        if k < latents:
            return at_n + i * latents + k
        return at_out + (k - latents) * units + i

    @device
    def left_trains(j):
        return train_m if j < latents else (train_in if j < latents + n_inputs else train_b)

    @device
    def right_trains(k):
        return train_n if k < latents else train_out

    @device
    def small_trains(s):
        return train_head if by_confidence or s < bias_at else train_bias

    @device
    def copy(values, row, left, right, small, lane):
        """Write the parameters to a flat state."""
        for u in range(held):
            i = u * WARP + lane
            if i < units:
                for j in range(columns):
                    values[row, left_place(j, i)] = left[j * held + u]
                for k in range(rows):
                    values[row, right_place(k, i)] = right[k * held + u]
        for s in range(lane, small_size, WARP):
            values[row, small_at + s] = small[s]

    @device
    def normalize(right, small, norm, pair, scratch, lane):
        """Scale W_out and b_out so that ``sum |W_out|`` is ``norm``; a readout of zeros stays."""
        pair[0], pair[1] = zero, zero
        if of_latents:
            for s in range(lane, bias_at, WARP):
                pair[0] += abs(small[s])
        else:
            for k in range(latents, rows):
                for u in range(held):
                    pair[0] += abs(right[k * held + u])
        pair_sums(pair, scratch, lane)
        if pair[0] > zero:
            factor = norm / pair[0]
            for k in range(latents, rows):
                for u in range(held):
                    right[k * held + u] *= factor
            for s in range(lane, small_size, WARP):
                small[s] *= factor
        barrier()

    def train(
        state, first, second, rate, corrections, numbers, solved, trials, steps, inputs, targets, weights, counted,
        n_counted, cuts, initial, threshold, norms, keys, order, start, stop, records, kept, history, snapshots, events,
        now, work,
    ):  # fmt: skip
        lane, block = cuda.threadIdx.x, cuda.blockIdx.x
        scratch = cuda.shared.array(scratch_shape, real)
        small = cuda.shared.array(small_size, real)
        left, by_left = cuda.local.array(left_size, real), cuda.local.array(left_size, real)
        right, by_right = cuda.local.array(right_size, real), cuda.local.array(right_size, real)
        by_small = cuda.local.array(small_size, real)
        x0, rho, lam = cuda.local.array(held, real), cuda.local.array(rows, real), cuda.local.array(rows, real)
        values, pulls = cuda.local.array(row_space, real), cuda.local.array(latent_space, real)
        pair = cuda.local.array(2, real)
        marks, seen = cuda.local.array(n_events, np.int64), cuda.local.array(n_quantities, real)
        for k in range(row_space):
            values[k] = zero
        for k in range(latent_space):
            pulls[k] = zero
        alpha, tolerance, chance, spread, sigma = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
        largest, moving = numbers[5], (numbers[6], numbers[7], numbers[8], numbers[9], numbers[10])
        leak = one - alpha
        own = cuda.shared.array(0, element) if on_chip else work[block]
        n_rows = targets.shape[0]
        phi_at = path_at + (steps + 1) * rows
        for place in range(block, order.size, cuda.gridDim.x):
            w = order[place]
            for u in range(held):
                i = u * WARP + lane
                for j in range(columns):
                    left[j * held + u] = state[w, left_place(j, i)] if i < units else zero
                for k in range(rows):
                    right[k * held + u] = state[w, right_place(k, i)] if i < units else zero
            for s in range(lane, small_size, WARP):
                small[s] = state[w, small_at + s]
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
                for k in range(left_size):
                    by_left[k] = zero
                for k in range(right_size):
                    by_right[k] = zero
                for s in range(small_size):
                    by_small[s] = zero
                loss, right_answers, confidence = zero, zero, small[0]
                for trial in range(trials):
                    inner = trial % chunk
                    trial_key = key ^ (trial // chunk * CHUNK_KEY)
                    # forwards: rho[0], then phi and rho of every step
                    for u in range(held):
                        i = u * WARP + lane
                        x0[u] = initial[w, i] if i < units else zero
                        if drawn_start and i < units:
                            x0[u] = tanh(spread * normal(trial_key, INITIAL, epoch, inner * drawn_plane + i))
                    for k in range(rows):
                        values[k] = zero
                        for u in range(held):
                            values[k] += right[k * held + u] * x0[u]
                    row_sums(values, scratch, lane)
                    for k in range(rows):
                        rho[k] = values[k]
                    for t in range(steps):
                        for k in range(rows):
                            values[k] = zero
                            if lane == k % WARP:
                                store(own, path_at + t * rows + k, rho[k])
                        for u in range(held):
                            i = u * WARP + lane
                            drive = left[(columns - 1) * held + u]
                            for j in range(latents):
                                drive += left[j * held + u] * rho[j]
                            for j in range(n_inputs):
                                drive += left[(latents + j) * held + u] * load(u_of, (trial * steps + t) * n_inputs + j)
                            if noisy and i < units:
                                drawn = (t * chunk + inner) * drawn_plane + i
                                drive += sigma * normal(trial_key, NOISE, epoch, drawn)
                            phi = tanh(drive)
                            store(own, phi_at + t * plane + i, phi)
                            for k in range(rows):
                                values[k] += right[k * held + u] * phi
                        row_sums(values, scratch, lane)
                        for k in range(rows):
                            rho[k] = leak * rho[k] + alpha * values[k]
                    for k in range(rows):
                        loss += rho[k] - rho[k]  # NaN where a latent has overflowed
                        lam[k] = zero
                        if lane == k % WARP:
                            store(own, path_at + steps * rows + k, rho[k])
                    barrier()
                    # backwards: lambda, and the sums over steps
                    for back in range(steps + 1):
                        t = steps - back
                        if back > 0:
                            for j in range(latents):
                                pulls[j] = zero
                                rho[j] = load(own, path_at + t * rows + j)
                            for u in range(held):
                                phi = load(own, phi_at + t * plane + u * WARP + lane)
                                pull, part = zero, alpha * phi
                                for k in range(rows):
                                    pull += right[k * held + u] * lam[k]
                                    by_right[k * held + u] += part * lam[k]
                                s = alpha * (one - phi * phi) * pull
                                for j in range(latents):
                                    by_left[j * held + u] += s * rho[j]
                                    pulls[j] += left[j * held + u] * s
                                for j in range(n_inputs):
                                    by_left[(latents + j) * held + u] += s * load(
                                        u_of, (trial * steps + t) * n_inputs + j
                                    )
                                by_left[(columns - 1) * held + u] += s
                            latent_sums(pulls, scratch, lane)
                            for k in range(rows):
                                lam[k] = leak * lam[k]
                            for j in range(latents):
                                lam[j] += pulls[j]
                        step = t - shift
                        if step >= 0 and step < steps:
                            at = (trial * steps + step) * outputs
                            for k in range(rows):
                                rho[k] = load(own, path_at + t * rows + k)
                            for o in range(outputs):
                                if of_state:
                                    z = rho[latents + o] + small[o]
                                elif of_latents:
                                    z = small[bias_at + o]
                                    for j in range(latents):
                                        z += small[o * latents + j] * rho[j]
                                else:
                                    z = small[0] * (rho[0] - kappa_star)
                                of_loss, by_z, is_right = compare(
                                    z, load(target_of, at + o), load(weight_of, at + o), cuts, tolerance
                                )  # fmt: skip
                                loss += of_loss
                                right_answers += load(counted_of, at + o) * is_right
                                if of_state:
                                    lam[latents + o] += by_z
                                    by_small[o] += by_z
                                elif of_latents:
                                    by_small[bias_at + o] += by_z
                                    for j in range(latents):
                                        lam[j] += small[o * latents + j] * by_z
                                        by_small[o * latents + j] += by_z * rho[j]
                                else:
                                    lam[0] += small[0] * by_z
                                    by_small[0] += by_z * (rho[0] - kappa_star)
                    for u in range(held):
                        for k in range(rows):
                            by_right[k * held + u] += x0[u] * lam[k]
                    barrier()
                # the norm of what is trained, and what was seen before the update
                pair[0], pair[1] = zero, zero
                for u in range(held):
                    if u * WARP + lane < units:
                        for j in range(columns):
                            if left_trains(j):
                                pair[0] += by_left[j * held + u] * by_left[j * held + u]
                        for k in range(rows):
                            if right_trains(k):
                                pair[0] += by_right[k * held + u] * by_right[k * held + u]
                pair_sums(pair, scratch, lane)
                square = pair[0]
                for s in range(small_size):
                    if small_trains(s):
                        square += by_small[s] * by_small[s]
                seen[0], seen[1] = loss, real(math.sqrt(square))
                seen[2], seen[3] = right_answers / n_counted[row], confidence
                factor, bad = limit(seen, square, eta, largest)
                if recorded < records.size and records[recorded] == epoch:
                    if lane == 0:
                        write(history, w, recorded, seen)
                    recorded += 1
                if saved < kept.size and kept[saved] == epoch:
                    copy(snapshots[saved], w, left, right, small, lane)
                    saved += 1
                how = (first, second, w, moving, *step_of(eta, corrections, epoch - start))
                pair[0], pair[1] = zero, zero
                if not bad:
                    for u in range(held):
                        i = u * WARP + lane
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
                    for s in range(small_size):
                        if small_trains(s) and lane == s % WARP:
                            small[s], pair[0] = move(small[s], factor * by_small[s], pair[0], small_at + s, how)
                pair_sums(pair, scratch, lane)
                barrier()
                note(marks, seen, epoch, chance, solved, bad, pair[0] != zero or not may_freeze)
                if over(marks):
                    break
            copy(state, w, left, right, small, lane)
            for k in range(saved, kept.size):
                copy(snapshots[k], w, left, right, small, lane)
            if lane == 0:
                end(history, events, now, w, recorded, records.size, marks, seen)
            barrier()

    return train
