"""Batched minimisation of the energy ``q = |F|**2 / 2`` by second-order steps, and Newton's method on F."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from ghostpoint.slow_points.fields import Field, TanhField

__all__ = ["Descent", "minimize_energy", "newton"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: a start is handed on to the polish when |F|, or |J^T F| / |F|, has fallen to these
SMALL_SPEED, SMALL_SLOPE = 1e-7, 1e-7
NEARLY = 1e-3
BLOCK = 16  # starts whose linear systems are built together
LARGEST = 1e12  # damping beyond which no step helps


class Descent(NamedTuple):
    """Ends of the starts: x (B, K), |F| (B,), ``|J^T F| / |F|`` (B,), whether each is done, and why not."""

    x: Floats
    speed: Floats
    slope: Floats
    done: Bools
    reason: list[str]


def minimize_energy(field: Field, starts: Floats, max_steps: int) -> Descent:
    """Minimise q from every start by damped Newton steps, until each is near a zero of F or a stationary point of q.

    The step solves ``(H + mu) d = -J^T F`` with the whole Hessian ``H = J^T J + sum_i F_i D2F_i``, which alone sees a
    ghost (there J is singular); where that is not positive definite, with ``J^T J + mu`` (Levenberg-Marquardt).
    The damping mu follows the agreement of q with its quadratic model (Nielsen 1999).
    """
    x = np.array(starts)
    count = len(x)
    damping, growth = np.full(count, 1e-3), np.full(count, 2.0)
    speed, slope = np.full(count, np.inf), np.full(count, np.inf)
    reason = ["" for _ in range(count)]
    active = np.arange(count)
    velocity = field.flow(x)
    for index in np.flatnonzero(~np.isfinite(velocity).all(axis=1)):
        reason[index] = "the velocity is not finite at the start"
    active = active[np.isfinite(velocity).all(axis=1)]
    for _ in range(max_steps):
        if not len(active):
            break
        norm = np.linalg.norm(velocity[active], axis=1)
        speed[active] = norm
        # in blocks, whose matrices stay in the cache
        blocks = [active[i : i + BLOCK] for i in range(0, len(active), BLOCK)]
        solved = [_Systems(field, x[rows], velocity[rows]).solve(damping[rows]) for rows in blocks]
        steps, gains, gradient, trusted = (np.concatenate(part) for part in zip(*solved, strict=True))
        slope[active] = gradient / np.maximum(norm, 1e-300)
        # near a saddle of q the slope is small too, but the Hessian is not positive definite
        finished = (norm <= SMALL_SPEED) | ((slope[active] <= SMALL_SLOPE) & trusted)
        keep = ~finished
        active, steps, gains = active[keep], steps[keep], gains[keep]
        before = 0.5 * norm[keep] ** 2
        trial = x[active] + steps
        moved = field.flow(trial)
        with np.errstate(over="ignore", invalid="ignore"):
            after = 0.5 * np.sum(moved**2, axis=1)
            quality = (before - after) / np.maximum(gains, 1e-300)
        better = np.isfinite(after) & (after < before)
        accepted = active[better]
        x[accepted], velocity[accepted] = trial[better], moved[better]
        shrink = np.maximum(0.1, 1 - (2 * np.clip(quality[better], 0.0, 1.0) - 1) ** 3)
        damping[accepted] = np.maximum(damping[accepted] * np.where(quality[better] > 0.75, 0.1, shrink), 1e-12)
        growth[accepted] = 2.0
        rejected = active[~better]
        damping[rejected] *= growth[rejected]
        damping[rejected] = np.maximum(damping[rejected], 1e-6)
        growth[rejected] *= 2.0
        stuck = damping[active] > LARGEST
        # near a ghost q stops falling at rounding before its slope has reached the tolerance: that is for the polish
        for index in active[stuck & (slope[active] > NEARLY)]:
            reason[index] = f"no step lowers the speed further ({speed[index]:.3g})"
        active = active[~stuck]
    for index in active:
        reason[index] = f"not stationary after {max_steps} steps: speed {speed[index]:.3g}, slope {slope[index]:.3g}"
    done = np.array([not text for text in reason], dtype=bool)
    return Descent(x, speed, slope, done, reason)


class _Systems:
    """Gradients and Hessians of q at a block of starts, and damped Newton steps."""

    def __init__(self, field: Field, x: Floats, velocity: Floats):
        self.field = field
        if isinstance(self.field, TanhField) and self.field.A is None:
            # J = G W - 1: one product of matrices, W^T diag(g**2 + F tanh'') W, instead of two
            W = self.field.B
            t = velocity + x
            gain = 1 - t**2
            self.gain = gain
            self.gradient = (gain * velocity) @ W - velocity
            self.whole = self._with_cross(self.field.quadratic(gain**2 - 2 * velocity * t * gain), gain)
        else:
            self.jacobian = self.field.jacobian(x)
            self.gradient = np.einsum("bij,bi->bj", self.jacobian, velocity)
            self.whole = self.jacobian.transpose(0, 2, 1) @ self.jacobian + self.field.curvature(x, velocity)

    def _with_cross(self, matrix: Floats, gain: Floats) -> Floats:
        assert isinstance(self.field, TanhField)
        cross = gain[:, :, None] * self.field.B
        matrix -= cross
        matrix -= cross.transpose(0, 2, 1)
        matrix += np.eye(self.field.size)
        return matrix

    def gauss_newton(self, i: int) -> Floats:
        if isinstance(self.field, TanhField) and self.field.A is None:
            gain = self.gain[i : i + 1]
            return np.asarray(self._with_cross(self.field.quadratic(gain**2), gain)[0])
        return np.asarray(self.jacobian[i].T @ self.jacobian[i])

    def solve(self, damping: Floats) -> tuple[Floats, Floats, Floats, Bools]:
        """Steps, the decrease of q that the models predict, |J^T F|, and whether the whole Hessian was used."""
        steps, gains = np.zeros_like(self.gradient), np.zeros(len(damping))
        trusted = np.zeros(len(damping), bool)
        diagonal = np.arange(self.whole.shape[1])
        for i, mu in enumerate(damping):
            for matrix in (self.whole[i], None):
                system = self.gauss_newton(i) if matrix is None else matrix
                system[diagonal, diagonal] += mu
                _, step, failed = dposv(system.T, -self.gradient[i], lower=1, overwrite_a=1)
                trusted[i] = matrix is not None and not failed
                if not failed:
                    steps[i] = step
                    # model decrease -g.d - d.H d / 2 with (H + mu) d = -g
                    gains[i] = 0.5 * (mu * step @ step - self.gradient[i] @ step)
                    break
        return steps, gains, np.linalg.norm(self.gradient, axis=1), trusted


def newton(field: Field, x: Floats, max_steps: int = 12) -> tuple[Floats, Floats, Bools]:
    """Newton's method on F: points, their speeds and whether the iteration has settled at rounding."""
    x = np.array(x)
    settled = np.zeros(len(x), bool)
    active = np.arange(len(x))
    for _ in range(max_steps):
        if not len(active):
            break
        f = field.flow(x[active])
        jacobian = field.jacobian(x[active])
        step = np.full_like(f, np.nan)
        for i in range(len(active)):
            try:
                step[i] = np.linalg.solve(jacobian[i], f[i])
            except np.linalg.LinAlgError:
                continue  # singular to the last bit: reported as not settled
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.linalg.norm(step, axis=1)
            scale = 1 + np.linalg.norm(x[active], axis=1)
            usable = np.isfinite(size) & (size < 0.5 * scale)
        x[active[usable]] -= step[usable]
        floor = 1e-14 * scale * np.sqrt(x.shape[1])
        # at a zero steps fall to rounding over the smallest singular value, which |F| / step estimates
        rounding = np.linalg.norm(f, axis=1) <= 4e-16 * scale * np.sqrt(x.shape[1]) * 4
        now = usable & ((size <= floor) | rounding)
        settled[active[now]] = True
        active = active[usable & ~now]
    return x, np.linalg.norm(field.flow(x), axis=1), settled
