"""Certificates: what proves that a point is a fixed point or a ghost."""

from __future__ import annotations

from ghostpoint.slow_points.proofs.at_zero import AtZero
from ghostpoint.slow_points.proofs.ball_certificates import InBalls
from ghostpoint.slow_points.proofs.certificates import InFloat64
from ghostpoint.slow_points.proofs.certifier import Certificate, Certifier, Proven
from ghostpoint.slow_points.proofs.linear_regions import InLinearRegion

__all__ = ["CERTIFIERS", "Certificate", "Certifier", "Proven"]

#: the ways to prove a candidate by their names, asked in this order; new ones are registered here
CERTIFIERS: dict[str, type[Certifier]] = {
    "float64": InFloat64,
    "exact": AtZero,
    "256 bits": InBalls,
    "linear region": InLinearRegion,
}
