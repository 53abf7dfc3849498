"""The library's networks as PyTorch modules, and PyTorch's recurrent layers as the library's
networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ghostpoint.checks import number, one_of
from ghostpoint.errors import InputError
from ghostpoint.models import FAMILIES, Record
from ghostpoint.tasks import Task
from ghostpoint.training.by_epoch.torch_engine import TORCH

__all__ = ["NetworkModule", "from_module", "to_module"]

_LAYERS = (nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell)
_ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "identity": lambda value: value}


class NetworkModule(nn.Module):
    """A stack of R networks of any family with the family's own equations; :func:`to_module` makes
    one.

    Its parameters are the parts of the record that are trainable, under their own names and with
    their first axis for the networks; the other arrays are buffers. So each bias is one parameter,
    as in the library's training, and not two as in PyTorch's layers, where plain gradient descent
    moves the sum of the two twice as far.

    Attributes
    ----------
    alpha : float
        Euler step in units of the time constant.
    read_out : "before" or "after"
        Whether the answer of a step is read from the state before or after its update.
    """

    def __init__(self, record: Record, alpha: float, read_out: str, dtype: torch.dtype):
        super().__init__()
        self.record, self.alpha, self.read_out = record, alpha, read_out
        for name, array in record.arrays().items():
            if name == "seed":
                continue
            tensor = torch.tensor(np.array(array), dtype=dtype)
            if name in record.trainable:
                self.register_parameter(name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)

    def parts(self) -> dict[str, torch.Tensor]:
        """The arrays by name."""
        return {**dict(self.named_buffers(recurse=False)), **dict(self.named_parameters(recurse=False))}

    def forward(
        self, inputs: torch.Tensor, state: torch.Tensor | None = None, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Answers to trials.

        Parameters
        ----------
        inputs : (B, T, I)
            I may be 0.
        state : (B, R, N), optional
            At the start; the record's ``initial_state`` by default.
        noise : (T, B, R, N), optional
            Added inside the tanh of the units.

        Returns
        -------
        (B, T, O), with an axis (B, R, T, O) for more than one network
        """
        p = self.parts()
        x = p["initial_state"].expand(len(inputs), *p["initial_state"].shape) if state is None else state
        logits = []
        for t in range(inputs.shape[1]):
            if self.read_out == "before":
                logits.append(self.record.read(TORCH, p, x))
            u = inputs[:, t] if self.record.n_inputs else None
            x, _ = self.record.advance(TORCH, p, x, u, self.alpha, None if noise is None else noise[t])
            if self.read_out == "after":
                logits.append(self.record.read(TORCH, p, x))
        outputs = _ACTIVATIONS[self.record.activation](torch.stack(logits, dim=2))
        return outputs[:, 0] if len(self.record) == 1 else outputs

    def to_record(self) -> Record:
        """The record with the present numbers."""
        arrays = {name: value.detach().cpu().double().numpy() for name, value in self.parts().items()}
        return self.record.replace(**arrays)

    def extra_repr(self) -> str:
        """The record, and how it is stepped."""
        return f"{self.record}, alpha={self.alpha:g}, read_out={self.read_out!r}"


def to_module(
    record: Record, task: Task | None = None, *, alpha: float = 1.0, read_out: str = "after", dtype: Any = None
) -> NetworkModule:
    """Networks of the library as a module with the same equations and the same losses.

    Parameters
    ----------
    record : LowRankRNN, FullRankRNN, GRU or another family
        One network or a stack.
    task : Task, optional
        Gives ``alpha = dt / tau`` and ``read_out``.
    alpha, read_out : optional
        Where there is no task.
    dtype : torch.dtype, optional
        float32 by default, as in training.

    Raises
    ------
    ValueError
        For anything but a record, and an alpha outside (0, 1].
    """
    if not isinstance(record, Record):
        raise InputError(f"record must be one of {', '.join(FAMILIES)}; got {type(record).__name__}")
    step = number("alpha", alpha if task is None else task.alpha, above=0, at_most=1)
    read = one_of("read_out", read_out if task is None else task.read_out, ("before", "after"))
    return NetworkModule(record, step, read, torch.float32 if dtype is None else dtype)


def from_module(module: nn.Module, *, activation: str = "identity", initial_state: Any = 0.0) -> Record:
    """The network of a module as a record of the library, with alpha = 1 (``dt = tau`` in a task).

    ``torch.nn.RNN`` (tanh), ``torch.nn.GRU`` and ``torch.nn.LSTM`` with one layer in one direction,
    their cells, and modules that hold one of them and at most one ``Linear`` that takes its states
    h: the readout. PyTorch's two biases become one, ``b = bias_ih + bias_hh``, but for the
    candidate of a GRU, whose inner bias stands inside the reset gate (``b_rec``). The state of an
    LSTM is ``(h, c)``. A :class:`NetworkModule` gives its own record back.

    Parameters
    ----------
    module : torch.nn.Module
        It is only read.
    activation : "sigmoid", "tanh" or "identity"
        What the module takes of its readout; a module does not say.
    initial_state : scalar or (N,)
        PyTorch begins at 0. N is twice the number of units for an LSTM.

    Raises
    ------
    ValueError
        For another kind of network, with what it is: several layers or directions, ReLU,
        projections, more than one recurrent layer or readout.
    """
    if isinstance(module, NetworkModule):
        return module.to_record()
    layers = [one for one in module.modules() if isinstance(one, _LAYERS)]
    if len(layers) != 1:
        names = ", ".join(type(one).__name__ for one in layers) or "none"
        raise InputError(f"module must hold one recurrent layer, got {names}")
    layer: Any = layers[0]
    _refuse(layer)
    suffix = "_l0" if hasattr(layer, "weight_hh_l0") else ""
    cell = {}
    for name in ("weight_hh", "weight_ih", "bias_hh", "bias_ih"):
        value = getattr(layer, name + suffix, None)
        if isinstance(value, torch.Tensor):
            cell[name] = _array(value)
    readouts = [one for one in module.modules() if isinstance(one, nn.Linear) and one.in_features == layer.hidden_size]
    if len(readouts) > 1:
        raise InputError(f"module must hold at most one Linear of {layer.hidden_size} inputs, got {len(readouts)}")
    if readouts:
        cell["w_out"] = _array(readouts[0].weight)
        if readouts[0].bias is not None:
            cell["b_out"] = _array(readouts[0].bias)
    gates = cell["weight_hh"].shape[0] // layer.hidden_size
    family = next(one for one in FAMILIES.values() if one.torch_gates == gates)
    found = family.from_torch(cell)
    state = np.broadcast_to(np.asarray(initial_state, dtype=np.float64), (found.n_units,))
    return found.replace(activation=activation, initial_state=state)


def _refuse(layer: Any) -> None:
    """Say what a recurrent layer is, if no family has its equations."""
    if getattr(layer, "proj_size", 0):
        raise InputError(f"module must hold a layer without projection, got {layer}")
    if getattr(layer, "num_layers", 1) > 1 or getattr(layer, "bidirectional", False):
        raise InputError(f"module must hold one layer in one direction, got {layer}")
    if getattr(layer, "nonlinearity", "tanh") != "tanh":
        raise InputError(f"module must hold units with tanh, got {layer.nonlinearity}")


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().cpu().double().numpy()
