"""The trust region and the hazard limit inside a kernel: the rules of ``ghostpoint.remedies``, on
scalars.

``crossings`` (C, 5) holds trial, output, start, stop and delay of the crossings that are looked at;
``marks`` (C, 2) their logit and sign; ``region`` the numbers :data:`REGION`. Everything here is
float64.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ghostpoint.numerics.simd import not_inlined
from ghostpoint.remedies.rules import CRITICAL_SHIFT, DEPENDENT, RESOLVED

#: what ``region`` holds; without a hazard limit it is infinite
REGION = ("h", "eta", "shrink", "tilt", "brake", "floor", "growth", "hazard", "chance_loss", "split", "polyak")
H, ETA, SHRINK, TILT, BRAKE, FLOOR, GROWTH, HAZARD, CHANCE_LOSS, SPLIT, POLYAK = range(len(REGION))
#: what is kept about a crossing: whether it happens, when, the peak, two readings and the
#: derivatives by their logits; of its gradient e the products with the update and with the loss's
#: gradient, the two coordinates of these along what e adds to the span, and what e is multiplied
#: by. After them come the products with the gradients of the crossings (those up to this one) and
#: e's row of the Cholesky factor.
SEEN = (
    "crossed", "time", "peak", "first", "by_first", "second", "by_second",
    "along", "by_loss", "of_update", "of_loss", "weight",
)  # fmt: skip
CROSSED, ALONG, BY_LOSS, WEIGHT = 0, 7, 8, 11
OF_UPDATE, OF_LOSS, GRAM = 9, 10, len(SEEN)


def row_size(crossings: int) -> int:
    """The numbers that are kept about each of so many crossings."""
    return len(SEEN) + 2 * crossings


@njit(inline="always")
def acts(crossings, region):
    """Whether there is anything to do."""
    return crossings.shape[0] > 0 or region[HAZARD] < math.inf


@njit(inline="always")
def splits(crossings, region):
    """Whether updates are split."""
    return crossings.shape[0] > 0 and region[SPLIT] > 0


@njit
def measure(crossings, marks, i, first, z, padded, trials, seen):
    """Fill ``seen`` for crossing i from the logits
    (``z[output padded + step trials + trial - first]``).

    As ``Crossing.measure``: the first reading j with ``g[j] <= 0 < g[j+1]`` gives the time
    ``j + 1 + g[j] / (g[j] - g[j+1])`` in readings of the window; without one, the first largest g
    is the peak.
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

    ``slope`` and ``length`` are the norms of the crossing's gradient and of the update, ``along``
    their inner product; ``uphill`` says whether the update raises the loss.
    """
    not_inlined()
    loss, slope, length, along = np.float64(loss), np.float64(slope), np.float64(length), np.float64(along)
    size = slope * length
    prediction = max(abs(along), region[TILT] * size) if seen[CROSSED] > 0 else size
    return _scale(prediction, _limit(region, seen, 0, delay, loss, uphill), region[GROWTH])


@njit(inline="always")
def _limit(region, seen, at, delay, loss, uphill):
    """How far the time or peak of the crossing at ``seen[at:]`` may move; an infinite loss leaves
    the share at h.
    """
    if seen[at + CROSSED] > 0:
        share, most = region[SHRINK] * (loss / region[CHANCE_LOSS]), region[H]
        share = share if share < most else most  # an infinite shrink at no loss leaves h
        limit = share * CRITICAL_SHIFT * min(float(delay), seen[at + 1])
    else:
        limit = region[ETA] * max(-seen[at + 2], region[FLOOR])
    return region[BRAKE] * limit if uphill else limit


@njit
def split(region, crossings, seen, row, loss, norm, length, uphill):
    """What a region that splits makes of an update d: ``factor d + sum_i weight_i e_i``; see
    ``remedies.acting``.

    Parameters
    ----------
    seen : pointer
        Rows of ``row`` numbers; :data:`SEEN` up to ``by_loss`` and the inner products must be
        there, the rest is filled.
    loss, norm, length
        L, the norms of its gradient and of d.

    Returns
    -------
    factor, scale : float
        ``scale`` is the length of what comes out over that of d, exactly ``factor`` where every
        weight is 0.
    touched : bool
        Whether anything is changed.
    """
    not_inlined()
    loss, norm, length = np.float64(loss), np.float64(norm), np.float64(length)
    count = crossings.shape[0]
    lower = GRAM + count
    inside, loss_inside = 0.0, 0.0
    # Cholesky's factor of the Gram matrix of the crossing times' unit gradients, and with it d and
    # grad L in an orthonormal basis of their span (Gram and Schmidt)
    for i in range(count):
        mine = i * row
        square = seen[mine + GRAM + i]
        usable = seen[mine + CROSSED] > 0 and square > 0 and square < math.inf
        size = math.sqrt(square) if usable else 1.0
        of_update, of_loss, pivot = seen[mine + ALONG] / size, seen[mine + BY_LOSS] / size, 1.0
        for j in range(i):
            other = j * row
            inner = 0.0
            if usable and seen[other + lower + j] > 0:
                inner = seen[mine + GRAM + j] / (size * math.sqrt(seen[other + GRAM + j]))
                for k in range(j):
                    inner -= seen[mine + lower + k] * seen[other + lower + k]
                inner /= seen[other + lower + j]
            seen[mine + lower + j] = inner
            pivot -= inner * inner
            of_update -= inner * seen[other + OF_UPDATE]
            of_loss -= inner * seen[other + OF_LOSS]
        kept = usable and pivot > DEPENDENT
        root = math.sqrt(pivot) if kept else 0.0
        seen[mine + lower + i] = root
        seen[mine + OF_UPDATE] = of_update / root if kept else 0.0
        seen[mine + OF_LOSS] = of_loss / root if kept else 0.0
        inside += seen[mine + OF_UPDATE] ** 2
        loss_inside += seen[mine + OF_LOSS] ** 2
    # the parts of d and of grad L across the span, by Pythagoras
    aside = math.sqrt(max(length * length - inside, RESOLVED * length * length))
    slope_aside = math.sqrt(max(norm * norm - loss_inside, 0.0))
    # rest: the largest factor for the part across the span; along: for the part within it
    rest, along = region[GROWTH], math.inf
    if region[POLYAK] < math.inf:
        rest = min(rest, _allowed(slope_aside * aside, region[POLYAK] * loss, region[GROWTH]))
    if region[HAZARD] < math.inf:
        rest = min(rest, hazard(region, norm, length))
    for i in range(count):
        found = i * row
        slope, delay = math.sqrt(seen[found + GRAM + i]), crossings[i, 4]
        crossed = seen[found + CROSSED] > 0
        size = region[TILT] * slope * aside if crossed else slope * length
        rest = min(rest, _allowed(size, _limit(region, seen, found, delay, math.inf, uphill), region[GROWTH]))
        if crossed:
            limit = _limit(region, seen, found, delay, loss, uphill)
            along = min(along, _allowed(abs(seen[found + ALONG]), limit, region[GROWTH]))
    if not (length > 0 and rest < math.inf):  # what nothing limits is left alone
        rest = 1.0
    along = min(along, rest)
    weighted = False
    # the weights of the gradients that make up the part of d in the span, by back substitution
    for step in range(count):
        i = count - 1 - step
        mine = i * row
        root, weight = seen[mine + lower + i], 0.0
        if root > 0:
            weight = seen[mine + OF_UPDATE]
            for j in range(i + 1, count):
                weight -= seen[j * row + lower + i] * seen[j * row + WEIGHT]
            weight /= root
        seen[mine + WEIGHT] = weight  # of the unit vector
    for i in range(count):
        mine = i * row
        usable = seen[mine + lower + i] > 0 and along != rest
        seen[mine + WEIGHT] *= (along - rest) / math.sqrt(seen[mine + GRAM + i]) if usable else 0.0
        weighted = weighted or seen[mine + WEIGHT] != 0
    # |factor d + sum_i weight_i e_i| / |d|, of the two orthogonal parts
    scale = rest
    if weighted:
        part = inside / (length * length)
        scale = math.sqrt(along * along * part + rest * rest * max(1.0 - part, 0.0))
    return rest, scale, weighted or rest != 1


@njit
def hazard(region, norm, length):
    """The factor that the hazard limit allows, from the norms of the gradient and of the update."""
    not_inlined()
    return _scale(norm * length / (CRITICAL_SHIFT * region[CHANCE_LOSS]), region[HAZARD], 1.0)


@njit(inline="always")
def _allowed(prediction, limit, growth):
    """:func:`_scale` for one of several limits: what predicts no move at all allows ``growth``."""
    return growth if prediction == 0 else _scale(prediction, limit, growth)


@njit(inline="always")
def _scale(prediction, limit, growth):
    """``min(growth, limit / prediction)``; 1 where the prediction is not positive or anything is
    NaN.
    """
    if not prediction > 0:
        return 1.0
    most = limit / prediction
    if math.isnan(most):
        return 1.0
    return most if most < growth else growth
