"""What every record of networks shares: R networks stacked along the first axis, and how they are picked and kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, one_of
from ghostpoint.checks import shape as check_shape
from ghostpoint.errors import InputError

__all__ = ["ACTIVATIONS", "Record", "logistic"]


def logistic(z: NDArray[Any]) -> NDArray[Any]:
    """``1 / (1 + exp(-z))`` without overflow at either end."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


#: readout nonlinearities by name
ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sigmoid": logistic,
    "tanh": np.tanh,
    "identity": np.asarray,
}


class Record(ABC):
    """R networks with arrays that all have the networks as their first axis; immutable, with arrays of its own.

    Subclasses say which arrays there are (:attr:`dims`, a name to the names of its axes after the network's) and
    which of them training may change (:attr:`parts`, in the order in which they are listed everywhere).
    """

    dims: ClassVar[dict[str, tuple[str, ...]]]
    parts: ClassVar[tuple[str, ...]]

    activation: str
    initial_state: NDArray[Any]
    trainable: tuple[str, ...]
    seed: NDArray[np.int64]

    def _keep(self, fields: dict[str, Any]) -> None:
        """Store the checked fields; arrays are copied, so that they do not change with the caller's."""
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                value = np.array(value)
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a record of networks does not change; replace({name}=...) makes a new one")

    @property
    @abstractmethod
    def n_units(self) -> int:
        """N."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """K, the rank of W; N where nothing constrains it."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """I, 0 without input weights."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """O."""

    @abstractmethod
    def rates_of_state(self, x: NDArray[Any], u: NDArray[Any] | None = None, noise: Any = 0.0) -> NDArray[Any]:
        """``tanh(W x + W_in u + b + noise)``, x of shape (..., R, N), u of shape (..., I); shape (..., R, N)."""

    def step(self, x: NDArray[Any], alpha: float, u: NDArray[Any] | None = None, noise: Any = 0.0) -> NDArray[Any]:
        """One Euler step, ``(1 - alpha) x + alpha tanh(W x + W_in u + b + noise)`` (letter, eqs. 3 and 17)."""
        return (1 - alpha) * x + alpha * self.rates_of_state(x, u, noise)

    @abstractmethod
    def logit_of_state(self, x: NDArray[Any]) -> NDArray[Any]:
        """What the output's activation is taken of, shape (..., R, O)."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array the networks have, by name; parts that are absent are left out."""
        return {name: getattr(self, name) for name in self.dims if getattr(self, name) is not None}

    def present_parts(self) -> tuple[str, ...]:
        """The parts these networks have, trainable or not."""
        return tuple(part for part in self.parts if getattr(self, part) is not None)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that are not arrays."""
        return {"activation": self.activation, "trainable": self.trainable}

    def __repr__(self) -> str:
        size = f"{len(self)} networks, {self.n_units} units, rank {self.rank}"
        return f"{type(self).__name__}({size}, trainable: {', '.join(self.trainable) or 'nothing'})"

    def __len__(self) -> int:
        return len(self.initial_state)

    def __getitem__(self, index: Any) -> Self:
        """Networks picked as from an array; a whole number gives a record of one."""
        return self._with_rows(np.atleast_1d(np.arange(len(self))[index]))

    def repeat(self, times: int) -> Self:
        """The whole stack ``times`` times over: network ``r`` of copy ``k`` is at ``k R + r``."""
        return self._with_rows(np.tile(np.arange(len(self)), integer("times", times, at_least=1)))

    def replace(self, **changes: Any) -> Self:
        """A copy with some of the constructor's arguments changed."""
        return type(self)(**{**self.arrays(), **self.settings(), **changes})

    def _with_rows(self, rows: NDArray[np.int64]) -> Self:
        return type(self)(**{name: value[rows] for name, value in self.arrays().items()}, **self.settings())


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


def optional(name: str, value: ArrayLike | None, shape: tuple[int | str, ...]) -> NDArray[Any] | None:
    """``None``, or an array of the shape."""
    return None if value is None else check_shape(name, finite_array(name, value), shape)


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """Whole numbers from 0, at least one."""
    if not isinstance(seeds, Iterable):
        raise InputError(f"seeds must be a list of whole numbers, one per network, got {seeds!r}")
    checked = [integer("seeds", seed, at_least=0) for seed in seeds]
    if not checked:
        raise InputError("seeds must name at least one network, got none")
    return checked
