"""Where two fixed points meet between two epochs, and what is measured there to call it a
saddle-node.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import NetworkField
from ghostpoint.slow_points.ghosts import GhostSolution, ghost_form, null_pair, solve_ghost
from ghostpoint.slow_points.tracking.segments import Segment, ZeroCurve, rate

BESIDE = 1e-6  # of t, on either side of a fold
DEGENERATE = 1e-6  # a below this is not told from zero, as at a pitchfork


class Fold(NamedTuple):
    """A turn of a curve of fixed points at t: kappa, omega and the kernel nu of J there (K,).

    ``r_before``, ``r_after``: r of the normal form ``r + a y**2``, in the sense in which a > 0 (so
    r > 0 is a ghost and r < 0 a pair), at ``t -+ 1e-6``; NaN where the bordered system has no
    solution. ``a >= 0`` and ``rate`` dr/dt at the turn itself; both vanish at a pitchfork.
    """

    t: float
    kappa: Floats
    omega: Floats
    nu: Floats
    r_before: float
    r_after: float
    a: float
    rate: float

    @property
    def is_saddle_node(self) -> bool:
        """r changes its sign and a does not vanish: the conditions of a non-degenerate fold."""
        return bool(self.r_before * self.r_after < 0 and self.a > DEGENERATE)


def _normal_form(network: NetworkField, ghost: GhostSolution) -> tuple[float, float, float]:
    """r and a, both times the sign of a, and the sign: r > 0 for a ghost, r < 0 between two fixed
    points.
    """
    form = ghost_form(network.exact, network, ghost)
    sign = 1.0 if form.a > 0 else -1.0
    return sign * form.r, sign * form.a, sign


def measure_fold(segment: Segment, kappa: Floats, t: float) -> Fold:
    """The normal form at a turn of the curve of zeros at (kappa, t), and on both sides of it."""
    here = segment.network(t)
    omega, nu = null_pair(here.exact.jacobian(kappa[None])[0])
    omega = omega / np.sqrt(omega @ (omega if here.metric is None else here.metric @ omega))
    form = ghost_form(here.exact, here, GhostSolution(kappa, omega, 1.0, True))  # its r is 1 / (w . v)
    _, a, sign = _normal_form(here, GhostSolution(kappa, omega, 1.0, True))
    moved = float(omega @ rate(ZeroCurve(segment), kappa, t))
    # ghost_form turns v, not omega, so that w . v > 0
    sides = []
    for at in (t - BESIDE, t + BESIDE):
        network = segment.network(at)
        ghost = solve_ghost(network.exact, network.metric, kappa, omega)
        close = ghost.settled and np.linalg.norm(ghost.kappa - kappa) <= 1e-2 * (1 + np.linalg.norm(kappa))
        sides.append(_normal_form(network, ghost)[0] if close else np.nan)
    return Fold(t, kappa, omega, nu, sides[0], sides[1], a, sign * moved * form.r)
