"""From the ends of descents to slow points: polish, partners at folds, one entry for each point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.threads import mapped
from ghostpoint.slow_points.fields import Field, NetworkField
from ghostpoint.slow_points.ghosts import GhostSolution, bend_along, inverse, is_minimum, solve_ghost
from ghostpoint.slow_points.proofs.certifier import Certificate
from ghostpoint.slow_points.search.descent import minimize_energy, newton
from ghostpoint.slow_points.search.starts import groups

__all__ = ["Candidate", "Failure", "as_known", "descended", "fused", "merged", "with_images", "with_partners"]

Floats = NDArray[np.float64]

SAME = 1e-9  # polished points closer than this (times 1 + |x|) are one; halves of a fold resolved in float64 are not
FUSED = 1e-2  # zeros farther apart than this (times 1 + |x|) are never one
GROUP = 1e-5  # ends of descents closer than this (times 1 + |x|) are polished once
MANY = 200  # coordinates from which points are polished on several threads
POWERS = 40  # of the iteration for a left null vector
SINGULAR = 1e-2  # |J^T F| / |F| below which F is tried as the left null vector where an SVD's fails
NEAR_FOLD = 0.05  # a fixed point with |J^-1| above 1 / NEAR_FOLD is asked for a partner


@dataclass
class Candidate:
    """A polished point: coordinates, the ghost's omega and s (None for a zero), starts that reached
    it, its proof.

    ``arithmetic`` is that of the proof. ``eigenvalues()`` waits for those of its Jacobian, where
    they have been begun.
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
    field: Field,
    network: NetworkField | None,
    starts: Floats,
    max_steps: int,
    zeros: list[Candidate],
    complete: bool,
    weight: NDArray[np.int64] | None = None,
    odd: bool = False,
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
    weight : (S,), optional
        How many starts each one stands for.
    odd : bool
        Whether F(-x) = -F(x): of each pair of mirror images one is found, which counts the starts
        of both.
    """
    ends = minimize_energy(field, starts, max_steps)
    weight = np.ones(len(starts), np.int64) if weight is None else weight
    x = ends.x if network is None else network.from_search(ends.x)
    x = upright(x) if odd else x
    failed = [
        Failure(x[i], float(ends.speed[i]), ends.reason[i])
        for i in np.flatnonzero(~ends.done)
        for _ in range(weight[i])
    ]
    done = ends.done.copy()
    for zero in zeros:
        # an end within the ball of a known zero, whose speed Newton's method would remove, is that
        # zero
        near = np.linalg.norm(x - zero.kappa, axis=1) <= min(1e-6 * (1 + np.linalg.norm(zero.kappa)), _alone(zero))
        near &= done & (ends.speed <= 1e-6)
        zero.hits += int(weight[near].sum())
        done &= ~near
    exact, metric = (field, None) if network is None else (network.exact, network.metric)
    listed = np.array([zero.kappa for zero in zeros]).reshape(len(zeros), exact.size) if complete else None
    found, more = _polish(exact, metric, x[done], ends.slope[done], ends.speed[done], weight[done], listed)
    return as_known(found, zeros, complete, exact), failed + more


def _alone(zero: Candidate) -> float:
    """The radius within which a known zero is proven to be the only one."""
    radius = zero.proof.unique_radius
    return np.inf if np.isnan(radius) else radius


def as_known(found: list[Candidate], zeros: list[Candidate], complete: bool, exact: Field) -> list[Candidate]:
    """The known zeros and, behind them, what else was found, each point once.

    A zero found within the ball in which a known one is alone is that one. Where the known ones are
    ``complete`` every zero found is the nearest of them.
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
    return zeros + merged(others, exact)


def _polish(
    exact: Field,
    metric: Floats | None,
    kappa: Floats,
    slope: Floats,
    speed: Floats,
    weight: NDArray[np.int64],
    listed: Floats | None = None,
) -> tuple[list[Candidate], list[Failure]]:
    """Zeros and ghosts that the ends of the descent lead to, and the ends that lead to neither.

    ``listed`` holds all zeros there are, if they are known: away from them F is 0 to rounding only
    at a ghost.
    """
    candidates: list[Candidate] = []
    failed: list[Failure] = []
    small = np.flatnonzero(speed <= np.maximum(1e-6, slope))
    # with one call a start, each on a thread; what a call returns depends on its own start alone
    threads = None if exact.size >= MANY else 1
    parts = [small] if threads == 1 else [small[i : i + 1] for i in range(len(small))]
    reached = mapped(lambda rows: newton(exact, kappa[rows]), parts, threads)
    zeros = np.concatenate([x for x, _, _ in reached]) if len(small) else kappa[:0]
    settled = np.concatenate([done for _, _, done in reached]) if len(small) else np.zeros(0, bool)
    close = np.linalg.norm(zeros - kappa[small], axis=1) <= 0.1 * (1 + np.linalg.norm(kappa[small], axis=1))
    if listed is not None and len(listed):
        away = np.array([np.linalg.norm(listed - z, axis=1).min() for z in zeros])
        close &= away <= 1e-6 * (1 + np.linalg.norm(zeros, axis=1))
    good = np.flatnonzero(settled & close)
    candidates += [Candidate(zeros[i], None, int(weight[small[i]])) for i in good]
    rest = np.concatenate([small[~(settled & close)], np.setdiff1d(np.arange(len(kappa)), small)])
    alike = [rest[members] for members in groups(kappa[rest], GROUP)]
    firsts = [chosen[np.argmin(slope[chosen])] for chosen in alike]

    def polished(i: int) -> tuple[list[Candidate], str]:
        return _stationary(exact, metric, kappa[i], float(slope[i]), float(speed[i]))

    for chosen, (found, reason) in zip(alike, mapped(polished, firsts, threads), strict=True):
        candidates += [replace(candidate, hits=int(weight[chosen].sum())) for candidate in found]
        if reason:
            failed += [Failure(kappa[i], float(speed[i]), reason) for i in chosen for _ in range(weight[i])]
    return merged(candidates, exact), failed


def _stationary(
    exact: Field, metric: Floats | None, kappa: Floats, slope: float, speed: float
) -> tuple[list[Candidate], str]:
    """The ghost, or the zeros at a fold, that an end of the descent leads to; else the reason why
    to neither.
    """
    if speed == 0:  # as where a gate is shut to the last bit
        return [], "the velocity is 0 in float64 there, but the Jacobian is singular: no zero is resolved"
    ghost = solve_ghost(exact, metric, kappa, _direction(exact, metric, kappa, slope))
    if not ghost.settled and 1e-6 < slope < SINGULAR:
        # with two null vectors or more, an SVD gives any combination of them: F is the right one
        ghost = solve_ghost(exact, metric, kappa, _direction(exact, metric, kappa, 0.0))
    if not ghost.settled:
        return [], f"neither a zero nor a stationary point of the speed is reached from speed {speed:.3g}"
    if is_minimum(exact, metric, ghost):
        return [Candidate(ghost.kappa, ghost, 1)], ""
    pair = _pair(exact, metric, ghost) if ghost.speed < 1e-3 else []
    reason = "" if pair else f"a saddle of the speed, {ghost.speed:.3g} there"
    return [Candidate(x, None, 1) for x in pair], reason


def _direction(exact: Field, metric: Floats | None, kappa: Floats, slope: float) -> Floats | None:
    """Where J^T M^-1 F nearly vanishes, ``M^-1 F`` is the left null vector; elsewhere that is left
    to an SVD.
    """
    if slope > 1e-6:
        return None
    f = exact.flow(kappa[None])[0]
    return f if metric is None else np.asarray(np.linalg.solve(metric, f))


def _pair(exact: Field, metric: Floats | None, fold: GhostSolution) -> list[Floats]:
    """The two zeros beside a solution of the bordered system with ``r a < 0``, at
    ``y = +- sqrt(-r / a)``.
    """
    assert fold.right is not None  # of every solution that settled
    nu = fold.right
    weighted = fold.omega if metric is None else metric @ fold.omega
    bend = bend_along(exact, fold.kappa, fold.omega, nu) / 2
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

    pairs = mapped(partners, found, None if exact.size >= MANY else 1)
    extra = [Candidate(x, None, 0) for pair in pairs for x in pair]
    return merged(found + extra, exact) if extra else found


def _left(inverse_jacobian: Floats) -> Floats | None:
    """The left singular vector of J's smallest singular value, by iteration; None where another one
    is nearly as small.

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


def fused(found: list[Candidate], exact: Field) -> list[Candidate]:
    """The candidates, with zeros between which F is 0 to rounding all along as one: a degenerate
    zero is found anywhere in a whole neighbourhood."""
    zeros = [c for c in found if c.ghost is None]
    places = np.array([c.kappa for c in zeros]).reshape(len(zeros), exact.size)
    # the one at 0, which may be exact, stands for the others
    left = np.argsort(np.linalg.norm(places, axis=1), kind="stable")
    kept = []
    while len(left):
        first, rest = left[0], left[1:]
        scale = 1 + np.linalg.norm(places[first])
        gap = places[rest] - places[first]
        near = np.linalg.norm(gap, axis=1) <= FUSED * scale
        if near.any():
            along = (places[first] + np.array([0.25, 0.5, 0.75])[:, None, None] * gap[near]).reshape(-1, exact.size)
            speed = np.linalg.norm(exact.flow(along), axis=1).reshape(3, -1).max(axis=0)
            near[near] = speed <= 16e-16 * scale * np.sqrt(exact.size)
        kept.append(zeros[first])
        kept[-1].hits += sum(zeros[i].hits for i in rest[near])
        left = rest[~near]
    return kept + [c for c in found if c.ghost is not None]


def upright(x: Floats) -> Floats:
    """Of x and its mirror image -x the one on the positive side of a plane in general position; x
    is (B, K).
    """
    normal = np.random.default_rng(0).normal(size=x.shape[1])
    return np.where((x @ normal < 0)[:, None], -x, x)


def with_images(found: list[Candidate], exact: Field) -> list[Candidate]:
    """The candidates of an odd field and their mirror images, which have the same proofs, each
    point once.
    """
    images = []
    for c in found:
        if np.linalg.norm(c.kappa) <= SAME:
            continue
        ghost = None if c.ghost is None else c.ghost._replace(kappa=-c.ghost.kappa, omega=-c.ghost.omega)
        images.append(replace(c, kappa=-c.kappa, ghost=ghost))
    return found + [c for c in images if not _close_to_any(c, found)]


def _close_to_any(candidate: Candidate, others: list[Candidate]) -> bool:
    reach = SAME * (1 + float(np.linalg.norm(candidate.kappa)))
    return any(np.linalg.norm(candidate.kappa - other.kappa) <= reach for other in others)


def merged(found: list[Candidate], exact: Field) -> list[Candidate]:
    """One candidate for each point, with the starts of all that are the same."""
    kept = []
    for is_ghost in (False, True):
        some = [c for c in found if (c.ghost is not None) == is_ghost]
        for members in groups(np.array([c.kappa for c in some]).reshape(len(some), exact.size), SAME):
            kept.append(some[members[0]])
            kept[-1].hits = sum(some[i].hits for i in members)
    return kept
