"""Products of a matrix in panels (see ``blocks.py``) with the vectors of a few trials, forwards and
transposed.

Each element of a result is a sum in an order that the source fixes: a column sum adds columns in
turn (for one trial even and odd ones apart), a sum over rows is ``lanes`` partial sums and then a
tree, an outer product adds vectors in turn.

A matrix of 100 units fills the first-level cache but for a few lines. So the caller alternates
``backwards``, the direction in which the panels are read: a pass begins with what the one before it
read last.
"""

from __future__ import annotations

from numba import njit

from ghostpoint.numerics.blocks import (
    add_columns,
    add_outer,
    add_sums,
    store_columns,
    store_outer,
    store_sums,
    zero_block,
)
from ghostpoint.numerics.simd import lanes, not_inlined


def _make_columns(rows, columns, trials):
    """The product of ``rows`` vectors of rows; ``columns`` sums at a time are in flight for
    each.
    """
    zeros = zero_block(lambda width: rows * columns * trials)
    add, finish = add_columns(rows, columns, trials), store_columns(rows, columns, trials)

    @njit(inline="always")
    def product(matrix, at, plane, count, x, x_at, stride, out, out_at, backwards):
        width = lanes(matrix)
        # the block holds one sum per row, trial and column in flight
        block = zeros(matrix)
        last = (count - 1) // width * width
        for ascending in range(0, count, width):
            first = last - ascending if backwards else ascending
            for c in range(0, min(width, count - first), columns):
                block = add(block, matrix, at + first * plane + c * width, x, x_at + first + c, stride)
        finish(block, out, out_at, plane)

    return product


def _make_matrix_times(large, middle, small, columns, trials):
    """Rows in blocks of that many vectors, and of one. More sizes would be faster still, and longer
    to compile.
    """
    most, more = _make_columns(large, columns, trials), _make_columns(middle, columns, trials)
    few, one = _make_columns(small, columns, trials), _make_columns(1, columns, trials)

    @njit(inline="always")
    def product(matrix, plane, count, x, x_at, stride, out, out_at, backwards):
        width = lanes(matrix)
        row, rows = 0, plane // width
        while row < rows:
            left = rows - row
            at, to = row * width * width, out_at + row * width
            if left >= large and left != large + 1:
                most(matrix, at, plane, count, x, x_at, stride, out, to, backwards)
                row += large
            elif left >= middle:
                more(matrix, at, plane, count, x, x_at, stride, out, to, backwards)
                row += middle
            elif left >= small:
                few(matrix, at, plane, count, x, x_at, stride, out, to, backwards)
                row += small
            else:
                one(matrix, at, plane, count, x, x_at, stride, out, to, backwards)
                row += 1

    return product


_matrix_times_1, _matrix_times_2 = _make_matrix_times(7, 4, 2, 2, 1), _make_matrix_times(7, 4, 2, 1, 2)
_matrix_times_4 = _make_matrix_times(4, 3, 2, 1, 4)


@njit
def matrix_times(matrix, plane, count, x, x_at, stride, trials, out, backwards):
    """``out[b plane + i] = sum_j matrix[i, j] x[x_at + b stride + j]`` for every trial b and
    ``j < count``.

    Where ``count`` is odd, x goes on with a zero.
    """
    not_inlined()
    # four trials at a time share what is read of the matrix, then two, then one
    for b in range(0, trials - 3, 4):
        _matrix_times_4(matrix, plane, count, x, x_at + b * stride, stride, out, b * plane, backwards)
    b = trials // 4 * 4
    if trials - b >= 2:
        _matrix_times_2(matrix, plane, count, x, x_at + b * stride, stride, out, b * plane, backwards)
    if trials % 2:
        b = trials - 1
        _matrix_times_1(matrix, plane, count, x, x_at + b * stride, stride, out, b * plane, backwards)


def _make_sums(share, trials):
    zeros = zero_block(lambda width: width // share * trials)
    add, finish = add_sums(share, trials), store_sums(share, trials)

    @njit(inline="always")
    def sums(matrix, at, plane, s, s_at, out, out_at, stride):
        width = lanes(matrix)
        # lanes partial sums per column, over the vectors of rows
        block = zeros(matrix)
        for r in range(0, plane, width):
            block = add(block, matrix, at + r * width, s, s_at + r, plane)
        finish(block, out, out_at, stride)

    return sums


def _make_transpose_times(whole, quarter, share):
    """``whole`` does ``lanes / share`` columns of a panel, ``quarter`` a quarter of it."""

    @njit(inline="always")
    def product(matrix, plane, count, s, s_at, out, out_at, stride, backwards):
        width = lanes(matrix)
        panels = (count + width - 1) // width
        for p in range(panels):
            first = (panels - 1 - p if backwards else p) * width
            # whole panels, and quarters of one that is not full
            if share < 4 and first + width <= count:
                for c in range(0, width, width // share):
                    whole(matrix, first * plane + c * width, plane, s, s_at, out, out_at + first + c, stride)
            else:
                for c in range(0, min(width, count - first), width // 4):
                    quarter(matrix, first * plane + c * width, plane, s, s_at, out, out_at + first + c, stride)

    return product


_transpose_times_1 = _make_transpose_times(_make_sums(1, 1), _make_sums(4, 1), 1)
_transpose_times_2 = _make_transpose_times(_make_sums(2, 2), _make_sums(4, 2), 2)
_transpose_times_4 = _make_transpose_times(_make_sums(4, 4), _make_sums(4, 4), 4)


@njit
def transpose_times(matrix, plane, count, s, s_at, trials, out, stride, backwards):
    """``out[b stride + j] = sum_i matrix[i, j] s[s_at + b plane + i]`` for every trial b and
    ``j < count``.

    Up to ``lanes / 4 - 1`` further elements of ``out`` are written, with the sums of the columns
    that follow.
    """
    not_inlined()
    # as for the product with the matrix itself
    for b in range(0, trials - 3, 4):
        _transpose_times_4(matrix, plane, count, s, s_at + b * plane, out, b * stride, stride, backwards)
    b = trials // 4 * 4
    if trials - b >= 2:
        _transpose_times_2(matrix, plane, count, s, s_at + b * plane, out, b * stride, stride, backwards)
    if trials % 2:
        b = trials - 1
        _transpose_times_1(matrix, plane, count, s, s_at + b * plane, out, b * stride, stride, backwards)


def _make_outer(rows, columns):
    """The outer products of ``rows`` vectors of rows, ``columns`` (a divisor of 4) columns at a
    time.
    """
    zeros = zero_block(lambda width: rows * columns)
    add, finish = add_outer(rows, columns), store_outer(rows, columns)

    @njit(inline="always")
    def outer(matrix, row, plane, count, s, jump, x, stride, terms):
        width = lanes(matrix)
        for first in range(0, count, width):
            for c in range(0, min(width, count - first), columns):
                # sums over k stay in registers until they are whole
                block = zeros(matrix)
                for k in range(terms):
                    block = add(block, s, k * jump + row * width, x, k * stride + first + c)
                finish(block, matrix, first * plane + row * width * width + c * width)

    return outer


_outer_4, _outer_3, _outer_2, _outer_1 = (_make_outer(rows, 4) for rows in (4, 3, 2, 1))


@njit
def outer_products(matrix, plane, count, s, jump, x, stride, terms):
    """``matrix[i, j] = sum_k s[k jump + i] x[k stride + j]`` over ``k < terms``, for ``j < count``.

    Up to 3 further columns are written.
    """
    not_inlined()
    # up to four vectors of rows at a time
    row, rows = 0, plane // lanes(matrix)
    while row < rows:
        left = rows - row
        if left >= 4:
            _outer_4(matrix, row, plane, count, s, jump, x, stride, terms)
            row += 4
        elif left == 3:
            _outer_3(matrix, row, plane, count, s, jump, x, stride, terms)
            row += 3
        elif left == 2:
            _outer_2(matrix, row, plane, count, s, jump, x, stride, terms)
            row += 2
        else:
            _outer_1(matrix, row, plane, count, s, jump, x, stride, terms)
            row += 1
