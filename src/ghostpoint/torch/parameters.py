"""All parameters of an optimizer as one vector, read and written piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ghostpoint.errors import InputError

__all__ = ["Parameters"]


class Parameters:
    """The parameters of all groups of an optimizer, in order, each once.

    Vectors are on the device of the first parameter, in float64 if all parameters are, else in
    float32. No method but :meth:`values` and :meth:`gradients` makes a copy of more than one
    parameter.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer
        tensors = self.tensors
        if not tensors:
            raise InputError("optimizer must have at least one parameter, got none")
        self.device = tensors[0].device
        self.dtype = torch.float64 if all(p.dtype == torch.float64 for p in tensors) else torch.float32
        #: of sums over all parameters; not every device has float64
        self.wide = torch.float32 if self.device.type == "mps" else torch.float64

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The parameters themselves; groups may be added while training."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Their devices other than the CPU."""
        return tuple(dict.fromkeys(p.device for p in self.tensors if p.device.type != "cpu"))

    def pieces(self) -> Iterator[tuple[torch.Tensor, slice]]:
        """Each parameter, and its place in a vector."""
        first = 0
        for p in self.tensors:
            yield p, slice(first, first + p.numel())
            first += p.numel()

    def values(self) -> torch.Tensor:
        """The parameters, a copy."""
        return torch.cat([self.flat(p.detach()) for p in self.tensors])

    def gradients(self) -> torch.Tensor:
        """The gradients, a copy; 0 where there is none."""
        return torch.cat([self.gradient_of(p) for p in self.tensors])

    def gradient_of(self, p: torch.Tensor) -> torch.Tensor:
        """The gradient of one parameter, flat; sparse ones are filled in."""
        if p.grad is None:
            return torch.zeros(p.numel(), dtype=self.dtype, device=self.device)
        return self.flat(p.grad.detach().to_dense() if p.grad.is_sparse else p.grad.detach())

    def copy_values_to(self, vector: torch.Tensor) -> None:
        """``vector`` becomes the parameters."""
        for p, part in self.pieces():
            vector[part] = self.flat(p.detach())

    def set(self, vector: torch.Tensor) -> None:
        """Put the parameters at ``vector``."""
        for p, part in self.pieces():
            p.copy_(vector[part].view(p.shape))

    def versions(self) -> list[tuple[int, int]]:
        """Changes when a parameter is written to, or another one takes its place."""
        return [(id(p), p._version) for p in self.tensors]

    def withhold_gradients(self) -> list[torch.Tensor | None]:
        """Take the gradients away, as if there were none."""
        held = [p.grad for p in self.tensors]
        for p in self.tensors:
            p.grad = None
        return held

    def replace_gradients(self, vector: torch.Tensor) -> list[torch.Tensor | None]:
        """Let the gradients be ``vector``, where there are any; what they were."""
        held = [p.grad for p in self.tensors]
        for p, part in self.pieces():
            if p.grad is not None:
                p.grad = vector[part].view(p.shape).to(p.grad)
        return held

    def give_back_gradients(self, held: list[torch.Tensor | None]) -> None:
        """Put back what :meth:`withhold_gradients` or :meth:`replace_gradients` took."""
        for p, gradient in zip(self.tensors, held, strict=True):
            p.grad = gradient

    def flat(self, tensor: torch.Tensor) -> torch.Tensor:
        """As a part of a vector."""
        return tensor.reshape(-1).to(device=self.device, dtype=self.dtype)
