"""Full-rank networks and their equations: ``tau dx/dt = -x + tanh(W x + W_in u + b)`` (letter, eq. 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, memory_for, one_of, shape
from ghostpoint.errors import InputError
from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.published import FULL_RANK, draw, setup_of
from ghostpoint.models.record import (
    ACTIVATIONS,
    TORCH_NAMES,
    Gradient,
    Parts,
    TanhForm,
    checked_parts,
    checked_seed,
    checked_seeds,
    checked_state,
    optional,
    xavier,
)
from ghostpoint.models.tanh_networks import TanhNetworks

__all__ = ["FullRankRNN"]

SCHEMES = ("normal", "xavier_biased")


class FullRankRNN(TanhNetworks):
    """R networks of N units with a full matrix W, which acts as ``W x``, and output ``activation(w_out x + b_out)``.

    Parameters
    ----------
    W : (R, N, N) array
    b : (R, N) array
    w_out : (R, O, N) array
    b_out : (R, O) array
    w_in : (R, N, I) array, optional
    activation : "sigmoid", "tanh" or "identity"
        Of the output.
    initial_state : scalar, (N,) or (R, N)
        x at the start of a trial.
    trainable : names among "W", "b", "w_in", "w_out", "b_out", optional
        What training may change; by default every part there is.
    seed : (R,) array of int, optional
        Where the weights came from; -1 for unknown. Only carried along.

    Raises
    ------
    ValueError
        For shapes that do not fit, no unit, numbers that are not finite, and unknown trainable parts.
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

    W: NDArray[Any]
    w_out: NDArray[Any]
    b_out: NDArray[Any]

    def __init__(
        self,
        W: ArrayLike,
        b: ArrayLike,
        w_out: ArrayLike,
        b_out: ArrayLike,
        *,
        w_in: ArrayLike | None = None,
        activation: str = "sigmoid",
        initial_state: ArrayLike = -0.3,
        trainable: str | Iterable[str] | None = None,
        seed: ArrayLike = -1,
    ):
        matrix = shape("W", finite_array("W", W), ("R", "N", "N"))
        networks, units, columns = matrix.shape
        if units != columns or not units:
            raise InputError(f"W must have shape (R, N, N) with at least one unit, got {matrix.shape}")
        read = shape("w_out", finite_array("w_out", w_out), (networks, "O", units))
        fields: dict[str, Any] = {
            "W": matrix,
            "b": shape("b", finite_array("b", b), (networks, units)),
            "w_in": optional("w_in", w_in, (networks, units, "I")),
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
        cls,
        n_units: int,
        seeds: Sequence[int],
        scheme: str = "normal",
        *,
        n_inputs: int = 0,
        n_outputs: int = 1,
        **keywords: Any,
    ) -> Self:
        """One network per seed, drawn with numpy's default generator, as in a published experiment.

        Parameters
        ----------
        scheme : "normal" or "xavier_biased"
            "normal" (article, Fig. 6A): W, w_out and b_out normal with variance 1/N, b = 0. "xavier_biased" (Figs. 5,
            7, 8C): W, w_in and w_out Xavier uniform, b uniform within 1, b_out within ``1 / sqrt(N)``.
        n_inputs, n_outputs : int
            Channels; without inputs there are no input weights.
        """
        units = integer("n_units", n_units, at_least=1)
        one_of("scheme", scheme, SCHEMES)
        inputs, outputs = integer("n_inputs", n_inputs, at_least=0), integer("n_outputs", n_outputs, at_least=1)
        checked = checked_seeds(seeds)
        draws = []
        with memory_for("n_units", units):
            for seed in checked:
                generator = np.random.default_rng(seed)
                root = np.sqrt(units)
                if scheme == "normal":
                    weights = {
                        "W": generator.normal(size=(units, units)) / root,
                        "w_out": generator.normal(size=(outputs, units)) / root,
                        "b_out": generator.normal(size=outputs) / root,
                        "b": np.zeros(units),
                    }
                    if inputs:
                        weights["w_in"] = generator.normal(size=(units, inputs)) / root
                else:
                    weights = {
                        "W": xavier(generator, units, units),
                        "w_out": xavier(generator, outputs, units),
                        "b_out": generator.uniform(-1, 1, outputs) / root,
                        "b": generator.uniform(-1, 1, units),
                    }
                    if inputs:
                        weights["w_in"] = xavier(generator, units, inputs)
                draws.append(weights)
        arrays = {name: np.stack([weights[name] for weights in draws]) for name in draws[0]}
        return cls(**{**arrays, "seed": checked, **keywords})

    @classmethod
    def published(cls, seeds: Sequence[int], figure: str = "5", **keywords: Any) -> Self:
        """The published networks of a figure (article) from their own draws, with its readout and initial state.

        All have N = 100 units. Weights of a seed are those that PyTorch draws on the CPU after ``manual_seed(seed)``,
        to one unit in the last place of float32 (:mod:`ghostpoint.models.published`). Trials of Figs. 5 and 8C start at
        random rates that the task draws, so the initial state of those networks is not used there.

        Parameters
        ----------
        seeds : whole numbers from 0 to ``2**32 - 1``
        figure : str
            "5", "7" (or a panel A to C of either) and "8C": one input, bias, output for cue discrimination; "5D" to
            "5F" and "7D" to "7F": the same weights with the output of match to sample. "6A": no input, no bias at
            first. **keywords Arguments of the constructor that replace the published ones.

        Raises
        ------
        ValueError
            For another figure; the message lists them.

        Examples
        --------
        >>> FullRankRNN.published([3], figure="5D").activation
        'sigmoid'
        """
        setup = setup_of(figure, FULL_RANK)
        checked = checked_seeds(seeds)
        return cls(**{**draw(setup, 100, checked), **setup.settings, "seed": checked, **keywords})

    @property
    def n_units(self) -> int:
        """N."""
        return int(self.W.shape[1])

    @property
    def rank(self) -> int:
        """N: nothing constrains the rank of W."""
        return self.n_units

    @property
    def n_outputs(self) -> int:
        """O."""
        return int(self.w_out.shape[1])

    @classmethod
    def from_arrays(cls, arrays: Parts) -> Self:
        """From W and perhaps the others; without a readout one of zeros, which no slow point depends on."""
        found = cls.stacked(arrays)
        W = shape("W", finite_array("W", found["W"]), ("R", "N", "N"))
        networks, units, _ = W.shape
        found.setdefault("b", np.zeros((networks, units)))
        found.setdefault("w_out", np.zeros((networks, 1, units)))
        found.setdefault("b_out", np.zeros((networks, found["w_out"].shape[1])))
        return cls(**found)

    @classmethod
    def from_torch(cls, cell: Parts) -> Self:
        """From a vanilla tanh ``torch.nn.RNN``: this library's Euler map with alpha = 1."""
        units = cell["weight_hh"].shape[1]
        biases = [cell[name] for name in ("bias_hh", "bias_ih") if name in cell]
        found = {"W": cell["weight_hh"], "b": sum(biases, np.zeros(units)), "initial_state": np.zeros(units)}
        found |= {ours: cell[name] for name, ours in TORCH_NAMES.items() if name in cell}
        return cls.from_arrays(found)

    # The equations. x is (R, N) and u (I,), with any number of axes in front, such as trials: (B, R, N) and (B, I).

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
        """``W x + W_in u + b``, what the units' tanh is taken of, shape (..., R, N)."""
        p = self.arrays()
        return np.asarray(self._driven(NUMPY, p, self.recurrent(NUMPY, p, x), u))

    def flow(self, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``-x + tanh(W x + W_in u + b)``, the state's velocity in units of 1/tau, shape (..., R, N)."""
        return np.asarray(np.tanh(self.drive(x, u)) - x)

    def flow_jacobian(self, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """Derivative of :meth:`flow` by x, ``-1 + diag(1 - tanh**2) W``, shape (..., R, N, N)."""
        gain = 1 - np.tanh(self.drive(x, u)) ** 2
        return gain[..., None] * self.W - np.eye(self.n_units)
