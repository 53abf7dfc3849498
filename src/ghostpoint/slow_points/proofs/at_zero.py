"""The exact proof at 0: the flow of an odd network vanishes there, whatever its Jacobian."""

from __future__ import annotations

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field, TanhField
from ghostpoint.slow_points.ghosts import GhostSolution
from ghostpoint.slow_points.proofs.certifier import Certificate, Certifier, Proven


class AtZero(Certifier):
    """That 0 is a zero of an odd tanh network, where F(0) is 0 exactly, although its Jacobian is
    singular.
    """

    in_tracking = True

    def __init__(self, field: Field, metric: Floats | None = None):
        assert isinstance(field, TanhField)
        self.odd = not field.c.any()

    @classmethod
    def knows(cls, field: Field) -> bool:
        """Tanh networks."""
        return isinstance(field, TanhField)

    def prove(self, kappa: Floats, ghost: GhostSolution | None, before: Certificate) -> list[Proven]:
        """By the point itself; nothing is claimed of its neighbourhood."""
        if ghost is not None or kappa.any() or not self.odd:
            return [Proven(kappa, ghost, before)]
        text = "degenerate: F(0) = 0 exactly, but the Jacobian is singular, and nothing is proven of zeros nearby"
        return [Proven(kappa, None, Certificate("fixed", radius=0.0, reason=text))]
