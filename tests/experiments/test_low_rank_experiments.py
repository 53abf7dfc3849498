"""The low-rank experiments and the intervention, at a scale of seconds: data, oracles, claims that hold and fail."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.experiments import Silent, full_rank_runs, get, latent_paths
from ghostpoint.experiments.intervention import least_loss
from ghostpoint.experiments.parts import keeping_parts
from ghostpoint.experiments.ranks import highest
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
        assert claim.measured
    for scale in ("quick", "paper"):
        json.dumps(dict(get(id).parameters[scale]))
        assert set(get(id).parameters[scale]) == set(parameters(id))
    for _, total, done in progress.phases:
        assert done == total


# the latent plane


def plane(seed):
    return LowRankRNN.initialize(12, 2, [seed], "latent_readout", n_inputs=1, activation="tanh", initial_state=0.0)


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


@given(st.integers(5, 60), st.integers(1, 200), st.integers(0, 1000))
@settings(max_examples=40)
def test_a_drop_is_found_where_it_was_put_whatever_single_batches_do(plateau, width, seed):
    generator = np.random.default_rng(seed)
    slope = np.linspace(1.0, 0.0, width + 2)
    loss = np.concatenate([np.ones(plateau + 20), slope, np.zeros(60)])[None]
    epoch = 3 * np.arange(loss.shape[1])
    noisy = loss.copy()
    noisy[0, generator.choice(np.arange(0, loss.shape[1], 9), 5)] = generator.choice([0.0, 9.0], 5)
    begin, end = latent_paths.drops(epoch, noisy)
    true_begin, true_end = epoch[np.flatnonzero(loss[0] >= 0.9)[-1]], epoch[np.flatnonzero(loss[0] < 0.25)[0]]
    assert abs(begin[0] - true_begin) <= 3 * latent_paths.WINDOW
    assert abs(end[0] - true_end) <= 3 * latent_paths.WINDOW
    assert begin[0] < end[0]
    assert [int(value[0]) for value in latent_paths.drops(epoch, np.ones_like(loss))] == [-1, -1]
    assert [int(value[0]) for value in latent_paths.drops(epoch, np.zeros_like(loss))] == [0, 0]


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


def test_a_run_in_which_no_network_learns_says_so():
    with pytest.raises(ValueError, match="epochs must be enough for one of the seeds to learn; none had after 20"):
        get("latent_dcdt").run({**parameters("latent_dcdt"), "epochs": 20, "seeds": [1]}, Silent())


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


def test_rates_trained_together_give_what_they_give_one_by_one(monkeypatch):
    """In one stack of 15 networks they even share a kernel call, with this cost of a network alone."""
    assert parameters("ranks")["together_up_to"] >= 1
    one_by_one = get("ranks").run({**parameters("ranks"), "ranks": [1], "together_up_to": 0}, Silent())
    monkeypatch.setattr("ghostpoint.training.together.COST_ALONE", 1e9)
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
    # 12 of 22 answers are zero, and 0.1 is far from 1, so the bound is all of the loss that can be left
    assert (dataset["loss"].values[1:] >= least[1:, None, None] - 1e-4).all()
    assert dataset["loss"].values[1][:, late].min() == pytest.approx(least[1], rel=0.1)
    # without a norm, training goes on from where it stopped
    assert dataset["loss"].values[0, :, 0] == pytest.approx(dataset["before_loss"].values[:, -1], rel=1.0)
    assert (dataset["readout_norm"].values > 1).all()


@pytest.mark.parametrize(
    ("id", "changes", "module", "parts"),
    [
        ("ranks", {}, "full_rank_sweeps", 11),  # all five rates of rank one together
        ("latent_dmts", {"seeds": [0], "epochs": 1000, "kept_points": 4}, "latent_paths", 1),
        ("intervention", {}, "intervention", 4),
    ],
)
def test_an_interrupted_run_goes_on_from_its_parts(id, changes, module, parts, tmp_path, monkeypatch):
    chosen = {**parameters(id), **changes}
    with keeping_parts(tmp_path):
        first = get(id).run(chosen, Silent())
        assert len(list(tmp_path.iterdir())) == parts
        monkeypatch.setattr(f"ghostpoint.experiments.{module}.trained", None)  # nothing is trained again
        xr.testing.assert_identical(get(id).run(chosen, Silent()), first)
    if not changes:
        xr.testing.assert_identical(first, sample(id)[0])


# claims


def changed(id, **values):
    """The sample with variables replaced, broadcast to their shapes."""
    dataset = sample(id)[0].copy(deep=True)
    for name, value in values.items():
        dataset[name] = (dataset[name].dims, np.broadcast_to(value, dataset[name].shape))
    return dataset


def latent_cases(id):
    dataset = sample(id)[0]
    kept, end = dataset["kept"].values, int(dataset["epoch"][-1])
    learner = np.isin(dataset["seed"].values, dataset["followed"].values)
    late = (kept >= 0.6 * end).astype(int)
    sharp = {
        "loss": np.where((dataset["epoch"].values < 0.5 * end) | ~learner[:, None], 1.0, 0.01),
        "drop_begins": np.where(learner, int(0.5 * end), -1),
        "first_learned": np.where(learner, int(0.51 * end), -1),
        "n_fixed": 1,
        "n_stable": 1,
        "n_undecided": 0,
    }
    ghost = {**sharp, "n_ghosts": (kept > 0).astype(int), "slowest_ghost": 0.1}
    yield 0, sharp, {**sharp, "loss": 0.6}
    yield 1, sharp, {**sharp, "drop_begins": np.where(learner, int(0.4 * end), -1)}
    yield 2, sharp, {**sharp, "n_fixed": 1 + 2 * (kept > 0)}
    yield 2, sharp, {**sharp, "n_stable": (kept == 0).astype(int)}
    yield 2, {**sharp, "n_fixed": 1 + 2 * (kept == end)}, {**sharp, "n_fixed": 1 + 2 * (kept == kept[1])}
    yield 3, ghost, {**ghost, "n_ghosts": 0}
    yield 3, ghost, {**ghost, "n_ghosts": late}


def ranks_cases():
    rank, rate = np.arange(3)[:, None, None], np.arange(5)[None, :, None]
    more = np.where(rate <= rank + 1, 0.001, 0.5) * np.ones(3)
    good = {"score": more, "best_score": more}
    yield 0, good, {**good, "score": more[::-1]}
    yield 0, good, {**good, "score": np.where(rate == 0, 0.001, 0.5)}
    yield 1, good, {**good, "score": np.where(rate == 0, 0.001, 0.5)}
    yield 1, good, {**good, "score": more[::-1]}
    yield 2, good, {**good, "score": more[::-1]}
    fewer = {"first_learned": 1000 // (1 + rank) - 10 * rate + np.arange(3)}
    yield 3, fewer, {"first_learned": 100 * (1 + rank) + np.arange(3)}
    norm = np.where(np.arange(3) == 2, 1e-9, 1.0)
    yield 4, {"gradient_norm": norm, "kept": False}, {"gradient_norm": norm, "kept": True}
    yield 4, {"gradient_norm": norm, "kept": False}, {"gradient_norm": 1.0, "kept": False}


def intervention_cases():
    row = np.arange(3)[:, None]
    good = {"before_end_accuracy": 0.5, "end_accuracy": np.where(row == 2, 1.0, 0.5), "end_loss": 2.0}
    yield 0, good, {**good, "before_end_accuracy": 1.0}
    yield 1, good, {**good, "end_accuracy": 1.0}
    yield 2, good, {**good, "end_accuracy": 0.5}
    yield 2, good, {**good, "end_accuracy": 1.0}
    every = {**good, "end_loss": np.array([1.0, 0.82, 0.06])[:, None]}
    yield 3, every, {**every, "end_loss": np.array([1.0, 1.0, 0.06])[:, None]}
    yield 3, every, {**every, "end_loss": 0.05}


@IDS
def test_every_claim_holds_on_data_that_shows_it_and_fails_on_data_that_does_not(id):
    cases = ranks_cases() if id == "ranks" else intervention_cases() if id == "intervention" else latent_cases(id)
    full = {**parameters(id), "epochs": get(id).parameters["paper"]["epochs"]}
    judged = set()
    for index, good, bad in cases:
        judged.add(index)
        for values, verdict in ((good, "holds"), (bad, "does not hold")):
            dataset = changed(id, **values)
            if id == "intervention":  # enough networks for a count to mean something
                dataset = dataset.isel(seed=np.resize(np.arange(dataset.sizes["seed"]), 12))
            claim = get(id).claims(dataset, full)[index]
            assert claim.verdict == verdict, (claim, values)
    assert judged == set(range(len(get(id).claims(sample(id)[0], full))))


def test_what_was_not_tried_is_not_judged():
    few = changed("ranks", score=0.5, best_score=0.5, first_learned=-1)
    verdicts = [claim.verdict for claim in get("ranks").claims(few, parameters("ranks"))]
    assert verdicts[:4] == ["not testable at this scale"] * 4
    well = changed("intervention", before_end_accuracy=1.0)
    verdicts = [claim.verdict for claim in get("intervention").claims(well, parameters("intervention"))]
    assert verdicts == ["does not hold", *["not testable at this scale"] * 3]
    unsure = changed("latent_dcdt", n_undecided=1)
    assert get("latent_dcdt").claims(unsure, parameters("latent_dcdt"))[2].verdict == "not testable at this scale"
