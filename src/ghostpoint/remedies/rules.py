"""The scalar rules by which an update is scaled, and their constants. The kernels are tested
against these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: what escape takes from the minimum of the toy model's loss to the point of no return, as a share
#: of T
CRITICAL_SHIFT = 3 / 8
#: squared sine of the angle to the span of those before it below which a vector is taken to lie in
#: it
DEPENDENT = 1e-4
#: least squared share of an update's length that what is at right angles to the span is taken to
#: have: below it, it is the rounding of float32 gradients, and multiplying that up would be a
#: random walk
RESOLVED = 1e-6


def scale(prediction: Any, limit: Any, growth: float = 1.0) -> NDArray[Any]:
    """Factor of an update that keeps a prediction linear in it within its limit.

    ``min(growth, limit / prediction)`` for a positive prediction, and 1 where it is 0 or anything
    is NaN. Exactly 1 where the prediction is within the limit and ``growth`` is 1.

    Examples
    --------
    >>> scale([0.5, 2.0, 0.0], 1.0).tolist()
    [1.0, 0.5, 1.0]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        most = np.asarray(limit / np.asarray(prediction))
    known = (np.asarray(prediction) > 0) & ~np.isnan(most)
    return np.where(known, np.where(most < growth, most, growth), 1.0)


def allowed(prediction: Any, limit: Any, growth: float) -> NDArray[Any]:
    """:func:`scale` for one of several limits: what predicts no move at all allows ``growth``.

    So the factor does not jump where a prediction vanishes, or is nothing but rounding.
    """
    return np.where(np.asarray(prediction) == 0, growth, scale(prediction, limit, growth))


def clip_factor(norm: Any, limit: float) -> Any:
    """``min(1, limit / (norm + 1e-6))``, the factor of ``torch.nn.utils.clip_grad_norm_``; arrays
    or tensors.
    """
    factor = limit / (norm + 1e-6)
    return factor * (factor < 1) + (factor >= 1)
