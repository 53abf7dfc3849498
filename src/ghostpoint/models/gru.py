"""Gated recurrent units and their equations, in the form in which an Euler step of 1 is PyTorch's cell.

Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation", EMNLP 2014,
with the reset gate after the recurrent product and its bias, as in ``torch.nn.GRU``. Symbols to names: the rows of
``w_rec``, ``w_in`` and ``b`` are those of the reset gate r, the update gate z and the candidate c, N each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, one_of, shape
from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.record import (
    ACTIVATIONS,
    TORCH_NAMES,
    Gradient,
    Parts,
    Record,
    checked_parts,
    checked_seed,
    checked_seeds,
    checked_state,
    optional,
)

__all__ = ["GRU"]


class _Gates(NamedTuple):
    """What a step computes on its way, each (..., R, N): gates, the recurrent product h, the candidate."""

    reset: Any
    update: Any
    product: Any
    candidate: Any


class GRU(Record):
    """R gated recurrent networks of N units, with output ``activation(w_out x + b_out)``.

    One Euler step, with the rows of the arrays by gate::

        r = sigmoid(W_r x + V_r u + b_r)         W = w_rec, V = w_in
        z = sigmoid(W_z x + V_z u + b_z)
        h = W_c x + b_rec
        c = tanh(r h + V_c u + b_c + noise)
        x <- (1 - alpha) x + alpha ((1 - z) c + z x)

    At ``alpha = 1`` this is ``torch.nn.GRU``. PyTorch keeps two biases of each gate, of which only the sum counts. Here
    that sum is one part, so an update of gradient descent moves it half as far as in PyTorch.

    Parameters
    ----------
    w_rec : (R, 3 N, N) array
        Recurrent weights of r, z and c, in PyTorch's order.
    b : (R, 3 N) array
        Biases of r, z and of the candidate outside the reset gate.
    b_rec : (R, N) array
        Bias of the candidate inside the reset gate.
    w_out : (R, O, N) array
    b_out : (R, O) array
    w_in : (R, 3 N, I) array, optional
    activation : "sigmoid", "tanh" or "identity"
        Of the output.
    initial_state : scalar, (N,) or (R, N)
        x at the start of a trial.
    trainable : names among "w_rec", "b", "b_rec", "w_in", "w_out", "b_out", optional
        What training may change; by default every part there is.
    seed : (R,) array of int, optional
        Where the weights came from; -1 for unknown. Only carried along.

    Raises
    ------
    ValueError
        For shapes that do not fit, no unit, numbers that are not finite, and unknown trainable parts.

    Examples
    --------
    >>> GRU.initialize(8, [0, 1])
    GRU(2 networks, 8 units, rank 8, trainable: w_rec, b, b_rec, w_out, b_out)
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "w_rec": ("gate_unit", "from_unit"),
        "b": ("gate_unit",),
        "b_rec": ("unit",),
        "w_in": ("gate_unit", "input"),
        "w_out": ("output", "unit"),
        "b_out": ("output",),
        "initial_state": ("unit",),
        "seed": (),
    }
    parts = ("w_rec", "b", "b_rec", "w_in", "w_out", "b_out")
    required = ("w_rec",)
    torch_gates = 3

    w_rec: NDArray[Any]
    b: NDArray[Any]
    b_rec: NDArray[Any]
    w_in: NDArray[Any] | None
    w_out: NDArray[Any]
    b_out: NDArray[Any]

    def __init__(
        self,
        w_rec: ArrayLike,
        b: ArrayLike,
        b_rec: ArrayLike,
        w_out: ArrayLike,
        b_out: ArrayLike,
        *,
        w_in: ArrayLike | None = None,
        activation: str = "sigmoid",
        initial_state: ArrayLike = 0.0,
        trainable: str | Iterable[str] | None = None,
        seed: ArrayLike = -1,
    ):
        matrix = shape("w_rec", finite_array("w_rec", w_rec), ("R", "3 N", "N"))
        networks, rows, units = matrix.shape
        if rows != 3 * units or not units:
            raise ValueError(f"w_rec must have shape (R, 3 N, N) with at least one unit, got {matrix.shape}")
        read = shape("w_out", finite_array("w_out", w_out), (networks, "O", units))
        fields: dict[str, Any] = {
            "w_rec": matrix,
            "b": shape("b", finite_array("b", b), (networks, rows)),
            "b_rec": shape("b_rec", finite_array("b_rec", b_rec), (networks, units)),
            "w_in": optional("w_in", w_in, (networks, rows, "I")),
            "w_out": read,
            "b_out": shape("b_out", finite_array("b_out", b_out), (networks, read.shape[1])),
            "activation": one_of("activation", activation, ACTIVATIONS),
            "initial_state": checked_state(initial_state, networks, units),
            "seed": checked_seed(seed, networks),
        }
        present = tuple(part for part in self.parts if fields[part] is not None)
        fields["trainable"] = checked_parts(trainable, present, present)
        self._keep(fields)

    @classmethod
    def initialize(
        cls, n_units: int, seeds: Sequence[int], *, n_inputs: int = 0, n_outputs: int = 1, **keywords: Any
    ) -> Self:
        """One network per seed with PyTorch's distribution: every weight and bias uniform within ``1 / sqrt(N)``.

        Drawn with numpy's default generator. The biases of r and z are sums of two such numbers, as PyTorch's two.

        Parameters
        ----------
        n_units : int
        seeds : whole numbers from 0
        n_inputs, n_outputs : int
            Channels; without inputs there are no input weights.
        **keywords
            Arguments of the constructor.
        """
        units, inputs = integer("n_units", n_units, at_least=1), integer("n_inputs", n_inputs, at_least=0)
        outputs, limit = integer("n_outputs", n_outputs, at_least=1), 1 / np.sqrt(units)
        checked = checked_seeds(seeds)
        draws = []
        for seed in checked:
            generator = np.random.default_rng(seed)
            shapes: dict[str, Any] = {"w_rec": (3 * units, units), "w_in": (3 * units, inputs), "bias_ih": 3 * units}
            shapes |= {"bias_hh": 3 * units, "w_out": (outputs, units), "b_out": outputs}
            drawn = {name: generator.uniform(-limit, limit, size) for name, size in shapes.items()}
            drawn["b"], drawn["b_rec"] = _biases(units, drawn.pop("bias_ih"), drawn.pop("bias_hh"))
            if not inputs:
                del drawn["w_in"]
            draws.append(drawn)
        arrays = {name: np.stack([drawn[name] for drawn in draws]) for name in draws[0]}
        return cls(**{**arrays, "seed": checked, **keywords})

    @classmethod
    def from_arrays(cls, arrays: Parts) -> Self:
        """From w_rec and perhaps the others; without a readout one of zeros, which no slow point depends on."""
        found = cls.stacked(arrays)
        networks, rows, units = shape("w_rec", found["w_rec"], ("R", "3 N", "N")).shape
        found.setdefault("b", np.zeros((networks, rows)))
        found.setdefault("b_rec", np.zeros((networks, units)))
        found.setdefault("w_out", np.zeros((networks, 1, units)))
        found.setdefault("b_out", np.zeros((networks, found["w_out"].shape[1])))
        return cls(**found)

    @classmethod
    def from_torch(cls, cell: Parts) -> Self:
        """From ``torch.nn.GRU`` or ``GRUCell``: this library's Euler map with alpha = 1."""
        rows, units = cell["weight_hh"].shape
        biases = (cell.get(name, np.zeros(rows)) for name in ("bias_ih", "bias_hh"))
        b, b_rec = _biases(units, *biases)
        found = {"w_rec": cell["weight_hh"], "b": b, "b_rec": b_rec}
        return cls.from_arrays(found | {ours: cell[name] for name, ours in TORCH_NAMES.items() if name in cell})

    @property
    def n_units(self) -> int:
        """N."""
        return int(self.w_rec.shape[2])

    @property
    def rank(self) -> int:
        """N: nothing constrains the rank."""
        return self.n_units

    @property
    def n_inputs(self) -> int:
        """I, 0 without input weights."""
        return 0 if self.w_in is None else int(self.w_in.shape[2])

    @property
    def n_outputs(self) -> int:
        """O."""
        return int(self.w_out.shape[1])

    # The equations, forward.

    def _gates(self, lib: Arithmetic, p: Parts, x: Any, u: Any, noise: Any = None) -> _Gates:
        units = self.n_units
        products, driven = lib.times(p["w_rec"], x), p["b"]
        if u is not None and "w_in" in p:
            driven = driven + lib.einsum("rni,...i->...rn", p["w_in"], u)
        gates = lib.sigmoid(products[..., : 2 * units] + driven[..., : 2 * units])
        reset, update = gates[..., :units], gates[..., units:]
        product = products[..., 2 * units :] + p["b_rec"]
        inside = reset * product + driven[..., 2 * units :]
        return _Gates(reset, update, product, lib.tanh(inside if noise is None else inside + noise))

    def advance(self, lib: Arithmetic, p: Parts, x: Any, u: Any, alpha: float, noise: Any = None) -> tuple[Any, Any]:
        """``(1 - alpha) x + alpha ((1 - z) c + z x)``, and the gates."""
        gates = self._gates(lib, p, x, u, noise)
        return (1 - alpha) * x + alpha * ((1 - gates.update) * gates.candidate + gates.update * x), gates

    def read(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """``w_out x + b_out``, (..., R, O)."""
        return lib.einsum("ron,...rn->...ro", p["w_out"], x) + p["b_out"]

    # The equations, backward.

    def advance_back(
        self, gradient: Gradient, y: NDArray[Any], x: NDArray[Any], u: NDArray[Any], alpha: float, kept: Any
    ) -> NDArray[Any]:
        """The adjoint of a step. With ``g = alpha y`` and s the derivatives by the sums inside each gate::

        s_c = g (1 - z) (1 - c**2),  s_z = g (x - c) z (1 - z),  s_r = s_c h r (1 - r),  dL/dh = s_c r
        dL/dx = (1 - alpha) y + g z + W_r^T s_r + W_z^T s_z + W_c^T dL/dh
        """
        reset, update, product, candidate = kept
        g = alpha * y
        by_candidate = g * (1 - update) * (1 - candidate**2)
        by_update = g * (x - candidate) * update * (1 - update)
        by_reset = by_candidate * product * reset * (1 - reset)
        by_product = by_candidate * reset
        inner = np.concatenate([by_reset, by_update, by_product], axis=-1)  # by W x
        outer = np.concatenate([by_reset, by_update, by_candidate], axis=-1)  # by V u + b
        gradient["w_rec"] += np.einsum("brm,brn->rmn", inner, x)
        gradient["b"] += outer.sum(axis=0)
        gradient["b_rec"] += by_product.sum(axis=0)
        if "w_in" in gradient:
            gradient["w_in"] += np.einsum("brm,bi->rmi", outer, u)
        return (1 - alpha) * y + g * update + NUMPY.transposed_times(self.w_rec, inner)

    def read_back(self, gradient: Gradient, by_logit: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """``w_out^T dL/dz``; ``dL/dw_out += dL/dz x^T``, ``dL/db_out += dL/dz``."""
        gradient["w_out"] += np.einsum("bro,brn->ron", by_logit, x)
        gradient["b_out"] += by_logit.sum(axis=0)
        return np.einsum("ron,bro->brn", self.w_out, by_logit)

    # Slow points. The flow is ``F = (1 - z) (c - x)``; as z < 1 and |c| < 1, fixed points have |x| < 1.

    def state_flow(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``(1 - z) (c - x)``."""
        gates = self._gates(NUMPY, p, x, u)
        return np.asarray((1 - gates.update) * (gates.candidate - x))

    def state_jacobian(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``DF = (1 - z) (Dc - 1) - (c - x) Dz``, a factor in front multiplying rows."""
        _, update, _, candidate = gates = self._gates(NUMPY, p, x, u)
        W_z = p["w_rec"][..., self.n_units : 2 * self.n_units, :]
        by_x = _rows(1 - candidate**2) * self._inside_slope(p, gates) - np.eye(self.n_units)
        return np.asarray(_rows(1 - update) * by_x - _rows((candidate - x) * update * (1 - update)) * W_z)

    def state_curvature(
        self, p: Parts, x: NDArray[Any], weights: NDArray[Any], u: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """``sum_i q_i D2F_i`` for weights q.

        With a the sum inside the tanh, sigma' and sigma'' the derivatives of the gates, and products of gradients
        symmetric (``f g + g f``)::

            D2F = (1 - z) D2c - Dz (Dc - 1) - (Dc - 1) Dz - (c - x) D2z
            D2c = tanh'' Da Da + tanh' D2a,  Da = h r' W_r + r W_c,  D2a = h r'' W_r W_r + r' (W_r W_c + W_c W_r)
        """
        reset, update, product, candidate = gates = self._gates(NUMPY, p, x, u)
        W_r, W_z, W_c = (p["w_rec"][..., k * self.n_units : (k + 1) * self.n_units, :] for k in range(3))
        slope, inside = 1 - candidate**2, self._inside_slope(p, gates)
        reset_slope, update_slope = reset * (1 - reset), update * (1 - update)
        of_candidate = weights * (1 - update)
        whole = _quadratic(of_candidate * (-2 * candidate * slope), inside, inside)
        whole += _quadratic(of_candidate * slope * product * reset_slope * (1 - 2 * reset), W_r, W_r)
        whole -= _quadratic(weights * (candidate - x) * update_slope * (1 - 2 * update), W_z, W_z)
        mixed = _quadratic(of_candidate * slope * reset_slope, W_r, W_c)
        mixed -= _quadratic(weights * update_slope, W_z, _rows(slope) * inside - np.eye(self.n_units))
        return np.asarray(whole + mixed + np.swapaxes(mixed, -1, -2))

    def _inside_slope(self, p: Parts, gates: _Gates) -> NDArray[Any]:
        """Da, the derivative by x of the sum inside the tanh, (..., R, N, N)."""
        W_r, W_c = p["w_rec"][..., : self.n_units, :], p["w_rec"][..., 2 * self.n_units :, :]
        by_reset = gates.product * gates.reset * (1 - gates.reset)
        return np.asarray(_rows(by_reset) * W_r + _rows(gates.reset) * W_c)


def _biases(units: int, outer: NDArray[Any], inner: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """``b`` and ``b_rec`` from PyTorch's ``bias_ih`` and ``bias_hh``."""
    b = np.array(outer)
    b[: 2 * units] += inner[: 2 * units]
    return b, np.array(inner[2 * units :])


def _rows(factors: NDArray[Any]) -> NDArray[Any]:
    """As factors of the rows of matrices."""
    return factors[..., None]


def _quadratic(weights: NDArray[Any], left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """``left^T diag(weights) right``, (..., R, N, N)."""
    return np.asarray(np.swapaxes(left, -1, -2) @ (_rows(weights) * right))
