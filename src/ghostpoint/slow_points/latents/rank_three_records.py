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

    ``position`` (P, K) in units of kappa; ``radius`` (P,): the cube ``|kappa - position| <= radius``, coordinate by
    coordinate, is proven to hold exactly one zero; ``isolation`` (P,): so is this larger cube, so no other zero is as
    near; ``eigenvalues`` (P, K) of the Jacobian at ``position``, in 1/tau, by descending real part; ``stable`` (P,),
    whether all of them have negative real parts at the exact zero, proven where ``stability_proven`` (P,), else as
    computed; ``undecided`` (U, 2, K), lower and upper ends of boxes which may hold further zeros, and ``reason`` (U,)
    why: "degenerate" (a zero of higher order, or too near one), "limit" (a zero within rounding of the limits),
    "budget" (the search was cut short); ``lower``, ``upper`` (K,) what was searched; ``whole_space``, whether that
    holds every zero there can be; ``boxes_examined``, in float64 and in extended precision together.
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
        """(P,) ``|1 + alpha lambda| < 1`` for every eigenvalue: stable under ``kappa <- kappa + alpha f(kappa)``.

        Stricter than ``stable``: the map also loses a zero where ``1 + alpha lambda`` leaves the unit circle by -1 or
        by a complex pair. From the computed eigenvalues, so not proven within rounding of
        the boundary.
        """
        step = checks.number("alpha", alpha, above=0.0)
        return np.asarray(np.all(np.abs(1.0 + step * self.eigenvalues) < 1.0, axis=1))

    def to_dataset(self) -> xr.Dataset:
        """The record over dimensions ``zero``, ``latent``, ``box`` (undecided ones) and ``end`` (lower, upper)."""
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
    """Local minima of ``q = |dz/dt|**2 / 2`` over orthonormal latents z, not 0, in the order of kappa_1.

    ``position`` (G, K), in units of kappa; ``speed`` (G,), |dz/dt| in 1/tau, which is the least speed of the state
    there, as in `SlowPoints`, but for rank one |dkappa/dt|, larger by the factor |n|; ``curvature`` (G, L), the
    eigenvalues of the Hessian of q by z, ascending, in 1/tau**2, L the smaller one of K and N. ``lower``, ``upper``
    (K,): the box that holds kappa of every state in (-1, 1)^N.
    ``starts`` is how many points the descents began from; ``complete``, whether the list is proven to have every
    minimum in the box: for rank one it is, unless something is undecided; a higher rank is searched without proof, and
    ``complete`` is False.
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
