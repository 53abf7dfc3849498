"""Slow points of steps of one's own where a zero is degenerate or the only one: closed forms."""

import numpy as np
import pytest
import torch

import ghostpoint as gp
from ghostpoint.slow_points import UserField
from ghostpoint.torch import find_slow_points

STATES = np.linspace(-1, 1, 21)[:, None]
FOLD = 3.0
AT = np.sqrt(1 - 1 / FOLD)
BIAS = FOLD * AT - np.arctanh(AT)


@pytest.mark.parametrize(
    ("step", "place"),
    [
        (lambda _, h: h + h**3, 0.0),  # repels
        (lambda _, h: h + h**2, 0.0),  # half stable
        (lambda _, h: torch.tanh(h), 0.0),  # attracts, slower than any exponential
        (lambda _, h: torch.tanh(FOLD * h + BIAS), -AT),  # two fixed points just met
    ],
    ids=["repelling", "half stable", "attracting", "fold"],
)
def test_a_singular_zero_is_one_undecided_point(step, place):
    points = find_slow_points(step, STATES)
    near = np.abs(points.position[:, 0] - place) < 1e-3
    assert near.sum() == 1
    assert points.kind[near].tolist() == ["undecided"]
    assert not points.stable[near].any()
    assert not points.stable_under_map[near].any()
    assert "singular" in points.reason[near][0]


def test_a_neutral_multiplier_of_the_map_is_not_inside_the_unit_circle():
    points = find_slow_points(lambda _, h: -h - h**3, STATES)
    near = np.abs(points.position[:, 0]) < 1e-6
    assert points.kind[near].tolist() == ["fixed"]
    assert not points.stable_under_map[near].any()


@pytest.mark.parametrize("beside", [0.01, -0.01])
def test_zeros_beside_a_fold_are_decided(beside):
    points = find_slow_points(lambda _, h: torch.tanh(FOLD * h + BIAS - beside), STATES)
    near = np.abs(points.position[:, 0] + AT) < 0.2
    kinds = sorted(points.kind[near].tolist())
    assert kinds == (["fixed", "fixed"] if beside > 0 else ["ghost"])
    if beside > 0:
        assert sorted(points.stable[near].tolist()) == [False, True]


def test_where_no_zero_was_found_nothing_is_estimated_of_what_is_missing():
    points = find_slow_points(lambda _, h: h + 0.5 + h**2, STATES)
    assert len(points.fixed) == 0
    assert np.isnan(points.missing)


@pytest.mark.parametrize("unit", [1.0, 1e-5, 1e-8])
def test_the_unit_of_a_field_does_not_make_its_zeros_singular(unit):
    states = np.random.default_rng(0).uniform(-1.5, 1.5, (60, 2))
    field = UserField(lambda x: unit * np.stack([x[..., 0] - x[..., 0] ** 3, -x[..., 1]], axis=-1), None, 2)
    points = gp.find_slow_points(field, states=states)
    assert points.kind.tolist() == ["fixed"] * 3
    assert points.stable.sum() == 2
