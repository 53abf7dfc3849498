"""The networks, and their equations in one place.

``tau dx/dt = -x + tanh(W x + b)`` (letter, eq. 3) with ``W = m n^T``, as an Euler map with ``alpha = dt / tau``
(eq. 17).
Symbols to names: m, n the factors; b ``b``; kappa = n^T x the latent (eq. 4); c ``confidence`` and kappa*
``threshold`` of the
output ``sigmoid(c (kappa_1 - kappa*))`` (eq. 5). A record holds R networks stacked along the first axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, one_of, shape

__all__ = ["LowRankRNN", "logistic"]

PARTS = ("m", "n", "b", "confidence")


def logistic(z: NDArray[Any]) -> NDArray[Any]:
    """``1 / (1 + exp(-z))`` without overflow at either end."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


@dataclass(frozen=True, eq=False)
class LowRankRNN:
    """R networks of N units with ``W = m n^T`` of rank K and the latent readout ``sigmoid(c (kappa_1 - kappa*))``.

    The defaults are those of the published networks for delayed activation.

    Parameters
    ----------
    m, n : (R, N, K) array
        Factors of W. ``(R, N)`` stands for rank one, ``(N,)`` for one network of rank one.
    b : (R, N) array, optional
        Bias; zero by default.
    confidence : scalar or (R,)
        c of the output.
    threshold : scalar or (R,)
        kappa* of the output.
    initial_state : scalar, (N,) or (R, N)
        x at the start of a trial.
    trainable : names among "m", "n", "b", "confidence"
        What training may change.
    seed : (R,) array of int, optional
        Where the weights came from; -1 for unknown. Only carried along.

    Raises
    ------
    ValueError
        For shapes that do not fit, no unit, numbers that are not finite, and unknown trainable parts.
    """

    m: NDArray[Any]
    n: NDArray[Any]
    b: NDArray[Any]
    confidence: NDArray[Any]
    threshold: NDArray[Any]
    initial_state: NDArray[Any]
    trainable: tuple[str, ...]
    seed: NDArray[np.int64]

    def __init__(
        self,
        m: ArrayLike,
        n: ArrayLike,
        b: ArrayLike | None = None,
        *,
        confidence: ArrayLike = 10.0,
        threshold: ArrayLike = 1.0,
        initial_state: ArrayLike = -0.3,
        trainable: Iterable[str] = ("m", "n", "b"),
        seed: ArrayLike = -1,
    ):
        factors = _factors("m", m)
        shape("n", right := _factors("n", n), factors.shape)
        networks, units, latents = factors.shape
        if not units or not latents:
            raise ValueError(f"m must have at least one unit and one latent, got shape {factors.shape}")
        origin = np.asarray(seed)
        if origin.dtype.kind not in "iu":
            raise ValueError(f"seed must be a whole number per network, got {seed!r}")
        parts = (trainable,) if isinstance(trainable, str) else tuple(trainable)
        for part in parts:
            one_of("trainable", part, PARTS)
        bias = np.zeros((networks, units)) if b is None else finite_array("b", b)
        if bias.ndim == 1 and networks == 1:
            bias = bias[None]
        state = finite_array("initial_state", initial_state)
        if state.shape not in ((), (units,), (networks, units)):
            raise ValueError(
                f"initial_state must be a number or have shape ({units},) or ({networks}, {units}), got {state.shape}"
            )
        fields: dict[str, Any] = {
            "m": factors,
            "n": right,
            "b": shape("b", bias, (networks, units)),
            "confidence": _per_network("confidence", finite_array("confidence", confidence), networks),
            "threshold": _per_network("threshold", finite_array("threshold", threshold), networks),
            "initial_state": np.broadcast_to(state, (networks, units)),
            "trainable": tuple(part for part in PARTS if part in parts),
            "seed": _per_network("seed", origin.astype(np.int64), networks),
        }
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                value = np.array(value)  # the record's own: it must not change with the caller's array
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    @classmethod
    def initialize(cls, n_units: int, rank: int, seeds: Sequence[int], **keywords: Any) -> LowRankRNN:
        """One network per seed: m and n normal with variance 1/N, b = 0, drawn with numpy's default generator.

        The published draws are another generator's; for those see :meth:`published`. ``keywords`` go to the
        constructor.
        """
        units, latents = integer("n_units", n_units, at_least=1), integer("rank", rank, at_least=1)
        checked = [integer("seeds", seed, at_least=0) for seed in seeds]
        if not checked:
            raise ValueError("seeds must name at least one network, got none")
        draws = np.stack([np.random.default_rng(seed).normal(size=(2, units, latents)) for seed in checked])
        weights = draws / np.sqrt(units)
        return cls(weights[:, 0], weights[:, 1], seed=checked, **keywords)

    @classmethod
    def published(cls, seeds: Sequence[int] = range(100), **keywords: Any) -> LowRankRNN:
        """The published rank-one networks (N = 100, b = 0) with the given seeds among 0 to 99, as saved initial
        weights."""
        with (
            as_file(files("ghostpoint") / "data" / "rank_one_initial_weights.npz") as path,
            np.load(path) as data,
        ):
            rows = {int(seed): row for row, seed in enumerate(data["seed"])}
            missing = [seed for seed in seeds if seed not in rows]
            if missing or not len(seeds):
                raise ValueError(f"seeds must be among {min(rows)} to {max(rows)}, got {missing or 'none'}")
            chosen = [rows[seed] for seed in seeds]
            return cls(data["m"][chosen], data["n"][chosen], seed=list(seeds), **keywords)

    def __len__(self) -> int:
        return len(self.m)

    @property
    def n_units(self) -> int:
        """N."""
        return int(self.m.shape[1])

    @property
    def rank(self) -> int:
        """K."""
        return int(self.m.shape[2])

    def __getitem__(self, index: Any) -> LowRankRNN:
        """Networks picked as from an array; a whole number gives a record of one."""
        rows = np.arange(len(self))[index]
        return self._with_rows(np.atleast_1d(rows))

    def repeat(self, times: int) -> LowRankRNN:
        """The whole stack ``times`` times over: network ``r`` of copy ``k`` is at ``k R + r``."""
        return self._with_rows(np.tile(np.arange(len(self)), integer("times", times, at_least=1)))

    def replace(self, **changes: Any) -> LowRankRNN:
        """A copy with some of the constructor's arguments changed."""
        return LowRankRNN(**{**self._fields(), **changes})

    def _fields(self) -> dict[str, Any]:
        names = ("m", "n", "b", "confidence", "threshold", "initial_state", "trainable", "seed")
        return {name: getattr(self, name) for name in names}

    def _with_rows(self, rows: NDArray[np.int64]) -> LowRankRNN:
        fields = self._fields()
        parts = fields.pop("trainable")
        return LowRankRNN(**{name: value[rows] for name, value in fields.items()}, trainable=parts)

    # The equations. ``x`` is (R, N), ``kappa`` is (R, K); all return float64 for float64 input.

    def latent(self, x: NDArray[Any]) -> NDArray[Any]:
        """``kappa = n^T x`` (eq. 4), shape (R, K)."""
        return np.asarray(np.einsum("rnk,rn->rk", self.n, x))

    def rates(self, kappa: NDArray[Any]) -> NDArray[Any]:
        """``tanh(m kappa + b)``, shape (R, N)."""
        return np.asarray(np.tanh(np.einsum("rnk,rk->rn", self.m, kappa) + self.b))

    def step(self, x: NDArray[Any], alpha: float) -> NDArray[Any]:
        """One Euler step of the state, ``(1 - alpha) x + alpha tanh(m n^T x + b)`` (eqs. 3 and 17), shape (R, N)."""
        return (1 - alpha) * x + alpha * self.rates(self.latent(x))

    def flow(self, kappa: NDArray[Any]) -> NDArray[Any]:
        """``-kappa + n^T tanh(m kappa + b)`` (eq. 4), the latents' velocity in units of 1/tau, shape (R, K)."""
        return self.latent(self.rates(kappa)) - kappa

    def flow_jacobian(self, kappa: NDArray[Any]) -> NDArray[Any]:
        """Derivative of :meth:`flow`, ``-1 + n^T diag(1 - tanh**2) m``, shape (R, K, K)."""
        gain = 1 - self.rates(kappa) ** 2
        return np.einsum("rnk,rn,rnl->rkl", self.n, gain, self.m) - np.eye(self.rank)

    def latent_step(self, kappa: NDArray[Any], alpha: float) -> NDArray[Any]:
        """One Euler step of the latents, ``kappa + alpha flow(kappa)``: exactly ``latent(step(x))``, shape (R, K)."""
        return kappa + alpha * self.flow(kappa)

    def output(self, kappa: NDArray[Any]) -> NDArray[Any]:
        """``sigmoid(c (kappa_1 - kappa*))`` (eq. 5), shape (R,)."""
        return logistic(self.logit(kappa))

    def logit(self, kappa: NDArray[Any]) -> NDArray[Any]:
        """``c (kappa_1 - kappa*)``, what the output is the sigmoid of, shape (R,)."""
        return np.asarray(self.confidence * (kappa[:, 0] - self.threshold))

    def latent_path(self, steps: int, alpha: float) -> NDArray[Any]:
        """The latents of a trial without input, kappa[0] to kappa[steps], shape (steps + 1, R, K)."""
        path = [self.latent(self.initial_state)]
        for _ in range(steps):
            path.append(self.latent_step(path[-1], alpha))
        return np.stack(path)


def _factors(name: str, value: ArrayLike) -> NDArray[np.float64]:
    array = finite_array(name, value)
    if array.ndim == 1:
        array = array[None]
    if array.ndim == 2:
        array = array[:, :, None]
    return shape(name, array, ("R", "N", "K"))


def _per_network(name: str, value: NDArray[Any], networks: int) -> NDArray[Any]:
    if value.shape not in ((), (networks,)):
        raise ValueError(f"{name} must be one value or one per network ({networks}), got shape {value.shape}")
    return np.array(np.broadcast_to(value, (networks,)))
