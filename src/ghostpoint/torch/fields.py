"""Recurrent layers of PyTorch as vector fields: float64 copies of their equations, with derivatives
by ``torch.func``.

A layer or a step moves its state by ``x <- step(u, x)``; the field is ``F(x) = step(u, x) - x`` at
a constant input u. The equations are written out in elementary operations, since ``vmap`` has no
rules for the fused cells.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ghostpoint.errors import InputError
from ghostpoint.slow_points.user_field import UserField

__all__ = ["RECURRENT", "Layout", "TorchField", "field_of_layer", "field_of_step"]

Floats = NDArray[np.float64]
Step = Callable[[torch.Tensor], torch.Tensor]
Parts = dict[str, torch.Tensor]

RECURRENT = (nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell)


@dataclass(frozen=True)
class Layout:
    """How a state is made of those of layers: ``layers`` times ``kinds`` (2 for LSTM: h, c) vectors
    of ``units``.
    """

    layers: int
    kinds: int
    units: int

    @property
    def size(self) -> int:
        """K, numbers of a whole state."""
        return self.layers * self.kinds * self.units

    def flat(self, states: Any) -> Floats:
        """States as an array (S, K), layer by layer, h before c.

        ``states`` may be (..., K); PyTorch's own (layers, ..., units), with a pair (h, c) of them
        for an LSTM; or for a single layer (..., units).
        """
        given = states if isinstance(states, tuple) else (states,)
        arrays = [np.asarray(x.detach().cpu().double() if isinstance(x, torch.Tensor) else x, float) for x in given]
        if len(arrays) == 1 and arrays[0].shape[-1:] == (self.size,):
            return arrays[0].reshape(-1, self.size)
        if len(arrays) == self.kinds and all(a.shape == arrays[0].shape for a in arrays):
            shape = arrays[0].shape
            if shape[-1:] == (self.units,):
                layered = self.layers == 1 or (len(shape) >= 2 and shape[0] == self.layers)
                if layered:
                    split = [a.reshape(self.layers, -1, self.units) for a in arrays]
                    return np.stack(split, 1).transpose(2, 0, 1, 3).reshape(-1, self.size)
        wanted = f"(..., {self.size})" + (f", or (h, c) of (..., {self.units})" if self.kinds == 2 else "")
        raise InputError(f"states must have shape {wanted}, got {' and '.join(str(a.shape) for a in arrays)}")


class TorchField(UserField):
    """The field of a step in float64, its Jacobian and its curvature, for
    :func:`ghostpoint.find_slow_points`.

    Parameters
    ----------
    make : function of arrays by name to a step
        A step is a function of a state (K,), or with ``batched`` of states (B, K), to the next; of
        tensors in float64.
    parts : dict of str to tensor
        The weights.
    size : int
        K.
    batched : bool
        Whether the step only takes batches, whose rows must not depend on each other; derivatives
        are then taken by ``size`` backward passes and not by ``vmap``.
    """

    def __init__(self, make: Callable[[Parts], Step], parts: Parts, size: int, *, batched: bool = False):
        self._make, self._parts, self._step, self._batched = make, parts, make(parts), batched
        # the fields of the frozen record
        for name, value in (("f", self._flow), ("derivative", self._derivative), ("size", size), ("second", None)):
            object.__setattr__(self, name, value)

    def between(self, other: TorchField, t: float) -> TorchField:
        """The field whose weights are ``(1 - t)`` times this one's plus t times another one's."""
        parts = {name: (1 - t) * value + t * other._parts[name] for name, value in self._parts.items()}
        return TorchField(self._make, parts, self.size, batched=self._batched)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _of(self, x: torch.Tensor) -> torch.Tensor:
        return self._step(x) - x

    def _flow(self, x: Floats) -> Floats:
        with torch.no_grad():
            t = torch.tensor(x)
            return (self._of(t) if self._batched else torch.func.vmap(self._of)(t)).numpy()

    def _derivative(self, x: Floats) -> Floats:
        t = torch.tensor(x)
        if not self._batched:
            with torch.no_grad():
                return torch.func.vmap(torch.func.jacfwd(self._of))(t).numpy()
        t.requires_grad_()
        flow = self._of(t)
        rows = [torch.autograd.grad(flow[:, i].sum(), t, retain_graph=True)[0] for i in range(self.size)]
        return torch.stack(rows, 1).numpy()

    def curvature(self, x: Floats, p: Floats) -> Floats:
        """The Hessian of ``p . F``."""
        t, weights = torch.tensor(x), torch.tensor(p)
        if not self._batched:
            with torch.no_grad():
                hessian = torch.func.jacfwd(torch.func.jacrev(lambda y, w: (w * self._of(y)).sum()))
                return np.asarray(torch.func.vmap(hessian)(t, weights).numpy())
        t.requires_grad_()
        slope = torch.autograd.grad((weights * self._of(t)).sum(), t, create_graph=True)[0]
        rows = [torch.autograd.grad(slope[:, i].sum(), t, retain_graph=True)[0] for i in range(self.size)]
        return np.asarray(torch.stack(rows, 1).numpy())


def field_of_layer(layer: nn.Module, inputs: Any) -> tuple[TorchField, Layout]:
    """The field of a recurrent layer or cell of PyTorch at a constant input.

    Raises
    ------
    ValueError
        For two directions, projections, and inputs of another length.
    """
    if getattr(layer, "bidirectional", False):
        raise InputError(f"module must run in one direction: the other one has no state to follow, got {layer}")
    if getattr(layer, "proj_size", 0):
        raise InputError(f"module must have no projection, got proj_size={layer.proj_size}")
    kind = str(getattr(layer, "nonlinearity", "gru"))
    if isinstance(layer, nn.LSTM | nn.LSTMCell):
        kind = "lstm"
    layout = Layout(int(getattr(layer, "num_layers", 1)), 2 if kind == "lstm" else 1, int(layer.hidden_size))
    u = _input(inputs, int(layer.input_size))
    suffixes = [f"_l{k}" for k in range(layout.layers)] if hasattr(layer, "weight_hh_l0") else [""]

    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parts = {
        name + suffix: value.detach().cpu().double().clone()
        for suffix in suffixes
        for name in names
        if isinstance(value := getattr(layer, name + suffix, None), torch.Tensor)
    }

    def make(parts: Parts) -> Step:
        weights: list[Any] = [[parts.get(name + suffix) for name in names] for suffix in suffixes]
        return lambda x: _stepped(x, u, weights, kind, layout)

    return TorchField(make, parts, layout.size), layout


def _stepped(x: torch.Tensor, u: torch.Tensor, weights: list[Any], kind: str, layout: Layout) -> torch.Tensor:
    """The next state of layers, one on the other, with the equations in PyTorch's documentation."""
    below, parts = u, []
    for (w_ih, w_hh, b_ih, b_hh), own in zip(weights, x.split(layout.kinds * layout.units), strict=True):
        h = own[: layout.units]
        outer = w_ih @ below if b_ih is None else w_ih @ below + b_ih
        inner = w_hh @ h if b_hh is None else w_hh @ h + b_hh
        if kind == "gru":
            (r, z, c), (r_h, z_h, c_h) = outer.chunk(3), inner.chunk(3)
            z = torch.sigmoid(z + z_h)
            below = (1 - z) * torch.tanh(c + torch.sigmoid(r + r_h) * c_h) + z * h
            parts.append(below)
        elif kind == "lstm":
            i, f, g, o = (outer + inner).chunk(4)
            c = torch.sigmoid(f) * own[layout.units :] + torch.sigmoid(i) * torch.tanh(g)
            below = torch.sigmoid(o) * torch.tanh(c)
            parts += [below, c]
        else:
            below = torch.tanh(outer + inner) if kind == "tanh" else torch.relu(outer + inner)
            parts.append(below)
    return torch.cat(parts)


def field_of_step(step: Callable[[Any, Any], Any], states: Floats, inputs: Any) -> TorchField:
    """The field of any ``step(input, state) -> state`` of batches (B, I) and (B, K).

    A module is copied, in float64, on the CPU, in evaluation mode. A function is called with
    float64 tensors.

    Raises
    ------
    ValueError
        If it does not take float64, or does not give states of the same shape.
    """
    size = states.shape[-1]
    parts: Parts = {}
    call: Callable[[Parts, Any, Any], Any] = lambda _, u, x: step(u, x)  # noqa: E731
    if isinstance(step, nn.Module):
        module = copy.deepcopy(step).double().cpu().eval().requires_grad_(False)
        parts = {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
        call = lambda parts, u, x: torch.func.functional_call(module, parts, (u, x))  # noqa: E731
    u = None if inputs is None else _input(inputs, None)

    def make(parts: Parts) -> Step:
        def moved(x: torch.Tensor) -> torch.Tensor:
            found = call(parts, None if u is None else u.expand(len(x), -1), x)
            if not isinstance(found, torch.Tensor) or found.shape != x.shape or found.dtype != x.dtype:
                got = (tuple(found.shape), found.dtype) if isinstance(found, torch.Tensor) else type(found).__name__
                raise InputError(f"step must give states of shape {tuple(x.shape)} in {x.dtype}, got {got}")
            return found

        return moved

    try:
        make(parts)(torch.tensor(states[:1]))
    except (RuntimeError, TypeError) as error:
        raise InputError(f"step must take an input (B, I) and states (B, {size}) in float64: {error}") from error
    return TorchField(make, parts, size, batched=True)


def _input(inputs: Any, size: int | None) -> torch.Tensor:
    if inputs is None:
        return torch.zeros(size or 0, dtype=torch.float64)
    u = inputs.detach().cpu().double() if isinstance(inputs, torch.Tensor) else torch.tensor(np.asarray(inputs, float))
    if u.ndim != 1 or (size is not None and len(u) != size):
        raise InputError(f"inputs must have shape ({'I' if size is None else size},), got {tuple(u.shape)}")
    if not torch.isfinite(u).all():
        raise InputError("inputs must be finite")
    return u
