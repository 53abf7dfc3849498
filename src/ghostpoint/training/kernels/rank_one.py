"""Gradient descent on rank-one networks, compiled: one call does many epochs without leaving the
kernel.

The mathematics is that of ``training/reference.py`` on the latent: ``W = m n^T`` with
``kappa = n^T x``. With
``phi_i[t] = tanh(m_i kappa[t] + b_i)``, ``e_i = 1 - phi_i**2`` and ``alpha = dt / tau``::

    kappa[t+1] = (1 - alpha) kappa[t] + alpha sum_i n_i phi_i[t],      kappa[0] = sum_i n_i x_i[0]
    o[t] = logistic(z[t]),   z[t] = c (kappa[t+1] - kappa*)
    lambda[t]  = dL/dkappa[t] + lambda[t+1] (1 - alpha + alpha sum_i n_i m_i e_i[t])
    dL/dn_i = sum_t alpha lambda[t+1] phi_i[t] + lambda[0] x_i[0]
    dL/db_i = n_i sum_t alpha lambda[t+1] e_i[t]
    dL/dm_i = n_i sum_t alpha lambda[t+1] kappa[t] e_i[t]

Two layouts of the same operations, from one source:

* :func:`networks_across_lanes`: one network per lane. No shuffles and no padding of units, but the
  rates of a block (steps x units x lanes) fill the second-level cache. The faster one for many
  networks.
* :func:`units_across_lanes`: one network, its units across lanes. Everything stays in the
  first-level cache; each step ends in two sums over lanes. The faster one for few networks.

What a network has one number of, such as kappa, is a vector in the first and a scalar in the
second; ``like`` is such a number, and :func:`~ghostpoint.numerics.simd.take` and ``put`` read and
write them. What has a value per unit is a vector in both. A network's bits depend neither on the
layout nor on the networks beside it: a sum over units is always ``lanes`` partial sums (unit i goes
to partial ``i mod lanes``, in the order of i) and then a tree over the partials. In the second
layout all units are in the first two lists of ``partials``, of which the second is empty.

``records.py`` says what the arguments hold; the units of the second layout are padded with zeros to
a whole number of vectors. Epoch k is evaluated after k updates; a call does epochs ``start`` to
``stop - 1``, stops early when every network is finished, and returns the next epoch to do.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from numba import njit
from numba.extending import overload

from ghostpoint.numerics.compiled_code import compiled, distinct
from ghostpoint.numerics.elementary import MODERATE, logistic, tanh, tanh_of_moderate
from ghostpoint.numerics.simd import (
    Vector,
    any_nonzero,
    columns,
    fma,
    full,
    greater,
    lanes,
    load,
    maximum,
    not_inlined,
    pointer,
    put,
    select,
    splat,
    store,
    take,
    tree_of_vectors,
    tree_sum,
    unequal,
)
from ghostpoint.training.kernels import epoch as codes
from ghostpoint.training.kernels.epoch import note, remember
from ghostpoint.training.kernels.trust import (
    ALONG,
    BY_LOSS,
    GRAM,
    HAZARD,
    WEIGHT,
    acts,
    allowed,
    hazard,
    measure,
    split,
    splits,
)

#: numbers of a network that scalar code reads: the loss, |g|^2, |e|^2 and e . g; the factor of the
#: update, what gradient and e are multiplied by where the region splits; dt/dc; accuracy, whether a
#: bit changed, whether bad
LOSS, SQUARE, STEEP, PRODUCT, SCALE, MOST, SHARE, BY_C, RIGHT, CHANGED, BAD = range(11)
VALUES = 16


class _Memory(NamedTuple):
    """Pointers to planes (a vector per unit, or per ``lanes`` units), to steps (a number each) and
    to scratch.
    """

    m: Any
    n: Any
    b: Any
    x0: Any
    nm: Any
    dm: Any
    dn: Any
    db: Any
    em: Any
    en: Any
    eb: Any
    rates: Any
    path: Any
    slope: Any
    weight: Any
    carried: Any
    logits: Any
    output: Any
    other: Any
    pull: Any
    parts: Any
    values: Any


def work_size(plane: int, steps: int, width: int, networks: int) -> int:
    """The number of elements of ``work``: planes, steps and the partial sums."""
    span = -(-steps * networks // width) * width
    return (7 + steps) * plane + 8 * span + (1 + 2 * width + VALUES) * width


def _total(parts, like):
    """The sum over all units from the partial sums: a tree over vectors, or over the lanes of the
    first.
    """
    raise TypeError("for compiled code")


def _anywhere(differs, like):
    """Per network whether any of its lanes is not zero."""
    raise TypeError("for compiled code")


@overload(_total)
def _typed_total(parts, like):
    if isinstance(like, Vector):
        return lambda parts, like: tree_of_vectors(parts)
    return lambda parts, like: tree_sum(load(parts, 0))


@overload(_anywhere)
def _typed_anywhere(differs, like):
    if isinstance(like, Vector):
        return lambda differs, like: differs
    return lambda differs, like: full(like, 1.0 if any_nonzero(differs) else 0.0)


def _make_step(bounded_tanh):
    """The rates phi of one step and, in ``parts``, the partial sums of n phi and n m e.

    Two partial sums at a time: their units are independent, which hides the latency of the
    division.
    """

    def step(memory, kappa, at, partials, groups):
        not_inlined()
        m, n, b, nm, rates, parts = memory.m, memory.n, memory.b, memory.nm, memory.rates, memory.parts
        width, zero, one = lanes(m), full(m, 0.0), full(m, 1.0)
        for p in range(0, groups, 2):
            u, v, end = partials[p] * width, partials[p + 1] * width, partials[p + 2] * width
            total_u, bend_u, total_v, bend_v = zero, zero, zero, zero
            for k in range(0, end - v, width):
                # phi = tanh(m kappa + b)
                x = fma(load(m, u + k), kappa, load(b, u + k))
                y = fma(load(m, v + k), kappa, load(b, v + k))
                x, y = bounded_tanh(x), bounded_tanh(y)
                store(rates, at + u + k, x)
                store(rates, at + v + k, y)
                # sum n phi, and sum n m e
                total_u = fma(load(n, u + k), x, total_u)
                total_v = fma(load(n, v + k), y, total_v)
                bend_u = fma(load(nm, u + k), fma(-x, x, one), bend_u)
                bend_v = fma(load(nm, v + k), fma(-y, y, one), bend_v)
            for s in range(u + end - v, v, width):  # the first may have one unit more
                x = bounded_tanh(fma(load(m, s), kappa, load(b, s)))
                store(rates, at + s, x)
                total_u = fma(load(n, s), x, total_u)
                bend_u = fma(load(nm, s), fma(-x, x, one), bend_u)
            store(parts, p * width, total_u)
            store(parts, (p + 1) * width, total_v)
            store(parts, (width + p) * width, bend_u)
            store(parts, (width + p + 1) * width, bend_v)

    return njit(distinct(step, bounded_tanh.__name__))


_step, _step_of_moderate = _make_step(tanh), _make_step(tanh_of_moderate)


@njit
def _adjoint(memory, weight, alpha, last, like):
    """lambda[0], from the derivatives ``weight`` by kappa up to step ``last``, which becomes alpha
    lambda[t+1].

    ``carried`` becomes that times kappa[t].
    """
    # lambda[t+1] = dL/dkappa[t+1] + lambda[t+2] dkappa[t+2]/dkappa[t+1]
    adjoint = take(weight, last, like)
    for t in range(last, -1, -1):
        if t < last:
            adjoint = fma(adjoint, take(memory.slope, t + 1, like), take(weight, t, like))
        scaled = alpha * adjoint
        put(weight, t, scaled)
        put(memory.carried, t, scaled * take(memory.path, t, like))
    return adjoint * take(memory.slope, 0, like)


@njit
def _gradients(memory, weight, adjoint, dm, dn, db, plane, steps, partials, groups, like):
    """The gradient of every unit, from alpha lambda[t+1] (``weight``) and that times kappa[t]."""
    not_inlined()
    n, x0, rates, carried = memory.n, memory.x0, memory.rates, memory.carried
    width, one, zero = lanes(n), full(n, 1.0), full(n, 0.0)
    for p in range(0, groups, 2):
        u, v, end = partials[p] * width, partials[p + 1] * width, partials[p + 2] * width
        # two units at once: six chains of sums in flight in place of three
        for k in range(0, end - v, width):
            un, ub, um, vn, vb, vm = zero, zero, zero, zero, zero, zero
            for t in range(steps):
                # sums of alpha lambda times phi, e and kappa e
                w, wk = splat(take(weight, t, like)), splat(take(carried, t, like))
                x, y = load(rates, t * plane + u + k), load(rates, t * plane + v + k)
                e, f = fma(-x, x, one), fma(-y, y, one)
                un, vn = fma(w, x, un), fma(w, y, vn)
                ub, vb = fma(w, e, ub), fma(w, f, vb)
                um, vm = fma(wk, e, um), fma(wk, f, vm)
            # dL/dn = .. + lambda[0] x[0], dL/db = n .., dL/dm = n ..
            store(dn, u + k, fma(splat(adjoint), load(x0, u + k), un))
            store(db, u + k, load(n, u + k) * ub)
            store(dm, u + k, load(n, u + k) * um)
            store(dn, v + k, fma(splat(adjoint), load(x0, v + k), vn))
            store(db, v + k, load(n, v + k) * vb)
            store(dm, v + k, load(n, v + k) * vm)
        for s in range(u + end - v, v, width):  # the first partial sum of the two may have one unit more
            gn, gb, gm = zero, zero, zero
            for t in range(steps):
                w, wk = splat(take(weight, t, like)), splat(take(carried, t, like))
                x = load(rates, t * plane + s)
                e = fma(-x, x, one)
                gn, gb, gm = fma(w, x, gn), fma(w, e, gb), fma(wk, e, gm)
            store(dn, s, fma(splat(adjoint), load(x0, s), gn))
            store(db, s, load(n, s) * gb)
            store(dm, s, load(n, s) * gm)


@njit
def _product(memory, am, an, ab, bm, bn, bb, trainable, partials, groups, like):
    """The inner product of two gradients over the units, of what is trainable."""
    not_inlined()
    width = lanes(am)
    for p in range(groups):
        part = full(am, 0.0)
        for s in range(partials[p] * width, partials[p + 1] * width, width):
            if trainable[0]:
                part = fma(load(am, s), load(bm, s), part)
            if trainable[1]:
                part = fma(load(an, s), load(bn, s), part)
            if trainable[2]:
                part = fma(load(ab, s), load(bb, s), part)
        store(memory.parts, p * width, part)
    return _total(memory.parts, like)


@njit
def _restrain(memory, weights, watch, task, dc, plane, alpha, groups, like):
    """The factor that a trust region and a hazard limit allow each network's update, to number
    SCALE of ``values``.

    Where the region splits (one crossing only): the ratio of the lengths there, and what the
    gradients of the loss and of the crossing are multiplied by (MOST, SHARE), and the latter's
    derivative by the confidence (BY_C).
    """
    crossings, region, trainable = watch.crossings, watch.region, weights.trainable
    confidence, threshold, rate = weights.confidence, weights.threshold, weights.rate
    values, pull, path, partials = memory.values, memory.pull, memory.path, pointer(weights.partials, 0)
    dm, dn, db, em, en, eb = memory.dm, memory.dn, memory.db, memory.em, memory.en, memory.eb
    networks, splitting, row = columns(like), splits(crossings, region), GRAM + 2 * crossings.shape[0]
    for i in range(networks):
        norm = math.sqrt(values[SQUARE * networks + i])
        scale = hazard(region, norm, rate[i] * norm) if region[HAZARD] < math.inf else math.inf
        values[SCALE * networks + i] = min(scale, 1.0) if crossings.shape[0] == 0 else scale
    for k in range(crossings.shape[0]):
        # the derivative of the crossing's time by kappa, of the two readings that define it
        last = 0
        for t in range(task.targets.size):
            put(pull, t, full(like, 0.0))
        for i in range(networks):
            found = pointer(watch.seen, (k * networks + i) * row)
            measure(crossings, watch.marks, k, 0, pointer(memory.logits, i), 0, networks, found)
            first, second = int(found[3]), int(found[5])
            pull[first * networks + i] = found[4] * confidence[i]
            pull[second * networks + i] += found[6] * confidence[i]
            by_c = 0.0
            if trainable[3]:
                by_c = found[4] * (path[(first + 1) * networks + i] - threshold[i])
                by_c += found[6] * (path[(second + 1) * networks + i] - threshold[i])
            values[BY_C * networks + i] = by_c
            last = max(last, second)
        # its gradient e, |e|^2 and e . g
        adjoint = _adjoint(memory, pull, alpha, last, like)
        _gradients(memory, pull, adjoint, em, en, eb, plane, last + 1, partials, groups, like)
        steep = _product(memory, em, en, eb, em, en, eb, trainable, partials, groups, like)
        along = _product(memory, em, en, eb, dm, dn, db, trainable, partials, groups, like)
        if trainable[3]:
            by_c_of_all = take(values, BY_C, like)
            steep, along = fma(by_c_of_all, by_c_of_all, steep), fma(by_c_of_all, dc, along)
        put(values, STEEP, steep)
        put(values, PRODUCT, along)
        for i in range(networks):
            found, loss = pointer(watch.seen, (k * networks + i) * row), float(values[i])
            norm, product = math.sqrt(values[SQUARE * networks + i]), values[PRODUCT * networks + i]
            far = rate[i] * norm
            # the update -eta g is split by e, or shortened
            if splitting:
                found[GRAM], found[BY_LOSS], found[ALONG] = values[STEEP * networks + i], product, -rate[i] * product
                most, scale, _ = split(region, crossings, found, row, loss, norm, far, False)
                share = found[WEIGHT]
                values[MOST * networks + i] = most
                values[SHARE * networks + i] = -share / rate[i] if share != 0 else 0.0
            else:
                slope = math.sqrt(values[STEEP * networks + i])
                most = allowed(region, found, crossings[k, 4], loss, slope, far, rate[i] * product, False)
                scale = min(values[SCALE * networks + i], most)
            values[SCALE * networks + i] = scale


@njit
def _mixed(most, gradient, share, other):
    """``most gradient + share other``, and not a bit else where the share is 0."""
    part = most * gradient
    return select(unequal(share, share - share), fma(share, other, part), part)


@njit
def _moved(plane, gradient, s, step_size, bad, changed):
    """``p <- p - eta g`` of the unit at ``s`` where not ``bad``; where a bit has changed so far."""
    old = load(plane, s)
    new = select(bad, old, fma(-step_size, load(gradient, s), old))
    store(plane, s, new)
    return maximum(changed, unequal(new, old))


@njit
def _train(like, weights, task, watch, recorder, work, start, stop):
    """The kernel; ``like`` says which layout."""
    state, now, confidence, events = weights.state, recorder.now, weights.confidence, recorder.events
    width, networks, steps, plane = lanes(state), columns(like), task.targets.size, state.size // 4
    groups = max(networks, 2)  # of partial sums
    span = (steps * networks + width - 1) // width * width
    # the parts of work
    at = (7 + steps) * plane
    path, at = pointer(work, at), at + span + width  # path[t + 1] belongs to step t; padding is never read for a result
    ends = at + 7 * span
    memory = _Memory(
        pointer(state, 0), pointer(state, plane), pointer(state, 2 * plane), pointer(state, 3 * plane),
        pointer(work, 0), pointer(work, plane), pointer(work, 2 * plane), pointer(work, 3 * plane),
        pointer(work, 4 * plane), pointer(work, 5 * plane), pointer(work, 6 * plane), pointer(work, 7 * plane),
        path, pointer(work, at), pointer(work, at + span), pointer(work, at + 2 * span), pointer(work, at + 3 * span),
        pointer(work, at + 4 * span), pointer(work, at + 5 * span), pointer(work, at + 6 * span),
        pointer(work, ends), pointer(work, ends + 2 * width * width),
    )  # fmt: skip
    m, n, b, x0, nm = memory.m, memory.n, memory.b, memory.x0, memory.nm
    dm, dn, db, em, en, eb = memory.dm, memory.dn, memory.db, memory.em, memory.en, memory.eb
    parts, values, partials = memory.parts, memory.values, pointer(weights.partials, 0)
    flags = weights.trainable
    trainable = flags[0], flags[1], flags[2], flags[3]
    acting, splitting = acts(watch.crossings, watch.region), splits(watch.crossings, watch.region)
    zeros, zero, one = full(state, 0.0), full(like, 0.0), full(like, 1.0)
    alpha, rate, threshold = full(like, task.alpha), take(weights.rate, 0, like), take(weights.threshold, 0, like)
    leak, n_counted = one - alpha, zero
    for t in range(steps):
        if task.counted[t]:
            n_counted = n_counted + one
    for t in range(0, span + width, width):
        store(path, t, zeros)
    for epoch in range(start, stop):
        # kappa[0] = sum n x[0], and bounds of |m| and |b|
        steepest, shift = zeros, zeros
        for p in range(groups):
            total = zeros
            for s in range(partials[p] * width, partials[p + 1] * width, width):
                store(nm, s, load(n, s) * load(m, s))
                total = fma(load(n, s), load(x0, s), total)
                steepest = maximum(steepest, maximum(load(m, s), -load(m, s)))
                shift = maximum(shift, maximum(load(b, s), -load(b, s)))
            store(parts, p * width, total)
        kappa = _total(parts, like)
        put(path, 0, kappa)
        # kappa[t+1] = (1 - alpha) kappa[t] + alpha sum n phi[t], and dkappa[t+1]/dkappa[t]
        for t in range(steps):
            everywhere = splat(kappa)
            reach = fma(maximum(everywhere, -everywhere), steepest, shift)
            if any_nonzero(greater(reach, full(state, MODERATE))):
                _step(memory, everywhere, t * plane, partials, groups)
            else:
                _step_of_moderate(memory, everywhere, t * plane, partials, groups)
            kappa = fma(alpha, _total(parts, like), leak * kappa)
            put(path, t + 1, kappa)
            put(memory.slope, t, fma(alpha, _total(pointer(parts, width * width), like), leak))
        # o = logistic(z) and 1 - o, which would lose its digits near 1
        c = take(confidence, 0, like)
        for t in range(0, span, width):
            z = splat(c) * (load(path, networks + t) - splat(threshold))
            store(memory.logits, t, z)
            store(memory.output, t, logistic(z))
            store(memory.other, t, logistic(-z))
        # the loss, and its derivative by c and by every kappa
        loss, dc, correct = zero, zero, zero
        for t in range(steps):
            target = full(like, task.targets[t])
            o, rest = take(memory.output, t, like), take(memory.other, t, like)
            error = (one - target) * o - target * rest
            weighted = full(like, task.weights[t]) * error
            loss = fma(weighted, error, loss)
            dz = (weighted + weighted) * (o * rest)
            dc = fma(dz, take(path, t + 1, like) - threshold, dc)
            put(memory.weight, t, dz * c)
            if task.counted[t]:
                on = greater(o, full(like, 0.5))
                correct = correct + (on if task.targets[t] > 0.5 else one - on)
        # backwards: lambda, the gradient and |g|^2
        adjoint = _adjoint(memory, memory.weight, alpha, steps - 1, like)
        _gradients(memory, memory.weight, adjoint, dm, dn, db, plane, steps, partials, groups, like)
        square = _product(memory, dm, dn, db, dm, dn, db, trainable, partials, groups, like)
        if trainable[3]:
            square = fma(dc, dc, square)
        put(values, LOSS, loss)
        put(values, SQUARE, square)
        put(values, RIGHT, correct / n_counted)
        put(values, SCALE, one)
        if acting:
            _restrain(memory, weights, watch, task, dc, plane, alpha, groups, like)
        # what was seen before the update
        for i in range(networks):
            now[codes.LOSS, i] = values[i]
            now[codes.NORM, i] = math.sqrt(values[SQUARE * networks + i])
            now[codes.ACCURACY, i] = values[RIGHT * networks + i]
            now[codes.CONFIDENCE, i] = confidence[i]
            now[codes.SCALE, i] = values[SCALE * networks + i]
        snapshot = remember(recorder, epoch)
        if snapshot >= 0:
            recorder.snapshots[snapshot, : 3 * plane] = state[: 3 * plane]
            recorder.snapshots[snapshot, 3 * plane :] = confidence
        # update; a network whose loss, gradient or step is not finite keeps its last parameters
        eta = rate * take(values, SCALE, like)
        size = loss + square + rate * (rate * square) + eta * (eta * square)
        bad = unequal(size - size, zero)
        if splitting:
            eta = rate
            most, share = take(values, MOST, like), take(values, SHARE, like)
            dc = _mixed(most, dc, share, take(values, BY_C, like))
            for s in range(0, plane, width):
                store(dm, s, _mixed(splat(most), load(dm, s), splat(share), load(em, s)))
                store(dn, s, _mixed(splat(most), load(dn, s), splat(share), load(en, s)))
                store(db, s, _mixed(splat(most), load(db, s), splat(share), load(eb, s)))
        differs, changed = zeros, zero
        if trainable[3]:
            new = select(bad, c, fma(-eta, dc, c))
            changed = unequal(new, c)
            put(confidence, 0, new)
        for s in range(0, plane, width):
            if trainable[0]:
                differs = _moved(m, dm, s, splat(eta), splat(bad), differs)
            if trainable[1]:
                differs = _moved(n, dn, s, splat(eta), splat(bad), differs)
            if trainable[2]:
                differs = _moved(b, db, s, splat(eta), splat(bad), differs)
        put(values, CHANGED, maximum(changed, _anywhere(differs, like)))
        put(values, BAD, bad)
        # events of every network
        finished = True
        for i in range(networks):
            touched = now[codes.SCALE, i] != 1
            if splitting:
                touched = touched or values[MOST * networks + i] != 1 or values[SHARE * networks + i] != 0
            ended = events[codes.FROZEN, i] >= 0 or events[codes.DIVERGED, i] >= 0
            if touched and values[BAD * networks + i] == 0 and not ended:
                recorder.acted[i] += 1
            done = note(
                events, now, i, epoch, values[CHANGED * networks + i] != 0, values[BAD * networks + i] != 0,
                task.chance_accuracy, task.solved_loss,
            )  # fmt: skip
            finished = finished and done
        if finished:
            return epoch + 1
    return stop


@compiled
def networks_across_lanes(weights, task, watch, recorder, work, start, stop):
    """Train a block of ``lanes`` networks, one per lane."""
    return _train(full(weights.state, 0.0), weights, task, watch, recorder, work, start, stop)


@compiled
def units_across_lanes(weights, task, watch, recorder, work, start, stop):
    """Train one network, its units across lanes."""
    return _train(weights.state[0], weights, task, watch, recorder, work, start, stop)
