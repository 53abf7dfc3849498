"""Systems whose ghosts, and the order in which a trajectory passes them, are known.

A saddle-node, a series and a cycle of ghosts, and ghosts with two slow directions: the kinds of
example of D. Koch and A. Nandan, "Generalized saddle-node ghosts and their composite structures in
dynamical systems", arXiv:2604.05194 (2026). At mu > 0 every ghost is passed in ``pi / sqrt(mu a)``
at leading order in mu; at mu < 0 there is none. This file needs NumPy and SciPy alone, so that
other interpreters can load it by its path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp


class System(NamedTuple):
    """dx/dt = ``velocity(xp, x, mu)``, x (..., K), for xp NumPy or another library with its names.

    A trajectory goes from ``start`` until ``left`` is positive. It passes ghosts at ``visits``, in
    this order. Each has ``slow`` slow directions and a passage time of ``pi / sqrt(mu a)``.
    """

    velocity: Callable[..., Any]
    start: tuple[float, ...]
    left: Callable[[Any], float]
    visits: tuple[tuple[float, ...], ...]
    slow: int
    a: float

    def passage(self, mu: float) -> float:
        """``pi / sqrt(|mu| a)``."""
        return float(np.pi / np.sqrt(abs(mu) * self.a))


def _saddle_node(xp: Any, x: Any, mu: float) -> Any:
    return xp.stack([mu + x[..., 0] ** 2, -x[..., 1]], -1)


def _series(xp: Any, x: Any, mu: float) -> Any:
    return xp.stack([mu + xp.sin(x[..., 0]) ** 2, xp.sin(x[..., 0]) - x[..., 1]], -1)


def _cycle(xp: Any, x: Any, mu: float) -> Any:
    # on the unit circle the angle t obeys dt/dt = mu + 1 - cos(3 t)
    inward = 1 - x[..., 0] ** 2 - x[..., 1] ** 2
    turn = mu + 1 - (x[..., 0] ** 3 - 3 * x[..., 0] * x[..., 1] ** 2)
    return xp.stack([inward * x[..., 0] - turn * x[..., 1], inward * x[..., 1] + turn * x[..., 0]], -1)


def _two(xp: Any, x: Any, mu: float) -> Any:
    return xp.stack([mu + x[..., 0] ** 2, mu + x[..., 1] ** 2, -x[..., 2]], -1)


def _coupled(xp: Any, x: Any, mu: float) -> Any:
    # along x_0 = x_1 the flow is mu + x**2 / 2
    both = 0.5 * x[..., 0] * x[..., 1]
    return xp.stack([mu + x[..., 0] ** 2 - both, mu + x[..., 1] ** 2 - both, -x[..., 2]], -1)


_CORNERS = tuple((float(np.cos(t)), float(np.sin(t))) for t in 2 * np.pi / 3 * np.arange(3))
_IN_A_ROW = tuple((np.pi * k, 0.0) for k in range(3))
SYSTEMS: dict[str, System] = {
    "saddle-node": System(_saddle_node, (-1.0, 1.0), lambda x: x[0] - 1, ((0.0, 0.0),), 1, 1.0),
    "series of three": System(_series, (-1.5, 1.0), lambda x: x[0] - 7.5, _IN_A_ROW, 1, 1.0),
    "cycle of three": System(
        _cycle, (float(np.cos(-1.0)), float(np.sin(-1.0))), lambda x: -1.0, (*_CORNERS, *_CORNERS, _CORNERS[0]), 1, 4.5
    ),
    "two slow directions": System(_two, (-1.0, -1.0, 1.0), lambda x: max(x[0], x[1]) - 1, ((0.0, 0.0, 0.0),), 2, 1.0),
    "two slow, coupled": System(_coupled, (-1.0, -0.9, 1.0), lambda x: max(x[0], x[1]) - 1, ((0.0, 0.0, 0.0),), 2, 0.5),
}


def trajectory(system: System, mu: float, samples: int) -> tuple[NDArray[np.float64], float]:
    """Evenly spaced samples (samples, K) of the trajectory, and their spacing.

    For mu < 0 it comes to rest, and lasts ten times ``pi / sqrt(|mu| a)``.
    """
    around = len(set(system.visits)) < len(system.visits)
    passages = len(system.visits) if around and mu > 0 else 10
    options: dict[str, Any] = {"method": "LSODA", "rtol": 1e-10, "atol": 1e-14, "dense_output": True}

    def slope(_: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(system.velocity(np, x, mu))

    def event(_: float, x: NDArray[np.float64]) -> float:
        return system.left(x)

    event.terminal = True  # type: ignore[attr-defined]
    limit = passages * system.passage(mu) + (20 if around else 100)
    found = solve_ivp(slope, (0.0, limit), np.array(system.start), events=event, **options)
    end = float(found.t[-1])
    if around and mu > 0:  # a radian beyond the last ghost
        angle = np.unwrap(np.arctan2(found.y[1], found.y[0]))
        end = float(found.t[np.flatnonzero(angle < 2 * np.pi / 3 * (len(system.visits) - 1) + 1.0)[-1]])
    t = np.linspace(0.0, end, samples)
    return np.ascontiguousarray(found.sol(t).T), float(t[1])


class Score(NamedTuple):
    """Visits found in the known order, missed and wrong; for how many the dimension is right."""

    found: int
    missed: int
    wrong: int
    right_dimension: int


#: distance from a ghost up to which a reported one is that ghost
NEAR = 0.2


def score(
    system: System, mu: float, positions: NDArray[np.float64], dimensions: NDArray[np.int64]
) -> tuple[Score, list[int]]:
    """Compare reported passages, positions (V, K) and dimensions (V,), with those that there are;
    and the rows that are found.
    """
    wanted = list(system.visits) if mu > 0 else []
    rows, wrong, next_ = list[int](), 0, 0
    for row, position in enumerate(positions):
        # the next place in the known order at which it could be
        places = [k for k in range(next_, len(wanted)) if np.linalg.norm(np.subtract(wanted[k], position)) < NEAR]
        if places:
            rows.append(row)
            next_ = places[0] + 1
        else:
            wrong += 1
    right = int(sum(dimensions[row] == system.slow for row in rows))
    return Score(len(rows), len(wanted) - len(rows), wrong, right), rows
