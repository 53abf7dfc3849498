"""What a module gives its recurrent layer, and takes from it between two calls, seen in a trial."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ghostpoint.torch.anatomy import CELLS, private_copy, tensors_in

__all__ = ["changes_inputs", "changes_states", "layer_calls"]

#: steps of the trial
STEPS = 5


def layer_calls(module: nn.Module, layer: nn.Module) -> tuple[torch.Tensor, list[Any]] | None:
    """Random inputs that a copy of a module was called with, and the calls of its layer: what each
    got, its arguments and keywords, and what it gave. Inputs are (1, T, I), or (T, 1, I) where a
    cell is called once for those.

    None where the module cannot be called so, or does not call its layer.
    """
    calls: list[Any] = []

    def note(_: nn.Module, given: Any, keywords: Any, found: Any) -> None:
        calls.append((given, keywords, found))

    try:
        with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=[]):
            copied = private_copy(module).cpu()
            place = [one is layer for one in module.modules()].index(True)
            watched: Any = list(copied.modules())[place]
            kind = next(watched.parameters()).dtype
            x = torch.randn(1, STEPS, watched.input_size, dtype=kind, device="cpu")
            watched.register_forward_hook(note, with_kwargs=True)
            copied(x)
            if len(calls) == 1 and isinstance(layer, CELLS):  # a loop over the first axis
                calls.clear()
                x = x.transpose(0, 1)
                copied(x)
    except Exception:  # anyone's module may want anything
        return None
    return (x, calls) if calls else None


def changes_inputs(x: torch.Tensor, calls: list[Any]) -> bool:
    """Whether a layer got other inputs than the module."""
    got = [next(tensors_in([*given, *keywords.values()]), None) for given, keywords, _ in calls]
    if any(one is None for one in got):
        return True
    whole = torch.cat([one.reshape(-1) for one in got if one is not None])
    return whole.shape != x.reshape(-1).shape or not torch.allclose(whole, x.reshape(-1))


def changes_states(layer: nn.Module, calls: list[Any]) -> bool:
    """Whether a layer was called several times, and not with the state that it gave before. Of a
    cell that was called once nothing is known: its steps are elsewhere, and it counts as changed.
    """
    if isinstance(layer, CELLS) and len(calls) < 2:
        return True
    before: list[torch.Tensor] | None = None
    for given, keywords, found in calls:
        state = list(tensors_in([*given, *keywords.values()]))[1:]
        if before is not None and (
            len(state) != len(before)
            or any(a.shape != b.shape or not torch.allclose(a, b) for a, b in zip(state, before, strict=True))
        ):
            return True
        pair = isinstance(found, tuple) and len(found) == 2 and not isinstance(layer, CELLS)
        before = list(tensors_in(found[1] if pair else found))
    return False
