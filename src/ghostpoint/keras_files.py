"""Weights that Keras saved, and HDF5 files: names, equations and activations.

Keras's equations are in its documentation of ``SimpleRNN``, ``GRU`` and ``LSTM``; all weights act
from the right, and the gates of a GRU mix the old state with z, as here.
"""

from __future__ import annotations

import json
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.models import GRU, LSTM, FullRankRNN, Record

Arrays = dict[str, NDArray[Any]]

#: recurrent layers that are read
KERAS_LAYERS = ("SimpleRNN", "GRU", "LSTM")


def package(module: str, name: str) -> Any:
    """The module, or an error that says how to install it."""
    try:
        return import_module(module)
    except ImportError:
        raise ImportError(f"{name} files need the package {name}: pip install {name}") from None


def read_hdf5(path: Path | BytesIO) -> Arrays:
    """The arrays of numbers in an HDF5 file, with dots between the parts of their names."""
    h5py, arrays = package("h5py", "h5py"), dict[str, NDArray[Any]]()

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
            arrays[_named(name.replace("/", ".").removesuffix(":0"))] = np.asarray(item)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return arrays


def _named(name: str) -> str:
    """Arrays that Keras 3 numbers, by the names that it had for them before."""
    layer, _, number = name.rpartition(".vars.")
    names = ("kernel", "recurrent_kernel", "bias") if layer.endswith("cell") else ("kernel", "bias")
    numbered = layer.startswith(("layers.", "_layer_checkpoint_dependencies.")) and number.isdecimal()
    return f"{layer}.{names[int(number)]}" if numbered and int(number) < len(names) else name


def read_keras(path: Path) -> Arrays:
    """The arrays of a ``.keras`` file, a zip archive that holds an HDF5 file."""
    with ZipFile(path) as archive:
        return read_hdf5(BytesIO(archive.read("model.weights.h5")))


def _layers(path: Path) -> list[dict[str, Any]]:
    """The settings of the recurrent layers of a model that Keras saved whole, as far as it says
    them.
    """
    text: Any = ""
    if path.suffix.lower() == ".keras":
        with ZipFile(path) as archive:
            text = archive.read("config.json")
    elif path.suffix.lower() in (".h5", ".hdf5"):
        with package("h5py", "h5py").File(path, "r") as file:
            text = file.attrs.get("model_config", "")
    found: list[dict[str, Any]] = []

    def visit(part: Any) -> None:
        if isinstance(part, dict):
            if part.get("class_name") in KERAS_LAYERS:
                found.append({"class_name": part["class_name"], **part["config"]})
            for each in part.values():
                visit(each)
        elif isinstance(part, list):
            for each in part:
                visit(each)

    visit(json.loads(text) if text else None)
    return found


def keras_network(arrays: Arrays, found: list[str], path: Path) -> tuple[Record, str, set[str]]:
    """The network, its activation (empty where the file does not say it), and the names of the
    arrays that are used.

    A SimpleRNN is ``h <- tanh(u kernel + h recurrent_kernel + bias)``; weights act from the right.
    ``found`` are the names of all recurrent kernels.

    Gates of a GRU are z, r, c in Keras, and r, z, c here; those of an LSTM have one order.
    """
    if len(found) > 1:
        raise InputError(f"path must hold one recurrent layer, got {', '.join(found)} in {path}")
    prefix = found[0].removesuffix("recurrent_kernel")
    recurrent = checks.shape(found[0], arrays[found[0]], ("N", "columns"))
    units, columns = recurrent.shape
    if not units or columns % units or columns // units not in (1, 3, 4):
        raise InputError(
            f"{found[0]} must be of a SimpleRNN, (N, N), of a GRU, (N, 3 N), or of an LSTM, (N, 4 N); "
            f"got {(units, columns)}, another cell"
        )
    gates = columns // units
    activation = _activation(path, gates)
    bias = np.asarray(arrays.get(prefix + "bias", np.zeros((2, columns) if gates == 3 else columns)))
    if gates == 3 and bias.ndim != 2:
        raise InputError(
            f"path must hold a GRU with reset_after=True, whose bias has two rows, got {bias.shape} in {path}: "
            "the reset gate before the recurrent product is another equation"
        )
    order = [1, 0, 2] if gates == 3 else list(range(gates))

    def turned(array: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([np.split(array, gates, axis=-1)[k] for k in order], axis=-1).T

    cell = {"weight_hh": turned(recurrent)}
    biases = bias if gates == 3 else bias[None]
    cell |= {name: turned(row) for name, row in zip(("bias_ih", "bias_hh"), biases, strict=False)}
    used = {found[0]} | {prefix + name for name in ("kernel", "bias") if prefix + name in arrays}
    if prefix + "kernel" in arrays:
        cell["weight_ih"] = turned(arrays[prefix + "kernel"])
    dense = [name for name in arrays if name.endswith("kernel") and name not in used and len(arrays[name]) == units]
    if len(dense) == 1:
        cell["w_out"] = arrays[dense[0]].T
        used.add(dense[0])
        beside = dense[0].removesuffix("kernel") + "bias"
        if beside in arrays:
            cell["b_out"] = arrays[beside]
            used.add(beside)
    families: dict[int, Any] = {1: FullRankRNN, 3: GRU, 4: LSTM}
    models: Record = families[gates].from_torch(cell)
    return models, activation, used


def _activation(path: Path, gates: int) -> str:
    """That of the units, as the file says; empty where it does not.

    Raises
    ------
    ValueError
        For gates or activations of another equation.
    """
    layers = _layers(path)
    if len(layers) != 1:
        return ""
    said = {name: layers[0][name] for name in ("activation", "recurrent_activation") if name in layers[0]}
    known = ("tanh", "sigmoid", "relu", "softplus") if gates == 1 else ("tanh",)
    checks.one_of(f"activation of the {layers[0]['class_name']} in {path}", said.get("activation", "tanh"), known)
    inner = said.get("recurrent_activation", "sigmoid")
    checks.one_of(f"recurrent_activation of the {layers[0]['class_name']} in {path}", inner, ("sigmoid",))
    return str(said.get("activation", "tanh"))
