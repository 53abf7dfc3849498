"""Rank-one networks on one fixed trial without input: several networks a warp, everything in
registers.

The gradient is carried forwards. With one latent, ``kappa[t+1] = (1 - alpha) kappa[t] + alpha sum_i
n_i phi_i[t]``, the Jacobian of a step is one number,
``a[t] = 1 - alpha + alpha sum_i n_i m_i e_i[t]`` (``phi = tanh(m kappa + b)``,
``e = 1 - phi**2``), so the derivatives of kappa by all parameters need a multiply-add each and no
stored path::

    S_n[t+1] = a[t] S_n[t] + phi[t],   S_b[t+1] = a[t] S_b[t] + e[t],
    S_m[t+1] = a[t] S_m[t] + kappa[t] e[t]
    dL/dn_i = alpha sum_t l[t] S_n,i[t],   dL/db_i = alpha n_i sum_t l[t] S_b,i[t],
    dL/dm_i likewise

with ``l[t]`` the derivative of what is read from kappa[t] and ``S_n[0] = x[0] / alpha``. That is
one tanh and about 20 multiply-adds for a unit and step; going backwards would take a second tanh,
or a path that does not fit on the chip. Rounding is that of the backward recursion: both multiply
by the same ``a[t]``.

Layout: ``lanes`` threads a network, unit ``u lanes + lane`` in register u of a thread; 32 / lanes
networks a warp, one warp a block. Registers hold phi, S and the sums for the gradient; m, n, b and
n m are in shared memory, four to a load, so that more warps fit on a processor. Moments of an
optimiser stay in global memory, which is touched once an epoch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda, types

from ghostpoint.training.cuda.kernels import frame
from ghostpoint.training.cuda.kernels.frame import begin, end, note, over, write
from ghostpoint.training.cuda.kernels.functions import MODERATE, SMALL, functions, judge
from ghostpoint.training.cuda.kernels.lanes import (
    SIMULATED,
    WARP,
    barrier,
    device,
    load_four,
    scratch_size,
    store,
    store_four,
    total,
)
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.cuda.kernels.variants import setting
from ghostpoint.training.kernels.optimizers import SGD

#: units that a thread holds at most
MOST_REGISTERS = 13
#: steps of a trial at most, whose targets are in shared memory
MOST_STEPS = 512
#: registers that a thread may use: twelve warps a processor
REGISTERS = 128


def kernel(spec: Specification) -> Any:
    """The kernel's Python function, for ``cuda.jit``."""
    real, units, lanes = spec.real, spec.units, spec.lanes
    held, halves = -(-units // lanes), setting("halves", 1)
    threads, everything = lanes // halves, halves * held  # threads of a network, units of a thread
    fours, element = -(-held // 4), getattr(types, spec.dtype)
    half_plane = fours * WARP * 4
    plane = halves * half_plane  # of one of m, n, b and n m in shared memory
    in_shared = 4 * plane
    networks = WARP // threads
    at_m, at_n, at_b, at_c = (spec.place(part) for part in ("m", "n", "b", "confidence"))
    train_m, train_n, train_b, train_c = (spec.trains(part) for part in ("m", "n", "b", "confidence"))
    may_freeze, remembers = spec.may_freeze, spec.rule != SGD
    zero, one, small, moderate = real(0), real(1), real(SMALL), real(MODERATE)
    tanh, tanh_of_small, tanh_of_moderate, _ = functions(real)
    compare = judge(real, spec.activation, spec.cuts)
    n_events, n_quantities = frame.N_EVENTS, frame.N_QUANTITIES
    limit, step_of, move = frame.limiter(spec), frame.stepper(spec), frame.mover(spec)
    sums, everyone = total(2, threads), total(1, WARP)
    scratch_shape = scratch_size(WARP, 2)

    def activation(tanh_here):
        """phi of a half of the thread's units; their shares of ``sum n phi`` and ``sum n m e``."""

        @device
        def activate(kept, at, kappa, first, phi, pair):
            m, n, b = cuda.local.array(4, real), cuda.local.array(4, real), cuda.local.array(4, real)
            both = cuda.local.array(4, real)
            rates, bend, odd_rates, odd_bend = zero, zero, zero, zero
            for four in range(fours):
                place = at + four * (4 * WARP)
                m[0], m[1], m[2], m[3] = load_four(kept, place)
                b[0], b[1], b[2], b[3] = load_four(kept, place + 2 * plane)
                n[0], n[1], n[2], n[3] = load_four(kept, place + plane)
                both[0], both[1], both[2], both[3] = load_four(kept, place + 3 * plane)
                for k in range(4):
                    u = 4 * four + k
                    if u < held:
                        y = tanh_here(m[k] * kappa + b[k])
                        phi[first + u] = y
                        if u % 2:
                            odd_rates += n[k] * y
                            odd_bend += both[k] * (one - y * y)
                        else:
                            rates += n[k] * y
                            bend += both[k] * (one - y * y)
            pair[0] += rates + odd_rates
            pair[1] += bend + odd_bend

        return activate

    activate_small, activate_moderate, activate = map(activation, (tanh_of_small, tanh_of_moderate, tanh))

    def half_activation(half):
        """The activation of a half, by the shortest tanh that its arguments allow."""
        if half >= halves:

            @device
            def nothing(kept, at, kappa, steepest, shift, phi, pair):
                pass

            return nothing
        first, offset = half * held, half * half_plane

        @device
        def activate_half(kept, at, kappa, steepest, shift, phi, pair):
            reach = abs(kappa) * steepest[half] + shift[half]
            if reach <= small:
                activate_small(kept, at + offset, kappa, first, phi, pair)
            elif reach <= moderate:
                activate_moderate(kept, at + offset, kappa, first, phi, pair)
            else:
                activate(kept, at + offset, kappa, first, phi, pair)

        return activate_half

    activate_first, activate_second = half_activation(0), half_activation(1)

    @device
    def unit_place(u, thread):
        """Of the thread's unit u in a plane."""
        return u // held * half_plane + (u % held // 4 * WARP + thread) * 4 + u % held % 4

    @device
    def unit(u, lane):
        """The number of the thread's unit u."""
        return u % held * lanes + u // held * threads + lane

    @device
    def copy(values, row, kept, c, thread, lane):
        """Write the parameters to a flat state."""
        for u in range(everything):
            i, place = unit(u, lane), unit_place(u, thread)
            if i < units:
                values[row, at_m + i] = kept[place]
                values[row, at_n + i] = kept[plane + place]
                values[row, at_b + i] = kept[2 * plane + place]
        if lane == 0:
            values[row, at_c] = c

    def train(
        state, first, second, rate, corrections, numbers, solved, trials, steps, inputs, targets, weights, counted,
        n_counted, cuts, initial, threshold, norms, keys, order, start, stop, records, kept, history, snapshots, events,
        now, work,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        lane = thread % threads
        place = cuda.blockIdx.x * networks + thread // threads
        inside = place < order.size
        w = order[place if inside else 0]
        scratch = cuda.shared.array(scratch_shape, real)
        if SIMULATED:
            own = cuda.shared.array(in_shared, real)
            wanted = cuda.shared.array(0, element)
        else:
            own = cuda.shared.array(in_shared, real, alignment=16)
            wanted = cuda.shared.array(0, element, alignment=16)
        at = 4 * thread
        sm, gm = cuda.local.array(everything, real), cuda.local.array(everything, real)
        sn, gn = cuda.local.array(everything, real), cuda.local.array(everything, real)
        sb, gb = cuda.local.array(everything, real), cuda.local.array(everything, real)
        phi, pair = cuda.local.array(everything, real), cuda.local.array(2, real)
        steepest, shift = cuda.local.array(halves, real), cuda.local.array(halves, real)
        starts, squares = cuda.local.array(halves, real), cuda.local.array(halves, real)
        marks, seen = cuda.local.array(n_events, np.int64), cuda.local.array(n_quantities, real)
        for u in range(everything):
            i = unit(u, lane)
            m, n, b, place_of = zero, zero, zero, unit_place(u, thread)
            if i < units:
                m, n, b = state[w, at_m + i], state[w, at_n + i], state[w, at_b + i]
            store(own, place_of, m)
            store(own, plane + place_of, n)
            store(own, 2 * plane + place_of, b)
            store(own, 3 * plane + place_of, n * m)
        c, kappa_star, eta = state[w, at_c], threshold[w], rate[w]
        alpha, chance, largest = numbers[0], numbers[2], numbers[5]
        moving = numbers[6], numbers[7], numbers[8], numbers[9], numbers[10]
        leak, back = one - alpha, one / alpha
        share = one / n_counted[0]
        # what is read from kappa[t] is at t; nothing is from kappa[0]
        for t in range(thread, steps + 1, WARP):
            step = t - 1 if t > 0 else 0
            store_four(
                wanted, 4 * t, targets[0, step], weights[0, step] if t > 0 else zero,
                counted[0, step] if t > 0 else zero, zero,
            )  # fmt: skip
        barrier()
        begin(events, now, w, marks, seen)
        recorded, saved = 0, 0
        running = inside and not over(marks)
        pair[0] = one if running else zero
        everyone(pair, scratch, thread)
        last = stop if pair[0] > zero else start  # a warp whose networks are all finished has nothing to do
        for epoch in range(start, last):
            for half in range(halves):
                steepest[half], shift[half], starts[half], squares[half] = zero, zero, zero, zero
            for u in range(everything):
                i = unit(u, lane)
                x0 = initial[w, i] if i < units else zero
                half, place_of = u // held, unit_place(u, thread)
                m, n, b = own[place_of], own[plane + place_of], own[2 * plane + place_of]
                steepest[half], shift[half] = max(steepest[half], abs(m)), max(shift[half], abs(b))
                starts[half] += n * x0
                sn[u], sm[u], sb[u] = back * x0, zero, zero
                gn[u], gm[u], gb[u] = zero, zero, zero
            pair[0], pair[1] = starts[0], zero
            for half in range(1, halves):
                pair[0] += starts[half]
            sums(pair, scratch, thread)
            kappa = pair[0]
            seen_loss, by_c, right = zero, zero, zero
            for t in range(steps):
                apart = kappa - kappa_star
                target, worth, count, _ = load_four(wanted, 4 * t)
                of_loss, by_z, is_right = compare(c * apart, target, worth, cuts, zero)
                pair[0], pair[1] = zero, zero
                activate_first(own, at, kappa, steepest, shift, phi, pair)
                activate_second(own, at, kappa, steepest, shift, phi, pair)
                sums(pair, scratch, thread)
                a = leak + alpha * pair[1]
                seen_loss += of_loss
                right += count * is_right
                by_c += by_z * apart
                by_kappa = c * by_z
                for u in range(everything):
                    e = one - phi[u] * phi[u]
                    gn[u] += by_kappa * sn[u]
                    gb[u] += by_kappa * sb[u]
                    gm[u] += by_kappa * sm[u]
                    sn[u] = a * sn[u] + phi[u]
                    sb[u] = a * sb[u] + e
                    sm[u] = a * sm[u] + kappa * e
                kappa = leak * kappa + alpha * pair[0]
            apart = kappa - kappa_star
            target, worth, count, _ = load_four(wanted, 4 * steps)
            of_loss, by_z, is_right = compare(c * apart, target, worth, cuts, zero)
            seen_loss += of_loss
            right += count * is_right
            by_c += by_z * apart
            by_kappa = c * by_z
            for u in range(everything):
                gn[u] += by_kappa * sn[u]
                gb[u] += by_kappa * sb[u]
                gm[u] += by_kappa * sm[u]
            seen_loss += kappa - kappa  # NaN where the latent has overflowed
            pair[0], pair[1] = zero, zero
            for u in range(everything):
                n = own[plane + unit_place(u, thread)]
                gm[u], gb[u], gn[u] = alpha * n * gm[u], alpha * n * gb[u], alpha * gn[u]
                if train_m:
                    squares[u // held] += gm[u] * gm[u]
                if train_n:
                    squares[u // held] += gn[u] * gn[u]
                if train_b:
                    squares[u // held] += gb[u] * gb[u]
            for half in range(halves):
                pair[0] += squares[half]
            sums(pair, scratch, thread)
            square = pair[0]
            if train_c:
                square += by_c * by_c
            if running:
                seen[0], seen[1], seen[2], seen[3] = seen_loss, real(math.sqrt(square)), right * share, c
            factor, bad = limit(seen, square, eta, largest)
            if recorded < records.size and records[recorded] == epoch:
                if inside and lane == 0:
                    write(history, w, recorded, seen)
                recorded += 1
            if saved < kept.size and kept[saved] == epoch:
                if inside:
                    copy(snapshots[saved], w, own, c, thread, lane)
                saved += 1
            how = (first, second, w, moving, *step_of(eta, corrections, epoch - start))
            changed = zero
            if running and not bad:
                for u in range(everything):
                    i = unit(u, lane)
                    if i < units or not remembers:  # beyond, gradients are zero
                        place_of = unit_place(u, thread)
                        m, n, b = own[place_of], own[plane + place_of], own[2 * plane + place_of]
                        if train_m:
                            m, changed = move(m, factor * gm[u], changed, at_m + i, how)
                        if train_n:
                            n, changed = move(n, factor * gn[u], changed, at_n + i, how)
                        if train_b:
                            b, changed = move(b, factor * gb[u], changed, at_b + i, how)
                        store(own, place_of, m)
                        store(own, plane + place_of, n)
                        store(own, 2 * plane + place_of, b)
                        store(own, 3 * plane + place_of, n * m)
            pair[0], pair[1] = zero, zero
            if train_c and running and not bad and lane == 0:
                # one thread keeps the moments, all get the result
                pair[1], changed = move(c, factor * by_c, changed, at_c, how)
            pair[0] = changed
            sums(pair, scratch, thread)
            if train_c and running and not bad:
                c = pair[1]
            if running:
                note(marks, seen, epoch, chance, solved, bad, pair[0] != zero or not may_freeze)
                running = not over(marks)
        if inside:
            copy(state, w, own, c, thread, lane)
            for k in range(saved, kept.size):
                copy(snapshots[k], w, own, c, thread, lane)
            if lane == 0:
                end(history, events, now, w, recorded, records.size, marks, seen)

    return train
