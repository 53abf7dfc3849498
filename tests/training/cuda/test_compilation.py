"""The CUDA kernels compile to PTX without a device, for compute capability 8.0 and 9.0, and stay in
registers.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.remedies import TrustRegion
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination
from ghostpoint.training.optimizers import OPTIMIZERS
from ghostpoint.training.plan import Plan


def missing():
    """What is not there of numba-cuda and NVIDIA's compiler libraries; empty if all are."""
    if find_spec("numba_cuda") is None:
        return "numba-cuda is not installed (pip install 'ghostpoint[cuda]')"
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    try:
        for library in ("nvvm", "nvrtc"):
            load_nvidia_dynamic_lib(library)
    except DynamicLibNotFoundError:
        return f"NVIDIA's library {library} is not installed (pip install 'ghostpoint[cuda]')"
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
NONE = np.zeros(0, np.int64)
NOISY = DelayedCueDiscrimination(30, 80, 50, initial_scale=0.3, noise=0.1)
LOW, FULL = gp.LowRankRNN.initialize, gp.FullRankRNN.initialize
#: networks, task, optimiser, type, compute capability; the largest kernels are compiled for one
#: capability alone
KERNELS = {
    "rank one": (LOW(100, [0]), DelayedActivation(), "sgd", "float32", (9, 0)),
    "rank one, Adam": (LOW(30, [0]), DelayedActivation(), "adam", "float32", (8, 0)),
    "rank one, trust region": (LOW(100, [0]), DelayedActivation(), "adam", "float32", (9, 0)),
    "low rank, trust region": (LOW(30, [0], "state_readout", rank=2), DelayedActivation(), "sgd", "float32", (8, 0)),
    "full rank, trust region": (FULL(30, [0]), DelayedActivation(), "sgd", "float32", (9, 0)),
    "full rank by m and n, trust region": (
        LOW(30, [0], "latent_readout", rank=33, n_inputs=1),
        DelayedActivation(),
        "sgd",
        "float32",
        (8, 0),
    ),
    "low rank": (LOW(100, [0], "state_readout", rank=3), DelayedActivation(), "sgd", "float32", (9, 0)),
    "low rank, noise": (
        LOW(30, [0], "latent_readout", n_inputs=1, activation="tanh", rank=2),
        NOISY,
        "momentum",
        "float64",
        (8, 0),
    ),
    "full rank by m and n": (LOW(100, [0], "state_readout", rank=30), DelayedActivation(), "sgd", "float32", (9, 0)),
    "full rank": (FULL(100, [0]), DelayedActivation(), "sgd", "float32", (9, 0)),
    "full rank, noise": (
        FULL(40, [0], "xavier_biased", n_inputs=1, activation="tanh"),
        NOISY,
        "adam",
        "float32",
        (8, 0),
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_without_a_device(name, monkeypatch):
    from numba import cuda
    from numba.cuda import dispatcher, types

    from ghostpoint.training.cuda.kernels import full_rank, low_rank, rank_one
    from ghostpoint.training.cuda.kernels.specification import argument_types
    from ghostpoint.training.cuda.problem import specification

    models, task, optimizer, dtype, capability = KERNELS[name]
    remedies = (TrustRegion(),) if "trust region" in name else ()
    plan = Plan(np.ones(1), 5, NONE, NONE, OPTIMIZERS[optimizer], 1.0, 0.05, 0, remedies=remedies)
    spec = specification(models, task, plan, dtype, 2)
    assert spec.kind == name.split(",")[0].removesuffix(" by m and n").replace(" ", "_")
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=capability))
    module = {"rank_one": rank_one, "low_rank": low_rank, "full_rank": full_rank}[spec.kind]
    ptx, _ = cuda.compile(
        module.kernel(spec), types.void(*argument_types(spec)), cc=capability, device=False, abi="numba"
    )
    assert f".target sm_{capability[0]}{capability[1]}" in ptx
    assert "shfl.sync.bfly" in ptx
    if dtype == "float32":
        assert "rcp.approx.ftz.f32" in ptx
        # no array of a thread's is indexed at run time: that would put it, and the weights in it,
        # into memory. In float64 the library's sine has such an array
        assert not re.search(r"^\s*\.local ", ptx, re.MULTILINE)
