"""The low-rank experiments and the intervention, at a scale of seconds: data, oracles, claims that
hold and fail.
"""

from __future__ import annotations

import json
from functools import wraps
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import Silent, get, latent_paths
from ghostpoint.experiments.intervention import least_loss
from ghostpoint.experiments.ranks import highest
from ghostpoint.experiments.shared import full_rank_runs, networks
from ghostpoint.experiments.shared.base import ORIGINS
from ghostpoint.experiments.shared.drops import WINDOW, drops
from ghostpoint.experiments.shared.parts import keeping_parts
from ghostpoint.models import LowRankRNN
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.tasks import DelayedCueDiscrimination, DelayedMatchToSample
from tests.experiments.low_rank_samples import SMALL, parameters, sample

IDS = pytest.mark.parametrize("id", SMALL)
LATENT = pytest.mark.parametrize("id", ["latent_dcdt", "latent_dmts"])


@IDS
def test_the_dataset_survives_the_disk_and_gives_the_same_claims(id, tmp_path):
    dataset, progress = sample(id)
    again = read_dataset(write_dataset(dataset, tmp_path / "data.zarr.zip"))
    xr.testing.assert_identical(again, dataset)
    stored = json.loads(json.dumps(parameters(id)))
    claims = get(id).claims(dataset, parameters(id))
    assert get(id).claims(again, stored) == claims
    for claim in claims:
        assert claim.sentence
        assert claim.source
        assert claim.rule
        assert claim.measured
        assert claim.origin in ORIGINS
    for scale in ("quick", "paper"):
        json.dumps(dict(get(id).parameters[scale]))
        assert set(get(id).parameters[scale]) == set(parameters(id))
    for _, total, done in progress.phases:
        assert done == total


# the latent plane


def plane(seed):
    return LowRankRNN.initialize(12, [seed], "latent_readout", rank=2, n_inputs=1, activation="tanh", initial_state=0.0)


@given(st.integers(0, 1000), st.sampled_from([DelayedCueDiscrimination, DelayedMatchToSample]))
@settings(max_examples=20, deadline=None)
def test_the_latent_trials_are_those_of_the_whole_network(seed, kind):
    model, task = plane(seed), kind(10, 20, 15, copies=2, initial_scale=0.3)
    path, outputs = latent_paths.latent_trials(model, task, seed)
    inputs = task.trial().inputs
    x = np.tanh(0.3 * np.random.default_rng(seed).normal(size=(len(inputs), 1, 12)))
    for step in range(task.steps):
        assert path[:, step] == pytest.approx(model.latent(x)[:, 0], abs=1e-12)
        assert outputs[:, step] == pytest.approx(np.tanh(model.logit_of_state(x)[:, 0, 0]), abs=1e-12)
        x = model.step(x, task.alpha, inputs[:, step])
    assert path[:, -1] == pytest.approx(model.latent(x)[:, 0], abs=1e-12)


@given(st.integers(5, 60), st.integers(1, 200), st.integers(0, 1000), st.sampled_from([0.5, 1.0]))
@settings(max_examples=40)
def test_a_drop_is_found_where_it_was_put_whatever_single_batches_do(plateau, width, seed, level):
    generator = np.random.default_rng(seed)
    slope = np.linspace(level, 0.0, width + 2)
    # from 1 to the plateau first: that is no part of the drop
    loss = np.concatenate([np.linspace(1, level, 20), np.full(plateau + 20, level), slope, np.zeros(60)])[None]
    epoch = 3 * np.arange(loss.shape[1])
    noisy = loss.copy()
    noisy[0, generator.choice(np.arange(0, loss.shape[1], 9), 5)] = generator.choice([0.0, 9.0], 5)
    begin, end = drops(epoch, noisy, level)
    true_begin, true_end = epoch[np.flatnonzero(loss[0] >= 0.9 * level)[-1]], epoch[np.flatnonzero(loss[0] < 0.25)[0]]
    assert abs(begin[0] - true_begin) <= 3 * WINDOW
    assert abs(end[0] - true_end) <= 3 * WINDOW
    assert begin[0] < end[0]
    assert [int(value[0]) for value in drops(epoch, np.ones_like(loss), level)] == [-1, -1]
    assert [int(value[0]) for value in drops(epoch, np.zeros_like(loss), level)] == [0, 0]


@LATENT
def test_the_maps_are_the_flow_of_a_network_that_is_followed(id):
    dataset = sample(id)[0]
    grid = dataset["grid"].values
    start = LowRankRNN.published([int(dataset["followed"][0])], parameters(id)["figure"])
    basis = np.linalg.qr(start.n[0].astype(float))[1]
    assert dataset["shown"].values[0] == 0
    for y, x in ((0, 0), (3, 7), (8, 2)):
        point = np.array([[grid[0, x, 0], grid[0, y, 1]]])
        assert dataset["flow"].values[0, y, x] == pytest.approx(start.flow(point)[0], rel=1e-4, abs=1e-5)
        # n = Q R: the speed is that of z = R^-T kappa
        speed = np.linalg.norm(np.linalg.solve(basis.T, start.flow(point)[0]))
        assert dataset["speed"].values[0, y, x] == pytest.approx(speed, rel=1e-4)
        level = full_rank_runs.task_of(parameters(id)).level(start.output(point))[0]
        assert dataset["level"].values[0, y, x] == level
    paths = dataset["path"].values.reshape(len(grid), -1, 2)
    assert (paths.min(axis=1) > grid[:, 0]).all()
    assert (paths.max(axis=1) < grid[:, -1]).all()


@LATENT
def test_the_counts_are_those_of_the_maps(id):
    dataset = sample(id)[0]
    kept = np.searchsorted(dataset["kept"].values, dataset["shown"].values)
    unstable = dataset["unstable"].values
    assert np.array_equal(dataset["n_fixed"].values[0, kept], (unstable >= 0).sum(axis=1))
    assert np.array_equal(dataset["n_stable"].values[0, kept], (unstable == 0).sum(axis=1))
    assert np.array_equal(dataset["n_ghosts"].values[0, kept], np.isfinite(dataset["ghost_speed"]).sum(axis=1))
    assert (dataset["n_fixed"].values >= 1).all()  # the flow points inwards far out, so it has a zero


ABSENT = {
    "latent_dcdt": {"epochs": 20},
    "latent_dmts": {"epochs": 20},
    "ranks": {"epochs": 3, "epochs_shown": [0, 1, 2], "low_rate_epochs": 3},
    "intervention": {"epochs": 3, "more_epochs": 3},
}


@IDS
def test_too_few_epochs_give_claims_that_do_not_hold_and_a_figure(id, tmp_path):
    few = {**parameters(id), **ABSENT[id]}
    dataset = get(id).run(few, Silent())
    again = read_dataset(write_dataset(dataset, tmp_path / "data.zarr.zip"))
    xr.testing.assert_identical(again, dataset)
    verdicts = [claim.verdict for claim in get(id).claims(again, few)]
    if id == "intervention":  # no network has the task after three epochs, so that it "collapses" and stays there
        assert verdicts[:3] == ["holds", "holds", "does not hold"]
    else:
        assert "holds" not in verdicts
    full = {**few, "epochs": get(id).parameters["paper"]["epochs"]}
    verdicts = [claim.verdict for claim in get(id).claims(again, full)]
    assert "does not hold" in verdicts  # at the published scale an absent phenomenon is no lack of epochs
    FigureCanvasAgg(figures.draw(id, again)).draw()


def test_a_figure_without_a_collapse_says_so():
    FigureCanvasAgg(figures.draw("intervention", changed("intervention", before_end_accuracy=1.0))).draw()


# ranks and the intervention


@given(st.integers(0, 1000))
def test_the_highest_rate_of_a_rank_is_the_last_at_which_a_network_learned(seed):
    learned = np.random.default_rng(seed).random((4, 6, 3)) < 0.2
    for rank, place in enumerate(highest(learned)):
        assert not learned[rank, place + 1 :].any()
        assert learned[rank, place].any() if place >= 0 else not learned[rank].any()


def test_the_score_is_the_final_loss_over_the_first():
    dataset = sample("ranks")[0]
    assert dataset.sizes["rank"] == 3
    first = dataset["loss"].sel(epoch=0).values
    assert np.array_equal(dataset["score"], dataset["loss"].sel(epoch=300).values / first)
    assert (dataset["best_score"].values <= dataset["score"].values).all()


def test_the_drop_at_the_low_rate_is_that_of_the_loss():
    chosen, dataset = parameters("ranks"), sample("ranks")[0]
    models = LowRankRNN.published([2], "6B", rank=5)
    task = full_rank_runs.task_of(chosen)
    run = networks.trained(
        Silent(), "", models, chosen, chosen["low_rate"], chosen["low_rate_epochs"], task, record="all"
    )
    loss = list(run.history["loss"].values[0] / run.history["loss"].values[0, 0])
    for name, level in (("drop_begins", 0.9), ("drop_ends", 0.1)):
        first = next((epoch for epoch, value in enumerate(loss) if value < level), -1)
        assert int(dataset[name].sel(rank=5, seed=2)) == first
    after = loss[first:]
    rises = sum(later > earlier for earlier, later in pairwise(after)) / (len(after) - 1)
    assert first > 0
    assert float(dataset["rises"].sel(rank=5, seed=2)) == pytest.approx(rises)


def test_rates_trained_together_give_what_they_give_one_by_one(monkeypatch):
    """In one stack of 15 networks they even share a kernel call, with this cost of a network
    alone.
    """
    assert parameters("ranks")["together_up_to"] >= 1
    one_by_one = get("ranks").run({**parameters("ranks"), "ranks": [1], "together_up_to": 0}, Silent())
    monkeypatch.setattr("ghostpoint.training.compiled.network_blocks.COST_ALONE", 1e9)
    together = get("ranks").run({**parameters("ranks"), "ranks": [1]}, Silent())
    assert together.identical(one_by_one)
    assert sample("ranks")[0].sel(rank=[1]).identical(one_by_one)


@given(st.floats(0.05, 4), st.integers(0, 10_000))
def test_no_readout_of_a_norm_has_a_loss_below_the_least(norm, seed):
    generator = np.random.default_rng(seed)
    weights, bias = generator.normal(size=7), generator.normal() * generator.choice([0.0, 0.1, 3.0])
    weights *= norm / np.abs(weights).sum()
    for plus, minus in (generator.uniform(-1, 1, (2, 7)), (np.sign(weights), -np.sign(weights))):
        loss = ((np.tanh(weights @ plus + bias) - 1) ** 2 + (np.tanh(weights @ minus + bias) + 1) ** 2) / 2
        assert loss >= least_loss(np.array(norm)) - 1e-12
    best = np.tanh(weights @ np.sign(weights))
    assert (best - 1) ** 2 == pytest.approx(float(least_loss(np.array(norm))))


def test_the_networks_go_on_with_the_norm_they_are_given():
    dataset = sample("intervention")[0]
    assert list(dataset["norm"].values) == [0.0, 0.1, 1.0]
    late = dataset["later"].values >= 100
    least = dataset["least_loss"].values
    # 12 of 22 answers are zero, and 0.1 is far from 1, so the bound is all of the loss that can be
    # left
    assert (dataset["loss"].values[1:] >= least[1:, None, None] - 1e-4).all()
    assert dataset["loss"].values[1][:, late].min() == pytest.approx(least[1], rel=0.1)
    # without a norm, training goes on from where it stopped
    assert dataset["loss"].values[0, :, 0] == pytest.approx(dataset["before_loss"].values[:, -1], rel=1.0)
    assert (dataset["readout_norm"].values > 1).all()


@wraps(networks.train)  # its name, by which parts are found
def untrained(*arguments, **keywords):
    raise AssertionError("nothing is trained again")


@pytest.mark.parametrize(
    ("id", "changes", "parts"),
    [
        ("ranks", {"ranks": [1]}, 2),  # all five rates of rank one together, and the low rate
        ("latent_dmts", {"seeds": [0], "epochs": 1000, "kept_points": 4}, 1),
        ("intervention", {}, 4),
    ],
)
def test_an_interrupted_run_goes_on_from_its_parts(id, changes, parts, tmp_path, monkeypatch):
    chosen = {**parameters(id), **changes}
    with keeping_parts(tmp_path):
        first = get(id).run(chosen, Silent())
        assert len(list(tmp_path.iterdir())) == parts
        monkeypatch.setattr(networks, "train", untrained)
        xr.testing.assert_identical(get(id).run(chosen, Silent()), first)
    monkeypatch.undo()
    if not changes:
        xr.testing.assert_identical(first, sample(id)[0])


# claims


def changed(id, **values):
    """The sample with variables replaced, broadcast to their shapes."""
    dataset = (four_learners(id) if id.startswith("latent") else sample(id)[0]).copy(deep=True)
    for name, value in values.items():
        dataset[name] = (dataset[name].dims, np.broadcast_to(value, dataset[name].shape))
    return dataset


def four_learners(id):
    """The sample as that of four networks, all followed, of which all are the first."""
    copies, seeds = np.zeros(4, int), {"seed": np.arange(4), "followed": np.arange(4)}
    return sample(id)[0].isel(seed=copies, followed=copies).assign_coords(seeds)


def latent_cases(id):
    dataset = sample(id)[0]
    kept, epoch, end = dataset["kept"].values, dataset["epoch"].values, int(dataset["epoch"][-1])
    late, first = (kept >= 0.6 * end).astype(int), np.arange(4) == 0
    sharp = {
        "loss": np.where(epoch < 0.5 * end, 1.0, 0.01),
        "drop_begins": int(0.5 * end),
        "first_learned": int(0.51 * end),
        "n_fixed": 1,
        "n_stable": 1,
        "n_undecided": 0,
    }
    slow = {**sharp, "drop_begins": int(0.4 * end)}
    never = {**sharp, "loss": 1.0, "drop_begins": -1, "first_learned": -1}
    more = {**sharp, "n_fixed": 1 + 2 * (kept > 0)}
    ghost = {**sharp, "n_ghosts": (kept > 0).astype(int), "slowest_ghost": 0.1}

    def mixed(here, there):
        """The published network does the one thing, the others do the other."""
        differ = [name for name in there if not np.array_equal(here[name], there[name])]
        rows = {name: first[:, None] if name == "loss" else first for name in differ}
        return {**here, **{name: np.where(rows[name], here[name], there[name]) for name in differ}}

    yield 0, mixed(sharp, never), mixed(never, sharp)
    yield 1, sharp, mixed(sharp, never)  # one network of four
    yield 2, mixed(sharp, slow), mixed(slow, sharp)
    yield 2, sharp, never
    yield 3, sharp, mixed(sharp, slow)
    yield 3, sharp, never
    yield 4, sharp, more
    yield 4, sharp, {**sharp, "n_fixed": np.where(first[:, None], 1, more["n_fixed"])}
    yield 4, sharp, {**sharp, "n_stable": (kept == 0).astype(int)}
    yield 4, sharp, never
    yield 4, {**sharp, "n_fixed": 1 + 2 * (kept == end)}, {**sharp, "n_fixed": 1 + 2 * (kept == kept[1])}
    yield 5, ghost, {**ghost, "n_ghosts": 0}
    yield 5, ghost, {**ghost, "n_ghosts": late}
    yield 5, ghost, {**ghost, "n_ghosts": np.where(first[:, None], 0, ghost["n_ghosts"])}
    yield 5, ghost, {**ghost, **never, "n_ghosts": 1}


def ranks_cases():
    rank, rate, seed = np.arange(3)[:, None, None], np.arange(5)[None, :, None], np.arange(4)
    more = np.where(rate <= rank + 1, 0.001, 0.5) * np.ones(4)
    good, same = {"score": more, "best_score": more}, np.where(rate == 0, 0.001, 0.5)
    yield 0, good, {**good, "score": more[::-1]}
    yield 0, good, {**good, "score": same}
    yield 0, good, {**good, "score": 0.5}
    yield 1, good, {**good, "score": same}
    yield 1, good, {**good, "score": more[::-1]}
    yield 1, good, {**good, "score": np.where(seed == 0, more, same)}  # one network of four
    yield 1, good, {**good, "score": 0.5}
    yield 2, good, {**good, "score": more[::-1]}
    yield 2, good, {**good, "score": 0.5}
    fewer = {"first_learned": 1000 // (1 + rank) - 10 * rate + seed}
    yield 3, fewer, {"first_learned": 100 * (1 + rank) + seed}
    yield 3, fewer, {"first_learned": -1}
    width = np.array([20, 100, 500])[:, None] + seed
    low = {"drop_begins": 1000, "drop_ends": 1000 + width, "rises": 0.4}
    never = {**low, "drop_begins": -1, "drop_ends": -1, "rises": np.nan}
    yield 4, low, {**low, "drop_ends": 1100}
    yield 4, low, {**low, "drop_ends": np.where(seed == 0, 1020, 1100)}
    yield 4, low, never
    yield 5, low, {**low, "drop_ends": 1000 + width[::-1]}
    yield 5, low, {**low, "drop_ends": 1020}
    yield 5, low, never
    yield 6, low, {**low, "rises": 0.1}
    yield 6, low, {**low, "rises": np.where(seed == 0, 0.4, 0.1)}
    yield 6, low, never
    norm = np.where(np.arange(3) == 2, 1e-9, 1.0)
    yield 7, {"gradient_norm": norm, "kept": False}, {"gradient_norm": norm, "kept": True}
    yield 7, {"gradient_norm": norm, "kept": False}, {"gradient_norm": 1.0, "kept": False}
    yield 7, {"gradient_norm": norm, "kept": False}, {"gradient_norm": norm, "kept": (rate > 0) | (seed > 0)}


def intervention_cases():
    def by_norm(*values):
        return np.array(values)[:, None, None]

    good = {
        "before_end_accuracy": 0.5,
        "accuracy": by_norm(0.45, 0.55, 0.95),
        "end_accuracy": by_norm(0.5, 0.6, 1.0)[..., 0],
        "end_loss": by_norm(1.0, 0.82, 0.06)[..., 0],
    }
    none = {**good, "before_end_accuracy": 1.0}
    one = {**good, "before_end_accuracy": np.where(np.arange(4) == 0, 0.5, 1.0)}
    yield 0, good, none
    yield 0, good, one
    yield 1, good, none
    yield 1, good, {**good, "accuracy": by_norm(0.7, 0.8, 0.95)}
    yield 1, good, {**good, "end_accuracy": by_norm(1.0, 1.0, 1.0)[..., 0]}
    yield 2, good, none
    yield 2, good, {**good, "accuracy": by_norm(0.45, 0.55, 0.7)}
    yield 3, good, none
    yield 3, good, {**good, "accuracy": by_norm(0.45, 0.45, 0.95)}
    yield 4, good, none
    yield 4, good, {**good, "end_loss": by_norm(1.0, 1.0, 0.06)[..., 0]}
    yield 4, good, {**good, "end_loss": 0.05}


@IDS
def test_every_claim_holds_on_data_that_shows_it_and_fails_on_data_that_does_not(id):
    cases = ranks_cases() if id == "ranks" else intervention_cases() if id == "intervention" else latent_cases(id)
    paper = get(id).parameters["paper"]
    full = {**parameters(id), "epochs": paper["epochs"], "low_rate_epochs": paper.get("low_rate_epochs")}
    judged = set()
    fixed = [(claim.sentence, claim.rule) for claim in get(id).claims(sample(id)[0], full)]
    for index, good, bad in cases:
        judged.add(index)
        for values, verdict in ((good, "holds"), (bad, "does not hold")):
            dataset = changed(id, **values)
            if id in ("ranks", "intervention"):  # enough networks for a count to mean something
                dataset = dataset.isel(seed=np.resize(np.arange(dataset.sizes["seed"]), 12))
            claim = get(id).claims(dataset, full)[index]
            assert claim.verdict == verdict, (claim, values)
            assert (claim.sentence, claim.rule) == fixed[index]  # the rule was fixed before the data
    assert judged == set(range(len(fixed)))


def test_what_was_not_tried_is_not_judged():
    few = changed("ranks", score=0.5, best_score=0.5, first_learned=-1)
    verdicts = [claim.verdict for claim in get("ranks").claims(few, parameters("ranks"))]
    assert verdicts[:4] == ["not testable at this scale"] * 4
    well = changed("intervention", before_end_accuracy=1.0)
    verdicts = [claim.verdict for claim in get("intervention").claims(well, parameters("intervention"))]
    assert verdicts == ["does not hold"] * 5
    unsure = changed("latent_dcdt", n_undecided=1)
    assert get("latent_dcdt").claims(unsure, parameters("latent_dcdt"))[4].verdict == "not testable at this scale"
