"""Norms and sums of float64 numbers, bounded from above with every rounding of the computation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.arrays import Floats

EPS = 2.0**-53


def up(value: float, terms: float = 1.0) -> float:
    """Above ``value`` computed from non-negative numbers by at most ``terms`` roundings in a
    row.
    """
    return value * (1.0 + 4.0 * (terms + 8.0) * EPS) + 1e-290


def norm(array: Any) -> float:
    """An upper bound of the Frobenius norm."""
    flat = np.ravel(array)
    # squares below the range of float64 are lost
    return up(math.sqrt(float(flat @ flat)), flat.size) + 1e-150 * math.sqrt(flat.size)


def row_norms(matrix: Floats) -> Floats:
    """`norm` of each row."""
    columns = matrix.shape[1]
    sizes = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
    return np.asarray(sizes * (1.0 + 4.0 * (columns + 8.0) * EPS) + 1e-290 + 1e-150 * math.sqrt(columns))


def gamma(n: float) -> float:
    """``n eps / (1 - n eps)`` of a sum of n products, rounded up."""
    return n * EPS * (1.0 + 1e-6)


def spectral_norm(matrix: Floats) -> float:
    """An upper bound of the 2-norm: ``|X|_2**2 = |G|_2``, G = X^T X, and
    ``|G|_2 <= |G**16|_F**(1/16)``.
    """
    X = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    size = norm(X)
    if size < 1e-60 or size > 1e60:
        return size
    X = X / 2.0 ** math.floor(math.log2(size))  # exact, so that powers stay in range
    n = float(X.shape[1])
    # (|computed G|_2 + its error) at each squaring; the computed matrix is taken as exact
    # afterwards made symmetric, because |G**2|_2 = |G|_2**2 needs it; that brings no matrix further
    # from the exact one
    G = X.T @ X
    G = (G + G.T) / 2
    slack = [up(gamma(X.shape[0] + 6.0) * norm(X) ** 2)]
    scales = []
    for _ in range(4):
        scale = float(np.linalg.norm(G))
        G = G / scale
        scales.append(scale)
        slack.append(up(gamma(n + 8.0) * norm(G) ** 2))
        G = G @ G
        G = (G + G.T) / 2
    bound = norm(G)
    for scale, error in zip(scales[::-1], slack[:0:-1], strict=True):
        bound = up(scale * (math.sqrt(up(bound + error)) + 4 * EPS))
    return min(size, up(math.sqrt(up(bound + slack[0])) * 2.0 ** math.floor(math.log2(size))))
