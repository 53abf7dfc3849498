"""Records of what the searches find in the latent space of one low-rank network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint import checks
from ghostpoint.numerics.arrays import Bools, Floats

Complexes = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class LatentZeros:
    """Zeros of the latent flow of one network of rank K, in the order of their first coordinate.

    Attributes
    ----------
    position : (P, K)
        In units of kappa.
    radius : (P,)
        Half-width of a cube around ``position`` that is proven to hold exactly one zero.
    isolation : (P,)
        Half-width of the largest such cube that was proven: no other zero lies in it.
    eigenvalues : (P, K)
        Of the Jacobian at ``position``, in 1/tau, by descending real part.
    stable, stability_proven : (P,)
        Whether all of them have negative real parts at the exact zero, and whether that is proven
        or as computed.
    undecided : (U, 2, K), reason : (U,)
        Lower and upper ends of boxes that may hold further zeros, and why: "degenerate" (a zero of
        higher order, or too near one), "limit" (a zero within rounding of the limits), "budget"
        (the search was cut short).
    lower, upper : (K,)
        The box that was searched.
    whole_space : bool
        Whether every zero there can be lies in it.
    boxes_examined : int
        In float64 and in extended precision together.
    """

    position: Floats
    radius: Floats
    isolation: Floats
    eigenvalues: Complexes
    stable: Bools
    stability_proven: Bools
    undecided: Floats
    reason: tuple[str, ...]
    lower: Floats
    upper: Floats
    whole_space: bool
    boxes_examined: int

    @property
    def count(self) -> int:
        """Zeros proven to exist."""
        return len(self.position)

    @property
    def n_undecided(self) -> int:
        """Undecided boxes."""
        return len(self.undecided)

    @property
    def complete(self) -> bool:
        """True where nothing is undecided: exactly ``count`` zeros in the box searched."""
        return self.n_undecided == 0

    def stable_under_map(self, alpha: float) -> Bools:
        """(P,) ``|1 + alpha lambda| < 1`` for every eigenvalue: stable under
        ``kappa <- kappa + alpha f(kappa)``.

        Stricter than ``stable``: the map also loses a zero where ``1 + alpha lambda`` leaves the
        unit circle by -1 or by a complex pair. From the computed eigenvalues, so not proven within
        rounding of the boundary.
        """
        step = checks.number("alpha", alpha, above=0.0)
        return np.asarray(np.all(np.abs(1.0 + step * self.eigenvalues) < 1.0, axis=1))

    def to_dataset(self) -> xr.Dataset:
        """The record over dimensions ``zero``, ``latent``, ``box`` (undecided ones) and ``end``
        (lower, upper).
        """
        return xr.Dataset(
            {
                "position": (("zero", "latent"), self.position),
                "radius": ("zero", self.radius),
                "isolation": ("zero", self.isolation),
                "eigenvalue_real": (("zero", "latent"), self.eigenvalues.real),
                "eigenvalue_imag": (("zero", "latent"), self.eigenvalues.imag),
                "stable": ("zero", self.stable),
                "stability_proven": ("zero", self.stability_proven),
                "undecided": (("box", "end", "latent"), self.undecided),
                "reason": ("box", np.array(self.reason, dtype="U10")),
                "lower": ("latent", self.lower),
                "upper": ("latent", self.upper),
            },
            coords={"end": ["lower", "upper"]},
            attrs={
                "complete": int(self.complete),
                "whole_space": int(self.whole_space),
                "boxes_examined": self.boxes_examined,
            },
        )


@dataclass(frozen=True, eq=False)
class LatentGhosts:
    """Local minima of ``q = |dz/dt|**2 / 2`` over orthonormal latents z, not 0, in the order of
    kappa_1.

    Attributes
    ----------
    position : (G, K)
        In units of kappa.
    speed : (G,)
        |dz/dt| in 1/tau, the least speed of the state there, as in `SlowPoints`. For rank one it is
        |dkappa/dt|, which is larger by the factor |n|.
    curvature : (G, L)
        Eigenvalues of the Hessian of q by z, ascending, in 1/tau**2; L is the smaller one of K and
        N.
    starts : int
        How many points the descents began from.
    lower, upper : (K,)
        A box that holds kappa of every state in (-1, 1)^N.
    complete : bool
        Whether the list is proven to have every minimum in the box. For rank one it is, unless
        something is undecided; a higher rank is searched without proof.
    """

    position: Floats
    speed: Floats
    curvature: Floats
    starts: int
    lower: Floats
    upper: Floats
    complete: bool

    @property
    def count(self) -> int:
        """Minima found."""
        return len(self.position)

    def to_dataset(self) -> xr.Dataset:
        """The record over dimensions ``ghost`` and ``latent``."""
        return xr.Dataset(
            {
                "position": (("ghost", "latent"), self.position),
                "speed": ("ghost", self.speed),
                "curvature": (("ghost", "latent"), self.curvature),
                "lower": ("latent", self.lower),
                "upper": ("latent", self.upper),
            },
            attrs={"complete": int(self.complete), "starts": self.starts},
        )
