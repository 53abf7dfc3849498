"""States of PyTorch's random number generators: kept before a forward pass, put back to repeat
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["GeneratorStates"]


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
