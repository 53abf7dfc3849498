"""Training of one network of any rank, compiled, on its latents: one call does many epochs without leaving the kernel.

``W = m n^T`` with K latents ``kappa = n^T x`` (theory, section 3). A readout ``zeta = W_out x`` of the state follows as
latents that do not feed back, so no state of the units is kept. With ``g[t] = (kappa[t], u[t], 1)``,
``rho = (kappa, zeta)``, M the matrix with the columns m, W_in and b, and P that with the columns n and the rows of
W_out (without them where the readout is of the latents)::

    phi[t] = tanh(M g[t] + noise[t]),   e[t] = 1 - phi[t]**2,   rho[0] = P^T x[0]
    rho[t+1] = (1 - alpha) rho[t] + alpha P^T phi[t]
    o[t] = f(z[t]),   z[t] = zeta' + b_out   or   W_out kappa' + b_out   or   c (kappa_1' - kappa*)
    lambda[t] = dL/drho[t] = (1 - alpha) lambda[t+1] + (m^T s[t], 0) + (dz/drho)^T dL/dz of the step that reads rho[t]
    s[t] = alpha e[t] P lambda[t+1]
    dL/dM = sum s[t] g[t]^T,   dL/dP = x[0] lambda[0]^T + sum alpha phi[t] lambda[t+1]^T

where a prime is the value before or after the update, as the task says. In float operations this is about
``6 (K + 1)`` multiply-adds per unit, step and trial, and one tanh.

Layout: units across lanes, ``plane`` = N rounded up to whole vectors. M and P are matrices of ``plane`` rows in panels
(``blocks.py``). After them in the flat ``state`` come W_out (O, K) of a latent readout, then b_out, or the confidence
alone, rounded up to whole vectors with zeros. ``low_rank_packing.py`` makes the arrays. All else is as in
``full_rank.py``, but ``trainable`` has a flag for each of :data:`PARTS` here, ``constants`` goes on with kappa*, and
``initial`` and ``noise`` have this plane. ``kind`` is an index into :data:`READOUTS`.

The trials come in ``chunks`` of ``trials`` each, so that what is kept of a chunk stays in the cache: the rows of
``inputs``, ``targets``, ``weights`` and ``counted`` are those of the chunks; ``initial`` and ``noise`` are shared.

``crossings``, ``marks`` and ``region`` are those of ``trust.py``. With a crossing or a hazard limit, and without
a split, every update is multiplied by one factor, ``now``'s ``update_scale``; ``acted`` counts the epochs in which an
update is changed. It takes a
second backward pass for each crossing, from the readings that define its time, of one trial and no further than these.
Where the region splits updates, the direction is changed before it is applied (``optimizers.blend``). ``seen`` is
``(crossings, trust.row_size(crossings))``, any content.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.elementary import tanh
from ghostpoint.numerics.products import outer_products, transpose_times
from ghostpoint.numerics.random import INITIAL, NOISE, fill_normals
from ghostpoint.numerics.simd import (
    any_nonzero,
    fma,
    full,
    lanes,
    load,
    maximum,
    not_inlined,
    pointer,
    splat,
    store,
    tree_sum,
)
from ghostpoint.training.kernels.epoch import compare, note
from ghostpoint.training.kernels.low_rank_passes import (
    READOUTS,
    STATE,
    backward,
    column,
    forward,
    logits,
    normalize,
    small_gradient,
)
from ghostpoint.training.kernels.optimizers import (
    ADAM,
    APPLY,
    DIRECT,
    SGD,
    UPDATE,
    apply,
    blend,
    clipping,
    direct,
    length,
    prepare,
    update,
)
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

__all__ = ["PARTS", "QUANTITIES", "READOUTS", "sizes", "train", "work_size"]

#: sets the random numbers of the chunks apart
CHUNK_KEY = 2_654_435_761
#: what may be trainable
PARTS = ("m", "n", "w_in", "b", "w_out", "b_out", "confidence")
#: rows of ``history`` and ``now``
QUANTITIES = ("loss", "gradient_norm", "accuracy", "confidence", "update_scale")


def sizes(units: int, latents: int, inputs: int, outputs: int, kind: int, width: int) -> tuple[int, int, int, int]:
    """``plane``, the columns of M and of P with their padding, and the rest of the state, in numbers."""

    def whole(count: int) -> int:
        return -(-count // width) * width

    small = (outputs, outputs * (latents + 1), 1)[kind]
    columns = latents + (outputs if kind == STATE else 0)
    return whole(units), whole(latents + inputs + 1), whole(columns), whole(small)


def work_size(
    plane: int,
    left: int,
    right: int,
    small: int,
    outputs: int,
    trials: int,
    steps: int,
    width: int,
    chunks: int,
    watched: int,
) -> int:
    """The number of elements of ``work``; ``watched`` is how many crossings are, -1 if no remedy acts."""
    padded = -(-steps * trials // width) * width
    terms = steps * trials
    state = plane * (left + right) + small
    plain = state + plane * (1 + 3 * terms + 2 * trials) + terms * left + (2 * terms + 3 * trials) * right
    acting = terms * plane + outputs * padded + (1 + watched) * state if watched >= 0 else 0
    return plain + outputs * padded + acting + (state if chunks > 1 else 0)


@njit
def _inner(a, b, at, first, last, plane):
    """Inner product of the columns ``first`` to ``last - 1`` of the matrices at ``a[at:]`` and ``b[at:]``."""
    not_inlined()
    width = lanes(a)
    even, odd = full(a, 0.0), full(a, 0.0)
    for j in range(first, last):
        start = at + column(j, plane, width)
        total = full(a, 0.0)
        for i in range(start, start + plane * width, width * width):
            total = fma(load(a, i), load(b, i), total)
        even, odd = odd, even + total
    return tree_sum(even + odd)


@njit
def _product(a, b, trainable, small_at, small_size, places, begins, ends, plane):
    """Inner product over what is trainable."""
    not_inlined()
    total = full(a, 0.0)
    for i in range(small_at, small_at + small_size, lanes(a)):
        total = fma(load(a, i), load(b, i), total)
    product = tree_sum(total)
    for part in range(5):
        if trainable[part]:
            product += _inner(a, b, places[part], begins[part], ends[part], plane)
    return product


@njit
def _change(
    rule, state, gradient, first, second, direction, at, start, stop, plane, settings, factor, step, root, by, phase
):  # fmt: skip
    """Columns ``start`` to ``stop - 1`` of the matrix at ``[at:]``: an update, a direction or its application.

    Nonzero lanes where a bit changed. ``phase`` is one of :data:`UPDATE`, :data:`DIRECT`, :data:`APPLY`.
    """
    not_inlined()
    width = lanes(state)
    changed, jump = full(state, 0.0), width * width
    for j in range(start, stop):
        begin = at + column(j, plane, width)
        end = begin + plane * width
        if phase == UPDATE:
            differs = update(
                rule, state, gradient, first, second, begin, end, jump, settings, factor, step, root
            )  # fmt: skip
            changed = maximum(changed, differs)
        elif phase == DIRECT:
            direct(rule, direction, gradient, first, second, begin, end, jump, settings, factor, root)
        else:
            changed = maximum(changed, apply(state, direction, begin, end, jump, by))
    return changed


@njit
def _change_all(
    rule, state, gradient, first, second, direction, trainable, small_at, small_size, places, begins, ends, plane,
    settings, factor, step, root, by, phase,
):  # fmt: skip
    """The same for all that is trainable; whether a bit changed."""
    not_inlined()
    width, stop = lanes(state), small_at + small_size
    differs = full(state, 0.0)
    if phase == UPDATE:
        differs = update(
            rule, state, gradient, first, second, small_at, stop, width, settings, factor, step, root
        )  # fmt: skip
    elif phase == DIRECT:
        direct(rule, direction, gradient, first, second, small_at, stop, width, settings, factor, root)
    else:
        differs = apply(state, direction, small_at, stop, width, by)
    for part in range(5):
        if trainable[part]:
            changed = _change(
                rule, state, gradient, first, second, direction, places[part], begins[part], ends[part], plane,
                settings, factor, step, root, by, phase,
            )  # fmt: skip
            differs = maximum(differs, changed)
    return any_nonzero(differs)


@compiled
def train(
    state, first, second, rule, settings, trainable, constants, inputs, targets, weights, counted, thresholds,
    initial, noise, spread, sigma, seed, activation, read_out, crossings, marks, region, kind, units, latents, n_inputs,
    outputs, chunks, trials, steps, chance_accuracy, solved_loss, start, stop, record_epochs, snapshot_epochs, cursor,
    history, snapshots, events, acted, now, seen, work,
):  # fmt: skip
    """Do epochs ``start`` to ``stop - 1``, or fewer if the network is finished; return the next epoch to do."""
    width = lanes(state)
    # numbers that are not literals: a function is compiled anew for every literal that it is called with
    none, once, directing = np.int64(0), np.int64(1), np.int64(DIRECT)
    noise_stream, initial_stream = np.int64(NOISE), np.int64(INITIAL)
    columns, rows = latents + n_inputs + 1, latents + (outputs if kind == STATE else 0)
    plane = (units + width - 1) // width * width
    g_stride, stride = (columns + width - 1) // width * width, (rows + width - 1) // width * width
    left_size, right_size = plane * g_stride, plane * stride
    small_at = left_size + right_size
    small_size = state.size - small_at
    terms = steps * trials
    padded = (terms + width - 1) // width * width
    acting, splitting, seen_row = acts(crossings, region), splits(crossings, region), seen.shape[1]
    # the parts of work
    gradient, at = pointer(work, 0), state.size
    alphas, at = pointer(work, at), at + plane
    phi, at = pointer(work, at), at + (terms + trials) * plane
    slope, at = pointer(work, at), at + terms * plane
    drawn, at = pointer(work, at), at + terms * plane
    net, at = pointer(work, at), at + trials * plane
    g, at = pointer(work, at), at + terms * g_stride
    path, at = pointer(work, at), at + (terms + trials) * stride
    adjoint, at = pointer(work, at), at + (terms + trials) * stride
    pull, at = pointer(work, at), at + trials * stride
    z, at = pointer(work, at), at + outputs * padded
    part_at = 0  # of a chunk's gradient
    if chunks > 1:
        part_at, at = at, at + state.size
    s, by_z, direction = slope, z, gradient
    near = at
    if acting:
        s, at = pointer(work, at), at + terms * plane
        by_z, at = pointer(work, at), at + outputs * padded
        direction, near = pointer(work, at), at + state.size
        for i in range(outputs * padded):
            by_z[i] = 0
        for i in range(at, at + (1 + crossings.shape[0]) * state.size):
            work[i] = 0
    right_part, small_part = pointer(work, part_at + left_size), pointer(work, part_at + small_at)
    part_of = pointer(work, part_at)
    for i in range(state.size):
        part_of[i] = 0
    left, right, small = pointer(state, 0), pointer(state, left_size), pointer(state, small_at)
    moments, second_moments, numbers = pointer(first, 0), pointer(second, 0), pointer(settings, 0)
    for i in range(state.size):
        gradient[i] = 0
    for i in range(outputs * padded):
        z[i] = 0
    for i in range(terms * g_stride):
        g[i] = 0
    for i in range((terms + trials) * stride):
        path[i] = 0
        adjoint[i] = 0
    for i in range(trials * stride):
        pull[i] = 0
    for i in range(plane):
        alphas[i] = constants[0] if i < units else 0
    zero = full(state, 0.0)
    leak = full(state, 1.0) - splat(constants[0])
    nothing = constants[0] - constants[0]
    threshold = constants[3]
    memory = rule != SGD or spread > 0 or sigma > 0 or initial.shape[0] > 1 or noise.shape[0] > 1
    memory = memory or inputs.shape[0] > chunks or constants[2] > 0
    read_from = trials * stride if read_out else 0
    shift = 0 if read_out else 1
    # the columns of m, n, w_in, b and, of a readout of the state, w_out
    places = (0, left_size, 0, 0, left_size)
    begins = (0, 0, latents, latents + n_inputs, latents)
    ends = (latents, latents, latents + n_inputs, columns, rows)
    for epoch in range(start, stop):
        if constants[2] > 0:
            normalize(kind, right, small, small_size, latents, outputs, plane, units, constants[2])
        loss, right_answers, n_counted = nothing, nothing, nothing
        for chunk in range(chunks):
            row = epoch % (inputs.shape[0] // chunks) * chunks + chunk
            key = seed ^ (chunk * CHUNK_KEY)
            if epoch == start or inputs.shape[0] > 1:
                for k in range(terms):
                    for i in range(n_inputs):
                        g[k * g_stride + latents + i] = inputs[row, k * n_inputs + i]
                    g[k * g_stride + latents + n_inputs] = 1
            if spread > 0:
                fill_normals(phi, trials * plane, spread, key, initial_stream, epoch)
                for i in range(0, trials * plane, width):
                    store(phi, i, tanh(load(phi, i)))
                for b in range(trials):
                    for i in range(units, plane):
                        phi[b * plane + i] = 0
            else:
                for i in range(trials * plane):
                    phi[i] = initial[epoch % initial.shape[0], i]
            added, noisy = drawn, sigma > 0
            if noisy:
                fill_normals(drawn, terms * plane, sigma, key, noise_stream, epoch)
            elif noise.shape[0] > 0:
                added, noisy = pointer(noise, epoch % noise.shape[0] * terms * plane), True
            transpose_times(right, plane, rows, phi, none, trials, path, stride, none > 0)
            forward(
                left, right, g, path, phi, slope, added, noisy, net, pull, leak, alphas, latents, columns, rows, plane,
                g_stride, stride, trials, steps,
            )  # fmt: skip
            logits(kind, small, path, read_from, stride, latents, outputs, terms, padded, threshold, z)
            for i in range(crossings.shape[0]):
                if crossings[i, 0] // trials == chunk:
                    measure(crossings, marks, i, chunk * trials, z, padded, trials, pointer(seen, i * seen_row))
            place = row * outputs * padded
            share, right_share = compare(
                z, outputs * padded, pointer(targets, place), pointer(weights, place), pointer(counted, place),
                thresholds, constants[1], activation,
            )  # fmt: skip
            loss += share
            right_answers += right_share
            n_counted += counted[row].sum()
            for i in range(terms * stride, (terms + trials) * stride):
                loss += path[i] - path[i]  # NaN where a latent has overflowed, whether or not the answers show it
            backward(
                kind, left, right, small, slope, z, adjoint, s, net, pull, leak, latents, rows, plane, stride, trials,
                padded, outputs, shift, steps, steps, none, trials,
            )  # fmt: skip
            outer_products(part_of, plane, columns, s, plane, g, g_stride, terms)
            outer_products(right_part, plane, rows, phi, plane, adjoint, stride, terms + trials)
            small_gradient(
                kind, small_part, path, read_from, stride, z, latents, outputs, none, terms, once, padded, threshold,
                trainable,
            )  # fmt: skip
            if chunks > 1:
                for i in range(0, state.size, width):
                    before = zero if chunk == 0 else load(gradient, i)
                    store(gradient, i, before + load(part_of, i))
            for i in range(crossings.shape[0]):
                if crossings[i, 0] // trials != chunk:
                    continue
                b, o, k1, k2 = crossings[i, 0] - chunk * trials, crossings[i, 1], int(seen[i, 3]), int(seen[i, 5])
                begin, end, last = k1 * trials + b, k2 * trials + b, k2 + 1 - shift
                close = near + i * state.size
                by_z[o * padded + begin] = seen[i, 4]
                by_z[o * padded + end] += seen[i, 6]
                backward(
                    kind, left, right, small, slope, by_z, adjoint, s, net, pull, leak, latents, rows, plane, stride,
                    trials, padded, outputs, shift, steps, last, b, once,
                )  # fmt: skip
                outer_products(
                    pointer(work, close), plane, columns, pointer(s, b * plane), trials * plane,
                    pointer(g, b * g_stride), trials * g_stride, last,
                )  # fmt: skip
                outer_products(
                    pointer(work, close + left_size), plane, rows, pointer(phi, b * plane), trials * plane,
                    pointer(adjoint, b * stride), trials * stride, last + 1,
                )  # fmt: skip
                small_gradient(
                    kind, pointer(work, close + small_at), path, read_from, stride, by_z, latents, outputs, begin,
                    end + 1, trials, padded, threshold, trainable,
                )  # fmt: skip
                by_z[o * padded + begin] = 0
                by_z[o * padded + end] = 0
        square = _product(gradient, gradient, trainable, small_at, small_size, places, begins, ends, plane)
        now[0, 0] = loss
        now[1, 0] = math.sqrt(square)
        now[2, 0] = right_answers / n_counted
        now[3, 0] = small[0]
        factor = clipping(float(now[1, 0]), settings[4])
        # the length of the update, rounded to the state's type, in which its square must be finite too
        now[1, 0], norm = settings[0] * factor * now[1, 0], now[1, 0]
        total = loss + square + now[1, 0] * now[1, 0]
        now[1, 0] = norm
        bad = total - total != 0
        step, root = prepare(settings, epoch) if rule == ADAM else (0.0, 0.0)
        by, scale, touched = length(rule, numbers, step), 1.0, False
        if acting:
            _change_all(
                rule, left, gradient, moments, second_moments, direction, trainable, small_at, small_size, places,
                begins, ends, plane, numbers, factor, step, root, by, directing,
            )  # fmt: skip
            far = by * math.sqrt(
                _product(direction, direction, trainable, small_at, small_size, places, begins, ends, plane)
            )
            uphill = _product(gradient, direction, trainable, small_at, small_size, places, begins, ends, plane) < 0
            if crossings.shape[0]:
                scale = math.inf
            for i in range(crossings.shape[0]):
                close = pointer(work, near + i * state.size)
                along = _product(close, direction, trainable, small_at, small_size, places, begins, ends, plane)
                for j in range(0 if splitting else i, i + 1):
                    other = pointer(work, near + j * state.size)
                    seen[i, GRAM + j] = _product(
                        close, other, trainable, small_at, small_size, places, begins, ends, plane
                    )  # fmt: skip
                if splitting:
                    seen[i, ALONG] = -by * along
                    seen[i, BY_LOSS] = _product(
                        close, gradient, trainable, small_at, small_size, places, begins, ends, plane
                    )  # fmt: skip
                    continue
                most = allowed(
                    region, pointer(seen, i * seen_row), crossings[i, 4], float(loss), math.sqrt(seen[i, GRAM + i]),
                    far, by * along, uphill,
                )  # fmt: skip
                scale = min(scale, most)
            if splitting:
                most, scale, touched = split(
                    region, crossings, pointer(seen, 0), seen_row, float(loss), float(now[1, 0]), far, uphill
                )  # fmt: skip
                if touched:
                    blend(
                        direction, state.size, pointer(work, near), most, pointer(seen, 0), seen_row, WEIGHT,
                        crossings.shape[0], by,
                    )  # fmt: skip
            elif region[7] < math.inf:
                scale = min(scale, hazard(region, float(now[1, 0]), far))
            now[1, 0], norm = scale * far, now[1, 0]  # rounded to the state's type
            total = now[1, 0] * now[1, 0]
            now[1, 0] = norm
            bad = bad or total - total != 0  # the update that is made, too, must be finite
            touched = scale != 1 or touched
            if touched and not bad:
                acted[0] += 1
        # what was seen before the update
        now[4, 0] = scale
        if cursor[0] < record_epochs.size and record_epochs[cursor[0]] == epoch:
            history[cursor[0]] = now
            cursor[0] += 1
        if cursor[1] < snapshot_epochs.size and snapshot_epochs[cursor[1]] == epoch:
            snapshots[cursor[1]] = state
            cursor[1] += 1
        changed = False
        if not bad:
            changed = _change_all(
                rule, left, gradient, moments, second_moments, direction, trainable, small_at, small_size, places,
                begins, ends, plane, numbers, factor, step, root, by if splitting else by * scale,
                APPLY if acting else UPDATE,
            )  # fmt: skip
        if note(events, now, 0, epoch, changed or memory, bad, chance_accuracy, solved_loss):
            return epoch + 1
    return stop
