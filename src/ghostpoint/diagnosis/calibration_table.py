"""Coefficients of the signs of doubt, see ``calibration``.

Written by ``python benchmarks/calibration.py --records 40 --first 100000``.
"""

from __future__ import annotations

__all__ = ["COEFFICIENTS"]

#: sign to coefficient; "any" is the constant
COEFFICIENTS: dict[str, float] = {
    "any": 6.3004,
    "abrupt learning": -0.1262,
    "accuracy decides": -0.8661,
    "changes": -1.2468,
    "changes at all": -1.8789,
    "converged": 0.2583,
    "dies away": -0.4481,
    "dies away, ends in a change": -1.4077,
    "divergence": 0.9812,
    "ends in a change": -1.1829,
    "few points": -1.4053,
    "gradual learning": -0.7702,
    "guessed": -1.1268,
    "irregular": 0.6598,
    "irregular, ends in a change": 0.5707,
    "memory": 1.0766,
    "near the threshold: abrupt learning": -4.1649,
    "near the threshold: gradual learning": 0.4872,
    "near the threshold: staircase learning": 0.2149,
    "no-learning zone": 0.4984,
    "noise": -0.0072,
    "noise with memory": -0.3171,
    "oscillation near a minimum": 0.1605,
    "other by the loss alone": 0.5375,
    "plateau at a constant answer": 0.3542,
    "plateau at chance": 0.6964,
    "recovered": -0.7626,
    "restart of a schedule": -0.1404,
    "rise of the loss": 0.0504,
    "staircase learning": -1.2733,
    "turns": -0.1173,
    "turns without noise": -2.1639,
    "turns, ends in a change": -0.0890,
    "turns: abrupt learning": 0.5255,
    "turns: divergence": 0.5107,
    "turns: gradual learning": -0.5946,
    "turns: no-learning zone": 0.4307,
    "turns: oscillation near a minimum": 0.2937,
    "turns: plateau at a constant answer": 0.0090,
    "turns: plateau at chance": 0.5244,
    "turns: recovered": 0.2614,
    "turns: restart of a schedule": -0.4369,
    "turns: rise of the loss": -0.3101,
    "turns: staircase learning": -1.3312,
}
