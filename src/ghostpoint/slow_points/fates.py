"""Where trajectories end: at rest, on a continuum of near-fixed points, on a cycle, or nowhere in
the time given."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.continua import Continuum, continua
from ghostpoint.slow_points.cycles import Cycle, flow_cycles, map_cycles
from ghostpoint.slow_points.fields import NetworkField
from ghostpoint.slow_points.search.starts import LARGE, initial_states

RUNS, SETTLED = 96, 100  # trajectories; steps of the flow, 20 tau, and of the map
RUNS_OF_MAP = 12  # trajectories where only the map is in question
LATE, MORE = 16, 300  # trajectories of the map, still moving, that are followed; how many steps more
FAR = 1e6  # of a coordinate, beyond which a trajectory is said to grow without bound
STILL = 1e-3  # |F| over sqrt(N) of a state at rest


class Fates(NamedTuple):
    """What simulations show: continua and cycles, and a sentence on where trajectories end."""

    continua: tuple[Continuum, ...] = ()
    cycles: tuple[Cycle, ...] = ()
    sentence: str = ""


def fates(
    model: Any, network: NetworkField, given: Floats | None, seed: int, alpha: float, *, flow_known: bool = False
) -> Fates:
    """Where trajectories of the flow and of the map end, from ``given`` states, random, small and
    saturated ones.

    Parameters
    ----------
    model : Record
        One network.
    network : NetworkField
        Its field.
    given : (B, N) or None
        States to start from, beside the drawn ones.
    seed : int
        Of the drawn ones.
    alpha : float
        dt / tau, the step of the map.
    flow_known : bool
        Of one latent, all of whose zeros are known, only the map is followed. The flow has nowhere
        else to go.
    """
    draw = initial_states(model, network, given, np.random.default_rng(seed))
    flow, large = network.state_flow, network.n_units > LARGE
    begin = draw(RUNS_OF_MAP if flow_known else RUNS // 3 if large else RUNS)
    y = _simulated(network, begin, alpha)
    x = y[:0] if flow_known else _bounded(_simulated(network, begin, 0.2))
    total, y = len(y), _bounded(y)
    surfaces: list[Continuum] = []
    if not flow_known:
        # a gate that is shut to the last bit holds a state anywhere
        free = np.linalg.norm(flow(x), axis=1) > 0 if network.exact.saturates else np.ones(len(x), bool)
        surfaces = continua(flow, lambda x: network.exact.jacobian(network.coordinates(x)), x[free])
    still = STILL * np.sqrt(network.n_units)

    def moving(states: Floats) -> NDArray[np.bool_]:
        on = np.linalg.norm(flow(states), axis=1) > still
        for surface in surfaces:
            on &= ~surface.holds(states)
        return np.asarray(on)

    late = y[moving(y)]
    unrest, followed = len(late), late[:LATE]
    cycles: list[Cycle] = []
    ended = going = 0
    if unrest:
        cycles, on = map_cycles(network, network.exact, followed, alpha)
        ended, rest = int(on.sum()), followed[~on]
        if len(rest):
            # what came to rest later is at rest
            rest = _bounded(_simulated(network, rest, alpha, MORE))
            rest = rest[moving(rest)]
            cycles, on = map_cycles(network, network.exact, rest, alpha, cycles)
            ended, going = ended + int(on.sum()), int((~on).sum())
    on_cycles, on_way = (round(unrest * some / max(len(followed), 1)) for some in (ended, going))
    on_surfaces = sum(int(surface.holds(y).sum()) for surface in surfaces)
    wander = x[moving(x)]
    if len(wander) and not large:
        field = None if network.low_rank else network.exact
        cycles = cycles + flow_cycles(flow, field, wander[:2])
    ends = [f"{total - len(y)} grow without bound"] if len(y) < total else []
    resting = len(y) - on_cycles - on_way - on_surfaces
    if resting > 0:
        ends.append(f"{resting} come to rest")
    if on_surfaces:
        ends.append(f"{on_surfaces} are on {surfaces[0] if len(surfaces) == 1 else f'{len(surfaces)} continua'}")
    if on_cycles:
        ends.append(f"{on_cycles} end on {_counted([c for c in cycles if c.kind == 'map'])}")
    if on_way > 0:
        ends.append(f"{on_way} go on moving, with no period up to 64 steps")
    sentence = f"of {total} trajectories of the map with dt/tau = {alpha:g}, {'; '.join(ends)}"
    limit = [c for c in cycles if c.kind == "flow"]
    if limit:
        sentence += f"; trajectories of the flow come to {_counted(limit)}"
    return Fates(tuple(surfaces), tuple(cycles), sentence)


def _bounded(x: Floats) -> Floats:
    """The states that are finite and within `FAR`."""
    return x[np.abs(x).max(axis=1, initial=0.0) < FAR]


def _simulated(network: NetworkField, x: Floats, step: float, steps: int = SETTLED) -> Floats:
    """States after Euler steps; of a tanh network in single precision."""
    tanh = None if network.low_rank else network.tanh
    flow = network.state_flow if tanh is None else tanh.single.flow
    x = x if tanh is None else x.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # relu networks may grow for ever
        for _ in range(steps):
            x = x + x.dtype.type(step) * flow(x)
    return x.astype(np.float64)


def _counted(cycles: list[Cycle]) -> str:
    """The cycles in words, those of the same description together."""
    names = [str(c) for c in cycles]
    return " and ".join(
        name if names.count(name) == 1 else f"{names.count(name)} times {name}" for name in dict.fromkeys(names)
    )
