"""The stretches of one trajectory at slow points, and what each of them is: a pass, a graze, a
start, an end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.visits.local_form import LocalForm, holds

#: what a trajectory does at a slow point
WAYS = ("passes", "grazes", "starts", "ends")


class Visit(NamedTuple):
    """One stretch: the point, its first and last sample, times of them, and what it is.

    ``predicted`` is the time that the point's form takes from the first to the last state,
    ``speed`` the least |F| on the way.
    """

    point: int
    enter: float
    leave: float
    predicted: float
    speed: float
    way: str


def visits_of(forms: list[LocalForm], z: Floats, velocity: Floats, times: Floats) -> list[Visit]:
    """The visits of one trajectory, in the order of their beginnings.

    A visit of a ghost is a longest stretch of samples at which its form holds, without those at
    the two ends that another point's form describes better. A visit of a fixed point is a longest
    stretch at which its form holds and is the best one: a linearisation may hold roughly in half of
    the state space, and between two ghosts too.

    * "passes": of a ghost, the stretch goes through the section ``y = 0`` where the form is
      slowest, from y <= 0 to y >= 0. Of a fixed point, |F| has a minimum inside: the trajectory
      came nearer and went away.
    * "ends": the last sample of the trajectory is in it, of a ghost before its section.
    * "starts": of a fixed point, the first sample of the trajectory is in it, and the slowest.
    * "grazes": of a ghost, none of these. Its section is not reached, or not from its upper side,
      as by a trajectory that falls onto the slow direction behind the ghost.

    Stretches of fixed points that are none of these are left out, and grazes of one sample.

    Parameters
    ----------
    forms : list of LocalForm
        Of P points.
    z, velocity : (T, K)
        States and F there.
    times : (T,)
        In units of tau.
    """
    inside, best = holds(forms, z, velocity)
    speed = np.linalg.norm(velocity, axis=1)
    found = []
    for p, form in enumerate(forms):
        stretch = best == p if form.quadratic is None else inside[p]
        edges = np.flatnonzero(np.diff(np.concatenate([[0], stretch.astype(np.int8), [0]])))
        for first, beyond in edges.reshape(-1, 2):
            own = np.flatnonzero(best[first:beyond] == p)
            if not len(own):
                continue
            i, j = int(first + own[0]), int(first + own[-1])
            way = _way(form, z[i : j + 1], speed[i : j + 1], starts=i == 0, ends=j == len(z) - 1)
            if way == "grazes" and (i == j or form.quadratic is None):
                continue
            predicted = form.time_between(z[i], z[j])
            found.append(Visit(p, float(times[i]), float(times[j]), predicted, float(speed[i : j + 1].min()), way))
    return sorted(found, key=lambda visit: (visit.enter, visit.leave))


def _way(form: LocalForm, z: Floats, speed: Floats, *, starts: bool, ends: bool) -> str:
    """Which of :data:`WAYS` a stretch is."""
    slowest = int(speed.argmin())
    if form.quadratic is not None:
        y = form.along(z)
        through = len(y) > 1 and y.min() <= 0 <= y.max()
        return "passes" if through else "ends" if ends and y[-1] < 0 else "grazes"
    if ends:
        return "ends"
    if 0 < slowest < len(speed) - 1:
        return "passes"
    return "starts" if starts and slowest == 0 else "grazes"
