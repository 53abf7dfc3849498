"""The schedule: networks that finish in different rounds of a run leave complete results behind."""

from __future__ import annotations

import numpy as np
import pytest

from ghostpoint import LowRankRNN
from ghostpoint.tasks import DelayedActivation
from ghostpoint.training.compiled import rank_one_stacks
from tests.training.calls import train_with
from tests.training.problems import same_bits

TASK = DelayedActivation()


def run(layout, threads, **keywords):
    models = LowRankRNN.published(range(40))
    # rates at which networks of the stack freeze early, late and never
    rate = np.tile([0.005, 0.02, 0.05, 0.2], 10)
    return train_with(models, TASK, rate, 4000, layout=layout, threads=threads, **keywords)


@pytest.fixture(scope="module")
def expected():
    return run("units", 1, record=3, checkpoints=[0, 10, 900, 3999])


def test_the_sample_has_networks_that_finish_at_many_times(expected):
    frozen = expected.events["frozen"].values
    assert (frozen < 0).any()
    assert len(np.unique(frozen)) > 8


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("layout", ["auto", "networks", "units"])
@pytest.mark.parametrize("sizes", [(60_000, 2_000_000), (700, 11_000)])
def test_rounds_calls_and_packings_change_no_bit(monkeypatch, expected, layout, threads, sizes):
    call, round_ = sizes
    monkeypatch.setattr(rank_one_stacks, "CALL", call)
    monkeypatch.setattr(rank_one_stacks, "ROUND", round_)
    assert same_bits(run(layout, threads, record=3, checkpoints=[0, 10, 900, 3999]), expected)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 40, 100])
@pytest.mark.parametrize("layout", rank_one_stacks.LAYOUTS)
def test_every_network_is_in_exactly_one_group(layout, count, threads):
    models = LowRankRNN.initialize(3, range(count))
    parameters = np.stack([models.m[:, :, 0], models.n[:, :, 0], models.b, models.initial_state], axis=1)
    ones = np.ones(count, np.float32)
    steps, both = ones[:2], np.ones(2, bool)
    problem = rank_one_stacks.Problem(
        parameters.astype(np.float32), ones, ones, ones, np.ones(4, bool), 0.5, steps, steps, both, 0.5, 0.05
    )
    none = np.zeros(0, np.int64)
    outcome = rank_one_stacks.run(problem, 1, none, none, layout=layout, threads=threads)
    active = np.arange(count)[::-1]
    groups = rank_one_stacks._groups(problem, outcome, active, layout, threads, 0)
    assert np.array_equal(np.concatenate([group.members for group in groups]), active)
    for group in groups:
        assert len(group.members) <= (1 if group.alone else 16)
        assert layout == "auto" or group.alone == (layout == "units")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 16, 1000])
def test_work_arrays_are_aligned(dtype, size):
    for _ in range(5):
        array = rank_one_stacks.aligned(size, dtype)
        assert array.shape == (size,)
        assert array.ctypes.data % 64 == 0
        assert (array == 0).all()
