"""Operations on rows of matrices in registers: a tile of a product, a multiple of a row, a scalar
product.

They are the core of `descent_kernels`. Numba's own loops would load and store the tile at every
product, take longer to compile (they ask first how arrays overlap), and sum in an order that the
compiler picks; BLAS has threads of its own (see `threads`). Arrays are float64 and contiguous, and
are meant from an offset on that is given with each, in numbers; nothing checks that they reach as
far as they are read.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ghostpoint.numerics import simd

LANES = 8  # of a register of 512 bits; where there are none, the compiler takes two of 256
ROWS, COLUMNS = 4, 2 * LANES  # a tile is 8 registers: enough to hide how long a product takes
I64, DOUBLE = ir.IntType(64), ir.DoubleType()
VECTOR = ir.VectorType(DOUBLE, LANES)
ZERO = ir.Constant(VECTOR, [0.0] * LANES)


class _Emitter:
    """LLVM code for vectors of `LANES` numbers."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any):
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        self.fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f64")

    def data(self, k: int) -> Any:
        """The first number of the array that is argument k."""
        return cgutils.create_struct_proxy(self.signature.args[k])(self.context, self.builder, self.args[k]).data

    def at(self, data: Any, index: Any, kind: Any = VECTOR) -> Any:
        return self.builder.bitcast(self.builder.gep(data, [index]), kind.as_pointer())

    def plus(self, index: Any, offset: int) -> Any:
        return self.builder.add(index, I64(offset))

    def load(self, data: Any, index: Any) -> Any:
        return self.builder.load(self.at(data, index), align=8)

    def store(self, value: Any, data: Any, index: Any) -> None:
        self.builder.store(value, self.at(data, index), align=8)

    def everywhere(self, value: Any) -> Any:
        """The number in every lane."""
        i32 = ir.IntType(32)
        one = self.builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, i32(0))
        return self.builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(i32, LANES), [0] * LANES))

    def times_plus(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self.fma, [a, b, c])

    def loop(self, count: Any, by: int, indices: list[tuple[Any, Any]], sums: list[Any], body: Any) -> list[Any]:
        """Run ``body`` for 0, ``by``, ... below ``count``, on indices (start, stride) and sums; the
        last sums.
        """
        builder = self.builder
        # a loop whose sums are LLVM values, not memory: they stay in registers throughout
        before, inside, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", count, I64(0)), inside, after)
        builder.position_at_end(inside)
        # the counter and the indices that move along with it
        k, *moving = (builder.phi(I64) for _ in range(1 + len(indices)))
        running = [builder.phi(VECTOR) for _ in sums]
        # one turn, then each index goes on by its stride
        results = body(moving, running)
        for phi, (start, stride) in zip([k, *moving], [(I64(0), I64(by)), *indices], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(builder.add(phi, stride), inside)
        builder.cbranch(builder.icmp_signed("<", self.plus(k, by), count), inside, after)
        builder.position_at_end(after)
        # after no turn at all the sums are what they were at first
        last = [builder.phi(VECTOR) for _ in sums]
        for phi, out, start, value in zip(running, last, sums, results, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(value, inside)
            out.add_incoming(start, before)
            out.add_incoming(value, inside)
        return last


def _emit_tile(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    emit, parts = _Emitter(context, builder, signature, args), range(COLUMNS // LANES)
    out, left, right = emit.data(0), emit.data(3), emit.data(4)
    out_at, left_at, right_at = cgutils.unpack_tuple(builder, args[1])
    out_stride, left_stride, right_stride = cgutils.unpack_tuple(builder, args[2])

    def body(at: list[Any], sums: list[Any]) -> list[Any]:
        # right[k, :] once for all ROWS rows of the tile
        rows = [emit.load(right, emit.plus(at[1], part * LANES)) for part in parts]
        results: list[Any] = []
        for i in range(ROWS):
            # left[k, i] in every lane: the outer product of a column and a row
            value = emit.everywhere(builder.load(emit.at(left, emit.plus(at[0], i), DOUBLE)))
            results += [emit.times_plus(value, rows[part], sums[len(results) + part]) for part in parts]
        return results

    places = [(left_at, left_stride), (right_at, right_stride)]
    totals = emit.loop(args[5], 1, places, [ZERO] * (ROWS * len(parts)), body)
    # out = factor sum + (out or 0)
    factor, at = emit.everywhere(args[6]), out_at
    for i in range(ROWS):
        for part in parts:
            index = emit.plus(at, part * LANES)
            here = builder.select(args[7], emit.load(out, index), ZERO)
            emit.store(emit.times_plus(factor, totals[i * len(parts) + part], here), out, index)
        at = builder.add(at, out_stride)
    return context.get_dummy_value()


def _emit_row(adding: bool) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emitter(context, builder, signature, args)
        out, row, factor = emit.data(0), emit.data(2), emit.everywhere(args[5])

        def body(at: list[Any], sums: list[Any]) -> list[Any]:
            value = emit.load(row, at[1])
            if adding:
                emit.store(emit.times_plus(factor, value, emit.load(out, at[0])), out, at[0])
            else:
                emit.store(builder.fmul(factor, value), out, at[0])
            return []

        emit.loop(args[4], LANES, [(args[1], I64(LANES)), (args[3], I64(LANES))], [], body)
        return context.get_dummy_value()

    return codegen


def _emit_dot(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    emit = _Emitter(context, builder, signature, args)
    a, b = emit.data(0), emit.data(2)

    def body(at: list[Any], sums: list[Any]) -> list[Any]:
        # two registers of sums, so that no product waits for the one before
        return [
            emit.times_plus(emit.load(a, emit.plus(at[0], k)), emit.load(b, emit.plus(at[1], k)), total)
            for k, total in zip((0, LANES), sums, strict=True)
        ]

    step = I64(2 * LANES)
    first, second = emit.loop(args[4], 2 * LANES, [(args[1], step), (args[3], step)], [ZERO, ZERO], body)
    total, i32 = builder.fadd(first, second), ir.IntType(32)
    # lanes in halves: the order of `simd.tree_sum`
    lanes = [builder.extract_element(total, i32(k)) for k in range(LANES)]
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [builder.fadd(lanes[k], lanes[k + half]) for k in range(half)]
    return lanes[0]


def _tile(
    typingctx: Any, out: Any, at: Any, strides: Any, left: Any, right: Any, count: Any, factor: Any, keep: Any
) -> Any:
    """``out[i, j] = factor sum_{k < count} left[k, i] right[k, j]``, added to what is there if
    ``keep``.

    For ``i < ROWS``, ``j < COLUMNS``. ``at`` are the offsets of out, left and right, ``strides``
    lead from row to row of each. Products are summed in turn.
    """
    i, three = types.int64, types.UniTuple(types.int64, 3)
    return types.none(out, three, three, left, right, i, types.float64, types.boolean), _emit_tile


def _set_row(typingctx: Any, out: Any, out_at: Any, row: Any, row_at: Any, count: Any, factor: Any) -> Any:
    """``out[j] = factor row[j]`` for j up to ``count``, rounded up to a multiple of `LANES`."""
    i = types.int64
    return types.none(out, i, row, i, i, types.float64), _emit_row(False)


def _add_row(typingctx: Any, out: Any, out_at: Any, row: Any, row_at: Any, count: Any, factor: Any) -> Any:
    """``out[j] += factor row[j]`` for j up to ``count``, rounded up to a multiple of `LANES`."""
    i = types.int64
    return types.none(out, i, row, i, i, types.float64), _emit_row(True)


def _dot(typingctx: Any, a: Any, a_at: Any, b: Any, b_at: Any, count: Any) -> Any:
    """``sum_j a[j] b[j]`` for j up to ``count``, rounded up to a multiple of ``2 LANES``."""
    i = types.int64
    return types.float64(a, i, b, i, i), _emit_dot


tile: Any = intrinsic(_tile)
set_row: Any = intrinsic(_set_row)
add_row: Any = intrinsic(_add_row)
dot: Any = intrinsic(_dot)
not_inlined: Any = simd.not_inlined
