"""All parameters of an optimizer as one vector, read and written piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ghostpoint.errors import InputError

__all__ = ["Parameters", "Replaced", "Withheld"]

#: gradients as they were, and what stands in their place
Replaced = list[tuple[torch.Tensor | None, torch.Tensor | None]]
#: parameters, and the gradients that were taken from them
Withheld = list[tuple[torch.Tensor, torch.Tensor | None]]
#: numbers of small parameters that are worked on together
_TOGETHER = 1 << 16


class Parameters:
    """The parameters of all groups of an optimizer that are trained, in order, each once.

    Vectors are on the device of the first parameter, in float64 if one of the parameters is, else
    in float32. No method but :meth:`values` makes a copy of more than one parameter, or of more
    than 65536 numbers where parameters are smaller.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer
        tensors = self.tensors
        if not tensors:
            raise InputError("optimizer must have at least one parameter, got none")
        self.device = tensors[0].device
        self.dtype = self._kind_of(tensors)
        #: of sums over all parameters; not every device has float64
        self.wide = torch.float32 if self.device.type == "mps" else torch.float64

    @property
    def rounding(self) -> float:
        """That of one number, relative to it."""
        return float(torch.finfo(self.dtype).eps)

    def least(self, size: float, length: float) -> float:
        """The part of an update of a ``length`` that moves parameters of a norm ``size`` by no more
        than rounding.
        """
        return self.rounding * size / length if 0 < length < float("inf") else 0.0

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The parameters themselves, without frozen ones; groups may be added while training."""
        every = [p for group in self.optimizer.param_groups for p in group["params"]]
        # an optimizer moves a frozen one that still has a gradient, by its momentum or decay
        return [p for p in every if p.requires_grad or p.grad is not None] or every

    @staticmethod
    def _kind_of(tensors: list[torch.Tensor]) -> torch.dtype:
        """That of vectors of these parameters."""
        for p in tensors:
            if not p.is_floating_point():
                raise InputError(
                    f"optimizer must have real parameters, got one of {p.dtype} and shape {tuple(p.shape)}: keep "
                    "torch.view_as_real of it as the parameter"
                )
        return torch.float64 if any(p.dtype == torch.float64 for p in tensors) else torch.float32

    def places(self) -> list[tuple[int, int, torch.dtype]]:
        """Where they stand among all of the optimizer, their sizes, and the type of vectors of
        them: groups may be added, and ``model.double()`` called.
        """
        tensors = self.tensors
        trained, self.dtype = {id(p) for p in tensors}, self._kind_of(tensors)
        every = [p for group in self.optimizer.param_groups for p in group["params"]]
        return [(place, p.numel(), self.dtype) for place, p in enumerate(every) if id(p) in trained]

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Their devices other than the CPU."""
        return tuple(dict.fromkeys(p.device for p in self.tensors if p.device.type != "cpu"))

    def pieces(self) -> Iterator[tuple[list[torch.Tensor], slice]]:
        """Parameters one after the other, small ones several at a time, and their place in a
        vector.
        """
        first = last = 0
        together: list[torch.Tensor] = []
        for p in self.tensors:
            if together and last + p.numel() - first > _TOGETHER:
                yield together, slice(first, last)
                together, first = [], last
            together.append(p)
            last += p.numel()
        yield together, slice(first, last)

    def values(self) -> torch.Tensor:
        """The parameters, a copy."""
        return torch.cat([self.flat(p.detach()) for p in self.tensors])

    def values_of(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        """Some of the parameters, flat; of a single one a view where that can be."""
        flat = [self.flat(p.detach()) for p in tensors]
        return flat[0] if len(flat) == 1 else torch.cat(flat)

    def gradients_of(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        """The gradients of some of the parameters, flat; 0 where there is none, and sparse ones
        are filled in.
        """
        flat = [self._gradient_of(p) for p in tensors]
        return flat[0] if len(flat) == 1 else torch.cat(flat)

    def _gradient_of(self, p: torch.Tensor) -> torch.Tensor:
        if p.grad is None:
            return torch.zeros(p.numel(), dtype=self.dtype, device=self.device)
        return self.flat(p.grad.detach().to_dense() if p.grad.is_sparse else p.grad.detach())

    def copy_values_to(self, vector: torch.Tensor) -> None:
        """``vector`` becomes the parameters."""
        for tensors, part in self.pieces():
            vector[part] = self.values_of(tensors)

    def set(self, vector: torch.Tensor) -> None:
        """Put the parameters at ``vector``."""
        for tensors, part in self.pieces():
            self.set_some(tensors, vector[part])

    def set_some(self, tensors: list[torch.Tensor], vector: torch.Tensor) -> None:
        """Put some of the parameters at ``vector``."""
        for p, values in zip(tensors, vector.split([p.numel() for p in tensors]), strict=True):
            p.copy_(values.view(p.shape))

    def rates(self) -> list[float]:
        """How fast each parameter may learn, as a share of the fastest: its group's rate, and 0
        where it has no gradient.
        """
        of_groups: dict[int, float] = {}
        for group in self.optimizer.param_groups:
            rate = group.get("lr")
            of_groups.update(dict.fromkeys(map(id, group["params"]), 1.0 if rate is None else abs(float(rate))))
        found = [of_groups[id(p)] if p.requires_grad and p.grad is not None else 0.0 for p in self.tensors]
        fastest = max(found)
        return [rate / fastest if rate < fastest else 1.0 for rate in found] if fastest > 0 else [0.0] * len(found)

    def usual_norm(self) -> float:
        """That of parameters drawn uniformly within one over the root of their inputs, as PyTorch
        does; of a vector all numbers are taken for inputs.
        """
        trained = [p for p in self.tensors if p.numel()]
        return sum(p.numel() / (p[0].numel() if p.ndim > 1 else p.numel()) / 3 for p in trained) ** 0.5

    def withhold_gradients(self) -> Withheld:
        """Take the gradients away, as if there were none; the parameters and what they had."""
        held = [(p, p.grad) for p in self.tensors]
        for p, _ in held:
            p.grad = None
        return held

    def replace_gradients(self, vector: torch.Tensor) -> Replaced:
        """Let the gradients be ``vector``, where there are any; what they were, and are."""
        held = [p.grad for p in self.tensors]
        sizes = [p.numel() for p in self.tensors]
        for p, values in zip(self.tensors, vector.split(sizes), strict=True):
            if p.grad is not None:
                p.grad = values.view(p.shape).to(p.grad)
        return [(old, p.grad) for p, old in zip(self.tensors, held, strict=True)]

    def scale_gradients(self, factor: float) -> Replaced:
        """Let the gradients be ``factor`` of themselves; what they were, and are."""
        held = [p.grad for p in self.tensors]
        for p in self.tensors:
            if p.grad is not None:
                p.grad = p.grad * factor
        return [(old, p.grad) for p, old in zip(self.tensors, held, strict=True)]

    def give_back_replaced(self, replaced: Replaced) -> None:
        """Put back what was replaced, where the replacement still stands."""
        for p, (old, new) in zip(self.tensors, replaced, strict=False):
            if p.grad is new:
                p.grad = old

    def give_back_gradients(self, held: Withheld) -> None:
        """Put back what :meth:`withhold_gradients` took."""
        for p, gradient in held:
            p.grad = gradient

    def flat(self, tensor: torch.Tensor) -> torch.Tensor:
        """As a part of a vector."""
        return tensor.reshape(-1).to(device=self.device, dtype=self.dtype)
