"""Low-rank networks and their equations.

``tau dx/dt = -x + tanh(W x + W_in u + b)`` (letter, eq. 3) with ``W = m n^T``, as an Euler map with
``alpha = dt / tau`` (eq. 17). Symbols to names: m, n the factors; b ``b``; kappa = n^T x the
latents (eq. 4); c ``confidence`` and kappa* ``threshold`` of the output
``sigmoid(c (kappa_1 - kappa*))`` (eq. 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, one_of, shape
from ghostpoint.errors import InputError
from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.full_rank import FullRankRNN
from ghostpoint.models.published import LOW_RANK
from ghostpoint.models.record import ACTIVATIONS, Common, Gradient, Parts, Scheme, Sizes, TanhForm
from ghostpoint.models.tanh_networks import TanhNetworks, xavier

READOUTS = ("state", "latent")


def _fixed_readout(generator: np.random.Generator, sizes: Sizes) -> dict[str, NDArray[Any]]:
    m, n = generator.normal(size=(2, sizes.units, sizes.rank)) / np.sqrt(sizes.units)
    return {"m": m, "n": n}


def _state_readout(generator: np.random.Generator, sizes: Sizes) -> dict[str, NDArray[Any]]:
    weights, root = _fixed_readout(generator, sizes), np.sqrt(sizes.units)
    w_out = generator.normal(size=(sizes.outputs, sizes.units)) / root
    return {**weights, "w_out": w_out, "b_out": generator.normal(size=sizes.outputs) / root}


def _latent_readout(generator: np.random.Generator, sizes: Sizes) -> dict[str, NDArray[Any]]:
    integer("n_inputs", sizes.inputs, at_least=1)
    weights = _fixed_readout(generator, sizes)
    return {
        "m": weights["m"] * np.sqrt(sizes.units),
        "n": weights["n"],
        "w_in": xavier(generator, sizes.units, sizes.inputs),
        "b": 0.1 * generator.normal(size=sizes.units),
        "w_out": xavier(generator, sizes.outputs, sizes.rank),
        "b_out": generator.uniform(-1, 1, sizes.outputs) / np.sqrt(sizes.rank),
    }


def _factors(name: str, value: ArrayLike) -> NDArray[np.float64]:
    array = finite_array(name, value)
    if array.ndim == 1:
        array = array[None]
    if array.ndim == 2:
        array = array[:, :, None]
    return shape(name, array, ("R", "N", "K"))


class LowRankRNN(TanhNetworks):
    """R networks of N units with ``W = m n^T`` of rank K.

    Without ``w_out`` the readout is the latent one, ``activation(c (kappa_1 - kappa*))``; with it,
    ``activation(w_out x + b_out)`` (``readout="state"``) or ``activation(w_out kappa + b_out)``
    (``"latent"``). The defaults are those of the published networks for delayed activation.

    Parameters
    ----------
    m, n : (R, N, K) array
        Factors of W. ``(R, N)`` stands for rank one, ``(N,)`` for one network of rank one.
    b : (R, N) array, optional
        Bias; zero by default.
    w_in : (R, N, I) array, optional
        Input weights.
    w_out : (R, O, N) or, for the latent readout, (R, O, K) array, optional
    b_out : (R, O) array, optional
        Zero by default where there is a ``w_out``.
    confidence : scalar or (R,)
        c of the output without ``w_out``.
    threshold : scalar or (R,)
        kappa* of the output without ``w_out``.
    readout : "state" or "latent"
        What ``w_out`` reads.
    activation : "sigmoid", "tanh" or "identity"
        Of the output.
    initial_state : scalar, (N,) or (R, N)
        x at the start of a trial.
    trainable : names among "m", "n", "b", "w_in", "w_out", "b_out", "confidence", optional
        What training may change; by default all the parts there are but the confidence.
    seed : (R,) array of int, optional
        Where the weights came from; -1 for unknown. Only carried along.

    Schemes of :meth:`initialize` (figures of the article):

    * "fixed_readout" (Figs. 3, 6A, 8B): m, n normal with variance 1/N, b = 0, the readout with
      confidence and threshold;
    * "state_readout" (Fig. 6B): the same with a trained readout of the state, w_out and b_out
      normal with variance 1/N;
    * "latent_readout" (Fig. 4): m standard normal, n normal with variance 1/N, w_in Xavier uniform,
      b normal with standard deviation 0.1, a trained readout of the latents, w_out Xavier uniform,
      b_out uniform within ``1 / sqrt(K)``.

    Raises
    ------
    ValueError
        For shapes that do not fit, no unit, numbers that are not finite, and unknown trainable
        parts.

    Examples
    --------
    >>> import numpy as np
    >>> model = LowRankRNN(m=[1.0, 1.0], n=[1.0, 0.5])
    >>> model
    LowRankRNN(1 networks, 2 units, rank 1, trainable: m, n, b)
    >>> model.rank, model.n_units, model.flow(np.zeros((1, 1))).tolist()
    (1, 2, [[0.0]])
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "m": ("unit", "latent"),
        "n": ("unit", "latent"),
        "b": ("unit",),
        "w_in": ("unit", "input"),
        "w_out": ("output", "read"),
        "b_out": ("output",),
        "confidence": (),
        "threshold": (),
        "initial_state": ("unit",),
        "seed": (),
    }
    parts = ("m", "n", "b", "w_in", "w_out", "b_out", "confidence")
    kernels = "low_rank"
    required = ("m", "n")
    schemes: ClassVar[dict[str, Scheme]] = {
        "fixed_readout": Scheme(_fixed_readout),
        "state_readout": Scheme(_state_readout),
        "latent_readout": Scheme(_latent_readout, {"readout": "latent"}),
    }
    setups = LOW_RANK

    m: NDArray[Any]
    n: NDArray[Any]
    confidence: NDArray[Any]
    threshold: NDArray[Any]
    readout: str

    def __init__(
        self,
        m: ArrayLike,
        n: ArrayLike,
        b: ArrayLike | None = None,
        *,
        confidence: ArrayLike = 10.0,
        threshold: ArrayLike = 1.0,
        readout: str = "state",
        **common: Unpack[Common],
    ):
        left, right = _factors("m", m), _factors("n", n)
        networks, units, latents = left.shape
        if not units or not latents:
            raise InputError(f"m must have at least one unit and one latent, got shape {left.shape}")
        if networks == 1 and np.ndim(b) == 1:  # type: ignore[arg-type]
            b = np.asarray(b)[None]
        one_of("readout", readout, READOUTS)
        if common.get("w_out") is None and common.get("b_out") is not None:
            raise InputError("b_out must come with w_out, got b_out alone")
        arrays = {"m": left, "n": right, "b": b, "confidence": confidence, "threshold": threshold}
        sizes = {"unit": units, "latent": latents, "read": units if readout == "state" else latents}
        self._build(arrays, common, sizes, readout=readout)

    def _absent(self, name: str, given: Mapping[str, Any]) -> bool:
        """Without ``w_out`` the readout is the confidence's."""
        return name == "w_in" or (name in ("w_out", "b_out") and given["w_out"] is None)

    @classmethod
    def _rank_of(cls, units: int, rank: int | None) -> int:
        return 1 if rank is None else integer("rank", rank, at_least=1)

    def present_parts(self) -> tuple[str, ...]:
        """The parts these networks have, trainable or not; the confidence where there is no
        ``w_out``.
        """
        return tuple(part for part in super().present_parts() if part != "confidence" or self.w_out is None)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that are not arrays."""
        return {**super().settings(), "readout": self.readout}

    @property
    def rank(self) -> int:
        """K."""
        return int(self.m.shape[2])

    @classmethod
    def from_arrays(cls, arrays: Parts) -> Self:
        """From m, n and perhaps the others; m and n of two axes are (N, K) where b is (N,), and (R,
        N) otherwise.
        """
        m = np.asarray(arrays["m"])
        single = m.ndim == 1 or (m.ndim == 2 and "b" in arrays and np.ndim(arrays["b"]) == 1)
        if m.ndim == 2 and "b" not in arrays:
            raise InputError(
                f"m must have 3 axes (R, N, K), or come with b, which tells (N, K) from (R, N); got {m.shape}"
            )
        found = cls.stacked(arrays)
        for name in ("m", "n"):
            factor = np.asarray(arrays[name])
            factor = factor[:, None] if factor.ndim == 1 else factor
            found[name] = factor[None] if single else factor[:, :, None] if m.ndim == 2 else factor
        if "w_out" in found and found["w_out"].shape[2] == found["m"].shape[2] != found["m"].shape[1]:
            return cls(**found, readout="latent")
        return cls(**found)

    # The equations. x is (R, N), kappa (R, K) and u (I,), each with any number of axes in front,
    # such as trials: (B, R, N), (B, R, K) and (B, I). All return float64 for float64 input.

    def latent(self, x: NDArray[Any]) -> NDArray[Any]:
        """``kappa = n^T x`` (letter, eq. 4), shape (..., R, K)."""
        return np.asarray(np.einsum("rnk,...rn->...rk", self.n, x))

    def recurrent(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """``W x = m (n^T x)``, shape (..., R, N)."""
        return lib.times(p["m"], lib.transposed_times(p["n"], x))

    def recurrent_back(self, gradient: Gradient, s: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """``n (m^T s)``; ``dL/dm += s kappa^T`` and ``dL/dn += x (m^T s)^T``."""
        by_latent = np.einsum("rnk,brn->brk", self.m, s)
        gradient["m"] += np.einsum("brn,brk->rnk", s, self.latent(x))
        return self._latent_back(gradient, by_latent, x)

    def _latent_back(self, gradient: Gradient, by_latent: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """The adjoint of ``kappa = n^T x``: from dL/dkappa to dL/dx."""
        gradient["n"] += np.einsum("brn,brk->rnk", x, by_latent)
        return np.einsum("rnk,brk->brn", self.n, by_latent)

    def tanh_form(self) -> TanhForm:
        """The flow of the latents (letter, eq. 4)."""
        return TanhForm(self.m, self.n, self.b, self.w_in)

    def in_full_state(self) -> FullRankRNN:
        """Full-rank networks with W = m n^T; the readout, which no slow point depends on, is left
        out.
        """
        W = np.einsum("rik,rjk->rij", self.m.astype(np.float64), self.n.astype(np.float64))
        return FullRankRNN(W, self.b, w_in=self.w_in, initial_state=self.initial_state)

    def drive(self, kappa: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``m kappa + W_in u + b``, the argument of the units' tanh, shape (..., R, N)."""
        p = self.arrays()
        return np.asarray(self._driven(NUMPY, p, NUMPY.times(self.m, kappa), u))

    def rates(self, kappa: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``tanh(m kappa + W_in u + b)``, shape (..., R, N)."""
        return np.asarray(np.tanh(self.drive(kappa, u)))

    def flow(self, kappa: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``-kappa + n^T tanh(m kappa + W_in u + b)`` (letter, eq. 4), the latents' velocity in
        units of 1/tau.
        """
        return self.latent(self.rates(kappa, u)) - kappa

    def flow_jacobian(self, kappa: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """Derivative of :meth:`flow` by kappa, ``-1 + n^T diag(1 - tanh**2) m``, shape (..., R, K,
        K).
        """
        gain = 1 - self.rates(kappa, u) ** 2
        return np.einsum("rnk,...rn,rnl->...rkl", self.n, gain, self.m) - np.eye(self.rank)

    def latent_step(self, kappa: NDArray[Any], alpha: float, u: NDArray[Any] | None = None) -> NDArray[Any]:
        """One Euler step of the latents, ``kappa + alpha flow(kappa)``: exactly
        ``latent(step(x))``.
        """
        return kappa + alpha * self.flow(kappa, u)

    @property
    def readout_parts(self) -> tuple[str, ...]:
        """The confidence where there is no ``w_out``."""
        return ("confidence",) if self.w_out is None else super().readout_parts

    def read(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """The logit by the three readouts, (..., R, O)."""
        if self.w_out is None or self.readout == "latent":
            return self._read_latent(lib, p, lib.einsum("rnk,...rn->...rk", p["n"], x))
        return super().read(lib, p, x)

    def _read_latent(self, lib: Arithmetic, p: Parts, kappa: Any) -> Any:
        if self.w_out is None:
            return (p["confidence"] * (kappa[..., 0] - p["threshold"]))[..., None]
        if self.readout == "state":
            raise InputError("readout must be latent for an output of the latents alone, got 'state'")
        return lib.einsum("rok,...rk->...ro", p["w_out"], kappa) + p["b_out"]

    def read_back(self, gradient: Gradient, by_logit: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """The adjoint of :meth:`read`, by the three readouts."""
        if self.w_out is not None and self.readout == "state":
            return super().read_back(gradient, by_logit, x)
        kappa = self.latent(x)
        if self.w_out is None:
            gradient["confidence"] += (by_logit[..., 0] * (kappa[..., 0] - self.threshold)).sum(axis=0)
            by_latent = np.zeros_like(kappa)
            by_latent[..., 0] = by_logit[..., 0] * self.confidence
        else:
            gradient["w_out"] += np.einsum("bro,brk->rok", by_logit, kappa)
            gradient["b_out"] += by_logit.sum(axis=0)
            by_latent = np.einsum("rok,bro->brk", self.w_out, by_logit)
        return self._latent_back(gradient, by_latent, x)

    def logit(self, kappa: NDArray[Any]) -> NDArray[Any]:
        """Output pre-activation (logit) from the latents, shape (..., R); of the first output
        channel.

        ``c (kappa_1 - kappa*)`` without ``w_out``.
        """
        return np.asarray(self._read_latent(NUMPY, self.arrays(), kappa)[..., 0])

    def output(self, kappa: NDArray[Any]) -> NDArray[Any]:
        """``activation(logit)`` (letter, eq. 5), shape (..., R)."""
        return np.asarray(ACTIVATIONS[self.activation](self.logit(kappa)))

    def latent_path(self, steps: int, alpha: float) -> NDArray[Any]:
        """The latents of a trial without input, kappa[0] to kappa[steps], shape (steps + 1, R,
        K).
        """
        path = [self.latent(self.initial_state)]
        for _ in range(steps):
            path.append(self.latent_step(path[-1], alpha))
        return np.stack(path)
