"""A certifier from outside, one class and one line, proves what no other one knows."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.slow_points import UserField, find_slow_points
from ghostpoint.slow_points.proofs import CERTIFIERS, Certificate, Certifier, Proven

CENTRE = np.array([0.25, -0.5])


def rational(x):
    """F(x) = (c - x) / (1 + |x - c|**2), whose only zero is c."""
    offset = CENTRE - x
    return offset / (1 + (offset**2).sum(axis=1, keepdims=True))


def derivative(x):
    offset = x - CENTRE
    scale = 1 + (offset**2).sum(axis=1)[:, None, None]
    return -np.eye(2) / scale + 2 * offset[:, :, None] * offset[:, None, :] / scale**2


class Rational(Certifier):
    """|F| >= |x - c| / 2 where |x - c| <= 1, so the one zero there is within 2 |F|; exact for this
    field alone.
    """

    in_tracking = True
    made = 0

    def __init__(self, field, metric=None):
        type(self).made += 1
        self.field = field

    @classmethod
    def knows(cls, field):
        return isinstance(field, UserField) and field.f is rational

    def prove(self, kappa, ghost, before):
        if ghost is not None:
            return [Proven(kappa, ghost, before._replace(reason="there are no ghosts"))]
        speed = float(np.linalg.norm(self.field.flow(kappa[None])))
        return [Proven(kappa, None, Certificate("fixed", 2 * speed + 1e-15, 1 - 2 * speed))]


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(CERTIFIERS, "rational", Rational)


def test_a_certifier_proves_the_points_of_a_flow_that_it_knows(registered):
    field = UserField(rational, derivative, 2)
    starts = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 2))
    Rational.made = 0
    points = find_slow_points(field, states=starts)
    assert Rational.made == 1
    assert list(points.kind) == ["fixed"]
    assert list(points.certificate) == ["rational"]
    assert list(points.reason) == [""]
    assert np.linalg.norm(points.position[0] - CENTRE) <= points.radius[0] < 1e-9
    assert 0.9 < points.unique_radius[0] <= 1
    without = find_slow_points(field, states=starts, certify=False)
    assert list(without.certificate) == ["none"]
    assert list(without.reason) == ["not asked for"]


def test_without_it_the_points_have_no_proof():
    points = find_slow_points(UserField(rational, derivative, 2), states=np.zeros((1, 2)))
    assert list(points.certificate) == ["none"]
    assert "no bound of the second derivative is known for a UserField" in points.reason[0]


class Doubtful(Certifier):
    """Of tanh networks, one that never decides, and says so after what was said before."""

    asked = ()

    def __init__(self, field, metric=None):
        pass

    @classmethod
    def knows(cls, field):
        return True

    def prove(self, kappa, ghost, before):
        type(self).asked += (before.kind,)
        return [Proven(kappa, ghost, before._replace(reason=f"{before.reason}; nor does doubt".lstrip("; ")))]


def test_certifiers_are_asked_in_order_until_one_decides(monkeypatch):
    model = gp.FullRankRNN(2.0 * np.eye(2)[None])
    monkeypatch.setattr(Doubtful, "asked", ())
    # behind the others it is asked about what they leave undecided: nothing here
    monkeypatch.setitem(CERTIFIERS, "doubtful", Doubtful)
    points = find_slow_points(model, n_starts=32)
    assert set(points.certificate) == {"float64"}
    assert Doubtful.asked == ()
    # alone it leaves all of them undecided
    monkeypatch.setattr(sys.modules[find_slow_points.__module__], "CERTIFIERS", {"doubtful": Doubtful})
    points = find_slow_points(model, n_starts=32)
    assert set(points.certificate) == {"none"}
    assert set(points.kind) == {"undecided"}
    assert set(points.reason) == {"nor does doubt"}
    assert all(math.isnan(radius) for radius in points.radius)
