"""Coefficients of the signs of doubt, see ``calibration``.

Written by ``python benchmarks/calibration.py --records 40 --first 100000``.
"""

from __future__ import annotations

__all__ = ["COEFFICIENTS"]

#: sign to coefficient; "any" is the constant
COEFFICIENTS: dict[str, float] = {
    "any": 6.3238,
    "abrupt learning": -0.2322,
    "accuracy decides": -0.8364,
    "changes": -1.2452,
    "changes at all": -1.8772,
    "converged": 0.2466,
    "dies away": -0.4754,
    "dies away, ends in a change": -1.3906,
    "divergence": 0.9606,
    "ends in a change": -1.2054,
    "few points": -1.4052,
    "gradual learning": -0.8548,
    "guessed": -1.1437,
    "irregular": 0.6352,
    "irregular, ends in a change": 0.5991,
    "memory": 1.0741,
    "near the threshold: abrupt learning": -4.1512,
    "near the threshold: gradual learning": 0.5112,
    "near the threshold: staircase learning": 0.1969,
    "no-learning zone": 0.9162,
    "noise": 0.0511,
    "noise with memory": 0.5756,
    "oscillation near a minimum": 0.0826,
    "other by the loss alone": 0.5847,
    "plateau at a constant answer": 0.3434,
    "plateau at chance": 0.8492,
    "recovered": -0.8030,
    "restart of a schedule": -0.1487,
    "rise of the loss": -0.0609,
    "staircase learning": -1.3707,
    "turns": -0.1887,
    "turns without noise": -2.1093,
    "turns, ends in a change": -0.0723,
    "turns: abrupt learning": 0.5794,
    "turns: divergence": 0.5147,
    "turns: gradual learning": -0.5472,
    "turns: no-learning zone": 0.2400,
    "turns: oscillation near a minimum": 0.3491,
    "turns: plateau at a constant answer": 0.0093,
    "turns: plateau at chance": 0.3943,
    "turns: recovered": 0.2893,
    "turns: restart of a schedule": -0.4478,
    "turns: rise of the loss": -0.2463,
    "turns: staircase learning": -1.3233,
}
