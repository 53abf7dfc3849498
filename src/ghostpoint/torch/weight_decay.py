"""Weight decay that an optimizer takes off the parameters, apart from its step along the loss."""

from __future__ import annotations

from typing import Any

import torch

from ghostpoint.torch.parameters import Parameters

__all__ = ["DecoupledDecay"]

#: optimizers of torch.optim whose decay is always decoupled, also where their groups do not say so
_ALWAYS = tuple(getattr(torch.optim, name) for name in ("AdamW", "Adafactor", "Muon") if hasattr(torch.optim, name))


class DecoupledDecay:
    """The part ``w = -c theta`` of an update, with ``c = lr weight_decay`` of each group.

    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2:
    the decay does not pass through the momenta. It is known for the optimizers of ``torch.optim``
    alone. A decay that is added to the gradient is part of the loss, and so is the step along it.
    """

    def __init__(self, parameters: Parameters):
        self.parameters = parameters
        self.rates: dict[int, float] = {}

    def read(self) -> bool:
        """Read c from the groups, after a step; whether there is any decay.

        Optimizers do not touch parameters without a gradient.
        """
        optimizer: Any = self.parameters.optimizer
        self.rates = {}
        for group in optimizer.param_groups:
            if group.get("decoupled_weight_decay", isinstance(optimizer, _ALWAYS)):
                rate = float(group["lr"]) * float(group["weight_decay"])
                self.rates.update({id(p): rate for p in group["params"] if rate and p.grad is not None})
        return bool(self.rates)

    def of(self, tensors: list[torch.Tensor], values: torch.Tensor) -> torch.Tensor:
        """``w`` of some of the parameters, which had these values before the step."""
        rates = [self.rates.get(id(p), 0.0) for p in tensors]
        if len(set(rates)) == 1:
            return values * -rates[0]
        parts = values.split([p.numel() for p in tensors])
        return torch.cat([part * -rate for part, rate in zip(parts, rates, strict=True)])
