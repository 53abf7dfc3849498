"""Records of zeros and ghosts of R latent flows of rank one, in ragged rows padded with NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint import checks
from ghostpoint.numerics.arrays import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class FlowZeros:
    """Zeros of R latent flows; P is the largest count. Unused places hold NaN, or False in
    ``stable``.

    Attributes
    ----------
    count : (R,)
        Zeros that are proven to exist.
    position : (R, P)
        In units of kappa, ascending.
    radius : (R, P)
        The exact zero is proven to lie within this distance of ``position``.
    slope : (R, P)
        f', in 1/tau.
    stable : (R, P)
        f' < 0 at the exact zero, proven. This is stability of the *flow*; `stable_under_map` has
        that of the Euler map.
    n_undecided : (R,), undecided : (R, U)
        How many stretches of kappa could hold further zeros, and their middles.
    lower, upper : (R,)
        The interval that was searched.
    whole_line : (R,)
        Whether every zero there can be lies in it.
    """

    count: Ints
    position: Floats
    radius: Floats
    slope: Floats
    stable: Bools
    n_undecided: Ints
    undecided: Floats
    lower: Floats
    upper: Floats
    whole_line: Bools

    @property
    def complete(self) -> Bools:
        """(R,) True where nothing is undecided: exactly ``count`` zeros in the interval
        searched.
        """
        return np.asarray(self.n_undecided == 0)

    def stable_under_map(self, alpha: float) -> Bools:
        """(R, P) ``|1 + alpha f'| < 1``: stable under ``kappa <- kappa + alpha f(kappa)``, alpha =
        dt/tau.

        Stricter than ``stable``: the map also loses a zero with ``f' < -2/alpha``. From the
        computed slope, so not proven within rounding of either boundary.
        """
        step = checks.number("alpha", alpha, above=0.0)
        return np.asarray(np.abs(1.0 + step * self.slope) < 1.0)

    def to_dataset(self) -> xr.Dataset:
        """The record over dimensions ``network``, ``zero`` and ``stretch`` (undecided ones)."""
        return _dataset(self, "zero", ("position", "radius", "slope", "stable"), whole_line=self.whole_line)


@dataclass(frozen=True, eq=False)
class FlowGhosts:
    """Ghosts of R latent flows, laid out as in `FlowZeros`; P is the largest count, unused places
    hold NaN.

    Near a ghost ``tau dy/dt = r + a y**2`` with y = kappa - position and r a > 0. An undecided
    stretch is one where f' may have a double zero, or one with an extremum at which the sign of f
    is unknown (a fold within rounding).

    Attributes
    ----------
    count, position, n_undecided, undecided, lower, upper
        As in `FlowZeros`.
    radius : (R, P)
        Bound of the distance to the exact extremum of f.
    height : (R, P)
        r, the value of f.
    curvature : (R, P)
        a, half of f''.
    """

    count: Ints
    position: Floats
    radius: Floats
    height: Floats
    curvature: Floats
    n_undecided: Ints
    undecided: Floats
    lower: Floats
    upper: Floats

    @property
    def complete(self) -> Bools:
        """(R,) True where nothing is undecided: exactly ``count`` ghosts in the interval
        searched.
        """
        return np.asarray(self.n_undecided == 0)

    @property
    def escape_time(self) -> Floats:
        """(R, P) ``pi / sqrt(r a)``, in units of tau: the passage of the normal form from -inf to
        inf.
        """
        return np.asarray(np.pi / np.sqrt(self.height * self.curvature))

    def to_dataset(self) -> xr.Dataset:
        """The record, with ``escape_time``, over dimensions ``network``, ``ghost`` and
        ``stretch``.
        """
        return _dataset(self, "ghost", ("position", "radius", "height", "curvature", "escape_time"))


def _dataset(record: FlowZeros | FlowGhosts, dim: str, names: tuple[str, ...], **extra: Any) -> xr.Dataset:
    names_of_rows = ("count", "n_undecided", "complete", "lower", "upper")
    per_network = {name: getattr(record, name) for name in names_of_rows} | extra
    variables: dict[str, Any] = {name: ("network", value) for name, value in per_network.items()}
    variables |= {name: (("network", dim), getattr(record, name)) for name in names}
    return xr.Dataset(variables | {"undecided": (("network", "stretch"), record.undecided)})
