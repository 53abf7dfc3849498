"""Stiff directions of a loss from differences of its gradient, in the space of their coefficients.

A pair is ``y = g - g_previous``, ``s = theta - theta_previous``. On a quadratic loss with Hessian H
the pairs obey ``y_j = H s_j``. Only inner products are needed here: ``gram[i, j] = y_i . y_j`` and
``cross[i, j] = s_i . y_j`` of the newer i and the older j, pairs newest first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = ["StiffParts", "conjugate_steps", "stiff_directions"]

Floats = NDArray[np.float64]

#: a direction whose share of the largest curvature is below the square of this is no new one. (At
#: 1e-3, curvatures from 1e-6 of the largest down were forgotten, and the factor of the update had
#: to stay below what they allow.)
DEPENDENT = 1e-5
#: a step that keeps less than this share of its curvature beside the newer ones says nothing new
CONJUGATE = 1e-5


@dataclass(frozen=True)
class StiffParts:
    """The stiff directions q_i at a gradient g.

    Attributes
    ----------
    combine : (S, K) array
        ``q_i = sum_j combine[i, j] y_j``.
    curvature : (S,) array
        lambda_i, all positive.
    slope : (S,) array
        ``g . q_i``.
    """

    combine: Floats
    curvature: Floats
    slope: Floats

    @property
    def gradient(self) -> Floats:
        """Coefficients (K,) in the y_j of the gradient's stiff part, ``sum_i (g . q_i) q_i``."""
        return np.asarray(self.slope @ self.combine)

    def correction(self, factor: float, along: Floats, rate: float) -> Floats:
        """Coefficients a (K,) such that ``factor d + sum_j a_j y_j`` goes down each q_i by
        ``|g . q_i| min(rate, 1 / lambda_i)``: at a rate, or Newton's step if that is shorter.

        ``along`` (S,) are the ``d . q_i``.
        """
        wanted = -self.slope * np.minimum(rate, 1 / self.curvature)
        return np.asarray((wanted - factor * along) @ self.combine)


def conjugate_steps(cross: Floats) -> tuple[Floats, Floats]:
    """Coefficients (S, K), in the steps s_j, of conjugate steps made of them, newest first, and
    ``s . H s`` of each, (S,); steps whose curvature is negative, or next to nothing beside the
    newer ones, are left out.
    """
    kept = len(cross)
    conjugate, curvatures, found = np.zeros((kept, kept)), np.zeros(kept), 0
    for i in range(kept):
        # s_i less its parts along the newer steps, in the inner product of the curvature
        one = np.eye(kept)[i]
        one = one - (conjugate[:found] @ cross[i] / curvatures[:found]) @ conjugate[:found]
        curvature = float(one @ cross @ one)
        if curvature > CONJUGATE * cross[i, i] > 0:
            conjugate[found], curvatures[found] = one, curvature
            found += 1
    return conjugate[:found], curvatures[:found]


def stiff_directions(
    gram: Floats,
    cross: Floats,
    dependent: float = DEPENDENT,
    conjugate: Callable[[Floats], tuple[Floats, Floats]] = conjugate_steps,
) -> tuple[Floats, Floats]:
    """Coefficients (S, K) of orthonormal directions q_i in the y_j, and the curvatures (S,) along
    them.

    The steps are made conjugate, newest first, with ``s_i . y_j`` of the newer i and the older j
    alone; those with a negative curvature are left out. With z_i the differences of the conjugate
    steps,

        B = sum_i z_i z_i^T / (s_i . z_i)

    is the curvature that the pairs imply together (a block form of the update of Broyden, Fletcher,
    Goldfarb and Shanno; R. B. Schnabel, "Quasi-Newton methods using multiple secant equations",
    1983). The q_i are its eigenvectors, and the curvatures its eigenvalues. Each pair's own
    curvature ``y.y / y.s`` would be that of the stiffest direction in nearly all of them.

    Parameters
    ----------
    gram, cross : (K, K) arrays
        Inner products of the pairs, newest first.
    dependent : float
        Directions below ``dependent**2`` of the largest curvature are left out.
    conjugate : callable
        :func:`conjugate_steps`, or a faster function that does the same.
    """
    steps, curvatures = conjugate(cross)
    if not len(steps):
        return np.zeros((0, len(gram))), np.zeros(0)
    # B = Z^T Z with rows z_i / sqrt(s_i . z_i): its eigenvectors from those of Z Z^T
    z = steps / np.sqrt(curvatures)[:, None]
    # (by the QR algorithm: NumPy's way starts threads for matrices of 26 rows and more, and waits)
    values, vectors = eigh(z @ gram @ z.T, driver="ev", check_finite=False)
    large: Any = values > dependent**2 * values[-1]
    values, vectors = values[large], vectors[:, large]
    return vectors.T @ z / np.sqrt(values)[:, None], values
