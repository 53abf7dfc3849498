"""Which slow points trajectories pass: the public call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field, NetworkField, network_field
from ghostpoint.slow_points.find import find_slow_points
from ghostpoint.slow_points.points import SlowPoints
from ghostpoint.slow_points.search.starts import groups
from ghostpoint.slow_points.user_field import UserField
from ghostpoint.slow_points.visits.local_form import in_search, local_forms
from ghostpoint.slow_points.visits.sequence_record import GhostSequence
from ghostpoint.slow_points.visits.stretches import visits_of

#: states of each trajectory, evenly spaced along its way, that the search starts from too
SPREAD = 32
ALIKE = 1e-3  # states closer than this (times 1 + |x|) are one start
MOST = 512  # starts, beyond which a part of them is taken


def ghost_sequence(
    model_or_field: Any,
    trajectory: ArrayLike | Sequence[ArrayLike],
    times: ArrayLike | Sequence[ArrayLike] | None = None,
    *,
    points: SlowPoints | None = None,
    inputs: ArrayLike | None = None,
    equation: str = "rate",
    activation: str = "tanh",
) -> GhostSequence:
    """Which ghosts and fixed points trajectories pass, in what order, and how long they stay.

    A trajectory *visits* a slow point while the point's local form describes its motion: at a ghost
    with one slow direction the normal form ``dy/dt = r + a y**2``, at a fixed point the
    linearisation. The form holds where what it leaves out is smaller than what it keeps, along the
    slow direction and across it (`visits.local_form`). A visit *passes* a ghost if it goes through
    the section y = 0, where the motion is slowest; it *grazes* it if it stays on one side. Nothing
    in this is tuned, and nothing but the trajectory's own samples and F at them is used.

    Where two or more directions are slow, a ghost has that ``dimension``: eigenvalues of absolute
    value up to ``2 sqrt(r a)``, the range that the slow direction's own rate ``2 a y`` sweeps in
    the bottleneck ``|y| <= sqrt(r / a)``. Its form is then quadratic in all of them, and its
    passage time is that of the form's way through the ghost, where it has one. (Ghosts with several
    slow directions: Koch and Nandan, "Generalized saddle-node ghosts and their composite structures
    in dynamical systems", arXiv:2604.05194, 2026. They look for eigenvalues that change sign along
    a trajectory; the method here starts from the ghosts.)

    Parameters
    ----------
    model_or_field : Record of one network, or UserField
        As for `find_slow_points`.
    trajectory : (T, N), (R, T, N), or R arrays (T_i, N)
        States of one trajectory or of R trials, T at least 2. Under one constant input: of a trial
        with cues give the part after them.
    times : float, (T,), or R arrays (T_i,), optional
        Times of the samples, or what is between two of them, in units of tau. By default the
        spacing is taken to be even, and read off the trajectory itself: the median of
        ``F . (x' - x) / |F|**2`` over neighbouring samples, which is alpha of an Euler map, and
        right to first order for a finely sampled flow.
    points : SlowPoints, optional
        The slow points, where they are known. By default `find_slow_points` looks for them, from
        the trajectory's slowest states among others.
    inputs, equation, activation : optional
        As for `find_slow_points`.

    Returns
    -------
    GhostSequence

    Raises
    ------
    ValueError
        For shapes that do not fit, times that do not increase, points of another model.

    Examples
    --------
    Two ghosts in a row, at x = -1 and 1:

    >>> import numpy as np
    >>> import ghostpoint as gp
    >>> field = gp.slow_points.UserField(lambda x: 1e-3 + (x**2 - 1) ** 2, None, size=1)
    >>> x = [np.array([-2.0])]
    >>> while x[-1] < 2:
    ...     x.append(x[-1] + 0.01 * field.flow(x[-1][None])[0])
    >>> sequence = gp.ghost_sequence(field, np.array(x))
    >>> sequence.way.tolist(), sequence.channels[0].points
    (['passes', 'passes'], (0, 1))
    """
    network: NetworkField | None = None
    if isinstance(model_or_field, UserField):
        field: Field = model_or_field
        if inputs is not None:
            raise InputError("inputs must be part of the functions of a UserField, got inputs")
        size = field.size
    else:
        network = network_field(model_or_field, inputs, equation=equation, activation=activation)
        field, size = network.search, network.n_units
    states = _trajectories(trajectory, size)
    z = [in_search(network, x) for x in states]
    velocity = [field.flow(each) for each in z]
    if not all(np.isfinite(each).all() for each in velocity):
        raise InputError("trajectory must stay where the velocity is finite, and it does not")
    clock = _clock(times, z, velocity)
    if points is None:
        seeds = _slow_states(states, z, velocity)
        options: dict[str, Any] = {"states": seeds}
        if network is None:
            # every given state is one start; with noise that only separates exact symmetries
            options |= {"n_starts": len(seeds), "noise": 1e-6 * float(1 + np.abs(seeds).max())}
        else:
            options |= {"inputs": inputs, "equation": equation, "activation": activation}
        points = find_slow_points(model_or_field, **options)
    elif points.position.shape[1] != size:
        raise InputError(f"points must have {size} units like the model, got {points.position.shape[1]}")
    forms = local_forms(field, network, points)
    found = [
        (trial, visit)
        for trial, each in enumerate(zip(z, velocity, clock, strict=True))
        for visit in visits_of(forms, *each)
    ]
    ghost = points.kind == "ghost"
    return GhostSequence(
        points=points,
        dimension=np.array(
            [form.dimension if is_ghost else 0 for form, is_ghost in zip(forms, ghost, strict=True)], int
        ),
        passage_time=np.array([form.passage_time for form in forms]),
        trial=np.array([trial for trial, _ in found], int),
        point=np.array([visit.point for _, visit in found], int),
        enter=np.array([visit.enter for _, visit in found], float),
        leave=np.array([visit.leave for _, visit in found], float),
        predicted=np.array([visit.predicted for _, visit in found], float),
        speed=np.array([visit.speed for _, visit in found], float),
        way=np.array([visit.way for _, visit in found], "<U6"),
        duration=np.array([t[-1] - t[0] for t in clock]),
    )


def _trajectories(trajectory: ArrayLike | Sequence[ArrayLike], size: int) -> list[Floats]:
    """The trajectories as a list of (T_i, N)."""
    try:
        array = np.asarray(trajectory, dtype=np.float64)
        given = [array] if array.ndim == 2 else list(array)
    except ValueError:  # of different lengths
        given = [np.asarray(each, dtype=np.float64) for each in trajectory]  # type: ignore[union-attr]
    for x in given:
        if x.ndim != 2 or x.shape[1] != size or len(x) < 2:
            raise InputError(
                f"trajectory must be (T, {size}) or (R, T, {size}) with T at least 2, or arrays (T, {size}); "
                f"got one of shape {x.shape}"
            )
        checks.finite_array("trajectory", x)
    if not given:
        raise InputError("trajectory must hold at least one trajectory, got none")
    return given


def _clock(times: Any, z: list[Floats], velocity: list[Floats]) -> list[Floats]:
    """Times (T_i,) of all samples of each trajectory."""
    if times is None:
        spacing = _spacing(z, velocity)
        return [_even(spacing, len(each)) for each in z]
    if np.ndim(times) == 0:
        spacing = checks.number("times", times, above=0.0)
        return [_even(spacing, len(each)) for each in z]
    each_own = any(np.ndim(each) for each in times)
    given = [np.asarray(t, dtype=np.float64) for t in (times if each_own else [times] * len(z))]
    if len(given) != len(z):
        raise InputError(f"times must be of as many trajectories as given, {len(z)}, got {len(given)}")
    for t, x in zip(given, z, strict=True):
        checks.shape("times", checks.finite_array("times", t), (len(x),))
        if not (np.diff(t) > 0).all():
            raise InputError("times must increase from sample to sample, and they do not")
    return given


def _even(spacing: float, count: int) -> Floats:
    return np.asarray(spacing * np.arange(count), dtype=np.float64)


def _spacing(z: list[Floats], velocity: list[Floats]) -> float:
    """The spacing of evenly spaced samples: the median of ``F . (x' - x) / |F|**2``."""
    moved = np.concatenate([np.diff(each, axis=0) for each in z])
    f = np.concatenate([each[:-1] for each in velocity])
    squared = (f**2).sum(axis=1)
    usable = squared > 0
    spacing = float(np.median((moved * f).sum(axis=1)[usable] / squared[usable])) if usable.any() else np.nan
    if not spacing > 0:
        raise InputError("times must be given: the trajectory does not move along the model's velocity, got None")
    return spacing


def _slow_states(states: list[Floats], z: list[Floats], velocity: list[Floats]) -> Floats:
    """States to search near: minima of |F| along each trajectory, its ends, and some evenly along
    its way.
    """
    chosen = []
    for x, at, f in zip(states, z, velocity, strict=True):
        speed = np.linalg.norm(f, axis=1)
        middle = speed[1:-1]
        minima = 1 + np.flatnonzero((middle <= speed[:-2]) & (middle < speed[2:]))
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(at, axis=0), axis=1))])
        spread = np.searchsorted(way, np.linspace(0, way[-1], SPREAD))
        rows = np.unique(np.concatenate([[0, len(x) - 1], minima, np.minimum(spread, len(x) - 1)]))
        chosen.append(x[rows[np.argsort(speed[rows], kind="stable")]])
    every = np.concatenate(chosen)
    alike = groups(every, ALIKE) if len(every) <= 4 * MOST else [[i] for i in range(len(every))]
    firsts = np.sort([int(members[0]) for members in alike])
    if len(firsts) > MOST:
        firsts = firsts[np.linspace(0, len(firsts) - 1, MOST).astype(int)]
    return np.asarray(every[firsts])
