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
from ghostpoint.experiments.shared import sweep_runs
from ghostpoint.experiments.shared.base import Silent
from ghostpoint.experiments.shared.parts import keeping_parts
from ghostpoint.models import LowRankRNN
from ghostpoint.remedies import TrustRegion
from ghostpoint.remedies.registry import AUTO_OF_SOME
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.sweeps.stacks import remedies_of, with_spare_ranks
from ghostpoint.sweeps.sweep_file import read_sweep
from ghostpoint.tasks import DelayedActivation
from tests.experiments.network_samples import Counted

ALL = ["plain", "clip 0.01", "clip 0.1", "hazard limit", "trust region", "trust region, growth inf"]
SOME = ["plain", "clip 0.1", "trust region"]


def small():
    few = ["plain", "trust region"]
    return {
        "sweeps": {
            "sgd": remedies.quick("remedies_sgd", 400, 3, ALL, learning_rate=[0.5, 2.0]),
            "adam": remedies.quick("remedies_adam", 150, 3, SOME, learning_rate=[0.01, 0.1]),
            "networks": remedies.quick("remedies_networks", 150, 3, ["confidence 1"], optimizer=["adam"]),
            "spare": remedies.quick("remedies_networks", 12, 2, ["nine spare ranks"], optimizer=["adam"]),
            "others": remedies.quick("remedies_others", 12, 2, ["rewind"], optimizer=["adam"]),
            "both": remedies.quick("remedies_adam", 12, 2, ["trust region + clip 0.1"], learning_rate=[0.1]),
            "delay": remedies.quick("remedies_low_rank", 150, 2, few, task=["T = 48"], learning_rate=[0.1]),
            "dcdt": remedies.quick("remedies_full_rank", 20, 2, few, task=["DCDT"], learning_rate=[0.1]),
        }
    }


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


def test_the_files_have_the_cases_of_the_comparison():
    count = sum(one.count // one.sizes["seed"] for one in map(read_sweep, remedies.PAPER["sweeps"].values()))
    assert count == 690
    sweep = read_sweep("remedies_low_rank")
    task = next(axis for axis in sweep.axes if axis.name == "task")
    first = {}
    for stack in sweep.stacks():
        place = np.unravel_index(stack.members[0], tuple(sweep.sizes.values()))[list(sweep.sizes).index("task")]
        first.setdefault(task.labels[place], (stack.settings, stack.networks))
    delays = {label: settings["task"]["delay"] for label, (settings, _) in first.items()}
    assert delays == {"T = 48": 240, "T = 96": 480, **dict.fromkeys(("c = 2", "c = 50", "rank two", "rank ten"), 100)}
    assert [first[label][1]["confidence"][0] for label in ("c = 2", "c = 50", "T = 48")] == [2, 50, 10]
    assert [first[label][0]["models"]["rank"] for label in ("rank two", "rank ten", "c = 2")] == [2, 10, 1]
    guarded = next(axis for axis in sweep.axes if axis.name == "remedies").values[4]
    assert remedies_of({"remedies": guarded}) == (AUTO_OF_SOME,)


def test_parts_that_are_there_are_not_trained_again(tmp_path, monkeypatch):
    dcdt = small()["sweeps"]["dcdt"]
    with keeping_parts(tmp_path):
        first = remedies.run({"sweeps": {"dcdt": dcdt}}, Silent())
        monkeypatch.setattr(sweep_runs, "compute", None)
        progress = Counted()
        xr.testing.assert_identical(remedies.run({"sweeps": {"dcdt": dcdt}}, progress), first)
        assert all(done == total for _, total, done in progress.phases)
        with pytest.raises(TypeError):
            remedies.run({"sweeps": {"dcdt": sweep_runs.changed(dcdt, training={"epochs": 19})}}, Silent())


def test_a_sweep_of_the_command_is_that_of_the_experiment(tmp_path):
    for name, keys in (("sgd", {"learning_rate": 2.0}), ("networks", {})):
        found = gp.sweep(small()["sweeps"][name], tmp_path / name, threads=1)
        if name == "networks":
            found = found.isel(learning_rate=[-1])
            keys = {"learning_rate": 0.1}
        arrays = {key: (value.dims, value.values.reshape(-1, *value.shape[3:]))
                  for key, value in found.load().data_vars.items() if not key.startswith("final_")}  # fmt: skip
        # networks without a remedy have no such count
        if "remedy_epochs" in arrays:
            arrays["remedy_epochs"] = ("network",), np.maximum(arrays["remedy_epochs"][1], 0)
        mine = remedy_runs.fates(arrays, DelayedActivation(), found.sizes["epoch"])
        rows = [
            row
            for treatment in found["remedies"].values
            for rate in found["learning_rate"].values
            for row in cases(sample()[0], problem="rank one", treatment=treatment, learning_rate=rate,
                             epochs=found.sizes["epoch"])
        ]  # fmt: skip
        assert len(rows) * 3 == len(mine["lost"])
        for key, values in mine.items():
            np.testing.assert_array_equal(sample()[0][key].values[rows][:, :3].ravel(), values)
        assert cases(sample()[0], **keys).size


def test_spare_ranks_leave_the_first_and_are_drawn_like_it():
    models = LowRankRNN.published(range(40))
    wide = with_spare_ranks(models, 9)
    assert wide.rank == 10
    assert wide.w_out is None
    for name in ("m", "n"):
        np.testing.assert_array_equal(getattr(wide, name)[:, :, :1], getattr(models, name))
        # 36,000 numbers of variance 1/N: their mean square is within 5 standard errors of it
        spare = getattr(wide, name)[:, :, 1:] * np.sqrt(models.n_units)
        assert abs(np.mean(spare**2) - 1) < 5 * np.sqrt(2 / spare.size)
    np.testing.assert_array_equal(with_spare_ranks(models[3], 9).m, wide.m[3:4])
    assert with_spare_ranks(models, 0) is models


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
    about = [one for one in good if "trust region" in one and "Clipping or" not in one and "guard" not in one]
    assert len(about) == 5
    assert {good[sentence] for sentence in about} == {"holds"}
    assert {bad[sentence] for sentence in about} == {"does not hold"}


def test_claims_about_the_guard_hold_where_it_keeps_the_networks_and_is_no_other_remedy():
    def verdicts(losses, lost, first):
        guard = ("guard", losses, lost, first)
        rows = [("adam", name, 0.1, *rest) for name, *rest in [*BESIDE, GOOD, guard]]
        other = [("adam", name, 0.1, *rest) for name, *rest in [BESIDE[0], GOOD, guard]]
        problem = ["rank one"] * len(rows) + ["DMTS"] * len(other)
        return judged(dataset_of(*rows, *other).assign_coords(problem=("case", problem)))

    kept, sooner = (
        verdicts([1e-6] * 100, [False] * 100, [9] * 100),
        verdicts([1e-6] * 99 + [1], [False] * 100, [9] * 100),
    )
    lost = verdicts([1.0] * 100, [True] * 100, [30] * 100)
    about = [sentence for sentence in kept if "guard" in sentence]
    assert len(about) == 4
    beside = next(sentence for sentence in about if "match to sample" in sentence)
    # all are solved by the trust region too, so the guard does not solve more
    assert {kept[sentence] for sentence in about if sentence != beside} == {"holds"}
    assert kept[beside] == sooner[beside] == lost[beside] == "does not hold"
    assert {lost[sentence] for sentence in about} == {"does not hold"}
    others = next(sentence for sentence in kept if "rising confidence" in sentence)
    assert kept[others] == "holds"  # of the remedies that do not limit the update, the guard is none


def test_the_guard_is_claimed_to_be_ahead_on_match_to_sample_where_it_is():
    region = ("trust region", [0.001] * 90 + [1.0] * 10, [False] * 100, [20] * 100)
    for first, verdict in ((9, "holds"), (21, "does not hold")):
        guard = ("guard", [0.001] * 95 + [1.0] * 5, [False] * 100, [first] * 100)
        rows = [("adam", name, 0.1, *rest) for name, *rest in (BESIDE[0], region, guard)]
        found = judged(dataset_of(*rows).assign_coords(problem=("case", ["DMTS"] * 3)))
        assert [found[one] for one in found if "match to sample" in one] == [verdict]


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
    found = set()
    for name, sweep in remedies.QUICK["sweeps"].items():
        short = sweep_runs.changed(sweep, training={"epochs": 3})
        short["grid"]["models"]["seed"] = [0, 1]
        dataset = remedies.run({"sweeps": {name: short}}, Silent())
        assert dataset.sizes["network"] == 2
        found |= set(dataset["treatment"].values.tolist())
    assert {"guard", *remedies.QUICK_TREATMENTS} <= found
