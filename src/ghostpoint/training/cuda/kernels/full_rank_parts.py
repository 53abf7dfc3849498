"""The parts of a network that has a block: to a flat state, the readout of latents as one of the
state, and the gradients of m, n and of what is no unit's.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ghostpoint.training.cuda.kernels.full_rank_tiles import column_sums, grid, rows, small_of_thread, tile_functions
from ghostpoint.training.cuda.kernels.lanes import (
    WARP,
    block_total,
    device,
    first_total,
    load,
    power_of_two,
    scatter,
    store,
)
from ghostpoint.training.cuda.kernels.low_rank_storage import small_size
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE


def part_functions(spec: Specification) -> tuple[Any, ...]:
    """Device functions of ``spec``: whether a small number is trained, W_out and b_out of a readout
    of the latents, the gradients of m and n, those of what is small, |g|**2, the parameters to a
    flat state and from it, and a norm for the readout.
    """
    units, n_inputs, outputs, latents, zero = spec.units, spec.inputs, spec.outputs, spec.latents, spec.real(0)
    down, across = grid(units)
    block_size, warps = down * across, down * across // WARP
    tall, wide = -(-units // down), -(-units // across)
    row_space = power_of_two(tall)
    row_scatter = scatter(row_space, [row_space >> k for k in range(1, row_space.bit_length())])
    row_rest = first_total(row_space, across // 2)
    column_masks, column_space = column_sums(spec)
    column_scatter, partial_row = scatter(column_space, column_masks), column_space * across
    x_row, s_row = rows(spec)
    factored, of_factors, of_w = latents > 0, latents * sum(rows(spec)), tall * wide * block_size
    of_state, of_latents, by_confidence = (spec.readout == kind for kind in (STATE, LATENT, CONFIDENCE))
    of_small, own_small, bias_at = small_size(spec), small_of_thread(spec), outputs * latents if of_latents else 0
    at_w, at_in, at_b, at_out, at_m, at_n = (spec.place(part) for part in ("W", "w_in", "b", "w_out", "m", "n"))
    at_small = spec.place("confidence" if by_confidence else "w_out" if of_latents else "b_out")
    train_m, train_n, train_bias = spec.trains("m"), spec.trains("n"), spec.trains("b_out")
    train_w, train_in, train_b = (spec.trains(part) for part in ("W", "w_in", "b"))
    train_out, has_small = of_state and spec.trains("w_out"), spec.acts or not of_state
    train_head, sums = spec.trains("confidence" if by_confidence else "w_out"), block_total(2, block_size)
    x_place, s_place, times, transpose_times, _, hand_over, _, _ = tile_functions(spec)

    @device
    def small_trains(entry):
        return train_head if by_confidence or entry < bias_at else train_bias

    @device
    def head_of_latents(small, resting, n_at, w_out, b_out, kappa_star, thread):
        """W_out = V n^T and b_out, from what is small."""
        if thread < units:
            for o in range(outputs):
                w_out[o * units + thread] = zero
            for j in range(1 if by_confidence else latents):
                value = load(resting, n_at + j * x_row + x_place(thread))
                for o in range(outputs):
                    w_out[o * units + thread] += small[0 if by_confidence else o * latents + j] * value
        for o in range(thread, outputs, block_size):
            b_out[o] = -small[0] * kappa_star if by_confidence else small[bias_at + o]

    @device
    def factor_gradients(by_w, work, memory, places, by_out, small):
        """dL/dm and dL/dn to ``work``, from dL/dW and dL/dW_out; gives back the thread's share of
        their squares.
        """
        partial, scratch, row_parts, column_parts = memory
        thread, owns, m_at, n_at, tile_x, tile_s, mine_s, partial_at = places
        thread_x, square = x_place(thread), zero
        if train_m:
            # dL/dm = dL/dW n
            for j in range(latents):
                times(by_w, work, n_at + j * x_row + tile_x, row_parts)
                row_scatter(row_parts, scratch, thread)
                row_rest(row_parts, scratch, thread)
                if owns:
                    square += row_parts[0] * row_parts[0]
                    store(work, m_at + of_factors + j * s_row + mine_s, row_parts[0])
        if train_n:
            # dL/dn = (dL/dW)^T m, and what comes by the readout of the latents
            for j in range(latents):
                transpose_times(by_w, work, m_at + j * s_row + tile_s, column_parts)
                column_scatter(column_parts, scratch, thread)
                hand_over(partial, partial_at, column_parts)
                cuda.syncthreads()
                if thread < units:
                    value = zero
                    for k in range(warps):
                        value += load(partial, k * partial_row + thread_x)
                    if not of_state:
                        for o in range(outputs):
                            if of_latents:
                                value += by_out[o] * small[o * latents + j]
                            elif j == 0:
                                value += by_out[o] * small[0]
                    square += value * value
                    store(work, n_at + of_factors + j * x_row + thread_x, value)
                cuda.syncthreads()
        cuda.syncthreads()
        return square

    @device
    def small_gradient(by_small, by_bias, by_out, w_out, work, n_at, kappa_star, thread):
        """Of what is small; W_out of a readout of the latents is used up."""
        if not of_state:
            if thread < units:
                for o in range(outputs):
                    w_out[o * units + thread] = by_out[o]
            cuda.syncthreads()
        for k in range(own_small):
            entry = k * block_size + thread
            by_small[k] = zero
            if by_confidence:
                if entry == 0:
                    by_small[k] = -kappa_star * by_bias[0]
                    for i in range(units):
                        by_small[k] += w_out[i] * load(work, n_at + x_place(i))
            else:
                for o in range(outputs):
                    if entry == bias_at + o:
                        by_small[k] = by_bias[o]
                if entry < bias_at:
                    o, j = entry // latents, entry % latents
                    for i in range(units):
                        by_small[k] += w_out[o * units + i] * load(work, n_at + j * x_row + x_place(i))

    @device
    def copy(values, row, work, w_at, b, w_in, w_out, small, thread, r, c):
        """Write the parameters to a flat state."""
        if factored:
            m_at = w_at - thread + 2 * of_w
            if thread < units:
                for j in range(latents):
                    values[row, at_m + thread * latents + j] = load(work, m_at + j * s_row + s_place(thread))
                    values[row, at_n + thread * latents + j] = load(
                        work, m_at + latents * s_row + j * x_row + x_place(thread)
                    )
        else:
            for a in range(tall):
                for k in range(wide):
                    i, j = r * tall + a, c * wide + k
                    if i < units and j < units:
                        values[row, at_w + i * units + j] = load(work, w_at + (a * wide + k) * block_size)
        if thread < units:
            values[row, at_b + thread] = b[thread]
            for k in range(n_inputs):
                values[row, at_in + thread * n_inputs + k] = w_in[thread * n_inputs + k]
            for o in range(outputs if of_state else 0):
                values[row, at_out + o * units + thread] = w_out[o * units + thread]
        for k in range(thread, of_small, block_size):
            values[row, at_small + k] = small[k]

    @device
    def take(values, row, work, w_at, b, w_in, w_out, small, thread, r, c):
        """Read the parameters from a flat state."""
        if factored:
            m_at = w_at - thread + 2 * of_w
            n_at = m_at + latents * s_row
            for i in range(thread, of_factors, block_size):
                store(work, m_at + i, zero)
            cuda.syncthreads()
            if thread < units:
                for j in range(latents):
                    store(work, m_at + j * s_row + s_place(thread), values[row, at_m + thread * latents + j])
                    store(work, n_at + j * x_row + x_place(thread), values[row, at_n + thread * latents + j])
        else:
            for a in range(tall):
                for k in range(wide):
                    i, j = r * tall + a, c * wide + k
                    value = zero
                    if i < units and j < units:
                        value = values[row, at_w + i * units + j]
                    store(work, w_at + (a * wide + k) * block_size, value)
        if thread < units:
            b[thread] = values[row, at_b + thread]
            for k in range(n_inputs):
                w_in[thread * n_inputs + k] = values[row, at_in + thread * n_inputs + k]
            for o in range(outputs if of_state else 0):
                w_out[o * units + thread] = values[row, at_out + o * units + thread]
        for k in range(thread, of_small, block_size):
            small[k] = values[row, at_small + k]

    @device
    def share_of_square(gradient, by_b, thread):
        """The thread's share of ``|g|**2``, but for those of m and n, and of b_out where it has no
        place among what is small.
        """
        by_w, by_in, by_out, by_small, _, _ = gradient
        square = zero
        if train_w:
            for k in range(tall * wide):
                square += by_w[k] * by_w[k]
        if thread < units:
            if train_b:
                square += by_b * by_b
            if train_in:
                for k in range(n_inputs):
                    square += by_in[k] * by_in[k]
            if train_out:
                for o in range(outputs):
                    square += by_out[o] * by_out[o]
        if has_small:
            for k in range(own_small):
                if small_trains(k * block_size + thread):
                    square += by_small[k] * by_small[k]
        return square

    @device
    def normalize(w_out, small, norm, pair, scratch, thread):
        """Scale W_out and b_out so that ``sum |W_out|`` is ``norm``; a readout of zeros stays."""
        pair[0], pair[1] = zero, zero
        if of_state and thread < units:
            for o in range(outputs):
                pair[0] += abs(w_out[o * units + thread])
        for k in range(thread, bias_at, block_size):
            pair[0] += abs(small[k])
        sums(pair, scratch, thread)
        if pair[0] > zero:
            factor = norm / pair[0]
            if of_state and thread < units:
                for o in range(outputs):
                    w_out[o * units + thread] *= factor
            for k in range(thread, of_small, block_size):
                small[k] *= factor
        cuda.syncthreads()

    return small_trains, head_of_latents, factor_gradients, small_gradient, share_of_square, copy, take, normalize
