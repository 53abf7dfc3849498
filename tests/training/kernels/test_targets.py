"""Kernels compiled for other processors: the same bits, with AVX-512, without it, and without a
fused multiply-add.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names of x86 processors")

OPERATION = """
import hashlib
import numpy as np
from numba import njit
from ghostpoint.numerics.simd import fma, load, store

@njit
def go(a, b, c, out, scalars):
    for k in range(0, a.size, 16):
        store(out, k, fma(load(a, k), load(b, k), load(c, k)))
        scalars[k] = fma(a[k], b[k], c[k])

draws = np.random.default_rng(0)
n = 160_000
a, b, c = (draws.normal(size=n).astype(np.float32) * np.float32(10) ** draws.integers(-19, 19, n) for _ in range(3))
half = slice(0, n // 2)  # sums that nearly cancel, and sums just beside the middle of two numbers of float32
c[half] = -(a[half] * b[half]) * np.float32(1 + 2.0**-12) ** draws.integers(0, 3, n // 2)
near = slice(n // 2, n // 2 + n // 4)
c[near] = a[near] * b[near] * np.float32(2.0) ** draws.integers(20, 30, n // 4)
extremes = [0.0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-38, 1e-45, 1.0]
a[-10:], b[-10:], c[-10:] = extremes, extremes[::-1], np.roll(extremes, 3)
a, b, c = (x.astype(np.float32) for x in (a, b, c))
out, scalars = np.zeros(n, np.float32), np.zeros(n, np.float32)
go(a, b, c, out, scalars)
out[np.isnan(out)] = 7
print(hashlib.sha256(out.tobytes() + scalars.tobytes()).hexdigest(), "fmaf" in go.inspect_asm(go.signatures[0]))
"""
TRAINING = """
import hashlib
import ghostpoint as gp

digest = hashlib.sha256()
task = gp.tasks.DelayedActivation(50)
low = gp.LowRankRNN.published(range(3))
for models, settings in (
    (low, {"layout": "networks"}),
    (low, {"layout": "units"}),
    (low, {"optimizer": "adam"}),
    (gp.FullRankRNN.initialize(20, [0]), {}),
):
    run = gp.train(models, task, 0.01, 40, record="all", **settings)
    digest.update(run.history["loss"].values.tobytes())
    digest.update(run.models.arrays()["b"].tobytes())
print(digest.hexdigest())
"""


def printed(program: str, target: str | None = None) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CPU_NAME"}
    if target is not None:
        environment["NUMBA_CPU_NAME"] = target
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("target", ["haswell", "generic"])
def test_a_fused_multiply_add_has_the_same_bits_everywhere(target):
    here, there = printed(OPERATION), printed(OPERATION, target)
    assert there == [here[0], "False"]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["haswell", "generic"])
def test_a_training_has_the_same_bits_everywhere(target):
    assert printed(TRAINING, target) == printed(TRAINING)
