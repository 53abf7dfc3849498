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

#: trials from which on the products of a step are one of matrices
AT_ONCE = 8

# sums may be reordered and fused, but values that are not finite stay so
_compiled = njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


@_compiled
def _products(h, weights, transposed, bias, z):
    """z = h W^T + b, for ``h`` ``(trials, units)``; ``transposed`` is W^T."""
    if len(h) >= AT_ONCE:
        np.dot(h, transposed, z)
        for b in range(len(h)):
            z[b] += bias
        return
    for b in range(len(h)):
        for o in range(len(bias)):
            total = bias[o]
            for i in range(weights.shape[1]):
                total += weights[o, i] * h[b, i]
            z[b, o] = total


@_compiled
def _transposed_products(dz, weights, dh):
    """dh = dz W, for ``dz`` ``(trials, units)``."""
    if len(dz) >= AT_ONCE:
        np.dot(dz, weights, dh)
        return
    dh[:] = 0
    for b in range(len(dz)):
        for o in range(weights.shape[0]):
            factor = dz[b, o]
            for i in range(weights.shape[1]):
                dh[b, i] += weights[o, i] * factor


@_compiled
def _tanh(x):
    """The hyperbolic tangent of each value, in place.

    In float32 it is a ratio of polynomials, fitted to 1e-8 of the value on [-9, 9], that a compiler
    can evaluate for many values at once. With the rounding of float32 it is within 4e-7.
    """
    if x.itemsize == 4:
        f = np.float32
        for i in range(len(x)):
            v = f(9) if x[i] > f(9) else (f(-9) if x[i] < f(-9) else x[i])
            y = v * v
            above = f(5.27797375e-11) + y * f(-8.4887718e-14)
            above = f(1.11543226e-05) + y * (f(-2.02252813e-08) + y * above)
            above = f(0.999999993) + y * (f(0.130840114) + y * (f(0.00310395762) + y * above))
            below = f(1) + y * (f(0.464173385) + y * (f(0.024495184) + y * f(0.000254614724)))
            v = v * above / below
            x[i] = f(1) if v > f(1) else (f(-1) if v < f(-1) else v)
    else:
        for i in range(len(x)):
            x[i] = math.tanh(x[i])


@_compiled
def _sigmoid(x):
    """The logistic function of each value, in place."""
    half = x.dtype.type(0.5)
    for i in range(len(x)):
        x[i] *= half
    _tanh(x)
    for i in range(len(x)):
        x[i] = half + half * x[i]


# In what follows trials and units are one axis where each value has its own equation, and two in
# products. Loops are short: a compiler can tell their few arrays apart, and evaluates many values
# at once.


@_compiled
def _tanh_forward(a, weights, bias, states, kept):
    networks, _, steps, trials, units = a.shape
    h, z = np.empty((trials, units), a.dtype), np.empty((trials, units), a.dtype)
    flat = z.reshape(-1)
    for n in range(networks):
        h[:] = 0
        transposed = weights[n, 0].T.copy()
        for t in range(steps):
            _products(h, weights[n, 0], transposed, bias[n, 0], z)
            shown = a[n, 0, t].reshape(-1)
            for i in range(len(flat)):
                flat[i] += shown[i]
            _tanh(flat)
            h[:] = z
            states[n, t] = z


@_compiled
def _tanh_backward(weights, states, kept, wanted, da, dz):
    networks, steps, trials, units = states.shape
    passed = np.empty((trials, units), states.dtype)
    dh, one = passed.reshape(-1), states.dtype.type(1)
    for n in range(networks):
        dh[:] = 0
        for t in range(steps - 1, -1, -1):
            h, later, d = states[n, t].reshape(-1), wanted[n, t].reshape(-1), da[n, 0, t].reshape(-1)
            for i in range(len(d)):
                d[i] = (dh[i] + later[i]) * (one - h[i] * h[i])
            _transposed_products(da[n, 0, t], weights[n, 0], passed)


@_compiled
def _gru_forward(a, weights, bias, states, kept):
    """``kept``: reset gate, update gate, candidate, and what the reset gate multiplies."""
    networks, gates, steps, trials, units = a.shape
    h, z = np.empty((trials, units), a.dtype), np.empty((gates, trials, units), a.dtype)
    transposed, state = np.empty((gates, units, units), a.dtype), h.reshape(-1)
    for n in range(networks):
        h[:] = 0
        for g in range(gates):
            transposed[g] = weights[n, g].T
        for t in range(steps):
            for g in range(gates):
                _products(h, weights[n, g], transposed[g], bias[n, g], z[g])
            for g in range(2):
                gate, shown, product = kept[n, t, g], a[n, g, t].reshape(-1), z[g].reshape(-1)
                for i in range(len(gate)):
                    gate[i] = shown[i] + product[i]
                _sigmoid(gate)
            reset, update, new, gated = kept[n, t, 0], kept[n, t, 1], kept[n, t, 2], kept[n, t, 3]
            gated[:] = z[2].reshape(-1)
            shown = a[n, 2, t].reshape(-1)
            for i in range(len(new)):
                new[i] = shown[i] + reset[i] * gated[i]
            _tanh(new)
            for i in range(len(new)):
                state[i] = new[i] + update[i] * (state[i] - new[i])
            states[n, t] = h


@_compiled
def _gru_backward(weights, states, kept, wanted, da, dz):
    networks, steps, trials, units = states.shape
    dh, zero = np.empty(trials * units, states.dtype), np.zeros(trials * units, states.dtype)
    part, one = np.empty((trials, units), states.dtype), states.dtype.type(1)
    for n in range(networks):
        dh[:] = 0
        for t in range(steps - 1, -1, -1):
            before = states[n, t - 1].reshape(-1) if t else zero
            reset, update, new, gated = kept[n, t, 0], kept[n, t, 1], kept[n, t, 2], kept[n, t, 3]
            later, d = wanted[n, t].reshape(-1), da[n, 2, t].reshape(-1)
            dreset, dupdate = dz[n, 0, t].reshape(-1), dz[n, 1, t].reshape(-1)
            dgated = dz[n, 2, t].reshape(-1)
            for i in range(len(d)):
                d[i] = dh[i] + later[i]
            for i in range(len(d)):
                dh[i] = d[i] * update[i]
            for i in range(len(d)):
                dupdate[i] = dh[i] * (before[i] - new[i]) * (one - update[i])
            for i in range(len(d)):
                d[i] *= (one - update[i]) * (one - new[i] * new[i])
            for i in range(len(d)):
                dgated[i] = d[i] * reset[i]
            for i in range(len(d)):
                dreset[i] = dgated[i] * gated[i] * (one - reset[i])
            da[n, 0, t], da[n, 1, t] = dz[n, 0, t], dz[n, 1, t]
            for g in range(3):
                _transposed_products(dz[n, g, t], weights[n, g], part)
                flat = part.reshape(-1)
                for i in range(len(dh)):
                    dh[i] += flat[i]


#: forward, backward, gates, values kept of each unit and step; whether the gradient of the
#: recurrent product is another than that of the input's
KINDS: dict[type[nn.Module], tuple[Any, Any, int, int, bool]] = {
    nn.RNN: (_tanh_forward, _tanh_backward, 1, 0, False),
    nn.GRU: (_gru_forward, _gru_backward, 3, 4, True),
}


class _Recurrence(torch.autograd.Function):
    """States ``(networks, steps, trials, units)`` from what the inputs add to each gate
    ``(networks, gates, steps, trials, units)``, recurrent weights ``(networks, gates, units,
    units)`` and bias.
    """

    @staticmethod
    def forward(context: Any, kind: type[nn.Module], a: torch.Tensor, v: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        forward, _, _, kept_of_unit, _ = KINDS[kind]
        a, v, c = a.contiguous(), v.contiguous(), c.contiguous()
        networks, _, steps, trials, units = a.shape
        states = a.new_empty(networks, steps, trials, units)
        kept = a.new_empty(networks, steps, kept_of_unit, trials * units)
        forward(*(one.detach().numpy() for one in (a, v, c, states, kept)))
        context.kind = kind
        context.save_for_backward(v, states, kept)
        return states

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor, torch.Tensor]:
        v, states, kept = context.saved_tensors
        _, backward, gates, _, apart = KINDS[context.kind]
        networks, *rest = states.shape
        da = states.new_empty(networks, gates, *rest)
        dz = torch.empty_like(da) if apart else da
        backward(*(one.numpy() for one in (v, states, kept, gradients[0].contiguous(), da, dz)))
        before = nn.functional.pad(states[:, :-1], (0, 0, 0, 0, 1, 0)).flatten(1, 2)
        of_weights = [dz[:, gate].flatten(1, 2).mT @ before for gate in range(gates)]
        return None, da, torch.stack(of_weights, 1), dz.sum((2, 3))


def states_of(layers: Sequence[nn.RNNBase], x: torch.Tensor) -> torch.Tensor:
    """Hidden states ``(networks, trials, steps, units)`` of layers of one kind, all shown ``x``
    ``(trials, steps, inputs)``, from a state of zero.
    """
    kind = type(layers[0])
    networks, gates, units = len(layers), KINDS[kind][2], layers[0].hidden_size
    w, v, b, c = (
        torch.stack([layer.get_parameter(f"{name}_l0") for layer in layers])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    inputs = x.transpose(0, 1)  # (steps, trials, inputs)
    steps, trials, size = inputs.shape
    shown = torch.baddbmm(
        b.view(networks * gates, 1, units),
        inputs.reshape(1, -1, size).expand(networks * gates, -1, -1),
        w.view(networks * gates, units, size).mT,
    )
    states: torch.Tensor = _Recurrence.apply(
        kind,
        shown.view(networks, gates, steps, trials, units),
        v.view(networks, gates, units, units),
        c.view(networks, gates, units),
    )
    return states.transpose(1, 2)
