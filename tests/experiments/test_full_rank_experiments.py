"""The full-rank experiments, at a scale of seconds: data, oracles, resumed parts, and claims that
can hold and fail.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostpoint import figures
from ghostpoint.experiments import Silent, full_rank_sweeps, get
from ghostpoint.experiments.full_rank_sweeps import rank_one
from ghostpoint.experiments.shared import full_rank_runs, networks, parts
from ghostpoint.experiments.shared.base import ORIGINS
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination, DelayedMatchToSample
from ghostpoint.training.reference import evaluate
from tests.experiments.full_rank_samples import SMALL, SWEEP, parameters, sample

IDS = pytest.mark.parametrize("id", SMALL)
SWEEPS = ("rates_full_rank", "rates_dcdt", "rates_dmts")
TASKS = (DelayedActivation(), DelayedCueDiscrimination(30, 80, 50), DelayedMatchToSample(10, 150, 50))


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


@pytest.mark.parametrize("id", ["full_dcdt", "rates_dmts", "saturation_dmts"])
def test_a_second_run_gives_the_same_bits(id):
    xr.testing.assert_identical(get(id).run(json.loads(json.dumps(parameters(id))), Silent()), sample(id)[0])


# trials, axes and plateaus against oracles


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_answers_are_those_of_the_reference(task):
    figure = "7D" if task.n_inputs else "6A"
    models = full_rank_runs.networks_of({"figure": figure}, [3, 4])
    found = full_rank_runs.answers(models, task)
    assert found.rates.shape == (2, task.n_trials, task.steps + 1, 100)
    assert found.outputs == pytest.approx(evaluate(models, task).output[..., 0], abs=1e-14)
    assert (found.rates[:, :, 0] == (0 if task.n_inputs else -0.3)).all()


@given(st.integers(1, 3), st.integers(0, 1000))
@settings(max_examples=25)
def test_principal_axes_are_the_eigenvectors_of_the_covariance(count, seed):
    generator = np.random.default_rng(seed)
    states = generator.normal(size=(3, 7, 5)) * [5.0, 3.0, 2.0, 1.0, 0.5]
    mean, axes, shares = full_rank_runs.principal_axes(states, count)
    flat = states.reshape(-1, 5)
    covariance = np.cov(flat.T)
    values = np.linalg.eigvalsh(covariance)[::-1]
    assert mean == pytest.approx(flat.mean(axis=0))
    assert axes @ axes.T == pytest.approx(np.eye(count), abs=1e-12)
    assert axes @ covariance @ axes.T == pytest.approx(np.diag(values[:count]), abs=1e-10)
    assert shares == pytest.approx(values[:count] / values.sum())
    assert (axes.max(axis=1) == np.abs(axes).max(axis=1)).all()


@given(st.sampled_from(TASKS[1:]), st.integers(0, 1000))
@settings(max_examples=25)
def test_no_blind_answer_is_better_than_the_best_one(task, seed):
    best = full_rank_runs.best_blind_loss(task)
    trial = task.trial()
    blind = trial.targets.mean(axis=0) + 0.1 * np.random.default_rng(seed).normal(size=trial.targets.shape[1:])
    outputs = np.broadcast_to(blind, trial.targets.shape)
    assert task.loss(outputs, trial) >= best * task.chance_loss
    assert best == pytest.approx(1.0 if isinstance(task, DelayedCueDiscrimination) else 0.5)
    assert best >= 2 * full_rank_runs.LEARNED


def test_the_shown_network_is_the_one_that_was_trained():
    dataset, settings = sample("full_dcdt")[0], parameters("full_dcdt")
    task = full_rank_runs.task_of(settings)
    trial, initial = task.trial(), full_rank_runs.networks_of(settings, settings["seeds"][:1])
    assert dataset["outputs"].values[0] == pytest.approx(full_rank_runs.answers(initial, task).outputs[0], abs=1e-6)
    loss = task.loss(dataset["outputs"].values[..., None], trial) / task.chance_loss
    after = dataset["shown"].values >= dataset["first_learned"].values[0]
    assert after.any()
    assert (loss[after] < 0.35).all()  # without the noise of training, so not quite its loss
    assert loss[0] > 0.7


def test_the_network_shown_is_the_first_of_its_draws():
    dataset, settings = sample("full_dcdt")[0], parameters("full_dcdt")
    late = dataset["epoch"].values >= 0.9 * (settings["epochs"] - 1)
    assert dataset.sizes["draw"] == settings["draws"] == 3
    assert dataset["draw_loss"].values[0] == pytest.approx(np.median(dataset["loss"].values[0, late]), rel=0.1)
    assert dataset["draw_learned"].values[0] == dataset["first_learned"].values[0]
    assert len(np.unique(dataset["draw_loss"])) == 3


def test_slow_points_are_slow_and_inside_the_cube():
    dataset = sample("full_dmts")[0]
    kind, speed = dataset["slow_point_kind"].values, dataset["slow_point_speed"].values
    assert (kind[:, 0] != "").all()  # the flow always has a zero
    assert (speed[kind == "fixed"] < 1e-10).all()
    assert (speed[kind == "ghost"] > 0).all()
    assert np.array_equal(dataset["n_fixed"], (kind == "fixed").sum(axis=1))
    assert np.array_equal(np.isnan(speed), kind == "")


# sweeps


@pytest.mark.parametrize("id", SWEEPS)
def test_what_a_sweep_says_of_a_network_is_what_its_own_training_says(id):
    settings, dataset = parameters(id), sample(id)[0]
    task = full_rank_runs.task_of(settings)
    for place, rate in ((1, dataset["learning_rate"].values[1]), (4, dataset["learning_rate"].values[4])):
        run = networks.trained(
            Silent(), "", full_rank_runs.networks_of(settings, [1]), settings, rate, settings["epochs"], task,
            record="all", solved=full_rank_runs.LEARNED,
        )  # fmt: skip
        loss = run.history["loss"].values[0] / task.chance_loss
        below = np.flatnonzero(loss < full_rank_runs.LEARNED)
        row = dataset.isel(learning_rate=place, seed=1)
        assert np.array_equal(row["loss"], loss[settings["epochs_shown"]])
        assert row["first_learned"] == (below[0] if len(below) else -1)
        assert row["kept"] == (loss[-50:].min() < full_rank_runs.LEARNED)


def test_a_sweep_that_was_interrupted_goes_on_where_it_stopped(tmp_path, monkeypatch):
    settings = parameters("rates_dcdt")
    calls, real = [], full_rank_sweeps.trained

    def counted(*arguments, **keywords):
        if len(calls) == 3:
            calls.clear()
            raise KeyboardInterrupt
        calls.append(arguments)
        return real(*arguments, **keywords)

    monkeypatch.setattr(full_rank_sweeps, "trained", counted)
    with parts.keeping_parts(tmp_path), pytest.raises(KeyboardInterrupt):
        full_rank_sweeps.sweep(settings, Silent())
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(full_rank_sweeps, "trained", lambda *a, **k: calls.append(a) or real(*a, **k))
    with parts.keeping_parts(tmp_path):
        resumed = full_rank_sweeps.sweep(settings, Silent())
        assert len(calls) == SWEEP["rates"] - 3
        full_rank_sweeps.sweep({**settings, "epochs": 152}, Silent())
        assert len(calls) == 2 * SWEEP["rates"] - 3  # other settings, other parts
    xr.testing.assert_identical(resumed, sample("rates_dcdt")[0])
    # outside of the context nothing is kept
    assert parts.part("x", {}, lambda: resumed, full_rank_sweeps.sweep) is resumed


# claims


def changed(id, **values):
    """The sample with variables replaced, broadcast to their shapes."""
    dataset = sample(id)[0].copy(deep=True)
    if "seed" in dataset.dims:
        dataset = dataset.isel(seed=np.resize(np.arange(dataset.sizes["seed"]), len(NETWORKS)))
    for name, value in values.items():
        dataset[name] = (dataset[name].dims, np.broadcast_to(value, dataset[name].shape))
    return dataset


#: networks in the cases below, so that a share of them can decide
NETWORKS = np.arange(4)


def sweep_cases(id):
    dataset = sample(id)[0]
    rates = len(dataset["learning_rate"])
    row, last = np.arange(rates)[:, None], np.arange(dataset.sizes["epoch"]) > 0
    steep = np.round(1000 / dataset["learning_rate"].values)[:, None] + NETWORKS
    chance = dataset.attrs["chance_accuracy"]
    good = {
        "first_learned": np.where(row < 4, steep, -1),
        "kept": row < 4,
        "gradient_norm": np.where((row[..., None] >= 4) & last, 1e-8, 1.0),
        "loss": 3.0,
        "accuracy": chance,
    }
    yield 0, good, {**good, "first_learned": np.where(row % 3 != 2, steep, -1)}
    yield 0, good, {**good, "first_learned": np.where(NETWORKS > 0, steep, -1)}
    yield 1, good, {**good, "first_learned": steep}
    yield 1, good, {**good, "first_learned": -1}
    yield 1, good, {**good, "first_learned": np.where(row < 5, steep, -1)}
    yield 2, good, {**good, "gradient_norm": 1.0}
    yield 2, good, {**good, "first_learned": -1}
    yield 3, good, {**good, "loss": 0.5}
    yield 3, good, {**good, "first_learned": steep}
    yield 4, good, {**good, "first_learned": np.where(row < 5, 100 + NETWORKS, 7)}
    yield 4, good, {**good, "first_learned": -1, "kept": False}
    if id == "rates_dcdt":
        return
    lost = {**good, "kept": row < 2}
    yield 5, lost, good
    yield 5, lost, {**good, "kept": False}  # as many at low rates as at high ones
    yield 5, lost, {**good, "kept": (row < 3) | (row == 3) & (NETWORKS > 0)}  # one network of sixteen
    yield 5, lost, {**good, "kept": False, "first_learned": -1}
    if id == "rates_full_rank":
        low = {**good, "rank_one_kept": row < 2, "rank_one_first_learned": 5}
        yield 6, low, {**low, "rank_one_kept": row < 4}
        yield 6, low, {**low, "rank_one_kept": False}


def path_cases(id):
    dataset = sample(id)[0]
    epoch, blind = dataset["epoch"].values, dataset.attrs["blind_loss"]
    searched = dataset["searched"].values
    end = epoch[-1]
    sharp = np.where(epoch < 0.5 * end, blind, 0.01)
    learned, first = int(epoch[epoch >= 0.5 * end][0]), (NETWORKS == 0)[:, None]
    good = {"loss": sharp, "first_learned": learned}
    slow = {"loss": np.linspace(blind, 0.01, len(epoch)), "first_learned": int(0.9 * end)}

    def mixed(here, there):
        """The network shown does the one thing, the others do the other."""
        return {
            "loss": np.where(first, here["loss"], there["loss"]),
            "first_learned": np.where(first[:, 0], here["first_learned"], there["first_learned"]),
        }

    never = {"loss": blind, "first_learned": -1}
    yield 0, {"draw_loss": 0.01, "draw_learned": learned}, {"draw_loss": 1.0, "draw_learned": learned}
    yield 0, {"draw_loss": 0.01, "draw_learned": learned}, {"draw_loss": 0.01, "draw_learned": -1}
    yield 1, good, mixed(good, never)  # one network of four
    yield 2, mixed(good, slow), mixed(slow, good)
    yield 2, good, never
    yield 3, good, mixed(good, slow)
    yield 3, good, never
    early = {**good, "n_ghosts": searched >= searched[1], "first_learned": end}
    yield 4, early, {**early, "n_ghosts": 0}
    yield (
        4,
        early,
        {**early, "loss": np.where(epoch < searched[1] // 2, blind, 0.01), "n_ghosts": searched == searched[2]},
    )
    yield 4, early, {**early, **never}
    row = (np.arange(len(searched)) == len(searched) - 1)[:, None]
    ghost = {"slow_point_kind": np.where(row, "ghost", "")}
    yield 5, ghost, {"slow_point_kind": "fixed"}
    yield 5, ghost, {"slow_point_kind": np.where(row, "undecided", "")}


def saturation_cases():
    moment = np.arange(3)[:, None]
    good = {"saturated_units": 0.1 + 0.2 * moment, "saturated_outputs": 0.97, "loss": 0.2 + 0.5 * moment}
    good |= {"gradient_norm": 10.0 ** (-5 * moment), "peak_norm": 1.0, "end_loss": 1.0, "learned": True}
    first = np.arange(4) == 0
    yield 0, good, {**good, "end_loss": 0.1}
    yield 0, good, {**good, "end_loss": np.where(first, 1.0, 0.1)}
    yield 1, good, {**good, "lost_is_rare": True}
    yield 2, good, {**good, "saturated_units": 0.6}
    yield 2, good, {**good, "saturated_units": np.where(first, good["saturated_units"], 0.6)}
    yield 3, good, {**good, "saturated_outputs": 0.5}
    yield 3, good, {**good, "loss": 0.2}
    yield 4, good, {**good, "gradient_norm": 0.1}


@IDS
def test_every_claim_holds_on_data_that_shows_it_and_fails_on_data_that_does_not(id):
    cases = sweep_cases(id) if id in SWEEPS else path_cases(id) if id.startswith("full") else saturation_cases()
    judged = set()
    fixed = [(claim.sentence, claim.rule) for claim in get(id).claims(sample(id)[0], parameters(id))]
    for index, good, bad in cases:
        judged.add(index)
        for values, verdict in ((good, "holds"), (bad, "does not hold")):
            values = dict(values)
            rare = values.pop("lost_is_rare", False)
            dataset = changed(id, **values)
            if rare:
                many = np.resize(np.arange(dataset.sizes["network"]), 20 * dataset.sizes["lost"])
                dataset = dataset.isel(network=many)
            claim = get(id).claims(dataset, parameters(id))[index]
            assert claim.verdict == verdict, (claim, values)
            assert (claim.sentence, claim.rule) == fixed[index]  # the rule was fixed before the data
    assert judged == set(range(len(fixed)))


@pytest.mark.parametrize("id", SWEEPS)
@pytest.mark.parametrize("learned", [-1, 3])
def test_a_sweep_in_which_no_network_keeps_the_task_still_gives_claims(id, learned):
    claims = get(id).claims(changed(id, kept=False, first_learned=learned), parameters(id))
    assert claims[0].verdict == ("does not hold" if learned < 0 else "holds")
    assert claims[1].verdict == "does not hold"


def test_the_rank_one_networks_are_the_sweep_of_their_own_names():
    dataset = sample("rates_full_rank")[0]
    own = rank_one(dataset)
    assert np.array_equal(own["loss"], dataset["rank_one_loss"])
    assert list(own["epoch"].values) == SMALL["rates_full_rank"]["rank_one_shown"]
    assert {"kept", "first_learned"} <= set(own)


FEW = {"epochs": 11, "epochs_shown": [0, 10]}
ABSENT = {
    "full_dcdt": {"epochs": 5},
    "full_dmts": {"epochs": 5},
    "rates_full_rank": {**FEW, "log10_rates": [-4.0, -3.0], "rank_one_epochs": 11, "rank_one_shown": [0, 10]},
    "rates_dcdt": {**FEW, "log10_rates": [-4.0, -3.0]},
    "rates_dmts": {**FEW, "log10_rates": [-4.0, -3.0], "seeds": [0, 1, 2, 3]},
    "saturation_dmts": {"epochs": 60},
}


@IDS
def test_too_few_epochs_give_claims_that_do_not_hold_and_a_figure(id, tmp_path):
    few = {**parameters(id), **ABSENT[id]}
    dataset = get(id).run(few, Silent())
    again = read_dataset(write_dataset(dataset, tmp_path / "data.zarr.zip"))
    xr.testing.assert_identical(again, dataset)
    claims = get(id).claims(again, few)
    if id == "saturation_dmts":  # without learning no network has the task, which is all that claim says
        assert claims.pop(0).verdict == "holds"
    assert "holds" not in {claim.verdict for claim in claims}
    assert sum(claim.verdict == "does not hold" for claim in claims) >= 4
    FigureCanvasAgg(figures.draw(id, again)).draw()


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_to_three_networks_decide_no_claim_about_networks(seeds):
    dataset = changed("rates_dmts", kept=True, first_learned=3).isel(seed=slice(seeds))
    claims = get("rates_dmts").claims(dataset, parameters("rates_dmts"))
    assert [claim.verdict for claim in claims[:2]] == ["not testable at this scale"] * 2


@pytest.mark.slow
def test_networks_are_lost_as_published_and_the_gradient_goes():
    experiment = get("saturation_dmts")
    quick = experiment.parameters["quick"]
    claims = experiment.claims(experiment.run(quick, Silent()), quick)
    assert [claim.verdict for claim in claims] == ["holds"] * 5
