"""The trust region and the hazard limit inside a kernel: the rules of ``ghostpoint.remedies``, on scalars.

``crossings`` (C, 5) holds trial, output, start, stop and delay of the crossings that are looked at; ``marks`` (C, 2)
their logit and sign; ``region`` the numbers :data:`REGION`. Everything here is float64.
"""

from __future__ import annotations

import math

from numba import njit

from ghostpoint.training.kernels.simd import not_inlined

__all__ = ["CROSSED", "REGION", "SEEN", "acts", "allowed", "hazard", "measure"]

#: what ``region`` holds; without a hazard limit it is infinite
REGION = ("h", "eta", "shrink", "tilt", "brake", "floor", "growth", "hazard", "chance_loss")
#: what is kept about a crossing: whether it happens, when, the peak, two readings and the derivatives by their logits
SEEN = ("crossed", "time", "peak", "first", "by_first", "second", "by_second")
CROSSED = 0
CRITICAL_SHIFT = 3.0 / 8.0


@njit(inline="always")
def acts(crossings, region):
    """Whether there is anything to do."""
    return crossings.shape[0] > 0 or region[7] < math.inf


@njit
def measure(crossings, marks, i, first, z, padded, trials, seen):
    """Fill ``seen`` for crossing i from the logits (``z[output padded + step trials + trial - first]``).

    As ``Crossing.measure``: the first reading j with ``g[j] <= 0 < g[j+1]`` gives the time
    ``j + 1 + g[j] / (g[j] - g[j+1])`` in readings of the window; without one, the first largest g is the peak.
    """
    not_inlined()
    place = crossings[i, 1] * padded + crossings[i, 0] - first
    start, stop = crossings[i, 2], crossings[i, 3]
    logit, sign = marks[i, 0], marks[i, 1]
    low = sign * (z[place + start * trials] - logit)
    peak, at = low, start
    seen[0], seen[1] = 0.0, 0.0
    for t in range(start + 1, stop):
        high = sign * (z[place + t * trials] - logit)
        if high > peak or (math.isnan(high) and not math.isnan(peak)):
            peak, at = high, t
        if low <= 0 and high > 0:
            rise = high - low
            seen[0] = 1.0
            seen[1] = t - start - low / rise
            seen[3], seen[4] = t - 1, -sign * high / rise**2
            seen[5], seen[6] = t, sign * low / rise**2
            break  # the peak is for those that do not cross
        low = high
    seen[2] = peak
    if seen[0] == 0.0:
        seen[3], seen[4] = at, sign
        seen[5], seen[6] = at, 0.0


@njit
def allowed(region, seen, delay, loss, slope, length, along, uphill):
    """The factor that one crossing allows.

    ``slope`` and ``length`` are the norms of the crossing's gradient and of the update, ``along`` their inner product;
    ``uphill`` says whether the update raises the loss.
    """
    not_inlined()
    size = slope * length
    if seen[CROSSED] > 0:
        prediction = max(abs(along), region[3] * size)
        share = min(region[0], region[2] * (loss / region[8]))
        limit = share * CRITICAL_SHIFT * min(float(delay), seen[1])
    else:
        prediction = size
        limit = region[1] * max(-seen[2], region[5])
    if uphill:
        limit = region[4] * limit
    return _scale(prediction, limit, region[6])


@njit
def hazard(region, norm, length):
    """The factor that the hazard limit allows, from the norms of the gradient and of the update."""
    not_inlined()
    return _scale(norm * length / (CRITICAL_SHIFT * region[8]), region[7], 1.0)


@njit(inline="always")
def _scale(prediction, limit, growth):
    """``min(growth, limit / prediction)``; 1 where the prediction is not positive or anything is NaN."""
    if not prediction > 0:
        return 1.0
    most = limit / prediction
    if math.isnan(most):
        return 1.0
    return most if most < growth else growth
