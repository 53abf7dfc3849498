"""``rank_one.units_across_lanes``: one rank-one network, its units across lanes. See ``rank_one.py``."""

from __future__ import annotations

import math

from numba import njit

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.elementary import logistic, tanh
from ghostpoint.numerics.simd import (
    any_nonzero,
    fma,
    full,
    lanes,
    load,
    maximum,
    pointer,
    fma as scalar_fma,
    splat,
    store,
    tree_sum,
    unequal,
)
from ghostpoint.training.kernels.epoch import note
from ghostpoint.training.kernels.rank_one import add_products, mixed
from ghostpoint.training.kernels.trust import (
    ALONG,
    BY_LOSS,
    GRAM,
    WEIGHT,
    acts,
    allowed,
    hazard,
    measure,
    split,
    splits,
)

__all__ = ["units_across_lanes"]


@njit(inline="always")
def _adjoint(weight, carried, slope, path, alpha, last):
    """As for networks across lanes."""
    adjoint = weight[last]
    for t in range(last, -1, -1):
        if t < last:
            adjoint = scalar_fma(adjoint, slope[t + 1], weight[t])
        weight[t] = alpha * adjoint
        carried[t] = weight[t] * path[t]
    return adjoint * slope[0]


@njit(inline="always")
def _gradients(n, x0, activations, weight, carried, adjoint, dm, dn, db, units, steps):
    """The gradient of every unit."""
    width = lanes(n)
    zero, one = full(n, 0.0), full(n, 1.0)
    for s in range(0, units, width):
        gn, gb, gm = zero, zero, zero
        for t in range(steps):
            phi = load(activations, t * units + s)
            w = weight[t]
            e = fma(-phi, phi, one)
            gn = fma(splat(w), phi, gn)
            gb = fma(splat(w), e, gb)
            gm = fma(splat(carried[t]), e, gm)
        store(dn, s, fma(splat(adjoint), load(x0, s), gn))
        store(db, s, load(n, s) * gb)
        store(dm, s, load(n, s) * gm)


@njit
def _limit(
    crossings, marks, region, seen, c, threshold, trainable, rate, n, x0, activations, path, slope, logits, pull,
    carried, alpha, loss, square, dc, dm, dn, db, em, en, eb, units, steps,
):  # fmt: skip
    """The factor of the update; where the region splits (one crossing only), the ratio of the lengths.

    Then ``seen`` goes on with what the gradients are multiplied by and the crossing's derivative by the confidence.
    """
    width = lanes(n)
    splitting, row = splits(crossings, region), GRAM + 2 * crossings.shape[0]
    norm = math.sqrt(square)
    far = rate[0] * norm
    scale = hazard(region, norm, far) if region[7] < math.inf else math.inf
    if crossings.shape[0] == 0:
        scale = min(scale, 1.0)
    for k in range(crossings.shape[0]):
        found = pointer(seen, k * row)
        measure(crossings, marks, k, 0, pointer(logits, 0), 0, 1, found)
        first, last = int(found[3]), int(found[5])
        for t in range(steps):
            pull[t] = 0
        pull[first] = found[4] * c
        pull[last] += found[6] * c
        adjoint = _adjoint(pull, carried, slope, path, alpha, last)
        _gradients(n, x0, activations, pull, carried, adjoint, em, en, eb, units, last + 1)
        steep, along = full(n, 0.0), full(n, 0.0)
        for s in range(0, units, width):
            steep = add_products(steep, em, en, eb, em, en, eb, s, trainable)
            along = add_products(along, em, en, eb, dm, dn, db, s, trainable)
        slope_square, product = tree_sum(steep), tree_sum(along)
        if trainable[3]:
            # through the place of the weights, so that it is rounded as there
            by_c = found[4] * (path[first + 1] - threshold[0])
            by_c += found[6] * (path[last + 1] - threshold[0])
            pull[0] = by_c
            slope_square = scalar_fma(pull[0], pull[0], slope_square)
            product = scalar_fma(pull[0], dc, product)
        if splitting:
            found[GRAM], found[BY_LOSS], found[ALONG] = slope_square, product, -rate[0] * product
            most, scale, _ = split(region, crossings, found, row, float(loss), norm, far, False)
            found[GRAM], found[ALONG] = most, -found[WEIGHT] / rate[0] if found[WEIGHT] != 0 else 0.0
            found[BY_LOSS] = pull[0] if trainable[3] else 0.0
            continue
        most = allowed(
            region, found, crossings[k, 4], float(loss), math.sqrt(slope_square), far, rate[0] * product, False
        )
        scale = min(scale, most)
    return scale


@compiled
def units_across_lanes(
    state, confidence, threshold, rate, trainable, constants, targets, weights, counted, chance_accuracy, solved_loss,
    crossings, marks, region, units, partials, steps, start, stop, record_epochs, snapshot_epochs, cursor, history,
    snapshots, events, acted, now, seen, work, activations,
):  # fmt: skip
    """Train one network; ``units`` is padded with zeros to a whole number of vectors, ``partials`` is not used."""
    width = lanes(state)
    m, n, b, x0 = pointer(state, 0), pointer(state, units), pointer(state, 2 * units), pointer(state, 3 * units)
    nm, dm, dn, db = pointer(work, 0), pointer(work, units), pointer(work, 2 * units), pointer(work, 3 * units)
    padded, at = (steps + width - 1) // width * width, 4 * units
    path, at = (
        pointer(work, at),
        at + padded + 1,
    )  # path[t + 1] belongs to step t; the padding is never read for a result
    slope, at = pointer(work, at), at + padded
    weight, at = pointer(work, at), at + padded
    output, at = pointer(work, at), at + padded
    other, at = pointer(work, at), at + padded
    scratch, at = pointer(work, at), at + 1
    carried, at = pointer(work, at), at + padded
    logits, at = pointer(work, at), at + padded
    pull, at = pointer(work, at), at + padded
    em, en, eb = pointer(work, at), pointer(work, at + units), pointer(work, at + 2 * units)
    phi_ = pointer(activations, 0)
    trainable_ = trainable[0], trainable[1], trainable[2], trainable[3]
    acting, splitting = acts(crossings, region), splits(crossings, region)
    alpha = constants[0]
    zero, one = full(state, 0.0), full(state, 1.0)
    scratch[0] = 1
    unity = scratch[0]
    nothing = unity - unity
    leak = unity - alpha
    n_counted = nothing
    for t in range(steps):
        if counted[t]:
            n_counted += unity
    for t in range(padded + 1):
        path[t] = 0
    for epoch in range(start, stop):
        # forward
        total = zero
        for s in range(0, units, width):
            store(nm, s, load(n, s) * load(m, s))
            total = fma(load(n, s), load(x0, s), total)
        kappa = tree_sum(total)
        path[0] = kappa
        for t in range(steps):
            at = t * units
            everywhere = splat(kappa)
            total, bend = zero, zero
            for s in range(0, units, width):
                phi = tanh(fma(load(m, s), everywhere, load(b, s)))
                store(phi_, at + s, phi)
                total = fma(load(n, s), phi, total)
                bend = fma(load(nm, s), fma(-phi, phi, one), bend)
            kappa = scalar_fma(alpha, tree_sum(total), leak * kappa)
            path[t + 1] = kappa
            slope[t] = scalar_fma(alpha, tree_sum(bend), leak)
        # loss, and its derivative by every kappa
        c = confidence[0]
        for t in range(0, padded, width):
            z = splat(c) * (load(path, t + 1) - splat(threshold[0]))
            store(logits, t, z)
            store(output, t, logistic(z))
            store(other, t, logistic(-z))  # 1 - o itself would lose its digits near 1
        loss, dc, correct = nothing, nothing, nothing
        for t in range(steps):
            d = path[t + 1] - threshold[0]
            o, rest_of_o = output[t], other[t]
            error = (unity - targets[t]) * o - targets[t] * rest_of_o
            weighted = weights[t] * error
            loss = scalar_fma(weighted, error, loss)
            dz = (weighted + weighted) * (o * rest_of_o)
            dc = scalar_fma(dz, d, dc)
            weight[t] = dz * c
            if counted[t] and (o > 0.5) == (targets[t] > 0.5):
                correct += unity
        adjoint = _adjoint(weight, carried, slope, path, alpha, steps - 1)
        _gradients(n, x0, phi_, weight, carried, adjoint, dm, dn, db, units, steps)
        part = zero
        for s in range(0, units, width):
            part = add_products(part, dm, dn, db, dm, dn, db, s, trainable_)
        square = tree_sum(part)
        if trainable_[3]:
            square = scalar_fma(dc, dc, square)
        now[4, 0] = 1
        if acting:
            now[4, 0] = _limit(
                crossings, marks, region, seen, c, threshold, trainable_, rate, n, x0, phi_, path, slope, logits,
                pull, carried, alpha, loss, square, dc, dm, dn, db, em, en, eb, units, steps,
            )  # fmt: skip
        # what was seen before the update
        now[0, 0] = loss
        now[1, 0] = math.sqrt(square)
        now[2, 0] = correct / n_counted
        now[3, 0] = c
        if cursor[0] < record_epochs.size and record_epochs[cursor[0]] == epoch:
            history[cursor[0]] = now
            cursor[0] += 1
        if cursor[1] < snapshot_epochs.size and snapshot_epochs[cursor[1]] == epoch:
            snapshots[cursor[1], : 3 * units] = state[: 3 * units]
            snapshots[cursor[1], 3 * units] = c
            cursor[1] += 1
        # update; a network whose loss, gradient or step is not finite keeps its last parameters
        factor = rate[0] * now[4, 0]
        size = loss + square + rate[0] * (rate[0] * square) + factor * (factor * square)
        bad = size - size != 0
        changed = False
        if not bad:
            touched = now[4, 0] != 1
            if splitting:
                # through the place of the weights, so that they are rounded as there
                pull[0], pull[1], pull[2] = seen[BY_LOSS], seen[GRAM], seen[ALONG]
                touched = touched or pull[1] != 1 or pull[2] != 0
                factor = rate[0]
                most, weight_of_e = splat(pull[1]), splat(pull[2])
                dc = pull[1] * dc
                if pull[2] != 0:
                    dc = scalar_fma(pull[2], pull[0], dc)
                for s in range(0, units, width):
                    store(dm, s, mixed(most, load(dm, s), weight_of_e, load(em, s)))
                    store(dn, s, mixed(most, load(dn, s), weight_of_e, load(en, s)))
                    store(db, s, mixed(most, load(db, s), weight_of_e, load(eb, s)))
            if touched:
                acted[0] += 1
            step_size = splat(factor)
            differs = zero
            if trainable_[3]:
                confidence[0] = scalar_fma(-factor, dc, c)
                changed = confidence[0] != c
            for s in range(0, units, width):
                if trainable_[0]:
                    old = load(m, s)
                    new = fma(-step_size, load(dm, s), old)
                    differs = maximum(differs, unequal(new, old))
                    store(m, s, new)
                if trainable_[1]:
                    old = load(n, s)
                    new = fma(-step_size, load(dn, s), old)
                    differs = maximum(differs, unequal(new, old))
                    store(n, s, new)
                if trainable_[2]:
                    old = load(b, s)
                    new = fma(-step_size, load(db, s), old)
                    differs = maximum(differs, unequal(new, old))
                    store(b, s, new)
            changed = changed or any_nonzero(differs)
        if note(events, now, 0, epoch, changed, bad, chance_accuracy, solved_loss):
            return epoch + 1
    return stop
