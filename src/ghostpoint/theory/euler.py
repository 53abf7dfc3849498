"""The published discretisation of the toy model: explicit Euler steps and a sum over them instead
of the integral.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from ghostpoint.checks import finite_array, number
from ghostpoint.errors import InputError

if TYPE_CHECKING:
    from ghostpoint.theory.saddle_node import SaddleNodeToy


class EulerLoss(NamedTuple):
    """Loss (time units) and its derivative in r of the discretised toy model; floats for a scalar
    r, else arrays.
    """

    loss: Any
    gradient: Any


def euler_loss(toy: SaddleNodeToy, r: ArrayLike, dt: float = 0.1, x_max: float = 1e6) -> EulerLoss:
    """The loss of Fig. 2A as it was published: ``dt sum_k (o(x_k) - target(t_k))**2``,
    ``t_k = k dt < 2 T``.

    ``x_0 = 0`` and ``x_(k+1) = min(x_k + dt (x_k**2 + r), x_max)``. The gradient is the exact
    derivative of this sum, with zero derivative where x is clipped (what automatic differentiation
    of a clamp gives). Explicit Euler lags behind the flow where that accelerates, so x escapes late
    and the minimum lies above that of the exact loss. The letter does not say whether the readout
    is taken before or after the update; it is taken before here.

    Parameters
    ----------
    toy : SaddleNodeToy
        With finite confidence and threshold.
    r : array_like
        Any shape.
    dt : float
        Step, in units of time; at most T.
    x_max : float
        Clip; at least the threshold.

    Returns
    -------
    EulerLoss
        ``loss`` and ``gradient``, of the shape of ``r``.

    Raises
    ------
    ValueError
        If the readout is a step, or dt or x_max is out of range.
    """
    if not np.isfinite(toy.confidence):
        raise InputError("confidence must be finite for euler_loss: a step readout has no gradient on a time grid")
    dt = number("dt", dt, above=0)
    if dt > toy.T:
        raise InputError(f"dt must be at most T = {toy.T:g}, got {dt:g}")
    x_max = number("x_max", x_max, at_least=toy.x_threshold)
    values = finite_array("r", r)
    x, slope = np.zeros(values.shape), np.zeros(values.shape)
    loss, gradient = np.zeros(values.shape), np.zeros(values.shape)
    # The tolerance keeps 2 T / dt = 2000.0000000000002 from becoming one step more.
    for step in range(int(np.ceil(2 * toy.T / dt - 1e-9))):
        output = expit(toy.confidence * (x - toy.x_threshold))
        error = output - (step * dt >= toy.T * (1 - 1e-12))
        loss += error**2
        gradient += 2 * error * toy.confidence * output * (1 - output) * slope
        slope = slope + dt * (2 * x * slope + 1)
        x = x + dt * (x * x + values)
        clipped = x > x_max
        x, slope = np.where(clipped, x_max, x), np.where(clipped, 0.0, slope)
    loss, gradient = loss * dt, gradient * dt
    if values.ndim == 0:
        return EulerLoss(float(loss), float(gradient))
    return EulerLoss(loss, gradient)
