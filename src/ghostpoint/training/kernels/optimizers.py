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

from ghostpoint.numerics.compiled_code import distinct
from ghostpoint.numerics.simd import fma, full, lanes, load, maximum, not_inlined, sqrt, store, unequal

__all__ = [
    "ADAM",
    "APPLY",
    "DIRECT",
    "MOMENTUM",
    "RULES",
    "SETTINGS",
    "SGD",
    "UPDATE",
    "apply",
    "blend",
    "clipping",
    "direct",
    "length",
    "prepare",
    "update",
]

#: names of the rules, in the order of their codes
RULES = ("sgd", "momentum", "adam")
SGD, MOMENTUM, ADAM = range(3)
#: what is done with a gradient: change the parameters, find the direction alone, change them by a direction found
UPDATE, DIRECT, APPLY = range(3)
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


# A rule is a direction q, of which ``p`` becomes ``p - by q``: by is eta, for Adam ``step``.


@njit(inline="always")
def _sgd(first, second, at, g, settings, root):
    return g


@njit(inline="always")
def _momentum(first, second, at, g, settings, root):
    v = fma(full(g, settings[1]), load(first, at), g)
    store(first, at, v)
    return v


@njit(inline="always")
def _adam(first, second, at, g, settings, root):
    v, w = load(first, at), load(second, at)
    v = fma(full(g, 1.0 - settings[1]), g - v, v)
    w = fma(full(g, 1.0 - settings[2]) * g, g, full(g, settings[2]) * w)
    store(first, at, v)
    store(second, at, w)
    return v / fma(sqrt(w), full(g, root), full(g, settings[3]))


def _make_update(rule):
    def update_range(parameters, gradient, first, second, start, stop, jump, settings, factor, by, root):
        changed = full(parameters, 0.0)
        clip, back = full(parameters, factor), full(parameters, -by)
        for at in range(start, stop, jump):
            q = rule(first, second, at, clip * load(gradient, at), settings, root)
            new = fma(back, q, load(parameters, at))
            changed = maximum(changed, unequal(new, load(parameters, at)))
            store(parameters, at, new)
        return changed

    return njit(distinct(update_range, rule.py_func.__name__))


def _make_direction(rule):
    def direct_range(direction, gradient, first, second, start, stop, jump, settings, factor, root):
        clip = full(direction, factor)
        for at in range(start, stop, jump):
            store(direction, at, rule(first, second, at, clip * load(gradient, at), settings, root))

    return njit(distinct(direct_range, rule.py_func.__name__))


_update_sgd, _update_momentum, _update_adam = (_make_update(rule) for rule in (_sgd, _momentum, _adam))
_direct_sgd, _direct_momentum, _direct_adam = (_make_direction(rule) for rule in (_sgd, _momentum, _adam))


@njit(inline="always")
def length(rule, settings, step):
    """``by``: what a direction is multiplied by."""
    return step if rule == ADAM else settings[0]


@njit
def update(rule, parameters, gradient, first, second, start, stop, jump, settings, factor, step, root):
    """Update the vectors at ``start``, ``start + jump``, ... below ``stop``; nonzero lanes where a bit changed.

    All arrays are pointers. ``factor`` is that of :func:`clipping`, ``step`` and ``root`` are those of
    :func:`prepare`. ``first`` and ``second`` (the moments v and w) have the shape of ``parameters`` where the rule has
    them.
    """
    by = length(rule, settings, step)
    if rule == ADAM:
        return _update_adam(parameters, gradient, first, second, start, stop, jump, settings, factor, by, root)
    if rule == MOMENTUM:
        return _update_momentum(parameters, gradient, first, second, start, stop, jump, settings, factor, by, root)
    return _update_sgd(parameters, gradient, first, second, start, stop, jump, settings, factor, by, root)


@njit
def direct(rule, direction, gradient, first, second, start, stop, jump, settings, factor, root):
    """The directions q and the moments; ``apply`` with ``by`` of :func:`length` then does what ``update`` does."""
    if rule == ADAM:
        _direct_adam(direction, gradient, first, second, start, stop, jump, settings, factor, root)
    elif rule == MOMENTUM:
        _direct_momentum(direction, gradient, first, second, start, stop, jump, settings, factor, root)
    else:
        _direct_sgd(direction, gradient, first, second, start, stop, jump, settings, factor, root)


@njit
def apply(parameters, direction, start, stop, jump, by):
    """``p <- p - by q``; nonzero lanes where a bit changed."""
    changed, back = full(parameters, 0.0), full(parameters, -by)
    for at in range(start, stop, jump):
        new = fma(back, load(direction, at), load(parameters, at))
        changed = maximum(changed, unequal(new, load(parameters, at)))
        store(parameters, at, new)
    return changed


@njit
def blend(direction, size, slopes, factor, seen, row, at, count, by):
    """``q <- factor q - sum_i (weight_i / by) e_i``, so that ``by q`` is the update that ``trust.split`` wants.

    e_i is at ``slopes[i size]``, its weight at ``seen[i row + at]``. All arrays are pointers.
    """
    not_inlined()
    width, scaling = lanes(direction), full(direction, factor)
    for k in range(0, size, width):
        store(direction, k, scaling * load(direction, k))
    for i in range(count):
        weight = seen[i * row + at]
        if weight != 0:
            back = full(direction, -weight / by)
            for k in range(0, size, width):
                store(direction, k, fma(back, load(slopes, i * size + k), load(direction, k)))
