"""A saddle-node beside a plane of fast directions, slaved or oscillating."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ghostpoint.checks import number
from ghostpoint.errors import InputError
from ghostpoint.theory.minimal_system import Array, OneParameter


@dataclass(frozen=True)
class FastPlane(OneParameter):
    """A saddle-node x with a plane (y, z) that decays and turns; r is trained.

    ``x' = r + x**2 + feedback y``, ``y' = -decay y - frequency z + drive x**2``,
    ``z' = frequency y - decay z``, from ``(x0, y0, z0)``; the answer is the escape of x to
    infinity. Two dimensions for ``frequency = 0``, else three.

    With a drive, y follows x**2 on the slow manifold. The curvature becomes :attr:`curvature`, and
    for long delays the critical rate is that of the toy model over its square, with a correction of
    the order of log(T) / T. Without a drive, y
    is an explicit function of time, and ``x = -u' / u`` makes the system linear:
    ``u'' + (r + feedback y(t)) u = 0``. Its first zero is the answer. A decay alone gives Bessel
    functions, a rotation alone Mathieu functions.

    Parameters
    ----------
    T : float
        Delay, above 0.
    decay, frequency : float
        Of the plane, in 1 / time; decay at least 0, and above 0 where there is a drive.
    drive, feedback : float
        Of the plane by x**2, and of x by the plane.
    x0, y0, z0 : float
        The start.
    step : float
        Largest step of the integration, in units of time; 0.02 over the fastest of decay, frequency
        and 1 by default (0 asks for it).

    Raises
    ------
    ValueError
        If an argument is out of range, or the feedback turns the curvature round.
    """

    T: float
    decay: float = 1.0
    frequency: float = 0.0
    drive: float = 0.0
    feedback: float = 0.0
    x0: float = 0.0
    y0: float = 0.0
    z0: float = 0.0
    step: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "T", number("T", self.T, above=0))
        for name in ("frequency", "drive", "feedback", "x0", "y0", "z0"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        object.__setattr__(self, "decay", number("decay", self.decay, at_least=0))
        object.__setattr__(self, "step", number("step", self.step, at_least=0))
        if self.drive != 0 and self.decay == 0:
            raise InputError("decay must be above 0 where there is a drive, got 0")
        if self.curvature <= 0:
            raise InputError(
                f"feedback must leave a positive curvature, got {self.feedback:g}, which makes it "
                f"{self.curvature:g}: x would come to rest at a fixed point"
            )

    @property
    def curvature(self) -> float:
        """``1 + feedback drive decay / (decay**2 + frequency**2)``: the flow on the slow manifold
        is ``r + curvature x**2``.
        """
        if self.drive == 0:
            return 1.0
        return 1 + self.feedback * self.drive * self.decay / (self.decay**2 + self.frequency**2)

    @property
    def asymptotic_critical_rate(self) -> float:
        """``3 pi**4 / (32 curvature**2 T**5)``, for delays long beside those of the plane and
        ``x0 = 0``.
        """
        return 3 * math.pi**4 / (32 * self.curvature**2 * self.T**5)

    @property
    def averaged_shift(self) -> float:
        """``(feedback A)**2 / (2 frequency**2)``, ``A**2 = y0**2 + z0**2``: by how much a rotation
        raises the r that acts on average.

        Of ``u'' + (r + f cos(w t)) u = 0`` write ``u = U (1 + (f / w**2) cos(w t))``; the mean of
        the product of the two oscillations is ``f**2 / (2 w**2)``. Valid without decay and drive,
        for ``w T >> 1`` and ``f << w**2``.
        """
        if self.decay != 0 or self.drive != 0 or self.frequency == 0:
            raise InputError("averaged_shift needs a rotation without decay and drive")
        return self.feedback**2 * (self.y0**2 + self.z0**2) / (2 * self.frequency**2)

    def evaluate(self, p: Array) -> tuple[Array, Array]:
        """t and dt/dr by integration of the flow and its derivative by r; inf from ``4 T`` on."""
        from ghostpoint.theory.fast_plane_kernels import passages

        r = np.ascontiguousarray(p[..., 0], dtype=np.float64).ravel()
        times, by_r = np.empty(r.size), np.empty(r.size)
        start = np.array([self.x0, self.y0, self.z0])
        system = np.array([self.decay, self.frequency, self.drive, self.feedback])
        step = self.step or 0.02 / max(1.0, self.decay, abs(self.frequency))
        passages(r, start, system, step, 4 * self.T, np.empty((6, 6)), times, by_r)
        return times.reshape(p.shape[:-1]), by_r.reshape(p.shape)

    def _above(self, time: float) -> float:
        p = (math.pi / time) ** 2 + abs(self.feedback) * math.hypot(self.y0, self.z0)
        while not self.escape_time([p]) < time:
            p *= 2
        return p
