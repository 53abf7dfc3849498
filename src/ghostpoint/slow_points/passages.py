"""How long a ghost holds a network: the passage along its slow manifold, with an error bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import ArrayLike, NDArray

from ghostpoint import checks
from ghostpoint.slow_points.fields import Field, NetworkField, UserField, network_field
from ghostpoint.slow_points.points import SlowPoints
from ghostpoint.slow_points.slow_manifold import Curve, Lost, across, delay_of_start, refined, straight

__all__ = ["Passage", "slow_passage"]

Floats = NDArray[np.float64]
#: limits that are tried where none are given, in units of ``sqrt(r / a)``: 0.8, 0.7 and 0.5 of the time from end to end
REACHES = (3.0, 2.0, 1.0)
QUADRATURE = 200


@dataclass(frozen=True, eq=False, repr=False)
class Passage:
    """One passage of a ghost along its slow manifold.

    Attributes
    ----------
    duration : float
        In units of tau under the flow, in steps (not rounded) under the Euler map; NaN where there is no passage.
    error : float
        Half-width of the error bar, in the same units: what the slow manifold's orders before and after change, added.
        It is an estimate, not a bound; infinite where ``reason`` says why nothing can be said.
    off_curve : float
        What is added for a start at ``ghost + y0 v`` instead of on the curve, to first order; in the same units.
    y : (M,)
        Slow coordinate ``w . (x - ghost) / (w . v)``, from y0 to y1; empty where there is no curve.
    velocity : (M,)
        dy/dt there, time in units of tau; the normal form says ``r + a y**2``.
    latent_or_state : (M, K)
        The curve: latents of a low-rank network, states of others.
    order : int
        Passes of the iteration that the result is of; 0 for the curve on which F is parallel to v.
    alpha : float or None
        Step of the Euler map, None for the flow.
    reason : str
        Empty for a usable error bar.
    """

    duration: float
    error: float
    off_curve: float
    y: Floats
    velocity: Floats
    latent_or_state: Floats
    order: int
    alpha: float | None
    reason: str

    def __repr__(self) -> str:
        unit = "tau" if self.alpha is None else "steps"
        if self.reason:
            return f"Passage: {self.duration:.4g} {unit}, no error bar: {self.reason}"
        return f"Passage: {self.duration:.4g} +- {self.error:.2g} {unit} from y = {self.y[0]:.3g} to {self.y[-1]:.3g}"


def slow_passage(
    model_or_field: Any,
    point: SlowPoints,
    y0: float | None = None,
    y1: float | None = None,
    *,
    alpha: float | None = None,
    inputs: ArrayLike | None = None,
) -> Passage:
    """Time that a network takes past a ghost, from y0 to y1 of its slow coordinate, along its slow manifold.

    The normal form ``dy/dt = r + a y**2`` (`SlowPoints.passage_time`) is exact in the limit of a slow passage only.
    Here dy/dt = g(y) is that of the whole network on the curve that carries it (see `slow_manifold`); for rank one,
    where there is nothing beside the curve, that is exact. The order taken is the one about which the iteration changes
    the duration least: the changes before and after it, added, are the error bar.

    Parameters
    ----------
    model_or_field : LowRankRNN, FullRankRNN or UserField
        What `find_slow_points` was given.
    point : SlowPoints
        One ghost, ``points.ghosts[i]``.
    y0, y1 : float, optional
        y0 < 0 < y1, in units of the state along the unit vector v; by default ``-+ 3 sqrt(r / a)``, 0.8 of
        the time from end to end of the normal form, or where that gives no error bar -+ 2 or -+ 1 of it (0.7, 0.5).
    alpha : float, optional
        dt / tau, for steps of the Euler map. By default the flow's time, in units of tau.
    inputs : (I,), optional
        As given to `find_slow_points`.

    Returns
    -------
    Passage
        With an infinite ``error`` and a ``reason`` where the curve breaks off before y0 or y1, where the network is
        driven away from it on the way, or where there are fewer than three orders to compare.

    Raises
    ------
    ValueError
        If ``point`` is not one ghost, or of another network's size; for limits that are not on both sides of 0.
    """
    if len(point) != 1 or point.kind[0] != "ghost":
        kinds = ", ".join(str(kind) for kind in point.kind)
        raise ValueError(f"point must be one ghost (points.ghosts[i]), got {len(point)} points: {kinds}")
    step = None if alpha is None else checks.number("alpha", alpha, above=0.0)
    width = float(np.sqrt(point.r[0] / point.a[0]))
    low = [-reach * width for reach in REACHES] if y0 is None else [checks.number("y0", y0)]
    high = [reach * width for reach in REACHES] if y1 is None else [checks.number("y1", y1, above=0.0)]
    if low[0] >= 0:
        raise ValueError(f"y0 must be below 0, where the ghost is, got {low[0]:g}")
    coordinate = _slow_coordinate(model_or_field, point, inputs)
    first: Passage | None = None
    for k in range(max(len(low), len(high))):
        passage = _between(*coordinate, low[min(k, len(low) - 1)], high[min(k, len(high) - 1)], step)
        if not passage.reason:
            return passage
        first = first or passage
    assert first is not None
    return first


def _between(field: Field, at: Floats, v: Floats, w: Floats, low: float, high: float, alpha: float | None) -> Passage:
    try:
        curves = [straight(field, at, v, w, low, high)]
    except Lost as lost:
        return Passage(np.nan, np.inf, np.nan, np.zeros(0), np.zeros(0), np.zeros((0, len(at))), 0, alpha, str(lost))
    curves += list(refined(field, at, w, curves[0], alpha))
    durations = [_duration(curve.velocity(), alpha) for curve in curves]
    # one small change may be chance: what counts is the changes before and after an order together
    change = np.abs(np.diff([duration for duration, _ in durations]))
    bars = change[:-1] + change[1:]
    if not np.isfinite(bars).any():
        reason = "the iteration breaks off before it settles"
        return _result(curves[0], durations[0][0], np.inf, np.nan, 0, alpha, reason)
    order = int(np.nanargmin(np.where(np.isfinite(bars), bars, np.inf))) + 1
    curve, (duration, remainder) = curves[order], durations[order]
    driven = across(field, w, curve)
    if alpha is None:
        growing = driven.real.max(axis=1, initial=-np.inf) >= 0
    else:
        growing = np.abs(1 + alpha * driven).max(axis=1, initial=0.0) >= 1
    if growing.any():
        reason = f"the network is driven away from the curve at y = {curve.y[growing.argmax()]:.3g}"
        return _result(curve, duration, np.inf, np.nan, order, alpha, reason)
    gained = delay_of_start(field, w, curve, at + low * v)
    off_curve = -gained / curve.g[0] / (1.0 if alpha is None else alpha)
    return _result(curve, duration, float(bars[order - 1]) + remainder, off_curve, order, alpha, "")


def _slow_coordinate(
    model_or_field: Any, point: SlowPoints, inputs: ArrayLike | None
) -> tuple[Field, Floats, Floats, Floats]:
    """The field, the ghost and its v and w in the field's coordinates, with ``w . (kappa - ghost)`` the state's y."""
    at, v, w = point.position[0], point.slow_direction[0], point.left_vector[0]
    network: NetworkField | None = None
    if isinstance(model_or_field, UserField):
        if inputs is not None:
            raise ValueError("inputs must be part of the functions of a UserField, got inputs")
        field: Field = model_or_field
        units = field.size
    else:
        network = network_field(model_or_field, inputs)
        field, units = network.exact, network.n_units
    if len(at) != units:
        raise ValueError(f"point must have {units} units like the model, got {len(at)}")
    w = w / (w @ v)
    if network is not None and network.exact.A is not None and point.latent is not None:
        # w is in the range of n, w = n omega, and kappa = n^T x
        omega = np.linalg.lstsq(network.exact.A.T, w, rcond=None)[0]
        return field, point.latent[0], network.exact.A @ v, omega
    return field, at, v, w


def _duration(velocity: Chebyshev, alpha: float | None) -> tuple[float, float]:
    """Time from end to end at dy/dt = g(y), and what the expansion in alpha leaves out; infinite unless all g > 0.

    The map ``y + alpha g`` follows the flow ``g - alpha g g'/2 + alpha**2 (g**2 g''/12 + g g'**2/3) - ...``: it takes

        (1/alpha) int dy / g + (1/2) log(g(y1) / g(y0)) - (alpha/12) int (g'' + g'**2 / g) dy

    steps and a remainder: a tenth of the last term, and alpha g'(y1) / 8 for cutting the last step linearly.
    """
    y0, y1 = velocity.domain
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE)
    y, weights = (y0 + y1) / 2 + (y1 - y0) / 2 * nodes, weights * (y1 - y0) / 2
    g, slope, bend = velocity(y), velocity.deriv()(y), velocity.deriv(2)(y)
    if not (g > 0).all():
        return np.inf, np.inf
    flow = float(weights @ (1 / g))
    if alpha is None:
        return flow, 0.0
    last = float(weights @ (bend + slope**2 / g)) * alpha / 12
    steps = flow / alpha + 0.5 * float(np.log(velocity(y1) / velocity(y0))) - last
    return steps, abs(last) / 10 + alpha * abs(float(velocity.deriv()(y1))) / 8


def _result(
    curve: Curve, duration: float, error: float, off_curve: float, order: int, alpha: float | None, reason: str
) -> Passage:
    return Passage(duration, error, off_curve, curve.y, curve.g, curve.x, order, alpha, reason)
