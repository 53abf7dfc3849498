"""The passes of ``low_rank.train``: forwards, the readout, backwards; see there for the mathematics."""

from __future__ import annotations

from numba import njit

from ghostpoint.numerics.elementary import tanh
from ghostpoint.numerics.products import matrix_times, transpose_times
from ghostpoint.numerics.simd import fma, full, lanes, load, not_inlined, splat, store

__all__ = [
    "CONFIDENCE",
    "LATENT",
    "READOUTS",
    "STATE",
    "backward",
    "column",
    "forward",
    "logits",
    "normalize",
    "small_gradient",
]

#: what the output is read from, in the order of the codes
READOUTS = ("state", "latent", "confidence")
STATE, LATENT, CONFIDENCE = range(3)


@njit
def forward(
    left, right, g, path, phi, slope, noise, noisy, net, pull, leak, alphas, latents, columns, rows, plane, g_stride,
    stride, trials, steps,
):  # fmt: skip
    """rho of every step, ``alpha phi`` from the plane ``trials`` of ``phi`` on, and ``slope = alpha (1 - phi**2)``."""
    not_inlined()
    width = lanes(left)
    one = full(left, 1.0)
    whole = latents // width * width
    for t in range(steps):
        here, there = t * trials * plane, (t + 1) * trials * plane
        old, new = t * trials * stride, (t + 1) * trials * stride
        for b in range(trials):
            at, to = old + b * stride, (t * trials + b) * g_stride
            for i in range(0, whole, width):
                store(g, to + i, load(path, at + i))
            for i in range(whole, latents):
                g[to + i] = path[at + i]
        matrix_times(left, plane, columns, g, t * trials * g_stride, g_stride, trials, net, t % 2 == 1)
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
        transpose_times(right, plane, rows, phi, there, trials, pull, stride, t % 2 == 0)
        for i in range(0, trials * stride, width):
            store(path, new + i, fma(leak, load(path, old + i), load(pull, i)))


@njit
def logits(kind, small, path, first, stride, latents, outputs, count, padded, threshold, out):
    """z of the states from ``path[first]`` on."""
    not_inlined()
    for o in range(outputs):
        for k in range(count):
            at = first + k * stride
            if kind == STATE:
                out[o * padded + k] = path[at + latents + o] + small[o]
            elif kind == LATENT:
                total = small[outputs * latents + o]
                for j in range(latents):
                    total += small[o * latents + j] * path[at + j]
                out[o * padded + k] = total
            else:
                out[o * padded + k] = small[0] * (path[at] - threshold)


@njit
def _seed(kind, small, adjoint, at, by_z, k, padded, latents, outputs):
    """Add ``(dz/drho)^T dL/dz`` of step-and-trial k."""
    for o in range(outputs):
        d = by_z[o * padded + k]
        if kind == STATE:
            adjoint[at + latents + o] += d
        elif kind == LATENT:
            for j in range(latents):
                adjoint[at + j] += small[o * latents + j] * d
        else:
            adjoint[at] += small[0] * d


@njit
def backward(
    kind, left, right, small, slope, by_z, adjoint, s, net, pull, leak, latents, rows, plane, stride, trials, padded,
    outputs, shift, steps, last, trial, count,
):  # fmt: skip
    """lambda and s of the ``count`` trials from ``trial`` on, for rho up to ``rho[last]``, beyond which none is read.

    rho[t] is read at step ``t - 1 + shift``.
    """
    not_inlined()
    width = lanes(left)
    zero = full(left, 0.0)
    for i in range(0, count * stride, width):
        store(adjoint, (last * trials + trial) * stride + i, zero)
        store(pull, i, zero)
    for t in range(last, -1, -1):
        new = (t * trials + trial) * stride
        if t < last:
            old, here = new + trials * stride, (t * trials + trial) * plane
            matrix_times(right, plane, rows, adjoint, old, stride, count, net, t % 2 == 1)
            for i in range(0, count * plane, width):
                store(s, here + i, load(slope, here + i) * load(net, i))
            transpose_times(left, plane, latents, s, here, count, pull, stride, t % 2 == 0)
            for b in range(count):
                for i in range(latents, (latents + width // 4 - 1) // (width // 4) * (width // 4)):
                    pull[b * stride + i] = 0  # sums of the columns that follow m
            for i in range(0, count * stride, width):
                store(adjoint, new + i, fma(leak, load(adjoint, old + i), load(pull, i)))
        step = t - 1 + shift
        if 0 <= step < steps:
            for b in range(count):
                k = step * trials + trial + b
                _seed(kind, small, adjoint, new + b * stride, by_z, k, padded, latents, outputs)


@njit
def small_gradient(
    kind, gradient, path, first, stride, by_z, latents, outputs, start, stop, jump, padded, threshold, trainable
):  # fmt: skip
    """Of W_out of a latent readout and b_out, or of the confidence, from the answers ``range(start, stop, jump)``.

    Zero where not trainable.
    """
    not_inlined()
    if kind == CONFIDENCE:
        gradient[0] = 0
        if trainable[6]:
            for k in range(start, stop, jump):
                gradient[0] += by_z[k] * (path[first + k * stride] - threshold)
        return
    offset = outputs * latents if kind == LATENT else 0
    for o in range(outputs):
        if kind == LATENT:
            for j in range(latents):
                gradient[o * latents + j] = 0
            if trainable[4]:
                for k in range(start, stop, jump):
                    d, at = by_z[o * padded + k], first + k * stride
                    for j in range(latents):
                        gradient[o * latents + j] += d * path[at + j]
        gradient[offset + o] = 0
        if trainable[5]:
            for k in range(start, stop, jump):
                gradient[offset + o] += by_z[o * padded + k]


@njit(inline="always")
def column(j, plane, width):
    """The place of column j in a matrix in panels; its vectors are ``width**2`` apart."""
    return j // width * width * plane + j % width * width


@njit
def normalize(kind, right, small, small_size, latents, outputs, plane, units, norm):
    """Scale W_out and b_out so that ``sum |W_out|`` is ``norm``; a readout of zeros stays."""
    not_inlined()
    width = lanes(right)
    size = abs(small[0])
    size -= size
    if kind == LATENT:
        for i in range(outputs * latents):
            size += abs(small[i])
    else:
        for j in range(latents, latents + outputs):
            for i in range(units):
                size += abs(right[column(j, plane, width) + i // width * width * width + i % width])
    if size > 0:
        factor = splat(norm / size)
        for i in range(0, small_size, width):
            store(small, i, factor * load(small, i))
        if kind == STATE:
            for j in range(latents, latents + outputs):
                begin = column(j, plane, width)
                for i in range(begin, begin + plane * width, width * width):
                    store(right, i, factor * load(right, i))
