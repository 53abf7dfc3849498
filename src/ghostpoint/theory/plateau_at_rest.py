"""The plateau of networks whose latents rest at every step: the methods "stationary" and "closed"
of :func:`ghostpoint.theory.plateau_length`.

With ``P_kj = n_k.m_j``, ``beta_k = n_k.b`` and ``rho = (1 - P)**-1`` linear units rest at
``kappa = rho beta``. Let psi be the first row of rho. The gradient of kappa_1 is

    by m_j: kappa_j v,   by b: v,   by n_k: psi_k (sum_j m_j kappa_j + b),   v = sum_k psi_k n_k

docs/plateau.md derives every equation here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad, solve_ivp
from scipy.special import expit

from ghostpoint.theory.overlaps import Overlaps

Array = NDArray[np.float64]
#: steps of the integration from the first latent at rest to the drop
STEPS = 100
#: level at which the first plateau is over and the second begins, and longest time on the second
BETWEEN, ENDLESS = 0.55, 1e4


def end(start: Overlaps, level: float) -> Array:
    """kappa_e, (R,): ``o**2 + (1 - o)**2 = level`` for ``o = sigmoid(c (kappa_e - kappa*))``."""
    output = (1 - np.sqrt(2 * level - 1)) / 2
    return start.threshold + np.log(output / (1 - output)) / start.confidence


def force(start: Overlaps, kappa: Array) -> Array:
    """``F = 2 c o (1 - o) (1 - 2 o)``, minus the derivative of the loss by a resting latent."""
    shape = (-1, *[1] * (kappa.ndim - 1))
    c, threshold = start.confidence.reshape(shape), start.threshold.reshape(shape)
    logit = c * (kappa - threshold)
    return np.asarray(2 * c * expit(logit) * expit(-logit) * -np.tanh(logit / 2))


def resolvent(products: Array) -> Array:
    """``(1 - P)**-1``, (R, K, K); NaN where there is none."""
    matrices, found = np.eye(products.shape[1]) - products, np.full(products.shape, np.nan)
    with np.errstate(all="ignore"):
        determinant = np.linalg.det(matrices)
    good = np.isfinite(determinant) & (determinant != 0)
    found[good] = np.linalg.inv(matrices[good])
    return found


def ascent(grams: Array, latents: int) -> tuple[Array, Array, Array]:
    """The latents at rest (R, K); ``A G`` (R, V, V), where the gradient of the first of them by
    vector i is ``sum_j A_ij vector_j``; and the squared norm of that gradient (R,).
    """
    m, n, b = slice(0, latents), slice(latents, 2 * latents), 2 * latents
    rest = resolvent(grams[:, n, m])
    kappa = (rest @ grams[:, n, b, None])[:, :, 0]
    first = rest[:, 0]
    matrix = np.zeros_like(grams)
    matrix[:, m, n] = kappa[:, :, None] * first[:, None]
    matrix[:, n, m] = matrix[:, m, n].swapaxes(1, 2)
    matrix[:, b, n] = matrix[:, n, b] = first
    moved = matrix @ grams
    return kappa, moved, np.asarray((moved * matrix).sum(axis=(1, 2)))


def applies(start: Overlaps) -> NDArray[np.bool_]:
    """Whether a resting latent is a model of each network: read by the confidence, all of m, n and
    b trained, and stable at the start.
    """
    m, n = slice(0, start.latents), slice(start.latents, 2 * start.latents)
    stable = np.linalg.eigvals(start.grams[:, n, m]).real.max(axis=1) < 1
    return np.asarray(stable & (start.settings[:, 7:] == 1).all(axis=1) & (not start.reads_state))


def closed(start: Overlaps, level: float) -> Array:
    """The plateau time by one integral, (R,):
    ``1 / |v|**2 integral_0^kappa_e dkappa / (F (1 + gamma kappa**2))``.

    ``gamma = 2 (|k|**2 |v|**2 + |psi|**2 |u|**2) / |v|**6``, with ``k_j`` the latents that b = v
    gives, and ``u = sum_j m_j k_j + v``, the drive of the units then.
    """
    latents, last = start.latents, end(start, level)
    m, n, b = slice(0, latents), slice(latents, 2 * latents), 2 * latents
    rest = resolvent(start.grams[:, n, m])
    first = rest[:, 0]
    rise = np.einsum("rkl,rlj,rj->rk", rest, start.grams[:, n, n], first)
    steepness = np.einsum("rk,rkl,rl->r", first, start.grams[:, n, n], first)
    drive = np.concatenate([rise, first], axis=1)
    squared = np.einsum("ri,rij,rj->r", drive, start.grams[:, :b, :b], drive)
    gamma = 2 * ((rise**2).sum(1) / steepness**2 + (first**2).sum(1) * squared / steepness**3)
    node, weight = np.polynomial.legendre.leggauss(100)
    kappa = last[:, None] * (node + 1) / 2
    integral = (weight / 2 / force(start, kappa) / (1 + gamma[:, None] * kappa**2)).sum(1) * last
    with np.errstate(all="ignore"):
        time = np.where(last > 0, integral / steepness, 0.0)
    return np.where(applies(start) & (start.grams[:, b, b] == 0), time, np.nan)


def stationary(start: Overlaps, level: float) -> Array:
    """The plateau time along the steepest ascent of kappa_1, from the first latent at rest to
    kappa_e, (R,); for a level of 0.5 and less that to :data:`BETWEEN`, and on by :func:`_valley`.
    """
    if level > 0.5:
        time, _ = _ascended(start, end(start, level), True)
        return np.where(applies(start), time, np.nan)
    time, _ = _ascended(start, end(start, BETWEEN), True)
    _, grams = _ascended(start, start.threshold, False)
    found = np.full(len(time), np.nan)
    for network in np.flatnonzero(applies(start) & (start.latents == 1)):
        found[network] = time[network] + _valley(grams[network], start.settings[network], level)
    return found


def _ascended(start: Overlaps, last: Array, timed: bool) -> tuple[Array, Array]:
    """Plateau time (R,), if it is wanted, and overlaps (R, V, V) where kappa_1 is ``last``, by
    Runge and Kutta's method in kappa_1.
    """
    gram = start.grams.copy()
    kappa = ascent(gram, start.latents)[0][:, 0]
    size, time = np.maximum(last - kappa, 0) / STEPS, np.zeros(len(kappa))

    def slope(gram: Array, kappa: Array) -> tuple[Array, Array]:
        """``dG/dkappa_1`` and ``ds/dkappa_1 = 1 / (F |grad kappa_1|**2)``."""
        _, moved, steepness = ascent(gram, start.latents)
        speed = 1 / (force(start, kappa) * steepness) if timed else steepness
        return (moved + moved.swapaxes(1, 2)) / steepness[:, None, None], speed

    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            half, whole = size[:, None, None] / 2, size[:, None, None]
            first, speed_1 = slope(gram, kappa)
            second, speed_2 = slope(gram + half * first, kappa + size / 2)
            third, speed_3 = slope(gram + half * second, kappa + size / 2)
            fourth, speed_4 = slope(gram + whole * third, kappa + size)
            gram = gram + whole / 6 * (first + 2 * second + 2 * third + fourth)
            time += size / 6 * (speed_1 + 2 * speed_2 + 2 * speed_3 + speed_4)
            kappa = kappa + size
    return time, gram


def _valley(gram: Array, settings: Array, level: float) -> float:
    """The time on the second plateau of rank one, where the latent rests at the threshold.

    The loss is ``1/2 - J / (alpha T D)`` there, with ``D = 1 - m.n`` and the gain of the approach,
    ``J = integral_0^(c (kappa* - n.x0)) (1/4 - o**2) dz / z``, ``o = 1 / (1 + e**z)``. Training
    ascends ``J / D`` as steeply as the surface ``kappa = kappa*`` allows.
    """
    alpha, delay, c, threshold = map(float, settings[:4])

    def gain_of(approach: float) -> float:
        return float(quad(lambda z: (0.25 - expit(-z) ** 2) / z, 0, c * approach)[0])

    def ascend(gram: Array) -> tuple[float, Array]:
        """J / D, and the matrix of its gradient along the surface as sums of m, n, b and x0."""
        rest, approach = 1 - gram[0, 1], threshold - gram[1, 3]
        gain, matrix, across = gain_of(approach), np.zeros((4, 4)), np.zeros((4, 4))
        matrix[0, 1] = matrix[1, 0] = gain / rest**2
        matrix[1, 3] = -(0.25 - expit(-c * approach) ** 2) / (approach * rest)  # dJ / d(n.x0)
        # the gradient of kappa, by which the surface is left
        across[0, 1] = across[1, 0] = threshold / rest
        across[1, 2] = across[2, 1] = 1 / rest
        share = ((matrix @ gram) * across).sum() / ((across @ gram) * across).sum()
        return gain / rest, matrix - share * across

    def reached(_: float, y: Array) -> float:
        return ascend(y.reshape(4, 4))[0] - (0.5 - level) * alpha * delay

    def slope(_: float, y: Array) -> Array:
        moved = ascend(y.reshape(4, 4))[1] @ y.reshape(4, 4)
        return np.asarray((moved + moved.T).ravel() / (alpha * delay))

    reached.terminal = True  # type: ignore[attr-defined]
    if threshold <= gram[1, 3]:
        return np.nan
    if reached(0.0, gram.ravel()) >= 0:
        return 0.0
    times = solve_ivp(slope, (0, ENDLESS), gram.ravel(), events=reached, rtol=1e-7, atol=1e-9).t_events[0]
    return float(times[0]) if len(times) else np.inf
