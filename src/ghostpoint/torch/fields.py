"""Recurrent layers of PyTorch as vector fields: float64 copies of their equations, with derivatives
by ``torch.func``.

A layer or a step moves its state by ``x <- step(u, x)``; the field is ``F(x) = step(u, x) - x`` at
a constant input u. The equations are written out in elementary operations, since ``vmap`` has no
rules for the fused cells.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ghostpoint.errors import InputError
from ghostpoint.slow_points.user_field import UserField
from ghostpoint.torch.anatomy import CELLS, private_copy, takes_state_first

__all__ = ["Layout", "NotAStep", "TorchField", "field_of_layer", "field_of_step", "states_array"]

Floats = NDArray[np.float64]
Step = Callable[[torch.Tensor], torch.Tensor]
Parts = dict[str, torch.Tensor]


def tensor_of(value: Any) -> torch.Tensor:
    """Numbers as a tensor in float64 on the CPU, whatever the default device is."""
    return torch.tensor(value, dtype=torch.float64, device="cpu")


@contextmanager
def _differentiating() -> Iterator[None]:
    """Derivatives are taken also where a caller has switched them off, and on the CPU."""
    elsewhere = torch.empty(0).device.type != "cpu"
    with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu") if elsewhere else nullcontext():
        yield


@cache
def _begin_quietly() -> None:
    """``torch.func`` compiles its rules at its first use, with what newer PyTorch deprecates."""
    with _differentiating(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        torch.func.jacfwd(torch.func.jacrev(lambda x: torch.sigmoid(x).tanh().sum()))(tensor_of([0.0]))


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
        pair = isinstance(states, tuple) or (
            isinstance(states, list)
            and len(states) == 2
            and all(isinstance(x, torch.Tensor | np.ndarray) and x.shape[-1:] == (self.units,) for x in states)
        )
        arrays = [states_array(x) for x in (states if pair and self.kinds == 2 else (states,))]
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


def states_array(states: Any) -> Floats:
    """States as an array of floats.

    Raises
    ------
    ValueError
        For what is not an array of real numbers.
    """
    if isinstance(states, list | tuple) and any(isinstance(x, torch.Tensor) for x in states):
        states = [x.detach().cpu().double().numpy() if isinstance(x, torch.Tensor) else x for x in states]
    if isinstance(states, torch.Tensor):
        states = states.detach().cpu().double()
    try:
        return np.asarray(states, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"states must be numbers of shape (..., K), got {type(states).__name__}: {error}") from error


class NotAStep(InputError):
    """What is called does not move states as a step does."""


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
    saturates : bool
        Whether it has gates, which can be shut to the last bit.
    """

    label: ClassVar[str] = "module or step of PyTorch"
    asked: ClassVar[str] = (
        "step must be made of operations that PyTorch differentiates, without torch.no_grad, detach or NumPy"
    )

    def __init__(
        self,
        make: Callable[[Parts], Step],
        parts: Parts,
        size: int,
        *,
        batched: bool = False,
        saturates: bool = False,
    ):
        self._make, self._parts, self._step, self._batched = make, parts, make(parts), batched
        # the fields of the frozen record
        for name, value in (
            ("f", self._flow),
            ("derivative", self._derivative),
            ("size", size),
            ("second", None),
            ("saturates", saturates),
        ):
            object.__setattr__(self, name, value)

    @property
    def origin(self) -> str:
        """Where the derivative comes from, in words."""
        return "by automatic differentiation"

    def between(self, other: TorchField, t: float) -> TorchField:
        """The field whose weights are ``(1 - t)`` times this one's plus t times another one's."""
        parts = {name: (1 - t) * value + t * other._parts[name] for name, value in self._parts.items()}
        return TorchField(self._make, parts, self.size, batched=self._batched, saturates=self.saturates)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _of(self, x: torch.Tensor) -> torch.Tensor:
        return self._step(x) - x

    def _flow(self, x: Floats) -> Floats:
        with _differentiating(), torch.no_grad():
            t = tensor_of(x)
            return (self._of(t) if self._batched else torch.func.vmap(self._of)(t)).numpy()

    def _derivative(self, x: Floats) -> Floats:
        with _differentiating():
            t = tensor_of(x)
            if not self._batched:
                with torch.no_grad():
                    return torch.func.vmap(torch.func.jacfwd(self._of))(t).numpy()
            t.requires_grad_()
            return self._gradients(self._of(t), t)

    def curvature(self, x: Floats, p: Floats) -> Floats:
        """The Hessian of ``p . F``."""
        with _differentiating():
            t, weights = tensor_of(x), tensor_of(p)
            if not self._batched:
                with torch.no_grad():
                    hessian = torch.func.jacfwd(torch.func.jacrev(lambda y, w: (w * self._of(y)).sum()))
                    return np.asarray(torch.func.vmap(hessian)(t, weights).numpy())
            t.requires_grad_()
            slope = torch.autograd.grad((weights * self._of(t)).sum(), t, create_graph=True)[0]
            return self._gradients(slope, t)

    @staticmethod
    def _gradients(values: torch.Tensor, t: torch.Tensor) -> Floats:
        """The gradients (B, K, K) of values (B, K); 0 where they do not depend on t, as the slope
        of a step that is linear does not.
        """
        columns = values.unbind(1)
        if not values.requires_grad:
            return np.zeros((*values.shape, t.shape[1]))
        rows = [torch.autograd.grad(one.sum(), t, retain_graph=True, allow_unused=True)[0] for one in columns]
        return np.asarray(torch.stack([torch.zeros_like(t) if row is None else row for row in rows], 1).numpy())


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
    copied = private_copy(layer)  # to read a weight may run what makes it, which can draw or count
    suffixes = [f"_l{k}" for k in range(layout.layers)] if hasattr(copied, "weight_hh_l0") else [""]
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parts = {
        name + suffix: value.detach().cpu().double().clone()
        for suffix in suffixes
        for name in names
        if isinstance(value := getattr(copied, name + suffix, None), torch.Tensor)
    }
    for name, value in parts.items():
        if not torch.isfinite(value).all():
            raise InputError(f"module must have finite weights, but {name} has {value[~torch.isfinite(value)][0]:g}")

    _begin_quietly()

    def make(parts: Parts) -> Step:
        weights: list[Any] = [[parts.get(name + suffix) for name in names] for suffix in suffixes]
        return lambda x: _stepped(x, u, weights, kind, layout)

    return TorchField(make, parts, layout.size, saturates=kind in ("gru", "lstm")), layout


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
        module = private_copy(step).double().cpu()
        for one in module.parameters():
            one.requires_grad_(False)
        for part in module.modules():  # masks and signs that are no buffers
            for name, value in list(vars(part).items()):
                if isinstance(value, torch.Tensor) and value.is_floating_point():
                    setattr(part, name, value.detach().double().cpu())
        parts = {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
        turned = takes_state_first(step)
        if (
            turned is None
            and inputs is not None
            and not isinstance(step, CELLS)
            and _input(inputs, None).numel() == size
        ):
            warnings.warn(
                f"{type(step).__name__}.forward is called with the input first and the state second, which the names "
                "of its arguments do not tell, nor their sizes: give a function step(input, state) where it is not so",
                stacklevel=5,
            )
        called = _called_with(module, parts, turned=bool(turned))
        call = called if not isinstance(step, nn.LSTMCell) else lambda parts, u, x: _of_pair(called(parts, u, x))
    u = None if inputs is None else _input(inputs, None)

    def make(parts: Parts) -> Step:
        def moved(x: torch.Tensor) -> torch.Tensor:
            # a copy, for a step may write into its state
            found = call(parts, None if u is None else u.expand(len(x), -1), x.clone())
            if not isinstance(found, torch.Tensor) or found.shape != x.shape or found.dtype != x.dtype:
                got = (tuple(found.shape), found.dtype) if isinstance(found, torch.Tensor) else type(found).__name__
                raise NotAStep(f"step must give states of shape {tuple(x.shape)} in {x.dtype}, got {got}")
            return found

        return moved

    given = tensor_of(states[:1]) + 0.1 * torch.arange(3, dtype=torch.float64, device="cpu")[:, None]
    try:
        with _differentiating():
            found, again, alone = (make(parts)(rows.clone().requires_grad_()) for rows in (given, given, given[2:]))
    except InputError:
        raise
    except Exception as error:  # anyone's step may raise anything
        raise NotAStep(
            f"step must take an input (B, I) and states (B, {size}) in float64, and move them by operations of "
            f"PyTorch: {type(error).__name__}: {error}{'' if inputs is not None else ' (no inputs were given)'}"
        ) from error
    if not torch.allclose(found, again, rtol=1e-6, atol=1e-9, equal_nan=True):
        raise NotAStep("step must be the same each time, and moved the same states differently: is it random?")
    if not found.requires_grad and not torch.equal(found[0], found[1]):
        raise NotAStep(
            "step must have a derivative, but its states have no graph: it may not be under torch.no_grad or "
            "inference_mode, nor detach or leave PyTorch"
        )
    if not torch.allclose(found[2:], alone, rtol=1e-6, atol=1e-9, equal_nan=True):
        raise NotAStep(
            f"step must move each of the states (B, {size}) by itself: of three the last goes elsewhere than alone"
        )
    if torch.isnan(found).any() and not torch.isnan(given).any():
        raise InputError(f"step must give finite states, got NaN from states[0] = {_few(states[0])}")
    return TorchField(make, parts, size, batched=True)


def _called_with(module: nn.Module, parts: Parts, *, turned: bool) -> Callable[[Parts, Any, Any], Any]:
    """``forward`` of an input and states with other weights; of a scripted module, with its own.
    ``turned`` says that it takes states first.
    """
    pair = isinstance(module, nn.LSTMCell)

    def arguments(u: Any, x: Any) -> tuple[Any, Any]:
        state = x.chunk(2, 1) if pair else x
        return (state, u) if turned else (u, state)

    if isinstance(module, torch.jit.ScriptModule):
        return lambda _, u, x: module(*arguments(u, x))
    return lambda given, u, x: torch.func.functional_call(module, given, arguments(u, x))


def _of_pair(found: Any) -> Any:
    """The state (B, 2 N) of (h, c)."""
    return torch.cat(found, 1) if isinstance(found, tuple) else found


def _few(state: Floats) -> str:
    return "(" + ", ".join(f"{x:.3g}" for x in state[:4]) + (", ...)" if len(state) > 4 else ")")


def _input(inputs: Any, size: int | None) -> torch.Tensor:
    if inputs is None:
        return torch.zeros(size or 0, dtype=torch.float64, device="cpu")
    try:
        u = inputs.detach().cpu().double() if isinstance(inputs, torch.Tensor) else tensor_of(np.asarray(inputs, float))
    except (TypeError, ValueError) as error:
        raise InputError(f"inputs must be numbers of shape (I,), got {inputs!r}") from error
    if u.ndim != 1 or (size is not None and len(u) != size):
        raise InputError(f"inputs must have shape ({'I' if size is None else size},), got {tuple(u.shape)}")
    if not torch.isfinite(u).all():
        raise InputError(f"inputs must be finite, got {float(u[~torch.isfinite(u)][0]):g}")
    return u
