"""What is proven of a network of rank one to three before any search: all zeros; for rank one all
ghosts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import NetworkField
from ghostpoint.slow_points.ghosts import is_minimum, solve_ghost
from ghostpoint.slow_points.latents.rank_one import flow_ghosts
from ghostpoint.slow_points.latents.rank_one_records import FlowGhosts
from ghostpoint.slow_points.latents.zeros_in_box import latent_zeros
from ghostpoint.slow_points.proofs.certifier import Certificate
from ghostpoint.slow_points.search.candidates import Candidate


class Known(NamedTuple):
    """Candidates with their proofs, and why each list may lack points (empty: it is complete).

    ``undecided`` (U, 2, K): lower and upper ends of boxes of latents that may hold further zeros.
    """

    zeros: list[Candidate]
    ghosts: list[Candidate]
    zeros_missing: str
    ghosts_missing: str
    undecided: Floats = np.zeros((0, 2, 1))


def known_points(
    model: Any,
    network: NetworkField,
    inputs: ArrayLike | None,
    ghosts: FlowGhosts | None = None,
    row: int = 0,
    *,
    as_given: bool = True,
) -> Known:
    """All zeros and, for rank one, all ghosts of a network, by the interval searches.

    Parameters
    ----------
    model : Record
        One network of any family.
    network : NetworkField
        Its field.
    inputs : (I,), optional
        A constant input u.
    ghosts, row : FlowGhosts, int, optional
        Those of a stack of rank one that were found together, and which of its networks this is.
    as_given : bool
        Whether the field is of the form for which the family's weights stand.
    """
    form = model.tanh_form()
    if form is None or not as_given:
        name = type(model).__name__ if as_given else "network of this equation and activation"
        text = f"a {name} is searched from starts, which proves nothing about other points"
        return Known([], [], text, text)
    if form.n is None or model.rank > 3:
        text = f"a network of rank {model.rank} is searched from starts, which proves nothing about other points"
        return Known([], [], text, text)
    # all zeros in latents, by intervals
    found = latent_zeros(model, inputs=inputs)
    zeros, rank = [], model.rank
    for kappa, radius, isolation in zip(found.position, found.radius, found.isolation, strict=True):
        if network.low_rank:
            # a cube of half-width r lies in the ball of radius sqrt(K) r, and holds that of radius
            # r
            proof = Certificate("fixed", float(radius) * np.sqrt(rank) * (1 + 1e-12), float(isolation))
            zeros.append(Candidate(kappa, None, 0, proof, "interval"))
        else:
            zeros.append(Candidate(_state(network, form.m[0], kappa), None, 0))
    missing = "" if found.complete else f"{found.n_undecided} boxes of latents are undecided ({found.reason[0]})"
    if rank > 1 or not network.low_rank:
        text = f"ghosts of rank {rank} are searched from starts, without proof"
        return Known(zeros, [], missing, text, found.undecided)
    stack, row = (stacked_ghosts([network]), 0) if ghosts is None else (ghosts, row)
    return Known(zeros, *_ghosts(network, zeros, missing, stack, row), found.undecided)


def stacked_ghosts(networks: Sequence[NetworkField]) -> FlowGhosts:
    """The ghosts of networks of rank one, searched together."""
    fields = [network.tanh for network in networks]
    arrays = [(f.B[:, 0], f.A[0], f.c) for f in fields if f is not None and f.A is not None]
    return flow_ghosts(*(np.stack(part) for part in zip(*arrays, strict=True)))


def _state(network: NetworkField, m: Any, kappa: Floats) -> Floats:
    """The state ``tanh(m kappa + c)`` of a zero, where the coordinates are the state."""
    assert network.tanh is not None
    return np.asarray(np.tanh(np.asarray(m, np.float64) @ kappa + network.tanh.c))


def _ghosts(
    network: NetworkField, zeros: list[Candidate], missing: str, found: FlowGhosts, row: int
) -> tuple[list[Candidate], str, str]:
    """The ghosts of rank one with their proofs, and what is missing of zeros and ghosts."""
    tanh = network.tanh
    assert tanh is not None
    if not found.complete[row]:
        return [], missing, f"{found.n_undecided[row]} stretches of kappa are undecided"
    kept = slice(int(found.count[row]))
    ghosts = []
    for place, radius in zip(found.position[row, kept], found.radius[row, kept], strict=True):
        ghost = solve_ghost(tanh, network.metric, np.array([place]))
        distance = abs(float(ghost.kappa[0]) - place)
        if not ghost.settled or not is_minimum(tanh, network.metric, ghost) or distance > 1e-6 * (1 + abs(place)):
            return [], missing, f"the ghost at kappa = {place:.6g} is not resolved by Newton's method"
        # the nearest zero bounds the stretch without zeros; |kappa| <= sum |n| holds all of them
        empty = min((abs(float(z.kappa[0]) - ghost.kappa[0]) - z.proof.radius for z in zeros), default=np.inf)
        sure = not missing and 0 < radius + distance < empty
        proof = Certificate("ghost", float(radius + distance), empty_radius=float(empty) * (1 - 1e-12))
        ghosts.append(Candidate(ghost.kappa, ghost, 0, *((proof, "interval") if sure else ())))
    return ghosts, missing, ""


def default_starts(rank: int) -> int:
    """Starts for the ghosts of ranks two and three: 400 and 1600.

    Of the 113 ghosts that 6000 starts find in 45 random networks of rank three, 400 starts miss
    five and 1600 none.
    """
    return 400 if rank <= 2 else 1600


def latent_starts(network: NetworkField, count: int, generator: np.random.Generator) -> Floats:
    """(count, L) starts in orthonormal latents: half uniform in the box that holds every ``Q^T x``
    with ``|x_i| <= 1``.

    The others are the images ``Q^T tanh(m kappa + c)`` of such points, where slow points are more
    likely.
    """
    search, Q = network.search, network.basis
    assert Q is not None
    box = np.abs(Q).sum(axis=1)
    z = generator.uniform(-box, box, (count, search.size))
    z[::2] = search.flow(z[::2]) + z[::2]
    return z
