"""The flow and the Euler map that moves a network: same points, different stability and passage
times.

The map is ``x <- x + alpha F(x)``, alpha = dt / tau (Dinc et al., arXiv:2501.02378, eq. 17). It has
the same zeros as the flow, with eigenvalues ``1 + alpha lambda``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.theory import NormalForm


def map_eigenvalues(eigenvalues: ArrayLike, alpha: float) -> NDArray[Any]:
    """``1 + alpha lambda``, of the Euler map from those of the flow."""
    step = checks.number("alpha", alpha, above=0.0)
    return np.asarray(1.0 + step * np.asarray(eigenvalues))


def time_constants(eigenvalues: ArrayLike) -> Floats:
    """``-1 / Re lambda`` of the flow, in units of tau: positive where it decays, negative where it
    grows.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(-1.0 / np.real(np.asarray(eigenvalues)))


def map_time_constants(eigenvalues: ArrayLike, alpha: float) -> Floats:
    """``-1 / log|1 + alpha lambda|`` of the Euler map, in steps; from the flow's eigenvalues."""
    with np.errstate(divide="ignore"):
        return np.asarray(-1.0 / np.log(np.abs(map_eigenvalues(eigenvalues, alpha))))


def passage_steps(r: float, a: float, alpha: float, y0: float, y1: float) -> float:
    """Steps that the map ``y <- y + alpha (r + a y**2)`` takes from y0 to y1, for a passage (r, a >
    0).

    With ``z = y sqrt(a / r)`` and ``eps = alpha sqrt(r a)`` the map is ``z + eps g(z)``, g = 1 +
    z**2. It follows exactly (as a series in eps) the flow ``g - (eps/2) g g' + eps**2 (g**2 g''/12
    + g g'**2/3) - ...``, so it takes

        (atan z1 - atan z0) / eps + (1/2) log(g(z1) / g(z0))
            - (eps/12) (6 (z1 - z0) - 4 (atan z1 - atan z0)) + O(eps**2 (z1**2 + z0**2))

    steps: the time of the flow, a correction of O(1) that vanishes between -y and y, and a small
    one. Good while ``eps |z| = alpha a |y|`` is small, that is where a step is short against the
    distance over which the flow changes; limits are therefore finite.

    Parameters
    ----------
    r, a : float
        Of the normal form, time in units of tau; both positive.
    alpha : float
        dt / tau.
    y0, y1 : float
        ``y0 < y1``, with ``alpha a max(|y0|, |y1|)`` at most 1/2.

    Returns
    -------
    float
        Steps, interpolated between whole ones.

    Raises
    ------
    ValueError
        Where a number is out of its range.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> round(gp.slow_points.passage_steps(r=1e-4, a=1.0, alpha=0.1, y0=-0.05, y1=0.05))
    2747
    """
    r, a = checks.number("r", r, above=0.0), checks.number("a", a, above=0.0)
    alpha = checks.number("alpha", alpha, above=0.0)
    y0, y1 = checks.number("y0", y0), checks.number("y1", y1)
    far = alpha * a * max(abs(y0), abs(y1))
    if far > 0.5:
        raise InputError(f"y0 and y1 must have alpha a |y| at most 0.5, got {far:.3g} for y0 = {y0:g}, y1 = {y1:g}")
    flow = NormalForm(r, a).escape_time(y0, y1)
    first = 0.5 * math.log((r + a * y1 * y1) / (r + a * y0 * y0))
    second = -(alpha / 12) * (6 * a * (y1 - y0) - 4 * r * a * flow)
    return flow / alpha + first + second
