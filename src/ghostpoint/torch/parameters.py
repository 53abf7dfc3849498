"""All parameters of an optimizer as one vector."""

from __future__ import annotations

import torch

from ghostpoint.errors import InputError

__all__ = ["Parameters"]


class Parameters:
    """The parameters of all groups of an optimizer, in order, each once.

    Vectors are on the device of the first parameter, in float64 if all parameters are, else in float32.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer
        tensors = self.tensors
        if not tensors:
            raise InputError("optimizer must have at least one parameter, got none")
        self.device = tensors[0].device
        self.dtype = torch.float64 if all(p.dtype == torch.float64 for p in tensors) else torch.float32

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The parameters themselves; groups may be added while training."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Their devices other than the CPU."""
        return tuple(dict.fromkeys(p.device for p in self.tensors if p.device.type != "cpu"))

    def values(self) -> torch.Tensor:
        """The parameters, a copy."""
        return torch.cat([self._flat(p.detach()) for p in self.tensors])

    def gradients(self) -> torch.Tensor:
        """The gradients, a copy; 0 where there is none. Sparse ones are filled in."""
        return torch.cat(
            [
                torch.zeros(p.numel(), dtype=self.dtype, device=self.device)
                if p.grad is None
                else self._flat(p.grad.detach().to_dense() if p.grad.is_sparse else p.grad.detach())
                for p in self.tensors
            ]
        )

    def set(self, vector: torch.Tensor) -> None:
        """Put the parameters at ``vector``."""
        for p, part in self._parts(vector):
            p.copy_(part)

    def versions(self) -> list[tuple[int, int]]:
        """Changes when a parameter is written to, or another one takes its place."""
        return [(id(p), p._version) for p in self.tensors]

    def withhold_gradients(self) -> list[torch.Tensor | None]:
        """Take the gradients away, as if there were none."""
        held = [p.grad for p in self.tensors]
        for p in self.tensors:
            p.grad = None
        return held

    def give_back_gradients(self, held: list[torch.Tensor | None]) -> None:
        """Put back what :meth:`withhold_gradients` took."""
        for p, gradient in zip(self.tensors, held, strict=True):
            p.grad = gradient

    def _flat(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.reshape(-1).to(device=self.device, dtype=self.dtype)

    def _parts(self, vector: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        parts = vector.split([p.numel() for p in self.tensors])
        return [(p, part.view(p.shape)) for p, part in zip(self.tensors, parts, strict=True)]
