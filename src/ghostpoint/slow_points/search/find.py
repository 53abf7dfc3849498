"""The search for slow points: starts, descent, polish, proof, record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.lapack import eigenvalues_of
from ghostpoint.numerics.threads import begun, one_thread_each
from ghostpoint.slow_points.fields import Field, NetworkField, TanhField, UserField, network_field, orthonormal_field
from ghostpoint.slow_points.ghosts import GhostSolution, ghost_form, inverse, is_minimum, right_null, solve_ghost
from ghostpoint.slow_points.latents.minima import default_starts, speed_minima
from ghostpoint.slow_points.latents.rank_one import flow_ghosts, flow_zeros
from ghostpoint.slow_points.latents.rank_three import latent_zeros
from ghostpoint.slow_points.latents.rank_three_records import LatentZeros
from ghostpoint.slow_points.points import SlowPoints, Unconverged
from ghostpoint.slow_points.proofs.certificates import Certificate, FieldBounds, certify_fixed, certify_ghost
from ghostpoint.slow_points.search.descent import WORTHWHILE, minimize_energy, newton

__all__ = ["find_slow_points"]

Floats = NDArray[np.float64]

SAME = 1e-9  # polished points closer than this (times 1 + |x|) are one; halves of a fold resolved in float64 are not
POWERS = 40  # of the iteration for a left null vector
NEAR_FOLD = 0.05  # a fixed point with |J^-1| above 1 / NEAR_FOLD is asked for a partner


@dataclass
class Candidate:
    """A polished point: coordinates, the ghost's omega and s (None for a zero), starts that reached it, its proof.

    ``eigenvalues()`` waits for those of its Jacobian, where they have been begun.
    """

    kappa: Floats
    ghost: GhostSolution | None
    hits: int
    proof: Certificate = field(default_factory=lambda: Certificate("undecided"))
    arithmetic: str = "none"
    eigenvalues: Callable[[], NDArray[np.complex128]] | None = None


def find_slow_points(
    model_or_field: Any,
    *,
    states: ArrayLike | None = None,
    inputs: ArrayLike | None = None,
    n_starts: int = 128,
    seed: int = 0,
    noise: float = 0.1,
    max_steps: int = 200,
    certify: bool = True,
    tau: float | None = None,
    dt: float | None = None,
) -> SlowPoints:
    """Fixed points and ghosts of ``tau dx/dt = F(x)``, each with a proof where F is a tanh network's.

    Minima of ``q = |F|**2 / 2`` are sought from many starts, then polished as zeros of F or as solutions of the
    bordered system of a ghost (theory, section 2). Every zero near a fold is asked for its partner.

    A low-rank network is searched in its latents in an orthonormal basis, ``z = Q^T x`` with the columns of Q spanning
    those of n. Minima of |dz/dt| are those of |F|, of the same height, so ghosts do not depend on how W = m n^T is
    split. For rank one every zero and ghost is found (see `flow_zeros`); for rank two and three every zero
    (`latent_zeros`), and all the ghosts that `latent_ghosts` lists.

    The descents of full-rank networks, and eigenvalues, are computed on as many threads as numba uses
    (`numba.set_num_threads`), which changes no bit; OpenBLAS is held to one thread in each meanwhile.

    Parameters
    ----------
    model_or_field : LowRankRNN, FullRankRNN, another family, or UserField
        A record of one network (``models[3]``), with ``F = (step(x) - x) / alpha``, which for the first two is ``-x +
        tanh(W x + W_in u + b)``; or functions of one's own.
    states : (..., N), optional
        States to start near, such as those of trajectories: half of the starts (all of them for a `UserField`) are
        drawn from these, with normal noise of standard deviation ``noise`` on each coordinate.
    inputs : (I,), optional
        Constant input u; none by default.
    n_starts : int
        The rest of the starts are scattered: x uniform in (-1, 1)^N, where all zeros lie, times a uniform number per
        start; for low rank z uniform in its box ``|z_k| <= sum_i |Q_ik|``, times 10 to a uniform power from -2 to 0.
        The model's initial state is one of them.
    seed : int
        Of the draws.
    max_steps : int
        Steps of the descent per start.
    certify : bool
        Whether to prove what is found. Without proof a kind is what the numbers say.
    tau, dt : float, optional
        In ms; needed for what is said in ms and of the Euler map.

    Returns
    -------
    SlowPoints
        Starts that reached neither are in its ``unconverged``, with the reason; they are never points.

    Raises
    ------
    ValueError
        For a record of several networks, states or inputs that do not fit, a `UserField` without states.
    """
    starts = checks.integer("n_starts", n_starts, at_least=1)
    steps = checks.integer("max_steps", max_steps, at_least=1)
    spread = checks.number("noise", noise, at_least=0.0)
    generator = np.random.default_rng(checks.integer("seed", seed, at_least=0))
    times = {name: None if t is None else checks.number(name, t, above=0.0) for name, t in (("tau", tau), ("dt", dt))}
    network = None if isinstance(model_or_field, UserField) else network_field(model_or_field, inputs)
    if network is None and inputs is not None:
        raise InputError("inputs must be part of the functions of a UserField, got inputs")
    search: Field = model_or_field if network is None else network.search
    units = search.size if network is None else network.n_units
    given = None
    if states is not None:
        given = checks.finite_array("states", states)
        if given.ndim < 1 or given.shape[-1] != units or not given.size:
            raise InputError(f"states must have shape (..., {units}) and hold a state, got {given.shape}")
        given = given.reshape(-1, units)
    with checks.memory_for("n_starts", starts):
        points = _starts(model_or_field, network, given, starts, spread, generator)
    exact: Field = search if network is None else network.exact
    metric = None if network is None else network.metric
    back: Callable[[Floats], Floats] = (lambda y: y) if network is None else network.from_search
    threads = None if exact.size >= WORTHWHILE else 1  # small matrices take less time than handing them over
    with one_thread_each(), begun(eigenvalues_of, threads) as begin:
        ends = minimize_energy(search, points, steps)
        failed = [(back(ends.x[i][None])[0], ends.speed[i], ends.reason[i]) for i in np.flatnonzero(~ends.done)]
        found, more = _polish(exact, metric, back(ends.x[ends.done]), ends.slope[ends.done], ends.speed[ends.done])
        failed += more
        if network is not None:
            found = _merge(found + _complete(model_or_field, network, inputs), exact)
        for candidate in found:  # on other threads, beside what follows
            candidate.eigenvalues = begin(exact.jacobian(candidate.kappa[None])[0])
        found = _with_partners(exact, metric, found)
        field = None if network is None else network.tanh
        if certify and field is not None:
            found = _proven(field, metric, found)
        reason = "" if certify and field is not None else "not asked for"
        if network is None or (field is None and certify):
            reason = f"no bound of the second derivative is known for a {type(model_or_field).__name__}"
        return _record(search, exact, network, found, failed, times["tau"], times["dt"], reason)


def _starts(
    model: Any, network: NetworkField | None, given: Floats | None, count: int, noise: float, generator: Any
) -> Floats:
    """(n_starts, K) in the coordinates of the search."""
    near = count if network is None else count // 2
    if given is None:
        if network is None:
            raise InputError("states must be given for a UserField: nothing else says where to look, got None")
        near = 0
    parts = []
    if near and given is not None:
        # every state once before any twice
        turns = [generator.permutation(len(given)) for _ in range(-(-near // len(given)))]
        chosen = given[np.concatenate(turns)[:near]]
        parts.append(chosen + noise * generator.normal(size=chosen.shape))
    if network is not None:
        # of a state x, z = Q^T x: without the detour by kappa = n^T x nothing depends on how W is split
        Q_rows = getattr(network.search, "A", None)  # only tanh fields have latents
        inside = [x if Q_rows is None else x @ Q_rows.T for x in parts]
        if count > near:
            first = np.array(model.initial_state, dtype=np.float64)
            inside.append(first if Q_rows is None else first @ Q_rows.T)
        size, rest = network.search.size, count - near - 1
        if rest > 0 and Q_rows is None:
            scattered = generator.uniform(-1, 1, (rest, size)) * generator.uniform(0, 1, (rest, 1))
            inside.append(network.bound * scattered)
        elif rest > 0 and Q_rows is not None:
            box = np.abs(Q_rows).sum(axis=1)
            inside.append(box * generator.uniform(-1, 1, (rest, size)) * 10.0 ** generator.uniform(-2, 0, (rest, 1)))
        return np.concatenate(inside)
    return np.concatenate(parts)


def _polish(
    exact: Field, metric: Floats | None, kappa: Floats, slope: Floats, speed: Floats
) -> tuple[list[Candidate], list[tuple[Floats, float, str]]]:
    """Zeros and ghosts that the ends of the descent lead to, and the ends that lead to neither."""
    candidates: list[Candidate] = []
    failed: list[tuple[Floats, float, str]] = []
    small = np.flatnonzero(speed <= np.maximum(1e-6, slope))
    zeros, _, settled = newton(exact, kappa[small])
    close = np.linalg.norm(zeros - kappa[small], axis=1) <= 0.1 * (1 + np.linalg.norm(kappa[small], axis=1))
    candidates += [Candidate(x, None, 1) for x in zeros[settled & close]]
    rest = np.concatenate([small[~(settled & close)], np.setdiff1d(np.arange(len(kappa)), small)])
    for members in _groups(kappa[rest], 1e-5):
        chosen = rest[members]
        first = chosen[np.argmin(slope[chosen])]
        reached, reason = _stationary(exact, metric, kappa[first], float(slope[first]), float(speed[first]))
        candidates += [replace(candidate, hits=len(chosen)) for candidate in reached]
        if reason:
            failed += [(kappa[i], float(speed[i]), reason) for i in chosen]
    return _merge(candidates, exact), failed


def _stationary(
    exact: Field, metric: Floats | None, kappa: Floats, slope: float, speed: float
) -> tuple[list[Candidate], str]:
    """The ghost, or the zeros at a fold, that an end of the descent leads to; else the reason why to neither."""
    if speed == 0:  # as where a gate is shut to the last bit
        return [], "the velocity is 0 in float64 there, but the Jacobian is singular: no zero is resolved"
    ghost = solve_ghost(exact, metric, kappa, _direction(exact, metric, kappa, slope))
    if not ghost.settled:
        return [], f"neither a zero nor a stationary point of the speed is reached from speed {speed:.3g}"
    if is_minimum(exact, metric, ghost):
        return [Candidate(ghost.kappa, ghost, 1)], ""
    pair = _pair(exact, metric, ghost) if ghost.speed < 1e-3 else []
    reason = "" if pair else f"a saddle of the speed, {ghost.speed:.3g} there"
    return [Candidate(x, None, 1) for x in pair], reason


def _direction(exact: Field, metric: Floats | None, kappa: Floats, slope: float) -> Floats | None:
    """Where J^T M^-1 F nearly vanishes, ``M^-1 F`` is the left null vector; elsewhere that is left to an SVD."""
    if slope > 1e-6:
        return None
    f = exact.flow(kappa[None])[0]
    return f if metric is None else np.asarray(np.linalg.solve(metric, f))


def _pair(exact: Field, metric: Floats | None, fold: GhostSolution) -> list[Floats]:
    """The two zeros beside a solution of the bordered system with ``r a < 0``, at ``y = +- sqrt(-r / a)``."""
    nu = right_null(exact.jacobian(fold.kappa[None])[0], fold.omega / np.linalg.norm(fold.omega))
    weighted = fold.omega if metric is None else metric @ fold.omega
    bend = float(nu @ exact.curvature(fold.kappa[None], fold.omega[None])[0] @ nu) / 2
    if bend >= 0:
        return []
    # omega . F = s + bend y**2, as omega . M omega = 1
    y = np.sqrt(fold.speed * float(fold.omega @ weighted) / -bend)
    sides = np.stack([fold.kappa + y * nu, fold.kappa - y * nu])
    zeros, _, settled = newton(exact, sides)
    near = np.linalg.norm(zeros - sides, axis=1) <= 0.5 * y + 1e-9
    return list(zeros[settled & near])


def _with_partners(exact: Field, metric: Floats | None, found: list[Candidate]) -> list[Candidate]:
    """Add the other half of every nearby fold."""

    def partners(candidate: Candidate) -> list[Floats]:
        if candidate.ghost is not None:
            return []
        away = inverse(exact.jacobian(candidate.kappa[None])[0])
        if away is not None and np.linalg.norm(away) <= 1 / NEAR_FOLD:
            return []
        fold = solve_ghost(exact, metric, candidate.kappa, None if away is None else _left(away))
        return _pair(exact, metric, fold) if fold.settled else []

    extra = [Candidate(x, None, 0) for candidate in found for x in partners(candidate)]
    return _merge(found + extra, exact) if extra else found


def _left(inverse_jacobian: Floats) -> Floats | None:
    """The left singular vector of J's smallest singular value, by iteration; None where another one is nearly as small.

    Near a fold it is far below the others, and the iteration costs a tenth of an SVD.
    """
    w: Floats = np.ones(len(inverse_jacobian)) / np.sqrt(len(inverse_jacobian))
    for _ in range(POWERS):
        before = w
        w = inverse_jacobian.T @ (inverse_jacobian @ w)
        w = w / np.linalg.norm(w)
        if np.linalg.norm(w - before) < 1e-6:
            return w
    return None


def _complete(model: Any, network: NetworkField, inputs: ArrayLike | None) -> list[Candidate]:
    """What is found in the latents of rank one to three; nothing for other networks.

    Every zero; every ghost for rank one, and for rank two and three those that `latent_ghosts` lists by default.
    """
    form = model.tanh_form()
    if form is None or form.n is None or model.rank > 3:
        return []
    exact, metric, tanh = network.exact, network.metric, network.tanh
    assert tanh is not None
    at_ghosts: list[tuple[Floats, Floats | None]]
    if tanh.A is not None and tanh.size == 1:
        weights = tanh.B[:, 0], tanh.A[0], tanh.c
        zeros, ghosts = flow_zeros(*weights), flow_ghosts(*weights)
        at_zeros = zeros.position[0, : zeros.count[0], None]
        at_ghosts = [(x, None) for x in ghosts.position[0, : ghosts.count[0], None]]
    else:
        known = latent_zeros(model, inputs=inputs)
        m, n = np.asarray(form.m[0], dtype=np.float64), np.asarray(form.n[0], dtype=np.float64)
        at_zeros = network.coordinates(np.tanh(known.position @ m.T + tanh.c))
        at_ghosts = _latent_ghosts(network, *orthonormal_field(m, n, tanh.c), known)
    points, _, settled = newton(exact, at_zeros)
    found = [Candidate(x, None, 0) for x in points[settled]]
    for x, omega in at_ghosts:
        ghost = solve_ghost(exact, metric, x, omega)
        if ghost.settled and is_minimum(exact, metric, ghost):
            found.append(Candidate(ghost.kappa, ghost, 0))
    return found


def _latent_ghosts(
    network: NetworkField, field: TanhField, root: Floats, known: LatentZeros
) -> list[tuple[Floats, Floats | None]]:
    """Coordinates and omega of the ghosts that `latent_ghosts` lists by default, of rank two and three."""
    assert field.A is not None
    found: list[tuple[Floats, Floats | None]] = []
    for ghost in speed_minima(field, root, known, default_starts(root.shape[1]), seed=0):
        z = ghost.kappa[None]
        # the slowest state x of this z, and w = Q omega, which is F / |F| there
        x, w = field.rates(z) - field.flow(z) @ field.A, ghost.omega @ field.A
        if network.tanh is not None and network.tanh.A is not None:
            w = np.asarray(np.linalg.lstsq(network.tanh.A.T, w, rcond=None)[0], dtype=np.float64)
        found.append((network.coordinates(x)[0], w))
    return found


def _groups(points: Floats, tolerance: float) -> list[NDArray[np.int64]]:
    """Rows within ``tolerance (1 + |x|)`` of the first row of their group."""
    left = np.arange(len(points))
    groups = []
    while len(left):
        first = points[left[0]]
        near = np.linalg.norm(points[left] - first, axis=1) <= tolerance * (1 + np.linalg.norm(first))
        groups.append(left[near])
        left = left[~near]
    return groups


def _merge(found: list[Candidate], exact: Field) -> list[Candidate]:
    merged = []
    for is_ghost in (False, True):
        some = [c for c in found if (c.ghost is not None) == is_ghost]
        for members in _groups(np.array([c.kappa for c in some]).reshape(len(some), exact.size), SAME):
            merged.append(some[members[0]])
            merged[-1].hits = sum(some[i].hits for i in members)
    return merged


def _proven(field: TanhField, metric: Floats | None, found: list[Candidate]) -> list[Candidate]:
    """The candidates with their proofs, in float64 and else in more digits; zeros proven to be the same are merged."""
    from ghostpoint.slow_points.proofs.ball_certificates import certify_in_balls

    bounds = FieldBounds(field, metric)

    proven: list[Candidate] = []
    for candidate in found:
        ghost = candidate.ghost
        if ghost is None:
            candidate.proof = certify_fixed(bounds, candidate.kappa)
        else:
            candidate.proof = certify_ghost(bounds, ghost.kappa, ghost.omega, ghost.speed)
        candidate.arithmetic = "float64"
        if candidate.proof.kind != "undecided":
            proven.append(candidate)
            continue
        for kappa, solution, proof, bits in certify_in_balls(bounds, candidate.kappa, ghost, candidate.proof):
            arithmetic = "none" if proof.kind == "undecided" else f"{bits} bits"
            proven.append(Candidate(kappa, solution, candidate.hits, proof, arithmetic))
    unique: list[Candidate] = []
    for candidate in proven:
        for other in unique:
            distance = float(np.linalg.norm(candidate.kappa - other.kappa)) * (1 + 1e-12)
            same = bool(candidate.proof.kind == other.proof.kind)
            if same and candidate.proof.kind == "fixed":
                same = distance + candidate.proof.radius < other.proof.unique_radius
            elif same:
                same = distance <= SAME * (1 + float(np.linalg.norm(candidate.kappa)))
            if same:
                other.hits += candidate.hits
                break
        else:
            unique.append(candidate)
    return unique


def _record(
    search: Field,
    exact: Field,
    network: NetworkField | None,
    found: list[Candidate],
    failed: list[tuple[Floats, float, str]],
    tau: float | None,
    dt: float | None,
    without: str,
) -> SlowPoints:
    """The candidates as a record; ``without`` says why they have no proofs, empty where they have."""
    units = search.size if network is None else network.n_units

    def lift(kappa: Floats) -> Floats:
        return kappa if network is None else network.states(kappa)

    count = len(found)
    kappa = np.array([c.kappa for c in found]).reshape(count, exact.size)
    position = lift(kappa)
    proven = not without
    numeric = np.array(["fixed" if c.ghost is None else "ghost" for c in found], dtype="<U9")
    kind = np.array([c.proof.kind for c in found], dtype="<U9") if proven else numeric
    speed = np.array([0.0 if c.ghost is None else c.ghost.speed for c in found])
    zero = np.array([c.ghost is None for c in found], dtype=bool)
    if zero.any():
        speed[zero] = _speeds(network, search, kappa[zero])
    r, a = np.full(count, np.nan), np.full(count, np.nan)
    v, w = np.full((count, units), np.nan), np.full((count, units), np.nan)
    for i, candidate in enumerate(found):
        if kind[i] == "ghost" and candidate.ghost is not None:
            r[i], a[i], v[i], w[i] = ghost_form(exact, network, candidate.ghost)
    eigenvalues = np.full((count, units), -1.0 + 0j)
    for i, candidate in enumerate(found):
        # a point that only came up on the way has none begun
        wait = candidate.eigenvalues
        own = eigenvalues_of(exact.jacobian(kappa[i : i + 1])[0]) if wait is None else wait()
        eigenvalues[i, : exact.size] = own
    order = np.argsort(-eigenvalues.real, axis=1, kind="stable")
    eigenvalues = np.take_along_axis(eigenvalues, order, axis=1)
    proofs = [c.proof if proven else Certificate(kind[i], reason=without) for i, c in enumerate(found)]
    ends = np.array([x for x, _, _ in failed]).reshape(len(failed), exact.size)
    record = SlowPoints(
        position=position,
        latent=kappa if network is not None and network.low_rank else None,
        speed=speed,
        kind=kind,
        eigenvalues=eigenvalues,
        r=r,
        a=a,
        slow_direction=v,
        left_vector=w,
        radius=np.array([p.radius for p in proofs], dtype=float),
        unique_radius=np.array([p.unique_radius for p in proofs], dtype=float),
        empty_radius=np.array([p.empty_radius for p in proofs], dtype=float),
        certificate=np.array([c.arithmetic if proven else "none" for c in found], dtype=object),
        reason=np.array([p.reason for p in proofs], dtype=object),
        hits=np.array([c.hits for c in found], dtype=np.int64),
        unconverged=Unconverged(lift(ends), np.array([s for _, s, _ in failed]), tuple(t for _, _, t in failed)),
        tau=tau,
        dt=dt,
    )
    # fixed points first, by descending hits; then by speed
    rank = np.array([("fixed", "undecided", "ghost").index(k) for k in kind], dtype=int)
    slow = np.where(rank == 0, 0.0, speed)
    return record[np.lexsort((-record.hits, slow, rank))]


def _speeds(network: NetworkField | None, search: Field, kappa: Floats) -> Floats:
    y = kappa if network is None else network.to_search(kappa)
    return np.asarray(np.linalg.norm(search.flow(y), axis=1))
