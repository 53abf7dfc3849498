"""Rings, lines and surfaces of near-fixed points: continuous attractors, each as one object.

After some 20 tau the fast directions have decayed, and states lie where the network moves slowly or
not at all. Two of them are on one continuum where the state halfway between them, left to itself
for a little, stays between them and is slow too. Between two isolated attractors it goes to one of
them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.search.starts import groups

# |F| over the extent of the states, in 1/tau, below which they are slow: 30 tau for the extent, or
# more
SLOWER = 0.03
APART = 1e-3  # distance over the extent from which two states are two
SMALLEST = 0.05  # extent, over 1 + |x|, of a continuum
SLOW_RATE = 0.2  # |eigenvalue| of the Jacobian in a slow direction, at most
FEWEST = 8  # states that make a continuum
NEIGHBOURS, STEP, STEPS, BRIEF = 6, 0.2, 25, 5  # of a state; of short simulations, 5 and 1 tau
BETWEEN = 0.95  # of their distance that the state halfway must stay within of both
SAMPLES = 160  # states, at most


class Continuum(NamedTuple):
    """States that are joined by ways on which the network hardly moves.

    Attributes
    ----------
    shape : "ring", "line" or "surface"
    dimension : int
        1 for rings and lines.
    extent : float
        Largest distance between two of its states.
    drift, largest_drift : float
        Median and largest |F| on it, in units of 1/tau. Both are 0 to rounding on a continuum of
        fixed points.
    states : (M, N)
        Samples of it.
    spacing : float
        A state within this of a sample is taken to be on it.
    fixed_points, stable : int
        Isolated fixed points on it that are listed, and how many of them are stable under the flow.
    """

    shape: str
    dimension: int
    extent: float
    drift: float
    largest_drift: float
    states: Floats
    spacing: float
    fixed_points: int = 0
    stable: int = 0

    def __str__(self) -> str:
        size = f"extent {self.extent:.3g}, |F| on it {self.drift:.2g} (largest {self.largest_drift:.2g})"
        name = self.shape if self.dimension == 1 else f"{self.shape} of {self.dimension} dimensions"
        points = f"; {self.fixed_points} isolated fixed points on it, {self.stable} of them stable"
        return f"a {name} of near-fixed points, {size}" + points * bool(self.fixed_points)

    def holds(self, x: Floats) -> NDArray[np.bool_]:
        """Whether states (B, N) lie on it, as nearly as its samples tell: within ``spacing`` of
        one."""
        squares = (self.states**2).sum(axis=1)
        away = (x**2).sum(axis=1)[:, None] + squares - 2 * x @ self.states.T
        return np.asarray(away.min(axis=1) <= self.spacing**2 + 1e-12 * squares.max())


def continua(flow: Any, jacobian: Any, states: Floats) -> list[Continuum]:
    """The continua that states (B, N), left to themselves for some 20 tau, lie on.

    Parameters
    ----------
    flow, jacobian : function of (B, N)
        F of states, and DF in any coordinates that hold the slow directions.
    """
    states = states[np.isfinite(states).all(axis=1)]
    if len(states) < FEWEST:
        return []
    extent = float(np.linalg.norm(states - states.mean(axis=0), axis=1).max())
    speed = np.linalg.norm(flow(states), axis=1)
    large = extent >= SMALLEST * (1 + float(np.linalg.norm(states.mean(axis=0))))
    slow = states[speed <= SLOWER * extent] if large else states[:0]
    slow = slow[[rows[0] for rows in groups(slow / max(extent, 1e-300), APART)]]
    if len(slow) < FEWEST:
        return []
    slow = slow[:SAMPLES]
    found = []
    for rows, between in _joined(flow, slow, SLOWER * extent):
        if len(rows) >= FEWEST:
            found.append(_described(flow, jacobian, np.concatenate([slow[rows], between])))
    return found


def _settled(flow: Any, x: Floats, steps: int = STEPS) -> Floats:
    for _ in range(steps):
        x = x + STEP * flow(x)
    return x


def _joined(flow: Any, x: Floats, limit: float) -> list[tuple[list[int], Floats]]:
    """The rows of each connected set of states, and the states between them."""
    distance = np.linalg.norm(x[:, None] - x, axis=2)
    order = np.argsort(distance, axis=1)[:, 1 : NEIGHBOURS + 1]
    # with the edges of a shortest tree, so that clusters have a way between them
    tree = [edge for edge in zip(*minimum_spanning_tree(distance).nonzero(), strict=True)]
    edges = [(i, j) for i in range(len(x)) for j in order[i]] + tree
    pairs = sorted({(min(int(i), int(j)), max(int(i), int(j))) for i, j in edges})
    first, second = (np.array([pair[k] for pair in pairs]) for k in range(2))
    middle = _settled(flow, (x[first] + x[second]) / 2)
    gap = distance[first, second]
    far = np.maximum(np.linalg.norm(middle - x[first], axis=1), np.linalg.norm(middle - x[second], axis=1))
    joined = (far <= BETWEEN * gap) & (np.linalg.norm(flow(middle), axis=1) <= limit)
    # halfway between two attractors there may be a saddle, where it is slow; then it is not slow
    # beside
    for ends in (first, second):
        beside = _settled(flow, (middle + x[ends]) / 2, BRIEF)
        joined &= np.linalg.norm(flow(beside), axis=1) <= limit
    root = list(range(len(x)))

    def top(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    for i, j in zip(first[joined], second[joined], strict=True):
        root[top(int(i))] = top(int(j))
    tops = np.array([top(i) for i in range(len(x))])
    return [(list(np.flatnonzero(tops == t)), middle[joined & (tops[first] == t)][:SAMPLES]) for t in np.unique(tops)]


def _described(flow: Any, jacobian: Any, states: Floats) -> Continuum:
    """Shape, extent and drift of connected states."""
    distance = np.linalg.norm(states[:, None] - states, axis=2)
    picked = states[np.linspace(0, len(states) - 1, min(len(states), 9)).astype(int)]
    sizes = [int((np.abs(np.linalg.eigvals(J)) <= SLOW_RATE).sum()) for J in jacobian(picked)]
    dimension = max(1, int(np.median(sizes)))
    speed = np.linalg.norm(flow(states), axis=1)
    shape = "surface" if dimension > 1 else "ring" if _closed(distance) else "line"
    extent = float(distance.max())
    gaps = np.sort(distance, axis=1)[:, 1]
    # of a curve, more than the widest gap between neighbours
    spacing = max(3 * float(np.median(gaps)), 1.2 * float(gaps.max())) if dimension == 1 else extent / 6
    return Continuum(shape, dimension, extent, float(np.median(speed)), float(speed.max()), states, spacing)


def _closed(distance: Floats) -> bool:
    """Whether states on a curve close up: the ends of the path through them are neighbours.

    The path goes, by steps to the nearest state not yet met, both ways from the first.
    """
    left = set(range(1, len(distance)))
    ends, steps = [0, 0], []
    while left:
        gaps = [min((float(distance[end, j]), j) for j in left) for end in ends]
        side = int(gaps[1][0] < gaps[0][0])
        gap, nearest = gaps[side]
        ends[side] = nearest
        left.remove(nearest)
        steps.append(gap)
    return float(distance[ends[0], ends[1]]) <= 2 * max(steps)
