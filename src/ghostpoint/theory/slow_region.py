"""Why the critical learning rate falls as a power of the delay: the three terms of its first-order
formula, for the toy model and for networks of rank one.

A state that moves at the speed f along one direction crosses from x_0 to its threshold in the time
``t = integral dx / f``. Its derivative by a parameter p is ``-integral (df/dp) / f**2 dx`` minus
``(dx_0/dp) / f(x_0)``. With

* the *width* of the slow region, ``l = (integral dx / f)**2 / integral dx / f**2``,
* the *sensitivity* of the speed, ``A = |integral (df/dp) / f**2 dx + (dx_0/dp) / f(x_0)|`` over
  ``integral dx / f**2``: the norm of a mean of df/dp over the region, weighted by 1/f**2,

the gradient of the escape time is ``|dt/dp| = A t**2 / l``, and the first-order critical rate at t
= T, ``(3/8) T**2 / |dt/dp|**2``, is ``(3/8) l**2 / (A**2 T**2)``. So the exponent in T is -2 plus
twice that of l / A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.checks import integer
from ghostpoint.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SlowRegion:
    """Terms of the first-order critical rate of R systems.

    Attributes
    ----------
    time : (R,) array
        From the start to the threshold, in the caller's units of time (steps for networks); NaN for
        a system that does not arrive.
    width : (R,) array
        l, in units of the state.
    sensitivity : (R,) array
        A, by which the speed per unit of time changes with the parameters (L2 norm).
    """

    time: Array
    width: Array
    sensitivity: Array

    @property
    def gradient_norm(self) -> Array:
        """``|grad t| = A t**2 / l``, (R,)."""
        return self.sensitivity * self.time**2 / self.width

    @property
    def rate(self) -> Array:
        """``(3/8) l**2 / (A**2 t**2)``, (R,): the first-order critical rate at T = t, for a loss
        divided by T.
        """
        return 0.375 * (self.width / (self.sensitivity * self.time)) ** 2

    @classmethod
    def of_toy(cls, delay: Any) -> SlowRegion:
        """The toy model ``dx/dt = x**2 + r`` at its best ``r = pi**2 / (4 T**2)``: A = 1 and ``l =
        pi**2 / (2 T)``.

        Its width narrows with T, and :attr:`rate` is ``3 pi**4 / (32 T**4)``: the letter's eq. 15
        with the loss divided by T.

        Examples
        --------
        >>> import ghostpoint as gp
        >>> toy = gp.theory.SlowRegion.of_toy([50.0, 100.0])
        >>> (toy.rate[0] / toy.rate[1]).round(6)
        np.float64(16.0)
        """
        time = np.atleast_1d(np.asarray(delay, np.float64))
        if not (time > 0).all() or not np.isfinite(time).all():
            raise InputError(f"delay must be positive and finite, got {delay!r}")
        return cls(time, math.pi**2 / (2 * time), np.ones_like(time))

    @classmethod
    def of(cls, models: Any, task: Any, *, nodes: int = 400) -> SlowRegion:
        """Networks of rank one, whose latent moves at the speed ``alpha f(kappa)`` a step,
        ``f = n.tanh(m kappa + b) - kappa``, from ``n.x0`` to the threshold.

        The parameters are the trainable ones of m, n and b. The integrals take the Euler steps for
        a continuous motion; a test compares the result with the exact gradient.

        Parameters
        ----------
        models : LowRankRNN
            R networks of rank one with the readout ``sigmoid(c (kappa - kappa*))``.
        task : DelayedActivation
            For its step alpha.
        nodes : int
            Of the quadrature.

        Raises
        ------
        ValueError
            For other networks.
        """
        if getattr(models, "rank", 0) != 1 or not hasattr(models, "m") or models.w_out is not None:
            raise InputError(
                f"models must be ghostpoint.LowRankRNN of rank one that answer by their latent, got {models!r}"
            )
        m, n, b = (np.asarray(v, np.float64)[:, None] for v in (models.m[:, :, 0], models.n[:, :, 0], models.b))
        x0 = np.broadcast_to(np.asarray(models.initial_state, np.float64), b[:, 0].shape)
        start, end = (n[:, 0] * x0).sum(axis=1), np.asarray(models.threshold, np.float64)
        node, weight = np.polynomial.legendre.leggauss(integer("nodes", nodes, at_least=2))
        kappa = start[:, None] + (end - start)[:, None] * (node + 1) / 2
        part = (end - start)[:, None] * weight / 2
        rates = np.tanh(m * kappa[..., None] + b)  # (R, nodes, N)
        speed = (n * rates).sum(axis=2) - kappa
        arrives = (speed > 0).all(axis=1) & (start < end)
        with np.errstate(divide="ignore", invalid="ignore"):
            passage, steepness = (part / speed).sum(axis=1), part / speed**2
            # integral of df/dp / f**2 for each vector; grad kappa_0 is x0, by n
            slope = n * (1 - rates**2) * steepness[..., None]
            first = (n[:, 0] * np.tanh(m[:, 0] * start[:, None] + b[:, 0])).sum(axis=1) - start
            by = {
                "m": (slope * kappa[..., None]).sum(axis=1),
                "b": slope.sum(axis=1),
                "n": (rates * steepness[..., None]).sum(axis=1) + x0 / first[:, None],
            }
            total = np.sqrt(sum((by[name] ** 2).sum(axis=1) for name in "mnb" if name in models.trainable))
            squares = steepness.sum(axis=1)
            found = passage / task.alpha, passage**2 / squares, task.alpha * total / squares
        return cls(*(np.where(arrives, value, np.nan) for value in found))
