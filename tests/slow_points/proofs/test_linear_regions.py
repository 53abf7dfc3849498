"""Proofs about relu networks, against every zero of every linear region in rational numbers."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from ghostpoint.slow_points import find_slow_points
from ghostpoint.slow_points.fields import UnitField
from ghostpoint.slow_points.proofs import Certificate
from ghostpoint.slow_points.proofs.linear_regions import InLinearRegion
from tests.slow_points.networks import full_rank


def solved(matrix, right):
    """The exact solution, or None for a singular matrix."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for k in range(size):
        pivot = next((i for i in range(k, size) if rows[i][k]), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for i in range(size):
            if i != k:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[-1] for row in rows]


def zeros(W, b, equation):
    """All isolated zeros: of ``x = relu(W x + b)``, or of ``v = W relu(v) + b``."""
    size = len(W)
    exact = [[Fraction(float(value)) for value in row] for row in W]
    drive = [Fraction(float(value)) for value in b]
    found = []
    for on in product((0, 1), repeat=size):
        if equation == "rate":
            matrix = [[(i == j) - on[i] * exact[i][j] for j in range(size)] for i in range(size)]
            x = solved(matrix, [on[i] * drive[i] for i in range(size)])
        else:
            matrix = [[(i == j) - exact[i][j] * on[j] for j in range(size)] for i in range(size)]
            x = solved(matrix, drive)
        if x is None:
            continue
        inner = x
        if equation == "rate":
            inner = [sum(w * value for w, value in zip(exact[i], x, strict=True)) + drive[i] for i in range(size)]
        if all((u > 0) == bool(flag) for u, flag in zip(inner, on, strict=True)):
            found.append(x)
    return found


def distance(exact, x):
    return float(sum((a - Fraction(float(b))) ** 2 for a, b in zip(exact, x, strict=True))) ** 0.5


@pytest.mark.parametrize("equation", ["rate", "voltage"])
@pytest.mark.parametrize("seed", range(12))
def test_every_proven_zero_is_one_and_alone(seed, equation):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 5))
    W, b = 1.5 * generator.normal(size=(size, size)), generator.normal(size=size)
    points = find_slow_points(full_rank(W, b), equation=equation, activation="relu")
    every = zeros(W, b, equation)
    proven = points[points.certificate == "linear region"]
    # a few starts find all zeros of so small a network
    assert len(proven) == len(points.fixed) == len(every)
    offset = b if equation == "voltage" else np.zeros(size)
    for x, radius, unique in zip(proven.position, proven.radius, proven.unique_radius, strict=True):
        # the proof is about coordinates y = v - b, and v is rounded
        slack = 4e-16 * (1 + np.abs(x).max() + np.abs(offset).max())
        near = sorted(distance(z, x) for z in every)
        assert near[0] <= radius + slack
        assert len(near) == 1 or near[1] >= unique - slack


def test_what_cannot_be_decided_is_not():
    def proof(B, c, x):
        return (
            InLinearRegion(UnitField(None, np.array(B), np.array(c), "relu"))
            .prove(np.array(x), None, Certificate("undecided"))[0]
            .certificate
        )

    assert proof([[0.5]], [1.0], [2.0]).kind == "fixed"
    kink = proof([[0.5]], [0.0], [0.0])
    assert kink.kind == "undecided"
    assert "kink" in kink.reason
    assert "singular" in proof([[1.0]], [1.0], [2.0]).reason
    # 0.5 x + 1 has its zero at 2: not at the point, and too far to be proven from it
    assert "boundary" in proof([[0.5]], [1.0], [-1.9]).reason
    assert not InLinearRegion.knows(UnitField(None, np.eye(1), np.zeros(1), "softplus"))
