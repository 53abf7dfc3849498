"""Cost of proving all zeros in the latent space, by rank and gain, in one thread.

Networks of 100 units with m normal / sqrt(N), n gain normal and b normal / 2; the first call, which
compiles, is left out. Beside it, in the same run, 1000 damped Newton iterations from random starts,
which prove nothing.

    python benchmarks/latent_zeros.py --networks 30
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points.latents import latent_zeros

UNITS = 100
STARTS, STEPS = 1000, 40


def network(seed: int, rank: int, gain: float) -> LowRankRNN:
    generator = np.random.default_rng([seed, rank])
    m, n = generator.normal(size=(2, 1, UNITS, rank))
    return LowRankRNN(m / np.sqrt(UNITS), gain * n, 0.5 * generator.normal(size=(1, UNITS)))


def newton(model: LowRankRNN) -> NDArray[np.float64]:
    half = np.abs(model.n[0]).sum(axis=0)
    kappa = np.random.default_rng(0).uniform(-half, half, (STARTS, 1, model.rank))
    for _ in range(STEPS):
        step = np.linalg.solve(model.flow_jacobian(kappa), model.flow(kappa)[..., None])[..., 0]
        size = np.linalg.norm(step, axis=-1, keepdims=True)
        kappa = kappa - step * np.minimum(1.0, 2.0 / np.maximum(size, 1e-300))
    return kappa


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=30)
    options = parser.parse_args()
    print(f"{UNITS} units, {options.networks} networks a line; times in ms, medians")
    print(f"{'rank':>4} {'gain':>5} {'zeros':>8} {'largest':>8} {'newton':>8} {'boxes':>7} {'count':>9} undecided")
    for rank in (1, 2, 3):
        latent_zeros(network(0, rank, 1.0))  # compile
        for gain in (1.0, 3.0, 10.0):
            times, counts, boxes, undecided, other = [], [], [], 0, []
            for seed in range(options.networks):
                model = network(seed, rank, gain)
                start = perf_counter()
                zeros = latent_zeros(model)
                times.append(1e3 * (perf_counter() - start))
                counts.append(zeros.count)
                boxes.append(zeros.boxes_examined)
                undecided += zeros.n_undecided
                if seed < 3:
                    start = perf_counter()
                    newton(model)
                    other.append(1e3 * (perf_counter() - start))
            line = f"{rank:4d} {gain:5g} {np.median(times):8.2f} {max(times):8.2f} {np.median(other):8.0f}"
            print(f"{line} {np.median(boxes):7.0f} {min(counts):3d} to {max(counts):2d} {undecided:9d}")


if __name__ == "__main__":
    main()
