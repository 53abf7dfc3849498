"""The analytic toy model of the letter: ``dx/dt = x**2 + r``, trained to wait for T and then to
answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from ghostpoint.checks import finite_array, number
from ghostpoint.errors import InputError
from ghostpoint.theory.descent import Descent, descend
from ghostpoint.theory.euler import EulerLoss, euler_loss
from ghostpoint.theory.quadrature import loss_and_gradient


@dataclass(frozen=True)
class SaddleNodeToy:
    """The toy model of abrupt learning (letter, eqs. 1, 2, 12-15): one state x, one trained
    parameter r.

    ``dx/dt = x**2 + r`` from ``x(0) = 0``; output ``o = sigmoid(confidence (x - x_threshold))``;
    target 0 for ``t < T`` and 1 for ``T < t < 2 T``; loss
    ``L(r) = integral_0^2T (o - target)**2 dt``, in units of time, T at chance. By default the
    analytic limit, in which the output is a step at the escape time ``pi / (2 sqrt(r))`` and
    ``L = |T - pi / (2 sqrt(r))|`` for ``r >= r_star / 4``, else T.

    Methods that take r take any shape and return it, a float for a scalar.

    Parameters
    ----------
    T : float
        Delay, above 0.
    x_threshold : float
        State at which the output is 1/2, above 0; infinite in the analytic limit.
    confidence : float
        Slope c of the readout, above 0; infinite for an output that is a step at
        ``escape_time(r)``.

    Raises
    ------
    ValueError
        If an argument is out of range, or the confidence is finite and the threshold infinite: the
        output would be 0 at every finite x.

    Examples
    --------
    >>> toy = SaddleNodeToy(T=100)
    >>> f"{toy.critical_learning_rate:.3g}"
    '9.13e-10'
    >>> toy.loss([toy.r_star, 4 * toy.r_star, -1.0]).round(6).tolist()
    [0.0, 50.0, 100.0]
    """

    T: float
    x_threshold: float = math.inf
    confidence: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "T", number("T", self.T, above=0))
        for name in ("x_threshold", "confidence"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0, allow_inf=True))
        if math.isfinite(self.confidence) and math.isinf(self.x_threshold):
            raise InputError(
                f"x_threshold must be finite at finite confidence ({self.confidence:g}), got inf: "
                "the output would be 0 at every finite state; for the analytic limit leave both infinite"
            )

    @property
    def r_star(self) -> float:
        """``pi**2 / (4 T**2)``: the r that escapes at T, the global minimum of the analytic limit
        (letter, eq. 2).
        """
        return math.pi**2 / (4 * self.T**2)

    @property
    def point_of_no_return(self) -> float:
        """``r_star / 4``: the r that escapes at 2T in the analytic limit; at and below it the
        gradient is zero.
        """
        return self.r_star / 4

    @property
    def critical_learning_rate(self) -> float:
        """``3 pi**4 / (32 T**5)`` (letter, eq. 15): one update from just above ``r_star`` reaches
        the point of no return.
        """
        return 3 * math.pi**4 / (32 * self.T**5)

    @property
    def surviving_learning_rate(self) -> float:
        """1.0290 times the critical rate: up to here a run can escape collapse for ever (derived
        for this project).

        Between the critical rate and this one descent has a stable orbit of period three, one
        update up and two down, whose lowest point lies below r_star; starts that fall onto it are
        never lost. With ``u = r / r_star`` and k as in :meth:`oscillation_bounds` the orbit ends
        where that point reaches u = 1, and k solves
        ``(1 + k)**-1.5 + (1 + k - k (1 + k)**-1.5)**-1.5 = 1``.
        """

        def excess(k: float) -> float:
            top = 1 + k
            return float(top**-1.5 + (top - k * top**-1.5) ** -1.5 - 1)

        return float(brentq(excess, 0.5, 1.0, xtol=1e-15)) / 0.75 * self.critical_learning_rate

    def escape_time(self, r: ArrayLike) -> Any:
        """Time at which x reaches ``x_threshold``: ``atan(x_threshold / sqrt(r)) / sqrt(r)``; inf
        for ``r <= 0``.
        """
        values = finite_array("r", r)
        root = np.sqrt(np.where(values > 0, values, 1.0))
        return _like(np.where(values > 0, np.arctan2(self.x_threshold, root) / root, np.inf))

    def r_for_escape_time(self, t: float) -> float:
        """The inverse of :meth:`escape_time`; ``pi**2 / (4 t**2)`` for an infinite threshold, t
        above 0.
        """
        t = number("t", t, above=0)
        if math.isinf(self.x_threshold):
            return math.pi**2 / (4 * t**2)
        # With s = sqrt(r) t: s sin(s) = x_threshold t cos(s), which has one root in (0, pi / 2).
        product = self.x_threshold * t
        s = brentq(lambda s: s * math.sin(s) - product * math.cos(s), 0.0, math.pi / 2, xtol=1e-300, rtol=1e-15)
        return float((s / t) ** 2)

    def trajectory(self, r: ArrayLike, t: ArrayLike) -> Any:
        """``x(t)``: ``sqrt(r) tan(sqrt(r) t)``, 0, or ``-sqrt(-r) tanh(sqrt(-r) t)`` for r above,
        at, below 0.

        ``r`` and ``t >= 0`` are broadcast together. From the time ``pi / (2 sqrt(r))`` on x is
        ``+inf``.
        """
        values, times = _checked(r, t)
        ratio, _, escaped = _tangent(values, times)
        return _like(np.where(escaped, np.inf, values * times * ratio))

    def sensitivity(self, r: ArrayLike, t: ArrayLike) -> Any:
        """``dx/dr`` at time t, ``(x / r + t / cos(sqrt(r) t)**2) / 2`` for r > 0 and its
        continuation for r <= 0.

        At r = 0 it is t. NaN once x has escaped, where x is infinite for every nearby r.
        """
        values, times = _checked(r, t)
        ratio, secant_squared, escaped = _tangent(values, times)
        return _like(np.where(escaped, np.nan, times * (ratio + secant_squared) / 2))

    def loss(self, r: ArrayLike) -> Any:
        """``L(r)`` (letter, eq. 1): closed form for a step readout (eqs. 2, 12), else quadrature to
        about 1e-12 T.
        """
        values = finite_array("r", r)
        if math.isfinite(self.confidence):
            return _like(loss_and_gradient(self, values.ravel())[0].reshape(values.shape))
        return _like(np.minimum(np.abs(self.T - np.asarray(self.escape_time(values))), self.T))

    def gradient(self, r: ArrayLike) -> Any:
        """``dL/dr`` (letter, eq. 13); for a step readout ``-+ d escape_time / dr`` above and below
        the minimum.

        A step readout has two kinks. At the minimum the gradient jumps between
        ``-+ 2 T**3 / pi**2`` (eq. 14, for an infinite threshold) and 0, the mean of both, is
        returned; the point of no return belongs to the zone below it, where the gradient is 0.
        """
        values = finite_array("r", r)
        if math.isfinite(self.confidence):
            return _like(loss_and_gradient(self, values.ravel())[1].reshape(values.shape))
        lost, best = self.kinks
        inside = values > lost
        safe = np.where(inside, values, 1.0)
        steepness = np.asarray(self.escape_time(safe)) / (2 * safe)
        if math.isfinite(self.x_threshold):
            steepness = steepness + self.x_threshold / (2 * safe * (safe + self.x_threshold**2))
        return _like(np.where(inside, np.sign(values - best) * steepness, 0.0))

    @property
    def kinks(self) -> tuple[float, float]:
        """The r at which x reaches the threshold at 2T and at T; ``(r_star / 4, r_star)`` for an
        infinite threshold.
        """
        return self.r_for_escape_time(2 * self.T), self.r_for_escape_time(self.T)

    def oscillation_bounds(self, learning_rate: float) -> tuple[float, float]:
        """The interval that gradient descent of the analytic limit never leaves after it first
        crosses r_star.

        With ``u = r / r_star`` and ``k = (3/4) learning_rate / critical_learning_rate`` one update
        is ``u -> u - k u**-1.5`` above 1 and ``u + k u**-1.5`` between 1/4 and 1. The first grows
        with u, so it lands above ``1 - k``; the second is convex, so from there it lands below
        ``max(1 + k, 1 - k + k (1 - k)**-1.5)``. Hence no start above r_star is lost for
        ``k < 3/4``, that is below the critical rate (derived for this project).

        Returns
        -------
        tuple of float
            Lowest and highest r. ``ValueError`` if ``learning_rate`` is not in ``(0,
            critical_learning_rate)`` or the model is not the analytic limit.
        """
        rate = number("learning_rate", learning_rate, above=0)
        if math.isfinite(self.x_threshold):
            raise InputError(f"x_threshold must be inf for oscillation_bounds, got {self.x_threshold:g}")
        if rate >= self.critical_learning_rate:
            raise InputError(f"learning_rate must be below {self.critical_learning_rate:g}, got {rate:g}")
        k = 0.75 * rate / self.critical_learning_rate
        return self.r_star * (1 - k), self.r_star * max(1 + k, 1 - k + k * (1 - k) ** -1.5)

    def approach_epochs(self, r0: ArrayLike, learning_rate: ArrayLike) -> Any:
        """``8 (r0**2.5 - r_star**2.5) / (5 pi learning_rate)``: epochs from ``r0 >= r_star`` down
        to r_star.

        Analytic limit, updates taken as continuous; real descent crosses within a few epochs of it
        (derived for this project). It is why learning looks abrupt: of the way from ``10 r_star``
        nearly all epochs are spent where the loss is flat.
        """
        start, rate = finite_array("r0", r0), finite_array("learning_rate", learning_rate)
        if (start < self.r_star).any():
            raise InputError(f"r0 must be at least r_star = {self.r_star:g}, got {start.min():g}")
        if not (rate > 0).all():
            raise InputError(f"learning_rate must be above 0, got {rate.min():g}")
        return _like(8 * (start**2.5 - self.r_star**2.5) / (5 * np.pi * rate))

    def euler_loss(self, r: ArrayLike, dt: float = 0.1, x_max: float = 1e6) -> EulerLoss:
        """Loss and gradient of the published Euler discretisation; see
        :func:`ghostpoint.theory.euler.euler_loss`.
        """
        return euler_loss(self, r, dt, x_max)

    def descend(
        self, r0: ArrayLike, learning_rate: ArrayLike, epochs: int, *, record: int | Iterable[int] = 1
    ) -> Descent:
        """Plain gradient descent on the loss; see :func:`ghostpoint.theory.descent.descend`."""
        return descend(self, r0, learning_rate, epochs, record=record)


def _like(values: NDArray[np.float64]) -> Any:
    """A float for a zero-dimensional array, else the array."""
    return float(values) if np.ndim(values) == 0 else values


def _checked(r: ArrayLike, t: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values, times = np.broadcast_arrays(finite_array("r", r), finite_array("t", t))
    if (times < 0).any():
        raise InputError(f"t must be at least 0, got {times.min():g}")
    return values, times


def _tangent(r: NDArray[np.float64], t: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """``tan(s) / s`` and ``1 / cos(s)**2`` for ``s = sqrt(r) t``, hyperbolic for r < 0, and whether
    x has escaped.

    Written with these two, x and dx/dr are sums and products of positive terms: nothing cancels
    near r = 0.
    """
    s = np.sqrt(np.abs(r)) * t
    escaped = (r > 0) & (s >= np.pi / 2)
    divisor = np.where(s > 0, s, 1.0)
    tangent = np.tan(np.where((r > 0) & ~escaped, s, 0.0))
    hyperbolic = np.tanh(s)
    decay = np.exp(-2 * s)
    ratio = np.where(s > 0, np.where(r > 0, tangent, hyperbolic) / divisor, 1.0)
    return ratio, np.where(r > 0, 1 + tangent**2, 4 * decay / (1 + decay) ** 2), escaped
