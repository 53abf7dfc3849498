"""The best weights so far, for remedies that go back to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.training.by_epoch.backend import Backend, per_network


class Best:
    """Parameters and optimiser's state of each network at its lowest loss so far, in NumPy."""

    def __init__(self) -> None:
        self.parts: dict[str, NDArray[Any]] = {}
        self.state: dict[str, list[NDArray[Any]]] = {}

    def keep(self, backend: Backend, parts: Sequence[str], state: dict[str, Any], rows: NDArray[np.bool_]) -> None:
        """Remember some networks as they are, before their update."""
        for part in parts:
            now = backend.numpy(backend.get(part))
            self.parts[part] = np.where(per_network(rows, now), now, self.parts.get(part, now))
        for part, value in state.items():
            arrays = [backend.numpy(array) for array in _as_tuple(value)]
            before = self.state.get(part, [np.zeros_like(array) for array in arrays])
            self.state[part] = [
                np.where(per_network(rows, new), new, old) for new, old in zip(arrays, before, strict=True)
            ]

    def restore(self, backend: Backend, state: dict[str, Any], rows: NDArray[np.bool_]) -> None:
        """Put some networks back; where the lowest loss was the first, the optimiser starts
        afresh.
        """
        for part, value in self.parts.items():
            now = backend.numpy(backend.get(part))
            backend.set(part, backend.native(np.where(per_network(rows, now), value, now)))
        for part, value in state.items():
            arrays = [backend.numpy(array) for array in _as_tuple(value)]
            before = self.state.get(part, [np.zeros_like(array) for array in arrays])
            put = tuple(
                backend.native(np.where(per_network(rows, new), old, new))
                for new, old in zip(arrays, before, strict=True)
            )
            state[part] = put if isinstance(value, tuple) else put[0]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
