"""The passes of ``low_rank_lanes.train``: a block of networks, one per lane; see there for the
layout.

The three products of a matrix A (units, columns) of every network add in the order in which
``products.py`` adds for one network: a sum of columns adds them in turn, even and odd ones apart
for a trial that is not one of a pair; a sum over units is ``lanes`` partial sums, unit i in number
``i mod lanes``, and then a tree; an outer product adds step after step. All columns, at most
:data:`MOST`, are taken at once: loops over units are long and their bodies known, while a loop over
two or three columns would cost more than its body.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from ghostpoint.numerics.blocks import zero_block
from ghostpoint.numerics.compiled_code import distinct
from ghostpoint.numerics.elementary import tanh
from ghostpoint.numerics.lanes_blocks import add_dot, add_scaled, add_two, put_columns, take_columns
from ghostpoint.numerics.simd import fma, full, lanes, load, not_inlined, pointer, splat, store, tree_of_vectors
from ghostpoint.training.kernels.low_rank_passes import add_pull_of_output

#: columns of a matrix; with more, weights of 16 networks leave the first-level cache, and nothing
#: is gained
MOST = 4


class Memory(NamedTuple):
    """Pointers: M, P, x[0] and the rest of the weights; g, rho (``path``), phi, lambda and s;
    scratch.
    """

    left: Any
    right: Any
    initial: Any
    small: Any
    g: Any
    path: Any
    rates: Any
    adjoint: Any
    s: Any
    net: Any
    parts: Any
    buffer: Any


def _make_columns_of(columns, apart, finish):
    take, add, zeros = take_columns(columns), add_dot(columns, apart), zero_block(lambda width: 2)

    @njit(inline="always")
    def expand(matrix, vector, at, units, rates, out, alpha):
        width = lanes(matrix)
        block = take(vector, at)
        for i in range(units):
            even, odd = add(zeros(matrix), matrix, i * columns * width, block)
            store(out, i * width, finish(even + odd, rates, i * width, alpha))

    return expand


def _make_expand(finish, apart):
    """``out_i = finish(sum_j A[i, j] v_j)`` for every unit."""
    one, two, three, four = (_make_columns_of(columns, apart, finish) for columns in (1, 2, 3, 4))

    def expand(matrix, columns, vector, at, units, rates, out, alpha):
        not_inlined()
        if columns == 1:
            one(matrix, vector, at, units, rates, out, alpha)
        elif columns == 2:
            two(matrix, vector, at, units, rates, out, alpha)
        elif columns == 3:
            three(matrix, vector, at, units, rates, out, alpha)
        else:
            four(matrix, vector, at, units, rates, out, alpha)

    return njit(distinct(expand, f"{finish.py_func.__name__}_{'apart' if apart else 'in_turn'}"))


@njit(inline="always")
def _rate(z, rates, at, alpha):
    return tanh(z)


@njit(inline="always")
def _sensitivity(push, rates, at, alpha):
    rate = load(rates, at)
    return alpha * fma(-rate, rate, full(rate, 1.0)) * push


_rates_apart, _rates_in_turn = _make_expand(_rate, True), _make_expand(_rate, False)
_sensitivities_apart, _sensitivities_in_turn = _make_expand(_sensitivity, True), _make_expand(_sensitivity, False)


def _make_sum(count):
    """Sums over units of the first ``count`` columns."""
    zeros, add, put = zero_block(lambda width: count), add_scaled(count), put_columns(0, count)

    @njit(inline="always")
    def total(matrix, columns, values, factor, units, parts, out):
        width = lanes(matrix)
        # unit i is in partial sum i mod lanes
        for p in range(width):
            block = zeros(matrix)
            for i in range(p, units, width):
                block = add(block, matrix, i * columns * width, factor * load(values, i * width))
            put(block, parts, p * width, width * width)
        # then a tree over the partial sums
        for c in range(count):
            store(out, c * width, tree_of_vectors(pointer(parts, c * width * width)))

    return total


_sum_1, _sum_2, _sum_3, _sum_4 = (_make_sum(count) for count in (1, 2, 3, 4))


@njit
def _sums(matrix, columns, values, factor, units, count, parts, out):
    """``out_j = sum_i A[i, j] (factor v_i)`` for ``j < count``."""
    not_inlined()
    if count == 1:
        _sum_1(matrix, columns, values, factor, units, parts, out)
    elif count == 2:
        _sum_2(matrix, columns, values, factor, units, parts, out)
    elif count == 3:
        _sum_3(matrix, columns, values, factor, units, parts, out)
    else:
        _sum_4(matrix, columns, values, factor, units, parts, out)


@njit
def forward(memory, sizes, inputs, alpha):
    """g and rho of every step, and the rates ``phi = tanh(M g)``."""
    not_inlined()
    left, right, g, path, net, parts = memory.left, memory.right, memory.g, memory.path, memory.net, memory.parts
    latents, n_inputs, units, trials = sizes.latents, sizes.inputs, sizes.units, sizes.trials
    columns, rows, width = sizes.columns, sizes.rows, lanes(g)
    one = full(g, 1.0)
    leak = one - alpha
    # rho[0] = P^T x[0]
    for b in range(trials):
        _sums(right, rows, memory.initial, one, units, rows, parts, pointer(path, b * rows * width))
    for k in range(sizes.steps * trials):
        at, old, new = k * columns * width, k * rows * width, (k + trials) * rows * width
        here = pointer(memory.rates, k * units * width)
        # g[t] = (kappa[t], u[t], 1)
        for j in range(latents):
            store(g, at + j * width, load(path, old + j * width))
        for j in range(n_inputs):
            store(g, at + (latents + j) * width, splat(inputs[k * n_inputs + j]))
        store(g, at + (columns - 1) * width, one)
        # phi[t] = tanh(M g[t])
        if trials % 2 == 1 and k % trials == trials - 1:
            _rates_apart(left, columns, g, at, units, here, here, alpha)
        else:
            _rates_in_turn(left, columns, g, at, units, here, here, alpha)
        # rho[t+1] = (1 - alpha) rho[t] + alpha P^T phi[t]
        _sums(right, rows, here, alpha, units, rows, parts, net)
        for j in range(rows):
            store(path, new + j * width, fma(leak, load(path, old + j * width), load(net, j * width)))


@njit
def backward(memory, sizes, by_z, alpha):
    """lambda and s of every step."""
    not_inlined()
    adjoint, net, parts = memory.adjoint, memory.net, memory.parts
    rows, units, trials, steps = sizes.rows, sizes.units, sizes.trials, sizes.steps
    width, zero, one = lanes(adjoint), full(adjoint, 0.0), full(adjoint, 1.0)
    leak = one - alpha
    for j in range(rows):
        store(net, j * width, zero)  # what does not feed back has no pull
    for k in range((steps + 1) * trials - 1, -1, -1):
        here, later = k * rows * width, (k + trials) * rows * width
        if k >= steps * trials:
            for j in range(rows):
                store(adjoint, here + j * width, zero)
        else:
            # s[t] = alpha e[t] P lambda[t+1]
            hot, out = pointer(memory.rates, k * units * width), pointer(memory.s, k * units * width)
            if trials % 2 == 1 and k % trials == trials - 1:
                _sensitivities_apart(memory.right, rows, adjoint, later, units, hot, out, alpha)
            else:
                _sensitivities_in_turn(memory.right, rows, adjoint, later, units, hot, out, alpha)
            # lambda[t] = (1 - alpha) lambda[t+1] + (m^T s[t], 0)
            _sums(memory.left, sizes.columns, out, one, units, sizes.latents, parts, net)
            for j in range(rows):
                store(adjoint, here + j * width, fma(leak, load(adjoint, later + j * width), load(net, j * width)))
        # what the outputs add that read rho[t]
        reading = k + (sizes.shift - 1) * trials
        if 0 <= reading < steps * trials:
            add_pull_of_output(sizes, memory.small, adjoint, k * rows, by_z, reading, zero)


def _make_outer(columns):
    """An outer product for two units u and v, whose factors are side by side in ``buffer``."""
    zeros, add = zero_block(lambda width: 2 * columns), add_two(columns)
    put_u, put_v = put_columns(0, columns), put_columns(columns, columns)

    @njit(inline="always")
    def product(matrix, u, v, vectors, terms, buffer):
        width = lanes(matrix)
        block, stride = zeros(matrix), columns * width
        for k in range(terms):
            block = add(block, buffer, 2 * k * width, vectors, k * stride)
        put_u(block, matrix, u * stride, width)
        put_v(block, matrix, v * stride, width)

    return product


_outer_1, _outer_2, _outer_3, _outer_4 = (_make_outer(columns) for columns in (1, 2, 3, 4))


@njit
def _two_units(matrix, columns, u, v, vectors, terms, buffer):
    """``A[u, j] = sum_k buffer[k, 0] v_j[k]`` and the same for unit v, for every column."""
    not_inlined()
    if columns == 1:
        _outer_1(matrix, u, v, vectors, terms, buffer)
    elif columns == 2:
        _outer_2(matrix, u, v, vectors, terms, buffer)
    elif columns == 3:
        _outer_3(matrix, u, v, vectors, terms, buffer)
    else:
        _outer_4(matrix, u, v, vectors, terms, buffer)


@njit
def outer(matrix, columns, s, units, vectors, terms, buffer):
    """``A[i, j] = sum_k s_i[k] v_j[k]`` over all steps and trials."""
    not_inlined()
    width = lanes(matrix)
    plane = units * width
    # two units at a time, whose factors are brought together first
    for u in range(0, units, 2):
        v = min(u + 1, units - 1)
        for k in range(terms):
            store(buffer, 2 * k * width, load(s, k * plane + u * width))
            store(buffer, (2 * k + 1) * width, load(s, k * plane + v * width))
        _two_units(matrix, columns, u, v, vectors, terms, buffer)


@njit
def outer_rates(memory, sizes, matrix, alpha):
    """``dL/dP = x[0] lambda[0]^T + sum alpha phi[t] lambda[t+1]^T``: over the x[0] of every trial,
    then all steps.
    """
    not_inlined()
    initial, rates, buffer = memory.initial, memory.rates, memory.buffer
    width, units, trials, terms = lanes(matrix), sizes.units, sizes.trials, sizes.steps * sizes.trials
    plane = units * width
    for u in range(0, units, 2):
        v = min(u + 1, units - 1)
        # x[0], which lambda[0] meets
        for k in range(trials):
            store(buffer, 2 * k * width, load(initial, u * width))
            store(buffer, (2 * k + 1) * width, load(initial, v * width))
        # alpha phi[t], which lambda[t+1] meets
        for k in range(terms):
            to = 2 * (trials + k) * width
            store(buffer, to, alpha * load(rates, k * plane + u * width))
            store(buffer, to + width, alpha * load(rates, k * plane + v * width))
        _two_units(matrix, sizes.rows, u, v, memory.adjoint, trials + terms, buffer)
