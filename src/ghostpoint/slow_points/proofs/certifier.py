"""The contract of a proof: what a :class:`Certificate` says, and what a :class:`Certifier` must
offer to make one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field
from ghostpoint.slow_points.ghosts import GhostSolution


class Certificate(NamedTuple):
    """What is proven of a candidate; radii in the coordinates of the field, NaN where nothing is
    proven.

    ``kind`` "fixed": exactly one zero within ``unique_radius`` of the position, and it is within
    ``radius``. "ghost": a stationary point of q with F != 0 within ``radius``, and no zero within
    ``empty_radius``. "undecided": neither; ``reason`` says what failed.
    """

    kind: str
    radius: float = math.nan
    unique_radius: float = math.nan
    empty_radius: float = math.nan
    reason: str = ""


class Proven(NamedTuple):
    """A candidate after an attempt to prove it: kappa (K,), its ghost solution (None for a zero),
    the certificate.
    """

    kappa: Floats
    ghost: GhostSolution | None
    certificate: Certificate


class Certifier(ABC):
    """A way to prove what the candidates of one flow are.

    A certifier is a class derived from this one and a line of
    ``ghostpoint.slow_points.proofs.CERTIFIERS``. For each candidate without a proof,
    `find_slow_points` asks the certifiers that know the flow, in the order of that line-up, until
    one decides. The name under which it is registered becomes the ``certificate`` of the points it
    proves.

    Parameters
    ----------
    field : Field
        The flow; what is prepared here serves all of its candidates.
    metric : (K, K), optional
        ``M = A A^T`` of latents (see `fields.NetworkField`); None where the coordinates are the
        state.
    """

    #: whether it is fast enough for every point that `track_slow_points` adds between the searches
    in_tracking: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, field: Field, metric: Floats | None = None): ...

    @classmethod
    @abstractmethod
    def knows(cls, field: Field) -> bool:
        """Whether it has bounds for flows of this form."""

    @abstractmethod
    def prove(self, kappa: Floats, ghost: GhostSolution | None, before: Certificate) -> list[Proven]:
        """What the candidate at kappa (K,) is: a zero of F where ``ghost`` is None, else that
        ghost.

        Every certificate must be a theorem: its bounds include the rounding errors of their own
        computation.

        Parameters
        ----------
        kappa : (K,)
        ghost : GhostSolution or None
        before : Certificate
            The undecided one of the certifier before, whose reason belongs into that of this one.

        Returns
        -------
        list of Proven
            Points that are all proven: mostly one, two where a candidate turns out to be the two
            zeros beside a fold. Or the candidate alone, undecided, with the reason.
        """
