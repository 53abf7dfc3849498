"""What a picture of a network's flow needs: a curve for one latent, a map for two, principal axes
for more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ghostpoint import checks
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import network_field
from ghostpoint.slow_points.points import SlowPoints

STEP, STEPS = 0.1, 400  # of the trajectories, in units of tau


def flow_portrait(
    model: Any,
    points: SlowPoints,
    *,
    inputs: ArrayLike | None = None,
    equation: str = "rate",
    activation: str = "tanh",
    size: int = 81,
    paths: int = 24,
    seed: int = 0,
) -> xr.Dataset:
    """The flow of one network around its slow points, to be drawn by `figures.slow_points`.

    Over ``point`` always: ``x`` and ``y`` of the slow points, ``kind`` and ``stable``. For rank one
    ``flow`` over ``kappa``; for rank two ``flow`` (component) over ``kappa_1``, ``kappa_2``; else
    ``path`` (path, step, axis), trajectories of the flow (Euler steps of 0.1 tau for 40 tau) from
    states uniform in the box of its units, in the two principal axes of all their states and of the
    points, ``explained`` the axes' shares of the variance.

    Parameters
    ----------
    model : Record
        One network.
    points : SlowPoints
        Its slow points.
    inputs, equation, activation : optional
        As given to `find_slow_points`.
    size : int
        Places along each axis of the grid.
    paths, seed : int
        How many trajectories, and the seed of their starts.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> model = gp.LowRankRNN(m=[2.0], n=[1.5], b=[1.4])
    >>> portrait = gp.slow_points.flow_portrait(model, gp.find_slow_points(model), size=21)
    >>> portrait["flow"].dims, portrait["kind"].values.tolist()
    (('kappa',), ['fixed', 'ghost'])
    """
    network = network_field(model, inputs, equation=equation, activation=activation)
    checks.integer("size", size, at_least=2)
    dataset = xr.Dataset({"kind": ("point", points.kind.astype("<U9")), "stable": ("point", points.stable)})
    if network.low_rank and network.exact.size <= 2 and points.latent is not None:
        rank = network.exact.size
        half = _reach(network.A, points.latent)
        axes = [np.linspace(-h, h, size if rank == 2 else 5 * size) for h in half]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        flow = network.exact.flow(grid.reshape(-1, rank)).reshape(grid.shape)
        x = points.latent[:, 0]
        if rank == 1:
            # a ghost is drawn on the curve
            y = network.exact.flow(points.latent)[:, 0]
            return dataset.assign(x=("point", x), y=("point", y), flow=("kappa", flow[:, 0])).assign_coords(
                kappa=axes[0]
            )
        return dataset.assign(
            x=("point", x), y=("point", points.latent[:, 1]), flow=(("kappa_1", "kappa_2", "component"), flow)
        ).assign_coords(kappa_1=axes[0], kappa_2=axes[1])
    generator = np.random.default_rng(checks.integer("seed", seed, at_least=0))
    state = network.bound * generator.uniform(-1, 1, (checks.integer("paths", paths, at_least=1), network.n_units))
    far = 10 * (network.bound + np.abs(points.position - network.offset).max(initial=0.0))
    states = [state]
    for _ in range(STEPS):
        ahead = states[-1] + STEP * network.state_flow(states[-1])
        # a trajectory that leaves for good, as of relu units, stays where it left
        inside = np.abs(ahead).max(axis=1, keepdims=True) < far
        states.append(np.where(inside, ahead, states[-1]))
    travelled = np.stack(states, axis=1) + network.offset
    everything = np.concatenate([travelled.reshape(-1, network.n_units), points.position])
    mean = everything.mean(axis=0)
    _, scale, axes_ = np.linalg.svd(everything - mean, full_matrices=False)
    axes_ = np.concatenate([axes_, np.zeros((2, network.n_units))])[:2]  # a network of one unit has one axis
    scale = np.append(scale, 0.0)
    at = (points.position - mean) @ axes_.T
    return dataset.assign(
        x=("point", at[:, 0]),
        y=("point", at[:, 1]),
        path=(("path", "step", "axis"), (travelled - mean) @ axes_.T),
        explained=("axis", (scale**2 / max(float((scale**2).sum()), 1e-300))[:2]),
    )


def point_portrait(points: SlowPoints) -> xr.Dataset:
    """The slow points alone, as in `flow_portrait`: latents of rank one over the speed, two
    latents, or two axes.

    The axes are the principal ones of the points' latents or states.
    """
    place, name = (points.position, "state") if points.latent is None else (points.latent, "latents")
    labels = "latent kappa_1", "latent kappa_2"
    if place.shape[1] == 1:
        labels = "state" if points.latent is None else "latent kappa", "speed |F| (1/tau)"
        place = np.column_stack([place, points.speed])
    elif points.latent is None or place.shape[1] > 2:
        labels = f"principal axis 1 of the {name}", f"principal axis 2 of the {name}"
        centred = place - place.mean(axis=0, keepdims=True) if len(place) else place
        place = centred @ np.linalg.svd(centred)[2][:2].T
    return xr.Dataset(
        {
            "kind": ("point", points.kind.astype("<U9")), "stable": ("point", points.stable),
            "x": ("point", place[:, 0]), "y": ("point", place[:, 1]),
        },
        attrs={"xlabel": labels[0], "ylabel": labels[1]},
    )  # fmt: skip


def _reach(A: Floats | None, latent: Floats) -> Floats:
    """Half-widths of a box with the points and a margin, within that which holds every fixed
    point.
    """
    assert A is not None
    box = np.abs(A).sum(axis=1)
    return np.asarray(np.maximum(np.minimum(box, 1.5 * np.abs(latent).max(axis=0, initial=0.0) + 0.1 * box), 1e-6))
