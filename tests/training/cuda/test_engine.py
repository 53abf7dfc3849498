"""The CUDA engine in numba-cuda's simulator, against the specification: every kind of network, task
and optimiser.

The simulator replaces ``numba.cuda`` for a whole process, so the cases run in processes of their
own. On a device the same cases, and the sizes of the publication:
``python benchmarks/cuda.py --only verify``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import ghostpoint as gp

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="numba-cuda is not installed (pip install 'ghostpoint[cuda]')"
)
ROOT = Path(__file__).parents[3]
#: of errors in float32, relative to numbers above 1; the rates of a trust region divide by small
#: differences
LARGEST, LARGEST_TRUSTED = 5e-6, 2e-5
#: kinds of network, and how many cases there are of each at least
KINDS = {"rank one": 8, "low rank": 8, "full rank": 8}


def simulated(names):
    """What ``simulated.py`` says of these cases."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.training.cuda.simulated", *names]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {found.pop("name"): found for found in map(json.loads, done.stdout.splitlines())}


def check(found):
    for name, one in found.items():
        short = name.endswith("float32")
        assert one["dtype"] == ("float32" if short else "float64"), name
        in_single = LARGEST_TRUSTED if "trust region" in name or "unsplit" in name else LARGEST
        assert one["largest"] < (in_single if short else 1e-12), (name, one)
        assert one["events"], name
        if "trust region" in name:
            assert one["acted"] > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_training_follows_the_specification(kind):
    found = simulated([f"{kind}*"])
    assert len(found) >= 2 * KINDS[kind]
    check(found)


def test_forms_that_the_sizes_of_a_problem_choose():
    found = simulated(["chunks", "in memory", "in a block"])
    assert len(found) == 3
    check(found)


def test_rounds_ends_and_interrupts():
    found = simulated(["in rounds", "ends", "interrupted"])
    assert found["in rounds"]["same"] == [True] * 8
    ends = found["ends"]
    assert ends["ended"] == [0, 0]
    assert all(ends[name] for name in ("events", "near", "held", "alone", "kept")), ends
    interrupted = found["interrupted"]
    assert 2 < interrupted["done"] < 12
    assert not interrupted["complete"]
    assert interrupted["same"]
    assert interrupted["models"]


def test_without_a_device_the_engine_says_so():
    from numba import cuda

    if cuda.is_available():
        pytest.skip("there is a device here")
    models = gp.LowRankRNN.initialize(5, [0])
    with pytest.raises(ValueError, match=r"engine must be compiled.* here, got 'cuda': there is no CUDA device"):
        gp.train(models, gp.tasks.DelayedActivation(10), 0.01, 2, engine="cuda")


def test_what_the_kernels_do_not_know_is_said():
    from ghostpoint.remedies import Guard, HazardLimit, TrustRegion
    from ghostpoint.training.cuda.problem import obstacle
    from ghostpoint.training.optimizers import SGD
    from ghostpoint.training.plan import Plan

    none = np.zeros(0, np.int64)
    plan = Plan(np.ones(1), 5, none, none, SGD(), None, 0.05, 0)
    low, whole = gp.LowRankRNN.initialize, gp.FullRankRNN.initialize
    task = gp.tasks.DelayedActivation(10)
    assert obstacle(low(100, [0], rank=10), task, plan) == ""
    assert obstacle(whole(128, [0]), task, plan) == ""
    assert "up to 128 units, got 129" in obstacle(whole(129, [0]), task, plan)
    assert obstacle(low(40, [0], rank=33), task, plan) == ""
    assert obstacle(low(40, [0], "latent_readout", rank=33, n_inputs=1), task, plan) == ""
    assert "ranks up to 32 beyond 128 units, got 33" in obstacle(low(200, [0], rank=33), task, plan)
    assert obstacle(low(100, [0], "state_readout", rank=100), task, plan) == ""
    acting = Plan(np.ones(1), 5, none, none, SGD(), None, 0.05, 0, remedies=(TrustRegion(), HazardLimit()))
    assert obstacle(low(5, [0]), task, acting) == obstacle(whole(5, [0]), task, acting) == ""
    guarded = Plan(np.ones(1), 5, none, none, SGD(), None, 0.05, 0, remedies=(Guard(),))
    assert "TrustRegion, HazardLimit and ClipGradient, got Guard" in obstacle(low(5, [0]), task, guarded)
    gru = gp.GRU.initialize(5, [0], n_inputs=1)
    assert "do not know GRU" in obstacle(gru, task, plan)
