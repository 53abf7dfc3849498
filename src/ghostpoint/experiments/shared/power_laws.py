"""Power laws: the exponent of one, and the claim that a higher learning rate takes fewer epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import linregress

from ghostpoint.experiments.shared.base import Claim, judge


def power_law(x: ArrayLike, y: ArrayLike) -> Any:
    """Least squares fit of ``log y = p log x + const``: ``slope`` is the exponent p, ``stderr`` its
    standard error.
    """
    return linregress(np.log(x), np.log(y))


def epochs_claim(
    claim: Callable[..., Claim],
    rates: NDArray[Any],
    first: NDArray[Any],
    chosen: NDArray[Any],
    *,
    until: str,
    detail: Callable[[], str],
    none: str,
) -> Claim:
    """The claim that the epochs until a network does something fall as the learning rate rises.

    Parameters
    ----------
    claim : callable
        Makes the claim; it needs a rule, what was measured, and the verdict.
    rates : (rate,) array
    first : (rate, seed) array
        The epoch at which each network first does it.
    chosen : (rate, seed) array of bool
        The networks that are fitted.
    until, detail, none : str, callable, str
        What the network does; what is said beside the exponent; and in place of it below three
        rates.
    """
    x, y = np.broadcast_to(rates[:, None], first.shape)[chosen], np.maximum(first[chosen], 1)
    slope, error, measured = np.nan, np.nan, none
    if len(np.unique(x)) > 2:
        fit = power_law(x, y)
        slope, error = float(fit.slope), float(fit.stderr)
        measured = (
            f"epochs until a network {until} scale as rate^({slope:.3f} ± {error:.3f}) over {len(x)} networks{detail()}"
        )
    return claim(
        rule=f"The exponent of the epochs until a network {until}, fitted over at least three rates, is below -0.7 by "
        "two standard errors.",
        measured=measured,
        verdict=judge(bool(slope + 2 * error < -0.7)),
    )
