"""Ghosts: stationary points of the speed, as regular solutions of a bordered system, and their normal form.

In coordinates kappa with metric M (see `fields`), a ghost is a solution X = (kappa, omega, s) of

    F(kappa) - s M omega = 0,    J(kappa)^T omega = 0,    (omega . M omega - 1) / 2 = 0,    s > 0,

s the speed and w = A^T omega the unit left null vector of the state's Jacobian (theory, section 2). The system stays
regular as s goes to 0, where the Hessian of q is singular, so Newton's method reaches a ghost however slow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.slow_points.fields import Field, NetworkField

__all__ = ["GhostForm", "GhostSolution", "bordered_system", "ghost_form", "is_minimum", "null_pair", "solve_ghost"]

Floats = NDArray[np.float64]


class GhostSolution(NamedTuple):
    """A solution of the bordered system: kappa (K,), omega (K,), s >= 0, and whether Newton's method settled."""

    kappa: Floats
    omega: Floats
    speed: float
    settled: bool


class GhostForm(NamedTuple):
    """``dy/dt = r + a y**2`` along the unit vector v of the state; w . v > 0, so r > 0. v, w of shape (N,)."""

    r: float
    a: float
    v: Floats
    w: Floats


def bordered_system(
    field: Field, metric: Floats | None, kappa: Floats, omega: Floats, s: float
) -> tuple[Floats, Floats]:
    """The 2 K + 1 equations at X, and their derivative ``[[J, -s M, -M omega], [H, J^T, 0], [0, omega^T M, 0]]``."""
    size = field.size
    M = np.eye(size) if metric is None else metric
    f, J = field.flow(kappa[None])[0], field.jacobian(kappa[None])[0]
    weighted = M @ omega
    value = np.concatenate([f - s * weighted, omega @ J, [(omega @ weighted - 1) / 2]])
    derivative = np.zeros((2 * size + 1, 2 * size + 1))
    derivative[:size, :size] = J
    derivative[:size, size:-1] = -s * M
    derivative[:size, -1] = -weighted
    derivative[size:-1, :size] = field.curvature(kappa[None], omega[None])[0]
    derivative[size:-1, size:-1] = J.T
    derivative[-1, size:-1] = weighted
    return value, derivative


def null_pair(J: Floats) -> tuple[Floats, Floats]:
    """Unit left and right singular vectors of the smallest singular value, w . v >= 0."""
    left, _, right = np.linalg.svd(J)
    w, v = left[:, -1], right[-1]
    return w, v if w @ v >= 0 else -v


def solve_ghost(
    field: Field, metric: Floats | None, kappa: Floats, omega: Floats | None = None, max_steps: int = 12
) -> GhostSolution:
    """Newton's method on the bordered system, from kappa and the left null vector nearest to J there."""
    size = field.size
    M = np.eye(size) if metric is None else metric
    f, J = field.flow(kappa[None])[0], field.jacobian(kappa[None])[0]
    omega = null_pair(J)[0] if omega is None else omega
    omega = omega / np.sqrt(omega @ M @ omega)
    s = float(omega @ f)
    last = np.inf
    settled = False
    for _ in range(max_steps):
        value, derivative = bordered_system(field, metric, kappa, omega, s)
        try:
            step = np.linalg.solve(derivative, value)
        except np.linalg.LinAlgError:
            break
        length = float(np.linalg.norm(step))
        scale = 1 + float(np.linalg.norm(kappa))
        if not np.isfinite(length) or length > 2 * scale:
            break
        # quadratic convergence ends where steps stop shrinking: at rounding
        if length < 1e-9 * scale and length >= 0.25 * last:
            settled = True
            break
        kappa, omega, s = kappa - step[:size], omega - step[size:-1], s - float(step[-1])
        last = length
        if length <= 1e-15 * scale:
            settled = True
            break
    return GhostSolution(kappa, omega, s, settled) if s >= 0 else GhostSolution(kappa, -omega, -s, settled)


def is_minimum(field: Field, metric: Floats | None, ghost: GhostSolution) -> bool:
    """Whether the Hessian of q, ``J^T M^-1 J + s sum_i omega_i D2F_i``, is positive definite."""
    J = field.jacobian(ghost.kappa[None])[0]
    # J omega-part is singular at a ghost, so definiteness along its null vector is that of the second term alone
    whole = J.T @ (J if metric is None else np.linalg.solve(metric, J))
    bend = field.curvature(ghost.kappa[None], ghost.omega[None])[0]
    values, vectors = np.linalg.eigh(whole)
    v = vectors[:, 0]
    across = bend @ v
    slow = float(v @ across)
    if slow <= 0:
        return False
    # Schur complement of the slow direction, free of the cancellation that a tiny s brings
    rest = vectors[:, 1:]
    coupling = rest.T @ across
    block = np.diag(values[1:]) + ghost.speed * (rest.T @ bend @ rest - np.outer(coupling, coupling) / slow)
    return bool(len(block) == 0 or np.linalg.eigvalsh((block + block.T) / 2)[0] > 0)


def ghost_form(field: Field, network: NetworkField | None, ghost: GhostSolution) -> GhostForm:
    """Coefficients ``r = |F| / (w.v)``, ``a = w . D2F[v, v] / (2 w.v)`` of the state's flow (theory, section 2).

    For latents ``w = A^T omega``, ``v = D B nu`` with J nu = 0 and D = 1 - tanh**2, scaled to length 1.
    """
    kappa = ghost.kappa[None]
    nu = null_pair(field.jacobian(kappa)[0])[1]
    bend = float(nu @ field.curvature(kappa, ghost.omega[None])[0] @ nu)
    if network is None or network.exact.A is None:
        w, v = ghost.omega, nu
    else:
        w = network.exact.A.T @ ghost.omega
        v = (1 - network.exact.rates(kappa)[0] ** 2) * (network.exact.B @ nu)
    length = float(np.linalg.norm(v))
    v, w = v / length, w / np.linalg.norm(w)
    overlap = float(w @ v)
    v, overlap = (v, overlap) if overlap >= 0 else (-v, -overlap)
    overlap = max(overlap, 1e-300)
    return GhostForm(ghost.speed / overlap, bend / length**2 / (2 * overlap), v, w)
