"""Experiments that are sweeps of the package: the files, changes of them, and a run whose parts are
the shards.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.experiments.shared.base import Progress
from ghostpoint.experiments.shared.parts import Job, ahead, counted_part
from ghostpoint.sweeps.configuration import Configuration
from ghostpoint.sweeps.shard_work import Labelled, Networks, Settings, compute
from ghostpoint.sweeps.shards import cut, work_of
from ghostpoint.sweeps.sweep_file import FILES, read_sweep
from ghostpoint.sweeps.sweep_keys import spaced
from ghostpoint.training import Computing

#: ``make(settings, networks, progress)``: what is kept of the networks of a shard, over network
Make = Callable[[Settings, Networks, Progress], xr.Dataset]


def shipped(*names: str) -> dict[str, Any]:
    """Sweeps that come with the package, as mappings by name."""
    return {name: tomllib.loads((FILES / f"{name}.toml").read_text(encoding="utf-8")) for name in names}


def changed(sweep: Mapping[str, Any], **sections: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep with other keys in some sections."""
    result = deepcopy(dict(sweep))
    for section, keys in sections.items():
        result[section] = {**result.get(section, {}), **keys}
    return result


def only(sweep: Mapping[str, Any], **kept: Collection[Any]) -> dict[str, Any]:
    """A sweep with these values of some axes alone, tables by their labels; what is zipped with
    them is cut alike.
    """
    result = deepcopy(dict(sweep))
    grid = result["grid"]
    for name, wanted in kept.items():
        holder, key = _holder(grid, name)
        values = spaced(key, holder[key])
        labels = [one["label"] if isinstance(one, dict) else one for one in values]
        places = [place for place, label in enumerate(labels) if label in wanted]
        for other in next((group for group in grid.get("zip", []) if name in group), [name]):
            holder, key = _holder(grid, other)
            holder[key] = [spaced(key, holder[key])[place] for place in places]
    return result


def _holder(grid: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """The table of a grid that has the axis of that name, and its key in it."""
    for section, inside in grid.items():
        if section == name:
            return grid, section
        if isinstance(inside, dict) and name in inside:
            return inside, name
    raise KeyError(f"the grid has no axis {name}")


def run_sweeps(progress: Progress, sweeps: Mapping[str, Any], make: Make) -> dict[str, xr.Dataset]:
    """Run sweeps one after the other, shard by shard, each shard a part.

    Parameters
    ----------
    sweeps : mapping
        Each as a TOML file has it.
    make : function of a module
        Computes a shard (:func:`computed`) and says what is kept of it.

    Returns
    -------
    dict
        For each sweep what is kept, over the dimensions of its grid.
    """
    configurations = {name: read_sweep(one) for name, one in sweeps.items()}
    jobs = {name: _jobs(one, make) for name, one in configurations.items()}
    ahead(progress, [job for some in jobs.values() for _, job in some])
    found = {}
    for name, sweep in configurations.items():
        progress.phase(f"{name}: {sweep.count} networks", sum(job.total for _, job in jobs[name]), sweep.count)
        parts = [(members, counted_part(progress, job)) for members, job in jobs[name]]
        found[name] = _joined(sweep, parts)
    return found


def _jobs(sweep: Configuration, make: Make) -> list[tuple[NDArray[np.int64], Job]]:
    """The shards of a sweep, with the places of their networks in the grid."""
    return [
        (
            shard.members,
            Job("shard", shard.computes, shard.network_epochs, partial(make, shard.settings, shard.networks), make),
        )
        for shard in cut([sweep], "")
    ]


def _joined(sweep: Configuration, parts: list[tuple[NDArray[np.int64], xr.Dataset]]) -> xr.Dataset:
    """The networks of all shards, over the dimensions of the grid."""
    sizes = sweep.sizes
    coords = {axis.name: (axis.along, np.asarray(axis.labels)) for axis in sweep.axes}
    variables = {}
    for name in parts[0][1].data_vars:
        flat = np.empty(sweep.count, np.result_type(*(part[name].dtype for _, part in parts)))
        for members, part in parts:
            flat[members] = part[name].values
        variables[name] = (tuple(sizes), flat.reshape(*sizes.values()))
    return xr.Dataset(variables, coords)


def computed(settings: Settings, networks: Networks, progress: Progress) -> dict[str, Labelled]:
    """The arrays of a shard. What it takes beyond its network-epochs, such as the way to a first
    crossing, is not told.
    """
    left = work_of(dict(settings))[1] * len(networks["seed"])

    def advance(amount: int) -> None:
        nonlocal left
        told = min(amount, left)
        left -= told
        progress.advance(told)

    return compute(settings, networks, threads=Computing().workers, on_progress=advance)
