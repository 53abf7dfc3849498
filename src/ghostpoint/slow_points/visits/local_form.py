"""What the flow is near one slow point, and how far from it that holds.

In coordinates z of the search (see `fields`) let z* be a slow point, V (K, d) a basis of its d slow
directions and W (K, d) the dual left basis, ``W^T V = 1``, both invariant under the Jacobian J. The
slow coordinates ``zeta = W^T (z - z*)`` obey

    dzeta/dt = rho + Lambda zeta + Q(zeta, zeta) + ...,   F = V dzeta/dt + ...

with ``rho = W^T F(z*)``, ``Lambda = W^T J V`` and ``Q_k = V^T (sum_i W_ik D2F_i) V / 2``. For a
ghost with one slow direction that is its normal form ``dy/dt = r + a y**2``. At a fixed point all
directions are kept and ``dzeta/dt = J zeta``, its linearisation.

Such a form *holds* at z where what it leaves out is smaller than what it keeps, along the slow
directions and across them: with ``g = W^T F(z)`` and h the right-hand side above

    |g - h| <= |h|   and   |F(z) - V g| <= |V g|.

Nothing in it is tuned: at a ghost the distance at which it ends does not depend on r for small r,
and a state that is still falling onto the slow directions, faster than it moves along them, is
outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import schur

from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field, NetworkField
from ghostpoint.slow_points.points import SlowPoints
from ghostpoint.theory import NormalForm

NULL = 1e-9  # eigenvalues up to this (times 1 + |J|) are 0 within the rounding of a ghost's position
ROUNDING = 64 * float(np.finfo(np.float64).eps)
FAR = 1e4  # of scaled slow coordinates: the rest of the time, 1 in 1e4, is that of their growth by the square
LONG = 1e3  # scaled time after which a reduced flow is said not to end


@dataclass(frozen=True, eq=False)
class LocalForm:
    """The form of the module's first lines at one slow point.

    Attributes
    ----------
    at : (K,)
        z*.
    V, W : (K, d)
        Right and left bases, ``W^T V = 1``.
    rho : (d,)
        Velocity at the point; 0 at a fixed point.
    linear : (d, d)
        Lambda.
    quadratic : (d, d, d) or None
        Q, ``Q(zeta, zeta)_k = zeta . quadratic[k] zeta``; None at a fixed point.
    """

    at: Floats
    V: Floats
    W: Floats
    rho: Floats
    linear: Floats
    quadratic: Floats | None

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.rho)

    def kept(self, zeta: Floats) -> Floats:
        """h, the velocity (B, d) that is kept at slow coordinates (B, d)."""
        h = self.rho + zeta @ self.linear.T
        if self.quadratic is None:
            return np.asarray(h)
        return np.asarray(h + np.stack([((zeta @ bend) * zeta).sum(axis=1) for bend in self.quadratic], axis=1))

    def coordinates(self, z: Floats) -> Floats:
        """Slow coordinates (B, d) of z (B, K)."""
        return np.asarray((z - self.at) @ self.W)

    def along(self, z: Floats) -> Floats:
        """y (B,): position along the velocity at a ghost, 0 on the section through it."""
        if self.quadratic is None:
            return np.full(len(z), np.nan)
        return np.asarray(self.coordinates(z) @ (self.rho / np.linalg.norm(self.rho)))

    def left_out(self, z: Floats, velocity: Floats) -> Floats:
        """What the form leaves out over what it keeps (B,), the larger of the two ratios; it holds
        up to 1.

        Parameters
        ----------
        z, velocity : (B, K)
            States and F there.
        """
        zeta, g = self.coordinates(z), velocity @ self.W
        h = self.kept(zeta)
        moved = g @ self.V.T
        # F and J (z - z*) are rounded; at rest on a fixed point nothing else is left of them
        scale = (1 + np.abs(z).max(initial=0.0)) * (1 + np.linalg.norm(self.linear))
        rounding = ROUNDING * scale * (1 + np.linalg.norm(self.W, 2))
        ratios = [
            np.maximum(np.linalg.norm(off, axis=1) - rounding, 0) / np.maximum(np.linalg.norm(kept, axis=1), 1e-300)
            for off, kept in ((g - h, h), (velocity - moved, moved))
        ]
        return np.maximum(*ratios)

    @property
    def passage_time(self) -> float:
        """Time of the form from end to end on the way through the ghost itself, in units of tau.

        ``pi / sqrt(r a)`` for one slow direction. For more it is the time between the two blow-ups,
        before and after, of ``dzeta/dt = rho + Lambda zeta + Q(zeta, zeta)`` with zeta = 0 in
        between, integrated numerically. NaN where the form does not blow up on one side, so that
        there is no such time, and at fixed points.
        """
        if self.quadratic is None:
            return np.nan
        if self.dimension == 1:
            r, a = float(self.rho[0]), float(self.quadratic[0, 0, 0])
            return NormalForm(r, a).passage_time if r * a > 0 else np.nan
        return self._blow_up(1.0) + self._blow_up(-1.0)

    def time_between(self, z0: Floats, z1: Floats) -> float:
        """Time that the form takes from z0 (K,) to the section ``y = y(z1)``, in units of tau; NaN
        where it never gets there.
        """
        if self.quadratic is None:
            return np.nan
        y0, y1 = self.along(np.stack([z0, z1]))
        if not y0 < y1:
            return 0.0 if y0 == y1 else np.nan
        if self.dimension == 1:
            r, a = float(self.rho[0]), float(self.quadratic[0, 0, 0])
            return NormalForm(r, a).escape_time(float(y0), float(y1)) if r * a > 0 else np.nan
        length, time = self._scales()
        unit = self.rho / np.linalg.norm(self.rho)

        def reached(_: float, u: Floats) -> float:
            return float(u @ unit - y1 / length)

        start, goal = self.coordinates(np.stack([z0, z1])) / length
        far = max(FAR, 2 * float(np.linalg.norm(start)), 2 * float(np.linalg.norm(goal)))

        def away(_: float, u: Floats) -> float:
            return float(np.linalg.norm(u) - far)

        reached.terminal = away.terminal = True  # type: ignore[attr-defined]
        end = solve_ivp(self._scaled(1.0), (0.0, LONG), start, "DOP853", None, False, (reached, away), rtol=1e-9)
        return float(end.t_events[0][0]) * time if len(end.t_events[0]) else np.nan

    def _scales(self) -> tuple[float, float]:
        """Length and time in which rho and Q are of order one."""
        assert self.quadratic is not None
        speed, bend = float(np.linalg.norm(self.rho)), curvature_of(self.quadratic)
        return float(np.sqrt(speed / bend)), 1 / float(np.sqrt(speed * bend))

    def _scaled(self, sign: float) -> Callable[[float, Floats], Floats]:
        """The right-hand side in these units, ``sign`` -1 for backward in time."""
        length, time = self._scales()

        def slope(_: float, u: Floats) -> Floats:
            return sign * time / length * self.kept(length * u[None])[0]

        return slope

    def _blow_up(self, sign: float) -> float:
        """Time from the ghost to infinity, forward or backward; NaN where the form stays finite."""
        length, time = self._scales()
        if not (np.isfinite(length) and np.isfinite(time)):
            return np.nan
        slope = self._scaled(sign)

        def away(_: float, u: Floats) -> float:
            return float(np.linalg.norm(u) - FAR)

        away.terminal = True  # type: ignore[attr-defined]
        end = solve_ivp(slope, (0.0, LONG), np.zeros(self.dimension), "DOP853", None, False, away, rtol=1e-9)
        if not len(end.t_events[0]):
            return np.nan
        # beyond, d|u|/dt = c |u|**2 with c of the direction that it has
        u = end.y_events[0][0]
        growth = float(u @ slope(0.0, u)) / float(np.linalg.norm(u)) ** 3
        return (float(end.t_events[0][0]) + 1 / (growth * FAR)) * time if growth > 0 else np.nan


def curvature_of(quadratic: Floats) -> float:
    """One number for the size of Q: of d independent directions with curvature a it is a."""
    return float(np.linalg.norm(quadratic)) / float(np.sqrt(len(quadratic)))


def local_forms(field: Field, network: NetworkField | None, points: SlowPoints) -> list[LocalForm]:
    """The form at every point, in the coordinates of ``field``.

    Parameters
    ----------
    field : Field
        ``network.search``, or a `UserField`.
    network : NetworkField or None
        Where the field is a network's.
    points : SlowPoints
        Of that field.

    Raises
    ------
    ValueError
        If a ghost is none of this field.
    """
    z = in_search(network, points.position)
    forms = []
    for i, at in enumerate(z):
        J = field.jacobian(at[None])[0]
        if points.kind[i] == "ghost":
            v, w = points.slow_direction[i : i + 1], points.left_vector[i : i + 1]
            if network is not None and network.basis is not None:
                v, w = v @ network.basis.T, w @ network.basis.T
            forms.append(_ghost_form(field, at, J, v[0], w[0] / (w[0] @ v[0]), points[i]))
        else:
            size = len(at)
            one = np.eye(size)
            forms.append(LocalForm(at, one, one, np.zeros(size), J, None))
    return forms


def in_search(network: NetworkField | None, states: Floats) -> Floats:
    """States (B, N) in the coordinates of the search."""
    if network is None:
        return states
    centred = states - network.offset
    return np.asarray(centred if network.basis is None else centred @ network.basis.T)


def _ghost_form(field: Field, at: Floats, J: Floats, v: Floats, w: Floats, point: SlowPoints) -> LocalForm:
    """Of a ghost: with the directions that relax, or grow, no faster than its own rate changes in
    the bottleneck.

    Along the slow direction the rate is ``2 a y``: from ``-2 sqrt(r a)`` to ``2 sqrt(r a)`` where
    ``|y| <= sqrt(r / a)``. A direction whose eigenvalue lies in that range cannot be told from it
    and counts as slow.
    """
    velocity = field.flow(at[None])[0]
    size = np.sort(np.abs(np.linalg.eigvals(J)))
    # more than one null vector: v and w of the record are one of many pairs
    count = max(1, int((size <= NULL * (1 + np.linalg.norm(J))).sum()))
    while True:
        V, W = (v[:, None], w[:, None]) if count == 1 else _invariant(J, size[count - 1])
        rho = W.T @ velocity
        # curvature is the contraction of D2F with a covector, here with each column of W
        bends = np.stack([V.T @ field.curvature(at[None], column[None])[0] @ V / 2 for column in W.T])
        linear = np.zeros((1, 1)) if count == 1 else W.T @ J @ V
        form = LocalForm(at, V, W, rho, linear, bends)
        if count == 1:
            r, own = float(point.r[0]), float(rho[0])
            if not abs(own - r) <= 1e-6 * abs(r) + 1e-12 * np.linalg.norm(W):
                raise InputError(
                    "points must be those of this model under these inputs: "
                    f"at a ghost dy/dt is {own:.6g}, its r {r:.6g}"
                )
        rate = 2 * float(np.sqrt(np.linalg.norm(rho) * curvature_of(bends)))
        more = int((size <= rate).sum())
        if more <= count:
            return form
        count = more


def _invariant(J: Floats, limit: float) -> tuple[Floats, Floats]:
    """Bases V, W (K, d) of the invariant subspaces of J of eigenvalues up to ``limit`` in absolute
    value.
    """

    def small(real: float, imaginary: float) -> bool:
        return bool(np.hypot(real, imaginary) <= limit * (1 + 1e-9))

    _, right, count = schur(J, sort=small)
    _, left, other = schur(J.T, sort=small)
    count = min(count, other)
    V, L = right[:, :count], left[:, :count]
    return V, np.asarray(L @ np.linalg.inv(V.T @ L))


def holds(forms: list[LocalForm], z: Floats, velocity: Floats) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each form holds at each state (P, B), and which one leaves out least there (B,); -1
    where none holds.
    """
    if not forms:
        return np.zeros((0, len(z)), bool), np.full(len(z), -1)
    left_out = np.stack([form.left_out(z, velocity) for form in forms])
    inside = left_out <= 1
    return inside, np.where(inside.any(axis=0), left_out.argmin(axis=0), -1)
