"""Loss and gradient of the toy model at finite confidence: one-dimensional Gauss-Legendre
quadrature.

The integrand is sharp where x crosses the threshold (width 1 / confidence in x) and where x
escapes. For r > 0 the integral is therefore taken over x, with ``dt = dx / (x**2 + r)``: there the
escape to infinity is the end of an algebraic tail, and the poles that limit the quadrature are
known, ``+-i sqrt(r)`` of the flow and ``x_threshold +-i pi / confidence`` of the readout. Panels
grow by factors of two away from both, so that every panel is at least its own length away from
every pole. For r <= 0 nothing escapes and the integral is taken over time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

if TYPE_CHECKING:
    from ghostpoint.theory.saddle_node import SaddleNodeToy


Array = NDArray[np.float64]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
SATURATED = 40.0  # 1 - sigmoid(40) is 4e-18: beyond this the readout is 1 in float64


def loss_and_gradient(toy: SaddleNodeToy, r: Array) -> tuple[Array, Array]:
    """``L`` and ``dL/dr`` (letter, eq. 1) for a one-dimensional array of r, to about 1e-12 of the
    largest loss T.

    ``dL/dr = int 2 (o - target) c o (1 - o) dx/dr dt``; after escape o = 1 and dx/dr contributes
    nothing.
    """
    loss, gradient = np.empty(r.shape), np.empty(r.shape)
    escapes = r > 0
    for chosen, integrate in ((escapes, _over_state), (~escapes, _over_time)):
        if chosen.any():
            loss[chosen], gradient[chosen] = integrate(toy, r[chosen])
    return loss, gradient


def _doublings(ratio: Array) -> Array:
    """``1, 2, 4, ...`` up to the largest of the ``ratio``, at least one."""
    count = max(int(np.ceil(np.log2(ratio.max(initial=1.0)))), 0) + 1
    return np.exp2(np.arange(count, dtype=np.float64))


def _panels(breakpoints: list[Array], low: Array, high: Array) -> tuple[Array, Array]:
    """Nodes and weights, (R, panels, nodes), between the ``breakpoints`` clipped to
    ``[low, high]``, (R, 1) each.
    """
    edges = np.concatenate([low, *[np.clip(b, low, high) for b in breakpoints], high], axis=1)
    edges.sort(axis=1)
    centre, half = (edges[:, 1:] + edges[:, :-1]) / 2, (edges[:, 1:] - edges[:, :-1]) / 2
    return centre[..., None] + half[..., None] * NODES, half[..., None] * WEIGHTS


def _over_state(toy: SaddleNodeToy, r: Array) -> tuple[Array, Array]:
    """For r > 0, over x from 0 to x(2T), or to where the readout saturates."""
    c, threshold = toy.confidence, toy.x_threshold
    r = r[:, None]
    root = np.sqrt(r)
    saturation = threshold + SATURATED / c
    x_delay, x_end = (np.minimum(toy.trajectory(r, t), saturation) for t in (toy.T, 2 * toy.T))
    width = np.pi / c
    steps = width * _doublings(np.array(max(threshold, saturation - threshold) / width))
    near_ghost = root * _doublings(x_end / root)
    shape = (len(r), steps.size)
    readout = [np.broadcast_to(threshold + sign * steps, shape) for sign in (-1, 1)]
    centre = np.broadcast_to(threshold, (len(r), 1))
    x, weight = _panels([near_ghost, *readout, centre, x_delay], np.zeros_like(r), x_end)
    r3 = r[..., None]
    target = x > x_delay[..., None]
    time = np.arctan2(x, np.sqrt(r3)) / np.sqrt(r3)
    speed = x * x + r3
    output = expit(c * (x - threshold))
    error = np.where(target, -expit(c * (threshold - x)), output)  # 1 - o without cancellation
    slope = c * output * expit(c * (threshold - x))
    loss = (weight * error**2 / speed).sum((1, 2))
    # dx/dr at fixed t, times dt/dx: (x / speed + t) / (2 r)
    gradient = (weight * error * slope * (x / speed + time)).sum((1, 2)) / r[:, 0]
    # What is left of the delay once the readout has saturated counts in full.
    saturates = np.arctan2(saturation, root[:, 0]) / root[:, 0]
    return loss + np.maximum(toy.T - saturates, 0), gradient


def _over_time(toy: SaddleNodeToy, r: Array) -> tuple[Array, Array]:
    """For r <= 0, over t; x relaxes to ``-sqrt(-r)`` and the readout with it."""
    c = toy.confidence
    speed = np.maximum(-r, 1e-200)[:, None]  # at r = 0 any finite width will do
    width = np.minimum(np.pi / 2 / np.sqrt(speed), np.pi / (c * speed)) / 2
    growing = width * _doublings(2 * toy.T / width)
    delay, end = np.full_like(width, toy.T), np.full_like(width, 2 * toy.T)
    t, weight = _panels([growing, delay], np.zeros_like(width), end)
    x, x_slope = toy.trajectory(r[:, None, None], t), toy.sensitivity(r[:, None, None], t)
    output = expit(c * (x - toy.x_threshold))
    rest = expit(c * (toy.x_threshold - x))
    error = np.where(t > toy.T, -rest, output)
    return (weight * error**2).sum((1, 2)), (weight * 2 * error * c * output * rest * x_slope).sum((1, 2))
