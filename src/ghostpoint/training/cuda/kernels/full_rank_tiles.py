"""Where a full-rank network lies: the grid of threads, tiles of W, rows of x and s, and the device
functions that work on a thread's tile.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ghostpoint.training.cuda.kernels.lanes import (
    WARP,
    device,
    load,
    load_four,
    power_of_two,
    store,
    store_four,
)
from ghostpoint.training.cuda.kernels.low_rank_storage import small_size
from ghostpoint.training.cuda.kernels.specification import Specification

#: units at most: W and its gradient fill half of a processor's registers
LARGEST = 128
#: units up to which a grid of threads (down, across) is taken
GRIDS = {32: (4, 8), 64: (8, 8), 104: (16, 8), LARGEST: (16, 16)}


def grid(units: int) -> tuple[int, int]:
    """Threads (down, across) of a block."""
    return next(grid for most, grid in GRIDS.items() if units <= most)


def registers(spec: Specification) -> int | None:
    """Registers of a thread at most: in float32 twelve warps fit on a processor, or sixteen of the
    largest networks, whose tiles are smaller.
    """
    return None if spec.dtype == "float64" else 128 if threads(spec) == 256 else 168


def threads(spec: Specification) -> int:
    """Of a block."""
    down, across = grid(spec.units)
    return down * across


def rows(spec: Specification) -> tuple[int, int]:
    """Numbers of x and of s of a step."""
    down, across = grid(spec.units)
    tall, wide = -(-spec.units // down), -(-spec.units // across)
    return -(-wide // 4) * 4 * across, -(-tall // 4) * 4 * down


def column_sums(spec: Specification) -> tuple[tuple[int, ...], int]:
    """Of W^T s: the bits by which threads of a warp differ in the rows that they have, and the
    numbers of a thread, padded to fours after the sums over those.
    """
    _, across = grid(spec.units)
    masks = tuple(mask for mask in (16, 8) if mask >= across)
    wide, share = -(-spec.units // across), 4 << len(masks)
    return masks, -(-wide // share) * share


def fixed_size(spec: Specification) -> int:
    """Numbers that a block keeps in shared memory beside those of a trial, or a few more."""
    (_, space), (_, across) = column_sums(spec), grid(spec.units)
    warps = threads(spec) // WARP
    return warps * (space * across + 16) + spec.units * (2 + spec.inputs + spec.outputs) + small_size(spec) + 64


def small_of_thread(spec: Specification) -> int:
    """Numbers of what is no unit's that a thread takes care of."""
    return -(-small_size(spec) // threads(spec))


def of_crossing(spec: Specification) -> int:
    """Numbers of a thread of the gradient of a crossing's time: W or m and n, b, W_in, W_out of the
    state, and the small ones.
    """
    down, across = grid(spec.units)
    of_w = 2 * spec.latents or -(-spec.units // down) * -(-spec.units // across)
    return of_w + 1 + spec.inputs + spec.outputs + small_of_thread(spec)


def rest_size(spec: Specification, trials: int) -> int:
    """Numbers of ``work`` for a block in any case: W and its gradient, m and n and theirs, and the
    gradient of each crossing's time.
    """
    down, across = grid(spec.units)
    of_w = 2 * -(-spec.units // down) * -(-spec.units // across) * down * across
    of_crossings = spec.watched * of_crossing(spec) * threads(spec)
    return of_w + 2 * spec.latents * sum(rows(spec)) + of_crossings


def work_size(spec: Specification, steps: int) -> int:
    """Numbers that a block keeps of a trial, in shared memory or ``work``."""
    x_row, s_row = rows(spec)
    of_outputs = -(-steps * spec.outputs // 4) * 4
    of_crossings = steps * s_row + of_outputs if spec.watched else 0
    return (steps + 1) * x_row + steps * s_row + of_outputs + of_crossings


def tile_functions(spec: Specification) -> tuple[Any, ...]:
    """Device functions of ``spec``: places of units in x and in s, W x, W^T s, s x^T of a thread's
    tile, its sums to shared memory, a tile to ``work`` and back.
    """
    real, units = spec.real, spec.units
    down, across = grid(units)
    block_size = down * across
    tall, wide = -(-units // down), -(-units // across)  # of a thread's tile
    tile, row_space = tall * wide, power_of_two(tall)
    column_masks, column_space = column_sums(spec)
    fours = column_space >> len(column_masks) >> 2
    x_fours, s_fours = -(-wide // 4), -(-tall // 4)
    slope_space, zero = 4 * s_fours, real(0)

    @device
    def x_place(j):
        """Of unit j in x of a step."""
        c, k = j // wide, j % wide
        return k // 4 * (4 * across) + 4 * c + k % 4

    @device
    def s_place(i):
        """Of unit i in s of a step."""
        r, a = i // tall, i % tall
        return a // 4 * (4 * down) + 4 * r + a % 4

    @device
    def times(tile_of_w, x, at, parts):
        """The thread's share of W x, its part of x beginning at ``x[at]``."""
        values = cuda.local.array(4, real)
        for a in range(row_space):
            parts[a] = zero
        for four in range(x_fours):
            values[0], values[1], values[2], values[3] = load_four(x, at + 4 * across * four)
            for one_of in range(4):
                k = 4 * four + one_of
                if k < wide:
                    for a in range(tall):
                        parts[a] += tile_of_w[a * wide + k] * values[one_of]

    @device
    def transpose_times(tile_of_w, s, at, parts):
        """The thread's share of W^T s."""
        values = cuda.local.array(4, real)
        for k in range(column_space):
            parts[k] = zero
        for four in range(s_fours):
            values[0], values[1], values[2], values[3] = load_four(s, at + 4 * down * four)
            for one_of in range(4):
                a = 4 * four + one_of
                if a < tall:
                    for k in range(wide):
                        parts[k] += tile_of_w[a * wide + k] * values[one_of]

    @device
    def add_outer(by_w, s, s_at, x, x_at):
        """Add the thread's tile of s x^T."""
        slopes, states = cuda.local.array(slope_space, real), cuda.local.array(4, real)
        for four in range(s_fours):
            slopes[4 * four], slopes[4 * four + 1], slopes[4 * four + 2], slopes[4 * four + 3] = load_four(
                s, s_at + 4 * down * four
            )
        for four in range(x_fours):
            states[0], states[1], states[2], states[3] = load_four(x, x_at + 4 * across * four)
            for one_of in range(4):
                k = 4 * four + one_of
                if k < wide:
                    for a in range(tall):
                        by_w[a * wide + k] += slopes[a] * states[one_of]

    @device
    def hand_over(partial, at, parts):
        """Write the sums that the thread has to shared memory."""
        for four in range(fours):
            store_four(
                partial, at + 4 * across * four, parts[4 * four], parts[4 * four + 1], parts[4 * four + 2],
                parts[4 * four + 3],
            )  # fmt: skip

    @device
    def lay_down(values, work, at):
        """Write a tile to ``work``, where its threads' numbers lie together."""
        for k in range(tile):
            store(work, at + k * block_size, values[k])

    @device
    def take_up(values, work, at):
        """Read a tile from ``work``."""
        for k in range(tile):
            values[k] = load(work, at + k * block_size)

    return x_place, s_place, times, transpose_times, add_outer, hand_over, lay_down, take_up
