"""How long a ghost holds a network: the passage along its slow manifold, with an error bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field, NetworkField, network_field
from ghostpoint.slow_points.passages.slow_manifold import NODES, Curve, Lost, across, delay_of_start, refined, straight
from ghostpoint.slow_points.points import SlowPoints
from ghostpoint.slow_points.user_field import UserField
from ghostpoint.summary import Rows, Summarised

#: limits that are tried where none are given, in units of ``sqrt(r / a)``: 0.8, 0.7 and 0.5 of the
#: time from end to end
REACHES = (3.0, 2.0, 1.0)
#: error of the polynomials that is small enough, in parts of the duration
RESOLVED = 1e-6
PANEL = 16  # nodes of a panel of the quadrature


@dataclass(frozen=True, eq=False, repr=False)
class Passage(Summarised):
    """One passage of a ghost along its slow manifold.

    Attributes
    ----------
    duration : float
        In units of tau under the flow, in steps (not rounded) under the Euler map; NaN where there
        is no passage. With a ``reason`` it is that of the last usable curve, and not to be relied
        on.
    error : float
        Half-width of the error bar, in the same units: what the slow manifold's orders before and
        after change, what the polynomials and the expansion in alpha leave out, and rounding,
        added. An estimate, not a bound; infinite where ``reason`` says why nothing can be said.
    off_curve : float
        What is added for a start at ``ghost + y0 v`` instead of on the curve, to first order; in
        the same units.
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

    def summary(self) -> tuple[str, Rows]:
        """One line."""
        return repr(self), []

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
    """Time that a network takes past a ghost, from y0 to y1 of its slow coordinate, along its slow
    manifold.

    The normal form ``dy/dt = r + a y**2`` (`SlowPoints.passage_time`) is exact in the limit of a
    slow passage only. Here dy/dt = g(y) is that of the whole network on the curve that carries it
    (see `slow_manifold`). For rank one there is nothing beside the curve: what remains is the error
    of the polynomial g, and rounding. The iteration is stopped at the order at which the duration
    changes least. The changes from the order before and to the order after are most of the error
    bar.

    Parameters
    ----------
    model_or_field : Record of one network, or UserField
        What `find_slow_points` was given.
    point : SlowPoints
        One ghost, ``points.ghosts[i]``.
    y0, y1 : float, optional
        y0 < 0 < y1, in units of the state along the unit vector v; by default ``-+ 3 sqrt(r / a)``,
        0.8 of the time from end to end of the normal form, or where that gives no error bar -+ 2 or
        -+ 1 of it (0.7, 0.5).
    alpha : float, optional
        dt / tau (``points.alpha``), for steps of the Euler map. By default the flow's time, in
        units of tau.
    inputs : (I,), optional
        As given to `find_slow_points`.

    Returns
    -------
    Passage
        With an infinite ``error`` and a ``reason`` where the curve is not found as far as y0 or y1,
        where F vanishes on it, where the network is driven away from it on the way (by the
        eigenvalues across it, an indicator), where there are fewer than three orders to compare, or
        where steps are long against the change of dy/dt.

    Raises
    ------
    ValueError
        If ``point`` is not one ghost of this network under these inputs; for limits that are not on
        both sides of 0.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> model = gp.LowRankRNN(m=[2.0], n=[1.5], b=[1.31])
    >>> ghost = gp.find_slow_points(model).ghosts[0]
    >>> passage = gp.slow_passage(model, ghost)
    >>> passage
    Passage: 33.75 +- ... tau from y = -0.0908 to 0.0908
    """
    if len(point) != 1 or point.kind[0] != "ghost":
        kinds = ", ".join(str(kind) for kind in point.kind)
        raise InputError(f"point must be one ghost (points.ghosts[i]), got {len(point)} points: {kinds}")
    step = None if alpha is None else checks.number("alpha", alpha, above=0.0)
    if not (point.r[0] > 0 and point.a[0] > 0):
        raise InputError(f"point must be a ghost with r, a > 0, got r = {point.r[0]:g} and a = {point.a[0]:g}")
    # the half-width of the bottleneck: dy/dt doubles there
    width = float(np.sqrt(point.r[0] / point.a[0]))
    low = [-reach * width for reach in REACHES] if y0 is None else [checks.number("y0", y0)]
    high = [reach * width for reach in REACHES] if y1 is None else [checks.number("y1", y1, above=0.0)]
    if low[0] >= 0:
        raise InputError(f"y0 must be below 0, where the ghost is, got {low[0]:g}")
    coordinate = _slow_coordinate(model_or_field, point, inputs)
    first: Passage | None = None
    for k in range(max(len(low), len(high))):
        passage = _between(*coordinate, width, low[min(k, len(low) - 1)], high[min(k, len(high) - 1)], step)
        if not passage.reason:
            return passage
        first = first or passage
    assert first is not None
    return first


def _between(
    field: Field, at: Floats, v: Floats, w: Floats, width: float, low: float, high: float, alpha: float | None
) -> Passage:
    """With as many nodes as it takes to resolve g; of several, the one with the smallest error
    bar.
    """
    best: Passage | None = None
    for count in NODES:
        passage, unresolved = _at_nodes(field, at, v, w, width, low, high, alpha, count)
        if best is None or passage.error < best.error:
            best = passage
        if passage.reason or unresolved <= max(RESOLVED * passage.duration, 0.1 * passage.error):
            break
    assert best is not None
    return best


def _at_nodes(
    field: Field,
    at: Floats,
    v: Floats,
    w: Floats,
    width: float,
    low: float,
    high: float,
    alpha: float | None,
    count: int,
) -> tuple[Passage, float]:
    """The passage, and what of its error bar is due to the polynomial of g; 0 where more nodes
    would not help.
    """
    try:
        first = straight(field, at, v, w, low, high, count)
    except Lost as lost:
        return _without(at, alpha, str(lost)), 0.0
    if not (first.g > 0).all():
        place = first.y[np.argmax(~(first.g > 0))]
        return _without(at, alpha, f"the velocity along the slow direction vanishes before y = {place:.3g}"), 0.0
    # one curve and one duration for each order of the iteration
    curves = [first, *refined(field, at, w, first, alpha)]
    timed = [_timed(curve, w, width, alpha) for curve in curves]
    duration, left_out = np.array([t.duration for t in timed]), np.array([t.unresolved + t.remainder for t in timed])
    # one small change may be chance: what counts is the changes before and after an order together
    change = np.abs(np.diff(duration))
    bars = change[:-1] + change[1:] + left_out[1:-1]
    if not np.isfinite(bars).any():
        return _result(first, duration[0], 0, alpha, "the iteration breaks off before it settles"), 0.0
    # the order with the smallest error bar
    order = int(np.nanargmin(np.where(np.isfinite(bars), bars, np.inf))) + 1
    curve = curves[order]
    if timed[order].fastest >= 1:
        reason = f"steps are too long: dy/dt changes by {timed[order].fastest:.2g} of itself in one"
        return _result(curve, duration[order], order, alpha, reason), 0.0
    # the curve must attract: eigenvalues across it, of the flow or of the map
    driven = across(field, w, curve)
    if alpha is None:
        growing = driven.real.max(axis=1, initial=-np.inf) >= 0
    else:
        growing = np.abs(1 + alpha * driven).max(axis=1, initial=0.0) >= 1
    if growing.any():
        reason = f"the network is driven away from the curve at y = {curve.y[growing.argmax()]:.3g}"
        return _result(curve, duration[order], order, alpha, reason), 0.0
    # a start at ghost + y0 v is beside the curve, and gains or loses a little on its way to it
    gained = delay_of_start(field, w, curve, at + low * v)
    off_curve = -gained / curve.g[0] / (1.0 if alpha is None else alpha)
    passage = _result(curve, duration[order], order, alpha, "", float(bars[order - 1]), off_curve)
    return passage, timed[order].unresolved


def _slow_coordinate(
    model_or_field: Any, point: SlowPoints, inputs: ArrayLike | None
) -> tuple[Field, Floats, Floats, Floats]:
    """The field, the ghost and its v and w in the field's coordinates, with ``w . (kappa - ghost)``
    the state's y.
    """
    at, v, w = point.position[0], point.slow_direction[0], point.left_vector[0]
    network: NetworkField | None = None
    if isinstance(model_or_field, UserField):
        if inputs is not None:
            raise InputError("inputs must be part of the functions of a UserField, got inputs")
        field: Field = model_or_field
        units = field.size
    else:
        network = network_field(model_or_field, inputs)
        field, units = network.exact, network.n_units
    if len(at) != units:
        raise InputError(f"point must have {units} units like the model, got {len(at)}")
    w = w / (w @ v)
    if network is not None and network.A is not None:
        # w is in the range of n, w = n omega, and kappa = n^T x
        omega = np.linalg.lstsq(network.A.T, w, rcond=None)[0]
        at, v, w = network.coordinates(at[None])[0], network.A @ v, omega
    speed, J = float(w @ field.flow(at[None])[0]), field.jacobian(at[None])[0]
    same = abs(speed - point.r[0]) <= 1e-6 * point.r[0] + 1e-12 * np.linalg.norm(w)
    if not (same and np.linalg.norm(J @ v) <= 1e-6 * (1 + np.linalg.norm(J)) * np.linalg.norm(v)):
        own = f"dy/dt is {speed:.6g} there, its r {point.r[0]:.6g}"
        raise InputError(f"point must be a ghost of this model under these inputs, got one of another: {own}")
    return field, at, v, w


class _Timed(NamedTuple):
    """Duration of a curve, what the polynomial and the expansion in alpha leave out, the largest
    ``alpha |dg/dy|``.
    """

    duration: float
    unresolved: float
    remainder: float
    fastest: float


def _timed(curve: Curve, w: Floats, width: float, alpha: float | None) -> _Timed:
    """Time from end to end at dy/dt = g(y); not finite unless all g > 0.

    The map ``y + alpha g`` follows the flow ``g - alpha g g'/2 + alpha**2 (g**2 g''/12 + g g'**2/3)
    - ...``: it takes

        (1/alpha) int dy / g + (1/2) log(g(y1) / g(y0)) - (alpha/12) int (g'' + g'**2 / g) dy

    steps and a remainder, for which the last integral, of absolute values, is taken times the
    largest alpha |g'|, and ``alpha g'(y1) / 8`` for cutting the last step linearly. The error of g
    counts by ``int |error| dy / g**2``.
    """
    velocity = curve.velocity()
    y, weights = _nodes(curve.y[0], curve.y[-1], width)
    g, slope, bend = velocity(y), velocity.deriv()(y), velocity.deriv(2)(y)
    if not (g > 0).all():
        return _Timed(np.inf, np.inf, 0.0, np.inf)
    # int dy / g, and int |error of g| dy / g**2
    flow, unresolved = float(weights @ (1 / g)), curve.unresolved(w) * float(weights @ (1 / g**2))
    if alpha is None:
        return _Timed(flow, unresolved, 0.0, 0.0)
    fastest = alpha * float(np.abs(slope).max())
    last = alpha / 12 * (bend + slope**2 / g)
    # the three terms of the docstring
    steps = flow / alpha + 0.5 * float(np.log(curve.g[-1] / curve.g[0])) - float(weights @ last)
    cut = alpha * abs(float(velocity.deriv()(curve.y[-1]))) / 8
    return _Timed(steps, unresolved / alpha, fastest * float(weights @ np.abs(last)) + cut, fastest)


def _nodes(y0: float, y1: float, width: float) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on panels that double in length away from 0, beside which 1
    / g has poles.
    """
    nodes, weights = np.polynomial.legendre.leggauss(PANEL)
    edges = [0.0]
    for end in (y0, y1):
        outward = [np.sign(end) * min(width / 2 * 2.0**k, abs(end)) for k in range(60)]
        edges += [edge for edge in outward if abs(edge) < abs(end)] + [end]
    bounds = np.unique(edges)
    middle, half = (bounds[1:] + bounds[:-1]) / 2, np.diff(bounds) / 2
    return (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel()


def _result(
    curve: Curve,
    duration: float,
    order: int,
    alpha: float | None,
    reason: str,
    error: float = np.inf,
    off_curve: float = np.nan,
) -> Passage:
    return Passage(float(duration), error, off_curve, curve.y, curve.g, curve.x, order, alpha, reason)


def _without(at: Floats, alpha: float | None, reason: str) -> Passage:
    return Passage(np.nan, np.inf, np.nan, np.zeros(0), np.zeros(0), np.zeros((0, len(at))), 0, alpha, reason)
