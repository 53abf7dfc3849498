"""What Guard is given, checked before it hooks on to anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.torch.distances import KINDS
from ghostpoint.torch.guard_rules import FixedBatch, FreshBatches

__all__ = ["check_arguments", "generators_of"]


def check_arguments(
    model: Any, optimizer: Any, functions: dict[str, Any], rules: dict[str, Any], batch: Any, distance: Any
) -> None:
    """Raise a ``ValueError`` that names what is no argument of a guard."""
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}: ModuleList holds several")
    if not hasattr(optimizer, "zero_grad"):
        raise InputError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise InputError(f"{name} must be a function, got {function!r}")
    for name, kind in {"fixed": FixedBatch, "fresh": FreshBatches}.items():
        if rules[name] is not None and not isinstance(rules[name], kind):
            raise InputError(f"{name} must be a {kind.__name__}, got {type(rules[name]).__name__}")
    one_of("batch", batch, ("auto", "fixed", "fresh"))
    if not callable(distance):
        one_of("distance", distance, ("auto", *KINDS))


def generators_of(given: Iterable[torch.Generator]) -> tuple[torch.Generator, ...]:
    """One's own generators; a ``ValueError`` for anything else, a single one among it."""
    found = given if isinstance(given, torch.Generator) else tuple(given)
    if isinstance(found, torch.Generator) or not all(isinstance(one, torch.Generator) for one in found):
        raise InputError(f"generators must be several of torch.Generator, as in [generator], got {found!r}")
    return found
