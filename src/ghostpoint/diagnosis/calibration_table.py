"""Coefficients of the signs of doubt, see ``calibration``.

Written by ``python benchmarks/calibration.py --records 40 --first 100000``.
"""

from __future__ import annotations

__all__ = ["COEFFICIENTS"]

#: sign to coefficient; "any" is the constant
COEFFICIENTS: dict[str, float] = {
    "any": 6.5663,
    "abrupt learning": -0.6265,
    "accuracy decides": -0.9591,
    "changes": -1.0358,
    "changes at all": -2.1176,
    "converged": 0.1388,
    "dies away": -0.4893,
    "dies away, ends in a change": -1.3887,
    "divergence": 0.8487,
    "ends in a change": -1.2473,
    "few points": -0.5929,
    "gradual learning": -0.8812,
    "guessed": -1.9604,
    "irregular": 0.6601,
    "irregular, ends in a change": 0.5307,
    "memory": 1.0532,
    "near the threshold: abrupt learning": -4.0851,
    "near the threshold: gradual learning": 0.0695,
    "near the threshold: staircase learning": -0.1017,
    "no-learning zone": 0.7466,
    "noise": 0.4394,
    "noise with memory": 0.4094,
    "oscillation near a minimum": -0.1843,
    "other by the loss alone": 0.6769,
    "plateau at a constant answer": 0.3736,
    "plateau at chance": 1.3449,
    "recovered": -0.9292,
    "restart of a schedule": -0.4130,
    "rise of the loss": -0.5429,
    "staircase learning": 0.0683,
    "turns": -0.2162,
    "turns without noise": -1.9560,
    "turns, ends in a change": -0.0082,
    "turns: abrupt learning": 0.6445,
    "turns: divergence": 0.4774,
    "turns: gradual learning": -0.5798,
    "turns: no-learning zone": 0.1876,
    "turns: oscillation near a minimum": 0.3422,
    "turns: plateau at a constant answer": 0.0089,
    "turns: plateau at chance": 0.1307,
    "turns: recovered": 0.2053,
    "turns: restart of a schedule": -0.6847,
    "turns: rise of the loss": -0.2011,
    "turns: staircase learning": -0.7472,
}
