"""Register blocks: several SIMD vectors that stay in registers through a loop over a matrix.

A block is a tuple of vectors. The operations here are makers of intrinsics, for the shape of a
block must be known when it is compiled: an intrinsic reads a few vectors of a matrix and returns
the block with their products added.

Matrices are stored in *panels* of ``lanes`` columns. Element ``(i, j)`` of a matrix with ``plane``
rows, a multiple of ``lanes``, is at ``(j // lanes) plane lanes + (i // lanes) lanes**2 + (j %
lanes) lanes + i % lanes``: a vector holds rows, the vectors of a panel's columns follow each other,
then come the next rows. So both products, with the matrix (a sum of columns) and with its transpose
(a dot product per column), read one copy of it at offsets known in advance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ghostpoint.numerics.simd import Vector, _address, _broadcast, _call, _constant_indices, _data, _of, _suffix


def _read(context: Any, builder: Any, kind: Any, array: Any, index: Any, offset: int, vector: Vector) -> Any:
    """The vector at ``array[index + offset]``."""
    at = builder.add(index, context.get_constant(types.intp, offset))
    value = builder.load(_address(context, builder, kind, array, at, vector))
    value.align = vector.element.bitwidth // 8
    return value


def _write(
    context: Any, builder: Any, kind: Any, array: Any, index: Any, offset: int, vector: Vector, value: Any
) -> Any:
    at = builder.add(index, context.get_constant(types.intp, offset))
    data = _data(context, builder, kind, array)
    pointer = builder.bitcast(builder.gep(data, [at]), value.type.as_pointer())
    builder.store(value, pointer).align = vector.element.bitwidth // 8


def _spread(context: Any, builder: Any, kind: Any, array: Any, index: Any, offset: int, vector: Vector) -> Any:
    """``array[index + offset]`` in every lane."""
    at = builder.add(index, context.get_constant(types.intp, offset))
    data = _data(context, builder, kind, array)
    return _broadcast(builder, vector, builder.load(builder.gep(data, [at])))


def _fma(builder: Any, vector: Vector, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, "fma", vector.llvm, _suffix(vector), [a, b, c])


def zero_block(size: Callable[[int], int]) -> Any:
    """``zeros(like)``: a block of ``size(lanes)`` vectors of ``like``'s element type."""

    @intrinsic
    def zeros(typingctx: Any, like: Any) -> Any:
        block = types.UniTuple(_of(like.dtype), size(_of(like.dtype).lanes))

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            zero = ir.Constant(block.dtype.llvm, [0.0] * block.dtype.lanes)
            return cgutils.pack_array(builder, [zero] * block.count)

        return block(like), generate

    return zeros


def add_columns(rows: int, columns: int, trials: int) -> Any:
    """``add(block, matrix, at, x, x_at, stride)``: ``block[c, b, r] += matrix[r, c] x[b, c]``.

    ``at`` is that of the first vector, ``x[b, c]`` is ``x[x_at + b stride + c]``.
    """

    @intrinsic
    def add(typingctx: Any, block: Any, matrix: Any, at: Any, x: Any, x_at: Any, stride: Any) -> Any:
        vector, width = block.dtype, block.dtype.lanes

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = list(cgutils.unpack_tuple(builder, args[0]))
            # where the factors x[b, .] of each trial begin
            starts = [args[4]]
            for _ in range(1, trials):
                starts.append(builder.add(starts[-1], args[5]))
            for c in range(columns):
                # x[b, c] in every lane: one load for each trial, shared by all rows
                factors = [_spread(context, builder, x, args[3], start, c, vector) for start in starts]
                for r in range(rows):
                    # rows r lanes to (r + 1) lanes of column c, read once for all trials
                    entry = _read(context, builder, matrix, args[1], args[2], (r * width + c) * width, vector)
                    for b, factor in enumerate(factors):
                        k = (c * trials + b) * rows + r
                        sums[k] = _fma(builder, vector, entry, factor, sums[k])
            return cgutils.pack_array(builder, sums)

        return block(block, matrix, types.intp, x, types.intp, types.intp), generate

    return add


def store_columns(rows: int, columns: int, trials: int) -> Any:
    """``finish(block, out, at, stride)``:
    ``out[at + b stride + r lanes :] = sum_c block[c, b, r]``.
    """

    @intrinsic
    def finish(typingctx: Any, block: Any, out: Any, at: Any, stride: Any) -> Any:
        vector, width = block.dtype, block.dtype.lanes

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = cgutils.unpack_tuple(builder, args[0])
            start = args[2]
            for b in range(trials):
                for r in range(rows):
                    # the columns were summed apart, so that no product waits for the one before
                    total = sums[b * rows + r]
                    for c in range(1, columns):
                        total = builder.fadd(total, sums[(c * trials + b) * rows + r])
                    _write(context, builder, out, args[1], start, r * width, vector, total)
                start = builder.add(start, args[3])
            return context.get_dummy_value()

        return types.void(block, out, types.intp, types.intp), generate

    return finish


def add_sums(share: int, trials: int) -> Any:
    """``add(block, matrix, at, s, s_at, stride)``: ``block[b, c] += matrix[., c] s[b]``, one vector
    of rows.

    ``c`` runs over ``lanes / share`` columns; ``s[b]`` is the vector at ``s[s_at + b stride]``.
    """

    @intrinsic
    def add(typingctx: Any, block: Any, matrix: Any, at: Any, s: Any, s_at: Any, stride: Any) -> Any:
        vector, width = block.dtype, block.dtype.lanes

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = list(cgutils.unpack_tuple(builder, args[0]))
            columns = width // share
            # s[b] for these rows, lane by lane
            factors, start = [], args[4]
            for _ in range(trials):
                factors.append(_read(context, builder, s, args[3], start, 0, vector))
                start = builder.add(start, args[5])
            for c in range(columns):
                entry = _read(context, builder, matrix, args[1], args[2], c * width, vector)
                for b, factor in enumerate(factors):
                    # each lane sums its own rows; the lanes are added up at the end by store_sums
                    k = b * columns + c
                    sums[k] = _fma(builder, vector, entry, factor, sums[k])
            return cgutils.pack_array(builder, sums)

        return block(block, matrix, types.intp, s, types.intp, types.intp), generate

    return add


def _sums_over_lanes(builder: Any, vector: Vector, parts: list[Any]) -> Any:
    """The vector of the sums over lanes of ``lanes`` vectors; each sum in the order of
    ``simd.tree_sum``.

    Halves, then quarters of the registers of 128 bits, are brought together by shuffles of one
    operation each. Those inside 128 bits interleave, so the vectors that meet first are a quarter
    of ``lanes`` apart.
    """
    width = vector.lanes
    quarter = width // 4

    def joined(a: Any, b: Any, low: list[int], step: int) -> Any:
        first = builder.shuffle_vector(a, b, _constant_indices(low))
        second = builder.shuffle_vector(a, b, _constant_indices([i + step for i in low]))
        return builder.fadd(first, second)

    # lanes of (a, b): the lower halves of both, and `step` further on the upper halves
    halves = [*range(2 * quarter), *range(width, width + 2 * quarter)]
    quarters = [start + i for start in range(0, 2 * width, 2 * quarter) for i in range(quarter)]
    # two rounds: 4 vectors of partial sums become one with a quarter for each of the 4 columns
    level = []
    for e in range(quarter):
        a = joined(parts[e], parts[quarter + e], halves, 2 * quarter)
        b = joined(parts[2 * quarter + e], parts[3 * quarter + e], halves, 2 * quarter)
        level.append(joined(a, b, quarters, quarter))
    half = quarter // 2
    # the rounds inside a quarter: each one joins two vectors and halves what is left to add
    while half:  # quarter q of level[e] holds 2 half partial sums of column q quarter + e
        group = quarter // (2 * half)  # this many columns share a quarter
        indices = [q * quarter + j * 2 * half + i for q in range(4) for j in range(group) for i in range(half)]
        low = []
        for q in range(4):
            mine = [i for i in indices if q * quarter <= i < (q + 1) * quarter]
            low += mine + [i + width for i in mine]
        level = [joined(level[e], level[e + 1], low, half) for e in range(0, len(level), 2)]
        half //= 2
    return level[0]


def store_sums(share: int, trials: int) -> Any:
    """``finish(block, out, at, stride)``: ``out[at + b stride + c]`` becomes the sum over lanes of
    ``block[b, c]``.
    """

    @intrinsic
    def finish(typingctx: Any, block: Any, out: Any, at: Any, stride: Any) -> Any:
        vector, width = block.dtype, block.dtype.lanes

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            columns = width // share
            parts = list(cgutils.unpack_tuple(builder, args[0]))
            # fewer columns than lanes: the repeats cost nothing, equal operations are done once
            total = _sums_over_lanes(builder, vector, parts * (width // len(parts)))
            start = args[2]
            for b in range(trials):
                # the columns of trial b
                mine = builder.shuffle_vector(
                    total, total, _constant_indices([b * columns + c for c in range(columns)])
                )
                _write(context, builder, out, args[1], start, 0, vector, mine)
                start = builder.add(start, args[3])
            return context.get_dummy_value()

        return types.void(block, out, types.intp, types.intp), generate

    return finish


def add_outer(rows: int, columns: int) -> Any:
    """``add(block, s, s_at, x, x_at)``: ``block[c, r] += s[r] x[c]``, ``s[r]`` the vector at
    ``s[s_at + r lanes]``.
    """

    @intrinsic
    def add(typingctx: Any, block: Any, s: Any, s_at: Any, x: Any, x_at: Any) -> Any:
        vector, width = block.dtype, block.dtype.lanes

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = list(cgutils.unpack_tuple(builder, args[0]))
            # the outer product s x^T: x[c] in every lane, s[r] a vector of rows
            factors = [_spread(context, builder, x, args[3], args[4], c, vector) for c in range(columns)]
            for r in range(rows):
                entry = _read(context, builder, s, args[1], args[2], r * width, vector)
                for c, factor in enumerate(factors):
                    sums[c * rows + r] = _fma(builder, vector, entry, factor, sums[c * rows + r])
            return cgutils.pack_array(builder, sums)

        return block(block, s, types.intp, x, types.intp), generate

    return add


def store_outer(rows: int, columns: int) -> Any:
    """``finish(block, matrix, at)``: put ``block[c, r]`` in the panel of a matrix whose first
    vector is at ``at``.
    """

    @intrinsic
    def finish(typingctx: Any, block: Any, matrix: Any, at: Any) -> Any:
        vector, width = block.dtype, block.dtype.lanes

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = cgutils.unpack_tuple(builder, args[0])
            for c in range(columns):
                for r in range(rows):
                    # element (r lanes, c) of a panel, as in the module's first lines
                    offset = (r * width + c) * width
                    _write(context, builder, matrix, args[1], args[2], offset, vector, sums[c * rows + r])
            return context.get_dummy_value()

        return types.void(block, matrix, types.intp), generate

    return finish
