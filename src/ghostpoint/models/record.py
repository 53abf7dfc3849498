"""The contract of a model family: :class:`Record`, R networks stacked along the first axis.

Every family is a subclass, one file of ``models/``. Training, the analysis of slow points and saved
results ask a record through the hooks that :class:`Record` lists, never which family it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, memory_for, one_of
from ghostpoint.checks import shape as check_shape
from ghostpoint.errors import InputError
from ghostpoint.models.arguments import checked_parts, checked_seed, checked_seeds, checked_state, per_network
from ghostpoint.models.arithmetic import NUMPY, Arithmetic, logistic
from ghostpoint.summary import Rows, Summarised

#: arrays of a record by name, or the tensors that a training engine holds in their place
Parts = Mapping[str, Any]
Gradient = dict[str, NDArray[Any]]
#: arrays beside the recurrent ones in the weights of a PyTorch cell, by :meth:`Record.from_torch`'s
#: names and ours
TORCH_NAMES = {"weight_ih": "w_in", "w_out": "w_out", "b_out": "b_out"}

#: readout nonlinearities by name
ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sigmoid": logistic,
    "tanh": np.tanh,
    "identity": np.asarray,
}


#: lengths of axes that an array is free to choose, as the messages call them
LETTERS = {"input": "I", "output": "O"}


class Common(TypedDict, total=False):
    """The constructor's arguments that all families have, by name.

    ``w_in`` (R, N, I): input weights, or None. ``w_out`` (R, O, N) and ``b_out`` (R, O): the
    readout ``activation(w_out x + b_out)``; ``b_out`` is zero by default. ``activation``:
    "sigmoid", "tanh" or "identity".
    ``initial_state``: x at the start of a trial, a number, (N,) or (R, N). ``trainable``: the names
    of the parts that training may change; by default all there are but the confidence. ``seed``
    (R,): where the weights came from, -1 for unknown; only carried along.
    """

    w_in: ArrayLike | None
    w_out: ArrayLike | None
    b_out: ArrayLike | None
    activation: str
    initial_state: ArrayLike
    trainable: str | Iterable[str] | None
    seed: ArrayLike


class Sizes(NamedTuple):
    """How large the networks are that a :class:`Scheme` draws: N, K, I and O."""

    units: int
    rank: int
    inputs: int
    outputs: int


class Scheme(NamedTuple):
    """How initial weights are drawn: the arrays of one network from a generator, and settings of
    the constructor.
    """

    draw: Callable[[np.random.Generator, Sizes], dict[str, NDArray[Any]]]
    settings: Mapping[str, Any] = {}


class TanhForm(NamedTuple):
    """Weights of R networks whose flow is ``-kappa + n^T tanh(m kappa + b + w_in u)`` in
    coordinates ``kappa = n^T x``.

    ``m`` and ``n`` (R, N, K), ``b`` (R, N), ``w_in`` (R, N, I) or None. ``n`` is None where the
    coordinates are the state itself: ``-x + tanh(m x + b + w_in u)``, m square.
    """

    m: NDArray[Any]
    n: NDArray[Any] | None
    b: NDArray[Any]
    w_in: NDArray[Any] | None


class Record(Summarised):
    """R networks of one family with arrays that all have the networks as their first axis;
    immutable.

    **The contract of a family.** Notation: B trials, R networks, N units, I inputs, O outputs; x
    (B, R, N) is the state, u (B, I) the input, alpha = dt / tau the Euler step, z (B, R, O) the
    logit, the output's pre-activation.

    What there is
        :attr:`dims`: every array's name and the names of its axes after the network's; ``seed`` and
        ``initial_state`` are among them. :attr:`parts`: the names of those that training may
        change, in the order in which they are listed everywhere. The constructor takes the family's
        own arrays, the recurrent ones first and ``b`` after them, and :class:`Common` by name; it
        leaves checks and defaults to ``_build``. :attr:`rank`, where W is constrained.
        :attr:`schemes`: how :meth:`initialize` draws weights. Saved runs, checkpoints, stacks and
        their indexing need no more than this.
    Forward, for every engine that is called once an epoch (reference and torch)
        :meth:`advance` one step of the state, and :meth:`read` the logit, each written once in the
        operations of :class:`~ghostpoint.models.arithmetic.Arithmetic`; the parts come as an
        argument. :attr:`readout_parts`. Both of the readout, ``w_out x + b_out``, are here already.
    Backward, for the reference alone (torch has its autograd)
        :meth:`advance_back` and :meth:`read_back`, the adjoints of these two, by hand.
    Compiled training
        :attr:`kernels` names the entry of ``training.kernel_families.KERNELS`` that knows the
        family; without one, ``engine="auto"`` takes torch.
    Slow points
        Either :meth:`tanh_form` (then fixed points and ghosts are proven), or :meth:`state_flow`,
        :meth:`state_jacobian` and :meth:`state_curvature` (found by search). :attr:`state_bound`.
    Weights from files
        :attr:`required` and :meth:`from_arrays`; :attr:`torch_gates` and :meth:`from_torch` where
        PyTorch has such a cell.

    A family is registered by its name in ``ghostpoint.models.FAMILIES``.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]]
    parts: ClassVar[tuple[str, ...]]
    #: the compiled kernels that train the family; None where there are none
    kernels: ClassVar[str | None] = None
    #: no fixed point has a unit outside +- this; the search for slow points scatters its starts
    #: inside
    state_bound: ClassVar[float] = 1.0
    #: the arrays by which a file of weights is known as this family's
    required: ClassVar[tuple[str, ...]]
    #: rows over columns of ``weight_hh`` in PyTorch's cell of this family; None where there is no
    #: such cell
    torch_gates: ClassVar[int | None] = None

    #: the default of ``initial_state``
    at_start: ClassVar[float] = 0.0
    #: the ways to draw initial weights, the first one being the default
    schemes: ClassVar[dict[str, Scheme]] = {}

    w_in: NDArray[Any] | None
    w_out: Any
    b_out: Any
    activation: str
    initial_state: NDArray[Any]
    trainable: tuple[str, ...]
    seed: NDArray[np.int64]

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Refuse a family, one that names its :attr:`dims`, without one of the hooks that belong
        together.
        """
        super().__init_subclass__(**keywords)
        if "dims" not in cls.__dict__:
            return
        missing = [
            name for name in ("state_jacobian", "state_curvature") if getattr(cls, name) is getattr(Record, name)
        ]
        if missing and cls.tanh_form is Record.tanh_form:
            raise TypeError(f"{cls.__name__} must have tanh_form, or else {' and '.join(missing)}")
        if cls.torch_gates is not None and cls.from_torch.__func__ is Record.from_torch.__func__:  # type: ignore[attr-defined]
            raise TypeError(f"{cls.__name__} must have from_torch, as it has torch_gates")

    def _build(
        self, arrays: Mapping[str, Any], common: Mapping[str, Any], sizes: dict[str, int], **settings: Any
    ) -> None:
        """Check and store the constructor's arguments.

        Parameters
        ----------
        arrays : mapping
            The family's own, in the order of ``dims``; the first is checked already. None for
            zeros.
        common : mapping
            As in :class:`Common`; without ``w_out`` the readout is one of zeros.
        sizes : dict
            Lengths of the axes that are named in ``dims``, as far as the first array tells.
        settings
            What else the family keeps.
        """
        given: dict[str, Any] = {
            "w_in": None, "w_out": None, "b_out": None, "activation": "sigmoid", "initial_state": self.at_start,
            "trainable": None, "seed": -1, **common,
        }  # fmt: skip
        for name in given.keys() - Common.__annotations__.keys():
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {name!r}")
        given |= arrays
        networks = len(next(iter(arrays.values())))
        fields = {"activation": one_of("activation", given["activation"], ACTIVATIONS), **settings}
        for name, axes in self.dims.items():
            if name == "seed":
                fields[name] = checked_seed(given[name], networks)
            elif name == "initial_state":
                fields[name] = checked_state(given[name], networks, sizes["unit"])
            elif not axes:
                fields[name] = per_network(name, finite_array(name, given[name]), networks)
            elif given[name] is None and self._absent(name, given):
                fields[name] = None
            else:
                if given[name] is None:
                    given[name] = np.zeros((networks, *(sizes.get(axis, 1) for axis in axes)))
                wanted = (networks, *(sizes.get(axis, LETTERS.get(axis, axis)) for axis in axes))
                value = finite_array(name, given[name])
                fields[name] = check_shape(name, value, wanted)
                sizes = {**dict(zip(axes, value.shape[1:], strict=True)), **sizes}
        self._keep(fields)
        present = self.present_parts()
        default = tuple(part for part in present if part != "confidence")
        self._keep({"trainable": checked_parts(given["trainable"], present, default)})

    def _absent(self, name: str, given: Mapping[str, Any]) -> bool:
        """Whether an array that is not given is left out; others are zero."""
        return name == "w_in"

    def _keep(self, fields: dict[str, Any]) -> None:
        """Store the checked fields; arrays are copied, so that they do not change with the
        caller's.
        """
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                value = np.array(value)
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a record of networks does not change; replace({name}=...) makes a new one")

    @classmethod
    def initialize(
        cls,
        n_units: int,
        seeds: Sequence[int],
        scheme: str | None = None,
        *,
        rank: int | None = None,
        n_inputs: int = 0,
        n_outputs: int = 1,
        **keywords: Any,
    ) -> Self:
        """One network per seed, with weights drawn from numpy's default generator.

        Parameters
        ----------
        n_units : int
            N.
        seeds : whole numbers from 0
            One per network; the same seed gives the same network in any stack.
        scheme : str, optional
            How the weights are drawn; the class says which schemes it has. By default the first of
            them.
        rank : int, optional
            K of low-rank networks, 1 by default; others have none.
        n_inputs, n_outputs : int
            Channels; without inputs there are no input weights.
        **keywords
            Arguments of the constructor that replace what was drawn.

        Raises
        ------
        ValueError
            For sizes below 1, no seed, an unknown scheme, and channels that the scheme draws no
            weights for.
        MemoryError
            For networks that do not fit, with the argument and the size.

        Examples
        --------
        >>> from ghostpoint import FullRankRNN, LowRankRNN
        >>> LowRankRNN.initialize(50, range(3), rank=2)
        LowRankRNN(3 networks, 50 units, rank 2, trainable: m, n, b)
        >>> FullRankRNN.initialize(50, range(3), "xavier_biased", n_inputs=1).w_in.shape
        (3, 50, 1)
        """
        units = integer("n_units", n_units, at_least=1)
        chosen = cls.schemes[one_of("scheme", next(iter(cls.schemes)) if scheme is None else scheme, cls.schemes)]
        sizes = Sizes(
            units,
            cls._rank_of(units, rank),
            integer("n_inputs", n_inputs, at_least=0),
            integer("n_outputs", n_outputs, at_least=1),
        )
        checked = checked_seeds(seeds)
        with memory_for("n_units", units):
            draws = [chosen.draw(np.random.default_rng(seed), sizes) for seed in checked]
            arrays = {name: np.stack([drawn[name] for drawn in draws]) for name in draws[0]}
        for name, number, least, part in (
            ("n_inputs", sizes.inputs, 0, "w_in"),
            ("n_outputs", sizes.outputs, 1, "w_out"),
        ):
            if number > least and part not in {*arrays, *keywords}:
                raise InputError(f"{name} must be {least} for this scheme, which draws no {part}, got {number}")
        return cls(**{**arrays, **chosen.settings, "seed": checked, **keywords})

    @classmethod
    def _rank_of(cls, units: int, rank: int | None) -> int:
        """The rank of networks to be drawn."""
        if rank not in (None, units):
            raise InputError(f"rank must be left out for {cls.__name__}, whose rank nothing constrains, got {rank!r}")
        return units

    @property
    def n_units(self) -> int:
        """N."""
        return int(self.initial_state.shape[1])

    @property
    def rank(self) -> int:
        """K, the rank of W; N where nothing constrains it."""
        return self.n_units

    @property
    def n_inputs(self) -> int:
        """I, 0 without input weights."""
        return 0 if self.w_in is None else int(self.w_in.shape[2])

    @property
    def n_outputs(self) -> int:
        """O."""
        return 1 if self.w_out is None else int(self.w_out.shape[1])

    # The equations, forward. ``lib`` is NumPy or PyTorch, ``p`` holds the arrays by name.

    @abstractmethod
    def advance(self, lib: Arithmetic, p: Parts, x: Any, u: Any, alpha: float, noise: Any = None) -> tuple[Any, Any]:
        """One Euler step: the next state, and whatever :meth:`advance_back` wants to know of this
        step.

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

    def read(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """The output's pre-activation (logit), (..., R, O); here ``w_out x + b_out``."""
        return lib.einsum("ron,...rn->...ro", p["w_out"], x) + p["b_out"]

    @property
    def readout_parts(self) -> tuple[str, ...]:
        """Parts in which the logit is linear together: multiplying them all by a number multiplies
        the logit.
        """
        return ("w_out", "b_out")

    # The equations, backward: float64 NumPy, x of shape (B, R, N).

    @abstractmethod
    def advance_back(
        self, gradient: Gradient, y: NDArray[Any], x: NDArray[Any], u: NDArray[Any], alpha: float, kept: Any
    ) -> NDArray[Any]:
        """The adjoint of :meth:`advance` at x: from y = dL/d(next state) to dL/dx, both (B, R, N).

        Adds the step's share to ``gradient``, which has an array for each of :meth:`present_parts`,
        summed over trials. ``kept`` is what :meth:`advance` gave beside the next state.
        """

    def read_back(self, gradient: Gradient, by_logit: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """The adjoint of :meth:`read` at x: from dL/dz (B, R, O) to dL/dx (B, R, N); adds to
        ``gradient`` too.

        Here ``w_out^T dL/dz``, ``dL/dw_out += dL/dz x^T`` and ``dL/db_out += dL/dz``.
        """
        gradient["w_out"] += np.einsum("bro,brn->ron", by_logit, x)
        gradient["b_out"] += by_logit.sum(axis=0)
        return np.asarray(np.einsum("ron,bro->brn", self.w_out, by_logit))

    # Slow points: the flow F(x) = (step(x) - x) / alpha, which does not depend on alpha, time in
    # units of tau.

    def tanh_form(self) -> TanhForm | None:
        """The weights, of a family whose flow has the form of :class:`TanhForm`; None for
        others.
        """
        return None

    def state_flow(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """F of networks with arrays ``p``, x (..., R, N) and u (..., I); (..., R, N).

        A family whose step leaves x by a small difference writes it without that difference.
        """
        return np.asarray(self.advance(NUMPY, p, x, u, 1.0)[0] - x)

    def state_jacobian(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """DF, (..., R, N, N), row i the gradient of F_i."""
        raise NotImplementedError(f"{type(self).__name__} has no tanh_form here, and no state_jacobian")

    def state_curvature(
        self, p: Parts, x: NDArray[Any], weights: NDArray[Any], u: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """``sum_i weights_i D2F_i``, (..., R, N, N), weights (..., R, N)."""
        raise NotImplementedError(f"{type(self).__name__} has no tanh_form here, and no state_curvature")

    def in_full_state(self) -> Record:
        """Networks with the same flow whose coordinates are the state; only families with latents
        make new ones.
        """
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

        ``cell`` has ``weight_hh`` (G N, N), and perhaps ``weight_ih`` (G N, I), ``bias_hh``,
        ``bias_ih`` (G N,), and ``w_out`` (O, N), ``b_out`` (O,) of a linear readout.
        """
        raise NotImplementedError(f"PyTorch has no cell of {cls.__name__}")

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

    def summary(self) -> tuple[str, Rows]:
        """Sizes, readout, and the shapes of the trainable and the fixed parts."""
        shapes = {name: f"{name} {getattr(self, name).shape}" for name in self.present_parts()}
        origin = [str(seed) for seed in self.seed[self.seed >= 0]]
        known = ", ".join(origin[:10]) + (f" and {len(origin) - 10} more" if len(origin) > 10 else "")
        return f"{type(self).__name__}: {len(self)} networks", [
            ("units", f"{self.n_units}, rank {self.rank}"),
            ("channels", f"{self.n_inputs} in, {self.n_outputs} out ({self.activation})"),
            ("trainable", ", ".join(shapes[name] for name in self.trainable) or "nothing"),
            ("fixed", ", ".join(text for name, text in shapes.items() if name not in self.trainable) or "nothing"),
            ("seeds", known or "unknown"),
        ]

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
