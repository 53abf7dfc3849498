"""Whether a drop follows a wait: the record against the best course that only slows down.

A loss that learns gradually falls fastest at first: its course is convex and never rises, whatever
its law (a line, an exponential, a power law and sums of them are). A plateau with a drop at its end
is not. Noise can look like one, and more so where it is larger at the top of the course. So a drop
counts only if the record is much less likely under the likeliest convex course.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ghostpoint.diagnosis.segments import Course
from ghostpoint.diagnosis.series import memory_of, noise_by_level, unseen

__all__ = ["CRITERION", "convex_fit", "support_of"]

Floats = NDArray[np.float64]
#: support above which a drop follows a wait: the Bayesian information criterion for the three
#: parameters of one more piece
CRITERION = 3.0
#: points up to which noise is also found by the level: windows of longer records follow it
SHORT = 1000


def support_of(values: Floats, course: Course, logarithmic: bool, first: int, last: int) -> float:
    """How much the record supports the course of bins ``first`` to ``last`` against every one that
    only slows down.

    Parameters
    ----------
    values : array (n,)
        The losses of the record, on a linear scale.
    course : Course of M bins
        On a linear or, if ``logarithmic``, on a logarithmic scale.
    first, last : int
        The bins from the beginning of the plateau to the end of what follows the drop.

    Returns
    -------
    float
        ``sum_b ((y_b - c(t_b)) / s_b)**2 - sum_b ((y_b - f(t_b)) / s_b)**2`` over log(M), with the
        fit f of the course and the c of :func:`convex_fit`: twice the logarithm of the ratio of
        their likelihoods. s is the course's error, or of short records that by ``noise_by_level``
        where it is larger.
    """
    error = course.error
    if len(values) <= SHORT:
        count = np.diff(course.edges)
        fit = np.repeat(course.fit, count)
        # on a logarithmic scale the noise that does not grow with the level is as one over it
        noise = noise_by_level(np.log(values), np.exp(-fit)) if logarithmic else noise_by_level(values, fit)
        noise = np.add.reduceat(noise, course.edges[:-1]) / count
        noise = noise * unseen(memory_of(values))
        # standard error of the median of a bin, as in segments
        error = np.maximum(error, np.where(count > 2, 1.25, 1.0) * noise / np.sqrt(count))
    here = slice(first, last + 1)
    t, y, s = course.epoch[here], course.value[here], error[here]
    slows = float((((y - convex_fit(t, y, s)) / s) ** 2).sum())
    waits = float((((y - course.fit[here]) / s) ** 2).sum())
    return (slows - waits) / float(np.log(max(len(course.fit), 3)))


def convex_fit(t: Floats, y: Floats, s: Floats) -> Floats:
    """The convex c that never rises and minimises ``sum_i ((y_i - c(t_i)) / s_i)**2``, at t (m,).

    It is a constant and hinges ``w_j max(t_j - t, 0)`` with w_j >= 0 (non-negative least squares).
    """
    x = (t - t[0]) / max(float(t[-1] - t[0]), 1e-300)
    hinges = np.maximum(x[None, 1:] - x[:, None], 0.0)
    unit = max(float(np.ptp(y)), float(s.max()), 1e-300)
    base = float(y.min()) - 10 * unit  # below any such c: the constant may not be negative either
    scaled = s / unit
    basis = np.concatenate([hinges, np.ones((len(x), 1))], axis=1) / scaled[:, None]
    weights, _ = nnls(basis, (y - base) / unit / scaled, maxiter=30 * basis.shape[1])
    return np.asarray(base + unit * scaled * (basis @ weights))
