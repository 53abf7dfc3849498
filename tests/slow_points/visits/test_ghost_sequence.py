"""Which slow points trajectories pass: against trajectories that are known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

import ghostpoint as gp
from ghostpoint.experiments.ghost_sequences import states
from ghostpoint.experiments.shared.ghost_systems import SYSTEMS, score, trajectory
from ghostpoint.slow_points import GhostSequence, UserField, find_slow_points
from ghostpoint.slow_points.fields import network_field


def saddle_node(mu):
    return UserField(lambda x: np.stack([mu + x[:, 0] ** 2, -x[:, 1]], axis=1), None, 2)


def exact(mu, x0, x1, samples=2001, fast=1.0):
    """A trajectory for mu > 0 from x0 to x1, and its times; the fast coordinate from ``fast``."""
    rate = np.sqrt(mu)
    t = np.linspace(0, (np.arctan(x1 / rate) - np.arctan(x0 / rate)) / rate, samples)
    return np.stack([rate * np.tan(np.arctan(x0 / rate) + rate * t), fast * np.exp(-t)], axis=1), t


@pytest.mark.parametrize("mu", [1e-1, 1e-3, 1e-6, 1e-9, 1e-12])
def test_one_passage(mu):
    x, t = exact(mu, -1.0, 1.0, fast=3.0)
    sequence = gp.ghost_sequence(saddle_node(mu), x, t)
    assert sequence.points.kind.tolist() == ["ghost"]
    assert sequence.dimension.tolist() == [1]
    chosen = np.flatnonzero(sequence.way == "passes")
    assert len(chosen) == 1
    assert sequence.passage_time[0] == pytest.approx(np.pi / np.sqrt(mu))
    # x is the normal form itself: what it says is the time that passes, to rounding
    np.testing.assert_allclose(sequence.predicted[chosen], sequence.dwell[chosen], rtol=1e-6)
    assert sequence.leave[chosen[0]] == t[-1]
    # it enters when the fast coordinate has become slower than the slow one
    entered = np.flatnonzero(np.abs(x[:, 1]) <= mu + x[:, 0] ** 2)
    assert sequence.enter[chosen[0]] == t[entered[0]] > 0
    assert sequence.speed[chosen[0]] == pytest.approx(np.linalg.norm(saddle_node(mu).flow(x), axis=1).min())


def test_one_side_only_is_a_graze_and_an_end_before_the_section_an_end():
    mu = 1e-4
    x, t = exact(mu, 0.02, 1.0, fast=1e-5)
    sequence = gp.ghost_sequence(saddle_node(mu), x, t)
    assert sequence.way.tolist() == ["grazes"]
    assert sequence.share[0] == pytest.approx((np.pi / 2 - np.arctan(2) - 1e-2) / np.pi, rel=1e-2)
    assert not sequence.transitions.any()
    assert sequence.paths == ()
    x, t = exact(mu, -1.0, -0.02)
    assert gp.ghost_sequence(saddle_node(mu), x, t).way[-1] == "ends"
    # the start itself may lie in the neighbourhood
    x, t = exact(mu, -0.01, 1.0, fast=1e-5)
    sequence = gp.ghost_sequence(saddle_node(mu), x, t)
    assert sequence.way.tolist() == ["passes"]
    assert sequence.enter[0] == 0


def test_where_there_are_fixed_points_no_ghost_is_passed():
    mu = 1e-4
    t = np.linspace(0, 3000, 4001)
    x = -np.sqrt(mu) / np.tanh(np.sqrt(mu) * t + np.arctanh(np.sqrt(mu)))
    sequence = gp.ghost_sequence(saddle_node(-mu), np.stack([x, np.exp(-t)], axis=1), t)
    assert not (sequence.kind == "ghost").any()
    assert sequence.way[-1] == "ends"
    assert sequence.points.stable[sequence.point[-1]]
    assert np.isnan(sequence.predicted).all()


def test_a_saddle_is_passed_where_the_trajectory_is_slowest_on_its_way():
    field = UserField(lambda x: np.stack([x[:, 0] - x[:, 0] ** 3, -x[:, 1]], axis=1), None, 2)
    t = np.linspace(0, 30, 6001)
    x = 1 / np.sqrt(1 + (1e8 - 1) * np.exp(-2 * t))  # from 1e-4
    sequence = gp.ghost_sequence(field, np.stack([x, np.exp(-t)], axis=1), t)
    assert sequence.way.tolist() == ["passes", "ends"]
    assert sequence.points.n_unstable[sequence.point].tolist() == [1, 0]
    # the linear flow leaves out x**3, so it holds up to where that is x less x**3 in velocity
    assert sequence.leave[0] < sequence.enter[1] + t[1]
    backwards = gp.ghost_sequence(field, np.stack([x, 0 * x], axis=1), t)
    assert backwards.way.tolist() == ["starts", "ends"]


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("mu", [1e-2, 1e-10, -1e-3])
def test_systems_whose_ghosts_are_known(name, mu):
    system = SYSTEMS[name]
    x, dt = trajectory(system, mu, 2001)
    field = UserField(lambda y: system.velocity(np, y, mu), None, x.shape[1])
    sequence = gp.ghost_sequence(field, x, dt)
    passes = np.flatnonzero((sequence.kind == "ghost") & (sequence.way == "passes"))
    points = sequence.point[passes]
    told, _ = score(system, mu, sequence.points.position[points], sequence.dimension[points])
    wanted = len(system.visits) if mu > 0 else 0
    assert told == (wanted, 0, 0, wanted)


def test_the_score_sees_what_is_wrong():
    system = SYSTEMS["series of three"]
    right, one = np.array(system.visits), np.ones(3, int)
    assert score(system, 1e-3, right, one)[0] == (3, 0, 0, 3)
    assert score(system, 1e-3, right[::-1], one)[0] == (1, 2, 2, 1)  # another order
    assert score(system, 1e-3, right[:2], 2 * one)[0] == (2, 1, 0, 0)
    assert score(system, 1e-3, right + 0.3, one)[0] == (0, 3, 3, 0)
    assert score(system, -1e-3, right, one)[0] == (0, 0, 3, 0)


def around():
    system = SYSTEMS["cycle of three"]
    x, dt = trajectory(system, 1e-2, 2001)
    return UserField(lambda y: system.velocity(np, y, 1e-2), None, 2), x, dt


def test_the_graph_of_a_cycle():
    field, x, dt = around()
    sequence = gp.ghost_sequence(field, [x, x[:900]], dt)
    (cut, path) = sequence.paths  # the shorter one comes first
    assert (sequence.points.kind[list(path.points)] == "ghost").all()
    assert path.points[:3] == path.points[3:6]
    assert path.points[6] == path.points[0]
    assert cut.points == path.points[: len(cut.points)]
    (cycle,) = sequence.cycles
    assert cycle.trials == 2
    assert sorted(cycle.points) == sorted(set(path.points))
    first = path.points[:3].index(min(path.points))
    assert cycle.points == path.points[first : first + 3]
    assert sequence.channels == ()  # nothing but the cycle
    counts = sequence.transitions
    assert counts.sum() == len(path.points) - 1 + len(cut.points) - 1
    for before, after in zip(path.points[:-1], path.points[1:], strict=True):
        assert counts[before, after] >= 2
    assert sequence.of_trial(0).sizes["visit"] >= 7
    with pytest.raises(ValueError, match="trial must be from 0 to 1, got 2"):
        sequence.of_trial(2)
    assert f"cycle {cycle}" in str(sequence)
    assert "median dwell" in str(sequence)


def test_a_channel_is_a_row_of_ghosts():
    system = SYSTEMS["series of three"]
    x, dt = trajectory(system, 1e-3, 2001)
    field = UserField(lambda y: system.velocity(np, y, 1e-3), None, 2)
    sequence = gp.ghost_sequence(field, x, dt)
    order = sequence.points.position[list(sequence.channels[0].points), 0]
    np.testing.assert_allclose(order, np.pi * np.arange(3), atol=0.05)
    assert sequence.cycles == ()
    assert str(sequence).startswith("GhostSequence: 3 passages of 3 ghosts in 1 trajectory")
    assert "<table>" in sequence._repr_html_()


def test_the_record_survives_the_disk(tmp_path):
    field, x, dt = around()
    sequence = gp.ghost_sequence(field, [x, x[:900]], dt)
    again = GhostSequence.load(sequence.save(tmp_path / "visits.zarr.zip"))
    assert str(again) == str(sequence)
    assert again.visits.identical(sequence.visits)
    assert again.cycles == sequence.cycles
    frame = sequence.visits.to_dataframe()
    assert len(frame) == len(sequence)
    with pytest.raises(ValueError, match="no variable visit_point"):
        GhostSequence.from_dataset(sequence.points.to_dataset())


def test_the_drawing_shows_every_visited_point_and_every_transition():
    field, x, dt = around()
    sequence = gp.ghost_sequence(field, x, dt)
    axes = sequence.plot(axes=Figure().subplots())
    (ghosts,) = (c for c in axes.collections if c.get_label() == "ghost")
    portrait = sequence.portrait()
    np.testing.assert_allclose(ghosts.get_offsets(), np.stack([portrait["x"], portrait["y"]], axis=1))
    arrows = [text for text in axes.texts if text.arrow_patch is not None]
    assert len(arrows) == np.count_nonzero(sequence.transitions) == 3


def test_the_spacing_is_read_off_an_euler_map():
    model = gp.LowRankRNN(m=[2.0], n=[1.5], b=[1.31])
    path = states(model, np.array([[-0.99]]), 400, 0.1)
    by_itself, told = gp.ghost_sequence(model, path), gp.ghost_sequence(model, path, 0.1)
    np.testing.assert_allclose(by_itself.duration, 40.0)
    np.testing.assert_allclose(by_itself.dwell, told.dwell)


def test_the_ghost_of_a_network_holds_its_trajectory_as_long_as_a_quadrature_says():
    model = gp.LowRankRNN(m=[2.0], n=[1.5], b=[1.31])
    path = states(model, np.array([[-0.99]]), 8000, 0.01)
    sequence = gp.ghost_sequence(model, path, 0.01)
    assert sequence.way.tolist() == ["passes", "ends"]
    i, j = round(sequence.enter[0] / 0.01), round(sequence.leave[0] / 0.01)
    kappa = np.linspace(*(1.5 * path[0, [i, j], 0]), 200_001)
    time = np.trapezoid(1 / (1.5 * np.tanh(2 * kappa + 1.31) - kappa), kappa)
    assert sequence.dwell[0] == pytest.approx(time, rel=1e-2)
    assert sequence.predicted[0] == pytest.approx(time, rel=0.1)
    assert 0.5 < sequence.share[0] < 1


def test_visits_do_not_depend_on_how_the_weights_are_split():
    drawn = gp.LowRankRNN.initialize(30, [3], "state_readout", rank=2)
    m, n = 2.5 * drawn.m[0], drawn.n[0]
    A = np.array([[2.0, 0.3], [-0.4, 0.5]])
    x = np.random.default_rng(0).uniform(-1, 1, (4, 30))
    both = []
    for model in (
        gp.LowRankRNN(m[None], n[None], drawn.b),
        gp.LowRankRNN((m @ A)[None], (n @ np.linalg.inv(A).T)[None], drawn.b),
    ):
        sequence = gp.ghost_sequence(model, states(model, x, 600, 0.1), 0.1)
        assert len(sequence)
        # points have an order of their own: name each by its place
        places = sequence.points.position[sequence.point].round(6)
        both.append((sequence.way.tolist(), sequence.enter, sequence.leave, places))
    assert both[0][0] == both[1][0]
    for one, other in zip(both[0][1:], both[1][1:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_channel_into_a_cycle():
    field, x, dt = around()
    whole = gp.ghost_sequence(field, x, dt)
    a, b, c = (int(p) for p in whole.point[:3])
    other = next(p for p in range(len(whole.points)) if p not in (a, b, c))
    kind = whole.points.kind.copy()
    kind[other] = "ghost"
    points = replace(whole.points, kind=kind)

    def of(path):
        count = len(path)
        rest = {name: np.zeros(count) for name in ("enter", "leave", "predicted", "speed")}
        return GhostSequence(
            points, whole.dimension, whole.passage_time, np.zeros(count, int), np.array(path), **rest,
            way=np.full(count, "passes"), duration=np.ones(1),
        )  # fmt: skip

    assert of([other, a, b, a, b]).cycles == ((tuple(sorted((a, b))), 1),)
    assert [route.points for route in of([other, a, b, a, b]).channels] == [(other, a, b)]
    assert [route.points for route in of([other, a, b, c]).channels] == [(other, a, b, c)]
    assert of([a, a, a]).cycles == (((a,), 1),)
    assert of([a, a, a]).channels == ()
    assert of([a, b, c, a, other]).cycles[0].points[0] == min(a, b, c)
    assert [route.points for route in of([a, b, c, a, other]).channels] == [(b, c, a, other)]


def test_families_and_equations():
    """Trajectories that come to rest, in the coordinates that their search has."""
    gru = gp.GRU.initialize(3, [0])
    full = gp.FullRankRNN(0.5 * np.random.default_rng(0).normal(size=(1, 4, 4)), b=np.full((1, 4), 0.3))
    for model, options in ((gru, {}), (full, {}), (full, {"equation": "voltage", "activation": "softplus"})):
        network = network_field(model, **options)
        path = [np.full((1, network.n_units), 0.2)]
        for _ in range(600):
            path.append(path[-1] + 0.1 * network.state_flow(path[-1] - network.offset))
        sequence = gp.ghost_sequence(model, np.concatenate(path), **options)
        assert sequence.way[-1] == "ends"
        rest = sequence.points.position[sequence.point[-1]]
        np.testing.assert_allclose(rest, path[-1][0], atol=1e-4)
        np.testing.assert_allclose(sequence.duration, 60, rtol=1e-6)


def test_a_map_and_a_function_of_one_state():
    mu = 1e-3
    step = UserField(lambda x: x + mu + x**2, None, 1, kind="map")
    single = UserField(lambda x: np.array([x[0] + mu + x[0] ** 2]), None, 1, kind="map")
    x = [np.array([-0.5])]
    while x[-1][0] < 0.5:
        x.append(x[-1] + mu + x[-1] ** 2)
    for field in (step, single):
        sequence = gp.ghost_sequence(field, np.array(x))
        assert sequence.duration[0] == pytest.approx(len(x) - 1)
        assert sequence.way.tolist() == ["passes"]
        assert sequence.dwell[0] == pytest.approx(sequence.predicted[0], rel=0.02)


def test_known_points_are_taken():
    mu = 1e-3
    x, t = exact(mu, -1.0, 1.0)
    field = saddle_node(mu)
    points = find_slow_points(field, states=x)
    assert gp.ghost_sequence(field, x, t, points=points).points is points
    with pytest.raises(
        ValueError, match=r"points must be those of this model.*at a ghost dy/dt is 0\.002, its r 0\.001"
    ):
        gp.ghost_sequence(saddle_node(2 * mu), x, t, points=points)
    with pytest.raises(ValueError, match="points must have 1 units like the model, got 2"):
        gp.ghost_sequence(UserField(lambda x: x**2 + 1, None, 1), x[:, :1], t, points=points)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trajectory": np.zeros((5, 3))}, r"trajectory must be \(T, 2\) or .* got one of shape \(5, 3\)"),
        ({"trajectory": np.zeros((1, 2))}, r"with T at least 2"),
        ({"trajectory": []}, "trajectory must"),
        ({"trajectory": np.full((4, 2), np.nan)}, "trajectory must be finite"),
        ({"times": np.arange(3.0)}, "times must have shape"),
        ({"times": np.array([0.0, 2.0, 1.0, 3.0])}, "times must increase"),
        ({"times": 0.0}, "times must be above 0"),
        ({"times": [np.arange(4.0), np.arange(4.0)]}, "times must be of as many trajectories as given, 1, got 2"),
        ({"inputs": [1.0]}, "inputs must be part of the functions of a UserField"),
        ({"trajectory": np.ones((4, 2)) * np.arange(4)[::-1, None]}, "does not move along the model's velocity"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    options = {"trajectory": np.cumsum(np.ones((4, 2)), axis=0), **change}
    with pytest.raises(ValueError, match=message):
        gp.ghost_sequence(saddle_node(0.01), options.pop("trajectory"), **options)
