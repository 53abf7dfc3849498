"""Ghosts in the latent space of a network of rank one, two or three: minima of the latent speed that are not zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint import checks
from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points.latent_box import latent_zeros, whole_box
from ghostpoint.slow_points.latent_box_records import LatentGhosts, LatentZeros
from ghostpoint.slow_points.latent_flow import flow_ghosts

__all__ = ["LatentGhosts", "latent_ghosts"]

Floats = NDArray[np.float64]

_STEPS = 200  # of a descent
_SAME = 1e-6  # descents that end this close, relative to the largest coordinate, ended in one minimum


def latent_ghosts(
    model: LowRankRNN, *, inputs: ArrayLike | None = None, starts: int = 400, seed: int = 0
) -> LatentGhosts:
    """Local minima of ``q(kappa) = |f(kappa)|**2 / 2`` with f not 0, ``J^T f = 0`` (theory, section 2).

    For rank one all of them, proven (`flow_ghosts`). For rank two and three a search without proof: descents from
    ``starts`` points, by Newton's method on q with a damping that only accepts lower q. A minimum whose basin none
    of them hits is missed. What ends in a proven zero of f (`latent_zeros`) is left out.

    q is measured in the latents, here |dkappa/dt|. In the space of the N units, where a state relaxes to ``x = tanh(m
    kappa + b)`` plus what lies outside the span, the same flow has another norm, so the places of the ghosts differ
    between the two, and also change with a change of basis of the latents. Zeros do not.

    Parameters
    ----------
    model : LowRankRNN
        One network of rank 1, 2 or 3.
    inputs : (I,), optional
        A constant input u.
    starts : int
        Half of them uniform in the box, half the images ``n^T tanh(m kappa + b)`` of such points, where slow
        points are more likely.
    seed : int
        Of the starts.

    Raises
    ------
    ValueError
        As `latent_zeros`.
    """
    checks.integer("starts", starts, at_least=1)
    generator = np.random.default_rng(checks.integer("seed", seed, at_least=0))
    zeros = latent_zeros(model, inputs=inputs)
    m, n = (np.asarray(part[0], dtype=np.float64) for part in (model.m, model.n))
    given = None if inputs is None else np.asarray(inputs, dtype=np.float64)
    b = np.asarray(model.drive(np.zeros((1, model.rank)), given)[0], dtype=np.float64)
    half = whole_box(n)
    if model.rank == 1:
        return _proven(m[:, 0], n[:, 0], b, half)
    points = generator.uniform(-half, half, (starts, model.rank))
    points[::2] = np.tanh(points[::2] @ m.T + b) @ n
    ends = _descend(points, m, n, b)
    f, gradient, curvature = _speed(ends, m, n, b)
    speed = np.linalg.norm(f, axis=1)
    values = np.linalg.eigvalsh(curvature)
    scale = np.linalg.norm(curvature, axis=(1, 2))
    settled = np.linalg.norm(gradient, axis=1) <= 1e-9 * scale * (1e-3 + np.abs(ends).max(axis=1))
    inside = np.all(np.abs(ends) <= half, axis=1)
    keep = settled & inside & (values[:, 0] > 1e-9 * scale) & ~_near_zero(ends, speed, zeros)
    chosen = _distinct(ends[keep])
    return LatentGhosts(
        position=ends[keep][chosen],
        speed=speed[keep][chosen],
        curvature=values[keep][chosen],
        starts=starts,
        lower=-half,
        upper=half,
        complete=False,
    )


def _proven(m: Floats, n: Floats, b: Floats, half: Floats) -> LatentGhosts:
    """Those of rank one; the second derivative of q at an extremum of f is ``f f''``."""
    found = flow_ghosts(m, n, b)
    height, bend = found.height[0], 2.0 * found.curvature[0]
    return LatentGhosts(
        position=found.position[0][:, None],
        speed=np.abs(height),
        curvature=(height * bend)[:, None],
        starts=0,
        lower=-half,
        upper=half,
        complete=bool(found.complete[0]),
    )


def _speed(kappa: Floats, m: Floats, n: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """f (S, K), the gradient of q, ``J^T f``, and its Hessian, ``J^T J + sum_k f_k D2 f_k`` (S, K, K)."""
    t = np.tanh(kappa @ m.T + b)
    s = 1 - t * t
    f = t @ n - kappa
    rank = kappa.shape[1]
    pairs = m[:, :, None] * m[:, None, :]
    jacobian = (s @ (n[:, :, None] * m[:, None, :]).reshape(len(m), -1)).reshape(-1, rank, rank) - np.eye(rank)
    second = ((-2 * t * s * (f @ n.T)) @ pairs.reshape(len(m), -1)).reshape(-1, rank, rank)
    gradient = np.einsum("skj,sk->sj", jacobian, f)
    return f, gradient, np.einsum("skj,ski->sji", jacobian, jacobian) + second


def _descend(kappa: Floats, m: Floats, n: Floats, b: Floats) -> Floats:
    """Damped Newton steps on q, all starts at once; each start has a damping of its own."""
    identity = np.eye(kappa.shape[1])
    f, gradient, hessian = _speed(kappa, m, n, b)
    damping = np.full(len(kappa), 1e-3)
    for _ in range(_STEPS):
        lowest = np.linalg.eigvalsh(hessian)[:, 0]
        size = np.linalg.norm(hessian, axis=(1, 2)) + 1e-300
        shift = np.maximum(0.0, 1e-3 * size - lowest) * (lowest <= 0) + damping * size
        step = np.linalg.solve(hessian + shift[:, None, None] * identity, gradient[..., None])[..., 0]
        trial = kappa - step
        new: tuple[Any, ...] = _speed(trial, m, n, b)
        better = np.sum(new[0] ** 2, axis=1) <= np.sum(f**2, axis=1)
        kappa = np.where(better[:, None], trial, kappa)
        f, gradient = (np.where(better[:, None], a, c) for a, c in zip(new[:2], (f, gradient), strict=True))
        hessian = np.where(better[:, None, None], new[2], hessian)
        damping = np.clip(np.where(better, 0.1 * damping, 4.0 * damping + 1e-8), 1e-14, 1e8)
    return kappa


def _near_zero(ends: Floats, speed: Floats, zeros: LatentZeros) -> NDArray[np.bool_]:
    """In the cube of a proven zero with a speed that Newton's method would remove, or in an undecided box."""
    near = np.zeros(len(ends), dtype=bool)
    for z, radius in zip(zeros.position, zeros.radius, strict=True):
        close = np.abs(ends - z).max(axis=1) <= np.maximum(radius, 1e-7 * (1 + np.abs(z).max()))
        near |= close & (speed <= 1e-6)
    for low, high in zeros.undecided:
        near |= np.all((ends >= low) & (ends <= high), axis=1)
    return near | (speed <= 1e-13 * (1 + np.abs(ends).max(axis=1)))


def _distinct(points: Floats) -> list[int]:
    """Indices of one point of each cluster, by first coordinate."""
    chosen: list[int] = []
    for i in np.lexsort(points.T[::-1]):
        apart = _SAME * (1e-3 + np.abs(points).max())
        if all(np.abs(points[i] - points[j]).max() > apart for j in chosen):
            chosen.append(int(i))
    return chosen
