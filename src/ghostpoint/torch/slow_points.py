"""Fixed points and ghosts of anyone's recurrent network, and over its training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
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
from ghostpoint.torch.anatomy import (
    CELLS,
    as_unwrapped,
    before,
    forward_hooks,
    has_own_forward,
    private_copy,
    recurrent_layers,
    takes_input_and_state,
    unwrapped,
)
from ghostpoint.torch.fields import Layout, NotAStep, TorchField, field_of_layer, field_of_step, states_array
from ghostpoint.torch.layer_calls import changes_inputs, changes_states, layer_calls
from ghostpoint.torch.networks import NetworkModule, record_of_layer

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
        * ``nn.RNN`` (tanh, relu), ``nn.GRU``, ``nn.LSTM``, also stacked, and their cells. A single
          layer of tanh units gets the library's proofs, as a network of its own.
        * A module that :func:`to_module` made, of one network.
        * A module whose ``forward`` is itself a step is called: ``module(input, state)`` with an
          input (B, I), or None, and states (B, K); ``module(state, input)`` where its arguments are
          named so, such as ``forward(h, x)``. So is a subclass of a cell with a ``forward`` of its
          own.
        * A module that holds one of the layers and no other: the layer is looked at, and the
          module's own ``forward`` is not. A warning says so where that can matter.
        * Any other callable is called with float64 tensors, ``step(input, state)``.

        Modules are copied, in float64 and in evaluation mode. ``torch.compile`` and
        ``DataParallel`` around them are taken off.
    states : tensor or array
        (..., K), such as the hidden states of trials. For an LSTM K is 2 N: h and c one after the
        other, or a pair (h, c). For stacked layers one layer after the other, or PyTorch's own
        (layers, batch, N); the output of stacked layers, which is the upper layer's alone, is no
        state.
    inputs : (I,), optional
        What the layer itself takes, behind any encoder. Zeros by default; None for a step that
        takes no input.
    **options
        Of ``ghostpoint.find_slow_points``: ``n_starts``, ``seed``, ``noise``, ``max_steps``,
        ``certify``; ``tau`` and ``dt``, which are 1 (times are in steps) and must be equal, but for
        a :class:`NetworkModule`, whose ``dt`` is its alpha; and for that ``equation`` and
        ``activation``.

    Returns
    -------
    SlowPoints
        Coordinates are states as in ``states``. Dropout between layers is left out, as in
        evaluation.

    Raises
    ------
    ValueError
        For several recurrent layers in a module, two directions, projections, weights that are not
        finite, options that do not apply, states or inputs that do not fit.
    """
    if not callable(module_or_step):
        raise InputError(f"module_or_step must be a module or a callable, got {type(module_or_step).__name__}")
    with torch.random.fork_rng(devices=[]):
        found, given, times = _field(module_or_step, states, inputs)
        _check_options(unwrapped(module_or_step), options)
        of_record = {"inputs": _plain(inputs)} if isinstance(found, Record) else {}
        return search(found, states=given, **of_record, **(times | options))


def _check_options(module: Any, options: Mapping[str, Any]) -> None:
    """Refuse what only the library's own networks have."""
    if isinstance(module, NetworkModule):
        return
    for name in ("equation", "activation"):
        if name in options:
            raise InputError(f"{name} must be left out: the module or step has its own, got {options[name]!r}")
    tau, dt = (options.get(name, 1.0) for name in ("tau", "dt"))
    if tau != dt:
        raise InputError(f"tau and dt must be equal: a layer or step moves the whole way, got tau={tau}, dt={dt}")


def track_slow_points(
    module: nn.Module,
    checkpoints: Iterable[Mapping[str, Any]] | Mapping[Any, Mapping[str, Any]],
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
    checkpoints : iterable of state dicts, at least two, or dict of epochs to them
        What ``module.state_dict()`` gave, or ``torch.load`` of it, also where ``torch.compile`` or
        ``DataParallel`` is around the module. A dict must be a copy
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

    Notes
    -----
    Networks of low rank are followed in their full state, between whose points no search is
    complete; ``ghostpoint.track_slow_points`` follows their records in latents.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if not isinstance(checkpoints, Iterable):
        raise InputError(f"checkpoints must be state dicts, got {type(checkpoints).__name__}")
    if isinstance(checkpoints, Mapping):
        if epochs is not None:
            raise InputError("epochs must be left out where checkpoints has epochs as its keys")
        epochs = list(checkpoints)
        checkpoints = list(checkpoints.values())
    checkpoints = list(checkpoints)
    if len(checkpoints) < 2:
        raise InputError(f"checkpoints must be two or more, got {len(checkpoints)}")
    module = unwrapped(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError("module must be the one before torch.jit.script or trace, whose weights can be interpolated")
    _say_hooks(module, recurrent_layers(module), stacklevel=3)
    with torch.random.fork_rng(devices=[]):
        found = []
        for k, checkpoint in enumerate(checkpoints):
            copied = private_copy(module)
            try:
                copied.load_state_dict(as_unwrapped(checkpoint, copied))
            except (RuntimeError, TypeError, AttributeError) as error:
                raise InputError(f"checkpoints[{k}] must fit the module: {error}") from error
            copied = private_copy(copied)  # weights that hooks make of the others
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
    module_or_step = unwrapped(module_or_step)
    if isinstance(module_or_step, NetworkModule):
        record = module_or_step.to_record()
        return record, Layout(1, 1, record.n_units).flat(states), {"tau": 1.0, "dt": module_or_step.alpha}
    layers = recurrent_layers(module_or_step)
    _say_hooks(module_or_step, layers, stacklevel=4)
    if not layers:
        return *_of_step(module_or_step, states, inputs), steps
    if takes_input_and_state(module_or_step):
        try:
            return *_of_step(module_or_step, states, inputs), steps
        except NotAStep:
            if len(layers) != 1 or layers[0] is module_or_step:
                raise
    if len(layers) > 1:
        names = ", ".join(type(one).__name__ for one in layers)
        raise InputError(f"module must hold one recurrent layer, got {names}: give a callable step(input, state)")
    layer = layers[0]
    _say_what_is_left_out(module_or_step, layer)
    field, layout = field_of_layer(layer, inputs)
    given = layout.flat(states)
    if layout.layers == 1 and getattr(layer, "nonlinearity", "tanh") == "tanh":
        return record_of_layer(layer), given, steps
    return field, given, steps


def _of_step(step: Any, states: Any, inputs: Any) -> tuple[TorchField, Any]:
    """The field of a step, and states (S, K)."""
    if isinstance(step, nn.LSTMCell):
        given = Layout(1, 2, step.hidden_size).flat(states)
    else:
        given = states_array(states)
        if given.ndim < 1 or not given.size:
            raise InputError(f"states must have shape (..., K) and hold a state, got {given.shape}")
        given = given.reshape(-1, given.shape[-1])
    return field_of_step(step, given, inputs), given


def _say_what_is_left_out(module: nn.Module, layer: nn.Module) -> None:
    """Warn where a module may move its state by more than its layer does."""
    kind, left = type(layer).__name__, []
    if has_own_forward(layer):
        left.append(f"what {kind}.forward does beside PyTorch's equations is not seen")
    if module is not layer:
        own = type(module).forward is not nn.Module.forward  # no mere container
        seen = layer_calls(module, layer) if own else None
        if own and (isinstance(layer, CELLS) if seen is None else changes_states(layer, seen[1])):
            left.append(f"what {type(module).__name__}.forward does between two steps is not seen")
        if ahead := before(module, layer):
            names = ", ".join(f"{name} ({type(one).__name__})" for name, one in ahead)
            left.append(f"inputs are what the layer takes, behind {names}")
        elif seen is not None and changes_inputs(*seen):
            left.append(f"inputs are what the layer takes, which {type(module).__name__}.forward makes of its own")
    if left:
        warnings.warn(
            f"find_slow_points looks at the {kind} alone: {'; '.join(left)}. A callable step(input, state) can do more",
            stacklevel=4,
        )


def _say_hooks(module: Any, layers: list[nn.Module], stacklevel: int) -> None:
    """Warn where hooks may change how a state moves: those of the layer, or of a step."""
    looked_at = layers[0] if len(layers) == 1 and not takes_input_and_state(module) else module
    if isinstance(looked_at, nn.Module) and (found := forward_hooks(looked_at)):
        names = ", ".join(name or f"the {type(looked_at).__name__}" for name in found)
        warnings.warn(
            f"slow points are those of a copy without forward hooks, which {names} "
            f"{'has' if len(found) == 1 else 'have'}: what they change is not seen",
            stacklevel=stacklevel,
        )


def _plain(inputs: Any) -> Any:
    return inputs.detach().cpu().double().numpy() if isinstance(inputs, torch.Tensor) else inputs
