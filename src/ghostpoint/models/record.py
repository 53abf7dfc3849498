"""The contract of a model family: :class:`Record`, R networks stacked along the first axis.

Every family is a subclass, one file of ``models/``. Training, the analysis of slow points and saved results ask a
record through the hooks that :class:`Record` lists, never which family it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, one_of
from ghostpoint.checks import shape as check_shape
from ghostpoint.models.arithmetic import NUMPY, Arithmetic, logistic

__all__ = ["ACTIVATIONS", "Record", "TanhForm", "logistic"]

#: arrays of a record by name, or the tensors that a training engine holds in their place
Parts = Mapping[str, Any]
Gradient = dict[str, NDArray[Any]]
#: arrays beside the recurrent ones in the weights of a PyTorch cell, by :meth:`Record.from_torch`'s names and ours
TORCH_NAMES = {"weight_ih": "w_in", "w_out": "w_out", "b_out": "b_out"}

#: readout nonlinearities by name
ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sigmoid": logistic,
    "tanh": np.tanh,
    "identity": np.asarray,
}


class TanhForm(NamedTuple):
    """Weights of R networks whose flow is ``-kappa + n^T tanh(m kappa + b + w_in u)`` in coordinates ``kappa = n^T x``.

    ``m`` and ``n`` (R, N, K), ``b`` (R, N), ``w_in`` (R, N, I) or None. ``n`` is None where the coordinates are the
    state itself: ``-x + tanh(m x + b + w_in u)``, m square.
    """

    m: NDArray[Any]
    n: NDArray[Any] | None
    b: NDArray[Any]
    w_in: NDArray[Any] | None


class Record(ABC):
    """R networks of one family with arrays that all have the networks as their first axis; immutable.

    **The contract of a family.** Notation: B trials, R networks, N units, I inputs, O outputs; x (B, R, N) is the
    state, u (B, I) the input, alpha = dt / tau the Euler step, z (B, R, O) the logit, the output's pre-activation.

    What there is
        :attr:`dims`: every array's name and the names of its axes after the network's; ``seed`` and ``initial_state``
        are among them. :attr:`parts`: the names of those that training may change, in the order in which they are
        listed everywhere. The constructor takes all of ``dims`` by name, and :meth:`settings`; it checks them and
        calls ``_keep``. :attr:`n_units`, :attr:`rank`, :attr:`n_inputs`, :attr:`n_outputs`. Saved runs, checkpoints,
        stacks and their indexing need no more than this.
    Forward, for every engine that is called once an epoch (reference and torch)
        :meth:`advance` one step of the state, and :meth:`read` the logit, each written once in the operations of
        :class:`~ghostpoint.models.arithmetic.Arithmetic`; the parts come as an argument. :attr:`readout_parts`.
    Backward, for the reference alone (torch has its autograd)
        :meth:`advance_back` and :meth:`read_back`, the adjoints of these two, by hand.
    Compiled training
        :attr:`kernels` names the entry of ``training.kernel_families.KERNELS`` that knows the family; without one,
        ``engine="auto"`` takes torch.
    Slow points
        Either :meth:`tanh_form` (then fixed points and ghosts are proven), or :meth:`state_flow`,
        :meth:`state_jacobian` and :meth:`state_curvature` (found by search). :attr:`state_bound`.
    Weights from files
        :attr:`required` and :meth:`from_arrays`; :attr:`torch_gates` and :meth:`from_torch` where PyTorch has such a
        cell.

    A family is registered by its name in ``ghostpoint.models.FAMILIES``.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]]
    parts: ClassVar[tuple[str, ...]]
    #: the compiled kernels that train the family; None where there are none
    kernels: ClassVar[str | None] = None
    #: no fixed point has a unit outside +- this; the search for slow points scatters its starts inside
    state_bound: ClassVar[float] = 1.0
    #: the arrays by which a file of weights is known as this family's
    required: ClassVar[tuple[str, ...]]
    #: rows over columns of ``weight_hh`` in PyTorch's cell of this family; None where there is no such cell
    torch_gates: ClassVar[int | None] = None

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

    # The equations, forward. ``lib`` is NumPy or PyTorch, ``p`` holds the arrays by name.

    @abstractmethod
    def advance(self, lib: Arithmetic, p: Parts, x: Any, u: Any, alpha: float, noise: Any = None) -> tuple[Any, Any]:
        """One Euler step: the next state, and whatever :meth:`advance_back` wants to know of this step.

        Parameters
        ----------
        lib : Arithmetic
        p : mapping
            The arrays of :meth:`arrays`, or tensors in their place.
        x : (..., R, N)
            Any number of axes in front, the same as those of u.
        u : (..., I) or None
            None for no input; not looked at by networks without input weights.
        alpha : float
        noise : (..., R, N) or number, optional
            Added inside the tanh of the units.
        """

    @abstractmethod
    def read(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """The logit, which the output's activation is taken of, (..., R, O)."""

    @property
    def readout_parts(self) -> tuple[str, ...]:
        """Parts in which the logit is linear together: multiplying them all by a number multiplies the logit."""
        return ("w_out", "b_out")

    # The equations, backward: float64 NumPy, x of shape (B, R, N).

    @abstractmethod
    def advance_back(
        self, gradient: Gradient, y: NDArray[Any], x: NDArray[Any], u: NDArray[Any], alpha: float, kept: Any
    ) -> NDArray[Any]:
        """The adjoint of :meth:`advance` at x: from y = dL/d(next state) to dL/dx, both (B, R, N).

        Adds the step's share to ``gradient``, which has an array for each of :meth:`present_parts`, summed over trials.
        ``kept`` is what :meth:`advance` gave beside the next state.
        """

    @abstractmethod
    def read_back(self, gradient: Gradient, by_logit: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """The adjoint of :meth:`read` at x: from dL/dz (B, R, O) to dL/dx (B, R, N); adds to ``gradient`` too."""

    # Slow points: the flow F(x) = (step(x) - x) / alpha, which does not depend on alpha, time in units of tau.

    def tanh_form(self) -> TanhForm | None:
        """The weights, of a family whose flow has the form of :class:`TanhForm`; None for others."""
        return None

    def state_flow(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """F of networks with arrays ``p``, x (..., R, N) and u (..., I); (..., R, N).

        A family whose step leaves x by a small difference writes it without that difference.
        """
        return np.asarray(self.advance(NUMPY, p, x, u, 1.0)[0] - x)

    def state_jacobian(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """DF, (..., R, N, N), row i the gradient of F_i."""
        raise NotImplementedError(f"{type(self).__name__} offers neither tanh_form nor state_jacobian")

    def state_curvature(
        self, p: Parts, x: NDArray[Any], weights: NDArray[Any], u: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """``sum_i weights_i D2F_i``, (..., R, N, N), weights (..., R, N)."""
        raise NotImplementedError(f"{type(self).__name__} offers neither tanh_form nor state_curvature")

    def in_full_state(self) -> Record:
        """Networks with the same flow whose coordinates are the state; only families with latents make new ones."""
        return self

    # Weights from files of other programs.

    @classmethod
    def from_arrays(cls, arrays: Parts) -> Self:
        """Networks from a file that holds :attr:`required`; the arrays may lack the networks' axis.

        Raises
        ------
        ValueError
            If they do not fit.
        """
        return cls(**cls.stacked(arrays))

    @classmethod
    def from_torch(cls, cell: Parts) -> Self:
        """One network from the weights of the PyTorch cell that has :attr:`torch_gates`.

        ``cell`` has ``weight_hh`` (G N, N), and perhaps ``weight_ih`` (G N, I), ``bias_hh``, ``bias_ih`` (G N,), and
        ``w_out`` (O, N), ``b_out`` (O,) of a linear readout.
        """
        raise NotImplementedError(f"{cls.__name__} has torch_gates but not from_torch")

    @classmethod
    def stacked(cls, arrays: Parts) -> dict[str, Any]:
        """Those of :attr:`dims` that there are, with the networks as their first axis."""
        found = {name: np.asarray(arrays[name]) for name in cls.dims if name in arrays}
        return {name: array[None] if array.ndim == len(cls.dims[name]) > 0 else array for name, array in found.items()}

    # What follows needs none of that.

    def step(self, x: NDArray[Any], alpha: float, u: NDArray[Any] | None = None, noise: Any = None) -> NDArray[Any]:
        """:meth:`advance` of these networks: the state after one Euler step, (..., R, N)."""
        return np.asarray(self.advance(NUMPY, self.arrays(), x, u, alpha, noise)[0])

    def logit_of_state(self, x: NDArray[Any]) -> NDArray[Any]:
        """:meth:`read` of these networks: the output's pre-activation, (..., R, O)."""
        return np.asarray(self.read(NUMPY, self.arrays(), x))

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
        raise ValueError(f"seed must be a whole number per network, got {seed!r}")
    return per_network("seed", origin.astype(np.int64), networks)


def checked_state(value: ArrayLike, networks: int, units: int) -> NDArray[Any]:
    """The initial state as (R, N), from a number, (N,) or (R, N)."""
    state = finite_array("initial_state", value)
    if state.shape not in ((), (units,), (networks, units)):
        raise ValueError(
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
        raise ValueError(f"{name} must be one value or one per network ({networks}), got shape {value.shape}")
    return np.array(np.broadcast_to(value, (networks,)))


def optional(name: str, value: ArrayLike | None, shape: tuple[int | str, ...]) -> NDArray[Any] | None:
    """``None``, or an array of the shape."""
    return None if value is None else check_shape(name, finite_array(name, value), shape)


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """Whole numbers from 0, at least one."""
    if not isinstance(seeds, Iterable):
        raise ValueError(f"seeds must be a list of whole numbers, one per network, got {seeds!r}")
    checked = [integer("seeds", seed, at_least=0) for seed in seeds]
    if not checked:
        raise ValueError("seeds must name at least one network, got none")
    return checked


def xavier(generator: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Uniform within ``sqrt(6 / (rows + columns))`` (Glorot and Bengio, AISTATS 2010)."""
    limit = np.sqrt(6.0 / (rows + columns))
    return generator.uniform(-limit, limit, (rows, columns))
