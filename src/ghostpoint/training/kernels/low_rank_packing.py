"""The state of ``low_rank.train`` from the parts of a network, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.memory import aligned
from ghostpoint.numerics.panels import from_panels, into_panels
from ghostpoint.training.kernels.low_rank import sizes
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE

__all__ = ["pack_network", "unpack_network"]


def pack_network(
    m: NDArray[Any],
    n: NDArray[Any],
    w_in: NDArray[Any],
    b: NDArray[Any],
    w_out: NDArray[Any] | None,
    b_out: NDArray[Any] | None,
    confidence: float,
    kind: int,
    dtype: Any,
) -> NDArray[Any]:
    """The flat state of ``m``, ``n`` (N, K), ``w_in`` (N, I), ``b`` (N,) and, but for the readout by confidence,
    ``w_out`` (O, N) or (O, K) and ``b_out`` (O,)."""
    (units, latents), inputs = m.shape, w_in.shape[1]
    outputs, width = 1 if b_out is None else len(b_out), 64 // np.dtype(dtype).itemsize
    plane, left, right, small = sizes(units, latents, inputs, outputs, kind, width)
    state = aligned(plane * (left + right) + small, dtype)
    into_panels(np.concatenate([m, w_in, b[:, None]], axis=1), state[: plane * left], plane, width)
    read = n if kind != STATE or w_out is None else np.concatenate([n, w_out.T], axis=1)
    into_panels(read, state[plane * left : plane * (left + right)], plane, width)
    rest = state[plane * (left + right) :]
    if w_out is None or b_out is None:
        rest[0] = confidence
        return state
    offsets = b_out if kind == STATE else np.concatenate([w_out.reshape(-1), b_out])
    rest[: len(offsets)] = offsets
    return state


def unpack_network(
    state: NDArray[Any], units: int, latents: int, inputs: int, outputs: int, kind: int
) -> dict[str, NDArray[Any]]:
    """The parts of a flat state by name, as copies; those that the kind of readout has."""
    width = 64 // state.itemsize
    plane, left, right, _ = sizes(units, latents, inputs, outputs, kind, width)
    matrix = from_panels(state[: plane * left], plane, width)[:units]
    read = from_panels(state[plane * left : plane * (left + right)], plane, width)[:units]
    rest = state[plane * (left + right) :]
    parts = {
        "m": matrix[:, :latents],
        "n": read[:, :latents],
        "w_in": matrix[:, latents : latents + inputs],
        "b": matrix[:, latents + inputs],
    }
    if kind == CONFIDENCE:
        parts["confidence"] = rest[0]
    elif kind == LATENT:
        parts["w_out"] = rest[: outputs * latents].reshape(outputs, latents)
        parts["b_out"] = rest[outputs * latents : outputs * (latents + 1)]
    else:
        parts["w_out"] = read[:, latents : latents + outputs].T
        parts["b_out"] = rest[:outputs]
    return {name: np.array(values) for name, values in parts.items()}
