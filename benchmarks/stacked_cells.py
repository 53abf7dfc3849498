"""Recurrent layers of several networks at once, compiled: the equations of :class:`torch.nn.RNN`
(tanh) and :class:`torch.nn.GRU`, with their gradients.

A network of 64 units with a few trials is too small for these layers of PyTorch, whose time goes
into calls. The recurrence and its derivative are written out here; the products with the inputs and
of the weights' gradients are PyTorch's. (PyTorch's LSTM on a processor is fast by itself.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import nn

# sums may be reordered and fused, but values that are not finite stay so
_compiled = njit(cache=True, fastmath={"reassoc", "contract", "nsz"})


@_compiled
def _product(weights, h, bias, z):
    """z = W h + b."""
    for o in range(weights.shape[0]):
        total = bias[o]
        for i in range(weights.shape[1]):
            total += weights[o, i] * h[i]
        z[o] = total


@_compiled
def _transposed_product(weights, dz, dh):
    """dh += W^T dz."""
    for o in range(weights.shape[0]):
        factor = dz[o]
        for i in range(weights.shape[1]):
            dh[i] += weights[o, i] * factor


@_compiled
def _sigmoid(x):
    return np.float32(1) / (np.float32(1) + math.exp(-x))


@_compiled
def _tanh_forward(a, weights, bias, states, kept):
    networks, trials, steps, units = states.shape
    z, zero = np.empty(units, states.dtype), np.zeros(units, states.dtype)
    for n in range(networks):
        for b in range(trials):
            for t in range(steps):
                _product(weights[n], states[n, b, t - 1] if t else zero, bias[n], z)
                for i in range(units):
                    states[n, b, t, i] = math.tanh(a[n, b, t, i] + z[i])


@_compiled
def _tanh_backward(weights, states, kept, wanted, da, dz):
    networks, trials, steps, units = states.shape
    dh = np.empty(units, states.dtype)
    for n in range(networks):
        for b in range(trials):
            dh[:] = 0
            for t in range(steps - 1, -1, -1):
                for i in range(units):
                    h = states[n, b, t, i]
                    da[n, b, t, i] = (dh[i] + wanted[n, b, t, i]) * (np.float32(1) - h * h)
                dh[:] = 0
                _transposed_product(weights[n], da[n, b, t], dh)


@_compiled
def _gru_forward(a, weights, bias, states, kept):
    """``kept``: reset gate, update gate, candidate, and what the reset gate multiplies."""
    networks, trials, steps, units = states.shape
    z, zero = np.empty(3 * units, states.dtype), np.zeros(units, states.dtype)
    for n in range(networks):
        for b in range(trials):
            for t in range(steps):
                before = states[n, b, t - 1] if t else zero
                _product(weights[n], before, bias[n], z)
                shown, gates = a[n, b, t], kept[n, b, t]
                for i in range(2 * units):
                    gates[i] = _sigmoid(shown[i] + z[i])
                for i in range(units):
                    gates[3 * units + i] = z[2 * units + i]
                    new = math.tanh(shown[2 * units + i] + gates[i] * z[2 * units + i])
                    gates[2 * units + i] = new
                    states[n, b, t, i] = new + gates[units + i] * (before[i] - new)


@_compiled
def _gru_backward(weights, states, kept, wanted, da, dz):
    networks, trials, steps, units = states.shape
    dh, zero = np.empty(units, states.dtype), np.zeros(units, states.dtype)
    one = np.float32(1)
    for n in range(networks):
        for b in range(trials):
            dh[:] = 0
            for t in range(steps - 1, -1, -1):
                before = states[n, b, t - 1] if t else zero
                gates, shown, recurrent = kept[n, b, t], da[n, b, t], dz[n, b, t]
                for i in range(units):
                    r, u, new = gates[i], gates[units + i], gates[2 * units + i]
                    d = dh[i] + wanted[n, b, t, i]
                    dnew = d * (one - u) * (one - new * new)
                    shown[i] = recurrent[i] = dnew * gates[3 * units + i] * r * (one - r)
                    shown[units + i] = recurrent[units + i] = d * (before[i] - new) * u * (one - u)
                    shown[2 * units + i] = dnew
                    recurrent[2 * units + i] = dnew * r
                    dh[i] = d * u
                _transposed_product(weights[n], recurrent, dh)


#: forward, backward, values kept of each unit and step; whether the gradient of the recurrent
#: product is another than that of the input's
KINDS: dict[type[nn.Module], tuple[Any, Any, int, bool]] = {
    nn.RNN: (_tanh_forward, _tanh_backward, 0, False),
    nn.GRU: (_gru_forward, _gru_backward, 4, True),
}


class _Recurrence(torch.autograd.Function):
    """States ``(networks, trials, steps, units)`` from what the inputs add to each gate
    ``(networks, trials, steps, gates)``, recurrent weights ``(networks, gates, units)`` and bias.
    """

    @staticmethod
    def forward(context: Any, kind: type[nn.Module], a: torch.Tensor, v: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        forward, _, kept_of_unit, _ = KINDS[kind]
        a, v, c = a.contiguous(), v.contiguous(), c.contiguous()
        units = v.shape[2]
        states, kept = a.new_empty(*a.shape[:3], units), a.new_empty(*a.shape[:3], kept_of_unit * units)
        forward(*(one.detach().numpy() for one in (a, v, c, states, kept)))
        context.kind = kind
        context.save_for_backward(v, states, kept)
        return states

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor, torch.Tensor]:
        v, states, kept = context.saved_tensors
        _, backward, _, apart = KINDS[context.kind]
        da = states.new_empty(*states.shape[:3], v.shape[1])
        dz = torch.empty_like(da) if apart else da
        backward(*(one.numpy() for one in (v, states, kept, gradients[0].contiguous(), da, dz)))
        before = nn.functional.pad(states[:, :, :-1], (0, 0, 1, 0)).flatten(1, 2)
        return None, da, dz.flatten(1, 2).mT @ before, dz.sum((1, 2))


def states_of(layers: Sequence[nn.RNNBase], x: torch.Tensor) -> torch.Tensor:
    """Hidden states ``(networks, trials, steps, units)`` of layers of one kind, all shown ``x``
    ``(trials, steps, inputs)``, from a state of zero.
    """
    w, v, b, c = (
        torch.stack([layer.get_parameter(f"{name}_l0") for layer in layers])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    shown = torch.baddbmm(b[:, None], x.reshape(1, -1, x.shape[2]).expand(len(layers), -1, -1), w.mT)
    states: torch.Tensor = _Recurrence.apply(type(layers[0]), shown.view(len(layers), *x.shape[:2], -1), v, c)
    return states
