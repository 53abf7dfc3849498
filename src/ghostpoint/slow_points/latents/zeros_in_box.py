"""All zeros of the latent flow of a network of rank one, two or three, with proof.

The latents move by ``tau dkappa/dt = f(kappa)`` (Dinc et al., arXiv:2501.02378, eq. 4),

    f(kappa) = -kappa + n^T tanh(m kappa + b + W_in u),

and every fixed point of the N-dimensional network is ``x = tanh(m kappa + b + W_in u)`` at a zero
kappa of f. As |tanh| < 1, every zero has ``|kappa_k| <= sum_i |n_ik|``. The search is in
`zeros_in_box_kernels`; boxes that float64 cannot decide, which lie within about ``1e-13 sum |n|``
of a fold, are searched again in extended precision (`zeros_in_box_balls`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import driven
from ghostpoint.slow_points.latents import zeros_in_box_kernels as kernels
from ghostpoint.slow_points.latents.box_enclosure import scratch
from ghostpoint.slow_points.latents.latent_records import LatentZeros
from ghostpoint.slow_points.latents.rank_one_kernels import LARGEST

_PLACES = 256  # zeros, and undecided boxes, at first
_REASONS = {kernels.DEGENERATE: "degenerate", kernels.BUDGET: "budget"}
_EPS = 2.0**-53


def latent_zeros(
    model: Record,
    *,
    box: tuple[ArrayLike, ArrayLike] | None = None,
    inputs: ArrayLike | None = None,
    boxes: int = 1_000_000,
) -> LatentZeros:
    """All zeros of ``f(kappa) = -kappa + n^T tanh(m kappa + b + W_in u)``, none missed, none
    invented.

    The float64 weights are taken as exact, and so is the float64 value of ``b + W_in u``. Every
    rounding is bounded. What the proof cannot settle is listed as undecided: degenerate zeros, or a
    search that would take more than ``boxes``; a typical network of rank three needs ten thousand.

    Parameters
    ----------
    model : LowRankRNN
        One network of rank K = 1, 2 or 3.
    box : (lower, upper), each a number or (K,), optional
        Where to look; by default, and wherever it reaches beyond, ``|kappa_k| <= sum_i |n_ik|``,
        which holds every zero. Zeros within rounding of a limit are undecided.
    inputs : (I,), optional
        A constant input u; none by default.
    boxes : int
        How many are examined at most.

    Raises
    ------
    ValueError
        If there is more than one network, the rank is above 3, a weight is beyond 1e30, the box is
        empty, or inputs come without input weights.

    Examples
    --------
    Two units that each excite themselves have 3 x 3 fixed points, four of them stable:

    >>> import ghostpoint as gp
    >>> model = gp.LowRankRNN(m=[[[2.0, 0.0], [0.0, 2.0]]], n=[[[1.0, 0.0], [0.0, 1.0]]])
    >>> zeros = gp.slow_points.latents.latent_zeros(model)
    >>> zeros.count, zeros.complete, int(zeros.stable.sum())
    (9, True, 4)
    """
    # outside |kappa_k| <= sum_i |n_ik| there is no zero, so an unlimited search ends there
    m, n, b = _weights(model, inputs)
    widest = whole_box(n)
    low, high = _limits(box, len(widest))
    lower, upper = np.maximum(low, -widest), np.minimum(high, widest)
    whole = bool(np.all(low <= -widest) and np.all(high >= widest))
    table = _table(m, n, b)
    nowhere = bool(np.any(lower > upper))
    zeros, left, examined = _none(len(widest)) if nowhere else _search(lower, upper, table, (m, n, b), boxes)
    # with limits, a zero whose cube touches one is neither inside nor outside for sure
    inside, outside = (_within(zeros, lower, upper, side) for side in (1.0, -1.0))
    if not whole:
        on_limit = zeros[~inside & ~outside]
        left = [(np.stack([z[:-2] - z[-2], z[:-2] + z[-2]]), "limit") for z in on_limit] + left
        zeros = zeros[inside]
    # in order of kappa_1, then kappa_2, kappa_3
    zeros = zeros[np.lexsort(zeros[:, -3::-1].T)]
    position, radius = zeros[:, :-2], zeros[:, -2]
    eigenvalues, stable, proven = _stability(position, radius, table)
    return LatentZeros(
        position=position,
        radius=radius,
        isolation=zeros[:, -1],
        eigenvalues=eigenvalues,
        stable=stable,
        stability_proven=proven,
        undecided=np.array([ends for ends, _ in left]).reshape(-1, 2, len(widest)),
        reason=tuple(reason for _, reason in left),
        lower=lower,
        upper=upper,
        whole_space=whole,
        boxes_examined=examined,
    )


def whole_box(n: Floats) -> Floats:
    """Half-widths (K,) of a box around 0 that holds every zero, ``sum_i |n_ik|`` and a little
    more.
    """
    return np.asarray(1.001 * np.abs(n).sum(axis=0) + 1e-30)


def one_low_rank(model: Any, inputs: ArrayLike | None) -> Floats | None:
    """The constant input (I,) of one low-rank network, checked as the network is; None without
    one.
    """
    form = model.tanh_form() if isinstance(model, Record) else None
    if form is None or form.n is None:
        raise InputError(f"model must be a LowRankRNN, got {type(model).__name__}")
    if len(model) != 1:
        raise InputError(f"model must be one network, got {len(model)}; pick one with model[i]")
    if inputs is None:
        return None
    if form.w_in is None:
        raise InputError("inputs must be left out for a model without input weights")
    return checks.shape("inputs", checks.finite_array("inputs", inputs), (model.n_inputs,))


def _weights(model: Record, inputs: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    channel = one_low_rank(model, inputs)
    if model.rank > 3:
        raise InputError(f"model must have rank 1, 2 or 3, got {model.rank}")
    form = model.tanh_form()
    assert form is not None
    assert form.n is not None
    m, n, b = np.asarray(form.m[0], np.float64), np.asarray(form.n[0], np.float64), driven(form, channel)
    for name, array in (("m", m), ("n", n), ("b", b)):
        if np.abs(array).max() > LARGEST:
            raise InputError(f"{name} must lie within +-{LARGEST:g}, got {array.flat[np.abs(array).argmax()]}")
    return m, n, b


def _limits(box: tuple[ArrayLike, ArrayLike] | None, rank: int) -> tuple[Floats, Floats]:
    if box is None:
        return np.full(rank, -np.inf), np.full(rank, np.inf)
    ends = []
    for side in box:
        end = np.asarray(side, dtype=np.float64)
        if end.ndim:
            checks.shape("box", end, (rank,))
        ends.append(np.broadcast_to(end, (rank,)))
    if len(ends) != 2 or not np.all(ends[0] < ends[1]):  # also for NaN
        raise InputError(f"box must be (lower, upper) with lower below upper, got {box!r}")
    return ends[0], ends[1]


def _table(m: Floats, n: Floats, b: Floats) -> tuple[Floats, ...]:
    """The kernels' weights: units last, with the products n m and n m m."""
    mt, nt = np.array(m.T, order="C"), np.array(n.T, order="C")  # writable copies: numba compiles once more for others
    nm = nt[:, None] * mt[None]
    return mt, nt, np.array(b), nm, np.ascontiguousarray(nm[:, :, None] * mt[None, None])


_Left = list[tuple[Floats, str]]


def _none(rank: int) -> tuple[Floats, _Left, int]:
    return np.zeros((0, rank + 2)), [], 0


def _search(
    lower: Floats, upper: Floats, table: tuple[Floats, ...], weights: tuple[Floats, ...], budget: int
) -> tuple[Floats, _Left, int]:
    """Zeros (P, K + 2) as the kernel lists them, what is undecided and why, boxes examined."""
    rank, places = len(lower), _PLACES
    while True:
        zeros, open_ = np.empty((places, rank + 2)), np.empty((_PLACES, 2 * rank + 1))
        count, n_open, examined = kernels.search(lower, upper, table, budget, zeros, open_)
        zeros, open_ = zeros[:count], open_[: min(n_open, _PLACES)]
        if not np.any(open_[:, -1] == kernels.TOO_MANY):
            break
        # more zeros than places: once more with room for them
        places *= 4
    left: _Left = []
    for box in _merged(open_[open_[:, -1] == kernels.DEGENERATE, :-1]):
        # only here, as the package is not needed for most networks
        from ghostpoint.slow_points.latents.zeros_in_box_balls import refine

        margin = 0.1 * (box[1] - box[0])  # a zero should not lie on the edge
        found = refine(np.stack([box[0] - margin, box[1] + margin]), zeros, (weights[0], weights[1], weights[2]))
        zeros = np.concatenate([zeros, found.zeros])
        examined += found.examined
        left += [(rest, "degenerate") for rest in _merged(found.undecided[:, :-1])]
    left += [(rest, "budget") for rest in _merged(open_[open_[:, -1] == kernels.BUDGET, :-1])]
    return zeros, left, int(examined)


def _merged(ends: Floats) -> list[Floats]:
    """Hulls (2, K) of the boxes (U, 2 K) that touch, until none do."""
    boxes = list(ends.reshape(len(ends), 2, ends.shape[1] // 2))
    merged: list[Floats] = []
    while boxes:
        box = boxes.pop()
        for i, other in enumerate(merged):
            if np.all(box[0] <= other[1]) and np.all(other[0] <= box[1]):
                boxes.append(np.stack([np.minimum(box[0], other[0]), np.maximum(box[1], other[1])]))
                del merged[i]
                break
        else:
            merged.append(box)
    return merged


def _within(zeros: Floats, lower: Floats, upper: Floats, side: float) -> NDArray[np.bool_]:
    """Whether the zero is proven to be inside (side 1) or outside (-1) the limits."""
    z, r = zeros[:, :-2], zeros[:, -2:-1] * (1 + 8 * _EPS)
    gap = np.minimum(z - lower, upper - z).min(axis=1, initial=np.inf)
    return np.asarray(side * gap > r[:, 0])


def _stability(position: Floats, radius: Floats, table: tuple[Floats, ...]) -> tuple[Any, Any, Any]:
    """Eigenvalues (P, K), stable and proven (P,)."""
    places, rank = position.shape
    values = np.empty((places, rank), dtype=np.complex128)
    stable, proven = np.zeros((2, places), dtype=bool)
    x, s = scratch(rank, table[0].shape[1])
    for row in range(places):
        jacobian, error = np.empty((2, rank, rank))
        kernels.jacobian(np.ascontiguousarray(position[row]), radius[row], table, x, s, jacobian, error)
        found = np.linalg.eigvals(jacobian)
        values[row] = found[np.argsort(-found.real, kind="stable")]
        # stable, or not, only where the bounds leave no doubt; else by the eigenvalues
        low, high = _hurwitz(jacobian, error)
        proven[row] = bool(np.all(low > 0) or np.any(high < 0))
        stable[row] = np.all(low > 0) if proven[row] else np.all(found.real < 0)
    return values, stable, proven


def _hurwitz(jacobian: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Bounds of the quantities that are all positive exactly if every eigenvalue has a negative
    real part.

    Of the characteristic polynomial ``x**K + c_1 x**(K-1) + ...``: its coefficients, and
    ``c_1 c_2 - c_3`` for K = 3. A negative one means an eigenvalue with a positive real part (Routh
    and Hurwitz).
    """
    rank = len(jacobian)
    a, size = -jacobian, np.abs(jacobian)
    wide = size + error
    # c_1 = trace(-J), and how far it can be off for |J - jacobian| <= error, rounding included
    centre, spread = [np.trace(a)], [np.trace(error) + 8 * _EPS * np.trace(wide)]
    pairs = [(i, j) for i in range(rank) for j in range(i)]

    def minor(x: Floats, i: int, j: int, sign: float) -> Any:
        return x[i, i] * x[j, j] + sign * x[i, j] * x[j, i]

    def triple(x: Floats, sign: float) -> Any:
        rest = [(1, 2), (0, 2), (0, 1)]
        terms = [x[0, k] * (x[1, i] * x[2, j] + sign * x[1, j] * x[2, i]) for k, (i, j) in enumerate(rest)]
        return terms[0] + sign * terms[1] + terms[2]

    if rank > 1:
        full = sum(minor(wide, i, j, 1.0) for i, j in pairs)
        centre.append(sum(minor(a, i, j, -1.0) for i, j in pairs))
        spread.append(full - sum(minor(size, i, j, 1.0) for i, j in pairs) + 32 * _EPS * full)
    if rank > 2:
        full = triple(wide, 1.0)
        centre.append(triple(a, -1.0))
        spread.append(full - triple(size, 1.0) + 32 * _EPS * full)
        product = (abs(centre[0]) + spread[0]) * (abs(centre[1]) + spread[1])
        centre.append(centre[0] * centre[1] - centre[2])
        spread.append(product - abs(centre[0]) * abs(centre[1]) + spread[2] + 32 * _EPS * (product + abs(centre[2])))
    middle, half = np.array(centre), np.array(spread) * (1 + 2.0**-20) + 1e-300
    return middle - half, middle + half
