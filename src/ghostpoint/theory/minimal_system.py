"""What all minimal systems share: a time of answering that depends on trained parameters, the loss
of a confident answer, and gradient descent on it.

A system starts at time 0 and answers at the time t(p), a function of n trained parameters p. The
target is 0 up to the delay T and 1 from T to 2T, and the output is a step at t. So
``L(p) = min(|T - t(p)|, T)`` (letter, eqs. 2 and 12 for the toy model), and everything about the
training follows from t(p) and its gradient. docs/minimal_systems.md derives what the families do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from ghostpoint.checks import finite_array, integer, number
from ghostpoint.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MinimalDescent:
    """Gradient descent of many runs. Epoch k is the state after k updates.

    Attributes
    ----------
    p : array, S + (n,)
        Parameters after the last epoch; S is the shape of the runs.
    crossing_epoch, lost_epoch : array of int, S
        First epoch with ``t >= T``, and with ``t >= 2 T``; -1 for never. Nothing leaves the
        no-learning zone.
    crossing_p : array, S + (n,)
        Parameters at the crossing epoch; NaN for never.
    time : array, (epochs + 1,) + S, or None
        The time of the answer at every epoch, if it was asked for.
    """

    p: Array
    crossing_epoch: NDArray[np.int64]
    lost_epoch: NDArray[np.int64]
    crossing_p: Array
    time: Array | None


class MinimalSystem(ABC):
    """A system with the delay ``T``, ``n`` trained parameters, and the time t(p) of its answer.

    A family defines :meth:`evaluate`; loss, gradient and descent follow. Methods take parameters of
    shape S + (n,).
    """

    T: float
    n: int

    @abstractmethod
    def evaluate(self, p: Array) -> tuple[Array, Array]:
        """``t(p)``, of shape S, and its gradient, S + (n,); inf and 0 where it never answers."""

    def escape_time(self, p: ArrayLike) -> Any:
        """The time ``t(p)`` of the answer, a float for one p; inf where there is none."""
        return self.evaluate(self._parameters(p))[0][()]

    def time_gradient(self, p: ArrayLike) -> Array:
        """``dt/dp``, of the shape of p; 0 where the system never answers."""
        return self.evaluate(self._parameters(p))[1]

    def loss(self, p: ArrayLike) -> Any:
        """``L = min(|T - t(p)|, T)``, in units of time; T is chance."""
        return np.minimum(np.abs(self.T - self.escape_time(p)), self.T)

    def gradient(self, p: ArrayLike) -> Array:
        """``dL/dp``: minus the gradient of t before T, plus it between T and 2T, 0 at T and from 2T
        on.
        """
        return self._slope(*self.evaluate(self._parameters(p)))

    def one_step_rate(self, p: ArrayLike) -> Any:
        """Learning rate at which a single update from p, with ``t(p) <= T``, reaches
        ``t = 2 T``.

        At ``t(p) = T`` the update of the side below T is meant. Bisection to a relative 1e-12; inf
        where p has no gradient.
        """
        start = self._parameters(p)
        time, slope = self.evaluate(start)
        if not (time <= self.T * (1 + 1e-9)).all():
            raise InputError(f"p must answer by T = {self.T:g}, got a time of {time.max():g}")

        def lost(rate: Array) -> Array:
            return np.asarray(self.evaluate(start + rate[..., None] * slope)[0] >= 2 * self.T)

        moving = (slope != 0).any(-1)
        low = np.zeros(time.shape)
        high = np.where(moving, 1e-6 * np.abs(start).max(-1) / np.maximum(np.abs(slope).max(-1), 1e-300), np.inf)
        for _ in range(200):
            short = moving & np.logical_not(lost(np.where(moving, high, 0.0)))
            if not short.any():
                break
            low, high = np.where(short, high, low), np.where(short, 2 * high, high)
        else:
            raise InputError("p must have an update that leads to 2 T, got one of which no multiple does")
        for _ in range(45):
            middle = np.where(moving, (low + high) / 2, 0.0)
            above = lost(middle)
            low, high = np.where(above, low, middle), np.where(above & moving, middle, high)
        return high[()]

    def descend(self, p0: ArrayLike, learning_rate: ArrayLike, epochs: int, *, record: bool = False) -> MinimalDescent:
        """``p -> p - learning_rate dL/dp(p)``, ``epochs`` times.

        Parameters
        ----------
        p0 : array_like, S + (n,)
            Starts.
        learning_rate : array_like
            Rates, above 0; broadcast with S.
        epochs : int
            Updates, at least 0.
        record : bool
            Whether to keep the time of the answer of every epoch.

        Returns
        -------
        MinimalDescent

        Raises
        ------
        ValueError
            If an argument is out of range or shapes do not fit.
        """
        starts, rates = self._parameters(p0), finite_array("learning_rate", learning_rate)
        epochs = integer("epochs", epochs, at_least=0)
        if not (rates > 0).all():
            raise InputError(f"learning_rate must be above 0, got {rates.min():g}")
        shape = np.broadcast_shapes(starts.shape[:-1], rates.shape)
        p = np.broadcast_to(starts, (*shape, self.n)).copy()
        steps = np.broadcast_to(rates, shape)[..., None]
        crossed, lost = np.full(shape, -1), np.full(shape, -1)
        crossing_p = np.full(p.shape, np.nan)
        times = np.empty((epochs + 1, *shape)) if record else None
        for epoch in range(epochs + 1):
            time, slope = self.evaluate(p)
            crosses = (crossed < 0) & (time >= self.T)
            crossed[crosses], crossing_p[crosses] = epoch, p[crosses]
            lost[(lost < 0) & (time >= 2 * self.T)] = epoch
            if times is not None:
                times[epoch] = time
            if epoch < epochs:
                p -= steps * self._slope(time, slope)
        return MinimalDescent(p, crossed, lost, crossing_p, times)

    def _slope(self, time: Array, slope: Array) -> Array:
        sign = np.where(time < 2 * self.T, np.sign(time - self.T), 0.0)
        return sign[..., None] * slope

    def _parameters(self, p: ArrayLike) -> Array:
        values: Array = finite_array("p", p)
        if values.ndim == 0 or values.shape[-1] != self.n:
            raise InputError(f"p must have {self.n} parameters on its last axis, got shape {values.shape}")
        return values


class OneParameter(MinimalSystem):
    """One trained parameter p, of which t is a decreasing function."""

    n = 1

    def parameter_for(self, time: float) -> float:
        """The p with ``t(p) = time``, time above 0, to a relative 1e-13."""
        time = number("time", time, above=0)
        high, step = self._above(time), 1 / time**2
        low = high - step

        def speed(p: float) -> float:  # 1 / t, which is 0 where there is no answer
            return 1 / float(self.escape_time([p])) - 1 / time

        while speed(low) >= 0:
            high, step = low, 2 * step
            low -= step
        return float(brentq(speed, low, high, xtol=1e-300, rtol=1e-13))

    def _above(self, time: float) -> float:
        """Some p that answers before a time."""
        p = 1 / time**2
        while not self.escape_time([p]) < time:
            p *= 2
        return p

    @property
    def minimum(self) -> float:
        """The p that answers at T, where the loss is 0."""
        return self.parameter_for(self.T)

    @property
    def point_of_no_return(self) -> float:
        """The p that answers at 2T; at and below it the gradient is 0."""
        return self.parameter_for(2 * self.T)

    @property
    def critical_learning_rate(self) -> float:
        """The rate ``(p(T) - p(2T)) / |dt/dp|`` at which an update from just above the minimum
        reaches the point of no return.

        Where t is convex, updates from elsewhere end above, so that no start with ``t < T`` is lost
        below this rate.
        """
        best = self.minimum
        steepness = abs(float(self.time_gradient([best])[0]))
        if steepness == 0:
            raise InputError(f"T must be shorter: no parameter in double precision answers at T = {self.T:g}")
        return (best - self.point_of_no_return) / steepness
