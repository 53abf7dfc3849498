"""The search for slow points of any network: starts, descent, polish, proof, record."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.numerics.lapack import eigenvalues_of
from ghostpoint.numerics.threads import begun, one_thread_each
from ghostpoint.slow_points.fields import Field, NetworkField, UserField, network_field
from ghostpoint.slow_points.ghosts import ghost_form
from ghostpoint.slow_points.latents.known import Known, default_starts, known_points, latent_starts
from ghostpoint.slow_points.points import Completeness, SlowPoints, Unconverged
from ghostpoint.slow_points.proofs import CERTIFIERS, Certificate, Certifier
from ghostpoint.slow_points.search.candidates import SAME, Candidate, Failure, as_known, descended, with_partners
from ghostpoint.slow_points.search.descent import WORTHWHILE


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
    """All fixed points and ghosts of ``tau dx/dt = F(x)``, proven where that is possible.

    A *fixed point* has F = 0. A *ghost* is a local minimum of the speed |F| that is not zero: what is left of two fixed
    points that met in a saddle-node bifurcation. ``complete`` of the result says whether every fixed point, and every
    ghost, is proven to be listed:

    ========================== ==================== ====================
    network                    fixed points         ghosts
    ========================== ==================== ====================
    low rank, rank 1           all, proven          all, proven
    low rank, rank 2 and 3     all, proven          searched from starts
    any other                  searched from starts searched from starts
    ========================== ==================== ====================

    The proofs of completeness are interval searches of the latent space (`slow_points.latents`). The search from starts
    minimises ``q = |F|**2 / 2`` and polishes its minima as zeros of F or as solutions of a ghost's own equations (see
    `slow_points.ghosts`). What it finds is proven point by point where F is a tanh network's (`slow_points.proofs`).

    Low-rank networks are searched in orthonormal latents, ``z = Q^T x`` with the columns of Q spanning those of n.
    Minima of |dz/dt| are those of |F|, of the same height, so ghosts do not depend on how W = m n^T is split.

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
        Starts of the search; at least 400 for rank two and 1600 for rank three; none are needed for rank one. What is
        not drawn from ``states`` is scattered: x uniform in (-1, 1)^N, where all zeros lie, times a uniform number per
        start; for low rank in the box of z. The model's initial state is one of them.
    seed : int
        Of the draws.
    max_steps : int
        Steps of the descent per start.
    certify : bool
        Whether to prove what the search from starts finds. Without a proof ``kind`` rests on
        the computed numbers alone.
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
    starts = checks.integer("n_starts", n_starts, at_least=1)
    steps = checks.integer("max_steps", max_steps, at_least=1)
    spread = checks.number("noise", noise, at_least=0.0)
    draws = checks.integer("seed", seed, at_least=0)
    times = {name: None if t is None else checks.number(name, t, above=0.0) for name, t in (("tau", tau), ("dt", dt))}
    network = None if isinstance(model_or_field, UserField) else network_field(model_or_field, inputs)
    if network is None and inputs is not None:
        raise InputError("inputs must be part of the functions of a UserField, got inputs")
    search: Field = model_or_field if network is None else network.search
    given = _given_states(states, search.size if network is None else network.n_units, network is None)
    exact: Field = search if network is None else network.exact
    metric = None if network is None else network.metric
    threads = None if exact.size >= WORTHWHILE else 1  # small matrices take less time than handing them over
    with one_thread_each(), begun(eigenvalues_of, threads) as begin:
        text = "a UserField is searched from starts, which proves nothing about other points"
        known = Known([], [], text, text) if network is None else known_points(model_or_field, network, inputs)
        all_zeros, failed = not known.zeros_missing, list[Failure]()
        found = known.zeros + known.ghosts
        if known.ghosts_missing:
            with checks.memory_for("n_starts", starts):
                points = _starts(model_or_field, network, given, starts, spread, draws)
            found, failed = descended(search, network, points, steps, known.zeros, all_zeros)
        for candidate in found:  # on other threads, beside what follows
            candidate.eigenvalues = begin(exact.jacobian(candidate.kappa[None])[0])
        if not all_zeros:
            found = as_known(with_partners(exact, metric, found), known.zeros, False, exact)
        certifiers = {name: kind for name, kind in CERTIFIERS.items() if certify and kind.knows(exact)}
        if certifiers:
            found = as_known(_proven(certifiers, exact, metric, found), known.zeros, all_zeros, exact)
            reason = ""
        else:
            unknown = f"no bound of the second derivative is known for a {type(model_or_field).__name__}"
            reason = unknown if certify else "not asked for"
        return _record(search, network, found, failed, _completeness(known, found), reason, times)


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


def _starts(
    model: Any,
    network: NetworkField | None,
    given: Floats | None,
    count: int,
    noise: float,
    seed: int,
) -> Floats:
    """(n_starts, K) in the coordinates of the search."""
    generator = np.random.default_rng(seed)
    near = 0 if given is None else count if network is None else count // 2
    parts = []
    if given is not None and near:
        # every state once before any twice
        turns = [generator.permutation(len(given)) for _ in range(-(-near // len(given)))]
        chosen = given[np.concatenate(turns)[:near]]
        parts.append(chosen + noise * generator.normal(size=chosen.shape))
    if network is None:
        return np.concatenate(parts)
    if count > near:
        parts.append(np.array(model.initial_state, dtype=np.float64))
    # of a state x, z = Q^T x: without the detour by kappa = n^T x nothing depends on how W is split
    basis, size, rest = network.basis, network.search.size, max(0, count - near - 1)
    starts = [x if basis is None else x @ basis.T for x in parts]
    if basis is None:
        scattered = generator.uniform(-1, 1, (rest, size)) * generator.uniform(0, 1, (rest, 1))
        starts.append(network.bound * scattered)
    elif model.rank <= 3:
        starts.append(latent_starts(network, max(rest, default_starts(model.rank)), np.random.default_rng(seed)))
    else:
        box = np.abs(basis).sum(axis=1)
        starts.append(box * generator.uniform(-1, 1, (rest, size)) * 10.0 ** generator.uniform(-2, 0, (rest, 1)))
    return np.concatenate(starts)


def _completeness(known: Known, found: list[Candidate]) -> Completeness:
    """What is proven of the list: nothing is missing, and nothing in it is undecided."""
    zeros, ghosts = not known.zeros_missing, not known.ghosts_missing
    # a zero of a network whose coordinates are the state is proven by itself, or not
    zeros &= all(zero.proof.kind == "fixed" for zero in known.zeros)
    ghosts &= all(candidate.proof.kind == "ghost" for candidate in found if candidate.ghost is not None)
    texts = [known.zeros_missing or "" if zeros else known.zeros_missing or "a fixed point has no proof of its own"]
    texts += ["" if ghosts else known.ghosts_missing or "a ghost has no proof of its own"]
    return Completeness(zeros, ghosts, "; ".join(dict.fromkeys(text for text in texts if text)))


def _proven(
    certifiers: dict[str, type[Certifier]], field: Field, metric: Floats | None, found: list[Candidate]
) -> list[Candidate]:
    """The candidates with their proofs, by the first certifier that decides; zeros proven to be the same are merged."""
    made: dict[str, Certifier] = {}
    proven: list[Candidate] = []
    for candidate in found:
        points = [candidate]
        for name, kind in certifiers.items():
            if candidate.proof.kind != "undecided":
                break
            if name not in made:
                made[name] = kind(field, metric)
            ends = made[name].prove(candidate.kappa, candidate.ghost, candidate.proof)
            decided = ends[0].certificate.kind != "undecided"
            if decided and (len(ends) > 1 or ends[0].kappa is not candidate.kappa):
                points = [Candidate(*end[:2], candidate.hits, end.certificate, name) for end in ends]
                break
            candidate.proof, candidate.arithmetic = ends[0].certificate, name if decided else "none"
        proven += points
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
    network: NetworkField | None,
    found: list[Candidate],
    failed: list[Failure],
    complete: Completeness,
    without: str,
    times: dict[str, float | None],
) -> SlowPoints:
    """The candidates as a record; ``without`` says why the search's have no proofs, empty where they have."""
    exact: Field = search if network is None else network.exact
    units, count = search.size if network is None else network.n_units, len(found)

    def lift(kappa: Floats) -> Floats:
        return kappa if network is None else network.states(kappa)

    kappa = np.array([c.kappa for c in found]).reshape(count, exact.size)
    for c in found:
        if without and c.proof.kind == "undecided":
            c.proof = Certificate("fixed" if c.ghost is None else "ghost", reason=without)
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
        tau=times["tau"],
        dt=times["dt"],
    )
    # fixed points first, by descending hits; then by speed
    rank = np.array([("fixed", "undecided", "ghost").index(k) for k in kind], dtype=int)
    slow = np.where(rank == 0, 0.0, speed)
    return record[np.lexsort((-record.hits, slow, rank))]
