"""Stiff directions of a loss from differences of its gradient along the way that training took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.torch.parameters import Parameters

__all__ = ["Secants", "StiffParts"]

Floats = NDArray[np.float64]

#: a direction whose share of the largest curvature is below the square of this is no new one; with
#: 8 bits, none that can be told
DEPENDENT = {False: 1e-3, True: 0.03}
#: a step that keeps less than this share of its curvature beside the newer ones says nothing new
CONJUGATE = 1e-3
#: what is left of Newton's step where the update goes uphill
UPHILL = 0.1
#: largest code of a number in 8 bits
_CODES = 127
#: numbers of a vector that are worked on at a time
_BLOCK = 1 << 16


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
        """Coefficients a (K,) such that ``factor d + sum_j a_j y_j`` goes along each q_i no farther
        than it may.
        """
        wanted = factor * self.along
        return np.asarray((np.clip(wanted, -self.most, self.most) - wanted) @ self.combine)


class Secants:
    """The newest pairs ``y = g - g_previous``, ``s = theta - theta_previous`` of one batch.

    On a quadratic loss with Hessian H they obey ``y_j = H s_j``. The steps are made conjugate,
    newest first, with ``s_i . y_j`` of the newer i and the older j alone, so that only the y are
    kept; those with a negative curvature are left out. With z_i the differences of the conjugate
    steps,

        B = sum_i z_i z_i^T / (s_i . z_i)

    is the curvature that the pairs imply together (a block form of the update of Broyden, Fletcher,
    Goldfarb and Shanno; Schnabel, Quasi-Newton methods using multiple secant equations, 1983). Its
    eigenvectors are the stiff directions q_i and its eigenvalues the curvatures lambda_i. Along q_i
    an update d goes at most Newton's step ``|g . q_i| / lambda_i``, a tenth of it uphill.

    Each pair's own curvature ``y.y / y.s`` in place of lambda_i would be that of the stiffest
    direction in nearly all of them, and would hold the update back along the others.

    Parameters
    ----------
    parameters : Parameters
        Of which the y are vectors.
    count : int
        How many are kept.
    compact : bool
        Whether the y are stored in 8 bits a number, ``127 sqrt(|y| / max |y|)`` with the sign of y:
        a quarter of the memory of float32.
    """

    def __init__(self, parameters: Parameters, count: int, compact: bool):
        self.parameters, self.count, self.compact = parameters, count, compact
        self.clear()

    def clear(self) -> None:
        """Forget all pairs."""
        self.y: list[torch.Tensor] = []  # newest first
        self.scale: list[float] = []
        self.gram: Floats = np.zeros((0, 0))  # y_i . y_j
        self.cross: Floats = np.zeros((0, 0))  # s_i . y_j of the newer i

    def add(self, y: torch.Tensor, theta: torch.Tensor) -> None:
        """Keep the pair of y and of the way from ``theta`` to the present parameters, in place of
        the oldest.

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
        del self.y[self.count - 1 :], self.scale[self.count - 1 :]
        self.y.insert(0, stored)
        self.scale.insert(0, largest)
        kept = len(self.y)
        by_y, by_s = self._products(lambda p, part: [self.piece(0, part), own.flat(p.detach()) - theta[part]]).T
        for name, row in (("gram", by_y), ("cross", by_s)):
            grown = np.empty((kept, kept))
            grown[1:, 1:] = getattr(self, name)[: kept - 1, : kept - 1]
            grown[0, :] = grown[:, 0] = row
            setattr(self, name, grown)

    def parts(self, d: torch.Tensor) -> StiffParts:
        """What ``d`` does along the directions in which the loss is stiff, and what it may do at
        this gradient.
        """
        combine, curvature = self.directions()
        by_d, by_gradient = self._products(lambda p, part: [d[part], self.parameters.gradient_of(p)]).T
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

    def combined(self, coefficients: Floats, part: slice) -> torch.Tensor:
        """``sum_j a_j y_j``, a part of it."""
        own = self.parameters
        a = torch.tensor(coefficients, dtype=own.dtype, device=own.device)
        blocks = [a @ rows for _, rows in self._blocks(part)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def directions(self) -> tuple[Floats, Floats]:
        """Coefficients (S, K) of the stiff directions q_i in the y_j, and the curvatures (S,) along
        them.
        """
        kept = len(self.y)
        conjugate, curvatures = np.zeros((0, kept)), np.zeros(0)
        for i in range(kept):
            # s_i less its parts along the newer steps, in the inner product of the curvature
            one = np.eye(kept)[i] - (conjugate @ self.cross[i] / curvatures) @ conjugate
            curvature = float(one @ self.cross @ one)
            if curvature > CONJUGATE * self.cross[i, i] > 0:
                conjugate = np.vstack([conjugate, one])
                curvatures = np.append(curvatures, curvature)
        if not len(curvatures):
            return conjugate, curvatures
        # B = Z^T Z with rows z_i / sqrt(s_i . z_i): its eigenvectors from those of Z Z^T
        z = conjugate / np.sqrt(curvatures)[:, None]
        values, vectors = np.linalg.eigh(z @ self.gram @ z.T)
        kept_values = values > DEPENDENT[self.compact] ** 2 * values[-1]
        values, vectors = values[kept_values], vectors[:, kept_values]
        return vectors.T @ z / np.sqrt(values)[:, None], values

    def _blocks(self, part: slice) -> Iterator[tuple[slice, torch.Tensor]]:
        """The y in rows, over a part of the vectors that is cut into blocks, each with its place in
        the part.
        """
        for first in range(part.start, part.stop, _BLOCK):
            block = slice(first, min(first + _BLOCK, part.stop))
            rows = torch.stack([self.piece(j, block) for j in range(len(self.y))])
            yield slice(block.start - part.start, block.stop - part.start), rows

    def _products(self, given: Callable[[torch.Tensor, slice], list[torch.Tensor]]) -> Floats:
        """Inner products of the y with two vectors, which are given parameter by parameter, (K,
        2).
        """
        if not self.y:
            return np.zeros((0, 2))
        own = self.parameters
        total = torch.zeros(len(self.y), 2, dtype=own.wide, device=own.device)
        for p, part in own.pieces():
            vectors = torch.stack(given(p, part), 1).to(own.wide)
            for place, rows in self._blocks(part):
                total += rows.to(own.wide) @ vectors[place]
        return np.asarray(total.tolist(), dtype=np.float64)

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and lists."""
        return {"y": list(self.y), "scale": list(self.scale), "gram": self.gram.tolist(),
                "cross": self.cross.tolist()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; secants stored in another way are forgotten."""
        self.clear()
        stored_as = torch.int8 if self.compact else self.parameters.dtype
        if "cross" not in state or any(y.dtype != stored_as for y in state["y"]):
            return
        self.y = [y.to(self.parameters.device) for y in state["y"]][: self.count]
        kept = len(self.y)
        self.scale = list(state["scale"])[:kept]
        shape = 2 * [len(state["y"])]
        self.gram, self.cross = (
            np.array(state[name], dtype=np.float64).reshape(shape)[:kept, :kept] for name in ("gram", "cross")
        )
