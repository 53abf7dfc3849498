"""Weights of networks in files of other programs, and the equation that their names stand for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint import checks
from ghostpoint.diagnosis.readers.plain_pickle import torch_archive
from ghostpoint.errors import InputError
from ghostpoint.keras_files import keras_network, package, read_hdf5, read_keras
from ghostpoint.models import FAMILIES, FullRankRNN, LowRankRNN, Record
from ghostpoint.results import load

Arrays = dict[str, NDArray[Any]]

#: names of PyTorch's recurrent cells, before the suffix for their layer, which a lone cell does not
#: have
_CELL, _LAYER = ("weight_hh", "weight_ih", "bias_hh", "bias_ih"), "_l0"
#: names of the arrays of full-rank networks in other packages (PsychRNN, trainRNNbrain), and ours
_OTHERS = {
    "W_rec": "W", "W_in": "w_in", "W_inp": "w_in", "W_out": "w_out", "b_rec": "b", "bias_rec": "b",
    "init_state": "initial_state", "y_init": "initial_state",
}  # fmt: skip
#: arrays of lowrank_inference (Valente, Pillow and Ostojic 2022) beside m, n and b
_LOWRANK_INFERENCE = {"wi", "si", "wo", "so", "h0"}
#: by which W = m n^T may be multiplied
SCALES = ("1", "1/N")


class WeightsFile(NamedTuple):
    """What a file of weights was read as.

    ``equation``: the one that is assumed, in the names of the arrays. ``unused``: arrays that
    nothing was made of. ``activation``: that of the units, as for `find_slow_points`, where the
    file says it; else tanh is assumed.
    """

    models: Record
    equation: str
    unused: tuple[str, ...]
    activation: str = "tanh"


def read_weights(path: str | os.PathLike[str], **options: Any) -> Record:
    """The networks in a file: ``open_weights(path, **options).models``, where files and options are
    described.

    Examples
    --------
    >>> import tempfile
    >>> import ghostpoint as gp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = gp.write_weights(gp.LowRankRNN(m=[1.0, 1.0], n=[1.0, 1.0]), f"{folder}/w.npz")
    ...     gp.read_weights(path).n_units
    2
    """
    return open_weights(path, **options).models


def open_weights(
    path: str | os.PathLike[str], *, low_rank_scale: str | None = None, transpose: bool = False
) -> WeightsFile:
    """The networks in a file, with the equation that was assumed and the arrays that were not used.

    ``.npz``, ``.safetensors``, ``.mat``, ``.h5``, Keras's ``.keras`` and PyTorch's ``.pt``,
    ``.pth`` and ``.ckpt`` (a ``state_dict``, or a checkpoint that holds one; read without PyTorch,
    and never any object but arrays) hold arrays by name; ``.npy`` holds W. The names are one of
    these:

    * The arguments of `LowRankRNN` (m, n, b and more), of `FullRankRNN` (W, b, w_in, w_out, b_out)
      or of another family of ``ghostpoint.models.FAMILIES``, with or without a first axis for the
      networks. m and n of two axes are (N, K) where b is (N,), and (R, N) where b is (R, N).
    * PyTorch's, with whatever prefix, of an RNN, GRU or LSTM of one layer in one direction:
      ``weight_hh_l0`` (or ``weight_hh``, of a lone cell), ``weight_ih_l0`` and the two biases; a
      Linear of N inputs is the readout. They move by the Euler map with alpha = dt / tau = 1.
      Weights do not say whether an ``nn.RNN`` is tanh or relu.
    * Keras's of one SimpleRNN, GRU or LSTM: ``kernel``, ``recurrent_kernel`` (acts from the right,
      and is transposed) and ``bias``, or ``cell.vars`` by number; a Dense layer of N inputs is the
      readout. A ``.keras`` or ``.h5`` file of a whole model says the activations too. A GRU needs
      ``reset_after=True``, the default.
    * ``W_rec``, ``W_in`` or ``W_inp``, ``W_out``, ``b_rec`` or ``bias_rec`` (PsychRNN,
      trainRNNbrain).
    * Those of lowrank_inference: m, n, b, wi, si, wo, so, h0, with input weights ``wi si`` and
      ``W = m n^T / N``.

    Without a readout a network gets one of zeros, which no slow point depends on. Any other file is
    taken for a saved training run, whose final networks are returned.

    Parameters
    ----------
    low_rank_scale : "1" or "1/N", optional
        What ``m n^T`` is multiplied by to be W. Needed where the names are those of another package
        than this one.
    transpose : bool
        Whether recurrent weights act from the right, ``x W``; W is transposed then.

    Raises
    ------
    ValueError
        If the file is not there, cannot be read, or has other arrays; if its network has several
        layers; where the scale of a low-rank network is in doubt.
    ImportError
        For ``.safetensors``, ``.h5`` or ``.keras`` without the package that reads them.

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
    if low_rank_scale is not None:
        checks.one_of("low_rank_scale", low_rank_scale, SCALES)
    if not path.is_file():
        raise InputError(f"path must be a file of weights, and there is none at {path}")
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        if low_rank_scale is not None or transpose:
            raise InputError(f"low_rank_scale and transpose must be left out for a saved run, as {path} seems to be")
        models: Record = load(path).models
        return WeightsFile(models, _equation(models), ())
    try:
        arrays = container.read(path)
    except (ImportError, InputError):
        raise
    except Exception as error:  # every package has exceptions of its own
        raise InputError(f"path must be {container.name}, and {path} is not: {error}") from error
    return _model(arrays, path, low_rank_scale, transpose)


def write_weights(model: Record, path: str | os.PathLike[str]) -> Path:
    """Write the arrays of networks to ``path``, ``.npz`` or ``.safetensors``; `read_weights` gives
    them back.

    Settings that are not arrays (activation, readout, trainable parts) are not kept; a saved
    training run has them.

    Raises
    ------
    ValueError
        For another suffix.
    ImportError
        For ``.safetensors`` without the package of that name.

    Examples
    --------
    >>> import tempfile
    >>> import ghostpoint as gp
    >>> model = gp.LowRankRNN(m=[1.0, 1.0], n=[1.0, 1.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gp.write_weights(model, f"{folder}/w.npz").name
    'w.npz'
    """
    path = Path(path)
    writers = {suffix: each.write for suffix, each in CONTAINERS.items() if each.write is not None}
    suffix = checks.one_of("path's suffix", path.suffix.lower(), writers)
    writers[suffix]({name: np.ascontiguousarray(array) for name, array in model.arrays().items()}, path)
    return path


class Container(NamedTuple):
    """A format of files with named arrays.

    ``name`` completes "path must be ...". ``read(path)`` gives the arrays by name; whatever it
    raises but an ImportError becomes a ``ValueError`` that names the file. ``write(arrays, path)``
    writes to exactly ``path``; None for formats that are only read.
    """

    name: str
    read: Callable[[Path], Arrays]
    write: Callable[[Arrays, Path], None] | None = None


def _read_npz(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _write_npz(arrays: Arrays, path: Path) -> None:
    keywords: Any = arrays
    with path.open("wb") as file:  # by name it would become W.NPZ.npz
        np.savez(file, **keywords)


def _read_mat(path: Path) -> Arrays:
    from scipy.io import loadmat

    arrays = {
        name: np.asarray(value)
        for name, value in loadmat(path).items()
        if not name.startswith("__") and value.dtype.kind in "biuf"
    }
    # MATLAB knows no vectors
    return {name: value.ravel() if name in ("b", "b_out", "b_rec", "bias") else value for name, value in arrays.items()}


def _read_pytorch(path: Path) -> Arrays:
    held = torch_archive(path, path.read_bytes())
    while isinstance(held, dict):
        inner = next((held[key] for key in ("state_dict", "model_state_dict", "model") if key in held), None)
        if not isinstance(inner, dict):
            break
        held = inner
    arrays = {name: value for name, value in dict(held).items() if isinstance(value, np.ndarray)}
    if not arrays:
        raise InputError("it holds none")
    return arrays


_HDF5 = Container("an HDF5 file", read_hdf5)
_PYTORCH = Container("a PyTorch file with a state_dict", _read_pytorch)

#: the formats by the suffix of their files; new ones are registered here
CONTAINERS: dict[str, Container] = {
    ".npz": Container("a NumPy archive of plain arrays", _read_npz, _write_npz),
    ".safetensors": Container(
        "a safetensors file",
        lambda path: dict(package("safetensors.numpy", "safetensors").load_file(path)),
        lambda arrays, path: package("safetensors.numpy", "safetensors").save_file(arrays, path),
    ),
    ".npy": Container("a NumPy array of numbers", lambda path: {"W": np.load(path, allow_pickle=False)}),
    ".mat": Container("a MATLAB file up to version 7", _read_mat),
    ".keras": Container("a model that Keras saved", read_keras),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".ckpt": _PYTORCH,
}


# Names: arrays to a network.


def _model(arrays: Arrays, path: Path, scale: str | None, transpose: bool) -> WeightsFile:
    """The network that the names stand for."""
    if scale is not None and not {"m", "n"} <= set(arrays):
        raise InputError(f"low_rank_scale must be left out for networks without m and n, as in {path}")
    hidden = [name for name in arrays if name.rpartition(".")[2] in ("weight_hh", "weight_hh" + _LAYER)]
    keras = [name for name in arrays if name.rpartition(".")[2] == "recurrent_kernel"]
    renamed = {_OTHERS.get(name, name): array for name, array in arrays.items()}
    if not hidden and {"m", "n"} <= set(arrays):
        return _low_rank(arrays, path, scale, transpose)
    for family in FAMILIES.values():
        if set(family.required) <= set(arrays) and _gates(arrays) in (None, family.torch_gates):
            given = {name: array for name, array in arrays.items() if name in family.dims}
            if transpose:
                given = _transposed(given, family.required[0], path)
            models = family.from_arrays(given)
            return WeightsFile(models, _equation(models), _rest(arrays, given))
    if "W" in renamed:
        return _renamed(arrays, renamed, transpose, path)
    if keras:
        return _keras(arrays, keras, path)
    if hidden:
        used, models = _from_torch(arrays, hidden[0], path)
        if transpose:
            raise InputError("transpose must be left out for PyTorch's names, whose weights act from the left")
        text = _equation(models, "x <- ")
        text += "; weights do not say whether it is tanh or relu" * (models.tanh_form() is not None)
        return WeightsFile(models, text, _rest(arrays, used))
    known = [" and ".join(family.required) for family in FAMILIES.values()]
    raise InputError(
        f"path must hold arrays {', or '.join(dict.fromkeys([*known, 'weight_hh_l0', 'recurrent_kernel', 'W_rec']))}; "
        f"{path} holds {', '.join(sorted(arrays)) or 'none'}"
    )


def _rest(arrays: Arrays, used: Any) -> tuple[str, ...]:
    return tuple(sorted(set(arrays) - set(used)))


def _gates(arrays: Arrays) -> int | None:
    """Rows over columns of ``w_rec``, by which gated families differ; None without it."""
    shape = arrays["w_rec"].shape if "w_rec" in arrays else ()
    return shape[-2] // shape[-1] if len(shape) >= 2 and shape[-1] and not shape[-2] % shape[-1] else None


def _transposed(given: Arrays, name: str, path: Path) -> Arrays:
    matrix = given[name]
    if name != "W" or matrix.ndim < 2:
        raise InputError(f"transpose must be left out for {path}, which has no W")
    return {**given, "W": np.swapaxes(matrix, -1, -2)}


def _low_rank(arrays: Arrays, path: Path, scale: str | None, transpose: bool) -> WeightsFile:
    """m and n of this library, or of lowrank_inference."""
    theirs = _LOWRANK_INFERENCE & set(arrays)
    if theirs and scale is None:
        raise InputError(
            f"low_rank_scale must be given for {path}: with {', '.join(sorted(theirs))} the names are those of "
            "lowrank_inference, where W = m n^T / N ('1/N'), and not W = m n^T as here ('1')"
        )
    given = {name: array for name, array in arrays.items() if name in LowRankRNN.dims}
    if transpose:
        given |= {"m": given["n"], "n": given["m"]}
    used = set(given)
    if {"wi", "si"} <= theirs:
        # (I, N) times the scale of each channel
        given["w_in"] = (np.asarray(arrays["wi"]) * np.asarray(arrays["si"])[:, None]).T
        used |= {"wi", "si"}
    if "h0" in theirs:
        given["initial_state"] = np.tanh(np.asarray(arrays["h0"]) + np.asarray(arrays.get("b", 0.0)))
        used |= {"h0"}
    models = LowRankRNN.from_arrays(given)
    if scale == "1/N":
        models = models.replace(n=models.n / models.n_units)
    text = _equation(models).replace("m n^T x", "m n^T x / N" if scale == "1/N" else "m n^T x")
    return WeightsFile(models, text, _rest(arrays, used))


def _renamed(arrays: Arrays, renamed: Arrays, transpose: bool, path: Path) -> WeightsFile:
    """Arrays of PsychRNN or trainRNNbrain, of one network."""
    given = {
        name: np.squeeze(array) if name == "b" else array for name, array in renamed.items() if name in FullRankRNN.dims
    }
    units = given["W"].shape[-1]
    if "initial_state" in given:
        given["initial_state"] = np.reshape(given["initial_state"], -1)[:units]
    if transpose:
        given = _transposed(given, "W", path)
    models = FullRankRNN.from_arrays(given)
    used = [name for name in arrays if _OTHERS.get(name, name) in given]
    return WeightsFile(models, _equation(models), _rest(arrays, used))


def _keras(arrays: Arrays, found: list[str], path: Path) -> WeightsFile:
    """The network of one recurrent layer of Keras."""
    models, activation, used = keras_network(arrays, found, path)
    text = _equation(models, "x <- ").replace("tanh", activation or "tanh")
    text += "" if activation else "; the file says no activations: the usual ones are assumed"
    return WeightsFile(models, text, _rest(arrays, used), activation or "tanh")


def _from_torch(arrays: Arrays, recurrent: str, path: Path) -> tuple[set[str], Record]:
    """The names that are used, and the network of a module with one recurrent layer, and perhaps a
    Linear."""
    prefix, _, last = recurrent.rpartition("weight_hh")
    inside = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    more = sorted(name for name in inside if name.startswith("weight_hh") and name != "weight_hh" + last)
    if more:
        raise InputError(f"path must hold a recurrent network of one layer in one direction, got {', '.join(more)} too")
    rows, units = checks.shape(recurrent, inside["weight_hh" + last], ("rows", "N")).shape
    gates = {family.torch_gates: family for family in FAMILIES.values() if family.torch_gates is not None}
    if units == 0 or rows % units or rows // units not in gates:
        raise InputError(
            f"{recurrent} must be of a vanilla RNN, (N, N), of a GRU, (3 N, N), or of an LSTM, (4 N, N); "
            f"got {(rows, units)}, another cell"
        )
    found = {name: inside[name + last] for name in _CELL if name + last in inside}
    used = {prefix + name + last for name in found}
    others = [name for name in arrays if name.endswith("weight") and arrays[name].shape[1:] == (units,)]
    if len(others) == 1:
        found["w_out"] = arrays[others[0]]
        used.add(others[0])
        bias = others[0].removesuffix("weight") + "bias"
        if bias in arrays:
            found["b_out"] = arrays[bias]
            used.add(bias)
    return used, gates[rows // units].from_torch(found)


def _equation(models: Record, step: str = "") -> str:
    """The equation of a family; ``step``: the map with alpha = 1 that stands for it."""
    inputs = " + w_in u" if models.w_in is not None else ""
    form = models.tanh_form()
    if form is None:
        return f"that of the {type(models).__name__} (x <- step(x) with alpha = 1)"
    inner = f"tanh({'W x' if form.n is None else 'm n^T x'}{inputs} + b)"
    return f"{step}{inner}" if step else f"tau dx/dt = -x + {inner}"
