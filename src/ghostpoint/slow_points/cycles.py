"""Where trajectories go that come to no rest: cycles of the map, limit cycles of the flow.

A cycle of k steps of the map ``M(x) = x + alpha F(x)`` is a zero of ``M^k(x) - x``. At alpha = 1 a
tanh network's is also a zero of a field of the same form in k copies of its coordinates,
``X_{j+1} = A tanh(B X_j + c)``, so the proofs of fixed points are proofs of cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field, NetworkField, TanhField
from ghostpoint.slow_points.proofs.certificates import certify_fixed
from ghostpoint.slow_points.proofs.field_bounds import FieldBounds

LONGEST = 64  # steps of a cycle of the map that are looked for
RETURN = 1e-3  # distance (times 1 + |x|) to which a trajectory must come back for Newton's method to start
PROVABLE = 400  # coordinates of all steps of a cycle together, up to which it is proven
RK_STEP, RK_RECORD = 0.1, 300  # of the flow: step in tau, and steps in which a period is sought
RK_COARSE, RK_BEFORE = 0.2, 100  # the same of the steps before
AT_REST = 1e-8  # |F| below which a trajectory is no cycle
SHOOTING = 128  # coordinates up to which a limit cycle is refined by shooting


class Cycle(NamedTuple):
    """A closed trajectory.

    Attributes
    ----------
    kind : "map" or "flow"
    period : float
        Steps of the map, or time in units of tau.
    states : (S, N)
        Along it: all of the map's, some of the flow's.
    multipliers : (M,) complex
        Of a small deviation over one period, largest first. Of the flow's one is 1 (along the
        cycle); empty where they were not computed.
    proof : str
        "float64": exactly one cycle of this period lies within ``radius``, in the coordinates of
        the search. "none".
    radius : float
    """

    kind: str
    period: float
    states: Floats
    multipliers: NDArray[np.complex128]
    proof: str = "none"
    radius: float = np.nan

    @property
    def stable(self) -> bool:
        """Whether every multiplier, but the one along a limit cycle, is inside the unit circle."""
        sizes = np.sort(np.abs(self.multipliers))[::-1]
        return bool(len(sizes) and (sizes[1:] if self.kind == "flow" else sizes).max(initial=0.0) < 1)

    def __str__(self) -> str:
        if self.kind == "flow":
            return f"a limit cycle of the flow with period {self.period:.4g} tau"
        return f"a cycle of {self.period:.0f} steps of the map" + ", proven" * (self.proof != "none")


def map_cycles(
    network: NetworkField | None, field: Field, states: Floats, alpha: float, known: Sequence[Cycle] = ()
) -> tuple[list[Cycle], NDArray[np.bool_]]:
    """The ``known`` cycles and further ones on which trajectories of the map end, and which of the
    trajectories do, (B,).

    Parameters
    ----------
    field : Field
        In whose coordinates a cycle is refined and proven.
    states : (B, N)
        Late states of trajectories.
    """
    flow = field.flow if network is None else network.state_flow
    path = [states]
    for _ in range(LONGEST):
        path.append(path[-1] + alpha * flow(path[-1]))
    away = np.stack([np.linalg.norm(x - path[-1], axis=1) for x in path[:-1]])[::-1] / (
        1 + np.linalg.norm(path[-1], axis=1)
    )
    found = list(known)
    ended = np.zeros(len(states), bool)
    for b in range(len(states)):
        close = np.flatnonzero(away[:, b] <= RETURN)
        # a period of 1 is a fixed point that is approached slowly
        if not len(close) or close[0] == 0:
            continue
        period = int(close[0]) + 1
        if any(c.period == period and _gap(c.states, path[-1][b]) < 10 * RETURN for c in found):
            ended[b] = True
            continue
        cycle = _refined(network, field, np.stack([x[b] for x in path[-1 - period : -1]]), alpha)
        if cycle is not None:
            ended[b] = True
            if not any(c.period == period and _gap(c.states, cycle.states[0]) < 1e-6 for c in found):
                found.append(cycle)
    return found, ended


def _gap(states: Floats, x: Floats) -> float:
    return float(np.linalg.norm(states - x, axis=1).min() / (1 + np.linalg.norm(x)))


def _refined(network: NetworkField | None, field: Field, states: Floats, alpha: float) -> Cycle | None:
    """The cycle near ``states`` (k, N) by Newton's method on the k-fold map."""
    period = len(states)
    y = states if network is None else network.coordinates(states)
    start, one = y[0], np.eye(field.size)
    for _ in range(12):
        # the orbit of k steps x <- x + alpha F(x), and the product of 1 + alpha DF along it
        steps, product = [start], one
        for _ in range(period):
            x = steps[-1][None]
            product = product + alpha * (field.jacobian(x)[0] @ product)
            steps.append(x[0] + alpha * field.flow(x)[0])
        miss = steps[-1] - start
        if not np.isfinite(miss).all():
            return None
        # Newton: (D Phi - 1) change = Phi(start) - start
        try:
            change = np.linalg.solve(product - one, miss)
        except np.linalg.LinAlgError:
            return None
        if np.linalg.norm(miss) <= 1e-13 * (1 + np.linalg.norm(start)) * np.sqrt(field.size):
            break
        start = start - change
    else:
        return None
    y = np.stack(steps[:-1])
    if np.linalg.norm(y[0] - (states[0] if network is None else network.coordinates(states[:1])[0])) > 0.1 * (
        1 + np.linalg.norm(y[0])
    ):
        return None
    multipliers = np.linalg.eigvals(product)
    multipliers = multipliers[np.argsort(-np.abs(multipliers))].astype(np.complex128)
    along = y if network is None or not network.low_rank else states
    proof, radius = _proof(field, y, alpha)
    return Cycle("map", float(period), along, multipliers, proof, radius)


def _proof(field: Field, y: Floats, alpha: float) -> tuple[str, float]:
    """That a cycle lies near the steps y (k, K), all of them distinct."""
    period, size = y.shape
    if alpha != 1 or not isinstance(field, TanhField) or period * size > PROVABLE:
        return "none", np.nan
    shift = np.roll(np.eye(period), 1, axis=0)  # step j + 1 from step j
    A: Floats | None = None if field.A is None else np.asarray(np.kron(np.eye(period), field.A), np.float64)
    whole = TanhField(A, np.asarray(np.kron(shift, field.B), np.float64), np.tile(field.c, period))
    proof = certify_fixed(FieldBounds(whole), y.ravel())
    apart = min(float(np.linalg.norm(y[0] - other)) for other in y[1:])
    return ("float64", proof.radius) if proof.kind == "fixed" and apart > 2 * proof.radius else ("none", np.nan)


def _rk4(flow: Any, x: Floats, h: float) -> Floats:
    a = flow(x)
    b = flow(x + 0.5 * h * a)
    c = flow(x + 0.5 * h * b)
    return np.asarray(x + h / 6 * (a + 2 * b + 2 * c + flow(x + h * c)))


def flow_cycles(flow: Any, field: Field | None, states: Floats) -> list[Cycle]:
    """The limit cycles of the flow that trajectories from ``states`` (B, N) come to.

    ``field``: the flow in the same coordinates, by which small ones are refined by shooting; None
    for none.
    """
    x = states
    # leave the transient behind, then record the path
    for _ in range(RK_BEFORE):
        x = _rk4(flow, x, RK_COARSE)
    x = x[np.linalg.norm(flow(x), axis=1) > AT_REST]
    if not len(x):
        return []
    path = [x]
    for _ in range(RK_RECORD):
        path.append(_rk4(flow, path[-1], RK_STEP))
    whole = np.stack(path, axis=1)
    found: list[Cycle] = []
    for run in whole:
        away = np.linalg.norm(run - run[0], axis=1)
        size = float(away.max())
        if size < 1e-2 * (1 + np.linalg.norm(run[0])):
            continue
        # the first local minimum of the distance to the start, after leaving it, that is near zero
        left = int(np.argmax(away > 0.3 * size))
        turns = [i for i in range(left + 1, len(run) - 1) if away[i] <= away[i - 1] and away[i] < away[i + 1]]
        back = [i for i in turns if away[i] <= 0.5 * RK_STEP * np.linalg.norm(flow(run[:1])) + 1e-2 * size]
        if not back:
            continue
        i = back[0]
        # the distance squared is a parabola of time where the trajectory comes back
        low, mid, high = away[i - 1] ** 2, away[i] ** 2, away[i + 1] ** 2
        period = (i + 0.5 * (low - high) / max(low - 2 * mid + high, 1e-300)) * RK_STEP
        if any(_gap(c.states, run[0]) < 0.02 for c in found):
            continue
        start, multipliers = run[0], np.zeros(0, np.complex128)
        if field is not None and field.size <= SHOOTING:
            shot = _shot(field, run[0], period)
            if shot is None:
                continue
            start, period, multipliers = shot
        count = max(16, round(period / RK_STEP))
        along = [start[None]]
        for _ in range(count - 1):
            along.append(_rk4(flow, along[-1], period / count))
        found.append(Cycle("flow", float(period), np.concatenate(along), multipliers))
    return found


def _shot(field: Field, x: Floats, period: float) -> tuple[Floats, float, NDArray[np.complex128]] | None:
    """Start, period and multipliers of the limit cycle near x, by Newton's method on
    ``Phi_T(x) = x``.

    The step across the flow alone (phase condition ``F . dx = 0``), with the derivative of the
    flow's map by x from its variational equation, all by Runge and Kutta's method of fourth order
    in 0.05 tau.
    """
    size, before = field.size, period
    for _ in range(10):
        # Phi_T(x) and its derivative M, dM/dt = DF M, with the four stages of each step
        count = max(20, int(np.ceil(period / 0.05)))
        h = period / count
        y, M = x[None], np.eye(size)
        for _ in range(count):
            stages, slopes = [y], []
            matrices = [M]
            for k in range(4):
                slopes.append((field.flow(stages[k]), field.jacobian(stages[k])[0] @ matrices[k]))
                if k < 3:
                    part = h if k == 2 else 0.5 * h
                    stages.append(y + part * slopes[k][0])
                    matrices.append(M + part * slopes[k][1])
            y = y + h / 6 * sum(w * s[0] for w, s in zip((1, 2, 2, 1), slopes, strict=True))
            M = M + h / 6 * sum(w * s[1] for w, s in zip((1, 2, 2, 1), slopes, strict=True))
        # (M - 1) dx + F(Phi_T) dT = Phi_T(x) - x, with F(x) . dx = 0
        miss = y[0] - x
        first, last = field.flow(x[None])[0], field.flow(y)[0]
        system = np.zeros((size + 1, size + 1))
        system[:size, :size], system[:size, -1], system[-1, :size] = M - np.eye(size), last, first
        try:
            change = np.linalg.solve(system, np.append(miss, 0.0))
        except np.linalg.LinAlgError:
            return None
        if np.linalg.norm(miss) < 1e-10 * (1 + np.linalg.norm(x)):
            values = np.linalg.eigvals(M)
            return x, period, values[np.argsort(-np.abs(values))].astype(np.complex128)
        x, period = x - change[:size], period - float(change[-1])
        if not (0.5 * before < period < 2 * before and np.isfinite(x).all()):
            return None
    return None
