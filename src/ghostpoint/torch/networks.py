"""The library's networks as PyTorch modules, and PyTorch's recurrent layers as the library's
networks.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ghostpoint.checks import finite_array, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.models import FAMILIES, Record
from ghostpoint.tasks import Task
from ghostpoint.torch.anatomy import (
    CELLS,
    before,
    beside,
    equations,
    forward_hooks,
    has_own_forward,
    private_copy,
    recurrent_layers,
    tensors_in,
    unwrapped,
)
from ghostpoint.training.by_epoch.torch_engine import TORCH

__all__ = ["NetworkModule", "from_module", "record_of_layer", "to_module"]

_ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "identity": lambda value: value}

#: largest difference between answers that are the same, relative to what they vary by
CLOSE = 1e-4
#: least share of their size that answers are taken to vary by: less is rounding
VARYING = 1e-2
#: what a module may take of its readout at the end
_TAKEN: tuple[tuple[str | None, Callable[[torch.Tensor], torch.Tensor]], ...] = (
    *_ACTIVATIONS.items(),
    (None, partial(torch.softmax, dim=-1)),
    (None, partial(torch.log_softmax, dim=-1)),
)


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
        self._names = tuple(name for name in record.arrays() if name != "seed")
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
        return {name: getattr(self, name) for name in self._names}

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

        Raises
        ------
        ValueError
            For inputs, states or noise of another shape.
        """
        p = self.parts()
        if inputs.ndim != 3 or inputs.shape[-1] != self.record.n_inputs:
            raise InputError(f"inputs must have shape (B, T, {self.record.n_inputs}), got {tuple(inputs.shape)}")
        if not inputs.shape[1]:
            raise InputError(f"inputs must have a step at least, got {tuple(inputs.shape)}")
        begin = p["initial_state"].expand(len(inputs), *p["initial_state"].shape)
        for name, value, shape in (
            ("state", state, begin.shape),
            ("noise", noise, (inputs.shape[1], *begin.shape)),
        ):
            if value is not None and value.shape != torch.Size(shape):
                raise InputError(f"{name} must have shape {tuple(shape)}, got {tuple(value.shape)}")
        x = begin if state is None else state
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
        Gives ``alpha = dt / tau`` and ``read_out``. Its noise and random starts are no part of a
        module: ``forward`` takes them as ``noise`` and ``state``, and a warning says so.
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
    if task is not None and not isinstance(task, Task):
        raise InputError(f"task must be one of ghostpoint.tasks, got {type(task).__name__}")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise InputError(f"dtype must be a torch.dtype of floats, got {dtype!r}")
    if task is not None and (task.noise or task.initial_scale):
        random = [f"{name}={getattr(task, name):g}" for name in ("noise", "initial_scale") if getattr(task, name)]
        warnings.warn(
            f"to_module: the task has {' and '.join(random)}, which the module does not draw; give forward "
            "noise (T, B, R, N) and state (B, R, N)",
            stacklevel=2,
        )
    step = number("alpha", alpha if task is None else task.alpha, above=0, at_most=1)
    read = one_of("read_out", read_out if task is None else task.read_out, ("before", "after"))
    return NetworkModule(record, step, read, torch.float32 if dtype is None else dtype)


def from_module(module: nn.Module, *, activation: str | None = None, initial_state: Any = None) -> Record:
    """The network of a module as a record of the library, with alpha = 1 (``dt = tau`` in a task).

    ``torch.nn.RNN`` (tanh), ``torch.nn.GRU`` and ``torch.nn.LSTM`` with one layer in one direction,
    their cells, and modules that hold one of them and at most one ``Linear`` that takes its states
    h: the readout. PyTorch's two biases become one, ``b = bias_ih + bias_hh``, but for the
    candidate of a GRU, whose inner bias stands inside the reset gate (``b_rec``). The state of an
    LSTM is ``(h, c)``. A :class:`NetworkModule` gives its own record back; its ``alpha`` and
    ``read_out`` are no part of a record.

    A module whose ``forward`` can be called with inputs (1, T, I) is tried: its answers must be
    those of the layer and its readout, at all steps or the last, or what tanh, sigmoid, softmax or
    its logarithm make of them. To take layer and readout out of a module that does more, give them
    in ``torch.nn.ModuleList([layer, readout])``.

    Parameters
    ----------
    module : torch.nn.Module
        It is only read. ``torch.compile`` and ``DataParallel`` around it are taken off.
    activation : "sigmoid", "tanh" or "identity" (default)
        What the module takes of its readout; by default what the trial shows, and "identity" where
        it shows nothing.
    initial_state : scalar or (N,), optional
        PyTorch begins at 0. N is twice the number of units for an LSTM.

    Raises
    ------
    ValueError
        For another kind of network, with what it is: several layers or directions, ReLU,
        projections, more than one recurrent layer or readout, other parts with parameters, answers
        that are not those of layer and readout.
    """
    module = unwrapped(module)
    if not isinstance(module, nn.Module):
        raise InputError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if isinstance(module, NetworkModule):
        for name, value in (("activation", activation), ("initial_state", initial_state)):
            if value is not None:
                raise InputError(f"{name} must be left out: the module's own record has it, got {value!r}")
        return module.to_record()
    layers = recurrent_layers(module)
    if len(layers) != 1:
        names = ", ".join(type(one).__name__ for one in layers) or "none"
        raise InputError(f"module must hold one recurrent layer, got {names}")
    layer: Any = layers[0]
    _refuse(layer)
    if hooked := forward_hooks(module):
        names = ", ".join(name or "the module itself" for name in hooked)
        warnings.warn(
            f"from_module reads a copy without forward hooks, which {names} {'has' if len(hooked) == 1 else 'have'}: "
            "what they change is left out",
            stacklevel=2,
        )
    readouts = [
        one for _, one in beside(module, layer) if isinstance(one, nn.Linear) and one.in_features == layer.hidden_size
    ]
    if len(readouts) > 1:
        raise InputError(f"module must hold at most one Linear of {layer.hidden_size} inputs, got {len(readouts)}")
    readout = readouts[0] if readouts else None
    state = initial_state.detach().cpu() if isinstance(initial_state, torch.Tensor) else initial_state
    start = finite_array("initial_state", 0.0 if state is None else state)
    with torch.random.fork_rng(devices=[]):
        record = record_of_layer(layer, readout)
    if start.shape not in ((), (record.n_units,)):
        raise InputError(f"initial_state must be one number or have shape ({record.n_units},), got {start.shape}")
    start = np.broadcast_to(start, (record.n_units,))
    with torch.random.fork_rng(devices=[]):
        taken = _check_answers(module, layer, readout, start)
    if readout is None or taken in (None, "identity"):  # of logits anything may be taken later
        taken = activation
    elif activation not in (None, taken):
        raise InputError(f"activation must be {taken}, which the module takes of its readout, got {activation!r}")
    return record.replace(activation="identity" if taken is None else taken, initial_state=start)


def record_of_layer(layer: Any, readout: nn.Linear | None = None) -> Record:
    """The record of one recurrent layer or cell, by PyTorch's equations, and of its readout."""
    copied = private_copy(layer)
    suffix = "_l0" if hasattr(copied, "weight_hh_l0") else ""
    weights = {}
    for name in ("weight_hh", "weight_ih", "bias_hh", "bias_ih"):
        value = getattr(copied, name + suffix, None)
        if isinstance(value, torch.Tensor):
            weights[name] = _array(value)
    if readout is not None:
        ends = private_copy(readout)
        weights["w_out"] = _array(ends.weight)
        if ends.bias is not None:
            weights["b_out"] = _array(ends.bias)
    gates = weights["weight_hh"].shape[0] // layer.hidden_size
    family = next(one for one in FAMILIES.values() if one.torch_gates == gates)
    return family.from_torch(weights)


def _check_answers(module: nn.Module, layer: Any, readout: nn.Linear | None, start: Any) -> str | None:
    """Refuse a module that does more than its layer and its readout do, from a ``start`` (N,) or
    from 0; what it takes of its readout, if that is known.
    """
    gap, taken = _gap(module, layer, readout, start)
    more = beside(module, layer) if readout is None else []
    if gap is not None and gap <= CLOSE and not more:
        return taken
    if more or gap is None or math.isinf(gap):  # which part does more is not known by numbers
        if has_own_forward(layer):
            kind = type(layer).__name__
            raise InputError(f"module must hold a layer of PyTorch, got {kind} with a forward of its own")
        more = [(name, one) for name, one in beside(module, layer) if one is not readout]
        if type(module).forward is not nn.Module.forward:  # no mere container
            more += [(name, one) for name, one in before(module, layer) if one is readout]
        names = [f"{name} ({type(one).__name__})" for name, one in more]
        if module is not layer:
            names += [f"{name} (a parameter)" for name, _ in module.named_parameters(recurse=False)]
        if names:
            raise InputError(
                "module must hold a recurrent layer and at most one Linear that takes its states, got also "
                f"{', '.join(names)}"
            )
    if gap is None and type(module).forward is not nn.Module.forward:
        warnings.warn(
            f"from_module takes the {type(layer).__name__}{'' if readout is None else ' and the Linear after it'} "
            f"alone: {type(module).__name__}.forward cannot be called with inputs (1, T, {layer.input_size}), so what "
            "else it does is not known. torch.nn.ModuleList([layer, readout]) says that this is the network",
            stacklevel=3,
        )
    if gap is not None:
        how = f"differs by {gap:.3g} of their size" if gap < math.inf else "its answers have another size"
        raise InputError(
            f"module must answer as its {type(layer).__name__} and at most one Linear do, and {how}: "
            f"{type(module).__name__}.forward does more, which no record has. "
            "torch.nn.ModuleList([layer, readout]) takes the two alone"
        )
    return None


def _gap(module: nn.Module, layer: Any, readout: nn.Linear | None, start: Any) -> tuple[float | None, str | None]:
    """The largest difference between what a module answers to random inputs (1, T, I) and the
    nearest of what its layer and readout do, relative to what that varies by, and the activation of
    the library that it takes of these; infinite where its answers have another size, None where it
    cannot be called so.
    """
    if module is layer and not has_own_forward(layer):
        return 0.0, None
    try:
        with torch.inference_mode(False), torch.no_grad():
            # double precision only where the module has it: its forward may make tensors of its own
            kind = next(layer.parameters()).dtype
            kind = kind if kind == torch.float64 else torch.float32
            copied, base = (private_copy(one).to(kind).cpu() for one in (module, layer))
            ends = nn.Identity() if readout is None else private_copy(readout).to(kind).cpu()
            x = torch.randn(1, 7, layer.input_size, dtype=kind, device="cpu")
            found = [one for one in tensors_in(copied(x)) if one.dtype == kind]
            begin = torch.tensor(start, dtype=kind, device="cpu")
            wanted = [
                (name, act(logits))
                for h in [*_states(base, x, 0 * begin), *_states(base, x, begin)]
                for logits in [ends(h)]
                for name, act in _TAKEN
            ]
    except Exception:  # anyone's module may want anything
        return None, None
    gaps = [
        (_apart(same, shown), name)
        for one in found
        for name, whole in wanted
        for shown in (whole, whole[-1:])
        if one.numel() == shown.numel()
        for same in (one.reshape(shown.shape), one.reshape(shown.shape[::-1]).T)  # classes may come first
    ]
    if not found:
        return None, None
    fitting = {name for gap, name in gaps if gap <= CLOSE}
    # of several, as where all logits are near 0, none is told
    return min((gap for gap, _ in gaps), default=float("inf")), fitting.pop() if len(fitting) == 1 else None


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference between two answers, relative to what the other one varies by."""
    gap, varies = float((one - other).abs().max()), float(other.max() - other.min())
    unit = max(varies, VARYING * float(other.abs().max()))
    return gap / unit if unit > 0 else gap and math.inf


def _states(layer: Any, x: torch.Tensor, start: torch.Tensor) -> list[torch.Tensor]:
    """The states h (T, N) of a layer by PyTorch's equations from a start (N,), for inputs (1, T, I)
    that are one trial of T steps, and for T trials of one step, as a layer reads them that is not
    ``batch_first``.
    """
    own = equations(layer).forward
    pair = isinstance(layer, nn.LSTM | nn.LSTMCell)

    def begin(trials: int) -> Any:
        rows = start.expand(trials, -1)
        parts = [part.contiguous() for part in rows.chunk(2, 1)] if pair else [rows.contiguous()]
        if not isinstance(layer, CELLS):
            parts = [part[None] for part in parts]
        return tuple(parts) if pair else parts[0]

    if not isinstance(layer, CELLS):
        trial, step = (x, x.transpose(0, 1)) if layer.batch_first else (x.transpose(0, 1), x)
        pairs = ((trial, 1), (step, x.shape[1]))
        return [own(layer, one, begin(trials))[0].reshape(x.shape[1], -1) for one, trials in pairs]
    state, states = begin(1), []
    for u in x[0]:
        state = own(layer, u[None], state)
        states.append(state[0] if pair else state)
    alone = own(layer, x[0], begin(len(x[0])))
    return [torch.cat(states), alone[0] if pair else alone]


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
