"""Stiff directions of a loss from differences of its gradient along the way that training took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.torch.parameters import Parameters

__all__ = ["Secants", "StiffParts"]

Floats = NDArray[np.float64]

#: a direction whose remainder is below this part of its length is no new one; with 8 bits, none that can be told
DEPENDENT = {False: 1e-3, True: 0.03}
#: what is left of Newton's step where the update goes uphill
UPHILL = 0.1
#: largest code of a number in 8 bits
_CODES = 127


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
    Along q_i an update d goes at most Newton's step ``|g.q_i| / lambda_i``, a tenth of it uphill.

    Parameters
    ----------
    parameters : Parameters
        Of which the y are vectors.
    count : int
        How many are kept.
    compact : bool
        Whether the y are stored in 8 bits a number, ``127 sqrt(|y| / max |y|)`` with the sign of y: a quarter of the
        memory of float32.
    """

    def __init__(self, parameters: Parameters, count: int, compact: bool):
        self.parameters, self.count, self.compact = parameters, count, compact
        self.clear()

    def clear(self) -> None:
        """Forget all pairs."""
        self.y: list[torch.Tensor] = []  # newest first
        self.scale: list[float] = []
        self.curvature: list[float] = []
        self.gram: Floats = np.zeros((0, 0))

    def add(self, y: torch.Tensor, theta: torch.Tensor) -> None:
        """Keep the pair of y and of the way from ``theta`` to the present parameters, in place of the oldest.

        A pair without length says nothing and is left out.
        """
        if self.count == 0:
            return
        own = self.parameters
        y_y = y_s = torch.zeros((), dtype=own.wide, device=own.device)
        for p, part in own.pieces():
            wide = y[part].to(own.wide)
            y_y = y_y + wide.dot(wide)
            y_s = y_s + wide.dot(own.flat(p.detach()).to(own.wide) - theta[part].to(own.wide))
        largest, y_y, y_s = torch.stack([y.abs().amax().to(y_y), y_y, y_s]).tolist()
        if not (0 < y_y < float("inf") and 0 < abs(y_s) < float("inf")):
            return
        if self.compact:
            stored = ((y.abs() / largest).sqrt_().mul_(_CODES).round_().copysign_(y)).to(torch.int8)
        else:
            stored = y.clone()
        del self.y[self.count - 1 :], self.scale[self.count - 1 :], self.curvature[self.count - 1 :]
        self.y.insert(0, stored)
        self.scale.insert(0, largest)
        self.curvature.insert(0, y_y / y_s)
        kept = len(self.y)
        gram = np.empty((kept, kept))
        gram[1:, 1:] = self.gram[: kept - 1, : kept - 1]
        pieces = ((part, [self.piece(0, part)]) for _, part in self.parameters.pieces())
        gram[0, :] = gram[:, 0] = self._products(pieces, 1)[:, 0]
        self.gram = gram

    def parts(self, d: torch.Tensor) -> StiffParts:
        """What ``d`` does along the directions in which the loss is stiff, and what it may do at this gradient."""
        combine, curvature = self._directions()
        pieces = ((part, [d[part], self.parameters.gradient_of(p)]) for p, part in self.parameters.pieces())
        by_d, by_gradient = self._products(pieces, 2).T
        along, slope = combine @ by_d, combine @ by_gradient
        most = np.abs(slope) / curvature
        most[along * slope > 0] *= UPHILL
        return StiffParts(combine, along, most)

    def piece(self, index: int, part: slice) -> torch.Tensor:
        """A part of a y."""
        stored = self.y[index][part]
        if not self.compact:
            return stored
        codes = stored.to(self.parameters.dtype)
        return codes.mul_(codes.abs()).mul_(self.scale[index] / _CODES**2)

    def _directions(self) -> tuple[Floats, Floats]:
        """Coefficients of the q_i with a positive curvature, and that."""
        kept = len(self.y)
        all_q, stiff, curvature = np.zeros((0, kept)), [], []
        for i in range(kept):
            q = np.eye(kept)[i]
            for _ in range(2):  # twice is enough (Giraud et al., Numer. Math. 101:87, 2005)
                q = q - (all_q @ self.gram @ q) @ all_q
            remainder = float(q @ self.gram @ q)
            if not remainder > DEPENDENT[self.compact] ** 2 * self.gram[i, i]:
                continue
            q = q / np.sqrt(remainder)
            all_q = np.vstack([all_q, q])
            if self.curvature[i] > 0:
                stiff.append(q)
                curvature.append(self.curvature[i])
        return np.array(stiff).reshape(len(stiff), kept), np.array(curvature)

    def _products(self, pieces: Any, vectors: int) -> Floats:
        """Inner products of the y with some vectors, which come in pieces, (K, vectors)."""
        if not self.y:
            return np.zeros((0, vectors))
        total = torch.zeros(len(self.y), vectors, dtype=self.parameters.wide, device=self.parameters.device)
        for part, given in pieces:
            stored = torch.stack([self.piece(j, part) for j in range(len(self.y))])
            total += stored.to(total) @ torch.stack(given, 1).to(total)
        return np.asarray(total.tolist(), dtype=np.float64).reshape(len(self.y), vectors)

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and lists."""
        return {"y": list(self.y), "scale": list(self.scale), "curvature": list(self.curvature),
                "gram": self.gram.tolist()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; secants stored in another way are forgotten."""
        self.clear()
        stored_as = torch.int8 if self.compact else self.parameters.dtype
        if any(y.dtype != stored_as for y in state["y"]):
            return
        self.y = [y.to(self.parameters.device) for y in state["y"]][: self.count]
        kept = len(self.y)
        self.scale, self.curvature = list(state["scale"])[:kept], list(state["curvature"])[:kept]
        self.gram = np.array(state["gram"], dtype=np.float64).reshape(2 * [len(state["y"])])[:kept, :kept]
