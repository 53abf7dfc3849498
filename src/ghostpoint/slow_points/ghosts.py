"""Ghosts: stationary points of the speed, as regular solutions of a bordered system, and their
normal form.

In coordinates kappa with metric M (see `fields`), a ghost is a solution X = (kappa, omega, s) of

    F(kappa) - s M omega = 0,    J(kappa)^T omega = 0,    (omega . M omega - 1) / 2 = 0,    s > 0,

s the speed and w = A^T omega the unit left null vector of the state's Jacobian: where q = |F|**2 /
2 is stationary, ``J^T F = 0``, and w = F / |F| where F is not 0. The system stays regular as s goes
to 0, where the Hessian of q is singular, so Newton's method reaches a ghost however slow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dger
from scipy.linalg.lapack import dgetrf, dgetri, dgetrs, dpotrf

from ghostpoint.numerics.arrays import Floats
from ghostpoint.numerics.inverse_kernels import LARGEST_SIZE, small_inverse
from ghostpoint.slow_points.fields import Field, NetworkField, TanhField

SMALL = 32  # rows from which the compiled inverse is the faster one


class GhostSolution(NamedTuple):
    """A solution of the bordered system: kappa (K,), omega (K,), s >= 0, whether Newton's method
    settled, and the unit right null vector of J (K,), where it is known.
    """

    kappa: Floats
    omega: Floats
    speed: float
    settled: bool
    right: Floats | None = None


class GhostForm(NamedTuple):
    """``dy/dt = r + a y**2`` along the unit vector v of the state; w . v > 0, so r > 0. v, w of
    shape (N,).
    """

    r: float
    a: float
    v: Floats
    w: Floats


def bordered_system(
    field: Field, metric: Floats | None, kappa: Floats, omega: Floats, s: float
) -> tuple[Floats, Floats]:
    """The 2 K + 1 equations of the module's first lines at X = (kappa, omega, s), and their
    derivative.

    The derivative is ``[[J, -s M, -M omega], [H, J^T, 0], [0, omega^T M, 0]]`` with
    ``H = sum_i omega_i D2F_i``.

    Parameters
    ----------
    field : Field
        F in coordinates kappa.
    metric : (K, K) or None
        M; None for the identity.
    kappa, omega : (K,)
    s : float

    Returns
    -------
    (2 K + 1,), (2 K + 1, 2 K + 1)
    """
    f, J = field.flow(kappa[None])[0], field.jacobian(kappa[None])[0]
    weighted = omega if metric is None else metric @ omega
    value = np.concatenate([f - s * weighted, omega @ J, [(omega @ weighted - 1) / 2]])
    return value, _derivative(J, field.curvature(kappa[None], omega[None])[0], metric, weighted, s)


def _derivative(J: Floats, H: Floats, metric: Floats | None, weighted: Floats, s: float) -> Floats:
    """That of `bordered_system`, contiguous by columns; ``weighted`` is M omega."""
    size = len(J)
    derivative = np.zeros((2 * size + 1, 2 * size + 1), order="F")
    # block rows F - s M omega, J^T omega, normalisation; block columns kappa, omega, s
    derivative[:size, :size] = J
    if metric is None:
        derivative.T.flat[size * (2 * size + 1) : 2 * size * (2 * size + 1) : 2 * size + 2] = -s
    else:
        derivative[:size, size:-1] = -s * metric
    derivative[:size, -1] = -weighted
    derivative[size:-1, :size] = H
    derivative[size:-1, size:-1] = J.T
    derivative[-1, size:-1] = weighted
    return derivative


def inverse(matrix: Floats) -> Floats | None:
    """The inverse as it is rounded; None where elimination meets an exact zero."""
    if SMALL <= len(matrix) <= LARGEST_SIZE:
        return small_inverse(matrix)
    factors, pivots, failed = dgetrf(matrix.T)
    if failed:
        return None
    # in the room that SciPy gives it by default it is up to twice as slow
    result, failed = dgetri(factors, pivots, lwork=64 * len(matrix), overwrite_lu=1)
    return None if failed else np.asarray(result.T)


class Border(NamedTuple):
    """K ~ ``[[J, -p], [q^T, 0]]^-1`` of shape (K + 1, K + 1), with q a unit vector near the right
    null vector of J.
    """

    K: Floats
    q: Floats


def border(J: Floats, p: Floats) -> Border | None:
    """The :class:`Border` of J (K, K) and a unit vector p (K,) near its left null vector.

    None where the bordered matrix is singular, as when p and q are orthogonal.
    """
    size = len(J)
    D = np.zeros((size + 1, size + 1))
    D[:size, :size], D[:size, -1], D[-1, :size] = J, -p, p
    K = inverse(D)
    if K is None:
        return None
    column = K[:, -1].copy()
    # the last column solves J x = p t, p . x = 1: x is near the right null vector of J
    length = float(np.linalg.norm(column[:size]))
    if not 0 < length < np.inf:
        return None
    q = column[:size] / length
    # the last row p becomes q: a change of rank one
    turned = (q - p) @ K[:size]
    pivot = 1 + float(turned[-1])
    if pivot == 0:
        return None
    return Border(dger(-1.0 / pivot, turned, column, a=K.T, overwrite_a=1).T, q)


class BorderedInverse(NamedTuple):
    """An approximate inverse C of the derivative in `bordered_system`, of two matrices of half its
    size.

    With P = ``[[J, -M omega], [q^T, 0]]`` (regular at a ghost, where J is not) and zeros to fill up
    H and M, the derivative is ``E = [[P, -s M], [H, P^T]]`` without the column of one more unknown,
    t = q's multiplier, and the row of one more equation, q . x = y. With K ~ P^-1 and U ~ T^-1,
    T = ``P^T + s H K M``,

        E^-1 ~ [[U^T, s U^T M K^T], [-U H K, U]].

    C is this with y chosen such that t = 0. It is never formed: ``C @ value`` takes four products
    with vectors.
    """

    K: Floats
    U: Floats
    T: Floats
    H: Floats
    HK: Floats
    M: Floats | None
    s: float
    turn: Floats  # (2 K + 1,) what the unknowns change by where t changes by one and y makes it

    def extended(self, first: Floats, second: Floats) -> tuple[Floats, Floats]:
        """E^-1 of right-hand sides (K + 1,): the unknowns (x, sigma) and (omega, t)."""
        size = len(self.H)
        across, bent = self.K.T @ second, np.zeros(size + 1)
        across[:size] = across[:size] if self.M is None else self.M @ across[:size]
        across[size] = 0.0
        bent[:size] = self.H @ (self.K @ first)[:size]
        return self.U.T @ (first + self.s * across), self.U @ (second - bent)

    def __matmul__(self, value: Floats) -> Floats:
        size = len(self.H)
        # the last equation, (omega . M omega - 1) / 2, enters E's with its sign changed
        first, second = self.extended(np.append(value[:size], 0.0), np.append(value[size:-1], -value[-1]))
        return np.concatenate([first[:size], second[:size], first[size:]]) - second[size] * self.turn


def bordered_inverse(
    J: Floats, H: Floats, M: Floats | None, weighted: Floats, s: float, edge: Border | None = None
) -> BorderedInverse | None:
    """The :class:`BorderedInverse` of the derivative in `bordered_system`, with H its second block
    row; None if singular.

    ``weighted`` is M omega. ``edge`` is `border` at ``M omega / |M omega|``, where it is known
    already.
    """
    size = len(J)
    length = float(np.linalg.norm(weighted))
    if edge is None:
        edge = border(J, weighted / length)
    if edge is None:
        return None
    K = edge.K.copy()
    K[-1] /= length
    # T = P^T + s H K M
    HK = H @ K[:size]
    T = np.empty((size + 1, size + 1))
    np.multiply(HK[:, :size] if M is None else HK[:, :size] @ M, s, out=T[:size, :size])
    T[:size, :size] += J.T
    T[:size, -1], T[-1, :size], T[-1, -1] = edge.q, -weighted, 0.0
    U = inverse(T)
    if U is None:
        return None
    made = BorderedInverse(K, U, T, H, HK, M, s, np.zeros(2 * size + 1))
    # the unknowns for y = 1, over their t
    first, second = made.extended(np.eye(size + 1)[-1], np.zeros(size + 1))
    if second[size] == 0:
        return None
    return made._replace(turn=np.concatenate([first[:size], second[:size], first[size:]]) / second[size])


def null_pair(J: Floats) -> tuple[Floats, Floats]:
    """Unit left and right singular vectors w, v (K,) of J (K, K) with the smallest singular value;
    w . v >= 0.
    """
    left, _, right = np.linalg.svd(J)
    w, v = left[:, -1], right[-1]
    return w, v if w @ v >= 0 else -v


def right_null(J: Floats, left: Floats) -> Floats:
    """The unit right null vector v (K,) of a singular J (K, K) from its left one.

    By the bordered system ``[[J, left], [left^T, 0]] (v, .) = (0, 1)``, regular where the two null
    vectors are not orthogonal; else by an SVD.
    """
    size = len(J)
    D = np.zeros((size + 1, size + 1))
    D[:size, :size], D[:size, -1], D[-1, :size] = J, left, left
    try:
        v = np.linalg.solve(D, np.eye(size + 1)[-1])[:size]
    except np.linalg.LinAlgError:
        return null_pair(J)[1]
    v = v / np.linalg.norm(v)
    return np.asarray(v) if np.linalg.norm(J @ v) <= 1e-10 * (1 + np.linalg.norm(J)) else null_pair(J)[1]


def solve_ghost(
    field: Field, metric: Floats | None, kappa: Floats, omega: Floats | None = None, max_steps: int = 12
) -> GhostSolution:
    """Newton's method on the bordered system.

    One factorisation serves while each step is at most 1/20 of the one before, ``max_steps`` of
    them at most.

    Parameters
    ----------
    field : Field
        F in coordinates kappa.
    metric : (K, K) or None
        M; None for the identity.
    kappa : (K,)
        Where it starts.
    omega : (K,), optional
        The left null vector it starts with; by default the left singular vector of J(kappa) with
        the smallest singular value.
    max_steps : int

    Returns
    -------
    GhostSolution
        With ``settled`` False where Newton's method did not converge.
    """
    size = field.size
    M = np.eye(size) if metric is None else metric
    f, J = field.flow(kappa[None])[0], field.jacobian(kappa[None])[0]
    omega = null_pair(J)[0] if omega is None else omega
    omega = omega / np.sqrt(omega @ M @ omega)
    s = float(omega @ f)
    factors: tuple[Floats, NDArray[np.int32]] | None = None
    last, made, proven, settled = np.inf, 0, False, False
    while True:
        f, J = field.flow(kappa[None])[0], field.jacobian(kappa[None])[0]
        # the bordered system at (kappa, omega, s), with old factors while they contract well enough
        weighted = omega if metric is None else metric @ omega
        value = np.concatenate([f - s * weighted, omega @ J, [(omega @ weighted - 1) / 2]])
        scale = 1 + float(np.linalg.norm(kappa))
        step = value if factors is None else dgetrs(*factors, value)[0]
        length = np.inf if factors is None else float(np.linalg.norm(step))
        if factors is None or (length > 0.05 * last and not (proven and length < 1e-9 * scale)):
            if made == max_steps:
                break
            H = field.curvature(kappa[None], omega[None])[0]
            lu, pivots, failed = dgetrf(_derivative(J, H, metric, weighted, s), overwrite_a=1)
            if failed:
                break
            factors, made, proven, fresh = (lu, pivots), made + 1, False, True
            step = dgetrs(lu, pivots, value)[0]
            length = float(np.linalg.norm(step))
        else:
            # factors that have shown their rate of convergence have it until steps are rounding
            fresh, proven = False, proven or length <= 0.05 * last
        # a step as long as the point itself leads elsewhere
        if not np.isfinite(length) or length > 2 * scale:
            break
        if length < 1e-9 * scale and length >= (0.25 if fresh else 0.05) * last:
            settled = True
            break
        kappa, omega, s = kappa - step[:size], omega - step[size:-1], s - float(step[-1])
        last = length
        if length <= 1e-15 * scale:
            settled = True
            break
    right = right_null(J, omega / np.linalg.norm(omega)) if settled else None
    return GhostSolution(kappa, omega if s >= 0 else -omega, abs(s), settled, right)


def _right(field: Field, ghost: GhostSolution) -> Floats:
    """The right null vector of J at a ghost."""
    if ghost.right is not None:
        return ghost.right
    return right_null(field.jacobian(ghost.kappa[None])[0], ghost.omega / np.linalg.norm(ghost.omega))


def bend_along(field: Field, kappa: Floats, omega: Floats, v: Floats) -> float:
    """``omega . D2F[v, v]`` at kappa; all of shape (K,)."""
    if isinstance(field, TanhField):
        # sum_k (A^T omega)_k tanh''_k (b_k . v)**2
        return float(field.second(kappa[None], omega[None])[0] @ (field.B @ v) ** 2)
    return float(v @ field.curvature(kappa[None], omega[None])[0] @ v)


def is_minimum(field: Field, metric: Floats | None, ghost: GhostSolution) -> bool:
    """Whether the Hessian of q, ``J^T M^-1 J + s S``, ``S = sum_i omega_i D2F_i``, is positive
    definite.

    With J v = 0 it is so if ``v . S v > 0`` and the Schur complement of v,
    ``J^T M^-1 J + s (S - (S v)(S v)^T / (v . S v))``, is positive across v. That has v as its null
    vector, and no small difference of large numbers as s goes to 0.

    Parameters
    ----------
    field : Field
        F in coordinates kappa.
    metric : (K, K) or None
        M; None for the identity.
    ghost : GhostSolution
    """
    J = field.jacobian(ghost.kappa[None])[0]
    bend = field.curvature(ghost.kappa[None], ghost.omega[None])[0]
    v = _right(field, ghost)
    across = bend @ v
    slow = float(v @ across)
    if slow <= 0:
        return False
    # J^T M^-1 J + s (S - (S v)(S v)^T / (v . S v))
    whole = J.T @ (J if metric is None else np.linalg.solve(metric, J))
    whole += ghost.speed * (bend - np.outer(across / slow, across))
    # any positive multiple of v v^T makes it definite along v too
    whole += (np.trace(whole) / len(v) + 1e-300) * np.outer(v, v)
    return bool(dpotrf(whole.T, lower=1)[1] == 0)


def ghost_form(field: Field, network: NetworkField | None, ghost: GhostSolution) -> GhostForm:
    """Coefficients ``r = |F| / (w.v)``, ``a = w . D2F[v, v] / (2 w.v)`` of the state's flow.

    They are the terms of ``w . F(x* + y v) / (w . v) = r + a y**2 + O(y**3)``, the motion along v.

    For latents ``w = A^T omega``, ``v = D B nu`` with J nu = 0 and D = 1 - tanh**2, scaled to
    length 1.

    Parameters
    ----------
    field : Field
        F in coordinates kappa.
    network : NetworkField or None
        The network whose latents these are; None where the coordinates are the state.
    ghost : GhostSolution
    """
    nu = _right(field, ghost)
    bend = bend_along(field, ghost.kappa, ghost.omega, nu)
    if network is None or network.A is None:
        w, v = ghost.omega, nu
    else:
        # from latents to the state: w = A^T omega, v = D B nu
        w, v = network.A.T @ ghost.omega, network.moved(ghost.kappa, nu)
    length = float(np.linalg.norm(v))
    v, w = v / length, w / np.linalg.norm(w)
    overlap = float(w @ v)
    v, overlap = (v, overlap) if overlap >= 0 else (-v, -overlap)
    overlap = max(overlap, 1e-300)
    return GhostForm(ghost.speed / overlap, bend / length**2 / (2 * overlap), v, w)
