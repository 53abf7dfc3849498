"""How a ghost's normal form changes with the weights: exact gradients, by the implicit function
theorem.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import network_field
from ghostpoint.slow_points.points import SlowPoints


class NormalFormGradient(NamedTuple):
    """Derivatives by part ("W", "b", "w_in" or "m", "n", "b", "w_in"), each of the part's shape
    with its R = 1.
    """

    r: dict[str, Floats]
    a: dict[str, Floats]
    escape_time: dict[str, Floats]


def normal_form_gradient(model: Any, point: SlowPoints, inputs: ArrayLike | None = None) -> NormalFormGradient:
    """Gradients of r, a and ``pi / sqrt(r a)`` of a ghost with respect to the weights, the ghost
    moving with them.

    The ghost Y = (x, w, s, v) solves ``F - s w = 0, J^T w = 0, w.w = 1, J v + e w = 0, v.v = 1`` (e
    = 0 takes up the one equation too many), so for a function g of Y and the weights
    ``dg = (d/d weights)(g - lambda . equations)`` with ``equations'^T lambda = g'``: one linear
    system for r and a. In particular ds = w . dF, as q is stationary.

    Parameters
    ----------
    model : LowRankRNN or FullRankRNN
        The record of one network that ``point`` was found in.
    point : SlowPoints
        One ghost, ``points[i]``.
    inputs : (I,), optional
        As given to `find_slow_points`.

    Raises
    ------
    ValueError
        If ``point`` is not one ghost, or of another network's size; for families without a
        :class:`TanhForm`.

    Examples
    --------
    A larger bias makes this ghost faster, so its passage shorter:

    >>> import ghostpoint as gp
    >>> model = gp.LowRankRNN(m=[2.0], n=[1.5], b=[1.4])
    >>> gradient = gp.slow_points.normal_form_gradient(model, gp.find_slow_points(model).ghosts[0])
    >>> slower = gradient.escape_time["b"]
    >>> gradient.r["b"].shape, bool(gradient.r["b"][0, 0] > 0), bool(slower[0, 0] < 0)
    ((1, 1), True, True)
    """
    if len(point) != 1 or point.kind[0] != "ghost":
        kinds = ", ".join(str(kind) for kind in point.kind)
        raise InputError(f"point must be one ghost (points.ghosts[i]), got {len(point)} points: {kinds}")
    network = network_field(model, inputs)
    if point.position.shape[1] != network.n_units:
        raise InputError(f"point must have {network.n_units} units like the model, got {point.position.shape[1]}")
    field = network.tanh
    if field is None:
        raise InputError(f"model must have the form -x + tanh(W x + W_in u + b), got a {type(model).__name__}")
    W = field.B if field.A is None else field.B @ field.A
    x, v, w, s = point.position[0], point.slow_direction[0], point.left_vector[0], float(point.speed[0])
    # tanh, its first three derivatives, and a and r of the normal form
    u = W @ x + field.c
    t = np.tanh(u)
    g = 1 - t * t
    tanh2, tanh3 = -2 * t * g, -2 * g * (1 - 3 * t * t)
    N, Wv, overlap = len(x), W @ v, float(w @ v)
    a = float(w @ (tanh2 * Wv**2)) / (2 * overlap)
    r = s / overlap
    J = g[:, None] * W - np.eye(N)
    D = np.zeros((3 * N + 3, 3 * N + 3))
    X, Left, S, V, E = slice(0, N), slice(N, 2 * N), 2 * N, slice(2 * N + 1, 3 * N + 1), 3 * N + 1
    rows = slice(2 * N + 1, 3 * N + 1)
    # the derivative of the five groups of equations by Y = (x, w, s, v, e)
    D[X, X], D[X, Left], D[X, S] = J, -s * np.eye(N), -w
    D[Left, X], D[Left, Left] = W.T @ ((w * tanh2)[:, None] * W), J.T
    D[S, Left] = w
    D[rows, X], D[rows, V], D[rows, E] = (tanh2 * Wv)[:, None] * W, J, w
    D[E, V] = v
    square = D[: 3 * N + 2, : 3 * N + 2]
    # derivatives of r and a by Y; a = top / (2 w.v)
    by = np.zeros((3 * N + 2, 2))
    by[Left, 0], by[S, 0], by[V, 0] = -r / overlap * v, 1 / overlap, -r / overlap * w
    by[X, 1] = W.T @ (w * tanh3 * Wv**2) / (2 * overlap)
    by[Left, 1] = tanh2 * Wv**2 / (2 * overlap) - a / overlap * v
    by[V, 1] = W.T @ (w * tanh2 * Wv) / overlap - a / overlap * w
    multipliers = np.linalg.solve(square.T, by)
    parts = []
    for k, direct in ((0, 0.0), (1, 1.0)):
        along, twist, tangent = multipliers[X, k], multipliers[Left, k], multipliers[rows, k]
        # the weights enter through u = W x + c, W twist and W v
        drive = -(along * g + w * tanh2 * (W @ twist) + tangent * tanh2 * Wv)
        drive += direct * w * tanh3 * Wv**2 / (2 * overlap)
        by_v = -tangent * g + direct * w * tanh2 * Wv / overlap
        by_W = np.outer(drive, x) - np.outer(w * g, twist) + np.outer(by_v, v)
        parts.append(_parts(model, network.input, by_W, drive))
    time = np.pi / np.sqrt(r * a)
    escape = {name: -time / 2 * (parts[0][name] / r + parts[1][name] / a) for name in parts[0]}
    return NormalFormGradient(parts[0], parts[1], escape)


def _parts(model: Any, channel: Floats | None, by_W: Floats, by_drive: Floats) -> dict[str, Floats]:
    """The chain rule from W and the drive to the model's parts."""
    parts: dict[str, Floats] = {}
    form = model.tanh_form()
    if form.n is None:
        parts["W"] = by_W[None]
    else:
        parts["m"], parts["n"] = (by_W @ form.n[0])[None], (by_W.T @ form.m[0])[None]
    parts["b"] = by_drive[None]
    if model.w_in is not None:
        u = np.zeros(model.n_inputs) if channel is None else channel
        parts["w_in"] = np.outer(by_drive, u)[None]
    return parts
