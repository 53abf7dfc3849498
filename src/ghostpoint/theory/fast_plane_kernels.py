"""The compiled passage of ``fast_plane``; imported on first use, so that importing the theory does
not import numba.
"""

from __future__ import annotations

import math
from typing import Any

from ghostpoint.numerics.compiled_code import compiled

#: beyond this state what is left of the way to infinity is a series in 1 / x
FAR = 1e4


@compiled
def slopes(s: Any, r: float, system: Any, out: Any) -> None:
    """The flow at ``s = (x, y, z, dx/dr, dy/dr, dz/dr)``; system is decay, frequency, drive,
    feedback.
    """
    decay, frequency, drive, feedback = system[0], system[1], system[2], system[3]
    x, y, z, a, b, c = s[0], s[1], s[2], s[3], s[4], s[5]
    out[0] = r + x * x + feedback * y
    out[1] = -decay * y - frequency * z + drive * x * x
    out[2] = frequency * y - decay * z
    out[3] = 1 + 2 * x * a + feedback * b
    out[4] = -decay * b - frequency * c + 2 * drive * x * a
    out[5] = frequency * b - decay * c


@compiled
def passages(r: Any, start: Any, system: Any, step: float, longest: float, work: Any, times: Any, by_r: Any) -> None:
    """Times to infinity and their derivatives by r; inf and 0 for those that take longer than
    ``longest``.

    Runge-Kutta steps of fourth order, of length ``step / max(1, |x|)``; ``work`` has shape (6, 6).
    """
    s, k1, k2, k3, k4, at = work[0], work[1], work[2], work[3], work[4], work[5]
    for run in range(r.size):
        for i in range(6):
            s[i] = start[i] if i < 3 else 0.0
        t = 0.0
        while t < longest and abs(s[0]) < FAR:
            h = step / max(1.0, abs(s[0]))
            slopes(s, r[run], system, k1)
            for i in range(6):
                at[i] = s[i] + h / 2 * k1[i]
            slopes(at, r[run], system, k2)
            for i in range(6):
                at[i] = s[i] + h / 2 * k2[i]
            slopes(at, r[run], system, k3)
            for i in range(6):
                at[i] = s[i] + h * k3[i]
            slopes(at, r[run], system, k4)
            for i in range(6):
                s[i] += h / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i])
            t += h
        x = s[0]
        times[run], by_r[run] = math.inf, 0.0
        if x >= FAR:
            # y = y_X + drive (x - X) from X on: the integral of 1 / x' to second order in 1 / X
            rest = 1 / x - (r[run] + system[3] * s[1]) / (3 * x**3) - system[3] * system[2] / (6 * x**2)
            if t + rest < longest:
                times[run] = t + rest
                by_r[run] = -s[3] / (r[run] + x * x + system[3] * s[1])
