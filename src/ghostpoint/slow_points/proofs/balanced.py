"""Latents in units in which each is a projection of the state on a vector of length near one.

The same network has latents ``kappa = n^T x`` of any size, for n may be multiplied by what m is
divided by. Bounds in the Euclidean norm of kappa are poor where n is far from length one. Units
that are powers of two are exact: no number of the scaled field is rounded.
"""

from __future__ import annotations

import numpy as np

from ghostpoint.numerics.arrays import Bools, Floats
from ghostpoint.slow_points.fields import TanhField
from ghostpoint.slow_points.ghosts import GhostSolution
from ghostpoint.slow_points.proofs.certifier import Proven

__all__ = ["Units"]


class Units:
    """``kappa' = scale kappa`` with powers of two, (K,), for the latents of ``field``."""

    def __init__(self, field: TanhField, metric: Floats | None):
        self.field, self.metric = field, metric
        lengths = np.ones(field.size) if field.A is None else np.sqrt((field.A**2).sum(axis=1))
        usable = np.isfinite(lengths) & (lengths > 0)
        self.scale = np.exp2(-np.rint(np.log2(np.where(usable, lengths, 1.0))))

    @property
    def other(self) -> bool:
        """Whether they differ from those of the field, and every number scales exactly."""
        if self.field.A is None or (self.scale == 1).all():
            return False
        given, scaled = (self.field.A, self.field.B), (self.scaled.A, self.scaled.B)
        return all(
            a is not None and b is not None and bool(((_exact(a) & _exact(b)) | ((a == 0) & (b == 0))).all())
            for a, b in zip(given, scaled, strict=True)
        )

    @property
    def scaled(self) -> TanhField:
        """The flow of kappa': ``A' = scale A``, ``B' = B / scale``."""
        A = None if self.field.A is None else np.ascontiguousarray(self.scale[:, None] * self.field.A)
        return TanhField(A, np.ascontiguousarray(self.field.B / self.scale), self.field.c)

    @property
    def scaled_metric(self) -> Floats | None:
        """M' = A' A'^T."""
        A = self.scaled.A
        return None if self.metric is None or A is None else A @ A.T

    def into(self, ghost: GhostSolution | None) -> GhostSolution | None:
        """A ghost of kappa as one of kappa': ``w = A^T omega = A'^T omega'``."""
        if ghost is None:
            return None
        return ghost._replace(kappa=self.scale * ghost.kappa, omega=ghost.omega / self.scale, right=None)

    def back(self, proven: Proven) -> Proven | None:
        """What is proven of kappa', of kappa: balls that hold, or lie in, the image of the others.

        None where the ball that holds the zero or the ghost is not inside that without others.
        """
        largest, smallest = float(self.scale.max()), float(self.scale.min())
        proof = proven.certificate
        proof = proof._replace(
            radius=proof.radius / smallest,
            unique_radius=proof.unique_radius / largest,
            empty_radius=proof.empty_radius / largest,
        )
        if not proof.radius < (proof.unique_radius if proof.kind == "fixed" else proof.empty_radius):
            return None
        ghost = proven.ghost
        if ghost is not None:
            ghost = ghost._replace(kappa=ghost.kappa / self.scale, omega=ghost.omega * self.scale, right=None)
        return Proven(proven.kappa / self.scale, ghost, proof)


def _exact(values: Floats) -> Bools:
    """Which numbers are so far from the ends of float64 that neither they nor their squares
    round otherwise when they are scaled."""
    size = np.abs(values)
    return (size > 1e-140) & (size < 1e140)
