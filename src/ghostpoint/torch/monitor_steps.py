"""What is a step of an optimizer, and what it did: for the hooks of a monitor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ghostpoint.torch.quantities import norm, size_of_update, update_and_rate

__all__ = ["Order", "Update", "trained"]


class Order:
    """Whether logs come after the steps they belong to: told by the first ones.

    A first log before any step may also come after one that AMP has skipped. Then the gradient at
    it is not finite, and the next step has another one.
    """

    def __init__(self, optimizer: Any):
        self.after: bool | None = None
        self._before = _smallest_gradient(trained(optimizer))  # of an earlier training
        self._seen: tuple[torch.Tensor, torch.Tensor] | None = None

    def logged(self, stepped: bool, optimizer: Any) -> None:
        """A log, before or after the first step."""
        if self.after is not None:
            return
        if stepped:
            self.after = True
        else:
            parameters = trained(optimizer)
            self._seen = _smallest_gradient(parameters)
            stale = self._seen is not None and self._before is not None and self._seen[1] is self._before[1]
            # waits for the device, at logs before the first step alone
            if self._seen is None or stale or bool(norm(_gradients(parameters)).isfinite()):
                self.after = False
        self._forget()

    def steps(self) -> None:
        """A step begins."""
        if self.after is None and self._seen is not None:
            parameter, gradient = self._seen
            self.after = parameter.grad is not gradient
        self._forget()

    def _forget(self) -> None:
        if self.after is not None:  # gradients are not held any longer
            self._before = self._seen = None


class Update:
    """What one step did: made before it, asked after it."""

    def __init__(self, optimizer: Any):
        self._optimizer = optimizer
        #: of a scaler of gradients that leaves the scale to the optimizer
        self.scale = _number(getattr(optimizer, "grad_scale", None))
        self.skipped = _number(getattr(optimizer, "found_inf", None))
        self._parameters: list[torch.Tensor] = []
        self._weights: list[torch.Tensor] | None = None
        self._unscaled: torch.Tensor | None = None

    def gradient_norm(self) -> torch.Tensor | None:
        """Without the scale, before the step; None without gradients."""
        gradients = _gradients(trained(self._optimizer))
        if not gradients:
            return None
        size = norm(gradients)
        return size if self.scale is None else size / self.scale.to(size.device, non_blocking=True)

    def keep_weights(self) -> None:
        """For :meth:`size_and_rate`."""
        self._parameters = trained(self._optimizer)
        self._weights = [p.detach().clone() for p in self._parameters]
        if self.scale is not None:
            self._unscaled = self.gradient_norm()

    def size_and_rate(self) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """Norm of the change of all parameters, and the effective learning rate where there are
        gradients; None where weights were not kept.
        """
        if not self._weights:
            return None
        triples = [(b, p.detach(), p.grad) for b, p in zip(self._weights, self._parameters, strict=True)]
        self._weights = None
        moved = [(b, p, g.detach()) for b, p, g in triples if g is not None]
        still = [(b, p) for b, p, g in triples if g is None]
        if not moved:
            return size_of_update(*zip(*still, strict=True)), None
        size, rate = update_and_rate(*zip(*moved, strict=True))
        if still:  # an optimizer may move what has no gradient, or take gradients away
            size = torch.hypot(size, size_of_update(*zip(*still, strict=True)).to(size))
        if self._unscaled is not None:
            # fused optimizers write the gradient back without its scale; others may leave it
            now = norm([g for _, _, g in moved])
            rate = rate * (now / self._unscaled).to(rate)
        return size, rate


def trained(optimizer: Any) -> list[torch.Tensor]:
    """All parameters of an optimizer."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def _gradients(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [p.grad.detach() for p in parameters if p.grad is not None]


def _smallest_gradient(parameters: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor] | None:
    having = [(p, p.grad) for p in parameters if p.grad is not None]
    return min(having, key=lambda one: one[0].numel(), default=None)


def _number(value: Any) -> torch.Tensor | None:
    """A copy: a scaler goes on to change its own."""
    return value.detach().reshape(()).clone() if isinstance(value, torch.Tensor) and value.numel() == 1 else None
