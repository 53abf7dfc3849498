"""Coefficients of the signs of doubt, see ``calibration``.

Written by ``python benchmarks/calibration.py --records 40 --first 100000``.
"""

from __future__ import annotations

__all__ = ["COEFFICIENTS"]

#: sign to coefficient; "any" is the constant
COEFFICIENTS: dict[str, float] = {
    "any": 6.3367,
    "abrupt learning": -1.0253,
    "accuracy decides": -0.9037,
    "changes": -2.2746,
    "changes at all": -2.0429,
    "converged": 0.2085,
    "dies away": 0.2778,
    "dies away, ends in a change": -1.1119,
    "divergence": 0.7120,
    "ends in a change": -1.5499,
    "few points": -1.1084,
    "gradual learning": -0.3714,
    "guessed": -1.3620,
    "irregular": 1.1184,
    "irregular, ends in a change": -1.4439,
    "memory": 1.7179,
    "no-learning zone": 0.7209,
    "noise": 0.1085,
    "oscillation near a minimum": -0.5059,
    "other by the loss alone": 0.7766,
    "plateau at a constant answer": 0.3249,
    "plateau at chance": 1.1654,
    "recovered": -0.2607,
    "restart of a schedule": -0.0682,
    "rise of the loss": 0.1569,
    "staircase learning": -1.1278,
    "turns": -0.3178,
    "turns without noise": -2.3176,
    "turns, ends in a change": 0.4637,
    "turns: abrupt learning": 0.3801,
    "turns: divergence": 0.5197,
    "turns: gradual learning": -0.4000,
    "turns: no-learning zone": 0.1180,
    "turns: oscillation near a minimum": 0.4776,
    "turns: plateau at a constant answer": 0.0131,
    "turns: plateau at chance": 0.3027,
    "turns: recovered": -0.0261,
    "turns: restart of a schedule": -0.7899,
    "turns: rise of the loss": -0.0940,
    "turns: staircase learning": -0.8192,
}
