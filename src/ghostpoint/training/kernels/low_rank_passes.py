"""The passes of ``low_rank.train``: forwards, the readout, backwards; see there for the
mathematics.

What is small, the logits and their derivatives, is written for one network (scalars) and for a
network per lane (vectors) at once: ``like`` is a value of the kind meant.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from ghostpoint.numerics.elementary import tanh
from ghostpoint.numerics.products import matrix_times, transpose_times
from ghostpoint.numerics.simd import fma, full, lanes, load, not_inlined, put, splat, store, take

#: what the output is read from, in the order of the codes
READOUTS = ("state", "latent", "confidence")
STATE, LATENT, CONFIDENCE = range(3)


class Sizes(NamedTuple):
    """Whole numbers of a chunk of trials.

    ``columns`` of M and ``rows`` of P, with padding ``g_stride`` and ``stride``; ``rho[t]`` is read
    at step ``t - 1 + shift``.
    """

    readout: int
    units: int
    latents: int
    inputs: int
    outputs: int
    columns: int
    rows: int
    plane: int
    g_stride: int
    stride: int
    trials: int
    steps: int
    padded: int
    shift: int


class Memory(NamedTuple):
    """Pointers: M, P and the rest of the weights; g, rho (``path``), phi, alpha e and lambda;
    scratch.
    """

    left: Any
    right: Any
    small: Any
    g: Any
    path: Any
    phi: Any
    slope: Any
    adjoint: Any
    net: Any
    pull: Any
    alphas: Any


@njit
def forward(memory, sizes, noise, noisy, leak):
    """rho of every step, ``alpha phi`` from the plane ``trials`` of ``phi`` on, and
    ``slope = alpha (1 - phi**2)``.
    """
    not_inlined()
    g, path, phi, slope, net, pull = memory.g, memory.path, memory.phi, memory.slope, memory.net, memory.pull
    alphas, plane, trials = memory.alphas, sizes.plane, sizes.trials
    g_stride, stride, latents = sizes.g_stride, sizes.stride, sizes.latents
    width, one = lanes(g), full(g, 1.0)
    whole = latents // width * width
    for t in range(sizes.steps):
        here, there = t * trials * plane, (t + 1) * trials * plane
        old, new = t * trials * stride, (t + 1) * trials * stride
        # g[t] = (kappa[t], u[t], 1), of which u and 1 are there
        for b in range(trials):
            at, to = old + b * stride, (t * trials + b) * g_stride
            for i in range(0, whole, width):
                store(g, to + i, load(path, at + i))
            for i in range(whole, latents):
                g[to + i] = path[at + i]
        # phi[t] = tanh(M g[t] + noise[t])
        matrix_times(memory.left, plane, sizes.columns, g, t * trials * g_stride, g_stride, trials, net, t % 2 == 1)
        for b in range(trials):
            for i in range(0, plane, width):
                at = b * plane + i
                z = load(net, at)
                if noisy:
                    z = z + load(noise, here + at)
                rate = tanh(z)
                alpha = load(alphas, i)
                store(phi, there + at, alpha * rate)
                store(slope, here + at, alpha * fma(-rate, rate, one))
        # rho[t+1] = (1 - alpha) rho[t] + alpha P^T phi[t]
        transpose_times(memory.right, plane, sizes.rows, phi, there, trials, pull, stride, t % 2 == 0)
        for i in range(0, trials * stride, width):
            store(path, new + i, fma(leak, load(path, old + i), load(pull, i)))


@njit
def logits(sizes, small, path, first, threshold, out, like):
    """z of the states from number ``first`` on, a state being ``stride`` values."""
    not_inlined()
    outputs, latents, padded = sizes.outputs, sizes.latents, sizes.padded
    for o in range(outputs):
        for k in range(sizes.steps * sizes.trials):
            at = (first + k) * sizes.stride
            if sizes.readout == STATE:
                z = take(path, at + latents + o, like) + take(small, o, like)
            elif sizes.readout == LATENT:
                z = take(small, outputs * latents + o, like)
                for j in range(latents):
                    z = z + take(small, o * latents + j, like) * take(path, at + j, like)
            else:
                z = take(small, 0, like) * (take(path, at, like) - threshold)
            put(out, o * padded + k, z)


@njit(inline="always")
def add_pull_of_output(sizes, small, adjoint, at, by_z, k, like):
    """Add ``(dz/drho)^T dL/dz`` of step-and-trial k to lambda, which begins at value ``at``."""
    for o in range(sizes.outputs):
        d = take(by_z, o * sizes.padded + k, like)
        if sizes.readout == STATE:
            to = at + sizes.latents + o
            put(adjoint, to, take(adjoint, to, like) + d)
        elif sizes.readout == LATENT:
            for j in range(sizes.latents):
                to = at + j
                put(adjoint, to, take(adjoint, to, like) + take(small, o * sizes.latents + j, like) * d)
        else:
            put(adjoint, at, take(adjoint, at, like) + take(small, 0, like) * d)


@njit
def backward(memory, sizes, by_z, s, leak, last, trial, count):
    """lambda and s of ``count`` trials from ``trial`` on, for rho up to ``rho[last]``, beyond which
    none is read.
    """
    not_inlined()
    adjoint, slope, net, pull = memory.adjoint, memory.slope, memory.net, memory.pull
    plane, stride, trials, latents = sizes.plane, sizes.stride, sizes.trials, sizes.latents
    width, zero, like = lanes(adjoint), full(adjoint, 0.0), adjoint[0]
    for i in range(0, count * stride, width):
        store(adjoint, (last * trials + trial) * stride + i, zero)
        store(pull, i, zero)
    for t in range(last, -1, -1):
        new = (t * trials + trial) * stride
        if t < last:
            old, here = new + trials * stride, (t * trials + trial) * plane
            # s[t] = alpha e[t] P lambda[t+1]
            matrix_times(memory.right, plane, sizes.rows, adjoint, old, stride, count, net, t % 2 == 1)
            for i in range(0, count * plane, width):
                store(s, here + i, load(slope, here + i) * load(net, i))
            # lambda[t] = (1 - alpha) lambda[t+1] + (m^T s[t], 0)
            transpose_times(memory.left, plane, latents, s, here, count, pull, stride, t % 2 == 0)
            for b in range(count):
                for i in range(latents, (latents + width // 4 - 1) // (width // 4) * (width // 4)):
                    pull[b * stride + i] = 0  # sums of the columns that follow m
            for i in range(0, count * stride, width):
                store(adjoint, new + i, fma(leak, load(adjoint, old + i), load(pull, i)))
        # what the outputs add that read rho[t]
        step = t - 1 + sizes.shift
        if 0 <= step < sizes.steps:
            for b in range(count):
                k = step * trials + trial + b
                add_pull_of_output(sizes, memory.small, adjoint, new + b * stride, by_z, k, like)


@njit
def readout_gradient(sizes, gradient, path, first, by_z, answers, threshold, trainable, like):
    """Of W_out of a latent readout and b_out, or of the confidence, from the ``answers`` (start,
    stop, jump).

    The states are those of :func:`logits`. Zero where not trainable.
    """
    not_inlined()
    start, stop, jump = answers
    outputs, latents, padded, stride = sizes.outputs, sizes.latents, sizes.padded, sizes.stride
    if sizes.readout == CONFIDENCE:
        # dL/dc = sum d (kappa - kappa*)
        total = full(like, 0.0)
        if trainable[6]:
            for k in range(start, stop, jump):
                total = total + take(by_z, k, like) * (take(path, (first + k) * stride, like) - threshold)
        put(gradient, 0, total)
        return
    offset = outputs * latents if sizes.readout == LATENT else 0
    for o in range(outputs):
        # dL/dW_out = sum d kappa^T
        for j in range(latents if sizes.readout == LATENT else 0):
            total = full(like, 0.0)
            if trainable[4]:
                for k in range(start, stop, jump):
                    d = take(by_z, o * padded + k, like)
                    total = total + d * take(path, (first + k) * stride + j, like)
            put(gradient, o * latents + j, total)
        # dL/db_out = sum d
        total = full(like, 0.0)
        if trainable[5]:
            for k in range(start, stop, jump):
                total = total + take(by_z, o * padded + k, like)
        put(gradient, offset + o, total)


@njit(inline="always")
def column(j, plane, width):
    """The place of column j in a matrix in panels; its vectors are ``width**2`` apart."""
    return j // width * width * plane + j % width * width


@njit
def normalize(memory, sizes, small_size, norm):
    """Scale W_out and b_out so that ``sum |W_out|`` is ``norm``; a readout of zeros stays."""
    not_inlined()
    right, small, plane, latents, outputs = memory.right, memory.small, sizes.plane, sizes.latents, sizes.outputs
    width, size = lanes(right), full(small[0], 0.0)
    if sizes.readout == LATENT:
        for i in range(outputs * latents):
            size += abs(small[i])
    else:
        for j in range(latents, latents + outputs):
            for i in range(sizes.units):
                size += abs(right[column(j, plane, width) + i // width * width * width + i % width])
    if size > 0:
        factor = splat(norm / size)
        for i in range(0, small_size, width):
            store(small, i, factor * load(small, i))
        if sizes.readout == STATE:
            for j in range(latents, latents + outputs):
                begin = column(j, plane, width)
                for i in range(begin, begin + plane * width, width * width):
                    store(right, i, factor * load(right, i))
