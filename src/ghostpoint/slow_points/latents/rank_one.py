"""The latent flow of rank-one networks: all of its zeros and ghosts, proven, for stacks of
networks.

A rank-one network moves by ``tau d kappa/dt = f(kappa)``,

    f(kappa) = -kappa + sum_i n_i tanh(m_i kappa + b_i),

in float64 (the given weights are taken as exact). Zeros of f are its fixed points; a *ghost* is a
point where |f| has a positive local minimum: f' = 0 and f f'' > 0. As |tanh| < 1, every zero has
``|kappa| <= sum
|n_i|``, the *box*.

The search (`rank_one_kernels`) is complete: each stretch of the line is proven free of zeros, or
proven to hold exactly one, or reported as undecided - which happens only where f comes so close to
a double zero that float64 cannot tell (about ``1e-13 sum |n|``), or where a zero sits on a limit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.numerics.arrays import Floats, Ints
from ghostpoint.numerics.threads import at_most_threads
from ghostpoint.slow_points.latents.rank_one_kernels import CHUNK, LARGEST, search
from ghostpoint.slow_points.latents.rank_one_records import FlowGhosts, FlowZeros

_BLOCK = 16384  # rows converted to float64 and searched at a time, to bound memory
_TANH2 = 0.7698003589195011  # max |d2 tanh / du2| = 4 / (3 sqrt 3), rounded up


def latent_flow(kappa: Any, m: Any, n: Any, b: Any) -> Floats:
    """``f(kappa) = -kappa + sum_i n_i tanh(m_i kappa + b_i)`` on a grid.

    The latent dynamics of a rank-one network without input, in units of tau (Dinc et al.,
    arXiv:2501.02378, eq. 4).

    Parameters
    ----------
    kappa : array (G,) or scalar
    m, n, b : arrays (N,) or (R, N)
        Weights of one network or of R.

    Returns
    -------
    array (G,) or (R, G), in units of kappa / tau; without the axis G for a scalar ``kappa``

    Raises
    ------
    ValueError
        If a value is not finite, shapes differ, or ``kappa`` has more than one axis.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> gp.slow_points.latents.latent_flow([-1.0, 0.0, 1.0], m=[2.0], n=[1.5], b=[0.0]).round(3)
    array([-0.446,  0.   ,  0.446])
    """
    grid = checks.finite_array("kappa", kappa)
    if grid.ndim > 1:
        checks.shape("kappa", grid, ("G",))
    weights = _weights(m, n, b)
    rows = np.empty((len(weights[0]), grid.size))
    for i, (mi, ni, bi) in enumerate(zip(*weights, strict=True)):
        argument = np.multiply.outer(grid.ravel(), mi.astype(np.float64)) + bi
        rows[i] = np.tanh(argument) @ ni.astype(np.float64) - grid.ravel()
    return rows.reshape(np.shape(m)[:-1] + grid.shape)


def flow_zeros(m: Any, n: Any = None, b: Any = None, *, limits: tuple[float, float] | None = None) -> FlowZeros:
    """All zeros of ``f(kappa) = -kappa + sum_i n_i tanh(m_i kappa + b_i)``, none missed, none
    invented.

    Parameters
    ----------
    m, n, b : arrays (R, N), or (N,) for one network
        Float32 or float64, taken as exact; R may be the epochs of a training. Or networks of rank
        one, alone.
    limits : (low, high), optional
        Where to look; by default, and wherever it reaches beyond, the box ``|kappa| <= sum |n_i|``.
        A zero within rounding of a limit is undecided.

    Raises
    ------
    ValueError
        If a value is not finite or beyond 1e30, shapes differ, or the limits are not ascending.

    Notes
    -----
    Each network is computed by itself, so the result does not depend on the stack or on the number
    of threads.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> zeros = gp.slow_points.latents.flow_zeros(m=[2.0], n=[1.5], b=[0.0])
    >>> zeros.count, zeros.complete
    (array([3]), array([ True]))
    >>> zeros.position.round(3)[0] + 0.0, zeros.stable[0]
    (array([-1.492,  0.   ,  1.492]), array([ True, False,  True]))
    """
    weights = _weights(m, n, b)
    box = _box(weights[1])
    low, high = _limits(limits)
    lower, upper = np.maximum(low, -box), np.minimum(high, box)
    found = _search(0, weights, lower, upper)
    return FlowZeros(
        count=found.zeros,
        position=found.fields[..., 0],
        radius=found.fields[..., 1],
        slope=found.fields[..., 3],
        stable=found.fields[..., 8] == -1.0,
        n_undecided=found.n_undecided,
        undecided=found.undecided,
        lower=lower,
        upper=upper,
        whole_line=(low <= -box) & (high >= box),
    )


def flow_ghosts(m: Any, n: Any = None, b: Any = None, *, limits: tuple[float, float] | None = None) -> FlowGhosts:
    """All ghosts of the latent flow: its extrema with ``f f'' > 0``, complete as in `flow_zeros`.

    Parameters
    ----------
    m, n, b : arrays (R, N), or (N,) for one network
    limits : (low, high), optional
        Where to look, by default the box ``|kappa| <= sum |n_i|``. Extrema of f beyond the box are
        possible, where f has the sign of ``-kappa``; limits that reach beyond it find them.

    Raises
    ------
    ValueError
        As `flow_zeros`; also if ``limits`` are infinite.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> ghosts = gp.slow_points.latents.flow_ghosts(m=[2.0], n=[1.5], b=[1.4])
    >>> ghosts.count, ghosts.complete
    (array([1]), array([ True]))
    >>> ghosts.height.round(3)
    array([[0.048]])
    """
    weights = _weights(m, n, b)
    box = _box(weights[1])
    low, high = _limits(limits)
    if limits is not None and not np.isfinite([low, high]).all():
        raise InputError(f"limits must be finite for ghosts, got {limits!r}")
    lower, upper = (-box, box) if limits is None else (np.full_like(box, low), np.full_like(box, high))
    found = _search(1, weights, lower, upper)
    position, radius, f, f1, f2, e0, e1, _, direction = np.moveaxis(found.fields, -1, 0)
    # f at the exact extremum, which lies within radius of position and where f' = 0
    doubt = e0 + (np.abs(f1) + e1) * radius + 0.5 * _TANH2 * found.bend[:, None] * radius**2
    is_ghost = f * direction > doubt
    unknown = np.abs(f) <= doubt
    undecided = np.concatenate([found.undecided, np.where(unknown, position, np.nan)], axis=1)
    count, n_undecided = is_ghost.sum(axis=1), found.n_undecided + unknown.sum(axis=1)
    position, radius, height, curvature = (
        _compact(array, is_ghost, count) for array in (position, radius, f, 0.5 * f2)
    )
    undecided = _compact(undecided, ~np.isnan(undecided), n_undecided)
    return FlowGhosts(count, position, radius, height, curvature, n_undecided, undecided, lower, upper)


class Folds(NamedTuple):
    """Where the number of zeros changes: ``epoch``, the first with the new number, and
    ``change``.
    """

    epoch: Ints
    change: Ints


def fold_epochs(count: Any, *, epochs: Any = None, complete: Any = None) -> Folds:
    """Epochs at which the number of zeros changes: +2 for the birth of a pair (a fold), -2 for a
    death.

    A change by an odd number is a zero that crossed a limit of the search, or a count that is not
    complete.

    Parameters
    ----------
    count : ints (E,)
        Zeros along training, as in ``FlowZeros.count``.
    epochs : (E,), optional
        Labels of the epochs, 0 to E - 1 by default.
    complete : bools (E,), optional
        As in ``FlowZeros.complete``. Epochs that are not are passed over: the next complete one is
        compared with the last.

    Raises
    ------
    ValueError
        If ``count`` is not one-dimensional, or another array is not of its shape.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> gp.slow_points.latents.fold_epochs([1, 1, 3, 3, 1], epochs=[0, 10, 20, 30, 40])
    Folds(epoch=array([20, 40]), change=array([ 2, -2]))
    """
    counts = checks.shape("count", checks.finite_array("count", count, np.int64), ("E",))
    size = counts.shape
    labels = np.arange(len(counts)) if epochs is None else checks.finite_array("epochs", epochs, np.int64)
    known = np.ones(size, bool) if complete is None else checks.finite_array("complete", complete, np.bool_)
    checks.shape("epochs", labels, size)
    checks.shape("complete", known, size)
    change = np.diff(counts[known])
    return Folds(labels[known][1:][change != 0], change[change != 0])


class _Found(NamedTuple):
    zeros: Ints
    fields: Floats  # (R, P, 9) as the kernel writes them, NaN where unused
    n_undecided: Ints
    undecided: Floats
    bend: Floats  # sum |n| m**2


def _weights(m: Any, n: Any, b: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    if isinstance(m, Record):
        form = m.tanh_form()
        if form is None or form.n is None:
            raise InputError(f"models must be of rank one, got a {type(m).__name__}")
        if m.rank != 1:
            raise InputError(f"models must be of rank one, got rank {m.rank}; latent_zeros goes up to rank three")
        for name, value in (("n", n), ("b", b)):
            if value is not None:
                raise InputError(f"{name} must be left out for networks, which have their own, got {value!r}")
        m, n, b = form.m[:, :, 0], form.n[:, :, 0], form.b
    arrays: list[NDArray[Any]] = []
    for name, value in (("m", m), ("n", n), ("b", b)):
        # float32 is kept here and converted by blocks, so that 500,000 epochs are not copied at
        # once
        single = getattr(value, "dtype", None) == np.float32
        array = checks.finite_array(name, value, np.float32 if single else np.float64)
        array = array[None] if array.ndim == 1 else array
        arrays.append(checks.shape(name, array, ("R", "N") if name == "m" else arrays[0].shape))
        if array.size and max(array.max(), -array.min()) > LARGEST:
            worst = array.flat[np.abs(array).argmax()]
            raise InputError(f"{name} must lie within +-{LARGEST:g}, got {worst}")
    return arrays[0], arrays[1], arrays[2]


def _box(n: NDArray[Any]) -> Floats:
    # a little wider than sum |n|, so that the sign of f at its ends stands clear of rounding
    return np.asarray(1.001 * np.abs(n).sum(axis=1, dtype=np.float64) + 1e-30)


def _limits(limits: tuple[float, float] | None) -> tuple[float, float]:
    if limits is None:
        return -np.inf, np.inf
    low, high = (checks.number(f"limits[{i}]", limits[i], allow_inf=True) for i in range(2))
    if not low < high:
        raise InputError(f"limits must be ascending, got {limits!r}")
    return low, high


def _search(order: int, weights: tuple[NDArray[Any], ...], lower: Floats, upper: Floats) -> _Found:
    blocks = []
    for start in range(0, len(lower), _BLOCK):
        block = slice(start, start + _BLOCK)
        # copies: for read-only arrays numba would compile the search once more
        arrays = [np.array(w[block], dtype=np.float64, order="C") for w in weights]
        blocks.append(_search_block(order, arrays, lower[block], upper[block]))
    if not blocks:
        return _Found(np.zeros(0, np.int64), np.zeros((0, 0, 9)), np.zeros(0, np.int64), np.zeros((0, 0)), np.zeros(0))
    places, stretches = max(x.fields.shape[1] for x in blocks), max(x.undecided.shape[1] for x in blocks)
    return _Found(
        np.concatenate([x.zeros for x in blocks]),
        np.concatenate([_widen(x.fields, places) for x in blocks]),
        np.concatenate([x.n_undecided for x in blocks]),
        np.concatenate([_widen(x.undecided, stretches) for x in blocks]),
        np.concatenate([x.bend for x in blocks]),
    )


def _search_block(order: int, weights: list[Floats], lower: Floats, upper: Floats) -> _Found:
    m, n, b = weights
    rows, places = len(lower), 8
    while True:
        fields, undecided = np.empty((rows, places, 9)), np.empty((rows, places))
        count, n_undecided = np.empty(rows, np.int64), np.empty(rows, np.int64)
        # waking further threads for one chunk of networks takes longer than the search
        with at_most_threads(-(-rows // CHUNK)):
            search(order, m, n, b, lower, upper, fields, undecided, count, n_undecided)
        largest, widest = int(count.max()), int(n_undecided.max())
        if max(largest, widest) <= places:
            break
        places = max(largest, widest)  # now known, so that this happens once
    fields, undecided = fields[:, :largest].copy(), undecided[:, :widest].copy()
    fields[np.arange(largest) >= count[:, None]] = np.nan
    undecided[np.arange(widest) >= n_undecided[:, None]] = np.nan
    return _Found(count, fields, n_undecided, undecided, np.einsum("rn,rn,rn->r", np.abs(n), m, m))


def _widen(array: Floats, places: int) -> Floats:
    missing = places - array.shape[1]
    return np.pad(array, [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2), constant_values=np.nan)


def _compact(array: Floats, keep: NDArray[np.bool_], count: Ints) -> Floats:
    """The kept values of each row, in their order, NaN after them."""
    places = int(count.max(initial=0))
    result = np.full((len(array), places), np.nan)
    result[np.arange(places) < count[:, None]] = array[keep]
    return result
