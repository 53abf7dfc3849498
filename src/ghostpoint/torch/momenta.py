"""Momenta in the state of PyTorch's optimizers, by name."""

from __future__ import annotations

import torch

__all__ = ["clear_momenta"]

#: entries that average past gradients or updates, which an update that is refused makes worthless
_MOMENTA = ("momentum_buffer", "exp_avg", "exp_avg_diff", "neg_pre_grad", "acc_delta")
#: optimizers of torch.optim that have none
_WITHOUT = (torch.optim.Adagrad, torch.optim.ASGD, torch.optim.Rprop, torch.optim.Adadelta, torch.optim.RMSprop)


def clear_momenta(optimizer: torch.optim.Optimizer) -> bool:
    """Put the momenta of an optimizer to zero; whether it is known which they are.

    Averages of squared gradients stay: they say how large gradients are, not where they go.
    """
    known = isinstance(optimizer, (torch.optim.SGD, *_WITHOUT)) or not optimizer.state
    for state in optimizer.state.values():
        for name in _MOMENTA:
            value = state.get(name)
            if isinstance(value, torch.Tensor):
                value.zero_()
                known = True
    return known
