"""What a sweep computes: settings for all its networks, axes over which some of them vary, and the
grid of both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.sweeps.stacks import PER_NETWORK

__all__ = ["KINDS", "Axis", "Configuration", "Stack"]

#: what is computed of every network: its training, or its critical learning rate
KINDS = ("training", "critical_rate")


@dataclass(frozen=True)
class Axis:
    """A setting that varies.

    Attributes
    ----------
    name : str
        Of the coordinate; also of the dimension, unless it is zipped with another.
    path : tuple of str
        Section and key, or the section alone where whole sections are the values.
    values : tuple
    labels : tuple
        What stands in the coordinate: the values where they are numbers or text, else a name for
        each.
    along : str
        The dimension.
    """

    name: str
    path: tuple[str, ...]
    values: tuple[Any, ...]
    labels: tuple[Any, ...]
    along: str


@dataclass(frozen=True)
class Stack:
    """Networks of the grid that differ in settings of :data:`PER_NETWORK` alone.

    ``members`` (R,) are their places in the grid, counted in C order; ``networks`` has a list (R,)
    for each setting that differs, by its key.
    """

    settings: dict[str, Any]
    members: NDArray[np.int64]
    networks: dict[str, list[Any]]


@dataclass(frozen=True)
class Configuration:
    """A checked sweep (:func:`ghostpoint.sweeps.sweep_file.read_sweep` makes one).

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    settings : dict
        Sections ``models``, ``task``, ``training``, ``remedies``, ``recording`` and
        ``measurement``, all JSON.
    axes : tuple of Axis
    shards : dict
        ``networks``, of a shard at most, and ``resume_every``, epochs; they change no result.
    """

    kind: str
    settings: dict[str, Any]
    axes: tuple[Axis, ...]
    shards: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Dimensions in the order of the axes, and their lengths."""
        return {axis.along: len(axis.values) for axis in self.axes}

    @property
    def count(self) -> int:
        """Networks of the whole grid."""
        return math.prod(self.sizes.values())

    @property
    def identity(self) -> str:
        """What an extended grid must not change: everything but the values along the axes."""
        axes = [(axis.name, axis.path, axis.along) for axis in self.axes]
        free = {axis.path for axis in self.axes}
        fixed = {
            section: {key: value for key, value in given.items() if not free & {(section,), (section, key)}}
            for section, given in self.settings.items()
        }
        return json.dumps([self.kind, fixed, axes], sort_keys=True)

    def stacks(self) -> Iterator[Stack]:
        """The stacks that the grid falls into, in the order of the grid."""
        sizes = self.sizes
        dims = list(sizes)
        inner = {axis.along for axis in self.axes} - {axis.along for axis in self.axes if axis.path not in PER_NETWORK}
        flat = np.arange(self.count).reshape([sizes[dim] for dim in dims] or [1])
        outer = [dim for dim in dims if dim not in inner]
        order = [dims.index(dim) for dim in (*outer, *(dim for dim in dims if dim in inner))]
        table = flat.transpose(order).reshape(math.prod(sizes[dim] for dim in outer), -1)
        for row, index in enumerate(product(*(range(sizes[dim]) for dim in outer))):
            at = dict(zip(outer, index, strict=True))
            settings = deepcopy(self.settings)
            for axis in self.axes:
                if axis.along in at and axis.path not in PER_NETWORK:
                    put(settings, axis.path, axis.values[at[axis.along]])
            members = table[row]
            places = np.unravel_index(members, flat.shape)
            networks: dict[str, list[Any]] = {}
            for axis in self.axes:
                if axis.path in PER_NETWORK:
                    along = places[dims.index(axis.along)]
                    networks[axis.path[1]] = [axis.values[place] for place in along]
            # what is fixed for all counts as a setting, except the seed and the rate, which train
            # takes per network
            for section, key in PER_NETWORK:
                value = settings[section].get(key)
                if key in networks:
                    settings[section].pop(key, None)
                elif key in ("seed", "learning_rate") and (value is not None) and section != "task":
                    networks[key] = [settings[section].pop(key)] * len(members)
            yield Stack({"kind": self.kind, **settings}, members, networks)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Configuration:
        """The inverse of :meth:`to_dict`."""
        axes = tuple(
            Axis(one["name"], tuple(one["path"]), tuple(one["values"]), tuple(one["labels"]), one["along"])
            for one in fields["axes"]
        )
        return cls(fields["kind"], fields["settings"], axes, fields["shards"])


def put(settings: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set one value, or a whole section."""
    if len(path) == 2:
        settings[path[0]][path[1]] = value
    else:
        settings[path[0]] = dict(value)
