"""The parts of a low-rank network: where a thread's numbers are in the flat state, and which of
them are trained.
"""

from __future__ import annotations

from typing import Any

from ghostpoint.training.cuda.kernels.lanes import WARP, barrier, device, total
from ghostpoint.training.cuda.kernels.low_rank_storage import sizes_of, small_size
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE


def part_functions(spec: Specification) -> tuple[Any, ...]:
    """Device functions of ``spec``: places of M's and P's numbers, whether M's and P's columns and
    a small number are trained, the parameters to a flat state, and a norm for the readout.
    """
    units, latents, n_inputs, outputs, zero = spec.units, spec.latents, spec.inputs, spec.outputs, spec.real(0)
    of_state, of_latents, by_confidence = (spec.readout == kind for kind in (STATE, LATENT, CONFIDENCE))
    held, _, _ = sizes_of(spec)
    columns, rows = latents + n_inputs + 1, latents + (outputs if of_state else 0)
    of_small, bias_at = small_size(spec), outputs * latents if of_latents else 0
    small_at = spec.place("confidence" if by_confidence else "w_out" if of_latents else "b_out")
    at_m, at_n, at_in, at_b, at_out = (spec.place(part) for part in ("m", "n", "w_in", "b", "w_out"))
    train_m, train_n, train_in, train_b, train_out = (spec.trains(part) for part in ("m", "n", "w_in", "b", "w_out"))
    train_head, train_bias = spec.trains("confidence" if by_confidence else "w_out"), spec.trains("b_out")
    pair_sums = total(2, WARP)

    @device
    def left_place(j, i):
        """Where column j of M has unit i in the flat state."""
        if j < latents:
            return at_m + i * latents + j
        if j < latents + n_inputs:
            return at_in + i * n_inputs + (j - latents)
        return at_b + i

    @device
    def right_place(k, i):
        """Where column k of P has unit i in the flat state."""
        if k < latents:
            return at_n + i * latents + k
        return at_out + (k - latents) * units + i

    @device
    def left_trains(j):
        return train_m if j < latents else (train_in if j < latents + n_inputs else train_b)

    @device
    def right_trains(k):
        return train_n if k < latents else train_out

    @device
    def small_trains(s):
        return train_head if by_confidence or s < bias_at else train_bias

    @device
    def copy(values, row, left, right, small, lane):
        """Write the parameters to a flat state."""
        for u in range(held):
            i = lane * held + u
            if i < units:
                for j in range(columns):
                    values[row, left_place(j, i)] = left[j * held + u]
                for k in range(rows):
                    values[row, right_place(k, i)] = right[k * held + u]
        for s in range(lane, of_small, WARP):
            values[row, small_at + s] = small[s]

    @device
    def normalize(right, small, norm, pair, scratch, lane):
        """Scale W_out and b_out so that ``sum |W_out|`` is ``norm``; a readout of zeros stays."""
        pair[0], pair[1] = zero, zero
        if of_latents:
            for s in range(lane, bias_at, WARP):
                pair[0] += abs(small[s])
        else:
            for k in range(latents, rows):
                for u in range(held):
                    pair[0] += abs(right[k * held + u])
        pair_sums(pair, scratch, lane)
        if pair[0] > zero:
            factor = norm / pair[0]
            for k in range(latents, rows):
                for u in range(held):
                    right[k * held + u] *= factor
            for s in range(lane, of_small, WARP):
                small[s] *= factor
        barrier()

    return left_place, right_place, left_trains, right_trains, small_trains, copy, normalize
