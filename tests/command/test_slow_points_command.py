"""The command on slow points: what it prints, saves and draws, against the library."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ghostpoint.command.slow_points import Output, Reading, find_in_file
from ghostpoint.figures import slow_points as picture
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.slow_points import SlowPoints, find_slow_points, flow_portrait, slow_passage
from ghostpoint.slow_points.latents import latent_zeros
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.weights import write_weights
from tests.slow_points.networks import rank_one_near_fold
from tests.slow_points.paths import embedded


def low_rank(rank):
    generator = np.random.default_rng(rank)
    m, n = 2.0 * generator.normal(size=(2, 2, 16, rank)) / 4
    return LowRankRNN(m, m + 0.3 * n, 0.1 * generator.normal(size=(2, 16)))


@pytest.fixture
def near_fold(tmp_path):
    """A file with a network that has a ghost, and one that has a pair instead."""
    stacks = [np.stack(part) for part in zip(*(rank_one_near_fold(0, 12, h) for h in (0.01, -0.01)), strict=True)]
    model = LowRankRNN(*stacks)
    return model, write_weights(model, tmp_path / "weights.npz")


def test_the_table_says_what_the_library_finds(near_fold):
    model, path = near_fold
    text = find_in_file(path, starts=4)
    points = find_slow_points(model[0], n_starts=4)
    lines = [line for line in text.splitlines() if line[:3].strip().isdigit()]
    assert [line.split()[1] for line in lines] == list(points.kind)
    (ghost,) = [line for line in lines if " ghost " in line]
    assert f"{points.ghosts.escape_time[0]:.3g}" in ghost
    assert "times in tau; map with dt/tau = 1" in text
    other = find_in_file(path, network=1, starts=4)
    assert sum(line[:3].strip().isdigit() and line.split()[1] == "fixed" for line in other.splitlines()) == 3
    assert other.endswith("all fixed points are listed, proven; ghosts too")


def test_passages_are_those_of_the_library(near_fold):
    model, path = near_fold
    points = find_slow_points(model[0], n_starts=4)
    alone = int(np.flatnonzero(points.kind == "ghost")[0])
    passage = slow_passage(model[0], points[alone])
    text = find_in_file(path, starts=4, output=Output(passages=True))
    (line,) = [line for line in text.splitlines() if "+-" in line]
    assert line.split()[:2] == [str(alone), f"{passage.duration:.4g}"]
    assert line.split()[4] == "tau,"
    answer = json.loads(find_in_file(path, starts=4, tau=10.0, dt=1.0, output=Output(passages=True, as_json=True)))
    (row,) = answer["passages"]
    steps = slow_passage(model[0], points[alone], alpha=0.1)
    assert (row["unit"], row["reason"]) == ("steps", "")
    assert row["duration"] == pytest.approx(steps.duration)
    assert row["y1"] == pytest.approx(steps.y[-1])
    # the other network has fixed points in place of the ghost
    assert find_in_file(path, network=1, starts=4, output=Output(passages=True)).endswith("none")


def test_json_in_ms_and_the_map_of_the_step(tmp_path):
    W = np.array([[[-5.0]]])  # the zero at 0: eigenvalue -6 of the flow, -2 of the map with dt = tau / 2
    path = write_weights(
        FullRankRNN(W, np.zeros((1, 1)), w_out=np.zeros((1, 1, 1)), b_out=np.zeros((1, 1))), tmp_path / "w.npz"
    )
    answer = json.loads(find_in_file(path, starts=3, tau=10.0, dt=5.0, output=Output(as_json=True)))
    (point,) = answer["points"]
    assert (answer["unit_of_time"], answer["map_step"]) == ("ms", 0.5)
    assert (point["unstable_flow"], point["unstable_map"]) == (0, 1)
    assert point["slowest_time_constant"] == pytest.approx(10 / 6)
    assert point["escape_time"] is None
    assert point["position"] == pytest.approx([0.0])
    assert "1 unstable" in find_in_file(path, starts=3, tau=10.0, dt=5.0)


def test_what_is_saved_is_what_was_found(near_fold, tmp_path):
    model, path = near_fold
    find_in_file(path, starts=4, network=1, output=Output(out=tmp_path / "points.zarr.zip"))
    saved = SlowPoints.load(tmp_path / "points.zarr.zip")
    found = find_slow_points(model[1], n_starts=4).position
    np.testing.assert_allclose(np.sort(saved.position, axis=0), np.sort(found, axis=0), atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_flow_is_drawn(tmp_path, rank):
    path = write_weights(low_rank(rank), tmp_path / "weights.npz")
    find_in_file(path, starts=6, output=Output(figure=tmp_path / "new" / "flow.png"))
    assert (tmp_path / "new" / "flow.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_portrait_holds_the_flow_and_survives_the_disk(tmp_path, rank):
    model = low_rank(rank)[0]
    points = find_slow_points(model, n_starts=12)
    portrait = flow_portrait(model, points, size=9, paths=3)
    back = read_dataset(write_dataset(portrait, tmp_path / "portrait.zarr.zip"))
    axes = picture.draw(back).axes[0]
    drawn = np.concatenate([line.get_xydata() for line in axes.lines if line.get_linestyle() == "None"])
    assert {tuple(row) for row in drawn} == set(zip(portrait["x"].values, portrait["y"].values, strict=True))
    if rank == 1:
        at = portrait["kappa"].values[7]
        assert portrait["flow"].values[7] == pytest.approx(model.flow(np.array([[at]]))[0, 0])
        np.testing.assert_allclose(portrait["y"].values[points.kind == "fixed"], 0, atol=1e-12)
    if rank == 2:
        at = np.array([portrait["kappa_1"].values[2], portrait["kappa_2"].values[5]])
        np.testing.assert_allclose(portrait["flow"].values[2, 5], model.flow(at[None])[0])
    if rank == 3:
        # projections onto orthonormal axes bring no two points further apart
        near = np.linalg.norm(np.diff(portrait[["x", "y"]].to_array().values, axis=1), axis=0)
        assert (near <= np.linalg.norm(np.diff(points.position, axis=0), axis=1) + 1e-12).all()
        assert portrait.sizes["path"] == 3


@pytest.mark.parametrize("rank", [2, 3])
def test_few_starts_miss_no_fixed_point_of_a_low_rank_network(tmp_path, rank):
    model = low_rank(rank)
    path = write_weights(model, tmp_path / "weights.npz")
    answer = json.loads(find_in_file(path, starts=1, output=Output(as_json=True)))
    assert answer["fixed_points_complete"]
    assert sum(p["kind"] == "fixed" for p in answer["points"]) == latent_zeros(model[0]).count > 1
    assert "nothing is proven" in find_in_file(write_weights(embedded(model), tmp_path / "full.npz"), starts=2)


def test_inputs_are_given_as_text(tmp_path):
    model = FullRankRNN.initialize(6, [0], n_inputs=2)
    path = write_weights(model, tmp_path / "weights.npz")
    found = json.loads(find_in_file(path, starts=4, inputs="0.5, -1", output=Output(as_json=True)))
    np.testing.assert_allclose(
        [point["position"] for point in found["points"]],
        find_slow_points(model, inputs=[0.5, -1.0], n_starts=4).position,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": 2}, "network must be from 0 to 1, got 2"),
        ({"inputs": "a"}, "inputs must be numbers"),
        ({"tau": 10.0}, "tau and dt"),
        ({"starts": 0}, "n_starts"),
        ({"figure": "flow.xyz"}, "figure must end in one of"),
    ],
)
def test_wrong_options_are_named(near_fold, tmp_path, options, message):
    if "figure" in options:
        options = {"output": Output(figure=tmp_path / options["figure"])}
    with pytest.raises(ValueError, match=message):
        find_in_file(near_fold[1], **{"starts": 2, **options})


def test_the_equation_is_said_and_can_be_another(tmp_path):
    path = write_weights(FullRankRNN(np.array([[[2.0, 0.0], [0.0, -0.5]]])), tmp_path / "w.npz")
    text = find_in_file(path)
    assert "equation: tau dx/dt = -x + tanh(W x + b)" in text
    assert "come to rest" in text
    np.savez(tmp_path / "more.npz", W=np.eye(2), mask=np.ones(2))
    assert "arrays not used: mask" in find_in_file(tmp_path / "more.npz", starts=16)
    text = find_in_file(path, reading=Reading(equation="voltage", activation="sigmoid"))
    assert "equation: tau dv/dt = -v + W sigmoid(v) + w_in u + b" in text
    np.savetxt(tmp_path / "states.csv", np.zeros((3, 2)), delimiter=",")
    assert "fixed" in find_in_file(path, states=tmp_path / "states.csv")
    np.savetxt(tmp_path / "states.csv", np.zeros((3, 4)), delimiter=",")
    with pytest.raises(ValueError, match="states must have shape"):
        find_in_file(path, states=tmp_path / "states.csv")
    with pytest.raises(ValueError, match="passages must be left out"):
        find_in_file(path, reading=Reading(equation="voltage"), output=Output(passages=True))


def test_another_activation_is_drawn_and_its_progress_told(tmp_path):
    np.savez(tmp_path / "w.npz", W=[[2.2, -1.0], [-1.0, 2.2]], b=[-0.5, -0.6])
    lines = []
    text = find_in_file(
        tmp_path / "w.npz",
        reading=Reading(activation="relu"),
        output=Output(figure=tmp_path / "flow.svg"),
        progress=lines.append,
    )
    assert "relu(W x + w_in u + b)" in text
    assert "linear region" in text
    assert (tmp_path / "flow.svg").stat().st_size
    assert any("round" in line for line in lines)
    with pytest.raises(ValueError, match="passages"):
        find_in_file(tmp_path / "w.npz", reading=Reading(activation="relu"), output=Output(passages=True))
