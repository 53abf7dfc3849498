"""The trust region and the hazard limit of the CUDA kernels: the rules of ``kernels/trust.py``,
from the same source, and what becomes of an update by them.

A kernel that acts gets the gradients e of the crossings beside that of the loss, g. With the
optimiser's direction q, of which the update is ``by q`` (``by`` is negative), it takes the products
``g . q``, ``q . q``, ``e . g``, ``e . q`` and ``e . e``, asks :func:`restrainer`'s function, and
puts ``most q + sum_i weight_i / by e_i`` in the place of q.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any

import numpy as np

from ghostpoint.training.cuda.kernels.lanes import device, load
from ghostpoint.training.cuda.kernels.rules import finite
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels import trust
from ghostpoint.training.kernels.trust import ALONG, GRAM, HAZARD, WEIGHT

#: what :func:`restrainer`'s function writes down for all threads of a network
MOST, SCALE, TOUCHED = range(3)
MADE = 3


@device
def nothing():
    """In place of what the compiled kernels tell their own compiler."""


def from_compiled(function: Any) -> Any:
    """A compiled kernel's function for the device; what it calls is taken over likewise."""
    python = function.py_func
    known = dict(python.__globals__)
    for name in python.__code__.co_names:
        if hasattr(known.get(name), "py_func"):
            known[name] = from_compiled(known[name])
        elif name == "not_inlined":
            known[name] = nothing
    return device(FunctionType(python.__code__, known, python.__name__, python.__defaults__))


measure, split, allowed, hazard = map(from_compiled, (trust.measure, trust.split, trust.allowed, trust.hazard))


def restrainer(spec: Specification) -> Any:
    """``f(watch, found, made, loss, norm, length, ascending)`` of one thread: fills ``made``.

    ``found`` are the network's rows of ``trust.SEEN`` with products, whose weights are filled in;
    ``norm`` and ``length`` are |g| and |by q|; ``ascending`` is whether the update raises the loss.
    """
    splits, watched, row = spec.splits, spec.watched, trust.row_size(spec.watched)

    @device
    def restrain(watch, found, made, loss, norm, length, ascending):
        if splits:
            most, scale, touched = split(watch.region, watch.crossings, found, row, loss, norm, length, ascending)
        else:
            scale = np.inf if watched else 1.0
            for i in range(watched):
                mine = found[i * row : (i + 1) * row]
                mine[WEIGHT] = 0.0
                slope, delay = math.sqrt(mine[GRAM + i]), watch.crossings[i, 4]
                scale = min(
                    scale, allowed(watch.region, mine, delay, loss, slope, length, mine[ALONG], ascending)
                )  # fmt: skip
            if watch.region[HAZARD] < np.inf:
                scale = min(scale, hazard(watch.region, norm, length))
            most, touched = scale, scale != 1
        made[MOST], made[SCALE], made[TOUCHED] = most, scale, 1.0 if touched else 0.0

    return restrain


def gram_share(real: Any, count: int, stride: int) -> Any:
    """``f(work, at, other)``: the thread's share of ``e_i . e_j``, whose numbers lie ``stride``
    apart from ``at`` and ``other`` on, over ``count`` places.
    """
    zero = real(0)

    @device
    def share(work, at, other):
        product = zero
        for k in range(0, count, stride):
            product += load(work, at + k) * load(work, other + k)
        return product

    return share


def judged_bad(real: Any) -> Any:
    """``f(bad, scale, length)``: whether the update that is made is not finite."""

    @device
    def judged(bad, scale, length):
        far = real(scale * length)
        return bad or not finite(far * far)

    return judged
