"""Trainings that are kept as parts: found again by what is computed, and by nothing less."""

from __future__ import annotations

from functools import wraps

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint.experiments import Silent
from ghostpoint.experiments.shared import networks
from ghostpoint.experiments.shared.networks import digest, trained
from ghostpoint.experiments.shared.parts import keeping_parts
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination
from tests.experiments.network_samples import Counted

MODELS = LowRankRNN.published([3, 40], "3")
TASK = DelayedActivation(30, 5, 10)
USUAL = {"models": MODELS, "task": TASK, "learning_rate": 0.01, "epochs": 12, "dtype": "float32", "record": "all"}
WEIGHTS = np.array(MODELS.m)
WEIGHTS[1, 7] = np.nextafter(WEIGHTS[1, 7], np.float32(1))


def run(progress=None, **changes):
    given = {**USUAL, **changes}
    models, task, rate, epochs = (given.pop(name) for name in ("models", "task", "learning_rate", "epochs"))
    parameters = {"dtype": given.pop("dtype")}
    name = given.pop("keep", "training")
    return trained(progress or Silent(), "training", models, parameters, rate, epochs, task, keep=name, **given)


@pytest.fixture
def trainings(monkeypatch):
    """A list that gets an entry from every training that is really made."""
    made, real = [], networks.train

    @wraps(real)
    def counted(*arguments, **keywords):
        made.append(arguments)
        return real(*arguments, **keywords)

    monkeypatch.setattr(networks, "train", counted)
    return made


def test_a_kept_training_is_found_again_bit_for_bit(tmp_path, trainings):
    fresh = run(keep="")
    with keeping_parts(tmp_path) as ledger:
        first = run()
    assert ledger.earlier_seconds == 0
    assert len(trainings) == 2
    progress = Counted()
    with keeping_parts(tmp_path) as ledger:
        again = run(progress)
    assert len(trainings) == 2
    assert ledger.earlier_seconds > 0
    for each in (first, again):
        xr.testing.assert_identical(each.to_dataset(), fresh.to_dataset())
        assert digest(each.models) == digest(fresh.models)
    assert progress.phases == [["training", 24, 24]]


def test_without_a_folder_or_a_name_nothing_is_kept(tmp_path, trainings):
    run()
    with keeping_parts(None):
        run()
    with keeping_parts(tmp_path):
        run(keep="")
    assert len(trainings) == 3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"models": MODELS.replace(m=WEIGHTS)}, id="one weight by one unit in the last place"),
        pytest.param({"models": LowRankRNN.published([3, 41], "3")}, id="seed"),
        pytest.param({"models": LowRankRNN.published([40, 3], "3")}, id="order"),
        pytest.param({"models": LowRankRNN.published([3], "3")}, id="fewer networks"),
        pytest.param({"models": MODELS.replace(initial_state=np.full((2, 100), -0.2))}, id="initial state"),
        pytest.param({"models": MODELS.replace(trainable=("m",))}, id="trainable parts"),
        pytest.param({"task": DelayedActivation(35, 5, 10)}, id="delay"),
        pytest.param({"task": DelayedActivation(30, 5, 20)}, id="time constant"),
        pytest.param({"learning_rate": 0.02}, id="rate"),
        pytest.param({"learning_rate": np.array([0.01, 0.02])}, id="rate of one network"),
        pytest.param({"epochs": 13}, id="epochs"),
        pytest.param({"dtype": "float64"}, id="dtype"),
        pytest.param({"record": [0, 5]}, id="record"),
        pytest.param({"checkpoints": np.array([0, 5])}, id="checkpoints"),
        pytest.param({"solved": 0.5}, id="solved"),
        pytest.param({"optimizer": "adam"}, id="optimizer"),
        pytest.param({"keep": "other"}, id="name"),
    ],
)
def test_another_training_is_another_part(tmp_path, trainings, changes):
    with keeping_parts(tmp_path):
        run()
        made = run(**changes)
        assert len(trainings) == 2
        assert len(list(tmp_path.iterdir())) == 2
        again = run(**changes)
    assert len(trainings) == 2
    xr.testing.assert_identical(again.to_dataset(), made.to_dataset())


def test_other_code_is_another_part(tmp_path, trainings, monkeypatch):
    with keeping_parts(tmp_path):
        run()
        monkeypatch.setattr("ghostpoint.experiments.shared.parts.fingerprint", lambda code: "other code")
        run()
    assert len(trainings) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupted_training_leaves_no_part_and_those_before_it_are_found_again(tmp_path, trainings):
    class Impatient(Silent):
        left = 6

        def advance(self, amount):
            self.left -= amount
            if self.left < 0:
                raise KeyboardInterrupt

    cue = {
        "models": FullRankRNN.published([3], "5"),
        "task": DelayedCueDiscrimination(10, 20, 20, noise=0.01, initial_scale=0.1),
    }
    unbroken = [run(), run(**cue)]
    trainings.clear()
    with keeping_parts(tmp_path):
        run()
        with pytest.raises(KeyboardInterrupt):
            run(Impatient(), **cue)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(trainings) == 2
    with keeping_parts(tmp_path):
        resumed = [run(), run(**cue)]
    assert len(trainings) == 3
    for one, other in zip(resumed, unbroken, strict=True):
        xr.testing.assert_identical(one.to_dataset(), other.to_dataset())


@given(st.integers(0, 99), st.integers(0, 31), st.sampled_from(["m", "n", "b"]))
def test_every_bit_of_every_weight_counts(unit, bit, part):
    values = np.array(getattr(MODELS, part))
    flat = values.reshape(2, 100, -1)[1, unit : unit + 1, 0].astype(np.float32)
    turned = (flat.view(np.uint32) ^ np.uint32(1 << bit)).view(np.float32)
    if not np.isfinite(turned).all():
        return
    values.reshape(2, 100, -1)[1, unit, 0] = turned[0]
    changed = MODELS.replace(**{part: values})
    assert digest(changed) != digest(MODELS)
    assert digest(changed.replace(**{part: getattr(MODELS, part)})) == digest(MODELS)


def test_a_digest_tells_kinds_of_networks_and_settings_apart():
    same = [MODELS, LowRankRNN.published([3, 40], "3"), MODELS[[0, 1]]]
    assert len({digest(each) for each in same}) == 1
    other = [
        MODELS.replace(activation="tanh"),
        MODELS.replace(confidence=5.0),
        LowRankRNN.published([3, 40], "6B", rank=1),
    ]
    assert len({digest(each) for each in [MODELS, *other, FullRankRNN.published([3, 40], "6A")]}) == 5
