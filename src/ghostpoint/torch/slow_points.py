"""Fixed points and ghosts of anyone's recurrent network: :func:`find_slow_points`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from ghostpoint.errors import InputError
from ghostpoint.slow_points import SlowPoints
from ghostpoint.slow_points import find_slow_points as search
from ghostpoint.torch.fields import RECURRENT, Layout, field_of_layer, field_of_step
from ghostpoint.torch.networks import NetworkModule, from_module

__all__ = ["find_slow_points"]


def find_slow_points(
    module_or_step: nn.Module | Callable[[Any, Any], Any], states: Any, inputs: Any = None, **options: Any
) -> SlowPoints:
    """Fixed points and ghosts of ``x <- step(u, x)`` near states that a task visits, at a constant input u.

    The field is ``F(x) = step(u, x) - x``, so its zeros are the fixed points of the network, and 1 + an eigenvalue of
    its Jacobian is one of the map. The search is that of ``ghostpoint.find_slow_points``, in float64 and on copies: the
    module keeps its numbers, gradients, flags, mode, dtype and device, and no generator is drawn from.

    Parameters
    ----------
    module_or_step : torch.nn.Module, or callable (input, state) to state
        * ``nn.RNN`` (tanh, relu), ``nn.GRU``, ``nn.LSTM``, also stacked, their cells, or a module that holds one of
          them and no other. A single layer of tanh units gets the library's proofs, as a network of its own.
        * A module that :func:`to_module` made, of one network.
        * Anything else is called: ``step(input, state)`` with an input (B, I), or None, and states (B, K) in float64.
          A module is copied for that, in evaluation mode.
    states : tensor or array
        (..., K), such as the hidden states of trials. For an LSTM K is 2 N: h and c one after the other, or a pair
        (h, c). For stacked layers one layer after the other, or PyTorch's own (layers, batch, N).
    inputs : (I,), optional
        Zeros by default; None for a step that takes no input.
    **options
        Of ``ghostpoint.find_slow_points``: ``n_starts``, ``seed``, ``noise``, ``max_steps``, ``tau``, ``dt``, ...
        Times are in steps by default.

    Returns
    -------
    SlowPoints
        Coordinates are states as in ``states``. Dropout between layers is left out, as in evaluation.

    Raises
    ------
    ValueError
        For several recurrent layers in a module, two directions, projections, states or inputs that do not fit.
    """
    if not callable(module_or_step):
        raise InputError(f"module_or_step must be a module or a callable, got {type(module_or_step).__name__}")
    times = {"tau": 1.0, "dt": 1.0} | options
    layers = _layers(module_or_step)
    with torch.random.fork_rng(devices=[]):
        if isinstance(module_or_step, NetworkModule):
            record = module_or_step.to_record()
            given = Layout(1, 1, record.n_units).flat(states)
            alpha = {"tau": 1.0, "dt": module_or_step.alpha} | options
            return search(record, states=given, inputs=_plain(inputs), **alpha)
        if len(layers) == 1:
            layer = layers[0]
            field, layout = field_of_layer(layer, inputs)
            given = layout.flat(states)
            if layout.layers == layout.kinds == 1 and getattr(layer, "nonlinearity", "tanh") == "tanh":
                return search(from_module(layer), states=given, inputs=_plain(inputs), **times)
            return search(field, states=given, **times)
        if len(layers) > 1:
            names = ", ".join(type(one).__name__ for one in layers)
            raise InputError(f"module must hold one recurrent layer, got {names}: give a callable step(input, state)")
        given = np.asarray(states.detach().cpu().double() if isinstance(states, torch.Tensor) else states, float)
        if given.ndim < 1 or not given.size:
            raise InputError(f"states must have shape (..., K) and hold a state, got {given.shape}")
        given = given.reshape(-1, given.shape[-1])
        return search(field_of_step(module_or_step, given, inputs), states=given, **times)


def _layers(module: Any) -> list[nn.Module]:
    return [one for one in module.modules() if isinstance(one, RECURRENT)] if isinstance(module, nn.Module) else []


def _plain(inputs: Any) -> Any:
    return inputs.detach().cpu().double().numpy() if isinstance(inputs, torch.Tensor) else inputs
