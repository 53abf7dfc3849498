"""What a closure takes from around it."""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import Any

import torch

__all__ = ["variables_of"]


def variables_of(closure: Any) -> dict[str, Any]:
    """The tensors, lists, tuples and dicts that a function takes from around it by name, and does
    not give new values itself.
    """
    code = getattr(closure, "__code__", None)
    if not isinstance(code, CodeType):
        return {}
    found: dict[str, Any] = {}
    for name in code.co_names:
        if name in closure.__globals__:
            found[name] = closure.__globals__[name]
    for name, cell in zip(code.co_freevars, closure.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    kinds = (torch.Tensor, list, tuple, dict)
    return {name: value for name, value in found.items() if isinstance(value, kinds) and name not in _stored(code)}


@lru_cache(maxsize=256)
def _stored(code: CodeType) -> frozenset[str]:
    """The names from around it that a function gives values."""
    storing = ("STORE_DEREF", "STORE_GLOBAL")
    return frozenset(one.argval for one in dis.get_instructions(code) if one.opname in storing)
