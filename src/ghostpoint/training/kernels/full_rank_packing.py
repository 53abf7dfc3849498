"""The arrays of ``full_rank.train`` from those of a network and a task, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.memory import aligned
from ghostpoint.numerics.panels import from_panels, into_panels
from ghostpoint.training.kernels.full_rank import plane_size

__all__ = ["aligned", "pack_by_step", "pack_network", "pack_readings", "unpack_network"]


def _width(dtype: Any) -> int:
    return 64 // np.dtype(dtype).itemsize


def pack_network(
    w: NDArray[Any], w_in: NDArray[Any], b: NDArray[Any], w_out: NDArray[Any], b_out: NDArray[Any], dtype: Any
) -> NDArray[Any]:
    """The flat state of ``w`` (N, N), ``w_in`` (N, I), ``b`` (N,), ``w_out`` (O, N) and ``b_out`` (O,)."""
    units, inputs, outputs, width = len(w), w_in.shape[1], len(w_out), _width(dtype)
    plane = plane_size(units, inputs, width)
    state = aligned(plane * (plane + outputs), dtype)
    matrix = np.concatenate([w, w_in, b[:, None]], axis=1)
    into_panels(matrix, state[: plane * plane], plane, width)
    readout = state[plane * plane :].reshape(outputs, plane)
    readout[:, :units] = w_out
    readout[:, units + inputs] = b_out
    return state


def unpack_network(state: NDArray[Any], units: int, inputs: int, outputs: int) -> tuple[NDArray[Any], ...]:
    """``w, w_in, b, w_out, b_out`` of a flat state, as copies."""
    width = _width(state.dtype)
    plane = plane_size(units, inputs, width)
    matrix = from_panels(state[: plane * plane], plane, width)[:units]
    readout = state[plane * plane :].reshape(outputs, plane)
    parts = matrix[:, :units], matrix[:, units : units + inputs], matrix[:, units + inputs]
    return tuple(part.copy() for part in (*parts, readout[:, :units], readout[:, units + inputs]))


def pack_by_step(values: NDArray[Any], plane: int, dtype: Any) -> NDArray[Any]:
    """``(rows, steps B plane)`` from ``(rows, B, steps, N)``: noise, or initial states as one step."""
    rows, trials, steps, units = values.shape
    packed = aligned(rows * steps * trials * plane, dtype).reshape(rows, steps, trials, plane)
    packed[..., :units] = values.transpose(0, 2, 1, 3)
    return packed.reshape(rows, steps * trials * plane)


def pack_readings(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The flat ``(outputs, padded)`` from ``(B, steps, outputs)``: targets, weights or what counts."""
    trials, steps, outputs = values.shape
    width = _width(dtype)
    padded = -(-steps * trials // width) * width
    packed = aligned(outputs * padded, dtype)
    packed.reshape(outputs, padded)[:, : steps * trials] = values.transpose(2, 1, 0).reshape(outputs, -1)
    return packed
