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
