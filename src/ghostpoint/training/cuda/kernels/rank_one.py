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

A trust region watches one crossing at most. The gradient of its time, or of the readout's peak, is
taken from the same derivatives: it is ``alpha c (v S[t] + w S[t+1])`` with the two readings' v and
w, known when kappa[t+1] is.

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
from ghostpoint.training.cuda.kernels.restraint import MADE, MOST, SCALE, TOUCHED, judged_bad, restrainer
from ghostpoint.training.cuda.kernels.rules import direction
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.optimizers import SGD
from ghostpoint.training.kernels.trust import ALONG, BY_LOSS, GRAM, WEIGHT, row_size

#: units that a thread holds at most
MOST_REGISTERS = 13
#: steps of a trial at most, whose targets are in shared memory
MOST_STEPS = 512
#: registers that a thread may use: twelve warps a processor, or eight where a remedy keeps a second
#: gradient
REGISTERS, REGISTERS_OF_REMEDY = 168, 255


def registers(spec: Specification) -> int | None:
    """Registers of a thread at most."""
    return REGISTERS_OF_REMEDY if spec.acts else REGISTERS


def kernel(spec: Specification) -> Any:
    """The kernel's Python function, for ``cuda.jit``."""
    real, units, lanes = spec.real, spec.units, spec.lanes
    held, readings = -(-units // lanes), MOST_STEPS + 1
    in_warp = WARP // lanes
    at_m, at_n, at_b, at_c = (spec.place(part) for part in ("m", "n", "b", "confidence"))
    train_m, train_n, train_b, train_c = (spec.trains(part) for part in ("m", "n", "b", "confidence"))
    may_freeze, remembers = spec.may_freeze, spec.rule != SGD
    zero, one, small, moderate = real(0), real(1), real(SMALL), real(MODERATE)
    tanh, tanh_of_small, tanh_of_moderate, _ = functions(real)
    compare = judge(real, spec.activation, spec.cuts)
    n_events, n_quantities = frame.N_EVENTS, spec.quantities
    limit, step_of, move = frame.limiter(spec), frame.stepper(spec), frame.mover(spec)
    sums, everyone = total(2, lanes), total(1, WARP)
    scratch_shape = scratch_size(WARP, 2)
    acts, watched, crossing_row, second_gradient = spec.acts, spec.watched, row_size(1), held if spec.watched else 1
    restrain, judged, rule = restrainer(spec), judged_bad(real), direction(spec.rule, real)

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

    def train(networks, asked, settings, watch, recorder, work):
        state, first, second, rate, initial, threshold, _, _, order = networks
        _, targets, weights, counted, n_counted, cuts = asked
        corrections, numbers, solved, _, steps, start, stop = settings
        records, kept, history, snapshots, events, now = recorder
        thread = cuda.threadIdx.x
        lane = thread % lanes
        place = cuda.blockIdx.x * in_warp + thread // lanes
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
        em, en = cuda.local.array(second_gradient, real), cuda.local.array(second_gradient, real)
        eb = cuda.local.array(second_gradient, real)
        all_found = cuda.shared.array((in_warp, crossing_row), np.float64)
        all_made = cuda.shared.array((in_warp, MADE), np.float64)
        found, made = all_found[thread // lanes], all_made[thread // lanes]
        opens, closes, logit, sign = 0, 0, 0.0, 0.0
        if watched:
            opens, closes = watch.crossings[0, 2], watch.crossings[0, 3]
            logit, sign = watch.marks[0, 0], watch.marks[0, 1]
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
            # of the crossing: sign (z - logit) of the reading before, time, peak, derivative by c
            crossed, low, time, peak, e_c = False, 0.0, 0.0, 0.0, zero
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
                following = leak * kappa + alpha * pair[0]
                taken, by_first, by_second = False, zero, zero
                if watched:
                    # readings t - 1 and t, of kappa[t] and kappa[t+1], as ``trust.measure``
                    high = sign * (np.float64(c * (following - kappa_star)) - logit)
                    if opens <= t and t < closes and not crossed:
                        if t > opens and low <= 0 and high > 0:
                            rise = high - low
                            crossed, taken, time = True, True, t - opens - low / rise
                            by_first, by_second = real(-sign * high / (rise * rise)), real(sign * low / (rise * rise))
                        elif t == opens or high > peak:
                            taken, peak, by_second = True, high, real(sign)
                    low = high
                    if taken:
                        e_c = by_first * apart + by_second * (following - kappa_star)
                for u in range(held):
                    e = one - phi[u] * phi[u]
                    gn[u] += by_kappa * sn[u]
                    gb[u] += by_kappa * sb[u]
                    gm[u] += by_kappa * sm[u]
                    if watched and taken:
                        en[u], eb[u], em[u] = by_first * sn[u], by_first * sb[u], by_first * sm[u]
                    sn[u] = a * sn[u] + phi[u]
                    sb[u] = a * sb[u] + e
                    sm[u] = a * sm[u] + kappa * e
                    if watched and taken:
                        en[u] += by_second * sn[u]
                        eb[u] += by_second * sb[u]
                        em[u] += by_second * sm[u]
                kappa = following
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
            root, by = step_of(eta, corrections, epoch - start)
            if acts:
                if watched:
                    # e, |e|^2 and e . g of what is trained
                    pair[0], pair[1] = zero, zero
                    for u in range(held):
                        em[u] = alpha * c * n[u] * em[u] if train_m else zero
                        eb[u] = alpha * c * n[u] * eb[u] if train_b else zero
                        en[u] = alpha * c * en[u] if train_n else zero
                        pair[0] += em[u] * em[u] + en[u] * en[u] + eb[u] * eb[u]
                        pair[1] += em[u] * gm[u] + en[u] * gn[u] + eb[u] * gb[u]
                    e_c = e_c if train_c else zero
                    if lane == 0:
                        pair[0] += e_c * e_c
                        pair[1] += e_c * by_c
                    sums(pair, scratch, thread)
                    if lane == 0:
                        found[0], found[1], found[2] = 1.0 if crossed else 0.0, time, peak
                        found[GRAM], found[BY_LOSS] = pair[0], pair[1]
                # the direction q takes the place of g; g . q and |q|^2
                pair[0], pair[1] = zero, zero
                if running and not bad:
                    for u in range(held):
                        i = u * lanes + lane
                        if i < units or not remembers:
                            if train_m:
                                q = rule(factor * gm[u], first, second, w, at_m + i, moving, root)
                                pair[0], pair[1], gm[u] = pair[0] + gm[u] * q, pair[1] + q * q, q
                            if train_n:
                                q = rule(factor * gn[u], first, second, w, at_n + i, moving, root)
                                pair[0], pair[1], gn[u] = pair[0] + gn[u] * q, pair[1] + q * q, q
                            if train_b:
                                q = rule(factor * gb[u], first, second, w, at_b + i, moving, root)
                                pair[0], pair[1], gb[u] = pair[0] + gb[u] * q, pair[1] + q * q, q
                    if train_c and lane == 0:
                        q = rule(factor * by_c, first, second, w, at_c, moving, root)
                        pair[0], pair[1], by_c = pair[0] + by_c * q, pair[1] + q * q, q
                sums(pair, scratch, thread)
                ascending, length = pair[0] < zero, -by * real(math.sqrt(pair[1]))
                pair[0], pair[1] = zero, zero
                if watched:
                    for u in range(held):
                        pair[0] += em[u] * gm[u] + en[u] * gn[u] + eb[u] * gb[u]
                    if lane == 0:
                        pair[0] += e_c * by_c
                sums(pair, scratch, thread)
                if lane == 0:
                    if watched:
                        found[ALONG] = by * pair[0]
                    restrain(watch, found, made, seen[0], seen[1], length, ascending)
                barrier()
                most, along = real(made[MOST]), real(found[WEIGHT]) / by if watched else zero
                if running:
                    seen[4] = real(made[SCALE])
                    bad = judged(bad, made[SCALE], length)
                    if inside and lane == 0 and made[TOUCHED] > 0 and not bad:
                        watch.acted[w] += 1
                # what is left of q, and what is added to it along e
                factor = one
                for u in range(held):
                    gm[u], gn[u], gb[u] = most * gm[u], most * gn[u], most * gb[u]
                    if watched and along != zero:
                        gm[u] += along * em[u]
                        gn[u] += along * en[u]
                        gb[u] += along * eb[u]
                by_c = most * by_c
                if watched and along != zero:
                    by_c += along * e_c
                barrier()
            if recorded < records.size and records[recorded] == epoch:
                if inside and lane == 0:
                    write(history, w, recorded, seen)
                recorded += 1
            if saved < kept.size and kept[saved] == epoch:
                if inside:
                    copy(snapshots[saved], w, m, n, b, c, lane)
                saved += 1
            how = (first, second, w, moving, root, by)
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
