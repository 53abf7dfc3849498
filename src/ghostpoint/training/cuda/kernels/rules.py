"""Optimisers and events of the CUDA kernels, as ``kernels/optimizers.py`` and ``kernels/epoch.py``
define them.
"""

from __future__ import annotations

import math
from typing import Any

from ghostpoint.training.cuda.kernels.lanes import device
from ghostpoint.training.kernels.optimizers import ADAM, MOMENTUM

#: what ``numbers`` holds; the rest of an epoch's settings are arrays
NUMBERS = (
    "alpha", "tolerance", "chance_accuracy", "initial_scale", "noise", "clip_norm", "decay", "second_decay", "epsilon",
    "one_minus_decay", "one_minus_second_decay",
)  # fmt: skip


def direction(rule: int, real: Any) -> Any:
    """``f(g, first, second, w, at, moving, root)``: q, of which ``p`` becomes ``p - by q``.

    The moments of network w at ``at`` are changed. ``moving`` is ``numbers`` from "decay" on,
    ``root`` Adam's ``1 / sqrt(1 - beta_2**k)``.
    """
    if rule == ADAM:

        @device
        def adam(g, first, second, w, at, moving, root):
            mean, square = first[w, at], second[w, at]
            mean += moving[3] * (g - mean)
            square = moving[1] * square + moving[4] * g * g
            first[w, at], second[w, at] = mean, square
            return mean / (real(math.sqrt(square)) * root + moving[2])

        return adam
    if rule == MOMENTUM:

        @device
        def momentum(g, first, second, w, at, moving, root):
            velocity = moving[0] * first[w, at] + g
            first[w, at] = velocity
            return velocity

        return momentum

    @device
    def plain(g, first, second, w, at, moving, root):
        return g

    return plain


def clip_factor(clips: bool, real: Any) -> Any:
    """``f(norm, largest)``: the factor of the gradient, ``min(1, largest / (norm + 1e-6))``."""
    one, little = real(1), real(1e-6)

    @device
    def factor(norm, largest):
        if clips:
            ratio = largest / (norm + little)
            return ratio if ratio < one else one
        return one

    return factor


@device
def finite(x):
    """Neither NaN nor infinite."""
    return x - x == 0
