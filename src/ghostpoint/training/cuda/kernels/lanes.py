"""Sums over the threads of a warp or block, and the other operations that the simulator of
numba-cuda lacks.

A warp exchanges registers by shuffles. The simulator has none, so every function here has a second
form for it, over shared memory; ``scratch`` is that memory (:func:`scratch_size`), which a GPU does
not touch but for sums over a block. All threads of a block call these functions together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import config, cuda

SIMULATED = bool(vars(config)["ENABLE_CUDASIM"])
WARP = 32
EVERYONE = 0xFFFFFFFF


def device(function: Callable[..., Any]) -> Any:
    """A function for kernels, written into its caller.

    The simulator has to know of those alone that name ``cuda``: the others stay what they are,
    since its own calls take longer than what they do.
    """
    if not SIMULATED:
        return cuda.jit(device=True, forceinline=True)(function)
    return cuda.jit(device=True)(function) if "cuda" in function.__code__.co_names else function


def power_of_two(count: int) -> int:
    """The smallest power of two from ``count`` on."""
    return 1 << (count - 1).bit_length()


def scratch_size(threads: int, values: int) -> tuple[int, int]:
    """The shape of ``scratch`` for a block that sums up to ``values`` numbers a thread."""
    return (threads if SIMULATED else -(-threads // WARP)), values


if SIMULATED:

    @device
    def barrier():
        """Wait for the warp: what its threads wrote is seen by all of them. A simulated block is
        one warp or waits.
        """
        cuda.syncthreads()

    @device
    def load(array, i):
        """``array[i]`` of one axis, ``i`` not negative."""
        return array[i]

    @device
    def store(array, i, value):
        """``array[i] = value`` of one axis, ``i`` not negative."""
        array[i] = value

    @device
    def load_four(array, i):
        """``array[i : i + 4]`` of an array at a multiple of 16 bytes, ``i`` a multiple of 4."""
        return array[i], array[i + 1], array[i + 2], array[i + 3]

    @device
    def store_four(array, i, a, b, c, d):
        """``array[i : i + 4] = a, b, c, d`` of such an array."""
        array[i], array[i + 1], array[i + 2], array[i + 3] = a, b, c, d

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    WORD = ir.IntType(32)

    def _address(context: Any, builder: Any, kind: Any, array: Any, i: Any) -> Any:
        return builder.gep(context.make_array(kind)(context, builder, array).data, [i])

    # Numba's own indexing asks whether an index is negative, which is a third of the instructions
    # of a short loop.

    @intrinsic
    def load(typingctx, array, i):
        """``array[i]`` of one axis, ``i`` not negative."""

        def generate(context, builder, signature, args):
            return builder.load(_address(context, builder, signature.args[0], *args))

        return array.dtype(array, types.int64), generate

    @intrinsic
    def store(typingctx, array, i, value):
        """``array[i] = value`` of one axis, ``i`` not negative."""

        def generate(context, builder, signature, args):
            builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]))
            return context.get_dummy_value()

        return types.void(array, types.int64, array.dtype), generate

    def _address_of_four(context: Any, builder: Any, kind: Any, array: Any, i: Any) -> Any:
        four = ir.VectorType(context.get_data_type(kind.dtype), 4)
        return builder.bitcast(_address(context, builder, kind, array, i), four.as_pointer()), four

    @intrinsic
    def load_four(typingctx, array, i):
        """``array[i : i + 4]`` of an array at a multiple of 16 bytes, ``i`` a multiple of 4: one
        instruction.
        """

        def generate(context, builder, signature, args):
            address, _ = _address_of_four(context, builder, signature.args[0], *args)
            values = builder.load(address)
            values.align = 16
            numbers = [builder.extract_element(values, ir.Constant(WORD, k)) for k in range(4)]
            return context.make_tuple(builder, signature.return_type, numbers)

        return types.UniTuple(array.dtype, 4)(array, types.int64), generate

    @intrinsic
    def store_four(typingctx, array, i, a, b, c, d):
        """``array[i : i + 4] = a, b, c, d`` of such an array."""

        def generate(context, builder, signature, args):
            address, four = _address_of_four(context, builder, signature.args[0], *args[:2])
            values = ir.Constant(four, ir.Undefined)
            for k in range(4):
                values = builder.insert_element(values, args[2 + k], ir.Constant(WORD, k))
            builder.store(values, address).align = 16
            return context.get_dummy_value()

        number = array.dtype
        return types.void(array, types.int64, number, number, number, number), generate

    @device
    def barrier():
        """Wait for the warp: what its threads wrote is seen by all of them."""
        cuda.syncwarp()


def total(count: int, lanes: int) -> Any:
    """``f(values, scratch, thread)``: the sums of ``values[:count]`` over groups of ``lanes``
    threads, in place.

    Every thread of a group gets the same bits. ``values`` has ``power_of_two(count)`` elements,
    zero beyond ``count``. Few numbers are exchanged whole. Of many, every exchange sends one half
    and keeps the other, so that ``lanes`` threads end with a number each, which is then handed
    round: ``count`` log2(lanes) shuffles become about 2 ``count``.
    """
    if SIMULATED:
        return _simulated_total(count, lanes)
    padded = power_of_two(count)
    if count <= 2 or padded > lanes:
        return _butterfly(count, lanes // 2)
    halve = scatter(padded, [padded >> k for k in range(1, padded.bit_length())])
    add = _butterfly(1, lanes // 2, least=padded)
    first = ~(lanes - 1)

    @device
    def sums(values, scratch, thread):
        halve(values, scratch, thread)
        add(values, scratch, thread)
        mine = values[0]
        for k in range(count):
            values[k] = cuda.shfl_sync(EVERYONE, mine, (thread & first) + k)

    return sums


def _butterfly(count: int, mask: int, least: int = 1) -> Any:
    """Sums of pairs at the distances ``mask``, ``mask / 2``, ... down to ``least``."""
    if mask < least:

        @device
        def nothing(values, scratch, thread):
            pass

        return nothing
    rest = _butterfly(count, mask // 2, least)

    @device
    def add(values, scratch, thread):
        for k in range(count):
            values[k] += cuda.shfl_xor_sync(EVERYONE, values[k], mask)
        rest(values, scratch, thread)

    return add


def scatter(count: int, masks: Sequence[int]) -> Any:
    """``f(values, scratch, thread)``: sums of ``count`` numbers over the threads that differ in the
    bits ``masks``.

    After it a thread holds ``count >> len(masks)`` of them, from the place
    ``sum (count >> k) [bit masks[k - 1] of thread]`` on, k = 1, 2, .... ``count`` is divisible by
    ``2**len(masks)``.
    """
    if SIMULATED:
        return _simulated_scatter(count, masks)
    if not masks:
        return _butterfly(count, 0)
    half, mask, rest = count // 2, masks[0], scatter(count // 2, masks[1:])

    @device
    def halve(values, scratch, thread):
        upper = (thread & mask) != 0
        for k in range(half):
            low, high = values[k], values[k + half]
            kept, sent = (high, low) if upper else (low, high)
            values[k] = kept + cuda.shfl_xor_sync(EVERYONE, sent, mask)
        rest(values, scratch, thread)

    return halve


def first_total(least: int, most: int) -> Any:
    """``f(values, scratch, thread)``: ``values[0]`` summed over the threads that differ in the bits
    from ``least`` to ``most``, both powers of two; nothing to do where ``least > most``."""
    if not SIMULATED:
        return _butterfly(1, most, least)
    masks = [1 << bit for bit in range(least.bit_length() - 1, most.bit_length())]
    return _simulated_sum_of_first(masks)


def block_total(count: int, threads: int) -> Any:
    """``f(values, scratch, thread)``: as :func:`total`, over all threads of a block."""
    if SIMULATED:
        return _simulated_total(count, threads)
    in_warp, warps = _butterfly(count, WARP // 2), threads // WARP
    if warps == 1:
        return in_warp

    @device
    def sums(values, scratch, thread):
        in_warp(values, scratch, thread)
        cuda.syncthreads()
        if thread % WARP == 0:
            for k in range(count):
                scratch[thread // WARP, k] = values[k]
        cuda.syncthreads()
        for k in range(count):
            values[k] = scratch[0, k]
            for warp in range(1, warps):
                values[k] += scratch[warp, k]

    return sums


def _simulated_total(count: int, lanes: int) -> Any:
    @device
    def sums(values, scratch, thread):
        scratch[thread, :count] = values[:count]
        cuda.syncthreads()
        first = thread - thread % lanes
        values[:count] = scratch[first : first + lanes, :count].sum(axis=0)
        cuda.syncthreads()

    return sums


def _partners(masks: Sequence[int]) -> Any:
    """What a thread's number is combined with by exclusive or, for all threads that differ in the
    bits ``masks``.
    """
    others = [0]
    for mask in masks:
        others += [other ^ mask for other in others]
    return np.array(others)


def _simulated_sum_of_first(masks: Sequence[int]) -> Any:
    partners = _partners(masks)

    @device
    def add(values, scratch, thread):
        scratch[thread, 0] = values[0]
        cuda.syncthreads()
        values[0] = scratch[thread ^ partners, 0].sum()
        cuda.syncthreads()

    return add


def _simulated_scatter(count: int, masks: Sequence[int]) -> Any:
    left = count >> len(masks)
    halves = [(mask, count >> k) for k, mask in enumerate(masks, 1)]
    partners = _partners(masks)

    @device
    def halve(values, scratch, thread):
        scratch[thread, :count] = values[:count]
        cuda.syncthreads()
        first = sum(half for mask, half in halves if thread & mask)
        values[:left] = scratch[thread ^ partners, first : first + left].sum(axis=0)
        cuda.syncthreads()

    return halve
