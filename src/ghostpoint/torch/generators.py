"""States of PyTorch's random number generators, and of its automatic choice of types: kept before a
forward pass, put back to repeat it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Autocast", "GeneratorStates"]


@dataclass(frozen=True)
class Autocast:
    """Whether ``torch.autocast`` is on, and with which type, for each kind of device."""

    states: tuple[tuple[str, bool, torch.dtype], ...]
    cached: bool

    @classmethod
    def now(cls, kinds: Iterable[str]) -> Autocast:
        """The present state, for kinds of devices such as "cpu" and "cuda"."""
        found: list[tuple[str, bool, torch.dtype]] = []
        for kind in kinds:
            if hasattr(torch, "get_autocast_dtype"):  # since PyTorch 2.4
                found.append((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)))
            elif kind == "cpu":
                found.append((kind, torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()))
            elif kind == "cuda":
                found.append((kind, torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()))
        return cls(tuple(found), torch.is_autocast_cache_enabled())

    def again(self) -> AbstractContextManager[object]:
        """The same state, to be entered."""
        stack = ExitStack()
        if Autocast.now(kind for kind, _, _ in self.states) != self:
            for kind, enabled, dtype in self.states:
                stack.enter_context(torch.autocast(kind, dtype, enabled, cache_enabled=self.cached))
        return stack


@dataclass(frozen=True)
class GeneratorStates:
    """The states of the default generators of the CPU and of some devices, and of generators of
    one's own.
    """

    cpu: torch.Tensor
    devices: tuple[tuple[torch.device, torch.Tensor], ...]
    own: tuple[tuple[torch.Generator, torch.Tensor], ...]

    @classmethod
    def now(cls, devices: Iterable[torch.device] = (), own: Iterable[torch.Generator] = ()) -> GeneratorStates:
        """The present states; ``devices`` are those beside the CPU."""
        kept = tuple((device, _module(device).get_rng_state(device)) for device in devices)
        return cls(torch.get_rng_state(), kept, tuple((one, one.get_state()) for one in own))

    def restore(self) -> None:
        """Put the generators back."""
        torch.set_rng_state(self.cpu)
        for device, state in self.devices:
            _module(device).set_rng_state(state, device)
        for generator, state in self.own:
            generator.set_state(state)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GeneratorStates):
            return NotImplemented
        pairs = [(self.cpu, other.cpu)]
        pairs += [(a[1], b[1]) for a, b in zip(self.devices, other.devices, strict=True)]
        pairs += [(a[1], b[1]) for a, b in zip(self.own, other.own, strict=True)]
        return all(torch.equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]


def _module(device: torch.device) -> Any:
    """``torch.cuda``, ``torch.xpu``, ... of a device."""
    return getattr(torch, device.type)
