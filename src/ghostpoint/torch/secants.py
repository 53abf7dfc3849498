"""Stiff directions of a loss from differences of its gradient along the way that training took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.numerics.stiff_directions import DEPENDENT, StiffParts, stiff_directions
from ghostpoint.torch.parameters import Parameters

__all__ = ["Secants"]

Floats = NDArray[np.float64]

#: least curvature of a new direction with 8 bits, as the square root of its share of the largest
COARSE = 0.03
#: largest code of a number in 8 bits
_CODES = 127
#: numbers of a vector that are worked on at a time
_BLOCK = 1 << 16


class Secants:
    """The newest pairs ``y = g - g_previous``, ``s = theta - theta_previous`` of one batch.

    Only the y are kept, and the inner products of which
    :func:`ghostpoint.numerics.stiff_directions.stiff_directions` makes directions and curvatures.

    Parameters
    ----------
    parameters : Parameters
        Of which the y are vectors.
    count : int
        How many are kept.
    compact : bool
        Whether the y are stored in 8 bits a number, ``127 sqrt(|y| / max |y|)`` with the sign of y:
        a quarter of the memory of float32.

    Where groups have rates of their own, directions are those of ``theta / sqrt(w)``, with w the
    share that a parameter's rate is of the fastest: there all have one rate. Gradients and their
    differences are then ``sqrt(w) g``, and a step ``sum_j a_j y_j`` is ``w sum_j a_j y_j`` of
    theta. What has no rate, or no gradient, does not move.
    """

    def __init__(self, parameters: Parameters, count: int, compact: bool):
        self.parameters, self.count, self.compact = parameters, count, compact
        self.clear()

    def clear(self) -> None:
        """Forget all pairs."""
        self.rows: torch.Tensor | None = None  # the y, (count, P)
        self.order: list[int] = []  # their rows, newest first
        self.scale: list[float] = []
        self.gram: Floats = np.zeros((0, 0))  # y_i . y_j
        self.cross: Floats = np.zeros((0, 0))  # s_i . y_j of the newer i
        self.weights: list[float] | None = None  # w of each parameter; None for 1 everywhere

    def weigh(self, rates: list[float]) -> None:
        """Take the rates of the parameters for weights. Pairs are forgotten where these have
        changed: by more than a factor of two, or from or to nothing.
        """
        old = [1.0] * len(rates) if self.weights is None else self.weights
        if len(old) != len(rates) or any(not 0.5 * w <= rate <= 2 * w for w, rate in zip(old, rates, strict=True)):
            self.clear()
            self.weights = None if min(rates) == 1 else rates

    def weighed(self, vector: torch.Tensor, tensors: list[torch.Tensor], part: slice) -> torch.Tensor:
        """``w`` times a part of a vector."""
        if self.weights is None:
            return vector
        return vector * self._weights(tensors, part)

    def _weights(self, tensors: list[torch.Tensor], part: slice) -> torch.Tensor:
        assert self.weights is not None
        known = {id(p): w for p, w in zip(self.parameters.tensors, self.weights, strict=True)}
        sizes = torch.tensor([p.numel() for p in tensors])
        values = torch.tensor([known[id(p)] for p in tensors], dtype=self.parameters.dtype)
        return values.repeat_interleave(sizes).to(self.parameters.device)

    def length(self, vector: torch.Tensor, power: int) -> float:
        """``|w**(power / 2) v|``; what has no weight does not count."""
        total = torch.zeros((), dtype=self.parameters.wide, device=self.parameters.device)
        for tensors, part in self.parameters.pieces():
            w = self._weights(tensors, part)
            factor = torch.where(w > 0, w ** (power / 2), 0.0)
            total = total + (vector[part] * factor).square().sum()
        return float(total.sqrt())

    def __len__(self) -> int:
        return len(self.order)

    @property
    def y(self) -> list[torch.Tensor]:
        """The y as they are stored, newest first."""
        return [] if self.rows is None else [self.rows[row] for row in self.order]

    def add(self, y: torch.Tensor, theta: torch.Tensor) -> None:
        """Keep the pair of y and of the way from ``theta`` to the present parameters, in place of
        the oldest.

        A pair without length says nothing and is left out.
        """
        if self.count == 0:
            return
        own = self.parameters
        y_y = y_s = torch.zeros((), dtype=own.wide, device=own.device)
        for tensors, part in own.pieces():
            wide = y[part].to(own.wide)
            y_y = y_y + wide.dot(self.weighed(wide, tensors, part))
            y_s = y_s + wide.dot(own.values_of(tensors).to(own.wide) - theta[part].to(own.wide))
        largest, y_y, y_s = torch.stack([y.abs().amax().to(y_y), y_y, y_s]).tolist()
        if not (0 < y_y < float("inf") and 0 < abs(y_s) < float("inf")):
            return
        if self.rows is None:
            kind = torch.int8 if self.compact else own.dtype
            self.rows = torch.zeros(self.count, len(y), dtype=kind, device=own.device)
        full = len(self.order) == self.count
        row = self.order.pop() if full else len(self.order)
        del self.scale[self.count - 1 :]
        self.order.insert(0, row)
        self.scale.insert(0, largest)
        if self.compact:
            self.rows[row] = ((y.abs() / largest).sqrt_().mul_(_CODES).round_().copysign_(y)).to(torch.int8)
        else:
            self.rows[row] = y
        kept = len(self.order)
        by_y, by_s = self._products(
            lambda tensors, part: [
                self.weighed(self.piece(0, part), tensors, part),
                own.values_of(tensors) - theta[part],
            ]
        ).T
        for name, values in (("gram", by_y), ("cross", by_s)):
            grown = np.empty((kept, kept))
            grown[1:, 1:] = getattr(self, name)[: kept - 1, : kept - 1]
            grown[0, :] = grown[:, 0] = values
            setattr(self, name, grown)

    def stiff(self) -> StiffParts:
        """The directions in which the loss is stiff, and the present gradient along them."""
        combine, curvature = self.directions()
        own = self.parameters
        by_gradient = self._products(lambda tensors, part: [self.weighed(own.gradients_of(tensors), tensors, part)])
        return StiffParts(combine, curvature, combine @ by_gradient[:, 0])

    def along(self, stiff: StiffParts, d: torch.Tensor) -> Floats:
        """``d . q_i``, (S,)."""
        return self.along_of(stiff, lambda _, part: d[part])

    def along_of(self, stiff: StiffParts, given: Callable[[list[torch.Tensor], slice], torch.Tensor]) -> Floats:
        """The same of a vector that is given piece by piece."""
        return np.asarray(stiff.combine @ self._products(lambda tensors, part: [given(tensors, part)])[:, 0])

    def piece(self, index: int, part: slice) -> torch.Tensor:
        """A part of a y."""
        assert self.rows is not None
        return self._decoded(self.rows[self.order[index], part][None], [index])[0]

    def combined(self, coefficients: Floats, part: slice) -> torch.Tensor:
        """``sum_j a_j y_j``, a part of it."""
        own = self.parameters
        a = torch.tensor(self._by_row(coefficients), dtype=own.dtype, device=own.device)
        blocks = [a @ rows for _, rows in self._blocks(part)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def directions(self) -> tuple[Floats, Floats]:
        """Coefficients (S, K) of the stiff directions q_i in the y_j, and the curvatures (S,) along
        them.
        """
        return stiff_directions(self.gram, self.cross, COARSE if self.compact else DEPENDENT)

    def _by_row(self, values: Floats) -> Floats:
        """Values of the y, newest first, in the order of their rows."""
        placed = np.empty(len(self))
        placed[self.order] = values
        return placed

    def _decoded(self, stored: torch.Tensor, indices: list[int]) -> torch.Tensor:
        """Numbers of some y, one a row, that are stored in 8 bits; others as they are."""
        if not self.compact:
            return stored
        codes = stored.to(self.parameters.dtype)
        scale = torch.tensor([self.scale[index] / _CODES**2 for index in indices], dtype=codes.dtype)
        return codes.mul_(codes.abs()).mul_(scale.to(codes.device)[:, None])

    def _blocks(self, part: slice) -> Iterator[tuple[slice, torch.Tensor]]:
        """The y in their rows, over a part of the vectors that is cut into blocks, each with its
        place in the part.
        """
        assert self.rows is not None
        indices = np.argsort(self.order).tolist()
        for first in range(part.start, part.stop, _BLOCK):
            block = slice(first, min(first + _BLOCK, part.stop))
            rows = self._decoded(self.rows[: len(self), block], indices)
            yield slice(block.start - part.start, block.stop - part.start), rows

    def _products(self, given: Callable[[list[torch.Tensor], slice], list[torch.Tensor]]) -> Floats:
        """Inner products of the K y with n vectors, which are given piece by piece, (K, n)."""
        if not self.order:
            return np.zeros((0, 1))
        own = self.parameters
        total = torch.zeros((), dtype=own.wide, device=own.device)
        for tensors, part in own.pieces():
            vectors = torch.stack(given(tensors, part), 1).to(own.wide)
            for place, rows in self._blocks(part):
                total = total + rows.to(own.wide) @ vectors[place]
        return np.asarray(total.tolist(), dtype=np.float64)[self.order]

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and lists."""
        return {"rows": self.rows, "order": list(self.order), "scale": list(self.scale), "gram": self.gram.tolist(),
                "cross": self.cross.tolist(), "weights": self.weights}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; secants stored in another way, or another number
        of them, are forgotten.
        """
        self.clear()
        rows = state.get("rows")
        stored_as = torch.int8 if self.compact else self.parameters.dtype
        if rows is None or len(rows) != self.count or rows.dtype != stored_as:
            return
        self.rows = rows.to(self.parameters.device).clone()
        self.order, self.scale = list(state["order"]), list(state["scale"])
        self.weights = state.get("weights")
        shape = 2 * [len(self.order)]
        self.gram, self.cross = (np.array(state[name], dtype=np.float64).reshape(shape) for name in ("gram", "cross"))
