"""Zeros and ghosts of latent flows per second, beside a dense scan in numpy, measured side by side.

The scan evaluates f on 3001 points of [-15, 15] and counts sign changes: it proves nothing, misses
pairs of zeros closer than 0.01, and gives neither slopes nor ghosts. Medians over repetitions in
which the methods take turns.

    python benchmarks/latent_flow.py --networks 20000 --repeats 5
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter

import numba
import numpy as np
from numpy.typing import NDArray

from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros

Weights = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
UNITS = 100
GRID = np.linspace(-15.0, 15.0, 3001)


def random_networks(networks: int, gain: float) -> Weights:
    generator = np.random.default_rng(0)
    m, n = np.sqrt(gain / UNITS) * generator.normal(size=(2, networks, UNITS))
    return m, n, 0.3 * generator.normal(size=(networks, UNITS))


def scan(m: NDArray[np.float64], n: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.int64]:
    counts = np.empty(len(m), dtype=np.int64)
    for i in range(len(m)):
        f = np.tanh(np.outer(GRID, m[i]) + b[i]) @ n[i] - GRID
        counts[i] = np.count_nonzero(np.diff(np.sign(f)))
    return counts


def rate(method: Callable[..., object], weights: Weights) -> float:
    start = perf_counter()
    method(*weights)
    return len(weights[0]) / (perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20_000)
    parser.add_argument("--scanned", type=int, default=100, help="networks given to the scan")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for method in (flow_zeros, flow_ghosts):
        method(*random_networks(2, 1.0))  # compile
    print(f"{UNITS} units, {numba.get_num_threads()} threads; networks per second, medians of {options.repeats}")
    print(f"{'gain':>5} {'zeros':>9} {'ghosts':>9} {'scan':>7} {'zeros/scan':>11} {'ghosts/scan':>12}  counts")
    for gain in (1.0, 3.0, 10.0, 30.0):
        weights = random_networks(options.networks, gain)
        few = (weights[0][: options.scanned], weights[1][: options.scanned], weights[2][: options.scanned])
        rates = np.array(
            [(rate(flow_zeros, weights), rate(flow_ghosts, weights), rate(scan, few)) for _ in range(options.repeats)]
        )
        zeros, ghosts, scanned = np.median(rates, axis=0)
        record = flow_zeros(*weights)
        differ = np.count_nonzero(record.count[: options.scanned] != scan(*few))
        line = f"{gain:5g} {zeros:9.0f} {ghosts:9.0f} {scanned:7.0f}"
        line += f" {zeros / scanned:11.0f} {ghosts / scanned:12.0f}"
        counts = dict(zip(*(x.tolist() for x in np.unique(record.count, return_counts=True)), strict=True))
        print(f"{line}  {counts}, {np.count_nonzero(~record.complete)} undecided, scan differs in {differ}")


if __name__ == "__main__":
    main()
