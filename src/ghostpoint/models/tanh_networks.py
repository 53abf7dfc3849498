"""What the families of the letter's eq. 3 share: ``tau dx/dt = -x + tanh(W x + W_in u + b)``,
whatever W is made of.

Dinc et al., arXiv:2501.02378 (*letter*); as an Euler map with ``alpha = dt / tau``, eq. 17.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ghostpoint.checks import integer
from ghostpoint.errors import InputError
from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.published import Setup, draw, setup_of
from ghostpoint.models.record import Gradient, Parts, Record, checked_seeds


class TanhNetworks(Record):
    """Families with parts ``b`` (R, N), ``w_in`` (R, N, I) or None, and mostly ``w_out``; a
    subclass says what W is.
    """

    b: NDArray[Any]
    at_start = -0.3
    #: the published networks of this family, those of the first figure being the default
    setups: ClassVar[tuple[Setup, ...]]

    @classmethod
    def published(
        cls,
        seeds: Sequence[int] = range(100),
        figure: str | None = None,
        *,
        rank: int | None = None,
        **keywords: Any,
    ) -> Self:
        """The published networks of a figure (article) from their own draws, with its readout and
        initial state.

        All have N = 100 units. Weights of a seed are those that PyTorch draws on the CPU after
        ``manual_seed(seed)``, to one unit in the last place of float32
        (:mod:`ghostpoint.models.published`). Trials of Figs. 4, 5 and 8C start at random rates that
        the task draws, so the initial state of those networks is not used there.

        Parameters
        ----------
        seeds : whole numbers from 0 to ``2**32 - 1``
        figure : str, optional
            Low rank: "3" (default), "6A", "8B", rank one for delayed activation; "4" or a panel of
            "4A" to "4D", rank two for cue discrimination; "4E" to "4H", the same weights with the
            output of match to sample; "6B", rank K. Full rank: "5" (default), "7" (or a panel A to
            C of either) and "8C", one input, bias, output for cue discrimination; "5D" to "5F" and
            "7D" to "7F", the same weights with the output of match to sample; "6A", no input, no
            bias at first.
        rank : int, optional
            K, for "6B" alone.
        **keywords
            Arguments of the constructor that replace the published ones.

        Raises
        ------
        ValueError
            For another figure (the message lists them), and a rank where the figure has its own or
            needs one.

        Examples
        --------
        >>> from ghostpoint import FullRankRNN, LowRankRNN
        >>> LowRankRNN.published([40])
        LowRankRNN(1 networks, 100 units, rank 1, trainable: m, n, b)
        >>> LowRankRNN.published([0, 1], figure="6B", rank=5).m.shape
        (2, 100, 5)
        >>> FullRankRNN.published([3], figure="5D").activation
        'sigmoid'
        """
        figure = cls.setups[0].panels[0] if figure is None else figure
        setup = setup_of(figure, cls.setups)
        if setup.rank is None and rank is None:
            raise InputError(f"rank must be given for figure {figure}, whose networks have any")
        if setup.rank is not None and rank not in (None, setup.rank):
            raise InputError(f"rank must be {setup.rank} or left out for figure {figure}, got {rank}")
        latents = integer("rank", rank, at_least=1) if setup.rank is None else setup.rank
        checked = checked_seeds(seeds)
        return cls(**{**draw(setup, latents, checked), **setup.settings, "seed": checked, **keywords})

    @abstractmethod
    def recurrent(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """``W x``, (..., R, N)."""

    @abstractmethod
    def recurrent_back(self, gradient: Gradient, s: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """The adjoint of :meth:`recurrent`: ``W^T s``; adds ``s x^T`` to the gradient of W's
        parts.
        """

    def _driven(self, lib: Arithmetic, p: Parts, recurrent: Any, u: Any) -> Any:
        """The drive ``W x + b + W_in u`` from ``W x``."""
        drive = recurrent + p["b"]
        if u is not None and "w_in" in p:
            drive = drive + lib.einsum("rni,...i->...rn", p["w_in"], u)
        return drive

    def advance(self, lib: Arithmetic, p: Parts, x: Any, u: Any, alpha: float, noise: Any = None) -> tuple[Any, Any]:
        """``(1 - alpha) x + alpha tanh(W x + b + W_in u + noise)`` (letter, eqs. 3 and 17), and the
        tanh.
        """
        drive = self._driven(lib, p, self.recurrent(lib, p, x), u)
        rates = lib.tanh(drive if noise is None else drive + noise)
        return (1 - alpha) * x + alpha * rates, rates

    def advance_back(
        self, gradient: Gradient, y: NDArray[Any], x: NDArray[Any], u: NDArray[Any], alpha: float, kept: Any
    ) -> NDArray[Any]:
        """``(1 - alpha) y + W^T s`` with ``s = alpha y (1 - tanh**2)``; ``dL/db += s``,
        ``dL/dW_in += s u^T``.
        """
        s = alpha * y * (1 - kept**2)
        gradient["b"] += s.sum(axis=0)
        if "w_in" in gradient:
            gradient["w_in"] += np.einsum("brn,bi->rni", s, u)
        return (1 - alpha) * y + self.recurrent_back(gradient, s, x)

    def rates_of_state(self, x: NDArray[Any], u: NDArray[Any] | None = None, noise: Any = None) -> NDArray[Any]:
        """``tanh(W x + W_in u + b + noise)``, shape (..., R, N)."""
        return np.asarray(self.advance(NUMPY, self.arrays(), x, u, 1.0, noise)[1])


def xavier(generator: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Uniform within ``sqrt(6 / (rows + columns))`` (Glorot and Bengio, AISTATS 2010)."""
    limit = np.sqrt(6.0 / (rows + columns))
    return generator.uniform(-limit, limit, (rows, columns))
