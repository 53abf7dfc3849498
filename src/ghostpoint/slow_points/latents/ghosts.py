"""Ghosts of a network of rank one, two or three: minima of the speed of its orthonormal latents
that are not zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import network_field
from ghostpoint.slow_points.latents.known_points import default_starts, known_points, latent_starts
from ghostpoint.slow_points.latents.latent_records import LatentGhosts
from ghostpoint.slow_points.latents.rank_one import flow_ghosts
from ghostpoint.slow_points.latents.zeros_in_box import one_low_rank, whole_box
from ghostpoint.slow_points.search.candidates import descended
from ghostpoint.slow_points.search.descent import hessian

STEPS = 200  # of a descent, at most


def latent_speed(model: Any, kappa: ArrayLike, *, inputs: ArrayLike | None = None) -> Floats:
    """``|dz/dt|`` at ``kappa = n^T x``, the speed whose minima the ghosts of a low-rank network
    are.

    ``z = Q^T x`` for orthonormal columns of Q that span those of n = Q R, so ``kappa = R^T z`` and
    ``|dz/dt| = |R^-T f(kappa)|``, f the flow of kappa (Dinc et al., arXiv:2501.02378, eq. 4). It is
    the least speed |dx/dt| of all states x with this kappa. It does not depend on how W = m n^T is
    split; |f| does.

    Parameters
    ----------
    model : LowRankRNN
        One network, of any rank K.
    kappa : (..., K)
    inputs : (I,), optional
        A constant input u.

    Returns
    -------
    array (...), in 1/tau

    Raises
    ------
    ValueError
        For more than one network, and values of kappa or inputs that are not finite or do not fit.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> model = gp.LowRankRNN(m=[2.0], n=[1.5], b=[1.4])
    >>> gp.slow_points.latents.latent_speed(model, [[-1.0], [0.0], [1.0]]).round(3)
    array([0.13 , 0.885, 0.331])
    """
    given = one_low_rank(model, inputs)
    places = checks.finite_array("kappa", kappa)
    if places.ndim < 1 or places.shape[-1] != model.rank:
        raise InputError(f"kappa must have shape (..., {model.rank}), got {places.shape}")
    n = np.asarray(model.n[0], dtype=np.float64)
    flow = model.flow(places[..., None, :], given)[..., 0, :]
    # |R^-T f| = |Q R^-T f|, and Q R^-T is the pseudoinverse of n^T
    return np.asarray(np.linalg.norm(flow @ np.linalg.pinv(n), axis=-1))


def latent_ghosts(
    model: Any, *, inputs: ArrayLike | None = None, starts: int | None = None, seed: int = 0
) -> LatentGhosts:
    """Local minima of ``q(z) = |dz/dt|**2 / 2`` with dz/dt not 0, z the latents in an orthonormal
    basis.

    ``z = Q^T x``, n = Q R with orthonormal columns of Q, and
    ``dz/dt = -z + Q^T tanh(m R^T z + b)``. These ghosts are those of the state: each is a minimum
    of ``|dx/dt|`` at ``x = tanh(m kappa + b) - Q dz/dt``, of the same height, and there are no
    others (docs/slow_points.md). So they do not depend on how W = m n^T is split.
    `find_slow_points` lists the same ones, with proofs and normal forms.

    For rank one all of them, proven, with the heights of `flow_ghosts`: their ``speed`` is that of
    kappa, ``|f(kappa)| = |n| |dz/dt|``, which has the same minima. For rank two and three a search
    without proof: descents from ``starts`` points, by Newton's method on q with a damping that only
    accepts lower q. A minimum whose basin none of them hits is missed. What ends in a proven zero
    of the flow (`latent_zeros`) is left out.

    Parameters
    ----------
    model : LowRankRNN
        One network of rank 1, 2 or 3.
    inputs : (I,), optional
        A constant input u.
    starts : int, optional
        By default 400 for rank two and 1600 for rank three. Half of them uniform in the box of z,
        half the images ``Q^T tanh(m kappa + b)`` of such points, where slow points are more likely.
    seed : int
        Of the starts.

    Raises
    ------
    ValueError
        As `latent_zeros`.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> model = gp.LowRankRNN(m=[2.0], n=[1.5], b=[1.4])
    >>> ghosts = gp.slow_points.latents.latent_ghosts(model)
    >>> ghosts.count, ghosts.complete
    (1, True)
    """
    count = None if starts is None else checks.integer("starts", starts, at_least=1)
    generator = np.random.default_rng(checks.integer("seed", seed, at_least=0))
    one_low_rank(model, inputs)
    network = network_field(model, inputs)
    m, n = (np.asarray(part[0], dtype=np.float64) for part in (model.m, model.n))
    half = whole_box(n)
    if model.rank > 3:
        raise InputError(f"model must have rank 1, 2 or 3, got {model.rank}")
    if model.rank == 1:
        assert network.tanh is not None
        return _proven(m[:, 0], n[:, 0], network.tanh.c, half)
    count = default_starts(model.rank) if count is None else count
    # descents of q from many starts; ends at proven zeros are left out
    known = known_points(model, network, inputs)
    points = latent_starts(network, count, generator)
    found, _ = descended(network.search, network, points, STEPS, known.zeros, not known.zeros_missing)
    kappa = np.array([c.kappa for c in found if c.ghost is not None]).reshape(-1, network.exact.size)
    speed = np.array([c.ghost.speed for c in found if c.ghost is not None])
    z = network.to_search(kappa)
    position = kappa if network.low_rank else kappa @ n
    # what lies in a box that may hold further zeros is no ghost for sure
    doubtful = [np.all((position >= low) & (position <= high), axis=1) for low, high in known.undecided]
    order = np.lexsort(position.T[::-1])
    order = order[~np.any(doubtful, axis=0)[order]] if doubtful else order
    return LatentGhosts(
        position=position[order],
        speed=speed[order],
        curvature=np.asarray(np.linalg.eigvalsh(hessian(network.search, z)), dtype=np.float64)[order],
        starts=count,
        lower=-half,
        upper=half,
        complete=False,
    )


def _proven(m: Floats, n: Floats, b: Floats, half: Floats) -> LatentGhosts:
    """Those of rank one: ``f = |n| dz/dt`` and ``kappa = |n| z``, so q's second derivative by z is
    ``f f''``.
    """
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
