"""Projection on the span of a few vectors, given their inner products alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.remedies.rules import DEPENDENT


class Factored:
    """The Cholesky factor of R Gram matrices of C unit vectors, without those that depend on the
    ones before them.
    """

    def __init__(self, lower: NDArray[Any], kept: NDArray[np.bool_], length: NDArray[Any]):
        self.lower, self.kept, self.length = lower, kept, length

    def coordinates(self, products: NDArray[Any]) -> NDArray[np.float64]:
        """Of the projections of R vectors in an orthonormal basis of the spans, (R, C), zero where
        none is kept.

        ``products`` (R, C) are their inner products with the vectors. The sum of squares is the
        squared length of the projection.
        """
        y = np.zeros_like(self.length)
        for i in range(self.length.shape[1]):
            of_unit = np.asarray(products, np.float64)[:, i] / self.length[:, i]
            rest = of_unit - (self.lower[:, i, :i] * y[:, :i]).sum(axis=1)
            y[:, i] = np.where(self.kept[:, i], rest / self.lower[:, i, i], 0.0)
        return y

    def combination(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the vectors are multiplied by so that their sum has the coordinates y, (R, C)."""
        weights = np.zeros_like(self.length)
        for i in reversed(range(self.length.shape[1])):
            rest = y[:, i] - (self.lower[:, i + 1 :, i] * weights[:, i + 1 :]).sum(axis=1)
            weights[:, i] = np.where(self.kept[:, i], rest / self.lower[:, i, i], 0.0)
        return weights / self.length


def factor(gram: NDArray[Any], used: NDArray[np.bool_]) -> Factored:
    """Factor the Gram matrices (R, C, C) of the ``used`` (R, C) vectors; those of no finite length
    do not count.
    """
    gram = np.asarray(gram, np.float64)
    squares = np.einsum("rii->ri", gram)
    whole = used & (squares > 0) & np.isfinite(squares)
    length = np.sqrt(np.where(whole, squares, 1.0))
    lower, kept = np.zeros(gram.shape), np.zeros(whole.shape, bool)
    for i in range(gram.shape[1]):
        for j in range(i):
            inner = gram[:, i, j] / (length[:, i] * length[:, j]) - (lower[:, i, :j] * lower[:, j, :j]).sum(axis=1)
            lower[:, i, j] = np.where(kept[:, j] & whole[:, i], inner / lower[:, j, j], 0.0)
        pivot = 1.0 - (lower[:, i, :i] ** 2).sum(axis=1)
        kept[:, i] = whole[:, i] & (pivot > DEPENDENT)
        lower[:, i, i] = np.sqrt(np.where(kept[:, i], pivot, 1.0))
    return Factored(lower, kept, length)
