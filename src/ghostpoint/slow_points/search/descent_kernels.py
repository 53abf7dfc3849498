"""Compiled descent of ``q = |F|**2 / 2`` for a full-rank network, ``F = -x + tanh(W x + c)``, one
start a call.

What `descent` says of the method holds here. What a call returns depends on its own start alone:
threads and the other starts change no bit.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.bounded_tanh import tanh
from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.symmetric_kernels import Packed, aligned, eliminate, factorize, solve, weighted_square
from ghostpoint.numerics.tile_kernels import COLUMNS, ROWS, add_row, dot, not_inlined, set_row

__all__ = [
    "CHORDS",
    "DEAR",
    "FALL",
    "LARGEST",
    "NEARLY",
    "NOT_FINITE",
    "SMALL_SLOPE",
    "SMALL_SPEED",
    "STUCK",
    "UNFINISHED",
    "Scratch",
    "descend",
]

Floats = NDArray[np.float64]

#: a start is handed on to the polish when |F|, or |J^T F| / |F|, has fallen to these
SMALL_SPEED, SMALL_SLOPE = 1e-7, 1e-7
NEARLY = 1e-3
LARGEST = 1e12  # damping beyond which no step helps
#: coordinates from which a factorisation is most of a step; further steps by the same factor, at
#: most, and what the gradient must fall to by one for the next
DEAR, CHORDS, FALL = 32, 6, 0.5
DONE, NOT_FINITE, STUCK, UNFINISHED = range(4)  # what `descend` returns


class Scratch(NamedTuple):
    """What a descent works in, one for each thread; zeros at first."""

    matrices: Floats  # the Hessian, J^T J, a factor
    vectors: Floats
    panel: Floats
    corner: Floats
    scaled: Floats

    @classmethod
    def of(cls, packed: Packed) -> Scratch:
        """For this network."""
        height, width = packed.rows.shape
        shapes = (3, height, width), (11, width), (ROWS, width), (2, ROWS, ROWS), (height * COLUMNS,)
        return cls(*(aligned(shape) for shape in shapes))


@compiled
def _flow(W: Any, c: Any, x: Any, rates: Any, velocity: Any) -> float:
    """Fill ``tanh(W x + c)`` and F; |F|**2."""
    not_inlined()
    width = x.size
    for k in range(c.size):
        rates[k] = tanh(dot(W, k * width, x, 0, width) + c[k])
    set_row(velocity, 0, rates, 0, width, 1.0)
    add_row(velocity, 0, x, 0, width, -1.0)
    return dot(velocity, 0, velocity, 0, width)


@compiled
def _gradient(W: Any, size: int, rates: Any, velocity: Any, gain: Any, gradient: Any) -> float:
    """Fill ``1 - tanh**2`` and J^T F; |J^T F|."""
    not_inlined()
    width = gradient.size
    set_row(gradient, 0, velocity, 0, width, -1.0)
    for k in range(size):
        gain[k] = 1.0 - rates[k] * rates[k]
        add_row(gradient, 0, W, k * width, width, gain[k] * velocity[k])
    return math.sqrt(dot(gradient, 0, gradient, 0, width))


@compiled
def _weigh(rates: Any, velocity: Any, gain: Any, plain: int, weights: Any) -> None:
    """Fill the weights of the Hessian's square, or of J^T J."""
    not_inlined()
    for k in range(gain.size):
        weights[k] = gain[k] * (gain[k] - (0.0 if plain else 2.0 * velocity[k] * rates[k]))


@compiled
def _step_to(U: Any, size: int, x: Any, step: Any, trial: Any) -> None:
    """Fill the step that the factor gives, and where it leads to."""
    solve(U, size, step)
    set_row(trial, 0, x, 0, x.size, 1.0)
    add_row(trial, 0, step, 0, x.size, 1.0)


@compiled
def _take(vectors: Any, width: int) -> None:
    """Make the trial's state, velocity and rates the present ones."""
    for k in range(3):
        set_row(vectors, k * width, vectors, (3 + k) * width, width, 1.0)


@compiled
def descend(packed: Any, c: Any, max_steps: int, scratch: Any, end: Any) -> tuple[int, float, float]:
    """Move ``end`` (N,) from a start to where the descent ends; how that went, |F| and
    ``|J^T F| / |F|`` there.
    """
    W, panels = packed
    matrices, vectors, panel, corner, scaled = scratch
    size, width, U = c.size, W.shape[1], matrices[2]
    x, velocity, rates, trial, there, new_rates = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4], vectors[5]
    gradient, step, gain, weights = vectors[6], vectors[7], vectors[8], vectors[9]
    for k in range(size):
        x[k] = end[k]
    damping, growth, speed, slope = 1e-3, 2.0, math.inf, math.inf
    square = _flow(W, c, x, rates, velocity)
    status = UNFINISHED if math.isfinite(square) else NOT_FINITE
    fresh = -1  # the last of the two matrices that is that of the present x
    taken = 0
    while status == UNFINISHED and taken < max_steps:
        taken += 1
        if fresh < 0:
            # a start whose step was refused tries a shorter one with the same matrices
            speed = math.sqrt(square)
            slope = _gradient(W, size, rates, velocity, gain, gradient) / max(speed, 1e-300)
        if speed <= SMALL_SPEED:
            status = DONE
            break
        after, gains = math.inf, 0.0
        for plain in range(2):
            if fresh < plain:
                _weigh(rates, velocity, gain, plain, weights)
                weighted_square(W, panels, size, weights, gain, scaled, matrices[plain])
                fresh = plain
            if not factorize(matrices[plain], size, damping, gradient, U, panel, corner):
                continue
            # near a saddle of q the slope is small too, but the Hessian is not positive definite
            if slope <= SMALL_SLOPE and plain == 0:
                status = DONE
                break
            _step_to(U, size, x, step, trial)
            after = _flow(W, c, trial, new_rates, there)
            # twice the model's decrease -g.d - d.H d / 2, with (H + mu) d = -g
            gains = damping * dot(step, 0, step, 0, width) - dot(gradient, 0, step, 0, width)
            break
        if status == DONE:
            break
        if after < square:
            quality = (square - after) / max(gains, 1e-300)
            shrink = 0.1 if quality > 0.75 else max(0.1, 1.0 - (2.0 * max(quality, 0.0) - 1.0) ** 3)
            damping, growth, square, fresh = max(damping * shrink, 1e-12), 2.0, after, -1
            _take(vectors, width)
            before = math.inf
            for _ in range(CHORDS if size >= DEAR else 0):
                norm = _gradient(W, size, rates, velocity, gain, gradient)
                if not SMALL_SLOPE * math.sqrt(square) < norm <= FALL * before:
                    break
                eliminate(U, size, gradient, vectors[10])
                _step_to(U, size, x, step, trial)
                after, before = _flow(W, c, trial, new_rates, there), norm
                if not after < square:
                    break
                square = after
                _take(vectors, width)
        else:
            damping, growth = max(damping * growth, 1e-6), 2.0 * growth
        if damping > LARGEST:
            # near a ghost q stops falling at rounding before its slope is below the tolerance: that
            # is for the polish
            status = STUCK if slope > NEARLY else DONE
    for k in range(size):
        end[k] = x[k]
    return status, speed, slope
