"""Curves ``G(X; t) = 0`` followed by arclength, through the points where they turn back in t.

A step is a prediction along the tangent and Newton's method on the hyperplane at that distance
(Keller 1977), which is regular at a turn, where the derivative by X is singular. A step is taken
only if the tangent keeps its direction, so that the curve is not left for another one nearby.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.tracking.segments import Problem, rate

STRAIGHT = 0.9  # cosine between the tangents at the ends of a step
LONGEST, SHORTEST = 0.25, 1e-10  # a pair of turns well within the longest step is passed over
MOST_STEPS = 400


class Turn(NamedTuple):
    """Where a curve turns back: X, t, and whether t has a maximum there."""

    X: Floats
    t: float
    is_maximum: bool


class Curve(NamedTuple):
    """Where a curve ended: ``end`` "left" (at t = 0 or 1), "stopped" (``stop`` changed sign) or
    "failed"; its turns.
    """

    end: str
    X: Floats
    t: float
    turns: tuple[Turn, ...]
    reason: str = ""


class _Point(NamedTuple):
    y: Floats  # (X, t)
    tangent: Floats


def follow(
    problem: Problem,
    X: Floats,
    t: float,
    direction: Floats,
    stop: Callable[[Floats], float] | None = None,
) -> Curve:
    """Follow a curve from a point on it until t leaves [0, 1].

    Parameters
    ----------
    problem : Problem
    X, t : (n,), float
        The start, a solution.
    direction : (n + 1,)
        The start is in the sense of the tangent that has a positive product with it.
    stop : function of X, optional
        The curve ends where it changes its sign.
    """
    y = np.append(X, t)
    turns: list[Turn] = []
    tangent = _tangent(problem, y, direction)
    if tangent is None or not np.isfinite(tangent).all():
        return Curve("failed", X, t, (), "no tangent at the start")
    here = _Point(y, tangent)
    level = 0.0 if stop is None else stop(X)
    # a curve that is nearly straight in t crosses the interval in one step
    step = min(LONGEST, 1.05 / max(abs(tangent[-1]), 1e-3))
    fresh = True
    for _ in range(MOST_STEPS):
        there = _advance(problem, here, step)
        if there is None:
            step /= 4
            if step < SHORTEST:
                break
            continue
        events = _events(problem, here, there, step, None if stop is None or fresh else (stop, level))
        if events is None:
            step /= 4
            if step < SHORTEST:
                break
            continue
        # a turn is recorded and passed; anything else ends the curve
        for name, _, point in events:
            if name == "turn":
                turns.append(Turn(point.y[:-1], float(point.y[-1]), bool(here.tangent[-1] > 0)))
                continue
            return Curve(name, point.y[:-1], float(point.y[-1]), tuple(turns))
        here, fresh = there, False
        level = 0.0 if stop is None else stop(here.y[:-1])
        step = min(2 * step, LONGEST)
    return Curve("failed", here.y[:-1], float(here.y[-1]), tuple(turns), f"no further at t = {here.y[-1]:.6g}")


def _tangent(problem: Problem, y: Floats, before: Floats) -> Floats | None:
    """The unit null vector of (D, G_t) that has a positive product with ``before``."""
    matrix = _bordered(problem, y, before / np.linalg.norm(before))
    try:
        tangent = np.linalg.solve(matrix, np.append(np.zeros(len(y) - 1), 1.0))
    except np.linalg.LinAlgError:
        return None
    return np.asarray(tangent / np.linalg.norm(tangent))


def _bordered(problem: Problem, y: Floats, row: Floats) -> Floats:
    X, t = y[:-1], float(y[-1])
    return np.vstack([np.column_stack([problem.derivative(X, t), rate(problem, X, t)]), row])


def _advance(problem: Problem, here: _Point, distance: float) -> _Point | None:
    """The point of the curve at ``tangent . (y - here) = distance``; None if it is not reached, or
    round a bend.
    """
    y = here.y + distance * here.tangent
    last = np.inf
    for _ in range(8):
        # G = 0 on the hyperplane at `distance` along the tangent
        value = np.append(problem.value(y[:-1], float(y[-1])), here.tangent @ (y - here.y) - distance)
        try:
            change = np.linalg.solve(_bordered(problem, y, here.tangent), value)
        except np.linalg.LinAlgError:
            return None
        length = float(np.linalg.norm(change))
        scale = 1 + float(np.linalg.norm(y))
        if not np.isfinite(length) or length > max(0.5 * abs(distance), 1e-9 * scale) or length > 2 * last + 1e-12:
            return None
        y = y - change
        if length <= 1e-13 * scale or (length < 1e-9 * scale and length >= 0.25 * last):
            break
        last = length
    else:
        return None
    tangent = _tangent(problem, y, here.tangent)
    if tangent is None or float(tangent @ here.tangent) < STRAIGHT:
        return None
    return _Point(y, tangent)


class _Unreached(Exception):
    """A point between two points of the curve was not reached: the step was too long."""


def _beyond(limit: float, point: _Point) -> float:
    return float(point.y[-1]) - limit


def _events(
    problem: Problem,
    here: _Point,
    there: _Point,
    step: float,
    watched: tuple[Callable[[Floats], float], float] | None,
) -> list[tuple[str, float, _Point]] | None:
    """Turns and ends between two points, in order; None if they could not be resolved."""

    def reach(distance: float) -> _Point:
        point = here if distance == 0.0 else _advance(problem, here, distance)
        if point is None:
            raise _Unreached
        return point

    def crossing(value: Callable[[_Point], float], low: float, high: float) -> tuple[float, _Point]:
        root = float(brentq(lambda d: value(reach(d)), low, high, xtol=1e-15, rtol=1e-14))
        return root, reach(root)

    events: list[tuple[str, float, _Point]] = []
    try:
        if here.tangent[-1] * there.tangent[-1] < 0:
            events.append(("turn", *crossing(lambda p: float(p.tangent[-1]), 0.0, step)))
        # t is monotonic on each side of the turn, so it leaves at most once on each
        marks = [(0.0, here), *((distance, point) for _, distance, point in events), (step, there)]
        for (low, first), (high, last) in pairwise(marks):
            for limit in (0.0, 1.0):
                outside = (last.y[-1] - limit) * (2 * limit - 1) > 0
                inside = (first.y[-1] - limit) * (2 * limit - 1) < 0
                if outside and inside:
                    events.append(("left", *crossing(partial(_beyond, limit), low, high)))
                elif outside and high > low and (last.y[-1] - first.y[-1]) * (2 * limit - 1) > 0:
                    events.append(("left", low, first))  # it began on the limit and moves outward
        if watched is not None and watched[1] * watched[0](there.y[:-1]) < 0:
            events.append(("stopped", *crossing(lambda p: watched[0](p.y[:-1]), 0.0, step)))
    except _Unreached:
        return None
    return sorted(events, key=lambda event: event[1])
