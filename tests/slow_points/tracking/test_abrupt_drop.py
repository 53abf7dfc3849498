"""The answer on abrupt learning, on tracks whose story is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points import abrupt_drop, track_slow_points
from tests.slow_points.paths import through_fold

EPOCHS = np.array([0, 100, 200, 300, 400])


def drop_at(begin, end):
    """A loss at chance before ``begin``, and at a hundredth of it from ``end`` on; and its
    epochs.
    """
    epochs = np.arange(401)
    return np.interp(epochs, [begin - 1, begin, end - 1, end], [1.0, 0.85, 0.15, 0.01]), epochs


@pytest.fixture(scope="module")
def dying():
    """A pair dies into a ghost at epoch 160."""
    model, fold = through_fold(1, -0.02, 0.03, 5)
    return track_slow_points(model, EPOCHS), 100 * fold


def test_a_bifurcation_within_the_drop_is_named(dying):
    tracks, fold = dying
    answer = abrupt_drop(*drop_at(150, 170), tracks)
    assert answer.drop == (150, 170)
    assert answer.window == (100, 200)
    assert answer.bifurcations == pytest.approx((fold,))
    assert answer.ghost_from == "pair died"
    assert answer.ghost_epoch == pytest.approx(fold)
    assert answer.ghost_bracket == (100, 200)
    assert answer.fixed_points == (1, 3)
    assert answer.proven
    assert "bifurcated" in answer.text
    assert "as far as the recorded epochs tell" in answer.text
    assert json.loads(json.dumps(answer.to_dict()))["window"] == [100, 200]


def test_a_drop_elsewhere_has_no_bifurcation(dying):
    tracks, _ = dying
    early, late = abrupt_drop(*drop_at(20, 90), tracks), abrupt_drop(*drop_at(320, 360), tracks)
    assert early.bifurcations == late.bifurcations == ()
    assert (early.fixed_points, late.fixed_points) == ((3, 3), (1, 1))
    assert "No fixed point appeared or vanished" in early.text
    assert "after the drop" in early.text
    assert "before the drop" in late.text


def test_a_loss_that_never_drops(dying):
    answer = abrupt_drop(np.ones(5), EPOCHS, dying[0])
    assert answer.drop == (-1, -1)
    assert answer.text.startswith("The loss never fell below 0.9")
    half = abrupt_drop([1.0, 0.8, 0.8, 0.5, 0.5], None, dying[0])
    assert half.drop == (100, -1)
    assert "never below 0.1" in half.text


def test_the_last_descent_is_the_drop(dying):
    answer = abrupt_drop([0.5, 1.0, 0.95, 0.4, 0.05], None, dying[0])
    assert answer.drop == (300, 400)


def test_a_ghost_that_was_always_there():
    model, _ = through_fold(1, 0.03, 0.01, 3)
    answer = track_slow_points(model, loss=[1, 0.5, 0.01]).answer()
    assert answer.ghost_from == "start"
    assert "at the first recorded epoch" in answer.text


@pytest.mark.parametrize(
    ("loss", "epochs", "message"),
    [([1.0], None, "loss must have shape"), ([1.0, 0.0], [1, 1], "epochs must ascend"), ([np.nan], [0], "finite")],
)
def test_bad_arguments_are_named(dying, loss, epochs, message):
    with pytest.raises(ValueError, match=message):
        abrupt_drop(loss, epochs, dying[0])


def test_the_published_network_learns_by_a_ghost_without_a_bifurcation():
    task = gp.tasks.DelayedActivation(100.0, 5.0, 10.0)
    kept = np.arange(33_000, 35_000, 25)
    run = gp.train(LowRankRNN.published([40]), task, 0.003, 35_000, checkpoints=kept, engine="compiled")
    answer = track_slow_points(run).answer()
    # the history has every fourth epoch of so long a run
    assert [33633 <= answer.drop[0] < 33637, 33874 <= answer.drop[1] < 33878] == [True, True]
    assert answer.bifurcations == ()
    assert answer.fixed_points == (1, 1)
    assert answer.proven
    assert answer.ghost_from == "ghost appeared"
    assert answer.ghost_bracket[0] <= 33998 <= answer.ghost_bracket[1]
    assert "without a bifurcation" in answer.text
    assert answer.text.split(". ")[1].endswith("after the drop")
