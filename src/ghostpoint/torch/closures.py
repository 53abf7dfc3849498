"""A closure for a model and a batch, and what a closure takes from around it."""

from __future__ import annotations

import dis
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any

import torch

from ghostpoint.errors import InputError

__all__ = ["closure_of", "variables_of"]


def closure_of(model: Any, criterion: Any, inputs: Any, targets: Any) -> Callable[[], tuple[torch.Tensor, Any]]:
    """The forward pass of a batch, as a closure that returns (loss, outputs).

    Raises
    ------
    ValueError
        If one of them is missing.
    """
    if criterion is None or inputs is None or targets is None:
        raise InputError("closure must be given, or inputs and targets, and criterion to Guard")

    def closure() -> tuple[torch.Tensor, Any]:
        outputs = model(inputs)
        return criterion(outputs, targets), outputs

    return closure


def variables_of(closure: Any) -> dict[str, Any]:
    """The tensors, lists, tuples and dicts that a function takes from around it by name, and does
    not give new values itself.
    """
    code = getattr(closure, "__code__", None)
    if not isinstance(code, CodeType):
        return {}
    found: dict[str, Any] = {}
    taken, stored = _names(code)
    for name in taken:
        if name in closure.__globals__:
            found[name] = closure.__globals__[name]
    for name, cell in zip(code.co_freevars, closure.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    kinds = (torch.Tensor, list, tuple, dict)
    return {name: value for name, value in found.items() if isinstance(value, kinds) and name not in stored}


@lru_cache(maxsize=256)
def _names(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The global names that a function takes, and the names from around it that it gives values."""
    steps = [(one.opname, one.argval) for one in dis.get_instructions(code)]
    taken = frozenset(name for step, name in steps if step in ("LOAD_GLOBAL", "LOAD_NAME"))
    return taken, frozenset(name for step, name in steps if step in ("STORE_DEREF", "STORE_GLOBAL"))
