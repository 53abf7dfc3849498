"""Second-order minimisation of the energy ``q = |F|**2 / 2`` from many starts, and Newton's method
on F.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv, dpotrs

from ghostpoint.numerics.symmetric_kernels import pack
from ghostpoint.numerics.threads import mapped
from ghostpoint.slow_points.fields import Field, TanhField
from ghostpoint.slow_points.search.descent_kernels import (
    CHORDS,
    DEAR,
    FALL,
    LARGEST,
    NEARLY,
    NOT_FINITE,
    SMALL_SLOPE,
    SMALL_SPEED,
    STUCK,
    UNFINISHED,
    Scratch,
    descend,
)
from ghostpoint.slow_points.search.krylov import approached
from ghostpoint.slow_points.search.starts import LARGE, groups

__all__ = ["WORTHWHILE", "Descent", "hessian", "minimize_energy", "newton"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WORTHWHILE = 32  # coordinates from which starts and points are handed to threads
HALVINGS, QUICK = 6, 12  # of a step of Newton's method; its steps until it must have become quick
FEW = 8  # coordinates up to which the steps of all starts are computed in one call
CHORD, STEEP = 1e-6, 1e3  # distance (times 1 + |x|) of states that share a Jacobian; |step| / |F| up to which they do
BLOCK = 200_000  # numbers in the matrices of the starts that move together: they stay in the cache
SHUT = 1e-3  # times 1 + |x|: the longest step of Newton at a zero of gated units, where |F| is at rounding


class Descent(NamedTuple):
    """Ends of the starts: x (B, K), |F| (B,), ``|J^T F| / |F|`` (B,), whether each is done, and why
    not.
    """

    x: Floats
    speed: Floats
    slope: Floats
    done: Bools
    reason: list[str]


def minimize_energy(field: Field, starts: Floats, max_steps: int) -> Descent:
    """Minimise q from every start by damped Newton steps, until each is near a zero of F or a
    stationary point of q.

    The step solves ``(H + mu) d = -J^T F`` with the whole Hessian ``H = J^T J + sum_i F_i D2F_i``,
    which alone sees a ghost (there J is singular); where that is not positive definite, with
    ``J^T J + mu`` (Levenberg-Marquardt). The damping mu follows the agreement of q with its
    quadratic model (Nielsen 1999).

    From `DEAR` coordinates on, where a factorisation is what a step costs, further steps with the
    same matrix follow each that lowered q, while each of them lowers q and leaves less than `FALL`
    of the gradient, up to `CHORDS` (Shamanskii 1967). In a bent valley, where a step along it ends
    beside it, they lead back to its floor.
    """
    if isinstance(field, TanhField) and field.A is None:
        if field.size > LARGE:
            # wide blocks are the faster ones; their size is that of no number of threads, which
            # changes no bit
            size = min(max(-(-len(starts) // 2), 16), 32)
            blocks = [starts[i : i + size] for i in range(0, len(starts), size)]
            starts = np.concatenate(mapped(lambda block: approached(field, block), blocks))
        return _descend_compiled(field, starts, max_steps)
    size = max(1, min(400, BLOCK // field.size**2))
    parts = [_descend(field, starts[i : i + size], max_steps) for i in range(0, len(starts), size)]
    x, speed, slope, done = (np.concatenate([part[k] for part in parts]) for k in range(4))
    return Descent(x, speed, slope, done, [text for part in parts for text in part.reason])


def _reason(status: int, max_steps: int, speed: float, slope: float) -> str:
    """Why a start is not done, or nothing."""
    if status == NOT_FINITE:
        return "the velocity is not finite at the start"
    if status == STUCK:
        return f"no step lowers the speed further ({speed:.3g})"
    if status == UNFINISHED:
        return f"not stationary after {max_steps} steps: speed {speed:.3g}, slope {slope:.3g}"
    return ""


def _descend_compiled(field: TanhField, starts: Floats, max_steps: int) -> Descent:
    """Each start by itself, in turn on the threads; the same method as `_descend`."""
    packed, c, x = pack(field.B), np.ascontiguousarray(field.c, dtype=np.float64), np.array(starts, dtype=np.float64)
    local = threading.local()

    def end(i: int) -> tuple[int, float, float]:
        if not hasattr(local, "scratch"):
            local.scratch = Scratch.of(packed)
        status, speed, slope = descend(packed, c, max_steps, local.scratch, x[i])
        return int(status), float(speed), float(slope)

    ends = mapped(end, range(len(x)), None if field.size >= WORTHWHILE else 1)
    reason = [_reason(status, max_steps, speed, slope) for status, speed, slope in ends]
    done = np.array([not text for text in reason], dtype=bool)
    return Descent(x, np.array([e[1] for e in ends]), np.array([e[2] for e in ends]), done, reason)


def _descend(field: Field, starts: Floats, max_steps: int) -> Descent:
    """The method for any field, all starts at once; the compiled one is tested against it."""
    x = np.array(starts)
    count = len(x)
    damping, growth = np.full(count, 1e-3), np.full(count, 2.0)
    speed, slope = np.full(count, np.inf), np.full(count, np.inf)
    reason = ["" for _ in range(count)]
    velocity = field.flow(x)
    finite = np.isfinite(velocity).all(axis=1)
    for index in np.flatnonzero(~finite):
        reason[index] = _reason(NOT_FINITE, max_steps, 0.0, 0.0)
    active = np.flatnonzero(finite)
    systems = _Systems(field, count)
    moved = active
    for _ in range(max_steps):
        if not len(active):
            break
        # a start whose step was refused tries a shorter one with the same matrices
        systems.build(moved, x[moved], velocity[moved])
        speed[active] = norm = np.linalg.norm(velocity[active], axis=1)
        gradient = systems.gradient[active]
        slope[active] = np.linalg.norm(gradient, axis=1) / np.maximum(norm, 1e-300)
        steps, trusted = systems.steps(active, damping[active])
        # near a saddle of q the slope is small too, but the Hessian is not positive definite
        finished = (norm <= SMALL_SPEED) | ((slope[active] <= SMALL_SLOPE) & trusted)
        keep = ~finished
        active, steps, gradient, before = active[keep], steps[keep], gradient[keep], 0.5 * norm[keep] ** 2
        # the model's decrease -g.d - d.H d / 2, with (H + mu) d = -g
        gains = 0.5 * (damping[active] * np.sum(steps**2, axis=1) - np.sum(gradient * steps, axis=1))
        trial = x[active] + steps
        there = field.flow(trial)
        with np.errstate(over="ignore", invalid="ignore"):
            after = 0.5 * np.sum(there**2, axis=1)
            quality = (before - after) / np.maximum(gains, 1e-300)
        better = np.isfinite(after) & (after < before)
        moved = active[better]
        x[moved], velocity[moved] = trial[better], there[better]
        if field.size >= DEAR:
            _chords(systems, moved, x, velocity)
        shrink = np.maximum(0.1, 1 - (2 * np.clip(quality[better], 0.0, 1.0) - 1) ** 3)
        damping[moved] = np.maximum(damping[moved] * np.where(quality[better] > 0.75, 0.1, shrink), 1e-12)
        growth[moved] = 2.0
        refused = active[~better]
        damping[refused] = np.maximum(damping[refused] * growth[refused], 1e-6)
        growth[refused] *= 2.0
        stuck = damping[active] > LARGEST
        # near a ghost q stops falling at rounding before its slope has reached the tolerance: that
        # is for the polish
        for index in active[stuck & (slope[active] > NEARLY)]:
            reason[index] = _reason(STUCK, max_steps, speed[index], slope[index])
        active = active[~stuck]
    for index in active:
        reason[index] = _reason(UNFINISHED, max_steps, speed[index], slope[index])
    done = np.array([not text for text in reason], dtype=bool)
    return Descent(x, speed, slope, done, reason)


def _chords(systems: _Systems, rows: NDArray[np.int64], x: Floats, velocity: Floats) -> None:
    """Move those of the starts ``rows`` on, in place, that further steps with the same matrix
    lead on.
    """
    before = np.full(len(x), np.inf)
    for _ in range(CHORDS):
        gradient = np.einsum("bij,bi->bj", systems.field.jacobian(x[rows]), velocity[rows])
        norm, square = np.linalg.norm(gradient, axis=1), np.sum(velocity[rows] ** 2, axis=1)
        on = (norm > SMALL_SLOPE * np.sqrt(square)) & (norm <= FALL * before[rows])
        before[rows] = norm
        rows, gradient, square = rows[on], gradient[on], square[on]
        if not len(rows):
            break
        trial = x[rows] + systems.again(rows, gradient)
        there = systems.field.flow(trial)
        with np.errstate(over="ignore", invalid="ignore"):
            better = np.sum(there**2, axis=1) < square
        rows = rows[better]
        x[rows], velocity[rows] = trial[better], there[better]


class _Systems:
    """Gradients and Hessians of q at a block of starts, each kept until its start moves."""

    def __init__(self, field: Field, count: int):
        self.field, size = field, field.size
        self.gradient = np.zeros((count, size))
        self.whole, self.jacobian = np.zeros((count, size, size)), np.zeros((count, size, size))
        self.factors: list[Floats] = [np.zeros((0, 0))] * count
        self.batched = isinstance(field, TanhField) and size <= FEW

    def build(self, rows: NDArray[np.int64], x: Floats, velocity: Floats) -> None:
        """Make those of the starts ``rows``, now at x."""
        self.jacobian[rows] = jacobian = self.field.jacobian(x)
        # grad q = J^T F and Hess q = J^T J + sum_i F_i D2F_i
        self.gradient[rows] = np.einsum("bij,bi->bj", jacobian, velocity)
        self.whole[rows] = jacobian.transpose(0, 2, 1) @ jacobian + self.field.curvature(x, velocity)

    def steps(self, rows: NDArray[np.int64], damping: Floats) -> tuple[Floats, Bools]:
        """Damped Newton steps of the starts ``rows``, and whether the whole Hessian was used."""
        if self.batched:
            return self._steps_at_once(rows, damping)
        steps, trusted = np.zeros((len(rows), self.field.size)), np.zeros(len(rows), bool)
        for k, (i, mu) in enumerate(zip(rows, damping, strict=True)):
            for whole in (True, False):
                matrix = self.whole[i] if whole else self.jacobian[i].T @ self.jacobian[i]
                # Cholesky's factorisation fails where the matrix is not positive definite
                factor, step, failed = dposv(matrix + mu * np.eye(len(matrix)), -self.gradient[i], lower=1)
                if not failed:
                    steps[k], trusted[k], self.factors[i] = step, whole, factor
                    break
        return steps, trusted

    def again(self, rows: NDArray[np.int64], gradient: Floats) -> Floats:
        """Steps of the starts ``rows`` with the matrices of their last ones."""
        return np.array([dpotrs(self.factors[i], -g, lower=1)[0] for i, g in zip(rows, gradient, strict=True)])

    def _steps_at_once(self, rows: NDArray[np.int64], damping: Floats) -> tuple[Floats, Bools]:
        """The same by eigenvalues, which say whether a matrix is positive definite, for all starts
        in one call.
        """
        values, vectors = np.linalg.eigh(self.whole[rows])
        shifted = values + damping[:, None]
        trusted = shifted[:, 0] > 0
        if not trusted.all():
            J = self.jacobian[rows[~trusted]]
            values, vectors[~trusted] = np.linalg.eigh(J.transpose(0, 2, 1) @ J)
            shifted[~trusted] = np.maximum(values, 0.0) + damping[~trusted, None]
        # d = -V (V^T g / (lambda + mu))
        along = np.einsum("bji,bj->bi", vectors, self.gradient[rows]) / shifted
        return -np.einsum("bij,bj->bi", vectors, along), trusted


def hessian(field: Field, x: Floats) -> Floats:
    """``J^T J + sum_i F_i D2F_i``, the Hessian of q at x (B, K); shape (B, K, K)."""
    systems = _Systems(field, len(x))
    systems.build(np.arange(len(x)), x, field.flow(x))
    return systems.whole


def _newton_steps(field: Field, x: Floats, velocity: Floats, at_once: int) -> Floats:
    """``J^-1 F`` of states x (B, K), NaN where J is singular to the last bit.

    States within `CHORD` of each other share the Jacobian of one of them, but where it is so nearly
    singular that they may lead to different zeros.
    """
    step = np.full_like(x, np.nan)
    left = groups(x, CHORD)
    while left:
        doubtful: list[NDArray[np.int64]] = []
        for k in range(0, len(left), at_once):
            sets = left[k : k + at_once]
            for rows, jacobian in zip(sets, field.jacobian(x[[rows[0] for rows in sets]]), strict=True):
                try:
                    step[rows] = np.linalg.solve(jacobian, velocity[rows].T).T
                except np.linalg.LinAlgError:
                    doubtful += [rows[i : i + 1] for i in range(1, len(rows))]
                    continue
                long = np.linalg.norm(step[rows], axis=1) > STEEP * np.linalg.norm(velocity[rows], axis=1)
                if long.any():
                    doubtful += [rows[i : i + 1] for i in range(1, len(rows))]
        left = doubtful
    return step


def newton(field: Field, x: Floats, max_steps: int = 60) -> tuple[Floats, Floats, Bools]:
    """Newton's method on F, which never raises |F|: points, their speeds and whether each has
    settled at rounding.

    A step that does not lower |F| is halved, up to `HALVINGS` times; a point from which none does
    so stays. Where F is exactly 0 the point is a zero whatever its Jacobian, but for gated units,
    whose velocity is 0 to the last bit wherever a gate is shut. There, as elsewhere, a zero needs a
    Jacobian that is not singular.
    """
    x = np.array(x)
    settled = np.zeros(len(x), bool)
    active = np.arange(len(x))
    velocity = field.flow(x) if len(x) else np.zeros_like(x)
    speed = np.linalg.norm(velocity, axis=1)
    at_once = max(1, 8 * BLOCK // field.size**2)
    for taken in range(max_steps):
        if not len(active):
            break
        step = _newton_steps(field, x[active], velocity[active], at_once)
        scale = 1 + np.linalg.norm(x[active], axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.linalg.norm(step, axis=1)
            usable = np.isfinite(size) & (size < 0.5 * scale)
        floor = 1e-14 * scale * np.sqrt(field.size)
        # at a zero steps fall to rounding over the smallest singular value, which |F| / step
        # estimates
        rounding = speed[active] <= 16e-16 * scale * np.sqrt(field.size)
        if field.saturates:  # a shut gate makes |F| and its Jacobian vanish together: the step does not
            rounding &= size <= SHUT * scale
        exact = (speed[active] == 0) & (usable | (not field.saturates))
        settled[active[exact | (usable & ((size <= floor) | rounding))]] = True
        moving = usable & ~exact
        moved = np.zeros(len(active), bool)
        before = speed[active].copy()
        for k in range(HALVINGS + 1):
            tried = np.flatnonzero(moving & ~moved)
            if not len(tried):
                break
            trial = x[active[tried]] - 0.5**k * step[tried]
            there = field.flow(trial)
            length = np.linalg.norm(there, axis=1)
            better = length < before[tried]
            rows = active[tried[better]]
            x[rows], velocity[rows], speed[rows] = trial[better], there[better], length[better]
            moved[tried[better]] = True
            moving &= ~settled[active]  # one full step is tried at rounding, no shorter ones
        going = moved & ~settled[active]
        if taken >= QUICK:  # at a degenerate zero each step gains a factor; elsewhere the iteration has failed
            going &= speed[active] < 0.7 * before
        active = active[going]
    return x, speed, settled
