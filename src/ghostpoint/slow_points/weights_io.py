"""Weights of networks in files of other programs: NumPy archives and safetensors, also with PyTorch's names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.results import load

__all__ = ["read_weights", "write_weights"]

Arrays = dict[str, NDArray[Any]]

#: names of PyTorch's vanilla RNN
_HH, _IH, _BIASES = "weight_hh_l0", "weight_ih_l0", ("bias_hh_l0", "bias_ih_l0")
#: axes of each array without the networks' one
_AXES = {"W": 2, "n": 2, "b": 1, "w_in": 2, "w_out": 2, "b_out": 1, "initial_state": 1}


def read_weights(path: str | os.PathLike[str]) -> LowRankRNN | FullRankRNN:
    """The networks in a file.

    ``.npz`` and ``.safetensors`` files hold arrays named as the arguments of `LowRankRNN` (m, n, b and more) or of
    `FullRankRNN` (W, b, w_in, w_out, b_out), with or without a first axis for the networks. m and n of two axes are
    (N, K) where b is (N,), and (R, N) where b is (R, N). Without a readout a full-rank network gets one of zeros,
    which no slow point depends on.

    PyTorch's names are known too, with whatever prefix: ``weight_hh_l0`` is W, ``weight_ih_l0`` is w_in, the sum of
    ``bias_hh_l0`` and ``bias_ih_l0`` is b, and a Linear of N inputs is the readout. A vanilla tanh ``torch.nn.RNN``
    moves by ``x <- tanh(W x + W_in u + b)``: that is this library's Euler map with alpha = dt / tau = 1, so its fixed
    points are the zeros of the flow, with eigenvalues ``1 + lambda``. The weights do not say that it is tanh.

    Any other file is taken for a saved training run, whose final networks are returned.

    Raises
    ------
    ValueError
        If the file is not there, cannot be read, or has other arrays; if it is a GRU or LSTM, or has several layers.
    ImportError
        For ``.safetensors`` without the package of that name.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"path must be a file of weights, and there is none at {path}")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"path must be a NumPy archive of plain arrays, and {path} is not: {error}") from error
    elif suffix == ".safetensors":
        try:
            arrays = dict(_safetensors().load_file(path))
        except ImportError:
            raise
        except Exception as error:  # the package has an exception of its own, and passes on others
            raise InputError(f"path must be a safetensors file, and {path} is not: {error}") from error
    else:
        models: LowRankRNN | FullRankRNN = load(path).models
        return models
    return _model(arrays, path)


def write_weights(model: LowRankRNN | FullRankRNN, path: str | os.PathLike[str]) -> Path:
    """Write the arrays of networks to ``path``, ``.npz`` or ``.safetensors``; `read_weights` gives them back.

    Settings that are not arrays (activation, readout, trainable parts) are not kept; a saved training run has them.

    Raises
    ------
    ValueError
        For another suffix.
    ImportError
        For ``.safetensors`` without the package of that name.
    """
    path = Path(path)
    arrays = {name: np.ascontiguousarray(array) for name, array in model.arrays().items()}
    if checks.one_of("path's suffix", path.suffix.lower(), (".npz", ".safetensors")) == ".npz":
        keywords: Any = arrays
        with path.open("wb") as file:  # by name it would become W.NPZ.npz
            np.savez(file, **keywords)
    else:
        _safetensors().save_file(arrays, path)
    return path


def _safetensors() -> Any:
    try:
        safetensors = import_module("safetensors.numpy")
    except ImportError:
        raise ImportError("safetensors files need the package safetensors: pip install safetensors") from None
    return safetensors


def _model(arrays: Arrays, path: Path) -> LowRankRNN | FullRankRNN:
    if "m" in arrays and "n" in arrays:
        return _low_rank(arrays)
    if any(name.rpartition(".")[2] == _HH for name in arrays):
        arrays = _from_torch(arrays)
    if "W" not in arrays:
        raise InputError(
            f"path must hold arrays m and n, or W, or weight_hh_l0; {path} holds {', '.join(sorted(arrays)) or 'none'}"
        )
    stacked = _stacked(arrays, ("W", *(name for name in _AXES if name != "n")))
    W = checks.shape("W", checks.finite_array("W", stacked["W"]), ("R", "N", "N"))
    networks, units, _ = W.shape
    stacked.setdefault("b", np.zeros((networks, units)))
    outputs = stacked["w_out"].shape[1] if "w_out" in stacked else 1
    stacked.setdefault("w_out", np.zeros((networks, outputs, units)))
    stacked.setdefault("b_out", np.zeros((networks, outputs)))
    keywords: Any = stacked | _plain(arrays, ("seed",))
    return FullRankRNN(**keywords)


def _low_rank(arrays: Arrays) -> LowRankRNN:
    m = arrays["m"]
    single = m.ndim == 1 or (m.ndim == 2 and "b" in arrays and arrays["b"].ndim == 1)
    if m.ndim == 2 and "b" not in arrays:
        raise InputError(f"m must have 3 axes (R, N, K), or come with b, which tells (N, K) from (R, N); got {m.shape}")
    factors = {name: arrays[name][:, None] if arrays[name].ndim == 1 else arrays[name] for name in ("m", "n")}
    if not single and m.ndim == 2:
        factors = {name: array[:, :, None] for name, array in factors.items()}
    rest = _stacked(arrays, ("b", "w_in", "w_out", "b_out", "initial_state"))
    keywords: Any = {name: array[None] if single else array for name, array in factors.items()} | rest
    if "w_out" in rest and rest["w_out"].shape[2] == keywords["m"].shape[2] != keywords["m"].shape[1]:
        keywords["readout"] = "latent"
    return LowRankRNN(**keywords, **_plain(arrays, ("confidence", "threshold", "seed")))


def _stacked(arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> Arrays:
    """Those present, with the networks as their first axis."""
    found = {name: arrays[name] for name in dict.fromkeys(names) if name in arrays}
    return {name: array[None] if array.ndim == _AXES[name] else array for name, array in found.items()}


def _plain(arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: arrays[name] for name in names if name in arrays}


def _from_torch(arrays: Arrays) -> Arrays:
    """This library's names for those of a module with one vanilla RNN and perhaps a Linear."""
    prefix = next(name for name in arrays if name.rpartition(".")[2] == _HH)[: -len(_HH)]
    inside = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    more = sorted(name for name in inside if name.startswith("weight_hh") and name != _HH)
    if more:
        raise InputError(f"path must hold a recurrent network of one layer in one direction, got {', '.join(more)} too")
    W = checks.shape("weight_hh_l0", inside[_HH], ("rows", "N"))
    rows, units = W.shape
    if rows != units:
        cell = {3 * units: "a GRU", 4 * units: "an LSTM"}.get(rows, "another cell")
        raise InputError(f"weight_hh_l0 must be square, of a vanilla tanh RNN; got {W.shape}, {cell}")
    # the state of such a network starts at zero
    found: Arrays = {"W": W, "b": np.zeros(units), "initial_state": np.zeros(units)}
    for name in _BIASES:
        if name in inside:
            found["b"] = found["b"] + inside[name]
    if _IH in inside:
        found["w_in"] = inside[_IH]
    others = [name for name in arrays if name.endswith("weight") and arrays[name].shape[1:] == (units,)]
    if len(others) == 1:
        found["w_out"] = arrays[others[0]]
        bias = others[0].removesuffix("weight") + "bias"
        if bias in arrays:
            found["b_out"] = arrays[bias]
    return found
