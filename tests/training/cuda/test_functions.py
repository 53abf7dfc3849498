"""Elementary functions and random numbers of the CUDA kernels, in the simulator's form of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="numba-cuda is not installed (pip install 'ghostpoint[cuda]')"
)
PROGRAM = """
import json
import numpy as np
from numba import cuda, njit
from ghostpoint.numerics.memory import aligned
from ghostpoint.numerics.random import NOISE, INITIAL, fill_normals
from ghostpoint.numerics.simd import pointer
from ghostpoint.training.cuda.kernels.functions import MODERATE, SMALL, functions
from ghostpoint.training.cuda.kernels.random import normal_at

@njit
def fill(out, size, scale, seed, stream, epoch):
    fill_normals(pointer(out, 0), size, scale, seed, stream, epoch)

found = {}
made = functions(np.float32)
x = np.concatenate([np.geomspace(1e-4, 12, 500), [0.0, 0.35, SMALL, MODERATE, 9.0, 9.02, 9.1, 1e10]]).astype(np.float32)

@cuda.jit
def evaluate(x, out):
    for i in range(x.size):
        out[i, 0] = made.tanh(x[i])
        out[i, 1] = made.tanh_of_moderate(x[i])
        out[i, 2] = made.tanh_of_small(x[i])
        out[i, 3], out[i, 4] = made.logistics(x[i])
        out[i, 5] = made.tanh(-x[i])

out = np.zeros((x.size, 6), np.float32)
evaluate[1, 1](x, out)
wide = x.astype(float)
true = np.tanh(wide)
for name, row, most in (("tanh", 0, np.inf), ("moderate", 1, MODERATE), ("small", 2, SMALL)):
    inside = (wide <= most) & (true > 0)
    ulp = np.spacing(true[inside].astype(np.float32)).astype(float)
    found[name] = float((np.abs(out[inside, row] - true[inside]) / ulp).max())
found["bounded"] = bool((np.abs(out[:, 0]) <= 1).all() and (out[:, 5] == -out[:, 0]).all())
moderate = wide <= 80
e = np.exp(-wide[moderate])
found["logistic"] = float(np.abs(out[moderate, 3] * (1 + e) - 1).max())
found["its rest"] = float(np.abs(out[moderate, 4] * (1 + e) / e - 1).max())
for real in (np.float32, np.float64):
    normal = normal_at(real)

    @cuda.jit
    def draw(out, key, stream, epoch):
        for i in range(out.size):
            out[i] = normal(key, stream, epoch, i)

    for key, stream, epoch in ((7 * 2**32 + 5, NOISE, 3), (-12345678901234, INITIAL, 2**31 - 1)):
        ours, theirs = np.zeros(128, real), aligned(128, np.dtype(real))
        draw[1, 1](ours, key, stream, epoch)
        fill(theirs, 128, 1.0, key, stream, epoch)
        found[f"normals {np.dtype(real).name} {stream}"] = float((np.abs(ours - theirs) / np.finfo(real).eps).max())
print(json.dumps(found))
"""


def test_functions_and_draws():
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], cwd=Path(__file__).parents[3], env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name in ("tanh", "moderate", "small"):
        assert found[name] < 7, (name, found[name])  # units in the last place
    assert found["bounded"]
    assert found["logistic"] < 4e-7
    assert found["its rest"] < 4e-7
    draws = [value for name, value in found.items() if name.startswith("normals")]
    assert len(draws) == 4
    assert max(draws) < 16, found  # machine epsilons, of numbers up to 3
