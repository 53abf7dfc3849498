"""A ghost with two slow directions that rotate into each other: ``z' = z**2 + r`` in complex
numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint.checks import finite_array, number
from ghostpoint.theory.minimal_system import Array, MinimalSystem


@dataclass(frozen=True)
class ComplexSaddleNode(MinimalSystem):
    """``z' = z**2 + r`` from 0 with z = x + i y: ``x' = x**2 - y**2 + r1``, ``y' = 2 x y + r2``.

    The parameters are ``p = (r1, r2)``. The answer is given when ``|z|`` reaches ``threshold``. The
    solution is ``z = sqrt(r) tan(sqrt(r) t)``, and ``sqrt(r) = a + i b``. For ``r2 = 0`` it is the
    toy model. For ``r2`` other than 0 the path turns round before infinity: ``|z|`` grows to about
    ``4 r1**1.5 / (pi |r2|)`` at most. If that is below the threshold, there is no answer and no
    gradient.

    Where r2 is trained too, gradient flow that lengthens t makes a small r2 grow, by
    :meth:`growth`. It then leads across the edge before T is reached, at any learning rate.

    Parameters
    ----------
    T : float
        Delay, above 0.
    threshold : float
        Above 0, in units of 1 / time.
    hold_r2 : bool
        Whether r2 stays as it is at the start, without a gradient.
    """

    T: float
    threshold: float = 10.0
    hold_r2: bool = False
    n = 2

    def __post_init__(self) -> None:
        for name in ("T", "threshold"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0))

    def evaluate(self, p: Array) -> tuple[Array, Array]:
        """First time of ``|z| = threshold``, by bisection, and its exact gradient.

        ``|tan(u + i v)|**2 = (cosh(2 v) - cos(2 u)) / (cosh(2 v) + cos(2 u))``, so with
        ``m = (threshold**2 - |r|) / (threshold**2 + |r|)`` it is the first zero of
        ``cos(2 a t) + m cosh(2 b t)``.
        """
        root, m = self._root(p)
        a, b = root.real, np.abs(root.imag)
        turn = self._turn(a, b, m)
        reached = (a > 0) & (np.cos(2 * a * turn) + m * np.cosh(2 * b * turn) <= 0)
        low, high = np.zeros(turn.shape), turn
        for _ in range(52):
            middle = (low + high) / 2
            late = np.cos(2 * a * middle) + m * np.cosh(2 * b * middle) <= 0
            low, high = np.where(late, low, middle), np.where(late, middle, high)
        time = (low + high) / 2
        r = np.where(reached, p[..., 0] + 1j * p[..., 1], 1.0)
        path = np.where(reached, root, 1.0)
        z = path * np.tan(path * np.where(reached, time, 0.1))
        # dz/dr at fixed t (as in SaddleNodeToy.sensitivity), and the motion of |z|**2 / 2
        moved = np.conj(z) * (z / r + time * (1 + z**2 / r)) / 2
        growth = (np.conj(z) * (z**2 + r)).real
        growth = np.where(growth > 0, growth, np.inf)  # at the edge of the zone |z| stands still
        slope = np.stack([-moved.real / growth, moved.imag / growth * (not self.hold_r2)], axis=-1)
        return np.where(reached, time, np.inf), np.where(reached[..., None], slope, 0.0)

    def _root(self, p: Array) -> tuple[Any, Array]:
        size = np.hypot(p[..., 0], p[..., 1])
        return np.sqrt(p[..., 0] + 1j * p[..., 1]), (self.threshold**2 - size) / (self.threshold**2 + size)

    def _turn(self, a: Array, b: Array, m: Array) -> Array:
        """The time at which |z| is largest: the first zero of ``a sin(2 a t) - b m sinh(2 b t)``
        after 0.
        """
        low, high = np.zeros(a.shape), (math.pi / 2) / np.where(a > 0, a, 1.0)
        for _ in range(52):
            middle = (low + high) / 2
            with np.errstate(over="ignore"):
                later = a * np.sin(2 * a * middle) - b * m * np.sinh(2 * b * middle) > 0
            low, high = np.where(later, middle, low), np.where(later, high, middle)
        return (low + high) / 2

    def edge(self, r1: ArrayLike) -> Array:
        """The ``r2 > 0`` beyond which there is no answer at this ``r1 > 0``, to a relative 1e-12.

        For small r1 it is ``4 r1**1.5 / (pi threshold)``.
        """
        values = finite_array("r1", r1)
        low, high = np.zeros(values.shape), np.maximum(values, values**1.5 * 8 / (math.pi * self.threshold))
        for _ in range(60):
            middle = (low + high) / 2
            answers = np.isfinite(self.evaluate(np.stack([values, middle], axis=-1))[0])
            low, high = np.where(answers, middle, low), np.where(answers, high, middle)
        return low

    def longest_delay(self, r2: float) -> float:
        """``(pi**2 / (2 threshold |r2|))**(1/3)``: the longest time of an answer at this r2, for
        small r2.

        No r1 answers later. A delay of T asks for ``|r2| < pi**2 / (2 threshold T**3)``.
        """
        size = abs(number("r2", r2))
        return math.inf if size == 0 else (math.pi**2 / (2 * self.threshold * size)) ** (1 / 3)

    def growth(self, r1: ArrayLike) -> Any:
        """Logarithm of the factor by which a small r2 grows while gradient flow lowers r1 until
        the answer comes at T.

        With X the threshold and ``s = T + 1 / X`` it is ``X (s - pi / (2 sqrt(r1))) - 1.5 log(4
        s**2 r1 / pi**2)``, for X far above ``sqrt(r1)``. Near the pole
        ``arg z = (X t + 1) r2 / (2 r1)`` at the answer. So ``dt/dr2 = (t / (2 r1)) (r2 / r1)
        (X t - 1) / 2``, while ``dt/dr1 = -(t + 1 / X) / (2 r1)`` and
        ``t + 1 / X = pi / (2 sqrt(r1))``.
        """
        values, X = finite_array("r1", r1), self.threshold
        s = self.T + 1 / X
        return (X * (s - math.pi / (2 * np.sqrt(values))) - 1.5 * np.log(4 * s**2 * values / math.pi**2))[()]
