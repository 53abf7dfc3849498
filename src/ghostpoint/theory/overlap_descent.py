"""The training of low-rank networks on delayed activation in the scalar products of their weights:
which learning rates lose what was learned, without training the networks.

:mod:`ghostpoint.theory.plateau` has the gradient flow of the same overlaps. Here are the finite
steps of gradient descent, for any rank K. With units of gain h (1 for linear units, ``1 / sqrt(1 +
2 q)`` for a mean squared drive q, see docs/plateau.md) the latents move by ::

    kappa <- (1 - alpha) kappa + alpha h (P kappa + beta),   P_kj = n_k.m_j,   beta_k = n_k.b

so every derivative of the loss by a weight vector is a sum of weight vectors and x0, and an update
``w_i <- sum_j A_ij w_j`` takes their Gram matrix G to ``A G A^T``, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, shape
from ghostpoint.errors import InputError
from ghostpoint.theory.overlaps import Overlaps

Array = NDArray[np.float64]
#: updates at each rate after the brink
UPDATES = 6_000
#: logit by which an update moves the readout before the brink, and updates at most until then
ADVANCE, APPROACH = 0.02, 100_000
#: epochs for which a lost network must have been at chance
AT_CHANCE = 50
#: accuracy from which a network counts as having learned, chance being 0.5
LEARNED = 0.75


@dataclass(frozen=True)
class OverlapDescent:
    """What gradient descent of the overlaps of R networks does at each of P rates.

    Attributes
    ----------
    rates : (P,) array
    learned, lost : (S, P, R) array of bool
        From each of S starts. Learned: accuracy above 0.75 at some epoch. Lost: learned, and at
        chance in the last 50 epochs and more.
    reached : (R,) array of bool
        Whether the readout came to its first crossing, from where the rates are tried.
    brink : (S, R, V, V) array
        The Gram matrix of ``m_1 .. m_K, n_1 .. n_K, b, x0`` there.
    """

    rates: Array
    learned: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    reached: NDArray[np.bool_]
    brink: Array

    @classmethod
    def of(
        cls,
        models: Any,
        task: Any,
        rates: ArrayLike,
        *,
        updates: int = UPDATES,
        starts: int = 3,
        linear: bool = False,
    ) -> OverlapDescent:
        """Bring the overlaps to the brink of the first crossing, then descend at each rate.

        On the plateau training follows the gradient flow whatever the rate, so every rate starts
        from the same brink, which the readout approaches by 0.02 logit an update. Whether a rate
        then loses the network is chaotic. So each rate is tried from several starts, which differ
        by the size of those updates, 0.01 to 0.02 logit.

        Parameters
        ----------
        models : LowRankRNN
            R networks of any rank with the readout ``sigmoid(c (kappa_1 - kappa*))``.
        task : DelayedActivation
        rates : (P,) array
            Positive and ascending.
        updates : int
            At each rate, more than 50.
        starts : int
            S.
        linear : bool
            Leave the saturation of the units out.

        Raises
        ------
        ValueError
            For other networks and tasks, and for arguments out of range.

        Examples
        --------
        >>> import numpy as np
        >>> import ghostpoint as gp
        >>> models, task = gp.LowRankRNN.initialize(100, range(3)), gp.tasks.DelayedActivation(60)
        >>> found = gp.theory.OverlapDescent.of(models, task, 10 ** np.arange(-2.5, -0.4, 0.2))
        >>> found.critical_rate.shape
        (3,)
        """
        from ghostpoint.theory.overlap_descent_kernels import descend_all

        grid = shape("rates", finite_array("rates", rates), ("P",))
        if not grid.size or (grid <= 0).any() or (np.diff(grid) <= 0).any():
            raise InputError(f"rates must be positive and ascending, at least one, got {grid}")
        updates = integer("updates", updates, at_least=AT_CHANCE + 1)
        starts = integer("starts", starts, at_least=1)
        overlaps = Overlaps.of(models, task, linear=linear, state_readout=False)
        grams, networks = overlaps.grams, overlaps.settings
        count, latents = len(grams), models.rank
        learned, last = np.full((2, starts, len(grid), count), -1)
        reached, brink = np.full((starts, count), -1), np.empty((starts, *grams.shape))
        for start in range(starts):
            # other steps on the way lead to other places near the same brink
            move = ADVANCE * (1 - start / (2 * starts)) / float(np.max(models.confidence))
            descend_all(
                grams, networks, grid, updates, LEARNED, task.delay_steps, latents, move, APPROACH,
                learned[start], last[start], reached[start], brink[start],
            )  # fmt: skip
        lost = (learned >= 0) & (last < updates - AT_CHANCE)
        return cls(grid, learned >= 0, lost, np.asarray((reached >= 0).all(axis=0)), brink)

    @property
    def critical_rate(self) -> Array:
        """:func:`critical_rate` of the descents from all starts together, (R,)."""
        starts, _, networks = self.lost.shape
        learned, lost = (np.swapaxes(each, 0, 1).reshape(-1, networks) for each in (self.learned, self.lost))
        return critical_rate(np.repeat(self.rates, starts), learned, lost)


def critical_rate(rates: ArrayLike, learned: ArrayLike, lost: ArrayLike) -> Array:
    """The rate that best parts those that keep a network from those that lose it, (R,).

    Whether one rate loses a network is chaotic: near the critical rate kept and lost alternate, and
    the lowest rate that loses it falls as the grid is refined. Here the critical rate is the place
    between two rates of the grid below which the fewest rates lose the network and above which the
    fewest keep it, as a geometric mean; the mean logarithm where several places are equally good.
    Rates at which the network does not learn say nothing.

    Parameters
    ----------
    rates : (P,) array
        Ascending, best by one factor.
    learned, lost : (P, R) array of bool

    Returns
    -------
    (R,) array
        NaN for a network that no rate loses, or that every rate at which it learns loses.
    """
    grid, gone = np.asarray(rates, np.float64), np.asarray(lost, bool)
    kept = np.asarray(learned, bool) & ~gone
    none = np.zeros((1, gone.shape[1]), int)
    # errors of a place after the first p rates: lost below it, kept above it
    below = np.concatenate([none, np.cumsum(gone, axis=0)])
    above = kept.sum(axis=0) - np.concatenate([none, np.cumsum(kept, axis=0)])
    best = below + above == (below + above).min(axis=0)
    place = (best * np.arange(len(grid) + 1)[:, None]).sum(axis=0) / best.sum(axis=0)
    rate = np.exp(np.interp(place - 0.5, np.arange(len(grid)), np.log(grid)))
    return np.where(gone.any(axis=0) & kept.any(axis=0), rate, np.nan)
