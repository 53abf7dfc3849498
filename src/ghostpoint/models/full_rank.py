"""Full-rank networks and their equations: ``tau dx/dt = -x + tanh(W x + W_in u + b)`` (letter, eq.
3).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, shape
from ghostpoint.errors import InputError
from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.published import FULL_RANK
from ghostpoint.models.record import TORCH_NAMES, Common, Gradient, Parts, Scheme, Sizes, TanhForm
from ghostpoint.models.tanh_networks import TanhNetworks, xavier


def _normal(generator: np.random.Generator, sizes: Sizes) -> dict[str, NDArray[Any]]:
    root, units = np.sqrt(sizes.units), sizes.units
    weights = {"W": generator.normal(size=(units, units)) / root}
    weights["w_out"] = generator.normal(size=(sizes.outputs, units)) / root
    weights["b_out"] = generator.normal(size=sizes.outputs) / root
    if sizes.inputs:
        weights["w_in"] = generator.normal(size=(units, sizes.inputs)) / root
    return weights


def _xavier_biased(generator: np.random.Generator, sizes: Sizes) -> dict[str, NDArray[Any]]:
    units = sizes.units
    weights = {"W": xavier(generator, units, units), "w_out": xavier(generator, sizes.outputs, units)}
    weights["b_out"] = generator.uniform(-1, 1, sizes.outputs) / np.sqrt(units)
    weights["b"] = generator.uniform(-1, 1, units)
    if sizes.inputs:
        weights["w_in"] = xavier(generator, units, sizes.inputs)
    return weights


class FullRankRNN(TanhNetworks):
    """R networks of N units with a full matrix W, which acts as ``W x``, and output
    ``activation(w_out x + b_out)``.

    Parameters
    ----------
    W : (R, N, N) array
    b : (R, N) array, optional
        Bias; zero by default.
    w_in : (R, N, I) array, optional
        Input weights.
    w_out : (R, O, N) array, optional
        Readout; one of zeros by default, which no slow point depends on.
    b_out : (R, O) array, optional
        Zero by default.
    activation : "sigmoid", "tanh" or "identity"
        Of the output.
    initial_state : scalar, (N,) or (R, N)
        x at the start of a trial; -0.3 by default.
    trainable : names among "W", "b", "w_in", "w_out", "b_out", optional
        What training may change; by default every part there is.
    seed : (R,) array of int, optional
        Where the weights came from; -1 for unknown. Only carried along.

    Schemes of :meth:`initialize`: "normal" (article, Fig. 6A), W, w_out, b_out and w_in normal with
    variance 1/N, b = 0; "xavier_biased" (article, Figs. 5, 7, 8C), W, w_in and w_out Xavier
    uniform, b uniform within 1, b_out within ``1 / sqrt(N)``.

    Raises
    ------
    ValueError
        For shapes that do not fit, no unit, numbers that are not finite, and unknown trainable
        parts.

    Examples
    --------
    >>> import numpy as np
    >>> FullRankRNN(1.5 * np.eye(2)[None], w_out=np.ones((1, 1, 2)))
    FullRankRNN(1 networks, 2 units, rank 2, trainable: W, b, w_out, b_out)
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "W": ("unit", "from_unit"),
        "b": ("unit",),
        "w_in": ("unit", "input"),
        "w_out": ("output", "unit"),
        "b_out": ("output",),
        "initial_state": ("unit",),
        "seed": (),
    }
    parts = ("W", "b", "w_in", "w_out", "b_out")
    kernels = "full_rank"
    required = ("W",)
    torch_gates = 1
    schemes: ClassVar[dict[str, Scheme]] = {"normal": Scheme(_normal), "xavier_biased": Scheme(_xavier_biased)}
    setups = FULL_RANK

    W: NDArray[Any]

    def __init__(self, W: ArrayLike, b: ArrayLike | None = None, **common: Unpack[Common]):
        matrix = shape("W", finite_array("W", W), ("R", "N", "N"))
        _, units, columns = matrix.shape
        if units != columns or not units:
            raise InputError(f"W must have shape (R, N, N) with at least one unit, got {matrix.shape}")
        self._build({"W": matrix, "b": b}, common, {"unit": units, "from_unit": units})

    @classmethod
    def from_torch(cls, cell: Parts) -> Self:
        """From a vanilla tanh ``torch.nn.RNN``: this library's Euler map with alpha = 1."""
        units = cell["weight_hh"].shape[1]
        biases = [cell[name] for name in ("bias_hh", "bias_ih") if name in cell]
        found = {"W": cell["weight_hh"], "b": sum(biases, np.zeros(units)), "initial_state": np.zeros(units)}
        found |= {ours: cell[name] for name, ours in TORCH_NAMES.items() if name in cell}
        return cls.from_arrays(found)

    # The equations. x is (R, N) and u (I,), with any number of axes in front, such as trials: (B,
    # R, N) and (B, I).

    def recurrent(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """``W x``, shape (..., R, N)."""
        return lib.times(p["W"], x)

    def recurrent_back(self, gradient: Gradient, s: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """``W^T s``; ``dL/dW += s x^T``."""
        gradient["W"] += np.einsum("brn,brk->rnk", s, x)
        return np.einsum("rnk,brn->brk", self.W, s)

    def tanh_form(self) -> TanhForm:
        """The state's own flow."""
        return TanhForm(self.W, None, self.b, self.w_in)

    def drive(self, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``W x + W_in u + b``, the argument of the units' tanh, shape (..., R, N)."""
        p = self.arrays()
        return np.asarray(self._driven(NUMPY, p, self.recurrent(NUMPY, p, x), u))

    def flow(self, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``-x + tanh(W x + W_in u + b)``, the state's velocity in units of 1/tau, shape (..., R,
        N).
        """
        return np.asarray(np.tanh(self.drive(x, u)) - x)

    def flow_jacobian(self, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """Derivative of :meth:`flow` by x, ``-1 + diag(1 - tanh**2) W``, shape (..., R, N, N)."""
        gain = 1 - np.tanh(self.drive(x, u)) ** 2
        return gain[..., None] * self.W - np.eye(self.n_units)
