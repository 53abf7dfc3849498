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
networks a warp, one warp a block. Moments of an optimiser stay in global memory, which is touched
once an epoch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ghostpoint.training.cuda.kernels import frame
from ghostpoint.training.cuda.kernels.frame import begin, end, note, over, write
from ghostpoint.training.cuda.kernels.functions import MODERATE, SMALL, functions, judge
from ghostpoint.training.cuda.kernels.lanes import WARP, barrier, device, load, scratch_size, store, total
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.optimizers import SGD

#: units that a thread holds at most
MOST_REGISTERS = 13
#: steps of a trial at most, whose targets are in shared memory
MOST_STEPS = 512
#: registers that a thread may use: twelve warps a processor
REGISTERS = 168


def registers(spec: Specification) -> int | None:
    """Registers of a thread at most."""
    return REGISTERS


def kernel(spec: Specification) -> Any:
    """The kernel's Python function, for ``cuda.jit``."""
    real, units, lanes = spec.real, spec.units, spec.lanes
    held, readings = -(-units // lanes), MOST_STEPS + 1
    networks = WARP // lanes
    at_m, at_n, at_b, at_c = (spec.place(part) for part in ("m", "n", "b", "confidence"))
    train_m, train_n, train_b, train_c = (spec.trains(part) for part in ("m", "n", "b", "confidence"))
    may_freeze, remembers = spec.may_freeze, spec.rule != SGD
    zero, one, small, moderate = real(0), real(1), real(SMALL), real(MODERATE)
    tanh, tanh_of_small, tanh_of_moderate, _ = functions(real)
    compare = judge(real, spec.activation, spec.cuts)
    n_events, n_quantities = frame.N_EVENTS, frame.N_QUANTITIES
    limit, step_of, move = frame.limiter(spec), frame.stepper(spec), frame.mover(spec)
    sums, everyone = total(2, lanes), total(1, WARP)
    scratch_shape = scratch_size(WARP, 2)

    def activation(tanh_here):
        """phi, the thread's share of ``sum n phi`` and ``sum n m e``, and what the answer read from
        kappa is worth.

        The two have nothing to do with each other but kappa, so that one fills the waiting of the
        other.
        """

        @device
        def activate(m, n, b, kappa, c, apart, target, weight, cuts, phi, pair):
            of_loss, by_z, is_right = compare(c * apart, target, weight, cuts, zero)
            rates, bend, odd_rates, odd_bend = zero, zero, zero, zero
            for u in range(held):
                y = tanh_here(m[u] * kappa + b[u])
                phi[u] = y
                if u % 2:
                    odd_rates += n[u] * y
                    odd_bend += (n[u] * m[u]) * (one - y * y)
                else:
                    rates += n[u] * y
                    bend += (n[u] * m[u]) * (one - y * y)
            pair[0] = rates + odd_rates
            pair[1] = bend + odd_bend
            return of_loss, by_z, is_right

        return activate

    activate_small, activate_moderate, activate = map(activation, (tanh_of_small, tanh_of_moderate, tanh))

    @device
    def copy(values, row, m, n, b, c, lane):
        """Write the parameters to a flat state."""
        for u in range(held):
            i = u * lanes + lane
            if i < units:
                values[row, at_m + i] = m[u]
                values[row, at_n + i] = n[u]
                values[row, at_b + i] = b[u]
        if lane == 0:
            values[row, at_c] = c

    def train(
        state, first, second, rate, corrections, numbers, solved, trials, steps, inputs, targets, weights, counted,
        n_counted, cuts, initial, threshold, norms, keys, order, start, stop, records, kept, history, snapshots, events,
        now, work,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        lane = thread % lanes
        place = cuda.blockIdx.x * networks + thread // lanes
        inside = place < order.size
        w = order[place if inside else 0]
        scratch = cuda.shared.array(scratch_shape, real)
        answer = cuda.shared.array(readings, real)
        weight = cuda.shared.array(readings, real)
        counts = cuda.shared.array(readings, real)
        m, n, b = cuda.local.array(held, real), cuda.local.array(held, real), cuda.local.array(held, real)
        sm, sn, sb = cuda.local.array(held, real), cuda.local.array(held, real), cuda.local.array(held, real)
        gm, gn, gb = cuda.local.array(held, real), cuda.local.array(held, real), cuda.local.array(held, real)
        phi, pair = cuda.local.array(held, real), cuda.local.array(2, real)
        marks, seen = cuda.local.array(n_events, np.int64), cuda.local.array(n_quantities, real)
        for u in range(held):
            i = u * lanes + lane
            m[u], n[u], b[u] = zero, zero, zero
            if i < units:
                m[u], n[u], b[u] = state[w, at_m + i], state[w, at_n + i], state[w, at_b + i]
        c, kappa_star, eta = state[w, at_c], threshold[w], rate[w]
        alpha, chance, largest = numbers[0], numbers[2], numbers[5]
        moving = numbers[6], numbers[7], numbers[8], numbers[9], numbers[10]
        leak, back = one - alpha, one / alpha
        share = one / n_counted[0]
        # what is read from kappa[t] is at t; nothing is from kappa[0]
        for t in range(thread, steps + 1, WARP):
            step = t - 1 if t > 0 else 0
            store(answer, t, targets[0, step])
            store(weight, t, weights[0, step] if t > 0 else zero)
            store(counts, t, counted[0, step] if t > 0 else zero)
        barrier()
        begin(events, now, w, marks, seen)
        recorded, saved = 0, 0
        running = inside and not over(marks)
        pair[0] = one if running else zero
        everyone(pair, scratch, thread)
        last = stop if pair[0] > zero else start  # a warp whose networks are all finished has nothing to do
        for epoch in range(start, last):
            steepest, shift, start_sum = zero, zero, zero
            for u in range(held):
                i = u * lanes + lane
                x0 = initial[w, i] if i < units else zero
                steepest, shift = max(steepest, abs(m[u])), max(shift, abs(b[u]))
                start_sum += n[u] * x0
                sn[u], sm[u], sb[u] = back * x0, zero, zero
                gn[u], gm[u], gb[u] = zero, zero, zero
            pair[0], pair[1] = start_sum, zero
            sums(pair, scratch, thread)
            kappa = pair[0]
            seen_loss, by_c, right = zero, zero, zero
            for t in range(steps):
                reach = abs(kappa) * steepest + shift
                apart, target, worth = kappa - kappa_star, load(answer, t), load(weight, t)
                if reach <= small:
                    of_loss, by_z, is_right = activate_small(m, n, b, kappa, c, apart, target, worth, cuts, phi, pair)
                elif reach <= moderate:
                    of_loss, by_z, is_right = activate_moderate(
                        m, n, b, kappa, c, apart, target, worth, cuts, phi, pair
                    )  # fmt: skip
                else:
                    of_loss, by_z, is_right = activate(m, n, b, kappa, c, apart, target, worth, cuts, phi, pair)
                sums(pair, scratch, thread)
                a = leak + alpha * pair[1]
                seen_loss += of_loss
                right += load(counts, t) * is_right
                by_c += by_z * apart
                by_kappa = c * by_z
                for u in range(held):
                    e = one - phi[u] * phi[u]
                    gn[u] += by_kappa * sn[u]
                    gb[u] += by_kappa * sb[u]
                    gm[u] += by_kappa * sm[u]
                    sn[u] = a * sn[u] + phi[u]
                    sb[u] = a * sb[u] + e
                    sm[u] = a * sm[u] + kappa * e
                kappa = leak * kappa + alpha * pair[0]
            apart = kappa - kappa_star
            of_loss, by_z, is_right = compare(c * apart, load(answer, steps), load(weight, steps), cuts, zero)
            seen_loss += of_loss
            right += load(counts, steps) * is_right
            by_c += by_z * apart
            by_kappa = c * by_z
            for u in range(held):
                gn[u] += by_kappa * sn[u]
                gb[u] += by_kappa * sb[u]
                gm[u] += by_kappa * sm[u]
            seen_loss += kappa - kappa  # NaN where the latent has overflowed
            pair[0], pair[1] = zero, zero
            for u in range(held):
                gm[u], gb[u], gn[u] = alpha * n[u] * gm[u], alpha * n[u] * gb[u], alpha * gn[u]
                if train_m:
                    pair[0] += gm[u] * gm[u]
                if train_n:
                    pair[0] += gn[u] * gn[u]
                if train_b:
                    pair[0] += gb[u] * gb[u]
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
                    copy(snapshots[saved], w, m, n, b, c, lane)
                saved += 1
            how = (first, second, w, moving, *step_of(eta, corrections, epoch - start))
            changed = zero
            if running and not bad:
                for u in range(held):
                    i = u * lanes + lane
                    if i < units or not remembers:  # beyond, gradients are zero
                        if train_m:
                            m[u], changed = move(m[u], factor * gm[u], changed, at_m + i, how)
                        if train_n:
                            n[u], changed = move(n[u], factor * gn[u], changed, at_n + i, how)
                        if train_b:
                            b[u], changed = move(b[u], factor * gb[u], changed, at_b + i, how)
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
            copy(state, w, m, n, b, c, lane)
            for k in range(saved, kept.size if kept[0] >= 0 else 0):
                copy(snapshots[k], w, m, n, b, c, lane)
            if lane == 0:
                end(history, events, now, w, recorded, records.size, marks, seen)

    return train
