"""An update that overflows float32 is seen in its own epoch, by every kernel and engine; weights
stay finite.
"""

from __future__ import annotations

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.training import SGD
from tests.training.calls import train_with

LOW_RANK = gp.LowRankRNN.initialize(6, range(3))
RANK_TWO = gp.LowRankRNN.initialize(6, range(3), "state_readout", rank=2)
FULL_RANK = gp.FullRankRNN.initialize(6, range(3))
KERNELS = {
    "rank one, networks across lanes": (LOW_RANK, {"layout": "networks"}),
    "rank one, units across lanes": (LOW_RANK, {"layout": "units"}),
    "low rank": (RANK_TWO, {"layout": "units"}),
    "low rank, networks across lanes": (RANK_TWO, {"layout": "networks"}),
    "low rank, momentum": (LOW_RANK, {"optimizer": "momentum"}),
    "low rank, clipped": (LOW_RANK, {"remedy": gp.remedies.ClipGradient(1e30)}),
    "full rank": (FULL_RANK, {}),
    "full rank, momentum": (FULL_RANK, {"optimizer": SGD(0.5)}),
    "torch": (FULL_RANK, {"engine": "torch"}),
}


@pytest.mark.parametrize("name", KERNELS)
def test_an_update_that_overflows_float32_ends_the_network_in_its_own_epoch(name):
    models, settings = KERNELS[name]
    task = gp.tasks.DelayedActivation(10)
    norm = train_with(models, task, 1e-3, 1, record="all", **settings).history["gradient_norm"].values[:, 0]
    # float32 holds the square of the first of these lengths; float64, in which rates are kept,
    # those of all
    lengths = np.array([1e-2, 1e20, 1e30])
    run = train_with(models, task, lengths / norm, 3, record="all", **settings)
    assert run.events["diverged"].values.tolist() == [-1, 0, 0]
    for part in models.present_parts():
        before = getattr(models, part).astype(np.float32)
        np.testing.assert_array_equal(getattr(run.models, part)[1:], before[1:])
    assert np.isfinite(run.history["loss"]).all()


@pytest.mark.parametrize("name", ["rank one, units across lanes", "low rank", "full rank"])
def test_in_float64_the_same_update_is_made(name):
    models, settings = KERNELS[name]
    task = gp.tasks.DelayedActivation(10)
    norm = train_with(models, task, 1e-3, 1, dtype="float64", record="all", **settings).history["gradient_norm"].values
    run = train_with(models, task, 1e20 / norm[:, 0], 1, dtype="float64", **settings)
    assert (run.events["diverged"] == -1).all()
