"""Fixed points and ghosts of anyone's recurrent network, and over its training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.slow_points import SlowPoints, Tracks
from ghostpoint.slow_points import find_slow_points as search
from ghostpoint.slow_points.fields import NetworkField, network_field
from ghostpoint.slow_points.tracking.track import track_fields
from ghostpoint.torch.fields import RECURRENT, Layout, field_of_layer, field_of_step
from ghostpoint.torch.networks import NetworkModule, from_module

__all__ = ["find_slow_points", "track_slow_points"]


def find_slow_points(
    module_or_step: nn.Module | Callable[[Any, Any], Any], states: Any, inputs: Any = None, **options: Any
) -> SlowPoints:
    """Fixed points and ghosts of ``x <- step(u, x)`` near states that a task visits, at a constant
    input u.

    The field is ``F(x) = step(u, x) - x``, so its zeros are the fixed points of the network, and 1
    + an eigenvalue of its Jacobian is one of the map. The search is that of
    ``ghostpoint.find_slow_points``, in float64 and on copies: the module keeps its numbers,
    gradients, flags, mode, dtype and device, and no generator is drawn from.

    Parameters
    ----------
    module_or_step : torch.nn.Module, or callable (input, state) to state
        * ``nn.RNN`` (tanh, relu), ``nn.GRU``, ``nn.LSTM``, also stacked, their cells, or a module
          that holds one of them and no other. A single layer of tanh units gets the library's
          proofs, as a network of its own.
        * A module that :func:`to_module` made, of one network.
        * Anything else is called: ``step(input, state)`` with an input (B, I), or None, and states
          (B, K) in float64. A module is copied for that, in evaluation mode.
    states : tensor or array
        (..., K), such as the hidden states of trials. For an LSTM K is 2 N: h and c one after the
        other, or a pair (h, c). For stacked layers one layer after the other, or PyTorch's own
        (layers, batch, N).
    inputs : (I,), optional
        Zeros by default; None for a step that takes no input.
    **options
        Of ``ghostpoint.find_slow_points``: ``n_starts``, ``seed``, ``noise``, ``max_steps``,
        ``tau``, ``dt``, ... Times are in steps by default.

    Returns
    -------
    SlowPoints
        Coordinates are states as in ``states``. Dropout between layers is left out, as in
        evaluation.

    Raises
    ------
    ValueError
        For several recurrent layers in a module, two directions, projections, states or inputs that
        do not fit.
    """
    if not callable(module_or_step):
        raise InputError(f"module_or_step must be a module or a callable, got {type(module_or_step).__name__}")
    with torch.random.fork_rng(devices=[]):
        found, given, times = _field(module_or_step, states, inputs)
        of_record = {"inputs": _plain(inputs)} if isinstance(found, Record) else {}
        return search(found, states=given, **of_record, **(times | options))


def track_slow_points(
    module: nn.Module,
    checkpoints: Sequence[Mapping[str, Any]],
    states: Any,
    epochs: Any = None,
    *,
    inputs: Any = None,
    loss: Any = None,
    n_starts: int = 64,
    seed: int = 0,
    certify: bool = True,
) -> Tracks:
    """The slow points of a module followed over its checkpoints, with births and deaths of fixed
    points.

    As :func:`ghostpoint.track_slow_points`: each checkpoint is searched, near the states and the
    points of the one before, and between two checkpoints every point is followed while the weights
    are interpolated.

    Parameters
    ----------
    module : torch.nn.Module
        As for :func:`find_slow_points`; it is only copied.
    checkpoints : sequence of state dicts, at least two
        What ``module.state_dict()`` gave, or ``torch.load`` of it. A dict must be a copy
        (``copy.deepcopy``): what ``state_dict()`` returns changes with the module.
    states : tensor or array, or function of the module to one
        As for :func:`find_slow_points`. A function is called with a copy of the module at each
        checkpoint, in evaluation mode and without gradients.
    epochs : (E,), optional
        Ascending; 0 to E - 1 by default.
    inputs : (I,), optional
        The constant input.
    loss : (E,), optional
        At ``epochs``, in units of the loss at chance.
    n_starts, seed, certify
        As for ``ghostpoint.find_slow_points``.

    Returns
    -------
    Tracks

    Raises
    ------
    ValueError
        For fewer than two checkpoints, one that does not fit the module, and as
        :func:`find_slow_points`.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if len(checkpoints) < 2:
        raise InputError(f"checkpoints must be two or more, got {len(checkpoints)}")
    with torch.random.fork_rng(devices=[]):
        found = []
        for k, checkpoint in enumerate(checkpoints):
            copied = copy.deepcopy(module).eval()
            try:
                copied.load_state_dict(checkpoint)
            except (RuntimeError, TypeError) as error:
                raise InputError(f"checkpoints[{k}] must fit the module: {error}") from error
            with torch.no_grad():
                near = states(copied) if callable(states) else states
            found.append(_field(copied, near, inputs))
        sources = [one.in_full_state() if isinstance(one, Record) else one for one, _, _ in found]
        u = _plain(inputs)
        networks = [
            network_field(one, u) if isinstance(one, Record) else NetworkField(one, one, None, None, None)
            for one in sources
        ]

        def searched(i: int, before: Any) -> SlowPoints:
            of_record = {"inputs": u} if isinstance(sources[i], Record) else {}
            near = np.concatenate([before, found[i][1]])
            return search(
                sources[i], states=near, n_starts=n_starts + 2 * len(before), seed=seed, noise=0.02, certify=certify,
                **of_record,
            )  # fmt: skip

        return track_fields(networks, searched, epochs, loss=loss, certify=certify)


def _field(module_or_step: Any, states: Any, inputs: Any) -> tuple[Any, Any, dict[str, float]]:
    """A record of the library or a field, states (S, K) in its coordinates, and its time constant
    and step.
    """
    steps = {"tau": 1.0, "dt": 1.0}
    if isinstance(module_or_step, NetworkModule):
        record = module_or_step.to_record()
        return record, Layout(1, 1, record.n_units).flat(states), {"tau": 1.0, "dt": module_or_step.alpha}
    layers = _layers(module_or_step)
    if len(layers) > 1:
        names = ", ".join(type(one).__name__ for one in layers)
        raise InputError(f"module must hold one recurrent layer, got {names}: give a callable step(input, state)")
    if layers:
        layer = layers[0]
        field, layout = field_of_layer(layer, inputs)
        given = layout.flat(states)
        if layout.layers == 1 and getattr(layer, "nonlinearity", "tanh") == "tanh":
            return from_module(layer), given, steps
        return field, given, steps
    given = np.asarray(states.detach().cpu().double() if isinstance(states, torch.Tensor) else states, float)
    if given.ndim < 1 or not given.size:
        raise InputError(f"states must have shape (..., K) and hold a state, got {given.shape}")
    given = given.reshape(-1, given.shape[-1])
    return field_of_step(module_or_step, given, inputs), given, steps


def _layers(module: Any) -> list[nn.Module]:
    return [one for one in module.modules() if isinstance(one, RECURRENT)] if isinstance(module, nn.Module) else []


def _plain(inputs: Any) -> Any:
    return inputs.detach().cpu().double().numpy() if isinstance(inputs, torch.Tensor) else inputs
