"""Stiff directions of a loss from differences of its gradient along the way that training took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Secants", "StiffParts"]

Floats = NDArray[np.float64]

#: a direction whose remainder is below this part of its length is no new one
DEPENDENT = 1e-3
#: what is left of Newton's step where the update goes uphill
UPHILL = 0.1
#: numbers of a secant that are widened at once
_CHUNK = 1 << 20


@dataclass(frozen=True)
class StiffParts:
    """What an update d does along the stiff directions q_i.

    Attributes
    ----------
    combine : (S, K) array
        ``q_i = sum_j combine[i, j] y_j``.
    along : (S,) array
        ``d . q_i``.
    most : (S,) array
        How far an update may go along q_i: Newton's step.
    """

    combine: Floats
    along: Floats
    most: Floats

    def correction(self, factor: float) -> Floats:
        """Coefficients a (K,) such that ``factor d + sum_j a_j y_j`` goes along each q_i no farther than it may."""
        wanted = factor * self.along
        return np.asarray((np.clip(wanted, -self.most, self.most) - wanted) @ self.combine)


class Secants:
    """The newest pairs ``y = g - g_previous``, ``s = theta - theta_previous`` of one batch.

    Of each the direction y and its curvature ``lambda = y.y / y.s`` are kept, and the inner products of all y. The y
    are orthonormalised, newest first, to the stiff directions q_i (Gram and Schmidt in the space of coefficients).

    Parameters
    ----------
    count : int
        How many are kept.
    dtype : torch.dtype
        In which the y are stored.
    """

    def __init__(self, count: int, dtype: torch.dtype = torch.float32):
        self.count, self.dtype = count, dtype
        self.clear()

    def clear(self) -> None:
        """Forget all pairs."""
        self.y: list[torch.Tensor] = []  # newest first
        self.curvature: list[float] = []
        self.gram: Floats = np.zeros((0, 0))

    def add(self, y: torch.Tensor, s: torch.Tensor) -> None:
        """Keep a pair in place of the oldest; one without length says nothing and is left out."""
        if self.count == 0:
            return
        stored = y.to(self.dtype)
        products = self._products([y], [stored, *self.y[: self.count - 1]])[:, 0]
        y_y, y_s = torch.stack([_dot(y, y), _dot(y, s)]).tolist()
        if not y_y > 0 or not np.isfinite(y_y) or y_s == 0 or not np.isfinite(y_s):
            return
        self.y = [stored, *self.y[: self.count - 1]]
        self.curvature = [y_y / y_s, *self.curvature[: self.count - 1]]
        kept = len(self.y)
        gram = np.empty((kept, kept))
        gram[1:, 1:] = self.gram[: kept - 1, : kept - 1]
        gram[0, :] = gram[:, 0] = products
        self.gram = gram

    def parts(self, d: torch.Tensor, gradient: torch.Tensor) -> StiffParts:
        """What ``d`` does along the directions in which the loss is stiff, and what it may do."""
        combine, curvature = self._directions()
        by_d, by_gradient = self._products([d, gradient], self.y).T if self.y else np.zeros((2, 0))
        along, slope = combine @ by_d, combine @ by_gradient
        most = np.abs(slope) / curvature
        most[along * slope > 0] *= UPHILL
        return StiffParts(combine, along, most)

    def _directions(self) -> tuple[Floats, Floats]:
        """Coefficients of the q_i with a positive curvature, and that."""
        kept = len(self.y)
        all_q, stiff, curvature = np.zeros((0, kept)), [], []
        for i in range(kept):
            q = np.eye(kept)[i]
            for _ in range(2):  # twice is enough (Giraud et al., Numer. Math. 101:87, 2005)
                q = q - (all_q @ self.gram @ q) @ all_q
            remainder = float(q @ self.gram @ q)
            if not remainder > (DEPENDENT**2) * self.gram[i, i]:
                continue
            q = q / np.sqrt(remainder)
            all_q = np.vstack([all_q, q])
            if self.curvature[i] > 0:
                stiff.append(q)
                curvature.append(self.curvature[i])
        return np.array(stiff).reshape(len(stiff), kept), np.array(curvature)

    def _products(self, vectors: list[torch.Tensor], stored: list[torch.Tensor]) -> Floats:
        """Inner products of stored y with vectors, (stored, vectors)."""
        products = torch.stack([_dot(y, v) for y in stored for v in vectors])
        return np.asarray(products.tolist(), dtype=np.float64).reshape(len(stored), len(vectors))

    def add_to(self, target: torch.Tensor, coefficients: Floats) -> None:
        """``target += sum_j a_j y_j``."""
        for a, y in zip(coefficients.tolist(), self.y, strict=True):
            if a:
                target.add_(y, alpha=a)

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and lists."""
        return {"y": list(self.y), "curvature": list(self.curvature), "gram": self.gram.tolist()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.y = [y.to(device=device, dtype=self.dtype) for y in state["y"]][: self.count]
        kept = len(self.y)
        self.curvature = [float(value) for value in state["curvature"]][:kept]
        self.gram = np.array(state["gram"], dtype=np.float64).reshape(len(state["y"]), -1)[:kept, :kept]


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Inner product of flat tensors, in float64, stored ones widened in chunks."""
    total = torch.zeros((), dtype=torch.float64, device=a.device)
    for first in range(0, len(a), _CHUNK):
        part = slice(first, first + _CHUNK)
        total = total + torch.dot(a[part].double(), b[part].double())
    return total
