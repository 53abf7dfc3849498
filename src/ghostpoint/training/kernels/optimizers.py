"""Update rules with the semantics of ``torch.optim``, one vector at a time.

With the gradient g (after clipping) and the rate eta:

* ``SGD``: ``p <- p - eta g``;
* ``MOMENTUM``: ``v <- mu v + g`` (no dampening, v = 0 at first), ``p <- p - eta v``;
* ``ADAM``: ``v <- beta_1 v + (1 - beta_1) g``, ``w <- beta_2 w + (1 - beta_2) g**2``, and at update k = 1, 2, ...
  ``p <- p - eta / (1 - beta_1**k) v / (sqrt(w / (1 - beta_2**k)) + epsilon)``.

Clipping multiplies g by ``min(1, largest / (|g| + 1e-6))`` as ``torch.nn.utils.clip_grad_norm_`` does, |g| over all
that is trained.
"""

from __future__ import annotations

import math

from numba import njit

from ghostpoint.training.kernels.simd import fma, full, load, maximum, sqrt, store, unequal

__all__ = ["ADAM", "MOMENTUM", "RULES", "SETTINGS", "SGD", "clipping", "prepare", "update"]

#: names of the rules, in the order of their codes
RULES = ("sgd", "momentum", "adam")
SGD, MOMENTUM, ADAM = range(3)
#: what a kernel's ``settings`` holds; ``decay`` is mu or beta_1, and ``largest_norm`` is infinite for no clipping
SETTINGS = ("rate", "decay", "second_decay", "epsilon", "largest_norm")


@njit(inline="always")
def clipping(norm, largest):
    """The factor of the gradient."""
    return min(1.0, largest / (norm + 1e-6)) if largest < math.inf else 1.0


@njit(inline="always")
def prepare(settings, epoch):
    """Adam's ``eta / (1 - beta_1**k)`` and ``1 / sqrt(1 - beta_2**k)`` for the update at ``epoch = k - 1``."""
    k = epoch + 1.0
    return settings[0] / (1.0 - settings[1] ** k), 1.0 / math.sqrt(1.0 - settings[2] ** k)


@njit(inline="always")
def _sgd(parameters, first, second, at, g, settings, step, root):
    return fma(full(parameters, -settings[0]), g, load(parameters, at))


@njit(inline="always")
def _momentum(parameters, first, second, at, g, settings, step, root):
    v = fma(full(parameters, settings[1]), load(first, at), g)
    store(first, at, v)
    return fma(full(parameters, -settings[0]), v, load(parameters, at))


@njit(inline="always")
def _adam(parameters, first, second, at, g, settings, step, root):
    v, w = load(first, at), load(second, at)
    v = fma(full(parameters, 1.0 - settings[1]), g - v, v)
    w = fma(full(parameters, 1.0 - settings[2]) * g, g, full(parameters, settings[2]) * w)
    store(first, at, v)
    store(second, at, w)
    size = fma(sqrt(w), full(parameters, root), full(parameters, settings[3]))
    return fma(full(parameters, -step), v / size, load(parameters, at))


def _make_update(rule):
    @njit
    def update_range(parameters, gradient, first, second, start, stop, jump, settings, factor, step, root):
        changed = full(parameters, 0.0)
        clip = full(parameters, factor)
        for at in range(start, stop, jump):
            new = rule(parameters, first, second, at, clip * load(gradient, at), settings, step, root)
            changed = maximum(changed, unequal(new, load(parameters, at)))
            store(parameters, at, new)
        return changed

    return update_range


_update_sgd, _update_momentum, _update_adam = (_make_update(rule) for rule in (_sgd, _momentum, _adam))


@njit
def update(rule, parameters, gradient, first, second, start, stop, jump, settings, factor, step, root):
    """Update the vectors at ``start``, ``start + jump``, ... below ``stop``; nonzero lanes where a bit changed.

    All arrays are pointers. ``factor`` is that of :func:`clipping`, ``step`` and ``root`` are those of
    :func:`prepare`. ``first`` and ``second`` (the moments v and w) have the shape of ``parameters`` where the rule has
    them.
    """
    if rule == ADAM:
        return _update_adam(parameters, gradient, first, second, start, stop, jump, settings, factor, step, root)
    if rule == MOMENTUM:
        return _update_momentum(parameters, gradient, first, second, start, stop, jump, settings, factor, step, root)
    return _update_sgd(parameters, gradient, first, second, start, stop, jump, settings, factor, step, root)
