"""What a module of PyTorch holds, read from copies: wrappers, recurrent layers, and whether its own
``forward`` does what they do.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ghostpoint.errors import InputError

__all__ = [
    "CELLS",
    "RECURRENT",
    "as_unwrapped",
    "before",
    "beside",
    "equations",
    "forward_hooks",
    "has_own_forward",
    "private_copy",
    "recurrent_layers",
    "takes_input_and_state",
    "takes_state_first",
    "tensors_in",
    "unwrapped",
]

CELLS = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)
RECURRENT = (nn.RNN, nn.GRU, nn.LSTM, *CELLS)
#: reparametrisations by hooks: the weight is an attribute that the next forward pass renews
_HOOKS = (prune.BasePruningMethod, WeightNorm, SpectralNorm)
#: names that people give to a state
_STATE = re.compile(r"(h|hx|ht|h\d|h_\w+|hidden\w*|\w*state\w*|prev\w*|last\w*|old\w*|carry|c|r|r_\w+|rates?)", re.I)
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(module: Any) -> Any:
    """What ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel`` stand around."""
    while True:
        if isinstance(module, _WRAPPERS):
            module = module.module
        elif isinstance(module, nn.Module) and isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod
        elif callable(getattr(module, "_torchdynamo_orig_callable", None)):  # a compiled function
            module = module._torchdynamo_orig_callable
        else:
            return module


def private_copy(module: nn.Module) -> Any:
    """A copy in evaluation mode, with weights that are up to date and without a graph.

    Weights that hooks make (pruning, ``torch.nn.utils.weight_norm`` and ``spectral_norm``) are
    those of the next forward pass. The copy has no other hooks: they may record, and hold what
    cannot be copied.

    Raises
    ------
    ValueError
        For a module on ``meta``, or with lazy parameters, which has no numbers.
    """
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if isinstance(value, nn.parameter.UninitializedTensorMixin):
            raise InputError(f"module must have numbers: {name} gets its shape in the first forward pass")
        if value.is_meta:
            raise InputError(f"module must have numbers, but {name} is on the device meta")
    with torch.inference_mode(False), torch.no_grad():
        # what a module keeps of a forward pass has a graph, which cannot be copied
        kept = {id(one): one.detach().clone() for part in module.modules() for one in tensors_in(vars(part))
                if not one.is_leaf}  # fmt: skip
        hooks: dict[int, Any] = {}
        for part in module.modules():
            for name, value in vars(part).items():
                if name.endswith("_hooks") and isinstance(value, dict):
                    hooks[id(value)] = OrderedDict(
                        (key, hook) for key, hook in value.items() if isinstance(hook, _HOOKS)
                    )
        try:
            copied = copy.deepcopy(module, {**kept, **hooks}).eval()
        except TypeError as error:  # a lock, an open file, a generator
            raise InputError(f"module must be one that copy.deepcopy can copy: {error}") from error
        for part in copied.modules():
            for hook in part._forward_pre_hooks.values():
                if isinstance(hook, _HOOKS):
                    hook(part, ())
    return copied


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors_in(one)


def as_unwrapped(checkpoint: Any, module: nn.Module) -> Any:
    """A state with the names that a module has without ``torch.compile`` around it or its parts,
    and without ``DataParallel`` and others of that kind around it.
    """
    if not isinstance(checkpoint, Mapping) or set(checkpoint) == set(module.state_dict()):
        return checkpoint
    plain = {str(name).replace("_orig_mod.", ""): value for name, value in checkpoint.items()}
    if all(name.startswith("module.") for name in plain):
        plain = {name.removeprefix("module."): value for name, value in plain.items()}
    return plain if set(plain) == set(module.state_dict()) else checkpoint


def recurrent_layers(module: Any) -> list[nn.Module]:
    """The recurrent layers and cells of PyTorch in a module, itself included."""
    return [one for one in module.modules() if isinstance(one, RECURRENT)] if isinstance(module, nn.Module) else []


def equations(layer: nn.Module) -> type[nn.Module]:
    """PyTorch's class whose equations a layer has, if it has them."""
    return next(kind for kind in RECURRENT if isinstance(layer, kind))


def has_own_forward(layer: nn.Module) -> bool:
    """Whether a subclass of a recurrent layer moves its state by something else than PyTorch."""
    return type(layer).forward is not equations(layer).forward


def takes_input_and_state(module: nn.Module) -> bool:
    """Whether ``forward`` can be ``step(input, state)``: of a cell's subclass, or of two arguments
    that are needed.
    """
    if isinstance(module, CELLS):
        return has_own_forward(module)
    if isinstance(module, (*RECURRENT, nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        return False
    return len(_needed(module)) == 2


def takes_state_first(module: nn.Module) -> bool | None:
    """Whether the names of the arguments of ``forward`` say that the state comes before the input;
    None where they do not tell.
    """
    names = _needed(module)
    if len(names) != 2:
        return None
    first, second = (_STATE.fullmatch(name) is not None for name in names)
    return None if first == second else first


def forward_hooks(module: nn.Module) -> list[str]:
    """The names of the parts with hooks on their forward pass, but for those that make weights; ""
    is the module itself."""
    kinds = ("_forward_hooks", "_forward_pre_hooks")
    return [
        name
        for name, part in module.named_modules()
        if any(not isinstance(hook, _HOOKS) for kind in kinds for hook in getattr(part, kind, {}).values())
    ]


def _needed(module: nn.Module) -> list[str]:
    """The names of the positional arguments without a default."""
    if isinstance(module, torch.jit.ScriptModule):  # of a traced one, too
        if not hasattr(module, "forward"):
            return []
        return [one.debugName().split(".")[0] for one in module.graph.inputs()][1:]
    try:
        found = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in found if one.kind in positional and one.default is inspect.Parameter.empty]


def beside(module: nn.Module, layer: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of a module with parameters of their own that are not in its recurrent layer, with
    their names. The module itself is not one.
    """
    inside = set(layer.modules())
    return [
        (name, one)
        for name, one in module.named_modules()
        if one is not module and one not in inside and any(True for _ in one.parameters(recurse=False))
    ]


def before(module: nn.Module, layer: nn.Module) -> list[tuple[str, nn.Module]]:
    """Those of them that can stand between a module's input and its layer: the ones that are
    declared before it, but for a ``Linear`` that takes what the layer gives and does not give what
    it takes.
    """
    order = list(module.modules())

    def is_readout(one: nn.Module) -> bool:
        return getattr(one, "in_features", None) == layer.hidden_size and one.out_features != layer.input_size

    return [
        (name, one)
        for name, one in beside(module, layer)
        if order.index(one) < order.index(layer) and not is_readout(one)
    ]
