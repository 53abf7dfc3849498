"""Where the search starts: given states, ends and slow stretches of simulations, scattered
states."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field, NetworkField, TanhField

Ints = NDArray[np.int64]

LARGE = 300  # units above which every start is a state of a simulation, since descents from scattered ones end at 0
FLOW_STEP, FLOW_STEPS, MAP_STEPS = 0.2, 300, 150  # of the simulations; the step in units of tau
STILL = 1e-3  # |F| over sqrt(K) below which a simulation has come to rest
ALIKE = 1e-3  # ends closer than this (times 1 + |x|) are one start
SLOW_RATE = 0.1  # |eigenvalue|, in 1/tau, along a continuum at most
RESTLESS = 1024  # simulations, at most, while none comes to rest
THOROUGH = 2048  # simulations, at most, while ends come up that were seen once


class Starts(NamedTuple):
    """Starts x (S, K) in the coordinates of the search; ``weight`` (S,) says how many simulations
    ended at each."""

    x: Floats
    weight: Ints


class Trajectories(NamedTuple):
    """Of B simulations: last states (B, K), their |F| (B,), a state on the way, and the slowest
    state passed.

    ``slow_speed`` is |F| at the slowest local minimum of the speed along the way; inf where there
    is none.
    """

    end: Floats
    speed: Floats
    middle: Floats
    slow: Floats
    slow_speed: Floats


def near_given(given: Floats, count: int, noise: float, generator: np.random.Generator) -> Floats:
    """``count`` of the given states with noise, every state once before any twice."""
    turns = [generator.permutation(len(given)) for _ in range(-(-count // len(given)))]
    chosen = given[np.concatenate(turns)[:count]]
    return np.asarray(chosen + noise * generator.normal(size=chosen.shape))


def network_starts(
    model: Any,
    network: NetworkField,
    given: Floats | None,
    count: int,
    noise: float,
    generator: np.random.Generator,
    *,
    alpha: float,
    thorough: bool,
) -> Starts:
    """Starts for a network that no complete search covers, of total weight ``count`` (more if
    ``thorough``).

    Half near ``given`` states, if any. Of the rest one is the initial state and one zero, a quarter
    ends of simulations (see `simulated`), up to an eighth slow stretches on their way, others
    scattered: x uniform in (-1, 1)^N times a uniform number per start. Beyond `LARGE` units all of
    the rest are states of simulations.

    Parameters
    ----------
    alpha : float
        Step of the map, dt / tau.
    thorough : bool
        Whether to go on simulating while ends come up that were seen once.
    """
    near = 0 if given is None else count // 2
    rest = count - near
    parts = [near_given(given, near, noise, generator)] if given is not None and near else []
    parts += [np.array(model.initial_state, dtype=np.float64) - network.offset] if rest else []
    few = rest < 8
    if not few:
        parts.append(np.zeros((1, network.n_units)))
    basis, search = network.basis, network.search
    starts = [x if basis is None else x @ basis.T for x in parts]
    weight = [np.ones(len(x), np.int64) for x in starts]
    if few:
        left = count - sum(map(len, starts))
    else:
        large = search.size > LARGE
        runs = rest - 2 if large else max(4, rest // 4)
        states = initial_states(model, network, given, generator)

        def begin(number: int) -> Floats:
            return states(number) if basis is None else states(number) @ basis.T

        ends, paths = simulated(search, begin, runs, alpha, thorough=thorough and not large, room=rest // 2)
        starts.append(ends.x)
        weight.append(ends.weight)
        left = rest - 2 - (len(ends.x) if thorough or large else runs)
        slow = paths.slow[np.argsort(paths.slow_speed)][: min(int(np.isfinite(paths.slow_speed).sum()), 2 * rest)]
        slow = slow[[members[0] for members in groups(slow, 10 * ALIKE)]][: max(0, left if large else rest // 8)]
        middle = paths.middle[: max(0, left - len(slow))] if large else paths.middle[:0]
        for x in (slow, middle):
            starts.append(x)
            weight.append(np.ones(len(x), np.int64))
            left -= len(x)
        left = 0 if large else left
    if left > 0:
        starts.append(_scattered(network, left, generator))
        weight.append(np.ones(left, np.int64))
    return Starts(np.concatenate(starts), np.concatenate(weight))


def _scattered(network: NetworkField, count: int, generator: np.random.Generator) -> Floats:
    """(count, K): uniform in the box of states, scaled by a uniform number each; of latents by a
    power of ten."""
    basis, size = network.basis, network.search.size
    if basis is None:
        return np.asarray(network.bound * generator.uniform(-1, 1, (count, size)) * generator.uniform(0, 1, (count, 1)))
    box = np.abs(basis).sum(axis=1)
    return np.asarray(box * generator.uniform(-1, 1, (count, size)) * 10.0 ** generator.uniform(-2, 0, (count, 1)))


def initial_states(model: Any, network: NetworkField, given: Floats | None, generator: np.random.Generator) -> Any:
    """A function that draws initial states of simulations, (B, N): random, small, saturated, given,
    after inputs."""
    units = network.n_units
    pool = [] if given is None else [given]
    if model.n_inputs:
        # where the network goes under inputs, to start from when they are gone (or are those of
        # this search)
        start = np.array(model.initial_state, dtype=np.float64)
        signs = [generator.integers(-1, 2, model.n_inputs).astype(np.float64) for _ in range(8)]
        for u in (*signs, None):
            under, x = network.under(model, u), start
            for _ in range(40):
                x = x + 0.5 * under.state_flow(x - under.offset)
            pool.append(x - network.offset)
    states = np.concatenate(pool) if pool else None

    def draw(count: int) -> Floats:
        x = generator.uniform(-1, 1, (count, units)) * generator.uniform(0, 1, (count, 1))
        x[1::4] = np.sign(generator.normal(size=(len(x[1::4]), units)))
        x[2::4] *= 0.01
        if states is not None:
            x[3::4] = states[generator.integers(0, len(states), len(x[3::4]))]
        return np.asarray(network.bound * x)

    return draw


def simulated(
    field: Field, draw: Any, count: int, alpha: float, *, thorough: bool, room: int
) -> tuple[Starts, Trajectories]:
    """Where simulations from states that ``draw(count)`` gives end, and what they passed.

    Every second one is of the flow (Euler steps of 0.2 tau), the others are of the map
    ``x <- x + alpha F(x)``. Ends that are alike are one start. At most ``room`` distinct ends are
    kept, those at rest first.

    ``thorough``: while no end is at rest, or some were reached only once (so that others are likely
    to be missing: the share of all simulations that would end elsewhere is about that of such ends,
    Good, Biometrika 40, 237, 1953), as many again.
    """
    light: Any = field.single if isinstance(field, TanhField) else field
    still = STILL * np.sqrt(field.size)
    paths: list[Trajectories] = []
    batch = count
    while True:
        begin = draw(batch).astype(light.B.dtype if isinstance(light, TanhField) else np.float64)
        paths += [
            _run(light, begin[::2], FLOW_STEP, FLOW_STEPS, still),
            _run(light, begin[1::2], alpha, MAP_STEPS, still),
        ]
        whole = Trajectories(*(np.concatenate([np.asarray(p[i], np.float64) for p in paths]) for i in range(5)))
        order = np.argsort(whole.speed > still, kind="stable")
        resting = int((whole.speed <= still).sum())
        # of those that move, which are hardly ever alike, enough to choose from
        x = whole.end[order[: resting + 4 * room]]
        members = groups(x, ALIKE)
        once = [rows[0] for rows in members if len(rows) == 1 and rows[0] < resting]
        at_rest = sum(bool(rows[0] < resting) for rows in members)
        if not thorough or len(order) >= THOROUGH or (at_rest and not once):
            break
        # those that come to rest may be few beside a cycle or chaos
        if not at_rest and len(order) >= RESTLESS:
            break
        # a continuum of states at rest has no end of such ends
        if len(once) > max(0.5 * at_rest, 8) and _slow_directions(field, x[once[:8]]):
            break
        batch = min(len(order), THOROUGH - len(order))
    kept = members[:room]
    return Starts(x[[rows[0] for rows in kept]], np.array([len(rows) for rows in kept], np.int64)), whole


def _slow_directions(field: Field, x: Floats) -> bool:
    """Whether most of the states (B, K) have a direction that is slower than `SLOW_RATE`."""
    slowest = np.array([np.abs(np.linalg.eigvals(J)).min() for J in field.jacobian(x)])
    return bool((slowest < SLOW_RATE).mean() > 0.5)


def _run(field: Any, x: Any, step: float, steps: int, still: float) -> Trajectories:
    """Euler steps of length ``step`` until a trajectory is far below ``still``."""
    x = x.copy()
    count = len(x)
    middle, slow = x.copy(), x.copy()
    speed, slow_speed = np.full(count, np.inf), np.full(count, np.inf)
    rows = np.arange(count)
    falling = np.zeros(count, bool)
    previous = x.copy()
    for k in range(steps):
        velocity = field.flow(x[rows])
        now = np.sqrt(np.einsum("ij,ij->i", velocity, velocity))
        # the state before was a local minimum of the speed along the trajectory
        passed = falling[rows] & (now > speed[rows]) & (speed[rows] < slow_speed[rows])
        if passed.any():
            at = rows[passed]
            slow[at], slow_speed[at] = previous[at], speed[at]
        falling[rows] = now < speed[rows]
        speed[rows] = now
        if k == steps // 6:
            middle[rows] = x[rows]
        moving = ~(now < 0.01 * still)
        rows, velocity = rows[moving], velocity[moving]
        if not len(rows):
            break
        previous[rows] = x[rows]
        x[rows] += x.dtype.type(step) * velocity
    end = np.linalg.norm(field.flow(x), axis=1)
    return Trajectories(x, end, middle, slow, slow_speed)


def unseen(hits: Ints) -> float:
    """How many species a sample is likely to lack, from how often each was found: Chao's estimate,
    at least.

    ``f1 (f1 - 1) / (2 (f2 + 1))`` with f1 found once and f2 twice (Chao, Scand. J. Stat. 11, 265,
    1984, in its bias-corrected form).
    """
    once, twice = int((hits == 1).sum()), int((hits == 2).sum())
    return once * (once - 1) / (2.0 * (twice + 1))


def groups(points: Floats, tolerance: float) -> list[Ints]:
    """Rows within ``tolerance (1 + |x|)`` of the first row of their group."""
    left = np.arange(len(points))
    found = []
    while len(left):
        first = points[left[0]]
        near = np.linalg.norm(points[left] - first, axis=1) <= tolerance * (1 + np.linalg.norm(first))
        near[0] = True  # whatever is not finite is a group of its own
        found.append(left[near])
        left = left[~near]
    return found
