"""Zeros whose Jacobian is singular, where no proof is known: which they are, and which of them are
one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostpoint.slow_points.fields import Field
from ghostpoint.slow_points.search.candidates import Candidate

#: the share of a field's slope from which an eigenvalue counts as 0
SMALL = 1e-7
#: how far apart singular zeros may be one, and |F| between them that is rounding, of its slope
TWINS, ZERO = 1e-4, 1e-13


def slope_of(field: Field, states: NDArray[np.float64] | None, found: list[Candidate]) -> float:
    """The unit of eigenvalues of a field: how steep it is between given states and at its zeros; 1
    where neither tells.
    """
    slopes = [float(np.abs(c.eigenvalues()).max()) for c in found if c.ghost is None and c.eigenvalues is not None]
    if states is not None and len(states) > 1:
        extent = float(np.linalg.norm(np.ptp(states, axis=0)))
        change = float(np.linalg.norm(np.ptp(field.flow(states), axis=0)))
        slopes += [change / extent] if extent > 0 else []
    slope = max((one for one in slopes if np.isfinite(one)), default=0.0)
    return slope if slope > 0 else 1.0


def nearly_singular(candidate: Candidate, slope: float = 1.0) -> bool:
    """Whether a point is a zero whose Jacobian has an eigenvalue next to 0: how many zeros there
    are, if any, is then decided by rounding.
    """
    return (
        candidate.ghost is None
        and candidate.eigenvalues is not None
        and bool(np.abs(candidate.eigenvalues()).min() < SMALL * slope)
    )


def without_twins(found: list[Candidate], field: Field, slope: float) -> list[Candidate]:
    """The candidates without zeros that are one: of singular ones between which F is zero too, to
    rounding, the one of smallest |F| is left.
    """
    kept: list[Candidate] = []
    singular = [c for c in found if nearly_singular(c, slope)]
    singular.sort(key=lambda c: float(np.linalg.norm(field.flow(c.kappa[None]))))
    for one in singular:
        for other in kept:
            middle = (one.kappa + other.kappa) / 2
            near = np.linalg.norm(one.kappa - other.kappa) < TWINS * (1 + np.linalg.norm(one.kappa))
            if near and np.linalg.norm(field.flow(middle[None])) < ZERO * slope * (1 + np.linalg.norm(middle)):
                other.hits += one.hits
                break
        else:
            kept.append(one)
    left = {id(one) for one in kept}
    return [c for c in found if id(c) in left or not nearly_singular(c, slope)]
