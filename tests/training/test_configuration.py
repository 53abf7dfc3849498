"""``config`` is what was asked for, and small; a run knows its task, in memory and from disk."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.tasks import DelayedActivation, Task
from ghostpoint.training.configuration import brief
from tests.training.calls import train_with

SHORT = DelayedActivation(10)


def test_rates_epochs_and_checkpoints_are_all_there():
    models = gp.LowRankRNN.initialize(3, range(150))
    rates = np.linspace(0.01, 0.2, 150)
    run = gp.train(models, SHORT, rates, 12, record=[1, 4, 11], checkpoints=[2, 3, 9])
    assert run.config["learning_rate"] == rates.tolist()
    assert run.config["record"] == [1, 4, 11]
    assert run.config["checkpoints"] == [2, 3, 9]
    one = gp.train(models, SHORT, 0.1, 12, record=3, checkpoints=range(0, 12, 4))
    assert one.config["learning_rate"] == 0.1
    assert one.config["record"] == 3
    assert one.config["checkpoints"] == {"start": 0, "stop": 9, "step": 4}
    json.dumps(one.config)


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        (0.1, 0.1), ([], []), ([5], [5]), ([2, 3], [2, 3]), ([3, 2, 1], [3, 2, 1]), ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        (range(2, 2000), {"start": 2, "stop": 2000, "step": 1}), ([7, 9, 11], {"start": 7, "stop": 12, "step": 2}),
    ],
)  # fmt: skip
def test_brief_forms_say_the_same(values, asked):
    assert brief(values) == asked
    if isinstance(asked, dict):
        assert list(range(asked["start"], asked["stop"], asked["step"])) == list(values)


def test_many_values_leave_a_digest_that_tells_them_apart():
    values = np.random.default_rng(0).normal(size=(40, 50))
    other = values.copy()
    other[3, 4] += 1e-12
    assert brief(values) == brief(values.copy()) != brief(other)
    assert brief(values)["shape"] == [40, 50]
    assert len(json.dumps(brief(values))) < 200


def test_a_task_from_arrays_is_kept_as_arrays(tmp_path: Path):
    generator = np.random.default_rng(1)
    targets = (generator.normal(size=(20, 50, 1)) > 0).astype(float)
    task = gp.tasks.from_arrays(generator.normal(size=(20, 50, 2)), targets, dt=10, tau=100)
    run = gp.train(gp.FullRankRNN.initialize(3, [0], n_inputs=2), task, 0.1, 2)
    assert run.task is task
    assert len(json.dumps(run.config)) < 3000
    again = gp.load(run.save(tmp_path / "run.zip"))
    assert again.task == task
    assert again.config == run.config
    assert set(again.history.data_vars) == set(run.history.data_vars)


def test_a_run_saved_with_all_of_its_task_in_the_configuration_loads(tmp_path: Path):
    task = gp.tasks.from_arrays(np.zeros((1, 3, 0)), np.array([0.0, 0.0, 1.0])[None, :, None], dt=10, tau=100)
    run = gp.train(gp.LowRankRNN.initialize(3, [0]), task, 0.1, 2)
    old = run.to_dataset().drop_vars(["task_inputs", "task_targets", "task_mask"])
    old.attrs["config"] = {**old.attrs["config"], "task": task.to_dict()}
    assert type(run).from_dataset(old).task == task


@dataclass(frozen=True)
class Other(Task):
    """A user's task: as another one, with a name of its own."""

    delay: float = 10.0
    dt: float = 10.0
    tau: float = 10.0
    read_out: str = "after"

    @property
    def steps(self):
        return 2

    n_inputs = property(lambda self: 0)
    n_outputs = property(lambda self: 1)
    n_trials = property(lambda self: 1)
    chance_loss = property(lambda self: 0.5)
    chance_accuracy = property(lambda self: 0.5)

    def trial(self, seed=None):
        return gp.tasks.Trial(np.zeros((1, 2, 0)), np.array([[[0.0], [1.0]]]), np.ones((1, 2, 1), bool))


def _namesake():
    @dataclass(frozen=True)
    class DelayedActivation(Other):
        pass

    return DelayedActivation


def test_a_task_of_the_same_bare_name_is_another_task():
    kind = _namesake()
    mine, theirs = kind(), DelayedActivation(10)
    assert mine.to_dict()["task"] != theirs.to_dict()["task"] == "DelayedActivation"
    assert type(Task.from_dict(theirs.to_dict())) is DelayedActivation
    assert type(Task.from_dict(mine.to_dict())) is kind
    with pytest.raises(ValueError, match=r"task must be one of .*; got 'elsewhere:DelayedActivation'"):
        Task.from_dict({**mine.to_dict(), "task": "elsewhere:DelayedActivation"})


def test_a_loaded_run_with_a_task_that_nobody_knows_is_diagnosed(tmp_path: Path):
    run = gp.train(gp.LowRankRNN.initialize(3, [0]), Other(), 0.1, 100)
    path = run.save(tmp_path / "run.zip")
    assert gp.load(path).task == Other()
    program = f"""
import ghostpoint as gp
run = gp.load({str(path)!r})
print(run.task, run.config["task"]["delay"], gp.diagnose(run).verdict)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2) == ["None", "10.0", f"{gp.diagnose(run).verdict}\n"]


def test_targets_beyond_the_outputs_are_refused_with_what_would_do():
    def task(low, high, **more):
        targets = np.array([low, low, high])[None, :, None]
        return gp.tasks.from_arrays(np.zeros((1, 3, 0)), targets, dt=10, tau=100, **more)

    def train(activation, wanted):
        return gp.train(gp.FullRankRNN.initialize(3, [0], activation=activation), wanted, 0.1, 1)

    with pytest.raises(ValueError, match=r"activation 'tanh' or 'identity' for targets from -1 to 1, got 'sigmoid'"):
        train("sigmoid", task(-1.0, 1.0))
    with pytest.raises(ValueError, match=r"activation 'identity' for targets from 0 to 2, got 'tanh'"):
        train("tanh", task(0.0, 2.0))
    for activation, low, high in (("sigmoid", 0.0, 1.0), ("tanh", -1.0, 1.0), ("identity", -3.0, 5.0)):
        train(activation, task(low, high))
    # what does not count need not be reached
    unseen = np.array([False, True, True])[None, :, None]
    given = gp.tasks.from_arrays(np.zeros((1, 3, 0)), np.array([-9.0, 0.0, 1.0])[None, :, None], unseen, dt=10, tau=100)
    train("sigmoid", given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 10**15, "record": "all"}, r"record = 'all' asks for more memory than there is: .*PiB"),
        ({"epochs": 10**19, "record": "all"}, r"record = 'all' asks for more memory than there is: .*"),
    ],
)
def test_a_history_that_does_not_fit_names_the_argument(arguments, message):
    models = gp.LowRankRNN.initialize(1, [0])
    with pytest.raises(MemoryError, match=message):
        train_with(models, SHORT, 0.1, **arguments)


def test_networks_and_starts_that_do_not_fit_name_the_argument():
    with pytest.raises(MemoryError, match=r"n_units = 1000000000 asks for more memory than there is: .*EiB"):
        gp.FullRankRNN.initialize(10**9, [0])
    with pytest.raises(MemoryError, match=r"n_units = 1000000000000000 asks for more memory"):
        gp.LowRankRNN.initialize(10**15, [0])
    with pytest.raises(MemoryError, match=r"n_starts = 1000000000000000 asks for more memory"):
        gp.find_slow_points(gp.FullRankRNN.initialize(3, [0]), n_starts=10**15)
    with pytest.raises(MemoryError, match=r"task = DelayedActivation.* asks for more memory"):
        gp.train(gp.LowRankRNN.initialize(3, [0]), DelayedActivation(1e16), 0.1, 1)
