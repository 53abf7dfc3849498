"""The search for slow points of any network: starts, descent, polish, proof, record."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.numerics.lapack import eigenvalues_of
from ghostpoint.numerics.threads import begun, one_thread_each
from ghostpoint.slow_points.fates import Fates, fates
from ghostpoint.slow_points.fields import Field, NetworkField, network_field
from ghostpoint.slow_points.ghosts import ghost_form, inverse
from ghostpoint.slow_points.latents.known_points import Known, default_starts, known_points, latent_starts
from ghostpoint.slow_points.points import Completeness, SlowPoints, Unconverged
from ghostpoint.slow_points.proofs import CERTIFIERS, Certificate
from ghostpoint.slow_points.proofs.proven import proven
from ghostpoint.slow_points.search.candidates import (
    SAME,
    Candidate,
    Failure,
    as_known,
    descended,
    fused,
    merged,
    with_images,
    with_partners,
)
from ghostpoint.slow_points.search.descent import WORTHWHILE
from ghostpoint.slow_points.search.low_rank_part import low_rank_zeros
from ghostpoint.slow_points.search.singular_zeros import nearly_singular, slope_of, without_twins
from ghostpoint.slow_points.search.starts import Starts, near_given, network_starts, unseen
from ghostpoint.slow_points.user_field import UserField

#: says at level INFO what is being done: of large networks a search takes a while
_LOG = logging.getLogger("ghostpoint.slow_points")
SMALL = 32  # coordinates up to which the search goes on while a point was found RARE times or less
RARE = 10
SINGULAR = 1e6  # |J^-1| from which a zero counts as degenerate
PATIENCE = 3  # rounds more for a field of one's own of which no zero was found
NEVER_FAST = 0.02  # |eigenvalue|, at most, of the lone fixed point of a continuum: 50 tau


def find_slow_points(
    model_or_field: Any,
    *,
    states: ArrayLike | None = None,
    inputs: ArrayLike | None = None,
    n_starts: int | None = None,
    seed: int = 0,
    noise: float = 0.1,
    max_steps: int = 200,
    certify: bool = True,
    tau: float | None = None,
    dt: float | None = None,
    equation: str = "rate",
    activation: str = "tanh",
) -> SlowPoints:
    """All fixed points and ghosts of ``tau dx/dt = F(x)``, proven where that is possible.

    A *fixed point* has F = 0. A *ghost* is a local minimum of the speed |F| that is not zero: what
    is left of two fixed points that met in a saddle-node bifurcation. ``complete`` of the result
    says whether every fixed point, and every ghost, is proven to be listed:

    ========================== ==================== ====================
    network                    fixed points         ghosts
    ========================== ==================== ====================
    low rank, rank 1           all, proven          all, proven
    low rank, rank 2 and 3     all, proven          searched from starts
    any other                  searched from starts searched from starts
    ========================== ==================== ====================

    The proofs of completeness are interval searches of the latent space (`slow_points.latents`).
    The search from starts minimises ``q = |F|**2 / 2`` and polishes its minima as zeros of F or as
    solutions of a ghost's own equations (see `slow_points.ghosts`). What it finds is proven point
    by point where F is a tanh network's (`slow_points.proofs`).

    Low-rank networks are searched in orthonormal latents, ``z = Q^T x`` with the columns of Q
    spanning those of n. Minima of |dz/dt| are those of |F|, of the same height, so ghosts do not
    depend on how W = m n^T is split.

    A search from starts also simulates the network, of which the ends and the slow stretches are
    starts (see `search.starts`). Where the network is odd, as without bias and input, mirror images
    are added. W that is of rank one to three within rounding adds the zeros of that rank's complete
    search to the starts.

    Descents and eigenvalues are computed on as many threads as numba uses
    (`numba.set_num_threads`), which changes no bit; OpenBLAS is held to one thread in each
    meanwhile.

    Parameters
    ----------
    model_or_field : LowRankRNN, FullRankRNN, another family, or UserField
        A record of one network (``models[3]``), with ``F = (step(x) - x) / alpha``, which for the
        first two is ``-x + tanh(W x + W_in u + b)``; or functions of one's own.
    states : (..., N), optional
        States to start near, such as those of trajectories: half of the starts (all of them for a
        `UserField`) are drawn from these, with normal noise of standard deviation ``noise`` on each
        coordinate.
    inputs : (I,), optional
        Constant input u; none by default.
    n_starts : int, optional
        Starts of the search; at least 400 for rank two and 1600 for rank three; none are needed for
        rank one. By default 128 (20,000 / N, but at least 24, beyond 156 units), and as many again
        while fixed points are new or were found by one start alone (up to 32 units: by ten or
        less), up to 2048 for small networks and once beyond 256 units; and up to 2048 simulations
        while some reach an attractor that no other one reached. ``missing`` of the result estimates
        what is not found. The model's initial state and zero are among the starts.
    seed : int
        Of the draws.
    max_steps : int
        Steps of the descent per start.
    certify : bool
        Whether to prove what the search from starts finds. Without a proof ``kind`` rests on
        the computed numbers alone.
    tau, dt : float, optional
        In ms; needed for what is said in ms and of the Euler map.

    equation : "rate" or "voltage"
        What the weights of a LowRankRNN or FullRankRNN are of: ``tau dx/dt = -x + phi(W x + W_in u
        + b)``, or ``tau dv/dt = -v + W phi(v) + W_in u + b``, whose states are v.
    activation : "tanh", "sigmoid", "relu" or "softplus"
        phi. Points are proven for tanh, for sigmoid, which is a tanh of half the argument, and the
        fixed points of relu, where the flow is linear between the kinks.

    Returns
    -------
    SlowPoints
        Its ``continua`` are rings, lines and surfaces of near-fixed points, each one object, which
        takes the place of the undecided points on it. ``fates`` says where simulations end, and
        ``cycles`` on what where not at rest. Starts that reached neither a fixed point nor a ghost
        are in its ``unconverged``, with the reason; they are never points.

    Raises
    ------
    ValueError
        For a record of several networks, states or inputs that do not fit, a `UserField` without
        states.

    Examples
    --------
    Units that excite each other strongly have two stable states and an unstable one between them:

    >>> import ghostpoint as gp
    >>> model = gp.LowRankRNN(m=[1.0, 1.0], n=[1.0, 1.0])
    >>> points = gp.find_slow_points(model)
    >>> [round(float(kappa), 3) + 0.0 for kappa in sorted(points.fixed.latent[:, 0])]
    [-1.915, 0.0, 1.915]
    >>> points.complete.fixed_points, points.complete.ghosts
    (True, True)

    A bias that leaves only one of them makes a ghost where the other two were:

    >>> points = gp.find_slow_points(gp.LowRankRNN(m=[1.0, 1.0], n=[1.0, 1.0], b=[0.6, 0.6]))
    >>> len(points.fixed), len(points.ghosts)
    (1, 1)
    """
    starts = None if n_starts is None else checks.integer("n_starts", n_starts, at_least=1)
    steps = checks.integer("max_steps", max_steps, at_least=1)
    spread = checks.number("noise", noise, at_least=0.0)
    draws = checks.integer("seed", seed, at_least=0)
    times = {name: None if t is None else checks.number(name, t, above=0.0) for name, t in (("tau", tau), ("dt", dt))}
    if isinstance(model_or_field, UserField):
        network = None
    else:
        network = network_field(model_or_field, inputs, equation=equation, activation=activation)
    if network is None and inputs is not None:
        raise InputError("inputs must be part of the functions of a UserField, got inputs")
    search: Field = model_or_field if network is None else network.search
    given = _given_states(states, search.size if network is None else network.n_units, network is None)
    if network is None:
        assert given is not None
        model_or_field.check_derivative(given[:3])
    elif given is not None:
        given = given - network.offset
    exact: Field = search if network is None else network.exact
    metric = None if network is None else network.metric
    threads = None if exact.size >= WORTHWHILE else 1  # small matrices take less time than handing them over

    def growth(kappa: Floats) -> NDArray[np.complex128]:
        # the Jacobian is made where it is needed: those of all points together fill the memory
        return eigenvalues_of(exact.jacobian(kappa[None])[0])

    with one_thread_each(), begun(growth, threads) as begin:
        alpha = 1.0 if times["tau"] is None or times["dt"] is None else times["dt"] / times["tau"]
        label = type(model_or_field).__name__ if network is not None else model_or_field.label
        text = f"a {label} is searched from starts, which proves nothing about other points"
        known = Known([], [], text, text)
        if network is not None:
            known = known_points(model_or_field, network, inputs, as_given=(equation, activation) == ("rate", "tanh"))
        all_zeros, failed, missing = not known.zeros_missing, list[Failure](), np.nan
        found = known.zeros + known.ghosts
        odd = _odd(network) and not known.zeros
        if known.ghosts_missing:
            with checks.memory_for("n_starts", starts or 128):
                draw = _drawing(model_or_field, network, given, starts, spread, draws, alpha)
                found, failed, missing = _rounds(search, network, draw, starts, steps, known, odd)
        if _odd(network) and not all_zeros:
            found = _with_origin(found, exact.size)
        if not all_zeros:
            found = as_known(with_partners(exact, metric, found), known.zeros, False, exact)
        _LOG.info("%d points; where trajectories end", len(found))
        for candidate in found:  # on other threads, beside what follows
            candidate.eigenvalues = begin(candidate.kappa)
        seen = Fates()
        if network is not None and not (all_zeros and _any_stable(found, alpha)):
            seen = fates(model_or_field, network, given, draws, alpha, flow_known=all_zeros and search.size == 1)

        def on_continuum(kappa: Floats) -> bool:
            assert network is not None
            return any(bool(each.holds(network.states(kappa[None]))[0]) for each in seen.continua)

        _LOG.info("proofs and eigenvalues of %d points", len(found))
        certifiers = {name: kind for name, kind in CERTIFIERS.items() if certify and kind.knows(exact)}
        if certifiers:
            found = as_known(proven(certifiers, exact, metric, found, on_continuum), known.zeros, all_zeros, exact)
        elif seen.continua:
            # without proofs, what is on a continuum is listed where its Jacobian says that it is
            # isolated
            found = [c for c in found if not (nearly_singular(c) and on_continuum(c.kappa))]
        if seen.continua:
            failed = [end for end in failed if not on_continuum(end.kappa)]
        reason = "" if certifiers else "not asked for"
        if certify and not certifiers:
            name = label if activation == "tanh" else f"{activation} network"
            reason = f"no bound of the second derivative is known for a {name}"
            reason += "" if network is not None else f" (its derivative is {model_or_field.origin})"
        slope = 1.0 if network is not None else slope_of(exact, given, found)
        found = found if certifiers else without_twins(found, exact, slope)
        found = with_images(found, exact) if odd else found
        return _record(search, network, found, failed, _completeness(known, found), reason, times, missing, seen, slope)


def _any_stable(found: list[Candidate], alpha: float) -> bool:
    """Whether some fixed point is stable under the map."""
    zeros = [c.eigenvalues() for c in found if c.ghost is None and c.eigenvalues is not None]
    return any(bool((np.abs(1 + alpha * values) < 1).all()) for values in zeros)


def _odd(network: NetworkField | None) -> bool:
    """Whether F(-x) = -F(x) in the coordinates of the state, to the last bit."""
    field = None if network is None else network.tanh
    return field is not None and not field.c.any()


def _with_origin(found: list[Candidate], size: int) -> list[Candidate]:
    """The candidates of an odd field, whose zero at 0 is exact."""
    origin = Candidate(np.zeros(size), None, 0)
    for candidate in found:
        if candidate.ghost is None and np.linalg.norm(candidate.kappa) <= SAME:
            candidate.kappa = origin.kappa
            return found
    return [origin, *found]


def _drawing(
    model: Any,
    network: NetworkField | None,
    given: Floats | None,
    starts: int | None,
    noise: float,
    seed: int,
    alpha: float,
) -> Callable[[int, int], Starts]:
    """A function from a number of starts, and which time it is called, to starts."""

    def draw(count: int, turn: int) -> Starts:
        generator = np.random.default_rng(seed if turn == 0 else [seed, turn])
        if network is None:
            assert given is not None
            x = near_given(given, count, noise, generator)
            return Starts(x, np.ones(len(x), np.int64))
        if network.basis is not None and model.rank <= 3:
            x = _latent_starts(model, network, given, count, noise, seed)
            return Starts(x, np.ones(len(x), np.int64))
        drawn = network_starts(
            model, network, given, count, noise, generator, alpha=alpha, thorough=starts is None and turn == 0
        )
        extra = low_rank_zeros(network) if turn == 0 and network.basis is None else drawn.x[:0]
        return Starts(np.concatenate([extra, drawn.x]), np.concatenate([np.ones(len(extra), np.int64), drawn.weight]))

    return draw


def _latent_starts(
    model: Any, network: NetworkField, given: Floats | None, count: int, noise: float, seed: int
) -> Floats:
    """Starts for the ghosts of rank two and three, and for zeros where the complete search leaves
    doubt.
    """
    near = 0 if given is None else count // 2
    generator = np.random.default_rng(seed)
    parts = [near_given(given, near, noise, generator)] if given is not None and near else []
    parts += [np.array(model.initial_state, dtype=np.float64) - network.offset] if count > near else []
    # of a state x, z = Q^T x: without the detour by kappa = n^T x nothing depends on how W is split
    rest = max(max(0, count - near - 1), default_starts(model.rank))
    assert network.basis is not None
    scattered = latent_starts(network, rest, np.random.default_rng(seed))
    return np.concatenate([*(x @ network.basis.T for x in parts), scattered])


def _rounds(
    search: Field,
    network: NetworkField | None,
    draw: Callable[[int, int], Starts],
    count: int | None,
    steps: int,
    known: Known,
    odd: bool,
) -> tuple[list[Candidate], list[Failure], float]:
    """What the search finds, what fails, and how many fixed points it is likely to lack (NaN where
    none can be).

    Without a ``count`` the search goes on while zeros are new or were found once, within limits.
    Networks of few units are cheap, and saddles of theirs that one start in 300 reaches count too:
    there it goes on until every zero was found more than `RARE` times.
    """
    exact: Field = search if network is None else network.exact
    size, all_zeros = search.size, not known.zeros_missing
    first = count or int(np.clip(20_000 // size, 24, 128))
    again = (
        1
        if count or all_zeros or known.zeros
        else 16
        if size <= SMALL
        else 8
        if size <= 64
        else 4
        if size <= 128
        else 2
        if size <= 256
        else 1
    )
    found, failed, missing, before = list[Candidate](), list[Failure](), np.nan, 0
    for turn in range(again):
        _LOG.info("round %d of at most %d, %d starts each; %d points so far", turn + 1, again, first, len(found))
        starts = draw(first, turn)
        starts = _with_between(starts, found, turn) if turn else starts
        more, without = descended(search, network, starts.x, steps, known.zeros, all_zeros, starts.weight, odd)
        found = more if turn == 0 else merged(found + more, exact)
        failed += without
        if not all_zeros and not known.zeros:
            found = fused(found, exact)
        # zeros found once say how many were found by none (Good and Turing's estimate in `unseen`)
        hits = np.array([c.hits for c in found if c.ghost is None], np.int64)
        missing, once = np.nan if all_zeros or not len(hits) else unseen(hits), int((hits == 1).sum())
        rare = int((hits <= RARE).sum()) if size <= SMALL else once
        new, before = len(hits) - before, len(hits)
        nothing_yet = not len(hits) and network is None and turn < PATIENCE
        if (not (rare or new) and not nothing_yet) or (once > max(16, 0.5 * len(hits)) and _on_continua(exact, found)):
            break
    return found, failed, missing


def _on_continua(exact: Field, found: list[Candidate]) -> bool:
    """Whether most zeros found once are degenerate: a continuum of zeros has no end of new ones."""
    once = [c.kappa for c in found if c.ghost is None and c.hits == 1]
    inverses = [inverse(exact.jacobian(kappa[None])[0]) for kappa in once[:16]]
    return sum(C is None or bool(np.linalg.norm(C) > SINGULAR) for C in inverses) > len(inverses) / 2


def _with_between(starts: Starts, found: list[Candidate], turn: int) -> Starts:
    """The starts, with the last half moved to lines between two zeros found: there saddles are
    likely.
    """
    zeros = np.array([c.kappa for c in found if c.ghost is None])
    if len(zeros) < 2 or zeros.shape[1] != starts.x.shape[1]:
        return starts
    generator = np.random.default_rng(turn)
    x = starts.x.copy()
    rows = np.arange(len(x) // 2, len(x))
    first, second = (zeros[generator.integers(0, len(zeros), len(rows))] for _ in range(2))
    share = generator.uniform(0, 1, (len(rows), 1))
    x[rows] = share * first + (1 - share) * second + 0.02 * generator.normal(size=first.shape)
    return Starts(x, starts.weight)


def _given_states(states: ArrayLike | None, units: int, needed: bool) -> Floats | None:
    """The states to start near, (S, N)."""
    if states is None:
        if needed:
            raise InputError("states must be given for a UserField: nothing else says where to look, got None")
        return None
    given = checks.finite_array("states", states)
    if given.ndim < 1 or given.shape[-1] != units or not given.size:
        raise InputError(f"states must have shape (..., {units}) and hold a state, got {given.shape}")
    return given.reshape(-1, units)


def _completeness(known: Known, found: list[Candidate]) -> Completeness:
    """What is proven of the list: nothing is missing, and nothing in it is undecided."""
    zeros, ghosts = not known.zeros_missing, not known.ghosts_missing
    # a zero of a network whose coordinates are the state is proven by itself, or not
    zeros &= all(zero.proof.kind == "fixed" for zero in known.zeros)
    ghosts &= all(candidate.proof.kind == "ghost" for candidate in found if candidate.ghost is not None)
    texts = [known.zeros_missing or "" if zeros else known.zeros_missing or "a fixed point has no proof of its own"]
    texts += ["" if ghosts else known.ghosts_missing or "a ghost has no proof of its own"]
    return Completeness(zeros, ghosts, "; ".join(dict.fromkeys(text for text in texts if text)))


def _record(
    search: Field,
    network: NetworkField | None,
    found: list[Candidate],
    failed: list[Failure],
    complete: Completeness,
    without: str,
    times: dict[str, float | None],
    missing: float,
    seen: Fates,
    slope: float,
) -> SlowPoints:
    """The candidates as a record; ``without`` says why the search's have no proofs, empty where
    they have, and ``slope`` is the unit of eigenvalues.
    """
    exact: Field = search if network is None else network.exact
    units, count = search.size if network is None else network.n_units, len(found)

    def lift(kappa: Floats) -> Floats:
        return kappa if network is None else network.states(kappa)

    kappa = np.array([c.kappa for c in found]).reshape(count, exact.size)
    for c in found:
        if without and c.proof.kind == "undecided":
            singular = nearly_singular(c, slope)  # then rounding decides how many zeros there are, if any
            kind_of = "ghost" if c.ghost is not None else "undecided" if singular else "fixed"
            c.proof = Certificate(kind_of, reason="its Jacobian is singular" if singular else without)
    kind = np.array([c.proof.kind for c in found], dtype="<U9")
    speed = np.array([0.0 if c.ghost is None else c.ghost.speed for c in found])
    zero = np.array([c.ghost is None for c in found], dtype=bool)
    if zero.any():
        # |F| of a state on the slowest states of its latents is |dz/dt|
        y = kappa[zero] if network is None else network.to_search(kappa[zero])
        speed[zero] = np.linalg.norm(search.flow(y), axis=1)
    r, a = np.full(count, np.nan), np.full(count, np.nan)
    v, w = np.full((count, units), np.nan), np.full((count, units), np.nan)
    eigenvalues = np.full((count, units), -1.0 + 0j)  # the state of a low-rank network has N - K of them at -1
    for i, candidate in enumerate(found):
        if kind[i] == "ghost" and candidate.ghost is not None:
            r[i], a[i], v[i], w[i] = ghost_form(exact, network, candidate.ghost)
        # a point that only came up on the way has none begun
        wait = candidate.eigenvalues
        own = eigenvalues_of(exact.jacobian(kappa[i : i + 1])[0]) if wait is None else wait()
        eigenvalues[i, : exact.size] = own
    order = np.argsort(-eigenvalues.real, axis=1, kind="stable")
    ends = np.array([end.kappa for end in failed]).reshape(len(failed), exact.size)
    reasons = tuple(end.reason for end in failed)
    record = SlowPoints(
        position=lift(kappa),
        latent=kappa if network is not None and network.low_rank else None,
        speed=speed,
        kind=kind,
        eigenvalues=np.take_along_axis(eigenvalues, order, axis=1),
        r=r,
        a=a,
        slow_direction=v,
        left_vector=w,
        radius=np.array([c.proof.radius for c in found], dtype=float),
        unique_radius=np.array([c.proof.unique_radius for c in found], dtype=float),
        empty_radius=np.array([c.proof.empty_radius for c in found], dtype=float),
        certificate=np.array([c.arithmetic for c in found], dtype=object),
        reason=np.array([c.proof.reason for c in found], dtype=object),
        hits=np.array([c.hits for c in found], dtype=np.int64),
        unconverged=Unconverged(lift(ends), np.array([end.speed for end in failed]), reasons),
        complete=complete,
        missing=np.nan if np.isnan(missing) else unseen(np.array([c.hits for c in found if c.proof.kind == "fixed"])),
        cycles=seen.cycles,
        fates=seen.sentence,
        tau=times["tau"],
        dt=times["dt"],
    )
    # fixed points first, by descending hits; then by speed
    rank = np.array([("fixed", "undecided", "ghost").index(k) for k in kind], dtype=int)
    slow = np.where(rank == 0, 0.0, speed)
    record = record[np.lexsort((-record.hits, slow, rank))]
    fixed, counted = record.fixed, []
    for each in seen.continua:
        on = fixed[each.holds(fixed.position)]
        # what leads to one fixed point that no direction is slow at is an approach, no continuum
        if len(on) != 1 or np.abs(on.eigenvalues).min() <= NEVER_FAST:
            counted.append(each._replace(fixed_points=len(on), stable=int(on.stable.sum())))
    return replace(record, continua=tuple(counted))
