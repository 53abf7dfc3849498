"""Weights of networks in files of other programs: NumPy archives and safetensors, also with PyTorch's names."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.models import FAMILIES, Record
from ghostpoint.results import load

Arrays = dict[str, NDArray[Any]]

#: names of PyTorch's recurrent cells, before the suffix for their layer, which a lone cell does not have
_CELL, _LAYER = ("weight_hh", "weight_ih", "bias_hh", "bias_ih"), "_l0"


def read_weights(path: str | os.PathLike[str]) -> Record:
    """The networks in a file.

    ``.npz`` and ``.safetensors`` files hold arrays named as the arguments of `LowRankRNN` (m, n, b and more), of
    `FullRankRNN` (W, b, w_in, w_out, b_out) or of another family of ``ghostpoint.models.FAMILIES``, with or without a
    first axis for the networks. m and n of two axes are (N, K) where b is (N,), and (R, N) where b is (R, N). Without
    a readout a full-rank network or GRU gets one of zeros, which no slow point depends on.

    The names of PyTorch's ``nn.RNN`` and ``nn.GRU`` are known too, with any prefix: ``weight_hh_l0``, ``weight_ih_l0``
    and two biases, and without ``_l0`` those of a cell. The one Linear of N inputs in the file, if there is one, is the
    readout. A tanh ``nn.RNN`` moves by ``x <- tanh(W x + W_in u + b)``. That is this library's Euler map with alpha =
    dt / tau = 1, and so is a GRU. Its fixed points are the zeros of the flow, its eigenvalues are ``1 + lambda``. The
    file does not say whether an ``nn.RNN`` is a tanh or a relu network; it is taken for tanh.

    Any other file is taken for a saved training run, whose final networks are returned.

    Raises
    ------
    ValueError
        If the file is not there, cannot be read, or has other arrays; if it is an LSTM, or has several layers.
    ImportError
        For ``.safetensors`` without the package of that name.

    Examples
    --------
    A file with W and b alone is enough for its fixed points:

    >>> import tempfile, numpy as np, ghostpoint as gp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/weights.npz", W=1.5 * np.eye(3), b=np.zeros(3))
    ...     model = gp.read_weights(f"{folder}/weights.npz")
    >>> type(model).__name__, model.W.shape
    ('FullRankRNN', (1, 3, 3))
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"path must be a file of weights, and there is none at {path}")
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        models: Record = load(path).models
        return models
    try:
        arrays = container.read(path)
    except ImportError:
        raise
    except Exception as error:  # every package has exceptions of its own
        raise InputError(f"path must be {container.name}, and {path} is not: {error}") from error
    return _model(arrays, path)


def write_weights(model: Record, path: str | os.PathLike[str]) -> Path:
    """Write the arrays of networks to ``path``, by whose suffix `read_weights` gives them back.

    ``.npz`` and ``.safetensors`` are known, and what else :data:`CONTAINERS` has.

    Settings that are not arrays (activation, readout, trainable parts) are not kept; a saved training run has them.

    Raises
    ------
    ValueError
        For another suffix.
    ImportError
        For ``.safetensors`` without the package of that name.

    Examples
    --------
    >>> import tempfile, ghostpoint as gp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = gp.write_weights(gp.LowRankRNN.published([0, 1]), f"{folder}/weights.npz")
    ...     models = gp.read_weights(path)
    >>> models
    LowRankRNN(2 networks, 100 units, rank 1, trainable: m, n, b)
    """
    path = Path(path)
    suffix = checks.one_of("path's suffix", path.suffix.lower(), CONTAINERS)
    CONTAINERS[suffix].write({name: np.ascontiguousarray(array) for name, array in model.arrays().items()}, path)
    return path


class Container(NamedTuple):
    """A format of files with named arrays.

    ``name`` completes "path must be ...". ``read(path)`` gives the arrays by name; whatever it raises but an
    ImportError becomes a ``ValueError`` that names the file. ``write(arrays, path)`` writes to exactly ``path``.
    """

    name: str
    read: Callable[[Path], Arrays]
    write: Callable[[Arrays, Path], None]


def _read_npz(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _write_npz(arrays: Arrays, path: Path) -> None:
    keywords: Any = arrays
    with path.open("wb") as file:  # by name it would become W.NPZ.npz
        np.savez(file, **keywords)


def _safetensors() -> Any:
    try:
        return import_module("safetensors.numpy")
    except ImportError:
        raise ImportError("safetensors files need the package safetensors: pip install safetensors") from None


#: the formats by the suffix of their files; new ones are registered here
CONTAINERS: dict[str, Container] = {
    ".npz": Container("a NumPy archive of plain arrays", _read_npz, _write_npz),
    ".safetensors": Container(
        "a safetensors file",
        lambda path: dict(_safetensors().load_file(path)),
        lambda arrays, path: _safetensors().save_file(arrays, path),
    ),
}


def _model(arrays: Arrays, path: Path) -> Record:
    for family in FAMILIES.values():
        if set(family.required) <= set(arrays):
            return family.from_arrays(arrays)
    found = [name for name in arrays if name.rpartition(".")[2] in ("weight_hh", "weight_hh" + _LAYER)]
    if found:
        return _from_torch(arrays, found[0])
    known = [" and ".join(family.required) for family in FAMILIES.values()]
    raise InputError(
        f"path must hold arrays {', or '.join([*known, 'weight_hh_l0'])}; "
        f"{path} holds {', '.join(sorted(arrays)) or 'none'}"
    )


def _from_torch(arrays: Arrays, recurrent: str) -> Record:
    """The network of a module with one recurrent layer, whose weights are ``recurrent``, and perhaps a Linear."""
    prefix, _, last = recurrent.rpartition("weight_hh")
    inside = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    more = sorted(name for name in inside if name.startswith("weight_hh") and name != "weight_hh" + last)
    if more:
        raise InputError(f"path must hold a recurrent network of one layer in one direction, got {', '.join(more)} too")
    rows, units = checks.shape(recurrent, inside["weight_hh" + last], ("rows", "N")).shape
    gates = {family.torch_gates: family for family in FAMILIES.values() if family.torch_gates is not None}
    if units == 0 or rows % units or rows // units not in gates:
        cell = "an LSTM" if rows == 4 * units else "another cell"
        raise InputError(
            f"{recurrent} must be of a vanilla tanh RNN, (N, N), or of a GRU, (3 N, N); got {(rows, units)}, {cell}"
        )
    found = {name: inside[name + last] for name in _CELL if name + last in inside}
    others = [name for name in arrays if name.endswith("weight") and arrays[name].shape[1:] == (units,)]
    if len(others) == 1:
        found["w_out"] = arrays[others[0]]
        bias = others[0].removesuffix("weight") + "bias"
        if bias in arrays:
            found["b_out"] = arrays[bias]
    return gates[rows // units].from_torch(found)
