"""Checks of the arguments that all families have: seeds, initial states, trainable parts, one value
per network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, one_of
from ghostpoint.errors import InputError


def checked_seed(seed: ArrayLike, networks: int) -> NDArray[np.int64]:
    """Where the weights came from, one whole number per network."""
    origin = np.asarray(seed)
    if origin.dtype.kind not in "iu":
        raise InputError(f"seed must be a whole number per network, got {seed!r}")
    return per_network("seed", origin.astype(np.int64), networks)


def checked_state(value: ArrayLike, networks: int, units: int) -> NDArray[Any]:
    """The initial state as (R, N), from a number, (N,) or (R, N)."""
    state = finite_array("initial_state", value)
    if state.shape not in ((), (units,), (networks, units)):
        raise InputError(
            f"initial_state must be a number or have shape ({units},) or ({networks}, {units}), got {state.shape}"
        )
    return np.broadcast_to(state, (networks, units))


def checked_parts(names: str | Iterable[str] | None, present: tuple[str, ...], default: tuple[str, ...]) -> Any:
    """Trainable parts in the record's order; ``None`` stands for ``default``."""
    wanted = default if names is None else (names,) if isinstance(names, str) else tuple(names)
    for name in wanted:
        one_of("trainable", name, present)
    return tuple(part for part in present if part in wanted)


def per_network(name: str, value: NDArray[Any], networks: int) -> NDArray[Any]:
    """One value per network, from one value or one each."""
    if value.shape not in ((), (networks,)):
        raise InputError(f"{name} must be one value or one per network ({networks}), got shape {value.shape}")
    return np.array(np.broadcast_to(value, (networks,)))


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """Whole numbers from 0, at least one."""
    if not isinstance(seeds, Iterable):
        raise InputError(f"seeds must be a list of whole numbers, one per network, got {seeds!r}")
    checked = [integer("seeds", seed, at_least=0) for seed in seeds]
    if not checked:
        raise InputError("seeds must name at least one network, got none")
    return checked
