"""Update rules with the semantics of ``torch.optim``, one vector at a time.

With the gradient g (after clipping) and the rate eta:

* ``SGD``: ``p <- p - eta g``;
* ``MOMENTUM``: ``v <- mu v + g`` (no dampening, v = 0 at first), ``p <- p - eta v``;
* ``ADAM`` (Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015):
  ``v <- beta_1 v + (1 - beta_1) g``, ``w <- beta_2 w + (1 - beta_2) g**2``, and at update k = 1, 2,
  ... ``p <- p - eta / (1 - beta_1**k) v / (sqrt(w / (1 - beta_2**k)) + epsilon)``.

Clipping multiplies g by ``min(1, largest / (|g| + 1e-6))`` as ``torch.nn.utils.clip_grad_norm_``
does,
|g| over all that is trained.

A rule gives a direction q, of which ``p`` becomes ``p - by q``. :func:`update` does both in one
pass; with :func:`direct` and :func:`apply` a remedy can change q in between. What is trained is a
list of *segments* (int64): one is the vectors at ``start``, ``start + jump``, ... below ``stop``,
such as a column of a matrix in panels; ``updates`` says what else a segment holds.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from numba import njit

from ghostpoint.numerics.compiled_code import distinct
from ghostpoint.numerics.simd import fma, full, lanes, load, maximum, not_inlined, sqrt, store, unequal

#: names of the rules, in the order of their codes
RULES = ("sgd", "momentum", "adam")
SGD, MOMENTUM, ADAM = range(3)
#: what a kernel's ``settings`` holds; ``decay`` is mu or beta_1, and ``largest_norm`` is infinite
#: for no clipping
SETTINGS = ("rate", "decay", "second_decay", "epsilon", "largest_norm")
#: numbers of a segment
SEGMENT = 5


class Vectors(NamedTuple):
    """Pointers to parameters p, their gradient g, the moments v and w, the direction q and
    crossings' gradients.
    """

    parameters: Any
    gradient: Any
    first: Any
    second: Any
    direction: Any
    slopes: Any


class Step(NamedTuple):
    """The scalars of one update: the factor of the gradient, ``by``, and the rule's numbers."""

    factor: float
    by: float
    root: float
    decay: float
    second_decay: float
    epsilon: float


@njit(inline="always")
def clipping(norm, largest):
    """The factor of the gradient."""
    return min(1.0, largest / (norm + 1e-6)) if largest < math.inf else 1.0


@njit(inline="always")
def step_of(rule, factor, epoch):
    """The scalars of the update at ``epoch = k - 1``, Adam's ``1 / sqrt(1 - beta_2**k)`` among
    them.
    """
    settings = rule.settings
    by, root = settings[0], 0.0
    if rule.code == ADAM:
        k = epoch + 1.0
        by, root = settings[0] / (1.0 - settings[1] ** k), 1.0 / math.sqrt(1.0 - settings[2] ** k)
    return Step(factor, by, root, settings[1], settings[2], settings[3])


@njit(inline="always")
def _sgd(first, second, at, g, step):
    return g


@njit(inline="always")
def _momentum(first, second, at, g, step):
    # v <- mu v + g
    v = fma(full(g, step.decay), load(first, at), g)
    store(first, at, v)
    return v


@njit(inline="always")
def _adam(first, second, at, g, step):
    v, w = load(first, at), load(second, at)
    # v <- v + (1 - beta_1) (g - v)
    v = fma(full(g, 1.0 - step.decay), g - v, v)
    # w <- beta_2 w + (1 - beta_2) g**2
    w = fma(full(g, 1.0 - step.second_decay) * g, g, full(g, step.second_decay) * w)
    store(first, at, v)
    store(second, at, w)
    # v / (sqrt(w / (1 - beta_2**k)) + epsilon)
    return v / fma(sqrt(w), full(g, step.root), full(g, step.epsilon))


def _make(rule):
    """The update by a rule, and its direction alone."""

    def update_by(vectors, segments, count, step):
        not_inlined()
        parameters, gradient = vectors.parameters, vectors.gradient
        changed = full(parameters, 0.0)
        clip, back = full(parameters, step.factor), full(parameters, -step.by)
        for k in range(count):
            at, stop, jump = segments[SEGMENT * k], segments[SEGMENT * k + 1], segments[SEGMENT * k + 2]
            while at < stop:
                # p <- p - by q
                q = rule(vectors.first, vectors.second, at, clip * load(gradient, at), step)
                old = load(parameters, at)
                new = fma(back, q, old)
                changed = maximum(changed, unequal(new, old))
                store(parameters, at, new)
                at += jump
        return changed

    def direction_by(vectors, segments, count, step):
        not_inlined()
        clip = full(vectors.gradient, step.factor)
        for k in range(count):
            at, stop, jump = segments[SEGMENT * k], segments[SEGMENT * k + 1], segments[SEGMENT * k + 2]
            while at < stop:
                # q alone, which a remedy may shorten before it is applied
                g = clip * load(vectors.gradient, at)
                store(vectors.direction, at, rule(vectors.first, vectors.second, at, g, step))
                at += jump

    return tuple(njit(distinct(function, rule.py_func.__name__)) for function in (update_by, direction_by))


(_update_sgd, _direct_sgd), (_update_momentum, _direct_momentum), (_update_adam, _direct_adam) = (
    _make(rule) for rule in (_sgd, _momentum, _adam)
)


@njit
def update(rule, vectors, segments, count, step):
    """``p <- p - by q`` for what is trained; nonzero lanes where a bit changed."""
    if rule == ADAM:
        return _update_adam(vectors, segments, count, step)
    if rule == MOMENTUM:
        return _update_momentum(vectors, segments, count, step)
    return _update_sgd(vectors, segments, count, step)


@njit
def direct(rule, vectors, segments, count, step):
    """The directions q and the moments; :func:`apply` with ``step.by`` then does what
    :func:`update` does.
    """
    if rule == ADAM:
        _direct_adam(vectors, segments, count, step)
    elif rule == MOMENTUM:
        _direct_momentum(vectors, segments, count, step)
    else:
        _direct_sgd(vectors, segments, count, step)


@njit
def apply(vectors, segments, count, by):
    """``p <- p - by q``; nonzero lanes where a bit changed."""
    not_inlined()
    parameters, direction = vectors.parameters, vectors.direction
    changed, back = full(parameters, 0.0), full(parameters, -by)
    for k in range(count):
        at, stop, jump = segments[SEGMENT * k], segments[SEGMENT * k + 1], segments[SEGMENT * k + 2]
        while at < stop:
            old = load(parameters, at)
            new = fma(back, load(direction, at), old)
            changed = maximum(changed, unequal(new, old))
            store(parameters, at, new)
            at += jump
    return changed


@njit
def blend(vectors, size, factor, seen, row, at, count, by):
    """``q <- factor q - sum_i (weight_i / by) e_i``, so that ``by q`` is the update that
    ``trust.split`` wants.

    e_i is at ``slopes[i size]``, its weight at ``seen[i row + at]``.
    """
    not_inlined()
    direction, slopes = vectors.direction, vectors.slopes
    width, scaling = lanes(direction), full(direction, factor)
    # what every direction keeps
    for k in range(0, size, width):
        store(direction, k, scaling * load(direction, k))
    for i in range(count):
        # the part along the gradient e_i of a crossing
        weight = seen[i * row + at]
        if weight != 0:
            back = full(direction, -weight / by)
            for k in range(0, size, width):
                store(direction, k, fma(back, load(slopes, i * size + k), load(direction, k)))
