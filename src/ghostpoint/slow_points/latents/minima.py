"""Minima of the speed of a few latents: descents from many starts at once, then Newton's method on a ghost's equations.

The latents are orthonormal, ``z = Q^T x`` with the columns of Q spanning those of n, and ``q(z) = |dz/dt|**2 / 2``. The
ghosts of networks of rank two and three that `find_slow_points` and `latent_ghosts` list both come from here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostpoint.slow_points.fields import TanhField
from ghostpoint.slow_points.ghosts import GhostSolution, is_minimum, solve_ghost
from ghostpoint.slow_points.latents.rank_three_records import LatentZeros

__all__ = ["Energy", "default_starts", "speed_minima"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BLOCK = 200  # starts that descend together: their arrays stay in the cache
STEPS = 200  # of a descent, at most
SLOPE = 1e-9  # a descent is over where |J^T f| is below this times the norm of q's Hessian and 1 + |z|
SAME = 1e-6  # points this close, times 1 + |z|, are one


class Energy:
    """``q = |f|**2 / 2`` of f(z) = -z + A tanh(B z + c), with its derivatives at many points at once."""

    def __init__(self, field: TanhField):
        assert field.A is not None
        self.field, self.A, self.size = field, field.A, field.size
        # products of weights, so that each derivative is one product of matrices
        self.slopes = (self.A.T[:, :, None] * field.B[:, None, :]).reshape(len(field.B), -1)
        self.bends = (field.B[:, :, None] * field.B[:, None, :]).reshape(len(field.B), -1)

    def __call__(self, z: Floats) -> tuple[Floats, Floats, Floats]:
        """f (S, L), the gradient ``J^T f`` of q (S, L), and its Hessian ``J^T J + sum_k f_k D2f_k`` (S, L, L)."""
        t = self.field.rates(z)
        gain = 1 - t * t
        f = t @ self.A.T - z
        J = (gain @ self.slopes).reshape(-1, self.size, self.size) - np.eye(self.size)
        second = (-2 * t * gain * (f @ self.A)) @ self.bends
        gradient = np.einsum("skj,sk->sj", J, f)
        return f, gradient, np.einsum("skj,ski->sji", J, J) + second.reshape(J.shape)


def default_starts(rank: int) -> int:
    """Starts where a caller names no number: 400 for rank two, 1600 for rank three.

    Of the 113 ghosts that 6000 starts find in 45 random networks of rank three, 400 starts miss five and 1600 none.
    """
    return 400 if rank <= 2 else 1600


def speed_minima(field: TanhField, root: Floats, zeros: LatentZeros, starts: int, seed: int) -> list[GhostSolution]:
    """Ghosts of the latents: local minima of q that are not zeros, in the order of their first coordinate.

    A search without proof: a minimum whose basin none of the starts is in is missed.

    Parameters
    ----------
    field : TanhField
        In orthonormal latents, see `fields.orthonormal_field`.
    root : (L, K)
        ``kappa = root^T z``.
    zeros : LatentZeros
        Of the same network: what lies at one of them, or in a box that is undecided, is no ghost.
    starts : int
        Half of them uniform in the box that holds every ``Q^T x`` with ``|x_i| <= 1``, half the images ``Q^T tanh(m
        kappa + b)`` of such points, where slow points are more likely.
    seed : int
        Of the starts.
    """
    assert field.A is not None
    generator = np.random.default_rng(seed)
    box = np.abs(field.A).sum(axis=1)
    z = generator.uniform(-box, box, (starts, field.size))
    z[::2] = field.rates(z[::2]) @ field.A.T
    energy = Energy(field)
    ends = np.concatenate([_descend(energy, z[i : i + BLOCK]) for i in range(0, starts, BLOCK)])
    ends = ends[~_at_a_zero(field, ends, root, zeros)]
    f, gradient, _ = energy(ends)
    # where q is stationary f is the left null vector; J may have others, so it is not left to an SVD
    clear = np.linalg.norm(gradient, axis=1) <= 1e-6 * np.linalg.norm(f, axis=1)
    found = []
    for i in _first_of_each(ends):
        ghost = solve_ghost(field, None, ends[i], f[i] if clear[i] else None)
        if ghost.settled and is_minimum(field, None, ghost):
            found.append(ghost)
    places = np.array([ghost.kappa for ghost in found]).reshape(len(found), field.size)
    at_zero = _at_a_zero(field, places, root, zeros)
    return [found[i] for i in _first_of_each(places) if not at_zero[i]]


def _descend(energy: Energy, z: Floats) -> Floats:
    """Damped Newton steps on q, all starts at once, each with a damping of its own and until it is stationary."""
    ends = np.array(z)
    place = np.arange(len(z))
    damping = np.full(len(z), 1e-3)
    f, gradient, hessian = energy(z)
    for _ in range(STEPS):
        size = np.linalg.norm(hessian, axis=(1, 2)) + 1e-300
        lowest = np.linalg.eigvalsh(hessian)[:, 0]
        # only where q bends upwards: near a saddle of q the gradient is small too
        stationary = np.linalg.norm(gradient, axis=1) <= SLOPE * size * (1 + np.abs(z).max(axis=1))
        ends[place] = z
        left = ~(stationary & (lowest > 0))
        if not left.any():
            break
        place, z, damping, size, lowest = (values[left] for values in (place, z, damping, size, lowest))
        f, gradient, hessian = f[left], gradient[left], hessian[left]
        # (H + shift) d = -J^T f, the shift such that H + shift is positive definite
        shift = np.where(lowest <= 0, 1e-3 * size - lowest, 0.0) + damping * size
        step = np.linalg.solve(hessian + shift[:, None, None] * np.eye(energy.size), gradient[..., None])[..., 0]
        trial = z - step
        new = energy(trial)
        # a step is taken where it lowers q
        better = np.sum(new[0] ** 2, axis=1) <= np.sum(f**2, axis=1)
        z = np.where(better[:, None], trial, z)
        f, gradient = (np.where(better[:, None], a, c) for a, c in zip(new[:2], (f, gradient), strict=True))
        hessian = np.where(better[:, None, None], new[2], hessian)
        damping = np.clip(np.where(better, 0.1 * damping, 4.0 * damping + 1e-8), 1e-14, 1e8)
    return ends


def _at_a_zero(field: TanhField, z: Floats, root: Floats, zeros: LatentZeros) -> Bools:
    """At a proven zero, with a speed that Newton's method would remove, or in an undecided box."""
    kappa = z @ root
    slow = np.linalg.norm(field.flow(z), axis=1) <= 1e-6
    near = np.zeros(len(z), dtype=bool)
    for zero, radius in zip(zeros.position, zeros.radius, strict=True):
        cube = max(radius, 1e-7 * (1 + float(np.abs(zero).max())))
        near |= slow & (np.abs(kappa - zero).max(axis=1) <= cube)
    for low, high in zeros.undecided:
        near |= np.all((kappa >= low) & (kappa <= high), axis=1)
    return near


def _first_of_each(points: Floats) -> list[int]:
    """Indices of one point of each cluster, in the order of the first coordinate."""
    chosen: list[int] = []
    for i in np.lexsort(points.T[::-1]):
        apart = SAME * (1 + float(np.abs(points[i]).max()))
        if all(np.abs(points[i] - points[j]).max() > apart for j in chosen):
            chosen.append(int(i))
    return chosen
