"""Slow points of random 100-unit networks, beside first-order minimisation of the speed, measured
in one run.

The rival follows the published recipe of fixed-point finders (Golub and Sussillo 2018): Adam on q =
|F|**2 / 2 in float32, all starts in one batch, the rate falling by 0.95 on each plateau of 5
iterations, until every start has q < 1e-12 or a change of q below 1e-20 times the rate, at most
5000 iterations. Set here: an initial rate of 0.01, the other constants of Adam and of the plateau
as torch has them. Both start from the same 128 points, so the recipe's noise on sampled states has
no place. Its last steps, which leave out ends further than 10 mean distances from the mean and
count ends within 1e-3 as one, give ``adam_reported``, whatever speed those ends have. Beside that,
an end counts as a zero where |F|, in float64, is below 1e-10, and as leading to a point where
Newton's method from it stays within 0.01 and settles.

The search has as many threads as numba (two here), and ``processor_seconds`` is of all of them; the
rival has torch's. A certificate is one thread's. ``processor`` times leave out what other programs
took, though not what they slowed down. ``gemm_us``, a product of two 100 x 100 matrices beside each
network, says how fast the machine was at the time.

    python benchmarks/slow_points.py --networks 3 --output benchmarks/results/slow_points.json
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from time import perf_counter, process_time

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.models import FullRankRNN
from ghostpoint.numerics.threads import one_thread_each
from ghostpoint.slow_points import SlowPoints, find, find_slow_points
from ghostpoint.slow_points.fields import TanhField, network_field
from ghostpoint.slow_points.proofs.certificates import FieldBounds, certify_fixed, certify_ghost
from ghostpoint.slow_points.search.descent import newton

UNITS, STARTS, ITERATIONS = 100, 128, 5000
TOL_Q, TOL_DQ, TOL_UNIQUE = 1e-12, 1e-20, 1e-3
Floats = NDArray[np.float64]


def network(seed: int, gain: float) -> FullRankRNN:
    W = gain * np.random.default_rng(seed).normal(size=(1, UNITS, UNITS)) / np.sqrt(UNITS)
    return FullRankRNN(W, np.zeros((1, UNITS)), w_out=np.zeros((1, 1, UNITS)), b_out=np.zeros((1, 1)))


def adam(W: Floats, starts: Floats, iterations: int) -> Floats:
    weights = torch.tensor(W, dtype=torch.float32)
    x = torch.tensor(starts, dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.01)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.95, patience=5)
    before = torch.full((len(starts),), torch.inf)
    for _ in range(iterations):
        optimizer.zero_grad()
        q = 0.5 * ((torch.tanh(x @ weights.T) - x) ** 2).sum(dim=1)
        now = q.detach()
        if bool(((now < TOL_Q) | ((now - before).abs() < TOL_DQ * optimizer.param_groups[0]["lr"])).all()):
            break
        before = now
        q.mean().backward()
        optimizer.step()
        schedule.step(now.mean())
    return x.detach().double().numpy()


def reported(ends: Floats) -> int:
    """Ends that the recipe would report."""
    away = np.linalg.norm(ends - ends.mean(axis=0), axis=1)
    return distinct(ends[away <= 10 * away.mean()], TOL_UNIQUE)


def distinct(points: Floats, tolerance: float = 1e-6) -> int:
    kept: list[Floats] = []
    for x in points:
        if all(np.linalg.norm(x - y) > tolerance for y in kept):
            kept.append(x)
    return len(kept)


def per_certificate(field: TanhField, points: SlowPoints, repeats: int) -> dict[str, float]:
    """Milliseconds of a proof in float64: medians by the clock and by the processor, and the
    clock's lower tenth.
    """
    bounds = FieldBounds(field)
    times: dict[str, list[tuple[float, float]]] = {"fixed": [], "ghost": []}
    with one_thread_each():  # as in the search
        for _, i in product(range(repeats), range(len(points))):
            x = points.position[i]
            start, spent = perf_counter(), process_time()
            if points.kind[i] == "fixed":
                certify_fixed(bounds, x)
            elif points.kind[i] == "ghost":
                certify_ghost(bounds, x, points.left_vector[i], float(points.speed[i]))
            times[points.kind[i]].append((1e3 * (perf_counter() - start), 1e3 * (process_time() - spent)))
    found = {}
    for kind, taken in times.items():
        if taken:
            clock, processor = np.array(taken).T
            found[f"ms_per_{kind}"] = round(float(np.median(clock)), 3)
            found[f"processor_ms_per_{kind}"] = round(float(np.median(processor)), 3)
            found[f"tenth_ms_per_{kind}"] = round(float(np.quantile(clock, 0.1)), 3)
    return found


def compare(seed: int, gain: float, iterations: int, repeats: int) -> dict[str, float | int]:
    model = network(seed, gain)
    field = network_field(model)
    walls, processor = [], []
    for _ in range(repeats):
        start, spent = perf_counter(), process_time()
        points = find_slow_points(model, n_starts=STARTS)
        walls.append(perf_counter() - start)
        processor.append(process_time() - spent)
    square, products = np.ones((UNITS, UNITS)), []
    for _ in range(300):
        start = perf_counter()
        square @ square
        products.append(perf_counter() - start)
    gemm = 1e6 * float(np.median(products))
    starts = find._starts(model, field, None, STARTS, 0.0, 0)
    start, spent = perf_counter(), process_time()
    ends = adam(model.W[0], starts, iterations)
    rival, rival_processor = perf_counter() - start, process_time() - spent
    zeros, _, settled = newton(field.exact, ends)
    near = settled & (np.linalg.norm(zeros - ends, axis=1) < 0.01)
    speed = np.linalg.norm(field.exact.flow(ends), axis=1)
    return {
        "gain": gain,
        "seed": seed,
        "gemm_us": round(gemm, 1),
        "seconds": round(float(np.median(walls)), 3),
        "processor_seconds": round(float(np.median(processor)), 3),
        "fixed": len(points.fixed),
        "ghosts": len(points.ghosts),
        "undecided": int((points.kind == "undecided").sum()),
        "starts_unconverged": len(points.unconverged.reason),
        "zeros_to_1e-10": int((points.fixed.speed < 1e-10).sum()),
        **per_certificate(field.exact, points, repeats),
        "adam_seconds": round(rival, 3),
        "adam_processor_seconds": round(rival_processor, 3),
        "adam_over_search_processor": round(rival_processor / float(np.median(processor)), 2),
        "adam_reported": reported(ends),
        "adam_ends_zero_to_1e-10": int((speed < 1e-10).sum()),
        "adam_ends_zero_to_1e-5": int((speed < 1e-5).sum()),
        "adam_distinct_fixed": distinct(zeros[near]),
        "adam_median_speed_of_those": float(f"{np.median(speed[near]):.2g}") if near.any() else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    find_slow_points(network(0, 0.5), n_starts=2)  # compile
    rows = []
    for gain in (1.5, 2.0, 2.5):
        for seed in range(options.networks):
            rows.append(compare(seed, gain, options.iterations, options.repeats))
            print(json.dumps(rows[-1]))
    if options.output:
        settings = {"units": UNITS, "starts": STARTS, "iterations": options.iterations, "repeats": options.repeats}
        threads = torch.get_num_threads()
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(
                {
                    "settings": {**settings, "torch_threads": threads, "search_threads": numba.get_num_threads()},
                    "rows": rows,
                },
                file,
                indent=1,
            )
            file.write("\n")


if __name__ == "__main__":
    main()
