"""Optimisers with the semantics of ``torch.optim``, for stacks: a rate per network, and a norm per
network.

A new optimiser is a frozen dataclass derived from :class:`Optimizer` and one line:
``OPTIMIZERS["name"] = Mine()``. The by-epoch engines train with it as it is; the compiled engine
needs a rule in its kernels and a line in ``training/compiled/kernel_rules.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from ghostpoint.checks import number, one_of
from ghostpoint.errors import InputError


class Optimizer(ABC):
    """What is added to the parameters, from the gradient and the learning rate.

    Examples
    --------
    >>> class SignDescent(Optimizer):
    ...     stateless = True
    ...     def update(self, part, gradient, rate, state, epoch):
    ...         return -rate * ((gradient > 0) * 1.0 - (gradient < 0) * 1.0)
    >>> SignDescent().update("b", 3.0, 0.1, {}, 0)
    -0.1
    """

    @property
    def stateless(self) -> bool:
        """Whether an update depends on the present gradient only; then one that changes no bit ends
        the run.
        """
        return False

    @abstractmethod
    def update(self, part: str, gradient: Any, rate: Any, state: dict[str, Any], epoch: int) -> Any:
        """What is added to ``part`` (R, ...).

        ``gradient`` (R, ...) and ``rate`` (R, 1, ...) are NumPy arrays or torch tensors, so
        operators must do. ``state`` is kept between calls, with an array or a tuple of arrays under
        ``part``. ``epoch`` counts from 0.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with momentum mu, ``v <- mu v + g``, ``p <- p - rate v``, as
    ``torch.optim.SGD``; plain without.

    Examples
    --------
    >>> SGD(momentum=0.9).stateless
    False
    """

    momentum: float = 0.0

    def __post_init__(self) -> None:
        if number("momentum", self.momentum, at_least=0) >= 1:
            raise InputError(f"momentum must be below 1, got {self.momentum!r}")

    @property
    def stateless(self) -> bool:
        """Without momentum."""
        return self.momentum == 0

    def update(self, part: str, gradient: Any, rate: Any, state: dict[str, Any], epoch: int) -> Any:
        """``-rate v``."""
        if self.momentum == 0:
            return -rate * gradient
        state[part] = gradient if epoch == 0 else self.momentum * state[part] + gradient
        return -rate * state[part]


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with bias correction, as ``torch.optim.Adam``.

    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    With the gradient g at
    update k = 1, 2, ... and ``betas`` (b1, b2)::

        v <- b1 v + (1 - b1) g,  w <- b2 w + (1 - b2) g**2
        p <- p - rate / (1 - b1**k) v / (sqrt(w / (1 - b2**k)) + eps)

    Examples
    --------
    >>> Adam().betas
    (0.9, 0.999)
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        for beta in self.betas:
            if number("betas", beta, at_least=0) >= 1:
                raise InputError(f"betas must be below 1, got {self.betas!r}")
        number("eps", self.eps, above=0)

    def update(self, part: str, gradient: Any, rate: Any, state: dict[str, Any], epoch: int) -> Any:
        """``-rate / (1 - b1**k) v / (sqrt(w / (1 - b2**k)) + eps)``."""
        (one, two), count = self.betas, epoch + 1
        mean, square = state.get(part, (0.0 * gradient, 0.0 * gradient))
        mean = one * mean + (1 - one) * gradient
        square = two * square + (1 - two) * gradient * gradient
        state[part] = mean, square
        scale = square**0.5 / (1 - two**count) ** 0.5 + self.eps
        return -(rate / (1 - one**count)) * mean / scale


#: optimisers by name; new ones are registered here
OPTIMIZERS: dict[str, Optimizer] = {"sgd": SGD(), "momentum": SGD(momentum=0.9), "adam": Adam()}


def resolve(optimizer: str | Optimizer) -> Optimizer:
    """The optimiser of a name, or the one given."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    return OPTIMIZERS[one_of("optimizer", optimizer, OPTIMIZERS)]
