"""Gradient descent on rank-one networks, compiled: one call does many epochs without leaving the kernel.

The mathematics is that of ``training/reference.py`` on the latent (theory: the latents of ``W = m n^T`` close on
themselves). With ``phi_i[t] = tanh(m_i kappa[t] + b_i)``, ``e_i = 1 - phi_i**2`` and ``alpha = dt / tau``::

    kappa[t+1] = (1 - alpha) kappa[t] + alpha sum_i n_i phi_i[t]            kappa[0] = sum_i n_i x_i[0]
    lambda[t]  = dL/dkappa[t] + lambda[t+1] (1 - alpha + alpha sum_i n_i m_i e_i[t])
    dL/dn_i = sum_t alpha lambda[t+1] phi_i[t] + lambda[0] x_i[0]
    dL/db_i = n_i sum_t alpha lambda[t+1] e_i[t]
    dL/dm_i = n_i sum_t alpha lambda[t+1] kappa[t] e_i[t]

Two layouts of the same operations:

* :func:`networks_across_lanes`: one network per lane. No shuffles and no padding of units, but the activations of
a block
  (steps x units x lanes) fill the second-level cache. The faster one for many networks.
* :func:`units_across_lanes`: one network, its units across lanes. Everything stays in the first-level cache; each
step ends in
  two sums over lanes. The faster one for few networks.

A network's bits do not depend on the layout, nor on the networks beside it: a sum over units is always ``lanes``
partial sums (unit i goes to partial ``i mod lanes``, in the order of i) and then a tree over the partials.

Conventions shared by both functions ------------------------------------ ``state`` is flat: the planes m, n, b and
x[0], each ``units x lanes``. ``constants`` holds alpha. ``events`` has a row for each name in :data:`EVENTS` and
``now`` one for each in :data:`QUANTITIES`, with a column per network. ``history`` is ``(recorded epochs,
len(QUANTITIES), networks)``, ``snapshots`` is ``(checkpoints, flat parameters)``. ``cursor`` holds the next index
into ``record_epochs`` and ``snapshot_epochs``. Epoch k is evaluated after k updates; the call does epochs ``start``
to ``stop - 1``, stops early when every network is finished, and returns the next epoch to do.
"""

from __future__ import annotations

import math

from numba import njit

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.elementary import MODERATE, logistic, tanh, tanh_of_moderate
from ghostpoint.numerics.simd import (
    any_nonzero,
    fma,
    full,
    greater,
    lanes,
    load,
    maximum,
    pointer,
    select,
    splat,
    store,
    unequal,
)
from ghostpoint.training.kernels.epoch import EVENTS, QUANTITIES, note
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

__all__ = ["EVENTS", "QUANTITIES", "add_products", "mixed", "networks_across_lanes"]

def _make_step(bounded_tanh):
    """The activations of one step and, in ``parts``, the partial sums of n phi and n m e, for :func:`_tree`.

    Two partial sums at a time: their units are independent, which hides the latency of the division.
    """

    @njit(inline="always")
    def step(m, n, b, nm, kappa, activations, at, parts, partials, width):
        zero, one = full(m, 0.0), full(m, 1.0)
        for p in range(0, width, 2):
            u, v, end = partials[p] * width, partials[p + 1] * width, partials[p + 2] * width
            total_u, bend_u, total_v, bend_v = zero, zero, zero, zero
            for k in range(0, end - v, width):
                x = fma(load(m, u + k), kappa, load(b, u + k))
                y = fma(load(m, v + k), kappa, load(b, v + k))
                x, y = bounded_tanh(x), bounded_tanh(y)
                store(activations, at + u + k, x)
                store(activations, at + v + k, y)
                total_u = fma(load(n, u + k), x, total_u)
                total_v = fma(load(n, v + k), y, total_v)
                bend_u = fma(load(nm, u + k), fma(-x, x, one), bend_u)
                bend_v = fma(load(nm, v + k), fma(-y, y, one), bend_v)
            for s in range(u + end - v, v, width):  # the first may have one unit more
                x = bounded_tanh(fma(load(m, s), kappa, load(b, s)))
                store(activations, at + s, x)
                total_u = fma(load(n, s), x, total_u)
                bend_u = fma(load(nm, s), fma(-x, x, one), bend_u)
            store(parts, p * width, total_u)
            store(parts, (p + 1) * width, total_v)
            store(parts, (width + p) * width, bend_u)
            store(parts, (width + p + 1) * width, bend_v)

    return step


_step, _step_of_moderate = _make_step(tanh), _make_step(tanh_of_moderate)


@njit(inline="always")
def _gradient(s, n, x0, activations, weight, weighted_path, adjoint, dm, dn, db, plane, steps, stride):
    """The gradient of the unit at ``s``; the weights of step t are at ``t stride``."""
    gn, gb, gm = full(n, 0.0), full(n, 0.0), full(n, 0.0)
    one = full(n, 1.0)
    for t in range(steps):
        w, wk = load(weight, t * stride), load(weighted_path, t * stride)
        x = load(activations, t * plane + s)
        e = fma(-x, x, one)
        gn = fma(w, x, gn)
        gb = fma(w, e, gb)
        gm = fma(wk, e, gm)
    store(dn, s, fma(adjoint, load(x0, s), gn))
    store(db, s, load(n, s) * gb)
    store(dm, s, load(n, s) * gm)


@njit(inline="always")
def _two_gradients(u, v, n, x0, activations, weight, weighted_path, adjoint, dm, dn, db, plane, steps, stride):
    """The same for two units at once: six chains of sums in flight in place of three."""
    un, ub, um = full(n, 0.0), full(n, 0.0), full(n, 0.0)
    vn, vb, vm = full(n, 0.0), full(n, 0.0), full(n, 0.0)
    one = full(n, 1.0)
    for t in range(steps):
        w, wk = load(weight, t * stride), load(weighted_path, t * stride)
        x, y = load(activations, t * plane + u), load(activations, t * plane + v)
        e, f = fma(-x, x, one), fma(-y, y, one)
        un, vn = fma(w, x, un), fma(w, y, vn)
        ub, vb = fma(w, e, ub), fma(w, f, vb)
        um, vm = fma(wk, e, um), fma(wk, f, vm)
    store(dn, u, fma(adjoint, load(x0, u), un))
    store(db, u, load(n, u) * ub)
    store(dm, u, load(n, u) * um)
    store(dn, v, fma(adjoint, load(x0, v), vn))
    store(db, v, load(n, v) * vb)
    store(dm, v, load(n, v) * vm)


@njit(inline="always")
def _adjoint(weight, carried, slope, path, alpha, last, width):
    """lambda[0], from the derivatives ``weight`` by kappa up to step ``last``, which becomes alpha lambda[t+1].

    ``carried`` becomes that times kappa[t].
    """
    adjoint = load(weight, last * width)
    for t in range(last, -1, -1):
        if t < last:
            adjoint = fma(adjoint, load(slope, (t + 1) * width), load(weight, t * width))
        scaled = alpha * adjoint
        store(weight, t * width, scaled)
        store(carried, t * width, scaled * load(path, t * width))
    return adjoint * load(slope, 0)


@njit(inline="always")
def _gradients(partials, n, x0, activations, weight, carried, adjoint, dm, dn, db, plane, steps, width):
    """The gradient of every unit."""
    for p in range(0, width, 2):
        u, v, end = partials[p] * width, partials[p + 1] * width, partials[p + 2] * width
        for k in range(0, end - v, width):
            _two_gradients(
                u + k, v + k, n, x0, activations, weight, carried, adjoint, dm, dn, db, plane, steps, width
            )  # fmt: skip
        for s in range(u + end - v, v, width):  # the first partial sum of the two may have one unit more
            _gradient(s, n, x0, activations, weight, carried, adjoint, dm, dn, db, plane, steps, width)


@njit
def _limit(
    crossings, marks, region, seen, confidence, threshold, trainable, rate, partials, n, x0, activations, path, slope,
    logits, steps, pull, carried, alpha, dc, dm, dn, db, em, en, eb, parts, lane_values, plane,
):  # fmt: skip
    """The factors of the updates, to ``lane_values[4 lanes :]``, which begins with the losses and squared norms.

    Where the region splits (one crossing only): the ratios of the lengths there, and from ``lane_values[5 lanes :]``
    what the gradients of the loss and of the crossing are multiplied by, and the latter's derivative by the confidence.
    """
    width = lanes(path)
    splitting, row = splits(crossings, region), GRAM + 2 * crossings.shape[0]
    zero = full(path, 0.0)
    scales = pointer(lane_values, 4 * width)
    for i in range(width):
        far = rate[i] * math.sqrt(lane_values[width + i])
        scales[i] = hazard(region, math.sqrt(lane_values[width + i]), far) if region[7] < math.inf else math.inf
        if crossings.shape[0] == 0:
            scales[i] = min(scales[i], 1.0)
    for k in range(crossings.shape[0]):
        last = 0
        for t in range(steps):
            store(pull, t * width, zero)
        for i in range(width):
            found = pointer(seen, (k * width + i) * row)
            measure(crossings, marks, k, 0, pointer(logits, i), 0, width, found)
            first, second = int(found[3]), int(found[5])
            pull[first * width + i] = found[4] * confidence[i]
            pull[second * width + i] += found[6] * confidence[i]
            lane_values[2 * width + i] = 0
            lane_values[3 * width + i] = 0
            if trainable[3]:
                by_c = found[4] * (path[(first + 1) * width + i] - threshold[i])
                by_c += found[6] * (path[(second + 1) * width + i] - threshold[i])
                lane_values[2 * width + i] = by_c
            last = max(last, second)
        by_c = load(lane_values, 2 * width)
        store(lane_values, 7 * width, by_c)
        adjoint = _adjoint(pull, carried, slope, path, alpha, last, width)
        _gradients(partials, n, x0, activations, pull, carried, adjoint, em, en, eb, plane, last + 1, width)
        for p in range(width):
            steep, along = zero, zero
            for s in range(partials[p] * width, partials[p + 1] * width, width):
                steep = add_products(steep, em, en, eb, em, en, eb, s, trainable)
                along = add_products(along, em, en, eb, dm, dn, db, s, trainable)
            store(parts, p * width, steep)
            store(parts, (width + p) * width, along)
        _tree(parts, width)
        steep, along = load(parts, 0), load(parts, width * width)
        if trainable[3]:
            steep, along = fma(by_c, by_c, steep), fma(by_c, dc, along)
        store(lane_values, 2 * width, steep)
        store(lane_values, 3 * width, along)
        for i in range(width):
            norm = math.sqrt(lane_values[width + i])
            far = rate[i] * norm
            found = pointer(seen, (k * width + i) * row)
            if splitting:
                found[GRAM] = lane_values[2 * width + i]
                found[BY_LOSS] = lane_values[3 * width + i]
                found[ALONG] = -rate[i] * found[BY_LOSS]
                most, ratio, _ = split(region, crossings, found, row, float(lane_values[i]), norm, far, False)
                scales[i] = ratio
                scales[width + i] = most
                scales[2 * width + i] = -found[WEIGHT] / rate[i] if found[WEIGHT] != 0 else 0.0
                continue
            most = allowed(
                region, found, crossings[k, 4], float(lane_values[i]),
                math.sqrt(lane_values[2 * width + i]), far, rate[i] * lane_values[3 * width + i], False,
            )  # fmt: skip
            scales[i] = min(scales[i], most)


@njit(inline="always")
def mixed(most, gradient, weight, other):
    """``most gradient + weight other``, and not a bit else where the weight is 0."""
    part = most * gradient
    return select(unequal(weight, weight - weight), fma(weight, other, part), part)


@njit(inline="always")
def add_products(part, am, an, ab, bm, bn, bb, s, trainable):
    """``part`` plus the products of the trainable gradients of the unit at ``s``."""
    if trainable[0]:
        part = fma(load(am, s), load(bm, s), part)
    if trainable[1]:
        part = fma(load(an, s), load(bn, s), part)
    if trainable[2]:
        part = fma(load(ab, s), load(bb, s), part)
    return part


@compiled
def networks_across_lanes(
    state, confidence, threshold, rate, trainable, constants, targets, weights, counted, chance_accuracy, solved_loss,
    crossings, marks, region, units, partials, steps, start, stop, record_epochs, snapshot_epochs, cursor, history,
    snapshots, events, acted, now, seen, work, activations,
):  # fmt: skip
    """Train a block of ``lanes`` networks; ``partials[p] : partials[p + 1]`` are the units of partial sum p."""
    width = lanes(state)
    plane = units * width
    m, n, b, x0 = pointer(state, 0), pointer(state, plane), pointer(state, 2 * plane), pointer(state, 3 * plane)
    nm, dm, dn, db = pointer(work, 0), pointer(work, plane), pointer(work, 2 * plane), pointer(work, 3 * plane)
    rest, at = pointer(work, 4 * plane), 4 * plane
    path, at = pointer(work, at), at + (steps + 1) * width
    slope, at = pointer(work, at), at + steps * width
    weight, at = pointer(work, at), at + steps * width
    parts, at = pointer(work, at), at + 2 * width * width
    carried, at = pointer(work, at), at + steps * width
    logits, at = pointer(work, at), at + steps * width
    pull, at = pointer(work, at), at + steps * width
    lane_values, at = pointer(work, at), at + 8 * width
    em, en, eb = pointer(work, at), pointer(work, at + plane), pointer(work, at + 2 * plane)
    activations_, partials_ = pointer(activations, 0), pointer(partials, 0)
    trainable_ = trainable[0], trainable[1], trainable[2], trainable[3]
    acting, splitting = acts(crossings, region), splits(crossings, region)
    alpha = splat(constants[0])
    zero, one = full(state, 0.0), full(state, 1.0)
    leak = one - alpha
    threshold_ = load(threshold, 0)
    n_counted = zero
    for t in range(steps):
        if counted[t]:
            n_counted = n_counted + one
    for epoch in range(start, stop):
        # forward
        steepest, shift = zero, zero  # bounds of |m| and |b|
        for p in range(width):
            total = zero
            for s in range(partials_[p] * width, partials_[p + 1] * width, width):
                store(nm, s, load(n, s) * load(m, s))
                total = fma(load(n, s), load(x0, s), total)
                steepest = maximum(steepest, maximum(load(m, s), -load(m, s)))
                shift = maximum(shift, maximum(load(b, s), -load(b, s)))
            store(parts, p * width, total)
            store(parts, (width + p) * width, zero)
        _tree(parts, width)
        kappa = load(parts, 0)
        store(path, 0, kappa)
        for t in range(steps):
            reach = fma(maximum(kappa, -kappa), steepest, shift)
            if any_nonzero(greater(reach, full(state, MODERATE))):
                _step(m, n, b, nm, kappa, activations_, t * plane, parts, partials_, width)
            else:
                _step_of_moderate(m, n, b, nm, kappa, activations_, t * plane, parts, partials_, width)
            _tree(parts, width)
            kappa = fma(alpha, load(parts, 0), leak * kappa)
            store(path, (t + 1) * width, kappa)
            store(slope, t * width, fma(alpha, load(parts, width * width), leak))
        # loss, and its derivative by every kappa
        c = load(confidence, 0)
        loss, dc, correct = zero, zero, zero
        for t in range(steps):
            d = load(path, (t + 1) * width) - threshold_
            store(logits, t * width, c * d)
            o, rest_of_o = logistic(c * d), logistic(-(c * d))  # 1 - o itself would lose its digits near 1
            error = (one - splat(targets[t])) * o - splat(targets[t]) * rest_of_o
            weighted = splat(weights[t]) * error
            loss = fma(weighted, error, loss)
            dz = (weighted + weighted) * (o * rest_of_o)
            dc = fma(dz, d, dc)
            store(weight, t * width, dz * c)
            if counted[t]:
                on = greater(o, full(state, 0.5))
                correct = correct + (on if targets[t] > 0.5 else one - on)
        adjoint = _adjoint(weight, carried, slope, path, alpha, steps - 1, width)
        _gradients(partials_, n, x0, activations_, weight, carried, adjoint, dm, dn, db, plane, steps, width)
        for p in range(width):
            part = zero
            for s in range(partials_[p] * width, partials_[p + 1] * width, width):
                part = add_products(part, dm, dn, db, dm, dn, db, s, trainable_)
            store(parts, p * width, part)
            store(parts, (width + p) * width, zero)
        _tree(parts, width)
        square = load(parts, 0)
        if trainable_[3]:
            square = fma(dc, dc, square)
        step_size = load(rate, 0)
        if acting:
            store(lane_values, 0, loss)
            store(lane_values, width, square)
            _limit(
                crossings, marks, region, seen, confidence, threshold, trainable_, rate, partials_, n, x0, activations_,
                path, slope, logits, steps, pull, carried, alpha, dc, dm, dn, db, em, en, eb, parts, lane_values, plane,
            )  # fmt: skip
            step_size = step_size * load(lane_values, 4 * width)
        else:
            store(lane_values, 4 * width, one)
        # what was seen before the update
        store(rest, 0, loss)  # the path is not needed any more
        store(rest, width, square)
        store(rest, 2 * width, correct / n_counted)
        for i in range(width):
            now[0, i] = rest[i]
            now[1, i] = math.sqrt(rest[width + i])
            now[2, i] = rest[2 * width + i]
            now[3, i] = confidence[i]
            now[4, i] = lane_values[4 * width + i]
        if cursor[0] < record_epochs.size and record_epochs[cursor[0]] == epoch:
            history[cursor[0]] = now
            cursor[0] += 1
        if cursor[1] < snapshot_epochs.size and snapshot_epochs[cursor[1]] == epoch:
            snapshots[cursor[1], : 3 * plane] = state[: 3 * plane]
            snapshots[cursor[1], 3 * plane :] = confidence
            cursor[1] += 1
        # update; a network whose loss, gradient or step is not finite keeps its last parameters
        reach = load(rate, 0)
        size = loss + square + reach * (reach * square) + step_size * (step_size * square)
        bad = unequal(size - size, zero)
        if splitting:
            step_size = load(rate, 0)
            most, weight_of_e = load(lane_values, 5 * width), load(lane_values, 6 * width)
            dc = mixed(most, dc, weight_of_e, load(lane_values, 7 * width))
            for s in range(0, plane, width):
                store(dm, s, mixed(most, load(dm, s), weight_of_e, load(em, s)))
                store(dn, s, mixed(most, load(dn, s), weight_of_e, load(en, s)))
                store(db, s, mixed(most, load(db, s), weight_of_e, load(eb, s)))
        changed = zero
        if trainable_[3]:
            new = select(bad, c, fma(-step_size, dc, c))
            changed = maximum(changed, unequal(new, c))
            store(confidence, 0, new)
        for s in range(0, plane, width):
            if trainable_[0]:
                old = load(m, s)
                new = select(bad, old, fma(-step_size, load(dm, s), old))
                changed = maximum(changed, unequal(new, old))
                store(m, s, new)
            if trainable_[1]:
                old = load(n, s)
                new = select(bad, old, fma(-step_size, load(dn, s), old))
                changed = maximum(changed, unequal(new, old))
                store(n, s, new)
            if trainable_[2]:
                old = load(b, s)
                new = select(bad, old, fma(-step_size, load(db, s), old))
                changed = maximum(changed, unequal(new, old))
                store(b, s, new)
        store(rest, 0, changed)
        store(rest, width, bad)
        finished = True
        for i in range(width):
            touched = now[4, i] != 1
            if splitting:
                touched = touched or lane_values[5 * width + i] != 1 or lane_values[6 * width + i] != 0
            if touched and rest[width + i] == 0 and events[3, i] < 0 and events[4, i] < 0:
                acted[i] += 1
            done = note(events, now, i, epoch, rest[i] != 0, rest[width + i] != 0, chance_accuracy, solved_loss)
            finished = finished and done
        if finished:
            return epoch + 1
    return stop


@njit(inline="always")
def _tree(parts, width):
    """Sum ``parts[0:width]`` into ``parts[0]`` and ``parts[width:2 width]`` into ``parts[width]`` as ``tree_sum``
    does."""
    half = width // 2
    while half > 0:
        for p in range(half):
            a, b = p * width, (p + half) * width
            store(parts, a, load(parts, a) + load(parts, b))
            a, b = (width + p) * width, (width + p + half) * width
            store(parts, a, load(parts, a) + load(parts, b))
        half //= 2
