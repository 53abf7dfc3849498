"""From the ends of descents to slow points: polish, partners at folds, one entry for each point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.slow_points.fields import Field, NetworkField
from ghostpoint.slow_points.ghosts import GhostSolution, inverse, is_minimum, right_null, solve_ghost
from ghostpoint.slow_points.proofs.certifier import Certificate
from ghostpoint.slow_points.search.descent import minimize_energy, newton

__all__ = ["Candidate", "Failure", "as_known", "descended", "with_partners"]

Floats = NDArray[np.float64]

SAME = 1e-9  # polished points closer than this (times 1 + |x|) are one; halves of a fold resolved in float64 are not
GROUP = 1e-5  # ends of descents closer than this (times 1 + |x|) are polished once
POWERS = 40  # of the iteration for a left null vector
NEAR_FOLD = 0.05  # a fixed point with |J^-1| above 1 / NEAR_FOLD is asked for a partner


@dataclass
class Candidate:
    """A polished point: coordinates, the ghost's omega and s (None for a zero), starts that reached it, its proof.

    ``arithmetic`` is that of the proof. ``eigenvalues()`` waits for those of its Jacobian, where they have been begun.
    """

    kappa: Floats
    ghost: GhostSolution | None
    hits: int
    proof: Certificate = field(default_factory=lambda: Certificate("undecided"))
    arithmetic: str = "none"
    eigenvalues: Callable[[], NDArray[np.complex128]] | None = None


class Failure(NamedTuple):
    """An end of a descent that leads to no slow point: where it is, |F| there, and why."""

    kappa: Floats
    speed: float
    reason: str


def descended(
    field: Field, network: NetworkField | None, starts: Floats, max_steps: int, zeros: list[Candidate], complete: bool
) -> tuple[list[Candidate], list[Failure]]:
    """The slow points that descents of q from ``starts`` lead to, and the ends that lead to none.

    Parameters
    ----------
    field : Field
        That of the descents; the points are those of ``network.exact``, where there is a network.
    starts : (S, K)
    zeros : list of Candidate
        Zeros known already; they come first in the result.
    complete : bool
        Whether there are no others.
    """
    ends = minimize_energy(field, starts, max_steps)
    x = ends.x if network is None else network.from_search(ends.x)
    failed = [Failure(x[i], float(ends.speed[i]), ends.reason[i]) for i in np.flatnonzero(~ends.done)]
    done = ends.done.copy()
    for zero in zeros:
        # an end within the ball of a known zero, whose speed Newton's method would remove, is that zero
        near = np.linalg.norm(x - zero.kappa, axis=1) <= min(1e-6 * (1 + np.linalg.norm(zero.kappa)), _alone(zero))
        near &= done & (ends.speed <= 1e-6)
        zero.hits += int(near.sum())
        done &= ~near
    exact, metric = (field, None) if network is None else (network.exact, network.metric)
    found, more = _polish(exact, metric, x[done], ends.slope[done], ends.speed[done])
    return as_known(found, zeros, complete, exact), failed + more


def _alone(zero: Candidate) -> float:
    """The radius within which a known zero is proven to be the only one."""
    radius = zero.proof.unique_radius
    return np.inf if np.isnan(radius) else radius


def as_known(found: list[Candidate], zeros: list[Candidate], complete: bool, exact: Field) -> list[Candidate]:
    """The known zeros and, behind them, what else was found, each point once.

    A zero found within the ball in which a known one is alone is that one. Where the known ones are ``complete`` every
    zero found is the nearest of them.
    """
    places = np.array([zero.kappa for zero in zeros]).reshape(len(zeros), exact.size)
    others = []
    for candidate in found:
        if candidate.ghost is not None or any(candidate is zero for zero in zeros):
            others += [] if candidate.ghost is None else [candidate]
            continue
        distance = np.linalg.norm(places - candidate.kappa, axis=1)
        nearest = int(distance.argmin()) if len(zeros) else -1
        if len(zeros) and (complete or distance[nearest] < _alone(zeros[nearest]) < np.inf):
            zeros[nearest].hits += candidate.hits
        elif not complete:
            others.append(candidate)
    return zeros + _merge(others, exact)


def _polish(
    exact: Field, metric: Floats | None, kappa: Floats, slope: Floats, speed: Floats
) -> tuple[list[Candidate], list[Failure]]:
    """Zeros and ghosts that the ends of the descent lead to, and the ends that lead to neither."""
    candidates: list[Candidate] = []
    failed: list[Failure] = []
    small = np.flatnonzero(speed <= np.maximum(1e-6, slope))
    zeros, _, settled = newton(exact, kappa[small])
    close = np.linalg.norm(zeros - kappa[small], axis=1) <= 0.1 * (1 + np.linalg.norm(kappa[small], axis=1))
    candidates += [Candidate(x, None, 1) for x in zeros[settled & close]]
    rest = np.concatenate([small[~(settled & close)], np.setdiff1d(np.arange(len(kappa)), small)])
    for members in _groups(kappa[rest], GROUP):
        chosen = rest[members]
        first = chosen[np.argmin(slope[chosen])]
        reached, reason = _stationary(exact, metric, kappa[first], float(slope[first]), float(speed[first]))
        candidates += [replace(candidate, hits=len(chosen)) for candidate in reached]
        if reason:
            failed += [Failure(kappa[i], float(speed[i]), reason) for i in chosen]
    return _merge(candidates, exact), failed


def _stationary(
    exact: Field, metric: Floats | None, kappa: Floats, slope: float, speed: float
) -> tuple[list[Candidate], str]:
    """The ghost, or the zeros at a fold, that an end of the descent leads to; else the reason why to neither."""
    if speed == 0:  # as where a gate is shut to the last bit
        return [], "the velocity is 0 in float64 there, but the Jacobian is singular: no zero is resolved"
    ghost = solve_ghost(exact, metric, kappa, _direction(exact, metric, kappa, slope))
    if not ghost.settled:
        return [], f"neither a zero nor a stationary point of the speed is reached from speed {speed:.3g}"
    if is_minimum(exact, metric, ghost):
        return [Candidate(ghost.kappa, ghost, 1)], ""
    pair = _pair(exact, metric, ghost) if ghost.speed < 1e-3 else []
    reason = "" if pair else f"a saddle of the speed, {ghost.speed:.3g} there"
    return [Candidate(x, None, 1) for x in pair], reason


def _direction(exact: Field, metric: Floats | None, kappa: Floats, slope: float) -> Floats | None:
    """Where J^T M^-1 F nearly vanishes, ``M^-1 F`` is the left null vector; elsewhere that is left to an SVD."""
    if slope > 1e-6:
        return None
    f = exact.flow(kappa[None])[0]
    return f if metric is None else np.asarray(np.linalg.solve(metric, f))


def _pair(exact: Field, metric: Floats | None, fold: GhostSolution) -> list[Floats]:
    """The two zeros beside a solution of the bordered system with ``r a < 0``, at ``y = +- sqrt(-r / a)``."""
    nu = right_null(exact.jacobian(fold.kappa[None])[0], fold.omega / np.linalg.norm(fold.omega))
    weighted = fold.omega if metric is None else metric @ fold.omega
    bend = float(nu @ exact.curvature(fold.kappa[None], fold.omega[None])[0] @ nu) / 2
    if bend >= 0:
        return []
    # omega . F = s + bend y**2, as omega . M omega = 1
    y = np.sqrt(fold.speed * float(fold.omega @ weighted) / -bend)
    sides = np.stack([fold.kappa + y * nu, fold.kappa - y * nu])
    zeros, _, settled = newton(exact, sides)
    near = np.linalg.norm(zeros - sides, axis=1) <= 0.5 * y + 1e-9
    return list(zeros[settled & near])


def with_partners(exact: Field, metric: Floats | None, found: list[Candidate]) -> list[Candidate]:
    """The candidates, and the second zero of each nearby fold."""

    def partners(candidate: Candidate) -> list[Floats]:
        if candidate.ghost is not None:
            return []
        away = inverse(exact.jacobian(candidate.kappa[None])[0])
        if away is not None and np.linalg.norm(away) <= 1 / NEAR_FOLD:
            return []
        fold = solve_ghost(exact, metric, candidate.kappa, None if away is None else _left(away))
        return _pair(exact, metric, fold) if fold.settled else []

    extra = [Candidate(x, None, 0) for candidate in found for x in partners(candidate)]
    return _merge(found + extra, exact) if extra else found


def _left(inverse_jacobian: Floats) -> Floats | None:
    """The left singular vector of J's smallest singular value, by iteration; None where another one is nearly as small.

    Near a fold it is far below the others, and the iteration costs a tenth of an SVD.
    """
    w: Floats = np.ones(len(inverse_jacobian)) / np.sqrt(len(inverse_jacobian))
    for _ in range(POWERS):
        before = w
        w = inverse_jacobian.T @ (inverse_jacobian @ w)
        w = w / np.linalg.norm(w)
        if np.linalg.norm(w - before) < 1e-6:
            return w
    return None


def _groups(points: Floats, tolerance: float) -> list[NDArray[np.int64]]:
    """Rows within ``tolerance (1 + |x|)`` of the first row of their group."""
    left = np.arange(len(points))
    groups = []
    while len(left):
        first = points[left[0]]
        near = np.linalg.norm(points[left] - first, axis=1) <= tolerance * (1 + np.linalg.norm(first))
        groups.append(left[near])
        left = left[~near]
    return groups


def _merge(found: list[Candidate], exact: Field) -> list[Candidate]:
    """One candidate for each point, with the starts of all that are the same."""
    merged = []
    for is_ghost in (False, True):
        some = [c for c in found if (c.ghost is not None) == is_ghost]
        for members in _groups(np.array([c.kappa for c in some]).reshape(len(some), exact.size), SAME):
            merged.append(some[members[0]])
            merged[-1].hits = sum(some[i].hits for i in members)
    return merged
