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

RUNS, SETTLED, MORE, LATE = 96, 100, 300, 16  # trajectories; steps of the flow, 20 tau; of the map; how many of those
STILL = 1e-3  # |F| over sqrt(N) of a state at rest


class Fates(NamedTuple):
    """What simulations show: continua and cycles, and a sentence on where trajectories end."""

    continua: tuple[Continuum, ...] = ()
    cycles: tuple[Cycle, ...] = ()
    sentence: str = ""


def fates(model: Any, network: NetworkField, given: Floats | None, seed: int, alpha: float) -> Fates:
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
    """
    draw = initial_states(model, network, given, np.random.default_rng(seed))
    flow, large = network.state_flow, network.n_units > LARGE
    begin = draw(RUNS // 3 if large else RUNS)
    # x follows the flow by steps of 0.2 tau, y the Euler map of the network
    x, y = begin, begin
    for _ in range(SETTLED):
        x = x + 0.2 * flow(x)
        y = y + alpha * flow(y)
    # a gate that is shut to the last bit holds a state anywhere
    free = np.linalg.norm(flow(x), axis=1) > 0 if network.exact.saturates else np.ones(len(x), bool)
    surfaces = continua(flow, lambda x: network.exact.jacobian(network.coordinates(x)), x[free])
    still = STILL * np.sqrt(network.n_units)

    def moving(states: Floats) -> NDArray[np.bool_]:
        on = np.linalg.norm(flow(states), axis=1) > still
        for surface in surfaces:
            on &= ~surface.holds(states)
        return np.asarray(on)

    on_surfaces = sum(int(surface.holds(y).sum()) for surface in surfaces)
    late = y[moving(y)]
    total, unrest = len(y), len(late)
    cycles: list[Cycle] = []
    on_cycles = 0
    if unrest:
        late = late[:LATE]
        for _ in range(MORE):
            late = late + alpha * flow(late)
        again = moving(late)
        # what came to rest later is at rest
        unrest = round(unrest * float(again.mean()))
        late = late[again]
        if len(late):
            cycles, ended = map_cycles(network, network.exact, late, alpha)
            on_cycles = round(unrest * ended / len(late))
    wander = x[moving(x)]
    if len(wander) and not large:
        field = None if network.low_rank else network.exact
        cycles += flow_cycles(flow, field, wander[:2])
    ends = []
    resting = total - unrest - on_surfaces
    if resting > 0:
        ends.append(f"{resting} come to rest")
    if on_surfaces:
        ends.append(f"{on_surfaces} are on {surfaces[0] if len(surfaces) == 1 else f'{len(surfaces)} continua'}")
    if on_cycles:
        ends.append(f"{on_cycles} end on {_counted([c for c in cycles if c.kind == 'map'])}")
    if unrest > on_cycles:
        ends.append(f"{unrest - on_cycles} go on moving, with no period up to 64 steps")
    sentence = f"of {total} trajectories of the map with dt/tau = {alpha:g}, {'; '.join(ends)}"
    limit = [c for c in cycles if c.kind == "flow"]
    if limit:
        sentence += f"; trajectories of the flow come to {_counted(limit)}"
    return Fates(tuple(surfaces), tuple(cycles), sentence)


def _counted(cycles: list[Cycle]) -> str:
    """The cycles in words, those of the same description together."""
    names = [str(c) for c in cycles]
    return " and ".join(
        name if names.count(name) == 1 else f"{names.count(name)} times {name}" for name in dict.fromkeys(names)
    )
