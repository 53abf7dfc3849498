"""The arrays of ``low_rank_lanes.train`` from the parts of networks, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.memory import aligned
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE

__all__ = ["pack_lanes", "pack_networks", "unpack_networks"]


def pack_lanes(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """``values`` (networks, ...) as a flat array of vectors with a lane per network, zeros in the empty lanes."""
    width = 64 // np.dtype(dtype).itemsize
    rest = values.shape[1:]
    flat = aligned(int(np.prod(rest)) * width, dtype)
    flat.reshape(*rest, width)[..., : len(values)] = np.moveaxis(values, 0, -1)
    return flat


def pack_networks(parts: dict[str, NDArray[Any]], kind: int, dtype: Any) -> NDArray[Any]:
    """The flat state of at most a block of networks, from their parts by name, each (networks, ...)."""
    inputs = [parts["w_in"]] if "w_in" in parts else []
    left = np.concatenate([parts["m"], *inputs, parts["b"][:, :, None]], axis=2)
    right = parts["n"]
    if kind == STATE:
        right = np.concatenate([right, parts["w_out"].transpose(0, 2, 1)], axis=2)
    small = [parts["confidence"]] if kind == CONFIDENCE else [parts["b_out"]]
    if kind == LATENT:
        small = [parts["w_out"], *small]
    rows = [left, right, *small]
    return pack_lanes(np.concatenate([each.reshape(len(left), -1) for each in rows], axis=1), dtype)


def unpack_networks(
    state: NDArray[Any], count: int, units: int, latents: int, inputs: int, outputs: int, kind: int
) -> dict[str, NDArray[Any]]:
    """The parts of the first ``count`` networks of a flat state, as copies; those that the kind of readout has."""
    width = 64 // state.itemsize
    columns, rows = latents + inputs + 1, latents + (outputs if kind == STATE else 0)
    values = np.moveaxis(state.reshape(-1, width)[:, :count], -1, 0)
    left = values[:, : units * columns].reshape(count, units, columns)
    right = values[:, units * columns : units * (columns + rows)].reshape(count, units, rows)
    small = values[:, units * (columns + rows) :]
    parts = {"m": left[..., :latents], "n": right[..., :latents], "w_in": left[..., latents:-1], "b": left[..., -1]}
    if kind == CONFIDENCE:
        parts["confidence"] = small[:, 0]
    else:
        parts["b_out"] = small[:, -outputs:]
        read = right[..., latents:].transpose(0, 2, 1)
        parts["w_out"] = read if kind == STATE else small[:, :-outputs].reshape(count, outputs, latents)
    return {name: np.array(each) for name, each in parts.items()}
