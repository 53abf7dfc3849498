"""A vector field that a user gives as functions, checked before it is searched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats


@dataclass(frozen=True, eq=False)
class UserField:
    """A field given as functions.

    Functions of one state (K,) are taken too, and called row by row.

    Parameters
    ----------
    f : function of (B, K) to (B, K)
        F, the velocity, time in units of tau; or the map, x to the next state.
    derivative : function of (B, K) to (B, K, K), or None
        Of f, row i the gradient of f_i. It is compared with differences before a search. None:
        central differences of f, with steps 1e-5 (1 + max |x|).
    size : int
        K.
    second : function of (B, K), (B, K) to (B, K, K), optional
        ``second(x, v)``, the derivative of ``derivative`` along v. Otherwise a central difference
        of that.
    kind : "flow" or "map"
        What f is. Of a map F is ``f(x) - x``, so that tau and dt are equal.
    """

    f: Callable[[Floats], ArrayLike]
    derivative: Callable[[Floats], ArrayLike] | None
    size: int
    second: Callable[[Floats, Floats], ArrayLike] | None = None
    kind: str = "flow"
    saturates: ClassVar[bool] = False
    #: what it is, in messages
    label: ClassVar[str] = "UserField"
    #: what a derivative that is none was to be
    asked: ClassVar[str] = "derivative must hold df_i / dx_j in row i and column j"

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ("flow", "map"))

    @property
    def origin(self) -> str:
        """Where the derivative comes from, in words."""
        return "by central differences" if self.derivative is None else "the given one"

    def flow(self, x: Floats) -> Floats:
        """F, checked."""
        value = self._called("f", self.f, x, x.shape)
        return value - x if self.kind == "map" else value

    def jacobian(self, x: Floats) -> Floats:
        """DF, checked."""
        if self.derivative is None:
            return self._differences(x)
        value = self._called("derivative", self.derivative, x, (len(x), self.size, self.size))
        return value - np.eye(self.size) if self.kind == "map" else value

    def _differences(self, x: Floats) -> Floats:
        step = 1e-5 * (1 + np.abs(x).max(axis=1, keepdims=True))
        columns = [(self.flow(x + step * e) - self.flow(x - step * e)) / (2 * step) for e in np.eye(self.size)]
        return np.stack(columns, axis=2)

    def check_derivative(self, x: Floats) -> None:
        """Compare the given derivative with differences at states (B, K).

        Raises
        ------
        ValueError
            Where they differ by more than 1e-4 of the larger of 1 and the largest element, with the
            element.
        """
        if self.derivative is None:
            return
        ours, theirs = self._differences(x), self.jacobian(x)
        gap = np.abs(ours - theirs)
        limit = 1e-4 * max(1.0, float(np.abs(ours[np.isfinite(ours)]).max(initial=0.0)))
        if (gap > limit).any():  # NaN passes: the search steps back from what is not finite
            b, i, j = (int(k) for k in np.unravel_index(np.nanargmax(gap), gap.shape))
            raise InputError(
                f"{self.asked}: differences of f give {ours[b, i, j]:.6g} "
                f"for i = {i}, j = {j}, got {theirs[b, i, j]:.6g}"
                + " (it looks transposed)"
                * bool(np.allclose(ours, theirs.transpose(0, 2, 1), atol=limit))
            )

    def along(self, x: Floats, v: Floats) -> Floats:
        """The derivative of DF along v, shape (B, K, K)."""
        if self.second is not None:
            pairs = np.concatenate([x, v], axis=1)
            both = self.second
            return self._called(
                "second",
                lambda y: both(y[..., : self.size], y[..., self.size :]),
                pairs,
                (len(x), self.size, self.size),
            )
        step = 1e-5 * (1 + np.abs(x).max(axis=1, keepdims=True))
        return np.asarray((self.jacobian(x + step * v) - self.jacobian(x - step * v)) / (2 * step[..., None]))

    def curvature(self, x: Floats, p: Floats) -> Floats:
        """``sum_i p_i D2F_i`` from K directions."""
        columns = [np.einsum("bi,bij->bj", p, self.along(x, np.broadcast_to(e, x.shape))) for e in np.eye(self.size)]
        total = np.stack(columns, axis=2)
        return np.asarray((total + total.transpose(0, 2, 1)) / 2)

    @staticmethod
    def _called(name: str, function: Callable[[Floats], ArrayLike], x: Floats, shape: tuple[int, ...]) -> Floats:
        """``function(x)``, or row by row where the function is of one state; of the ``shape`` that
        is due.
        """
        # infinities are left to the search, which steps back from them
        try:
            array = np.asarray(function(x), dtype=np.float64)
        except (ValueError, IndexError, TypeError):
            array = np.zeros(())
        if array.shape == shape:
            return array
        try:
            rows = [np.asarray(function(row), dtype=np.float64) for row in x]
            if all(row.shape == shape[1:] for row in rows):
                return np.array(rows).reshape(shape)
        except (ValueError, IndexError, TypeError) as error:
            raise InputError(
                f"{name} must take states of shape {x.shape} or {x.shape[1:]}; with them it fails: {error}"
            ) from error
        return checks.shape(name, array, shape)
