"""Gated recurrent units and their equations, in the form in which an Euler step of 1 is PyTorch's
cell.

Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP 2014, with the reset gate after the recurrent product and its bias, as in
``torch.nn.GRU``. Symbols to names: the rows of ``w_rec``, ``w_in`` and ``b`` are those of the reset
gate r, the update gate z and the candidate c, N each.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, shape
from ghostpoint.errors import InputError
from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.record import TORCH_NAMES, Common, Gradient, Parts, Record, Scheme, Sizes


class _Gates(NamedTuple):
    """What a step computes on its way, each (..., R, N): gates, the recurrent product h, the
    candidate.
    """

    reset: Any
    update: Any
    product: Any
    candidate: Any


def _uniform(generator: np.random.Generator, sizes: Sizes) -> dict[str, NDArray[Any]]:
    units, limit = sizes.units, 1 / np.sqrt(sizes.units)
    shapes: dict[str, Any] = {"w_rec": (3 * units, units), "w_in": (3 * units, sizes.inputs), "bias_ih": 3 * units}
    shapes |= {"bias_hh": 3 * units, "w_out": (sizes.outputs, units), "b_out": sizes.outputs}
    drawn = {name: generator.uniform(-limit, limit, size) for name, size in shapes.items()}
    drawn["b"], drawn["b_rec"] = _biases(units, drawn.pop("bias_ih"), drawn.pop("bias_hh"))
    if not sizes.inputs:
        del drawn["w_in"]
    return drawn


def _biases(units: int, outer: NDArray[Any], inner: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """``b`` and ``b_rec`` from PyTorch's ``bias_ih`` and ``bias_hh``."""
    b = np.array(outer)
    b[: 2 * units] += inner[: 2 * units]
    return b, np.array(inner[2 * units :])


class GRU(Record):
    """R gated recurrent networks of N units, with output ``activation(w_out x + b_out)``.

    One Euler step, with the rows of the arrays by gate::

        r = sigmoid(W_r x + V_r u + b_r)         W = w_rec, V = w_in
        z = sigmoid(W_z x + V_z u + b_z)
        h = W_c x + b_rec
        c = tanh(r h + V_c u + b_c + noise)
        x <- (1 - alpha) x + alpha ((1 - z) c + z x)

    At ``alpha = 1`` this is ``torch.nn.GRU``. PyTorch keeps two biases of each gate, of which only
    the sum counts. Here that sum is one part, so an update of gradient descent moves it half as far
    as in PyTorch.

    Parameters
    ----------
    w_rec : (R, 3 N, N) array
        Recurrent weights of r, z and c, in PyTorch's order.
    b : (R, 3 N) array, optional
        Biases of r, z and of the candidate outside the reset gate; zero by default.
    b_rec : (R, N) array, optional
        Bias of the candidate inside the reset gate; zero by default.
    w_in : (R, 3 N, I) array, optional
        Input weights.
    w_out : (R, O, N) array, optional
        Readout; one of zeros by default, which no slow point depends on.
    b_out : (R, O) array, optional
        Zero by default.
    activation : "sigmoid", "tanh" or "identity"
        Of the output.
    initial_state : scalar, (N,) or (R, N)
        x at the start of a trial.
    trainable : names among "w_rec", "b", "b_rec", "w_in", "w_out", "b_out", optional
        What training may change; by default every part there is.
    seed : (R,) array of int, optional
        Where the weights came from; -1 for unknown. Only carried along.

    The one scheme of :meth:`initialize` is PyTorch's: every weight and bias uniform within
    ``1 / sqrt(N)``; the biases of r and z are sums of two such numbers, as PyTorch's two.

    Raises
    ------
    ValueError
        For shapes that do not fit, no unit, numbers that are not finite, and unknown trainable
        parts.

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
    schemes: ClassVar[dict[str, Scheme]] = {"uniform": Scheme(_uniform)}

    w_rec: NDArray[Any]
    b: NDArray[Any]
    b_rec: NDArray[Any]

    def __init__(
        self, w_rec: ArrayLike, b: ArrayLike | None = None, b_rec: ArrayLike | None = None, **common: Unpack[Common]
    ):
        matrix = shape("w_rec", finite_array("w_rec", w_rec), ("R", "3 N", "N"))
        _, rows, units = matrix.shape
        if rows != 3 * units or not units:
            raise InputError(f"w_rec must have shape (R, 3 N, N) with at least one unit, got {matrix.shape}")
        sizes = {"unit": units, "from_unit": units, "gate_unit": rows}
        self._build({"w_rec": matrix, "b": b, "b_rec": b_rec}, common, sizes)

    @classmethod
    def from_torch(cls, cell: Parts) -> Self:
        """From ``torch.nn.GRU`` or ``GRUCell``: this library's Euler map with alpha = 1."""
        rows, units = cell["weight_hh"].shape
        biases = (cell.get(name, np.zeros(rows)) for name in ("bias_ih", "bias_hh"))
        b, b_rec = _biases(units, *biases)
        found = {"w_rec": cell["weight_hh"], "b": b, "b_rec": b_rec}
        return cls.from_arrays(found | {ours: cell[name] for name, ours in TORCH_NAMES.items() if name in cell})

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

    # The equations, backward.

    def advance_back(
        self, gradient: Gradient, y: NDArray[Any], x: NDArray[Any], u: NDArray[Any], alpha: float, kept: Any
    ) -> NDArray[Any]:
        """The adjoint of a step.

        With ``g = alpha y`` and s the derivatives by the sums inside each gate::

            s_c = g (1 - z) (1 - c**2),  s_z = g (x - c) z (1 - z),  s_r = s_c h r (1 - r)
            dL/dh = s_c r
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

    # Slow points. The flow is ``F = (1 - z) (c - x)``; as z < 1 and |c| < 1, fixed points have |x|
    # < 1.

    def state_flow(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``(1 - z) (c - x)``."""
        gates = self._gates(NUMPY, p, x, u)
        return np.asarray((1 - gates.update) * (gates.candidate - x))

    def state_jacobian(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``DF = (1 - z) (Dc - 1) - (c - x) Dz``, a factor in front multiplying rows."""
        _, update, _, candidate = gates = self._gates(NUMPY, p, x, u)
        W_z = p["w_rec"][..., self.n_units : 2 * self.n_units, :]
        by_x = rows(1 - candidate**2) * self._inside_slope(p, gates) - np.eye(self.n_units)
        return np.asarray(rows(1 - update) * by_x - rows((candidate - x) * update * (1 - update)) * W_z)

    def state_curvature(
        self, p: Parts, x: NDArray[Any], weights: NDArray[Any], u: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """``sum_i q_i D2F_i`` for weights q.

        With a the sum inside the tanh, sigma' and sigma'' the derivatives of the gates, and
        products of gradients symmetric (``f g + g f``)::

            D2F = (1 - z) D2c - Dz (Dc - 1) - (Dc - 1) Dz - (c - x) D2z
            D2c = tanh'' Da Da + tanh' D2a,  Da = h r' W_r + r W_c,
            D2a = h r'' W_r W_r + r' (W_r W_c + W_c W_r)
        """
        reset, update, product, candidate = gates = self._gates(NUMPY, p, x, u)
        W_r, W_z, W_c = (p["w_rec"][..., k * self.n_units : (k + 1) * self.n_units, :] for k in range(3))
        slope, inside = 1 - candidate**2, self._inside_slope(p, gates)
        reset_slope, update_slope = reset * (1 - reset), update * (1 - update)
        of_candidate = weights * (1 - update)
        whole = quadratic(of_candidate * (-2 * candidate * slope), inside, inside)
        whole += quadratic(of_candidate * slope * product * reset_slope * (1 - 2 * reset), W_r, W_r)
        whole -= quadratic(weights * (candidate - x) * update_slope * (1 - 2 * update), W_z, W_z)
        mixed = quadratic(of_candidate * slope * reset_slope, W_r, W_c)
        mixed -= quadratic(weights * update_slope, W_z, rows(slope) * inside - np.eye(self.n_units))
        return np.asarray(whole + mixed + np.swapaxes(mixed, -1, -2))

    def _inside_slope(self, p: Parts, gates: _Gates) -> NDArray[Any]:
        """Da, the derivative by x of the sum inside the tanh, (..., R, N, N)."""
        W_r, W_c = p["w_rec"][..., : self.n_units, :], p["w_rec"][..., 2 * self.n_units :, :]
        by_reset = gates.product * gates.reset * (1 - gates.reset)
        return np.asarray(rows(by_reset) * W_r + rows(gates.reset) * W_c)


def rows(factors: NDArray[Any]) -> NDArray[Any]:
    """As factors of the rows of matrices."""
    return factors[..., None]


def quadratic(weights: NDArray[Any], left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """``left^T diag(weights) right``, (..., R, N, N)."""
    return np.asarray(np.swapaxes(left, -1, -2) @ (rows(weights) * right))
