"""Training of one network of any rank, compiled, on its latents: one call does many epochs without
leaving the kernel.

``W = m n^T`` with K latents ``kappa = n^T x``. A readout ``zeta = W_out x`` of the state follows as
latents that do not feed back, so no state of the units is kept. With
``g[t] = (kappa[t], u[t], 1)``, ``rho = (kappa, zeta)``, M the matrix with the columns m, W_in and
b, and P that with the columns n and the rows of
W_out (without them where the readout is of the latents)::

    phi[t] = tanh(M g[t] + noise[t]),   e[t] = 1 - phi[t]**2,   rho[0] = P^T x[0]
    rho[t+1] = (1 - alpha) rho[t] + alpha P^T phi[t]
    o[t] = f(z[t]),   z[t] = zeta' + b_out   or   W_out kappa' + b_out   or   c (kappa_1' - kappa*)
    lambda[t] = dL/drho[t] = (1 - alpha) lambda[t+1] + (m^T s[t], 0)
        + (dz/drho)^T dL/dz of the step that reads rho[t]
    s[t] = alpha e[t] P lambda[t+1]
    dL/dM = sum s[t] g[t]^T,   dL/dP = x[0] lambda[0]^T + sum alpha phi[t] lambda[t+1]^T

where a prime is the value before or after the update, as the task says. In float operations this is
about ``6 (K + 1)`` multiply-adds per unit, step and trial, and one tanh.

Layout: units across lanes, ``plane`` = N rounded up to whole vectors. M and P are matrices of
``plane`` rows in panels (``blocks.py``). After them in the flat ``state`` come W_out (O, K) of a
latent readout, then b_out, or the confidence alone, rounded up to whole vectors with zeros.
``packing.py`` makes the arrays; ``records.py`` says what they hold, where ``initial`` and ``noise``
have this plane and ``trainable`` has a flag for each of :data:`PARTS`.

The trials come in ``chunks`` of ``trials`` each, so that what is kept of a chunk stays in the
cache: the rows of ``inputs``, ``targets``, ``weights`` and ``counted`` are those of the chunks;
``initial`` and ``noise`` are shared. Epochs and calls are as in ``full_rank.py``. A trust region
takes a second backward pass for each crossing, from the readings that define its time, of one trial
and no further than these.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.products import outer_products, transpose_times
from ghostpoint.numerics.random import INITIAL, NOISE
from ghostpoint.numerics.simd import full, lanes, load, pointer, splat, store
from ghostpoint.training.kernels.epoch import ACCURACY, CONFIDENCE, LOSS, compare, keep_logits
from ghostpoint.training.kernels.low_rank_passes import (
    STATE,
    Memory,
    Sizes,
    backward,
    forward,
    logits,
    normalize,
    readout_gradient,
)
from ghostpoint.training.kernels.optimizers import Vectors
from ghostpoint.training.kernels.trust import acts, measure
from ghostpoint.training.kernels.updates import draw_noise, draw_states, finish_epoch, has_memory

#: sets the random numbers of the chunks apart
CHUNK_KEY = 2_654_435_761
#: what may be trainable
PARTS = ("m", "n", "w_in", "b", "w_out", "b_out", "confidence")


def sizes(units: int, latents: int, inputs: int, outputs: int, kind: int, width: int) -> tuple[int, int, int, int]:
    """``plane``, the columns of M and of P with their padding, and the rest of the state, in
    numbers.
    """

    def whole(count: int) -> int:
        return -(-count // width) * width

    small = (outputs, outputs * (latents + 1), 1)[kind]
    columns = latents + (outputs if kind == STATE else 0)
    return whole(units), whole(latents + inputs + 1), whole(columns), whole(small)


def work_size(state: int, shape: Any, width: int, watched: int) -> int:
    """The number of elements of ``work``, from that of the state.

    ``watched`` is how many crossings are, -1 if no remedy acts.
    """
    plane, left, right, _ = sizes(shape.units, shape.latents, shape.inputs, shape.outputs, shape.readout, width)
    terms, outputs = shape.steps * shape.trials, shape.outputs
    padded = -(-terms // width) * width
    plain = state + plane * (1 + 3 * terms + 2 * shape.trials) + terms * left + (2 * terms + 3 * shape.trials) * right
    acting = terms * plane + outputs * padded + (1 + watched) * state if watched >= 0 else 0
    return plain + outputs * padded + acting + (state if shape.chunks > 1 else 0)


@compiled
def train(weights, shape, task, draws, rule, watch, recorder, work, start, stop):
    """Do epochs ``start`` to ``stop - 1``, or fewer if the network is finished; return the next
    epoch to do.
    """
    state, now = weights.state, recorder.now
    crossings, marks, seen = watch.crossings, watch.marks, watch.seen
    units, latents, outputs = shape.units, shape.latents, shape.outputs
    chunks, trials, steps, kind = shape.chunks, shape.trials, shape.steps, shape.readout
    width, like = lanes(state), state[0]
    # numbers that are not literals: a function is compiled anew for every literal that it is called
    # with
    none, once = np.int64(0), np.int64(1)
    noise_stream, initial_stream = np.int64(NOISE), np.int64(INITIAL)
    columns, rows = latents + shape.inputs + 1, latents + (outputs if kind == STATE else 0)
    plane = (units + width - 1) // width * width
    g_stride, stride = (columns + width - 1) // width * width, (rows + width - 1) // width * width
    left_size, right_size = plane * g_stride, plane * stride
    small_at = left_size + right_size
    terms = steps * trials
    padded = (terms + width - 1) // width * width
    acting = acts(crossings, watch.region)
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
    s, by_z, direction, slopes = slope, z, gradient, gradient
    if acting:
        s, at = pointer(work, at), at + terms * plane
        by_z, at = pointer(work, at), at + outputs * padded
        direction, slopes = pointer(work, at), pointer(work, at + state.size)
        for i in range(outputs * padded):
            by_z[i] = 0
        for i in range(at, at + (1 + crossings.shape[0]) * state.size):
            work[i] = 0
    part = pointer(work, part_at)
    part_of_right, part_of_small = pointer(work, part_at + left_size), pointer(work, part_at + small_at)
    for i in range(state.size):
        part[i] = 0
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
        alphas[i] = task.alpha if i < units else 0
    read_from, shift = (trials, none) if shape.read_out else (none, once)
    sizes_ = Sizes(
        kind, units, latents, shape.inputs, outputs, columns, rows, plane, g_stride, stride, trials, steps, padded,
        shift,
    )  # fmt: skip
    memory = Memory(
        pointer(state, 0), pointer(state, left_size), pointer(state, small_at), g, path, phi, slope, adjoint, net,
        pull, alphas,
    )  # fmt: skip
    vectors = Vectors(
        memory.left, gradient, pointer(weights.first, 0), pointer(weights.second, 0), direction, slopes
    )  # fmt: skip
    zero, nothing = full(state, 0.0), full(like, 0.0)
    leak = full(state, 1.0) - splat(task.alpha)
    remembering = has_memory(weights, shape, task, draws, rule)
    noisy = draws.sigma > 0 or draws.noise.shape[0] > 0
    for epoch in range(start, stop):
        if weights.readout_norm > 0:
            normalize(memory, sizes_, state.size - small_at, weights.readout_norm)
        loss, right_answers, n_counted = nothing, nothing, nothing
        for chunk in range(chunks):
            row = epoch % (task.inputs.shape[0] // chunks) * chunks + chunk
            key, place = draws.seed ^ (chunk * CHUNK_KEY), row * outputs * padded
            # g[t] = (kappa[t], u[t], 1): what of it is given
            if epoch == start or task.inputs.shape[0] > 1:
                for k in range(terms):
                    for i in range(shape.inputs):
                        g[k * g_stride + latents + i] = task.inputs[row, k * shape.inputs + i]
                    g[k * g_stride + latents + shape.inputs] = 1
            # rho[0] = P^T x[0], then forwards to the logits and their crossings
            draw_states(phi, draws, key, initial_stream, epoch, trials, units, plane)
            noise = draw_noise(drawn, draws, key, noise_stream, epoch, terms * plane)
            transpose_times(memory.right, plane, rows, phi, none, trials, path, stride, none > 0)
            forward(memory, sizes_, noise, noisy, leak)
            logits(sizes_, memory.small, path, read_from, weights.kappa_star, z, like)
            keep_logits(recorder, z, chunk * outputs * padded, outputs * padded)
            for i in range(crossings.shape[0]):
                if crossings[i, 0] // trials == chunk:
                    measure(crossings, marks, i, chunk * trials, z, padded, trials, pointer(seen, i * seen.shape[1]))
            # the loss; z becomes dL/dz
            share, right_share = compare(
                z, outputs * padded, pointer(task.targets, place), pointer(task.weights, place),
                pointer(task.counted, place), task.thresholds, task.tolerance, shape.activation,
            )  # fmt: skip
            loss += share
            right_answers += right_share
            n_counted += task.counted[row].sum()
            for i in range(terms * stride, (terms + trials) * stride):
                loss += path[i] - path[i]  # NaN where a latent has overflowed, whether or not the answers show it
            # backwards: lambda and s, and the gradient of the loss from them
            backward(memory, sizes_, z, s, leak, steps, none, trials)
            outer_products(part, plane, columns, s, plane, g, g_stride, terms)
            outer_products(part_of_right, plane, rows, phi, plane, adjoint, stride, terms + trials)
            readout_gradient(
                sizes_, part_of_small, path, read_from, z, (none, terms, once), weights.kappa_star,
                weights.trainable, like,
            )  # fmt: skip
            if chunks > 1:
                for i in range(0, state.size, width):
                    before = zero if chunk == 0 else load(gradient, i)
                    store(gradient, i, before + load(part, i))
            # the gradient e_i of the time of every crossing, from the two readings that define it
            for i in range(crossings.shape[0]):
                if crossings[i, 0] // trials != chunk:
                    continue
                b, o, k1, k2 = crossings[i, 0] - chunk * trials, crossings[i, 1], int(seen[i, 3]), int(seen[i, 5])
                begin, end, last = k1 * trials + b, k2 * trials + b, k2 + 1 - shift
                e = pointer(slopes, i * state.size)
                by_z[o * padded + begin] = seen[i, 4]
                by_z[o * padded + end] += seen[i, 6]
                backward(memory, sizes_, by_z, s, leak, last, b, once)
                outer_products(
                    e, plane, columns, pointer(s, b * plane), trials * plane, pointer(g, b * g_stride),
                    trials * g_stride, last,
                )  # fmt: skip
                outer_products(
                    pointer(e, left_size), plane, rows, pointer(phi, b * plane), trials * plane,
                    pointer(adjoint, b * stride), trials * stride, last + 1,
                )  # fmt: skip
                readout_gradient(
                    sizes_, pointer(e, small_at), path, read_from, by_z, (begin, end + 1, trials),
                    weights.kappa_star, weights.trainable, like,
                )  # fmt: skip
                by_z[o * padded + begin] = 0
                by_z[o * padded + end] = 0
        now[LOSS, 0] = loss
        now[ACCURACY, 0] = right_answers / n_counted
        now[CONFIDENCE, 0] = memory.small[0]
        if finish_epoch(weights, rule, vectors, watch, recorder, task, epoch, remembering):
            return epoch + 1
    return stop
