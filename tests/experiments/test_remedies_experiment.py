"""The comparison of remedies at a scale of seconds: who counts as learned, lost and solved; claims
that can fail.
"""

from __future__ import annotations

import json
import sys
from functools import cache

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import ghostpoint as gp
from ghostpoint.experiments import remedies, remedy_claims, remedy_runs
from ghostpoint.experiments.shared.base import Silent
from ghostpoint.experiments.shared.parts import keeping_parts
from ghostpoint.models import LowRankRNN
from ghostpoint.remedies import ClipGradient, HazardLimit, Rewind, TrustRegion
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.tasks import DelayedActivation
from tests.experiments.network_samples import Counted

ALL = ["plain", "clip 0.01", "clip 0.1", "hazard limit", "trust region", "trust region, growth inf"]


def small():
    sweep = remedies._sweep
    sweeps = [
        sweep("rank one", "sgd", [0.5, 2.0], 400, 3, ALL),
        sweep("rank one", "adam", [0.01, 0.1], 150, 3, ["plain", "clip 0.1", "trust region", "confidence 1"]),
        sweep("rank one", "adam", [0.1], 12, 2, ["rewind", "trust region + clip 0.1", "nine spare ranks"]),
        sweep("T = 48", "adam", [0.1], 150, 2, ["plain", "trust region"]),
        sweep("DCDT", "adam", [0.1], 20, 2, ["plain", "trust region"]),
    ]
    return {**remedies.PARAMETERS["paper"], "sweeps": sweeps}


@cache
def sample():
    progress = Counted()
    return remedies.run(small(), progress), progress


def cases(dataset, **names):
    chosen = np.ones(dataset.sizes["case"], bool)
    for name, value in names.items():
        chosen &= dataset[name].values == value
    return np.flatnonzero(chosen)


def test_the_dataset_survives_the_disk_and_gives_the_same_claims(tmp_path):
    dataset, _ = sample()
    again = read_dataset(write_dataset(dataset, tmp_path / "data.zarr.zip"))
    xr.testing.assert_identical(again, dataset)
    claims = remedies.claims(dataset, small())
    assert remedies.claims(again, json.loads(json.dumps(small()))) == claims
    assert all(claim.sentence and claim.source and claim.rule and claim.measured for claim in claims)
    assert {claim.origin for claim in claims} == {remedies.REMEDIES.origin} == {"own"}


def test_the_progress_of_every_phase_adds_up():
    assert all(done == total > 0 for _, total, done in sample()[1].phases)


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_sweep_is_described_and_its_networks_and_remedies_fit_the_task(scale):
    parameters = json.loads(json.dumps(remedies.PARAMETERS[scale]))
    for sweep in parameters["sweeps"]:
        problem = parameters["problems"][sweep["problem"]]
        task = gp.tasks.Task.from_dict(problem["task"])
        for name in sweep["treatments"]:
            treatment = parameters["treatments"][name]
            models = remedy_runs.models_of(problem, treatment, [0])
            assert (models.n_inputs, models.n_outputs) == (task.n_inputs, task.n_outputs)
            remedy_runs.remedies_of(treatment)


def test_parts_that_are_there_are_not_trained_again(tmp_path, monkeypatch):
    parameters = {**small(), "sweeps": small()["sweeps"][-1:]}
    with keeping_parts(tmp_path):
        first = remedies.run(parameters, Silent())
        monkeypatch.setattr(remedy_runs, "train", None)
        progress = Counted()
        xr.testing.assert_identical(remedies.run(parameters, progress), first)
        assert all(done == total for _, total, done in progress.phases)
        with pytest.raises(TypeError):
            remedies.run({**parameters, "sweeps": [{**parameters["sweeps"][0], "epochs": 19}]}, Silent())


def test_remedies_are_those_that_describe_themselves():
    asked = (TrustRegion(growth=np.inf, tilt=0.3), HazardLimit(0.2), ClipGradient(0.5), Rewind(patience=7))
    described = [{key: "inf" if value == np.inf else value for key, value in one.to_dict().items()} for one in asked]
    assert remedy_runs.remedies_of({"remedies": json.loads(json.dumps(described))}) == asked
    assert remedy_runs.remedies_of({}) == ()


def test_spare_ranks_leave_the_first_and_are_drawn_like_it():
    models = LowRankRNN.published(range(40))
    wide = remedy_runs.with_spare_ranks(models, 9)
    assert wide.rank == 10
    assert wide.w_out is None
    for name in ("m", "n"):
        np.testing.assert_array_equal(getattr(wide, name)[:, :, :1], getattr(models, name))
        # 36,000 numbers of variance 1/N: their mean square is within 5 standard errors of it
        spare = getattr(wide, name)[:, :, 1:] * np.sqrt(models.n_units)
        assert abs(np.mean(spare**2) - 1) < 5 * np.sqrt(2 / spare.size)
    np.testing.assert_array_equal(remedy_runs.with_spare_ranks(models[3], 9).m, wide.m[3:4])
    assert remedy_runs.with_spare_ranks(models, 0) is models


@pytest.mark.parametrize(
    ("treatment", "remedy", "rate", "confidence"),
    [("plain", None, 0.5, 10.0), ("trust region", TrustRegion(), 2.0, 10.0), ("confidence 1", None, 0.1, 1.0)],
)
def test_fates_are_those_of_the_history(treatment, remedy, rate, confidence):
    """The rules again, in loops over a training made apart from the experiment."""
    adam = treatment == "confidence 1"
    epochs = 150 if adam else 400
    dataset = sample()[0]
    [case] = cases(dataset, problem="rank one", treatment=treatment, learning_rate=rate, epochs=epochs)
    saved = dataset.isel(case=case)
    models = LowRankRNN.published(range(3), confidence=confidence)
    optimizer = "adam" if adam else "sgd"
    history = gp.train(
        models, DelayedActivation(), rate, epochs, optimizer=optimizer, remedy=remedy, record="all"
    ).history
    for network in range(3):
        accuracy, loss = history["accuracy"].values[network], history["loss"].values[network]
        learned = any(value > 0.75 for value in accuracy)
        lost = learned and not any(value > 0.5 for value in accuracy[-50:])
        below = [epoch for epoch, value in enumerate(loss) if value < 0.05]
        assert bool(saved["learned"][network]) == learned
        assert bool(saved["lost"][network]) == lost
        assert bool(saved["above_chance"][network]) == any(value > 0.5 for value in accuracy)
        assert int(saved["first_solved"][network]) == (below[0] if below else -1)
        middle = sorted(loss[-50:].astype(float))[24:26]
        assert float(saved["final_loss"][network]) == pytest.approx(sum(middle) / 2, rel=1e-6)
        if remedy is None:
            assert float(saved["acted"][network]) == 0
        else:
            acted = np.mean(history["update_scale"].values[network] != 1)
            assert float(saved["acted"][network]) == pytest.approx(acted)


def dataset_of(*found):
    """A dataset as a run's, from (optimizer, treatment, rate, final losses, lost, first solved) per
    case.
    """
    most = max(len(one[3]) for one in found)

    def padded(place, fill):
        return [[*one[place], *[fill] * (most - len(one[3]))] for one in found]

    lost = np.array(padded(4, False))
    own = np.array([[True] * len(one[3]) + [False] * (most - len(one[3])) for one in found])
    names = {"problem": ["rank one"] * len(found), "epochs": [100] * len(found)}
    return xr.Dataset(
        {
            "final_loss": (("case", "network"), padded(3, np.nan)),
            "lost": (("case", "network"), lost),
            "learned": (("case", "network"), own),
            "above_chance": (("case", "network"), lost),
            "first_solved": (("case", "network"), padded(5, -1)),
            "acted": (("case", "network"), padded(3, np.nan)),
        },
        coords={
            **{name: ("case", values) for name, values in names.items()},
            "optimizer": ("case", [one[0] for one in found]),
            "treatment": ("case", [one[1] for one in found]),
            "learning_rate": ("case", [one[2] for one in found]),
            "networks": ("case", [len(one[3]) for one in found]),
        },
    )  # fmt: skip


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 2) | st.just(np.nan), st.booleans(), st.integers(-1, 9)), min_size=1, max_size=6)
)
def test_a_row_counts_its_own_networks_only(networks):
    losses, lost, first = (list(column) for column in zip(*networks, strict=True))
    wider = ("sgd", "plain", 1.0, [0.0] * 7, [True] * 7, [0] * 7)
    dataset = dataset_of(wider, ("sgd", "trust region", 1.0, losses, lost, first))
    [row] = remedy_claims.rows_of(dataset, treatment="trust region")
    assert row.networks == row.learned == len(networks)
    assert row.lost == sum(lost)
    assert row.solved == sum(loss < 0.05 for loss in losses)
    assert row.loss == np.median([np.inf if np.isnan(loss) else loss for loss in losses])
    later = sorted(np.inf if epoch < 0 else epoch for epoch in first)
    assert later[(len(later) - 1) // 2] <= row.epoch <= later[len(later) // 2]


def test_the_best_threshold_solves_most_and_then_has_the_lowest_loss():
    def case(norm, losses):
        return ("sgd", f"clip {norm:g}", 1.0, losses, [False] * 4, [5] * 4)

    dataset = dataset_of(
        case(1, [1e-9, 1e-9, 1, 1]), case(0.1, [0.01] * 4), case(0.01, [0.02] * 4), case(0.001, [0.001] * 3 + [1])
    )
    rows = remedy_claims.rows_of(dataset)
    assert remedy_claims.best_clip(rows).treatment == "clip 0.001"  # one network fewer does not count
    assert remedy_claims.best_clip([row for row in rows if row.solved == 4]).treatment == "clip 0.1"
    assert remedy_claims.best_clip([]) is None


def judged(dataset):
    return {claim.sentence: claim.verdict for claim in remedy_claims.claims_of(dataset)}


GOOD = ("trust region", [0.001] * 100, [False] * 100, [20] * 100)
BAD = ("trust region", [0.4] * 100, [True] * 100, [60] * 100)
BESIDE = [
    ("plain", [0.01] * 100, [False] * 100, [40] * 100),
    ("clip 0.1", [0.02] * 100, [False] * 100, [50] * 100),
    ("clip 1", [1] * 100, [True] * 100, [-1] * 100),
    ("hazard limit", [1] * 100, [True] * 100, [-1] * 100),
    ("trust region + clip 0.1", [0.01] * 100, [False] * 100, [50] * 100),
    ("confidence 1", [1] * 100, [True] * 100, [-1] * 100),
    ("rewind", [0.04] * 100, [False] * 100, [50] * 100),
    ("reduced rate", [1] * 100, [True] * 100, [-1] * 100),
]


def test_claims_hold_for_a_region_that_works_and_fail_for_one_that_does_not():
    def verdicts(region):
        rows = [("adam", name, 0.1, *rest) for name, *rest in [*BESIDE, region]]
        other = [("adam", name, 0.1, *rest) for name, *rest in [BESIDE[0], region]]
        dataset = dataset_of(*rows, *other)
        problem = ["rank one"] * len(rows) + ["DCDT"] * len(other)
        return judged(dataset.assign_coords(problem=("case", problem)))

    good, bad = verdicts(GOOD), verdicts(BAD)
    about = [sentence for sentence in good if "trust region" in sentence and "Clipping or" not in sentence]
    assert len(about) == 5
    assert {good[sentence] for sentence in about} == {"holds"}
    assert {bad[sentence] for sentence in about} == {"does not hold"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("clip 0.1", "hazard limit", "rewind", "trust region + clip 0.1"), ""),
        (("hazard limit",), "cheap proxy"),
        (("confidence 1",), "rising confidence"),
        (("rewind",), "Going back"),
        (("reduced rate",), "Going back"),
        (("trust region + clip 0.1",), "can be added"),
        (("clip 0.1",), "No single"),
    ],
)
def test_claims_about_the_others_turn_with_what_became_of_their_networks(changed, words):
    before = dataset_of(*(("adam", name, 0.1, *rest) for name, *rest in [*BESIDE, GOOD]))
    turned = before.copy(deep=True)
    rows = np.isin(turned["treatment"].values, changed)
    turned["lost"][rows] = ~turned["lost"][rows]
    turned["final_loss"][rows] = 1.02 - turned["final_loss"][rows]
    first, then = judged(before), judged(turned)
    if not words:
        assert first != then
        return
    [sentence] = [sentence for sentence in first if words in sentence]
    assert first[sentence] != then[sentence]


def test_what_was_not_tried_is_not_judged():
    alone = judged(dataset_of(("sgd", "plain", 0.1, [1.0], [True], [-1])))
    assert set(alone.values()) == {"not testable at this scale"}


def test_half_the_critical_rate_is_shown_but_not_claimed_about():
    def dataset(rate):
        return dataset_of(("sgd", "trust region", rate, [1.0], [True], [-1]), ("sgd", *GOOD[:1], 0.5, *GOOD[1:]))

    assert "does not hold" not in judged(dataset(0.01)).values()
    assert "does not hold" in judged(dataset(0.02)).values()


def test_every_treatment_of_the_quick_scale_is_trained_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it raises ImportError
    parameters = remedies.PARAMETERS["quick"]
    treatments = {name for sweep in parameters["sweeps"] for name in sweep["treatments"]}
    assert "guard" in treatments
    for name in sorted(treatments):
        one = {
            "problem": "rank one", "optimizer": "sgd", "rates": [0.5], "epochs": 3, "seeds": 2, "treatments": [name],
        }  # fmt: skip
        assert remedy_runs.sweep(parameters, one, Silent()).sizes == {"case": 1, "network": 2}
