"""What the families of the letter's eq. 3 share: ``tau dx/dt = -x + tanh(W x + W_in u + b)``, whatever W is made of.

Dinc et al., arXiv:2501.02378 (*letter*); as an Euler map with ``alpha = dt / tau``, eq. 17.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.record import Gradient, Parts, Record

__all__ = ["TanhNetworks"]


class TanhNetworks(Record):
    """Families with parts ``b`` (R, N), ``w_in`` (R, N, I) or None, and mostly ``w_out``; a subclass says what W is."""

    b: NDArray[Any]
    w_in: NDArray[Any] | None
    w_out: NDArray[Any] | None

    @abstractmethod
    def recurrent(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """``W x``, (..., R, N)."""

    @abstractmethod
    def recurrent_back(self, gradient: Gradient, s: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """The adjoint of :meth:`recurrent`: ``W^T s``; adds ``s x^T`` to the gradient of W's parts."""

    @property
    def n_inputs(self) -> int:
        """I, 0 without input weights."""
        return 0 if self.w_in is None else int(self.w_in.shape[2])

    def _driven(self, lib: Arithmetic, p: Parts, recurrent: Any, u: Any) -> Any:
        """The drive ``W x + b + W_in u`` from ``W x``."""
        drive = recurrent + p["b"]
        if u is not None and "w_in" in p:
            drive = drive + lib.einsum("rni,...i->...rn", p["w_in"], u)
        return drive

    def advance(self, lib: Arithmetic, p: Parts, x: Any, u: Any, alpha: float, noise: Any = None) -> tuple[Any, Any]:
        """``(1 - alpha) x + alpha tanh(W x + b + W_in u + noise)`` (letter, eqs. 3 and 17), and the tanh."""
        drive = self._driven(lib, p, self.recurrent(lib, p, x), u)
        rates = lib.tanh(drive if noise is None else drive + noise)
        return (1 - alpha) * x + alpha * rates, rates

    def advance_back(
        self, gradient: Gradient, y: NDArray[Any], x: NDArray[Any], u: NDArray[Any], alpha: float, kept: Any
    ) -> NDArray[Any]:
        """``(1 - alpha) y + W^T s`` with ``s = alpha y (1 - tanh**2)``; ``dL/db += s``, ``dL/dW_in += s u^T``."""
        s = alpha * y * (1 - kept**2)
        gradient["b"] += s.sum(axis=0)
        if "w_in" in gradient:
            gradient["w_in"] += np.einsum("brn,bi->rni", s, u)
        return (1 - alpha) * y + self.recurrent_back(gradient, s, x)

    def read(self, lib: Arithmetic, p: Parts, x: Any) -> Any:
        """``w_out x + b_out``, (..., R, O)."""
        return lib.einsum("ron,...rn->...ro", p["w_out"], x) + p["b_out"]

    def read_back(self, gradient: Gradient, by_logit: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """``w_out^T dL/dz``; ``dL/dw_out += dL/dz x^T``, ``dL/db_out += dL/dz``."""
        gradient["w_out"] += np.einsum("bro,brn->ron", by_logit, x)
        gradient["b_out"] += by_logit.sum(axis=0)
        assert self.w_out is not None
        return np.einsum("ron,bro->brn", self.w_out, by_logit)

    def rates_of_state(self, x: NDArray[Any], u: NDArray[Any] | None = None, noise: Any = None) -> NDArray[Any]:
        """``tanh(W x + W_in u + b + noise)``, shape (..., R, N)."""
        return np.asarray(self.advance(NUMPY, self.arrays(), x, u, 1.0, noise)[1])
