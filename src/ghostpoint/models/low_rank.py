"""Low-rank networks and their equations.

``tau dx/dt = -x + tanh(W x + W_in u + b)`` (letter, eq. 3) with ``W = m n^T``, as an Euler map with
``alpha = dt / tau`` (eq. 17). Symbols to names: m, n the factors; b ``b``; kappa = n^T x the latents (eq. 4); c
``confidence`` and kappa* ``threshold`` of the output ``sigmoid(c (kappa_1 - kappa*))`` (eq. 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, memory_for, one_of, shape
from ghostpoint.errors import InputError
from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.full_rank import FullRankRNN
from ghostpoint.models.published import LOW_RANK, draw, setup_of
from ghostpoint.models.record import (
    ACTIVATIONS,
    Gradient,
    Parts,
    TanhForm,
    checked_parts,
    checked_seed,
    checked_seeds,
    checked_state,
    optional,
    per_network,
    xavier,
)
from ghostpoint.models.tanh_networks import TanhNetworks

__all__ = ["LowRankRNN"]

READOUTS = ("state", "latent")
SCHEMES = ("fixed_readout", "state_readout", "latent_readout")


class LowRankRNN(TanhNetworks):
    """R networks of N units with ``W = m n^T`` of rank K.

    Without ``w_out`` the readout is the latent one, ``activation(c (kappa_1 - kappa*))``; with it,
    ``activation(w_out x + b_out)`` (``readout="state"``) or ``activation(w_out kappa + b_out)`` (``"latent"``). The
    defaults are those of the published networks for delayed activation.

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

    Raises
    ------
    ValueError
        For shapes that do not fit, no unit, numbers that are not finite, and unknown trainable parts.
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

    m: NDArray[Any]
    n: NDArray[Any]
    w_out: NDArray[Any] | None
    b_out: NDArray[Any] | None
    confidence: NDArray[Any]
    threshold: NDArray[Any]
    readout: str

    def __init__(
        self,
        m: ArrayLike,
        n: ArrayLike,
        b: ArrayLike | None = None,
        *,
        w_in: ArrayLike | None = None,
        w_out: ArrayLike | None = None,
        b_out: ArrayLike | None = None,
        confidence: ArrayLike = 10.0,
        threshold: ArrayLike = 1.0,
        readout: str = "state",
        activation: str = "sigmoid",
        initial_state: ArrayLike = -0.3,
        trainable: str | Iterable[str] | None = None,
        seed: ArrayLike = -1,
    ):
        factors = _factors("m", m)
        shape("n", right := _factors("n", n), factors.shape)
        networks, units, latents = factors.shape
        if not units or not latents:
            raise InputError(f"m must have at least one unit and one latent, got shape {factors.shape}")
        bias = np.zeros((networks, units)) if b is None else finite_array("b", b)
        if bias.ndim == 1 and networks == 1:
            bias = bias[None]
        one_of("readout", readout, READOUTS)
        read = optional("w_out", w_out, (networks, "O", units if readout == "state" else latents))
        if read is None and b_out is not None:
            raise InputError("b_out must come with w_out, got b_out alone")
        outputs = 1 if read is None else read.shape[1]
        offset = None if read is None else np.zeros((networks, outputs)) if b_out is None else b_out
        fields: dict[str, Any] = {
            "m": factors,
            "n": right,
            "b": shape("b", bias, (networks, units)),
            "w_in": optional("w_in", w_in, (networks, units, "I")),
            "w_out": read,
            "b_out": optional("b_out", offset, (networks, outputs)),
            "confidence": per_network("confidence", finite_array("confidence", confidence), networks),
            "threshold": per_network("threshold", finite_array("threshold", threshold), networks),
            "readout": readout,
            "activation": one_of("activation", activation, ACTIVATIONS),
            "initial_state": checked_state(initial_state, networks, units),
            "seed": checked_seed(seed, networks),
        }
        present = tuple(
            part for part in self.parts if fields[part] is not None and (part != "confidence" or read is None)
        )
        default = tuple(part for part in present if part != "confidence")
        fields["trainable"] = checked_parts(trainable, present, default)
        self._keep(fields)

    def present_parts(self) -> tuple[str, ...]:
        """The parts these networks have, trainable or not; the confidence where there is no ``w_out``."""
        return tuple(part for part in super().present_parts() if part != "confidence" or self.w_out is None)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that are not arrays."""
        return {**super().settings(), "readout": self.readout}

    @classmethod
    def initialize(
        cls,
        n_units: int,
        rank: int,
        seeds: Sequence[int],
        scheme: str = "fixed_readout",
        *,
        n_inputs: int = 0,
        n_outputs: int = 1,
        **keywords: Any,
    ) -> Self:
        """One network per seed, drawn with numpy's default generator, as in a published experiment.

        The published networks themselves, from their own generator, are :meth:`published`. ``keywords`` go to the
        constructor.

        Parameters
        ----------
        scheme : "fixed_readout", "state_readout" or "latent_readout"
            "fixed_readout" (article, Figs. 3, 6A, 8B): m, n normal with variance 1/N, b = 0, the fixed readout with
            confidence and threshold. "state_readout" (Fig. 6B): the same with a trained readout of the state, w_out
            and b_out normal with variance 1/N. "latent_readout" (Fig. 4): m standard normal, n normal with variance
            1/N, w_in Xavier uniform, b normal with standard deviation 0.1, a trained readout of the latents: w_out
            Xavier uniform, b_out uniform within ``1 / sqrt(K)``.
        n_inputs, n_outputs : int
            Channels, where the scheme has input weights or a readout.
        """
        units, latents = integer("n_units", n_units, at_least=1), integer("rank", rank, at_least=1)
        one_of("scheme", scheme, SCHEMES)
        inputs = integer("n_inputs", n_inputs, at_least=1 if scheme == "latent_readout" else 0)
        outputs = integer("n_outputs", n_outputs, at_least=1)
        checked = checked_seeds(seeds)
        with memory_for("n_units", units):
            draws = [_draw(np.random.default_rng(seed), scheme, units, latents, inputs, outputs) for seed in checked]
        arrays = {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}
        if scheme == "latent_readout":
            keywords.setdefault("readout", "latent")
        return cls(**{**arrays, "seed": checked, **keywords})

    @classmethod
    def published(
        cls, seeds: Sequence[int] = range(100), figure: str = "3", *, rank: int | None = None, **keywords: Any
    ) -> Self:
        """The published networks of a figure (article) from their own draws, with its readout and initial state.

        All have N = 100 units. Weights of a seed are those that PyTorch draws on the CPU after ``manual_seed(seed)``,
        to one unit in the last place of float32 (:mod:`ghostpoint.models.published`). Trials of Fig. 4 start at random
        rates that the task draws, so the initial state of those networks is 0 and not used there.

        Parameters
        ----------
        seeds : whole numbers from 0 to ``2**32 - 1``
        figure : str
            "3", "6A", "8B": rank one for delayed activation. "4" or a panel of "4A" to "4D": rank two for cue
            discrimination; "4E" to "4H": the same weights with the output of match to sample. "6B": rank K.
        rank : int, optional
            K, for "6B" alone.
        **keywords
            Arguments of the constructor that replace the published ones.

        Raises
        ------
        ValueError
            For another figure, and a rank where the figure has its own or needs one.

        Examples
        --------
        >>> LowRankRNN.published([40])
        LowRankRNN(1 networks, 100 units, rank 1, trainable: m, n, b)
        >>> LowRankRNN.published([0, 1], figure="6B", rank=5).m.shape
        (2, 100, 5)
        """
        setup = setup_of(figure, LOW_RANK)
        if setup.rank is None:
            if rank is None:
                raise InputError(f"rank must be given for figure {figure}, whose networks have any")
            latents = integer("rank", rank, at_least=1)
        elif rank not in (None, setup.rank):
            raise InputError(f"rank must be {setup.rank} or left out for figure {figure}, got {rank}")
        else:
            latents = setup.rank
        checked = checked_seeds(seeds)
        return cls(**{**draw(setup, latents, checked), **setup.settings, "seed": checked, **keywords})

    @property
    def n_units(self) -> int:
        """N."""
        return int(self.m.shape[1])

    @property
    def rank(self) -> int:
        """K."""
        return int(self.m.shape[2])

    @property
    def n_outputs(self) -> int:
        """O."""
        return 1 if self.w_out is None else int(self.w_out.shape[1])

    @classmethod
    def from_arrays(cls, arrays: Parts) -> Self:
        """From m, n and perhaps the others; m and n of two axes are (N, K) where b is (N,), and (R, N) otherwise."""
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

    # The equations. x is (R, N), kappa (R, K) and u (I,), each with any number of axes in front, such as trials:
    # (B, R, N), (B, R, K) and (B, I). All return float64 for float64 input.

    def latent(self, x: NDArray[Any]) -> NDArray[Any]:
        """``kappa = n^T x`` (eq. 4), shape (..., R, K)."""
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
        """The flow of the latents (eq. 4)."""
        return TanhForm(self.m, self.n, self.b, self.w_in)

    def in_full_state(self) -> FullRankRNN:
        """Full-rank networks with W = m n^T; the readout, which no slow point depends on, is left out."""
        networks, units = self.b.shape
        W = np.einsum("rik,rjk->rij", self.m.astype(np.float64), self.n.astype(np.float64))
        empty = np.zeros((networks, 1, units)), np.zeros((networks, 1))
        return FullRankRNN(W, self.b, *empty, w_in=self.w_in, initial_state=self.initial_state)

    def drive(self, kappa: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``m kappa + W_in u + b``, what the units' tanh is taken of, shape (..., R, N)."""
        p = self.arrays()
        return np.asarray(self._driven(NUMPY, p, NUMPY.times(self.m, kappa), u))

    def rates(self, kappa: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``tanh(m kappa + W_in u + b)``, shape (..., R, N)."""
        return np.asarray(np.tanh(self.drive(kappa, u)))

    def flow(self, kappa: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``-kappa + n^T tanh(m kappa + W_in u + b)`` (eq. 4), the latents' velocity in units of 1/tau."""
        return self.latent(self.rates(kappa, u)) - kappa

    def flow_jacobian(self, kappa: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """Derivative of :meth:`flow` by kappa, ``-1 + n^T diag(1 - tanh**2) m``, shape (..., R, K, K)."""
        gain = 1 - self.rates(kappa, u) ** 2
        return np.einsum("rnk,...rn,rnl->...rkl", self.n, gain, self.m) - np.eye(self.rank)

    def latent_step(self, kappa: NDArray[Any], alpha: float, u: NDArray[Any] | None = None) -> NDArray[Any]:
        """One Euler step of the latents, ``kappa + alpha flow(kappa)``: exactly ``latent(step(x))``."""
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
        """What the output's activation is taken of, from the latents, shape (..., R); of the first output channel.

        ``c (kappa_1 - kappa*)`` without ``w_out``.
        """
        return np.asarray(self._read_latent(NUMPY, self.arrays(), kappa)[..., 0])

    def output(self, kappa: NDArray[Any]) -> NDArray[Any]:
        """``activation(logit)`` (eq. 5), shape (..., R)."""
        return np.asarray(ACTIVATIONS[self.activation](self.logit(kappa)))

    def latent_path(self, steps: int, alpha: float) -> NDArray[Any]:
        """The latents of a trial without input, kappa[0] to kappa[steps], shape (steps + 1, R, K)."""
        path = [self.latent(self.initial_state)]
        for _ in range(steps):
            path.append(self.latent_step(path[-1], alpha))
        return np.stack(path)


def _draw(
    generator: np.random.Generator, scheme: str, units: int, latents: int, inputs: int, outputs: int
) -> dict[str, NDArray[Any]]:
    m, n = generator.normal(size=(2, units, latents)) / np.sqrt(units)
    if scheme == "fixed_readout":
        return {"m": m, "n": n}
    if scheme == "state_readout":
        w_out = generator.normal(size=(outputs, units)) / np.sqrt(units)
        return {"m": m, "n": n, "w_out": w_out, "b_out": generator.normal(size=outputs) / np.sqrt(units)}
    return {
        "m": m * np.sqrt(units),
        "n": n,
        "w_in": xavier(generator, units, inputs),
        "b": 0.1 * generator.normal(size=units),
        "w_out": xavier(generator, outputs, latents),
        "b_out": generator.uniform(-1, 1, outputs) / np.sqrt(latents),
    }


def _factors(name: str, value: ArrayLike) -> NDArray[np.float64]:
    array = finite_array(name, value)
    if array.ndim == 1:
        array = array[None]
    if array.ndim == 2:
        array = array[:, :, None]
    return shape(name, array, ("R", "N", "K"))
