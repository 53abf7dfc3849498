"""``plot()`` of runs, slow points and diagnoses: what is drawn is what the record says."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import ghostpoint as gp
from ghostpoint.slow_points import find_slow_points
from tests.slow_points.networks import full_rank, vanilla


@pytest.fixture(autouse=True)
def closed():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def run():
    return gp.train(gp.LowRankRNN.published([0, 1, 2]), gp.tasks.DelayedActivation(30), [0.05, 0.05, 50.0], 400)


def test_a_run_draws_every_network_and_the_level_of_chance(run):
    axes = run.plot()
    assert axes.figure.number in pyplot.get_fignums()
    curves = [segment for collection in axes.collections for segment in collection.get_segments()]
    assert len(curves) == 3
    first = next(curve for curve in curves if curve[0, 1] == run.history["loss"].values[0, 0])
    finite = run.history["loss"].values[0]
    assert first[:, 1].min() == finite.min()
    assert first[:, 1].max() == finite.max()
    assert list(axes.lines[0].get_ydata()) == [run.task.chance_loss] * 2
    assert (
        sum(int(text.get_text().split("(")[1][:-1]) for text in axes.get_legend().texts if "(" in text.get_text()) == 3
    )


def test_a_run_draws_what_is_asked_for_where_it_is_asked(run):
    given = Figure().subplots()
    assert run.plot("accuracy", axes=given) is given
    assert given.get_ylabel() == "accuracy"
    assert list(given.lines[0].get_ydata()) == [run.task.chance_accuracy] * 2
    assert not run.plot("gradient_norm").lines
    with pytest.raises(ValueError, match=r"quantity must be one of loss, .*; got 'los'"):
        run.plot("los")


def marked(axes):
    """Places of the points, by their legend."""
    return {line.get_label(): np.column_stack(line.get_data()) for line in axes.lines if line.get_linestyle() == "None"}


def test_slow_points_of_rank_one():
    model = gp.LowRankRNN(m=[1.0, 1.0], n=[1.0, 1.0])
    points = find_slow_points(model)
    over_flow = marked(points.plot(model))
    np.testing.assert_array_equal(over_flow["stable fixed point"][:, 0], points[points.stable].latent[:, 0])
    np.testing.assert_allclose(over_flow["stable fixed point"][:, 1], 0, atol=1e-12)
    alone = points.plot()
    assert (alone.get_xlabel(), alone.get_ylabel()) == ("latent kappa", "speed |F| (1/tau)")
    np.testing.assert_array_equal(marked(alone)["unstable fixed point"], [[0.0, 0.0]])


def test_slow_points_of_rank_two_and_of_states():
    model = gp.LowRankRNN.initialize(20, [0], "state_readout", rank=2)
    points = find_slow_points(model)
    axes = points.plot()
    assert axes.get_xlabel() == "latent kappa_1"
    drawn = np.concatenate(list(marked(axes).values()))
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, points.latent))
    points = find_slow_points(full_rank(*vanilla(3, 12, 2.0, 0.1)), n_starts=64)
    axes = points.plot()
    assert axes.get_ylabel() == "principal axis 2 of the state"
    drawn = np.concatenate(list(marked(axes).values()))
    assert len(drawn) == len(points) > 2
    # distances between points in two axes are at most those between the states, and the axes are
    # the best ones
    spread = points.position - points.position.mean(axis=0)
    values = np.linalg.svd(spread, compute_uv=False)
    assert (drawn**2).sum() == pytest.approx((values[:2] ** 2).sum())


@pytest.mark.parametrize("count", [0, 1])
def test_few_slow_points(count):
    points = find_slow_points(full_rank(*vanilla(3, 12, 2.0, 0.1)), n_starts=16)
    assert sum(map(len, marked(points[:count].plot()).values())) == count


def test_a_diagnosis_draws_one_run_or_all(run):
    diagnosis = gp.diagnose(run)
    axes = diagnosis.plot(1)
    assert axes.get_title("left").startswith(f"network 1: {diagnosis.verdict[1]}")
    together = diagnosis.plot()
    assert sum(len(collection.get_segments()) for collection in together.collections) == 3
    alone = diagnosis[0].plot()
    assert alone.get_title("left").startswith(diagnosis.verdict[0])
    with pytest.raises(ValueError, match="network must be from 0 to 2, got 3"):
        diagnosis.plot(3)
