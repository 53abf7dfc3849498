"""Candidates of a search with their proofs, each point once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.numerics.threads import mapped
from ghostpoint.slow_points.fields import Field
from ghostpoint.slow_points.proofs.certifier import Certifier
from ghostpoint.slow_points.search.candidates import MANY, SAME, Candidate

SLOW, TRIED = 64, 4  # candidates, at most, that slow certifiers are asked about; of those on a continuum


def proven(
    certifiers: dict[str, type[Certifier]],
    field: Field,
    metric: Floats | None,
    found: list[Candidate],
    on_continuum: Callable[[Floats], bool],
) -> list[Candidate]:
    """The candidates with their proofs, by the first certifier that decides; zeros that are one are
    merged.

    Those that the certifiers fit for tracking leave undecided, and that lie on a continuum, are
    left to it: slower certifiers are asked about a few of them, and about the others only if these
    decide one.

    Parameters
    ----------
    certifiers : dict
        Name to class, in the order in which they are asked.
    field, metric
        F in its coordinates, and their metric (None for the identity).
    found : list of Candidate
    on_continuum : function of kappa (K,) to bool
        Whether a point lies on a continuum of near-fixed points.
    """
    if all(candidate.proof.kind != "undecided" for candidate in found):
        return _unique(found)
    made = {name: kind(field, metric) for name, kind in certifiers.items()}
    quick = {name: each for name, each in made.items() if each.in_tracking}
    slow = {name: each for name, each in made.items() if not each.in_tracking}
    several = None if field.size >= MANY else 1
    whole = [c for some in mapped(lambda candidate: _decided(quick, candidate), found, several) for c in some]
    settled = [c for c in whole if c.proof.kind != "undecided"]
    doubtful = [c for c in whole if c.proof.kind == "undecided"]
    on = [c for c in doubtful if on_continuum(c.kappa)]
    others = [c for c in doubtful if not any(c is each for each in on)]
    tried = [c for each in on[:TRIED] for c in _decided(slow, each)]
    if any(c.proof.kind != "undecided" for c in tried):
        settled += tried
        others += on[TRIED:]
    for candidate in others[:SLOW]:
        settled += _decided(slow, candidate)
    return _unique(settled + others[SLOW:])


def _decided(certifiers: dict[str, Certifier], candidate: Candidate) -> list[Candidate]:
    """The points that the first certifier to decide makes of a candidate; itself where none
    does.
    """
    for name, certifier in certifiers.items():
        if candidate.proof.kind != "undecided":
            break
        ends = certifier.prove(candidate.kappa, candidate.ghost, candidate.proof)
        decided = ends[0].certificate.kind != "undecided"
        if decided and (len(ends) > 1 or ends[0].kappa is not candidate.kappa):
            return [Candidate(*end[:2], candidate.hits, end.certificate, name) for end in ends]
        candidate.proof, candidate.arithmetic = ends[0].certificate, name if decided else "none"
    return [candidate]


def _unique(listed: list[Candidate]) -> list[Candidate]:
    """Zeros that are not proven to be two are one, with the smaller ball; ghosts where they are at
    one place.
    """
    unique: list[Candidate] = []
    for candidate in listed:
        for i, other in enumerate(unique):
            distance = float(np.linalg.norm(candidate.kappa - other.kappa)) * (1 + 1e-12)
            if candidate.proof.kind != other.proof.kind:
                continue
            if candidate.proof.kind == "fixed":
                one, two = candidate.proof, other.proof
                # the zero in one's ball lies where the other has no second one; or the balls
                # overlap
                same = (
                    distance + one.radius < two.unique_radius
                    or distance + two.radius < one.unique_radius
                    or distance <= one.radius + two.radius
                )
            else:
                same = distance <= SAME * (1 + float(np.linalg.norm(candidate.kappa)))
            if same:
                if candidate.proof.kind == "fixed" and candidate.proof.radius < other.proof.radius:
                    unique[i], candidate, other = candidate, other, candidate
                other.hits += candidate.hits
                break
        else:
            unique.append(candidate)
    return unique
