"""Optimisers with the semantics of ``torch.optim``, for stacks: a rate per network, and a norm per network.

Written with operators only, so that the same lines serve NumPy arrays and torch tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ghostpoint.checks import number, one_of
from ghostpoint.errors import InputError

__all__ = ["OPTIMIZERS", "SGD", "Adam", "Optimizer", "clip_factor", "resolve"]


@dataclass(frozen=True)
class SGD:
    """``v <- momentum v + g``, ``p <- p - rate v``; plain gradient descent without momentum (``torch.optim.SGD``)."""

    momentum: float = 0.0

    def __post_init__(self) -> None:
        if number("momentum", self.momentum, at_least=0) >= 1:
            raise InputError(f"momentum must be below 1, got {self.momentum!r}")

    @property
    def stateless(self) -> bool:
        """Whether an update depends on the present gradient only."""
        return self.momentum == 0

    def update(self, part: str, gradient: Any, rate: Any, state: dict[str, Any], epoch: int) -> Any:
        """What is added to ``part``; ``state`` is kept between calls, ``epoch`` counts from 0."""
        if self.momentum == 0:
            return -rate * gradient
        state[part] = gradient if epoch == 0 else self.momentum * state[part] + gradient
        return -rate * state[part]


@dataclass(frozen=True)
class Adam:
    """Adam with bias correction (``torch.optim.Adam``; Kingma and Ba 2015, algorithm 1, with eps outside the root)."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        for beta in self.betas:
            if number("betas", beta, at_least=0) >= 1:
                raise InputError(f"betas must be below 1, got {self.betas!r}")
        number("eps", self.eps, above=0)

    @property
    def stateless(self) -> bool:
        """Whether an update depends on the present gradient only."""
        return False

    def update(self, part: str, gradient: Any, rate: Any, state: dict[str, Any], epoch: int) -> Any:
        """What is added to ``part``; ``state`` is kept between calls, ``epoch`` counts from 0."""
        (one, two), count = self.betas, epoch + 1
        mean, square = state.get(part, (0.0 * gradient, 0.0 * gradient))
        mean = one * mean + (1 - one) * gradient
        square = two * square + (1 - two) * gradient * gradient
        state[part] = mean, square
        scale = square**0.5 / (1 - two**count) ** 0.5 + self.eps
        return -(rate / (1 - one**count)) * mean / scale


Optimizer = SGD | Adam
#: optimisers by name
OPTIMIZERS: dict[str, Optimizer] = {"sgd": SGD(), "momentum": SGD(momentum=0.9), "adam": Adam()}


def resolve(optimizer: str | Optimizer) -> Optimizer:
    """The optimiser of a name, or the one given."""
    if isinstance(optimizer, SGD | Adam):
        return optimizer
    return OPTIMIZERS[one_of("optimizer", optimizer, OPTIMIZERS)]


def clip_factor(norm: Any, limit: float) -> Any:
    """What gradients are multiplied by: ``min(1, limit / (norm + 1e-6))`` (``torch.nn.utils.clip_grad_norm_``)."""
    factor = limit / (norm + 1e-6)
    return factor * (factor < 1) + (factor >= 1)
