"""The arrays of the kernels from those of networks and tasks, and back; and the lists of what is
trained.

A state is a few matrices and a rest. For one network the matrices are in panels
(``numerics/blocks.py``); for a block of networks every number is a vector with a lane per network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.memory import aligned
from ghostpoint.numerics.panels import from_panels, into_panels
from ghostpoint.training.kernels.full_rank import plane_size
from ghostpoint.training.kernels.low_rank import sizes
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE, column

Parts = dict[str, NDArray[Any]]


def _width(dtype: Any) -> int:
    return 64 // np.dtype(dtype).itemsize


def pack_by_step(values: NDArray[Any], plane: int, dtype: Any) -> NDArray[Any]:
    """``(rows, steps B plane)`` from ``(rows, B, steps, N)``: noise, or initial states as one
    step.
    """
    rows, trials, steps, units = values.shape
    packed = aligned(rows * steps * trials * plane, dtype).reshape(rows, steps, trials, plane)
    # time outermost, as the kernels run: all trials of a step lie next to each other
    packed[..., :units] = values.transpose(0, 2, 1, 3)
    return packed.reshape(rows, steps * trials * plane)


def pack_readings(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The flat ``(outputs, padded)`` from ``(B, steps, outputs)``: targets, weights or what
    counts.
    """
    trials, steps, outputs = values.shape
    width = _width(dtype)
    padded = -(-steps * trials // width) * width
    packed = aligned(outputs * padded, dtype)
    # the padding up to whole vectors keeps weight 0, so it adds nothing to loss or gradient
    packed.reshape(outputs, padded)[:, : steps * trials] = values.transpose(2, 1, 0).reshape(outputs, -1)
    return packed


def pack_lanes(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """``values`` (networks, ...) as a flat array of vectors with a lane per network, zeros in the
    empty lanes.
    """
    rest, width = values.shape[1:], _width(dtype)
    flat = aligned(int(np.prod(rest)) * width, dtype)
    flat.reshape(*rest, width)[..., : len(values)] = np.moveaxis(values, 0, -1)
    return flat


def _table(sums: Iterable[Sequence[tuple[int, int, int, int]]]) -> NDArray[np.int64]:
    """Rows of ``updates`` from the segments of every sum, each
    ``start, stop, jump, whether added in turn``.
    """
    rows = [(*one, int(k == len(part) - 1)) for part in sums for k, one in enumerate(part)]
    return np.array(rows, np.int64).reshape(-1, 5)


# full rank


def pack_full_rank(
    w: NDArray[Any], w_in: NDArray[Any], b: NDArray[Any], w_out: NDArray[Any], b_out: NDArray[Any], dtype: Any
) -> NDArray[Any]:
    """The flat state of ``w`` (N, N), ``w_in`` (N, I), ``b`` (N,), ``w_out`` (O, N) and ``b_out``
    (O,).
    """
    units, inputs, outputs, width = len(w), w_in.shape[1], len(w_out), _width(dtype)
    plane = plane_size(units, inputs, width)
    state = aligned(plane * (plane + outputs), dtype)
    # [W, W_in, b] is one matrix that multiplies (phi, u, 1), so the drive is one product
    into_panels(np.concatenate([w, w_in, b[:, None]], axis=1), state[: plane * plane], plane, width)
    readout = state[plane * plane :].reshape(outputs, plane)
    readout[:, :units] = w_out
    # b_out stands below the 1 of (phi, u, 1), as b does
    readout[:, units + inputs] = b_out
    return state


def unpack_full_rank(state: NDArray[Any], units: int, inputs: int, outputs: int) -> tuple[NDArray[Any], ...]:
    """``w, w_in, b, w_out, b_out`` of a flat state, as copies."""
    width = _width(state.dtype)
    plane = plane_size(units, inputs, width)
    # back from panels; the rows beyond N are padding
    matrix = from_panels(state[: plane * plane], plane, width)[:units]
    readout = state[plane * plane :].reshape(outputs, plane)
    parts = matrix[:, :units], matrix[:, units : units + inputs], matrix[:, units + inputs]
    return tuple(part.copy() for part in (*parts, readout[:, :units], readout[:, units + inputs]))


def full_rank_segments(
    trainable: Sequence[bool], units: int, inputs: int, outputs: int, width: int
) -> NDArray[np.int64]:
    """The columns of W, W_in and b, and the readout, whose gradient is zero where it is not
    trainable: one sum.
    """
    plane = plane_size(units, inputs, width)
    flags = [trainable[0]] * units + [trainable[1]] * inputs + [trainable[2]]
    segments = [_panel_column(0, j, plane, width) for j, flag in enumerate(flags) if flag]
    if trainable[3] or trainable[4]:
        segments.append((plane * plane, plane * (plane + outputs), width, 1))
    return _table([segments])


def _panel_column(at: int, j: int, plane: int, width: int) -> tuple[int, int, int, int]:
    """Column j of the matrix in panels at ``at``."""
    start = at + column.py_func(j, plane, width)
    return start, start + plane * width, width * width, 0


# low rank


def _matrices(parts: Parts, kind: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """M (..., N, K + I + 1), P (..., N, rows) and the rest (..., numbers), from the parts of
    networks by name.
    """
    inputs = [parts["w_in"]] if "w_in" in parts else []
    # M = [m, W_in, b] multiplies (kappa, u, 1); P = [n, W_out^T] reads kappa and logit from phi
    left = np.concatenate([parts["m"], *inputs, parts["b"][..., None]], axis=-1)
    right, lead = parts["n"], parts["m"].shape[:-2]
    if kind == CONFIDENCE:
        return left, right, np.reshape(parts["confidence"], (*lead, 1))
    if kind == STATE:
        return left, np.concatenate([right, np.swapaxes(parts["w_out"], -1, -2)], axis=-1), parts["b_out"]
    return left, right, np.concatenate([parts["w_out"].reshape(*lead, -1), parts["b_out"]], axis=-1)


def _parts(left: NDArray[Any], right: NDArray[Any], rest: NDArray[Any], latents: int, outputs: int, kind: int) -> Parts:
    """The parts by name, as copies, from what :func:`_matrices` gives; those that the kind of
    readout has.
    """
    parts = {"m": left[..., :latents], "n": right[..., :latents], "w_in": left[..., latents:-1], "b": left[..., -1]}
    if kind == CONFIDENCE:
        parts["confidence"] = rest[..., 0]
    elif kind == LATENT:
        parts["w_out"] = rest[..., : outputs * latents].reshape(*rest.shape[:-1], outputs, latents)
        parts["b_out"] = rest[..., outputs * latents :]
    else:
        parts["w_out"], parts["b_out"] = np.swapaxes(right[..., latents:], -1, -2), rest
    return {name: np.array(values) for name, values in parts.items()}


def pack_low_rank(parts: Parts, kind: int, dtype: Any) -> NDArray[Any]:
    """The flat state of one network from its parts: ``m``, ``n`` (N, K), ``b`` (N,), and those it
    has.
    """
    left, right, rest = _matrices(parts, kind)
    (units, latents), width = parts["m"].shape, _width(dtype)
    outputs = 1 if kind == CONFIDENCE else len(parts["b_out"])
    plane, columns, rows, small = sizes(units, latents, left.shape[1] - latents - 1, outputs, kind, width)
    state = aligned(plane * (columns + rows) + small, dtype)
    into_panels(left, state[: plane * columns], plane, width)
    into_panels(right, state[plane * columns : plane * (columns + rows)], plane, width)
    state[plane * (columns + rows) :][: len(rest)] = rest
    return state


def unpack_low_rank(state: NDArray[Any], units: int, latents: int, inputs: int, outputs: int, kind: int) -> Parts:
    """The parts of a flat state by name, as copies; those that the kind of readout has."""
    width = _width(state.dtype)
    plane, columns, rows, _ = sizes(units, latents, inputs, outputs, kind, width)
    left = from_panels(state[: plane * columns], plane, width)[:units, : latents + inputs + 1]
    right = from_panels(state[plane * columns : plane * (columns + rows)], plane, width)[:units]
    # confidence, or W_out and b_out of a readout of the latents, follow the two matrices
    rest = state[plane * (columns + rows) :]
    count = _numbers(latents, outputs, kind)
    return _parts(left, right[:, : latents + outputs], rest[:count], latents, outputs, kind)


def _numbers(latents: int, outputs: int, kind: int) -> int:
    """How many numbers the rest of a state has."""
    return (outputs, outputs * (latents + 1), 1)[kind]


def pack_networks(parts: Parts, kind: int, dtype: Any) -> NDArray[Any]:
    """The flat state of at most a block of networks, from their parts by name, each (networks,
    ...).
    """
    matrices = _matrices(parts, kind)
    flat = np.concatenate([each.reshape(len(parts["m"]), -1) for each in matrices], axis=1)
    return pack_lanes(flat, dtype)


def unpack_networks(
    state: NDArray[Any], count: int, units: int, latents: int, inputs: int, outputs: int, kind: int
) -> Parts:
    """The parts of the first ``count`` networks of a flat state, each (networks, ...), as
    copies.
    """
    columns, rows = latents + inputs + 1, latents + (outputs if kind == STATE else 0)
    values = np.moveaxis(state.reshape(-1, _width(state.dtype))[:, :count], -1, 0)
    left, right, rest = np.split(values, [units * columns, units * (columns + rows)], axis=1)
    # rows of a network's matrices follow each other here: there are no panels
    matrices = left.reshape(count, units, columns), right.reshape(count, units, rows)
    return _parts(*matrices, rest, latents, outputs, kind)


def _low_rank_columns(latents: int, inputs: int, outputs: int, kind: int) -> list[tuple[int, int, int]]:
    """Matrix (0: M, 1: P) and range of columns of m, n, W_in, b and, of a readout of the state,
    W_out.
    """
    left, right = latents + inputs, latents + (outputs if kind == STATE else 0)
    return [(0, 0, latents), (1, 0, latents), (0, latents, left), (0, left, left + 1), (1, latents, right)]


def low_rank_segments(
    trainable: Sequence[bool], units: int, latents: int, inputs: int, outputs: int, kind: int, width: int
) -> NDArray[np.int64]:
    """The rest of the state, whose gradient is zero where it is not trainable, and the columns of
    every part: sums.
    """
    plane, columns, rows, small = sizes(units, latents, inputs, outputs, kind, width)
    starts, end = (0, plane * columns), plane * (columns + rows)
    # one sum for the rest of the state, and one for each part
    sums = [[(end, end + small, width, 1)]]
    for flag, (matrix, first, last) in zip(trainable, _low_rank_columns(latents, inputs, outputs, kind), strict=False):
        sums.append([_panel_column(starts[matrix], j, plane, width) for j in range(first, last) if flag])
    return _table(sums)


def lane_segments(
    trainable: Sequence[bool], units: int, latents: int, inputs: int, outputs: int, kind: int, width: int
) -> NDArray[np.int64]:
    """The same for a network per lane."""
    widths = latents + inputs + 1, latents + (outputs if kind == STATE else 0)
    starts, end = (0, units * widths[0] * width), units * sum(widths) * width
    sums = [[(end, end + _numbers(latents, outputs, kind) * width, width, 1)]]
    for flag, (matrix, first, last) in zip(trainable, _low_rank_columns(latents, inputs, outputs, kind), strict=False):
        jump, start = widths[matrix] * width, starts[matrix]
        columns = [start + j * width for j in range(first, last) if flag]
        sums.append([(at, start + units * jump, jump, 0) for at in columns])
    return _table(sums)
