"""Register blocks for networks across lanes: a few columns of every network's matrix at a time, as
in ``blocks.py``.

Here a number is a vector of ``lanes`` networks, so nothing is spread over lanes or summed over
them. The operations are makers of intrinsics, for the shape of a block must be known when it is
compiled; ``zero_block`` of ``blocks.py`` makes the blocks.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ghostpoint.numerics.blocks import _fma, _read, _write
from ghostpoint.numerics.simd import _of


def take_columns(columns: int) -> Any:
    """``take(array, at)``: the block of the vectors that follow ``array[at]``."""

    @intrinsic
    def take(typingctx: Any, array: Any, at: Any) -> Any:
        vector = _of(array.dtype)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vectors = [
                _read(context, builder, array, args[0], args[1], c * vector.lanes, vector) for c in range(columns)
            ]
            return cgutils.pack_array(builder, vectors)

        return types.UniTuple(vector, columns)(array, types.intp), generate

    return take


def add_dot(columns: int, apart: bool) -> Any:
    """``add(sums, matrix, at, block)``: ``sum_c matrix[c] block[c]`` added to two sums.

    The first sum takes them all, or with ``apart`` those of even c, and the second the others.
    """

    @intrinsic
    def add(typingctx: Any, sums: Any, matrix: Any, at: Any, block: Any) -> Any:
        vector = sums.dtype

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            totals = list(cgutils.unpack_tuple(builder, args[0]))
            # lane by lane a network of its own, so a product of matrices is a sum over c alone
            for c, factor in enumerate(cgutils.unpack_tuple(builder, args[3])):
                entry = _read(context, builder, matrix, args[1], args[2], c * vector.lanes, vector)
                # two sums halve the chain of additions that wait for each other
                k = c % 2 if apart else 0
                totals[k] = _fma(builder, vector, entry, factor, totals[k])
            return cgutils.pack_array(builder, totals)

        return sums(sums, matrix, types.intp, types.UniTuple(vector, columns)), generate

    return add


def add_scaled(columns: int) -> Any:
    """``add(block, matrix, at, value)``: ``block[c] += matrix[c] value``, the first entry at
    ``at``.
    """

    @intrinsic
    def add(typingctx: Any, block: Any, matrix: Any, at: Any, value: Any) -> Any:
        vector = block.dtype

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = list(cgutils.unpack_tuple(builder, args[0]))
            # one row of an outer product: the same value for all columns
            for c in range(columns):
                entry = _read(context, builder, matrix, args[1], args[2], c * vector.lanes, vector)
                sums[c] = _fma(builder, vector, entry, args[3], sums[c])
            return cgutils.pack_array(builder, sums)

        return block(block, matrix, types.intp, vector), generate

    return add


def add_two(columns: int) -> Any:
    """``add(block, pair, pair_at, vectors, at)``: ``block[u, c] += pair[u] vectors[c]`` for u = 0
    and 1.
    """

    @intrinsic
    def add(typingctx: Any, block: Any, pair: Any, pair_at: Any, vectors: Any, at: Any) -> Any:
        vector = block.dtype

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = list(cgutils.unpack_tuple(builder, args[0]))
            # both values of the pair share each load of `vectors`
            x, y = (_read(context, builder, pair, args[1], args[2], u * vector.lanes, vector) for u in range(2))
            for c in range(columns):
                entry = _read(context, builder, vectors, args[3], args[4], c * vector.lanes, vector)
                sums[c] = _fma(builder, vector, x, entry, sums[c])
                sums[columns + c] = _fma(builder, vector, y, entry, sums[columns + c])
            return cgutils.pack_array(builder, sums)

        return block(block, pair, types.intp, vectors, types.intp), generate

    return add


def put_columns(first: int, columns: int) -> Any:
    """``put(block, array, at, stride)``: the vectors of a block from number ``first`` on,
    ``stride`` apart.
    """

    @intrinsic
    def put(typingctx: Any, block: Any, array: Any, at: Any, stride: Any) -> Any:
        vector = block.dtype

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            start = args[2]
            for value in cgutils.unpack_tuple(builder, args[0])[first : first + columns]:
                _write(context, builder, array, args[1], start, 0, vector, value)
                start = builder.add(start, args[3])
            return context.get_dummy_value()

        return types.void(block, array, types.intp, types.intp), generate

    return put
