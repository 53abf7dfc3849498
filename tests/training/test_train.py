"""``train``: events against runs recorded at every epoch, what is recorded, splitting a run, and
what is refused.
"""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ghostpoint
from ghostpoint import LowRankRNN, train
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training.train_networks import recorded_epochs
from tests.training.calls import train_with
from tests.training.problems import PARTS, networks, same_bits, tasks

TASK = DelayedActivation()
SHORT = DelayedActivation(30)
ENGINES = pytest.mark.parametrize(
    "engine", [{"layout": "networks"}, {"layout": "units"}, {"engine": "reference", "dtype": "float64"}]
)
#: seeds of which some never learn, some learn, and some are lost, frozen or not, within 5000 epochs
#: at rate 0.02
MIXED = range(24)
EPOCHS = 5000


@pytest.fixture(scope="module")
def mixed():
    return train(LowRankRNN.published(MIXED), TASK, 0.02, EPOCHS, record="all", checkpoints=[0, 3333, EPOCHS - 1])


def first(happened):
    return np.where(happened.any(axis=1), happened.argmax(axis=1), -1)


def last(happened):
    return np.where(happened.any(axis=1), happened.shape[1] - 1 - happened[:, ::-1].argmax(axis=1), -1)


def check_events(run, solved=0.05):
    """The events that follow from a history of every epoch."""
    accuracy, loss = run.history["accuracy"].values, run.history["loss"].values
    above, epochs = accuracy > 0.5, accuracy.shape[1]
    events = {name: values.values for name, values in run.events.items()}
    assert np.array_equal(events["first_above_chance"], first(above))
    assert np.array_equal(events["last_above_chance"], last(above))
    assert np.array_equal(events["first_solved"], first(loss < solved))
    lost = above.any(axis=1) & ~above[:, -NO_LEARNING_WINDOW:].any(axis=1)
    assert np.array_equal(events["no_learning_zone_entry"], np.where(lost, last(above) + 1, -1))
    assert not ((events["frozen"] >= 0) & (events["diverged"] >= 0)).any()
    assert max(events["frozen"].max(), events["diverged"].max()) < epochs
    return events


def test_events_are_those_of_the_full_history(mixed):
    events = check_events(mixed)
    # the sample has every fate
    assert (events["first_above_chance"] < 0).any()
    assert (events["first_solved"] >= 0).any()
    assert (events["no_learning_zone_entry"] >= 0).any()
    assert (events["no_learning_zone_entry"] < 0)[events["first_above_chance"] >= 0].any()
    assert (events["frozen"] > 0).any()


def test_a_frozen_network_never_changes_again_and_did_until_then(mixed):
    frozen = mixed.events["frozen"].values
    for row in np.flatnonzero(frozen > 0)[:3]:
        one, rest = LowRankRNN.published([MIXED[row]]), mixed.history.isel(network=row, epoch=slice(frozen[row], None))
        for name in rest.data_vars:
            assert (rest[name] == rest[name][0]).all(), name
        before = train(one, TASK, 0.02, int(frozen[row]) - 1).models
        at = train(one, TASK, 0.02, int(frozen[row])).models
        after = train(one, TASK, 0.02, int(frozen[row]) + 1).models
        assert any(not np.array_equal(getattr(before, part), getattr(at, part)) for part in PARTS)
        for part in PARTS:
            assert np.array_equal(getattr(at, part), getattr(after, part))
            assert np.array_equal(getattr(at, part)[0], getattr(mixed.models, part)[row])
            assert np.array_equal(getattr(at, part)[0], mixed.checkpoints[part].values[-1, row])


def test_checkpoints_are_runs_that_stop_there(mixed):
    for index, epoch in enumerate(mixed.checkpoints["epoch"].values):
        kept = mixed.models_at(index)
        models = train(LowRankRNN.published(MIXED), TASK, 0.02, int(epoch)).models if epoch else None
        for part in PARTS:
            expected = getattr(models or LowRankRNN.published(MIXED), part).astype(np.float32)
            assert np.array_equal(getattr(kept, part), expected), part
    assert kept.trainable == mixed.models.trainable


def test_a_run_in_two_parts_is_one_run(mixed):
    cut = 1234
    one = train(LowRankRNN.published(MIXED), TASK, 0.02, cut, record="all")
    two = train(one.models, TASK, 0.02, EPOCHS - cut, record="all")
    for name, values in mixed.history.items():
        joined = np.concatenate([one.history[name].values, two.history[name].values], axis=1)
        assert np.array_equal(joined, values), name
    for part in PARTS:
        assert np.array_equal(getattr(two.models, part), getattr(mixed.models, part))


@pytest.mark.parametrize(
    ("record", "epochs"),
    [
        ("auto", range(EPOCHS)),
        (7, range(0, EPOCHS, 7)),
        ([4999, 17, 17, 0, 2600], [0, 17, 2600, 4999]),
        (np.array([3]), [3]),
        ([], []),
    ],
)
def test_recording_changes_nothing_but_what_is_recorded(mixed, record, epochs):
    run = train(LowRankRNN.published(MIXED), TASK, 0.02, EPOCHS, record=record)
    assert run.history.identical(mixed.history.sel(epoch=list(epochs)))
    assert run.events.identical(mixed.events)
    for part in PARTS:
        assert np.array_equal(getattr(run.models, part), getattr(mixed.models, part))


def test_auto_records_at_most_10000_evenly_spaced_epochs():
    one = LowRankRNN.initialize(2, [0])
    for epochs, stride in ((10_000, 1), (10_001, 2), (30_001, 4)):
        run = train(one, DelayedActivation(5), 0.01, epochs)
        assert np.array_equal(run.history["epoch"], np.arange(0, epochs, stride))
        assert run.history.sizes["epoch"] <= 10_000


@given(st.integers(1, 10**9))
def test_log_records_the_first_and_last_and_as_many_in_every_factor_of_ten(epochs):
    kept = recorded_epochs("log", epochs)
    assert kept[0] == 0
    assert kept[-1] == epochs - 1
    assert (np.diff(kept) > 0).all()
    for low in 10 ** np.arange(2, int(np.log10(epochs))):
        inside = ((kept >= low) & (kept < 10 * low)).sum()
        assert (90 if low == 100 else 98) <= inside <= 102
    if epochs > 20:  # every epoch where the grid is finer than whole numbers
        assert set(range(20)) <= set(kept.tolist())


def test_log_is_a_choice_of_record(mixed):
    run = train(LowRankRNN.published(MIXED), TASK, 0.02, EPOCHS, record="log")
    assert run.history.identical(mixed.history.sel(epoch=recorded_epochs("log", EPOCHS)))


@ENGINES
@settings(max_examples=15)
@given(models=networks(most=5, units=9), task=tasks(5), data=st.data())
def test_events_follow_from_the_history_whatever_happens(engine, models, task, data):
    # rates from none to absurd, so that networks also freeze and diverge; a threshold that is
    # crossed
    rate = 10.0 ** np.array([data.draw(st.floats(-6, 12)) for _ in range(len(models))])
    solved = data.draw(st.floats(0.1, 1.0))
    with np.errstate(all="ignore"):
        run = train_with(models, task, rate, 70, record="all", solved=solved, threads=1, **engine)
    check_events(run, solved)


def saturated(right):
    """A network of 3 units without a gradient: tanh and output are saturated, at the right answer
    or a wrong one.

    The units are at 1 (or -1) for any latent, which relaxes from 3 (0.3) to 3 (-3) times the weight
    10/3 and crosses the threshold 1 between steps 3 and 4 (never). With c = 10^4 the output is 0 or
    1 to the last digit.
    """
    n, x0 = (10 / 3, -0.3) if right else (10 / 3, 0.0)
    return LowRankRNN(
        np.zeros(3),
        np.full(3, n),
        np.full(3, 30.0 if right else -30.0),
        confidence=1e4,
        initial_state=x0,
        threshold=1.0,
    )


@ENGINES
@pytest.mark.parametrize("right", [True, False])
def test_a_network_without_a_gradient_is_frozen_at_once_and_keeps_its_accuracy(engine, right):
    # alpha = 0.1: kappa = 10 - 13 * 0.9^t is 0.52 after three steps and 1.47 after four
    run = train_with(saturated(right), DelayedActivation(3, 1, 10), 0.1, 200, record=50, checkpoints=[100], **engine)
    events = {name: int(values[0]) for name, values in run.events.items()}
    expected = {"frozen": 0, "diverged": -1, "no_learning_zone_entry": -1}
    expected |= dict.fromkeys(("first_above_chance", "first_solved"), 0 if right else -1)
    assert events == expected | {"last_above_chance": 199 if right else -1}
    assert (run.history["accuracy"] == (1 if right else 0.5)).all()
    assert (run.history["loss"] == (0 if right else 1)).all() or right
    assert np.array_equal(run.models_at(0).n, run.models.n)


@ENGINES
def test_nothing_trainable_is_frozen_at_0(engine):
    models = LowRankRNN.initialize(5, [1, 2], trainable=())
    run = train_with(models, SHORT, 0.1, 3, **engine)
    assert (run.events["frozen"] == 0).all()
    assert (run.history["gradient_norm"] == 0).all()


@pytest.mark.parametrize("layout", ["networks", "units"])
def test_divergence_is_an_event_and_leaves_the_others_alone(layout):
    fine = LowRankRNN.initialize(20, range(3))
    huge = fine[:1].replace(m=np.full((1, 20, 1), 1e30), n=np.full((1, 20, 1), 1e30))  # n m is beyond float32
    stacked = {name: np.concatenate([getattr(huge, name), getattr(fine, name)]) for name in ("m", "n", "b", "seed")}
    rate = [0.1, 0.1, 0.1, 1e30]  # at this rate the first update itself is too large
    run = train_with(LowRankRNN(**stacked), SHORT, rate, 200, layout=layout, record="all", checkpoints=[150])
    assert np.array_equal(run.events["diverged"], [0, -1, -1, 0])
    check_events(run)
    assert np.array_equal(run.models.n[0, :, 0], np.full(20, np.float32(1e30)))
    assert np.array_equal(run.models.m[3], fine.m[2].astype(np.float32))
    for part in PARTS:
        assert np.isfinite(getattr(run.models, part)).all()
        assert np.array_equal(getattr(run.models_at(0), part)[[0, 3]], getattr(run.models, part)[[0, 3]])
    alone = train_with(fine[:2], SHORT, 0.1, 200, layout=layout, record="all")
    for name, values in alone.history.items():
        assert np.array_equal(values, run.history[name][1:3]), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_may_diverge_later(dtype):
    models = LowRankRNN.initialize(20, [0])
    rate = 1e18 if dtype == "float32" else 1e150
    run = train_with(models, SHORT, rate, 60, dtype=dtype, record="all")
    events = check_events(run)
    assert events["diverged"] > 0 or events["frozen"] > 0
    for part in PARTS:
        assert np.isfinite(getattr(run.models, part)).all()


@ENGINES
def test_progress_adds_up_to_all_network_epochs(engine):
    models = LowRankRNN(
        *(np.concatenate([getattr(LowRankRNN.initialize(3, range(19)), x), getattr(saturated(False), x)])
          for x in ("m", "n", "b"))
    )  # fmt: skip
    heard = []
    train_with(models, SHORT, 0.1, 600 if "layout" in engine else 20, on_progress=heard.append, **engine)
    assert sum(heard) == 20 * (600 if "layout" in engine else 20)
    assert min(heard) >= 0


def test_what_listens_may_stop_the_run():
    def stop(amount):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_with(LowRankRNN.initialize(5, range(40)), SHORT, 0.1, 100_000, record=[0], on_progress=stop, threads=2)


def test_labels_and_configuration():
    models = LowRankRNN.initialize(4, [5, 9], confidence=[2, 3], trainable=("n", "confidence"))
    run = train_with(models, SHORT, [0.1, 0.2], 3, dtype="float64")
    assert np.array_equal(run.history["seed"], [5, 9])
    assert np.array_equal(run.history["learning_rate"], [0.1, 0.2])
    assert (run.history["rank"] == 1).all()
    assert run.models.trainable == ("n", "confidence")
    assert np.array_equal(run.history["confidence"][:, 0], [2, 3])
    assert (run.models.confidence != models.confidence).all()
    config = json.loads(json.dumps(run.config))
    assert config["task"] == SHORT.to_dict()
    assert (config["epochs"], config["learning_rate"], config["trainable"]) == (3, [0.1, 0.2], ["n", "confidence"])
    with pytest.raises(ValueError, match="this run has no checkpoints"):
        run.models_at(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"learning_rate": [0.1, -0.5]}, "learning_rate must be positive, got -0.5"),
        ({"learning_rate": math.nan}, "learning_rate must be finite, got nan"),
        ({"learning_rate": [1, math.inf]}, "learning_rate must be finite, got inf"),
        ({"learning_rate": [1, 1, 1]}, r"learning_rate must be one value or one per network \(2\), got shape \(3,\)"),
        ({"learning_rate": 1e39}, r"learning_rate must be within \+-3.4\d*e\+38 for float32, got 1e\+39"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
        ({"optimizer": "lbfgs"}, "optimizer must be one of sgd, momentum, adam; got 'lbfgs'"),
        ({"layout": "rows"}, "layout must be one of auto, networks, units; got 'rows'"),
        ({"engine": "jax"}, "engine must be one of auto, cuda, compiled, torch, reference; got 'jax'"),
        ({"dtype": "float16"}, "dtype must be one of float32, float64; got 'float16'"),
        ({"engine": "reference"}, "dtype must be float64 for the reference engine, got 'float32'"),
        ({"solved": -0.1}, "solved must be above 0 and at most 1, got -0.1"),
        ({"solved": 2}, "solved must be above 0 and at most 1, got 2"),
        ({"learning_rate": True}, "learning_rate must be an array of numbers, got True"),
        ({"learning_rate": "0.01"}, "learning_rate must be an array of numbers, got '0.01'"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": True}, "seed must be a whole number, got True"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"record": "some"}, "record must be one of auto, all, log; got 'some'"),
        ({"record": 0}, "record must be at least 1, got 0"),
        ({"record": [-1]}, "record must be at least 0, got -1"),
        ({"record": [10]}, "record must be below epochs = 10, got 10"),
        ({"checkpoints": [3, 10]}, "checkpoints must be below epochs = 10, got 10"),
        ({"checkpoints": [0.5]}, "checkpoints must be a whole number, got 0.5"),
        ({"checkpoints": 5}, "checkpoints must be a list of epochs, got 5"),
        ({"readout_norm": 1.0}, "readout_norm must be left out for networks without w_out"),
        ({"on_interrupt": "stop"}, "on_interrupt must be one of raise, return; got 'stop'"),
        ({"models": LowRankRNN.initialize(3, [0])[[]]}, "models must hold at least one network"),
        ({"models": LowRankRNN(np.full(3, 1e39), np.ones(3))}, r"m must be within \+-3.4\d*e\+38 for float32"),
        ({"models": LowRankRNN(np.ones(3), np.ones(3), threshold=-1e40)}, r"threshold must be within .* got 1e\+40"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments, message):
    models = LowRankRNN.initialize(3, [0, 1])
    with pytest.raises(ValueError, match=message):
        train_with(**{"models": models, "task": SHORT, "learning_rate": 0.1, "epochs": 10, **arguments})


def test_the_same_call_twice_is_the_same_run(mixed):
    again = train_with(
        LowRankRNN.published(MIXED), TASK, 0.02, EPOCHS, record="all", checkpoints=[0, 3333, EPOCHS - 1], threads=1
    )
    assert same_bits(again, mixed)


@pytest.mark.parametrize(
    ("moved", "place"),
    [({"clip_norm": 1.0}, r"remedy=ghostpoint\.remedies\.ClipGradient")]
    + [
        ({name: None}, rf"engine=ghostpoint\.Computing\({name}=\.\.\.\)")
        for name in ("dtype", "threads", "on_progress")
    ],
)
def test_an_argument_that_moved_says_where(moved, place):
    with pytest.raises(TypeError, match=place):
        train(LowRankRNN.published([0]), SHORT, 0.1, 10, **moved)


def test_no_function_has_more_than_twelve_arguments_and_no_kernel_more_than_twenty():
    source = Path(ghostpoint.__file__).parent
    many = []
    for path in source.rglob("*.py"):
        place = path.relative_to(source)
        most = 20 if "kernels" in str(place) or path.parent.name == "numerics" else 12
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # the arguments of a sub-command are the options of the command line
            command = path.name == "cli.py" and getattr(node, "decorator_list", ())
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not command:
                given = node.args
                count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
                many += [f"{place}: {node.name} has {count}"] if count > most else []
    assert many == []
