"""The few operations in which a family writes its equations, so that the same lines serve NumPy and
PyTorch.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


def logistic(z: NDArray[Any]) -> NDArray[Any]:
    """``1 / (1 + exp(-z))`` without overflow at either end."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


class Arithmetic(Protocol):
    """Operations on arrays or tensors; ``+``, ``-``, ``*``, indexing and ``...`` are those of the
    arrays themselves.

    :data:`NUMPY` is one, for the reference; the torch engine (``training.by_epoch``) has another,
    ``TORCH``.
    """

    def einsum(self, subscripts: str, *arrays: Any) -> Any:
        """``numpy.einsum``."""

    def tanh(self, values: Any) -> Any:
        """Elementwise."""

    def sigmoid(self, values: Any) -> Any:
        """``1 / (1 + exp(-values))``, elementwise."""

    def joined(self, *arrays: Any) -> Any:
        """One after the other along the last axis."""

    def times(self, matrices: Any, vectors: Any) -> Any:
        """``A v`` per network: (R, M, N) and (..., R, N) to (..., R, M)."""

    def transposed_times(self, matrices: Any, vectors: Any) -> Any:
        """``A^T v`` per network: (R, M, N) and (..., R, M) to (..., R, N)."""


class _NumPy:
    """:class:`Arithmetic` of NumPy arrays."""

    einsum = staticmethod(np.einsum)
    tanh = staticmethod(np.tanh)
    sigmoid = staticmethod(logistic)

    @staticmethod
    def joined(*arrays: Any) -> Any:
        return np.concatenate(arrays, axis=-1)

    @staticmethod
    def times(matrices: Any, vectors: Any) -> Any:
        return np.einsum("rmn,...rn->...rm", matrices, vectors)

    @staticmethod
    def transposed_times(matrices: Any, vectors: Any) -> Any:
        return np.einsum("rmn,...rm->...rn", matrices, vectors)


NUMPY: Arithmetic = _NumPy()
