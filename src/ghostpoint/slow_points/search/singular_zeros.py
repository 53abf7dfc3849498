"""Zeros whose Jacobian is singular, where no proof is known: which they are, and which of them are
one.
"""

from __future__ import annotations

import numpy as np

from ghostpoint.slow_points.fields import Field
from ghostpoint.slow_points.search.candidates import Candidate

#: the eigenvalue from which a zero counts as singular
SMALL = 1e-6
#: how far apart singular zeros may be one, and |F| between them that is rounding
TWINS, ZERO = 1e-4, 1e-13


def nearly_singular(candidate: Candidate) -> bool:
    """Whether a point is a zero whose Jacobian has an eigenvalue next to 0: how many zeros there
    are, if any, is then decided by rounding.
    """
    return (
        candidate.ghost is None
        and candidate.eigenvalues is not None
        and bool(np.abs(candidate.eigenvalues()).min() < SMALL)
    )


def without_twins(found: list[Candidate], exact: Field) -> list[Candidate]:
    """The candidates without zeros that are one: of singular ones between which F is zero too, to
    rounding, the one of smallest |F| is left.
    """
    kept: list[Candidate] = []
    singular = [c for c in found if nearly_singular(c)]
    singular.sort(key=lambda c: float(np.linalg.norm(exact.flow(c.kappa[None]))))
    for one in singular:
        for other in kept:
            middle = (one.kappa + other.kappa) / 2
            near = np.linalg.norm(one.kappa - other.kappa) < TWINS * (1 + np.linalg.norm(one.kappa))
            if near and np.linalg.norm(exact.flow(middle[None])) < ZERO * (1 + np.linalg.norm(middle)):
                other.hits += one.hits
                break
        else:
            kept.append(one)
    left = {id(one) for one in kept}
    return [c for c in found if id(c) in left or not nearly_singular(c)]
