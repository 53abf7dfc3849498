"""The normal form of a ghost or of a saddle-node: one slow direction, one scale parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ghostpoint.checks import number
from ghostpoint.errors import InputError


@dataclass(frozen=True)
class NormalForm:
    """The flow ``dy/dt = r + a y**2`` along the slow direction of a slow point.

    With time in units of ``1 / scale`` and y in units of ``sqrt(|r / a|)`` it reads
    ``du/ds = 1 + u**2`` for ``r a > 0`` (a ghost, up to the sign of y) and ``du/ds = u**2 - 1`` for
    ``r a < 0`` (two fixed points); r = 0 is the saddle-node itself. The toy model of the letter
    (eq. 7) is a = 1.

    Parameters
    ----------
    r : float
        Speed at y = 0, in units of the state per unit of time.
    a : float
        Curvature of the flow, in 1 / (state x time); not zero.

    Raises
    ------
    ValueError
        If either is not finite or ``a`` is zero.

    Examples
    --------
    >>> ghost = NormalForm(r=1e-4, a=1.0)
    >>> round(ghost.passage_time, 2), round(ghost.escape_time(-0.05, 0.05), 2)
    (314.16, 274.68)
    >>> NormalForm(r=-1e-4, a=1.0).fixed_points
    (-0.01, 0.01)
    """

    r: float
    a: float

    def __post_init__(self) -> None:
        for name in ("r", "a"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        if self.a == 0:
            raise InputError("a must not be 0 (the flow has no quadratic term then), got 0")

    @property
    def scale(self) -> float:
        """``sqrt(|r a|)``, in 1 / time: the one parameter that is left after rescaling state and
        time.
        """
        return math.sqrt(abs(self.r)) * math.sqrt(abs(self.a))  # the product r a could underflow

    @property
    def fixed_points(self) -> tuple[float, ...]:
        """Zeros of the flow, ascending: none for ``r a > 0``, y = 0 for r = 0, else
        ``-+ sqrt(-r / a)``.
        """
        if self.r == 0:
            return (0.0,)
        if (self.r > 0) == (self.a > 0):
            return ()
        half_width = math.sqrt(abs(self.r)) / math.sqrt(abs(self.a))
        return (-half_width, half_width)

    @property
    def passage_time(self) -> float:
        """Time ``pi / sqrt(r a)`` from one end of the line to the other in the direction of the
        flow; else ``inf``.

        The delay that a ghost imposes, whichever way it is passed; ``inf`` when there are fixed
        points.
        """
        return math.inf if self.fixed_points else math.pi / self.scale

    def escape_time(self, y0: float = -math.inf, y1: float = math.inf) -> float:
        """Time for ``dy/dt = r + a y**2`` to carry y from ``y0`` up to ``y1``.

        ``t = (atan(y1 sqrt(a/r)) - atan(y0 sqrt(a/r))) / sqrt(r a)`` for ``r a > 0``; with the
        default limits ``pi / sqrt(r a)``, the delay a ghost imposes (Strogatz, Nonlinear Dynamics
        and Chaos, sec. 4.3; letter, eq. 7 for a = 1, y0 = 0). The same integral with ``atanh``
        between or outside two fixed points, and ``(1/y0 - 1/y1) / a`` for r = 0.

        Parameters
        ----------
        y0, y1 : float
            Positions along the slow direction, in units of the state; ``y0 < y1``; infinite ones
            are allowed.

        Returns
        -------
        float
            Time in the units of r and a. ``inf`` when a fixed point lies in ``[y0, y1]``, and when
            the flow points down there (for ``r < 0`` and ``a < 0`` everywhere: then
            ``NormalForm(-r, -a)`` is the same flow seen in ``-y``, and ``passage_time`` needs no
            direction).

        Raises
        ------
        ValueError
            If ``y0 >= y1``; the message gives both.
        """
        y0, y1 = number("y0", y0, allow_inf=True), number("y1", y1, allow_inf=True)
        if y0 >= y1:
            raise InputError(f"y0 must be below y1, got y0 = {y0:g} and y1 = {y1:g}")
        zeros = self.fixed_points
        if any(y0 <= zero <= y1 for zero in zeros):
            return math.inf
        between = len(zeros) == 2 and zeros[0] < y0 and y1 < zeros[1]
        upward = self.r > 0 if between or not zeros else self.a > 0
        if not upward:
            return math.inf
        if self.r == 0:
            # As one fraction where the limits are finite: two nearly equal reciprocals would
            # cancel.
            return (y1 - y0) / y0 / y1 / self.a if math.isfinite(y1 - y0) else (1 / y0 - 1 / y1) / self.a
        width = math.sqrt(abs(self.r)) / math.sqrt(abs(self.a))
        low, high, span = y0 / width, y1 / width, (y1 - y0) / width
        if not zeros:
            return _arctan_difference(low, high, span) / self.scale
        if between:
            return math.atanh(span / (1 - low * high)) / self.scale
        return _arctanh_difference(1 / low, 1 / high, span / low / high) / self.scale


def _arctan_difference(low: float, high: float, span: float) -> float:
    """``atan(high) - atan(low)`` for ``high - low = span > 0``, accurate when the two are close."""
    product = low * high
    if math.isfinite(product) and math.isfinite(span):
        return math.atan2(span, 1 + product)
    return math.atan(high) - math.atan(low)


def _arctanh_difference(first: float, second: float, span: float) -> float:
    """``atanh(first) - atanh(second)`` for ``first - second = span > 0``; ``span`` may be NaN for
    infinite limits.
    """
    if math.isfinite(span) and span > 0:
        return math.atanh(span / (1 - first * second))
    return math.atanh(first) - math.atanh(second)
