"""Slow points of random networks, beside two ways in use, from the same starts and in one run.

*Adam*: the recipe of FixedPointFinder (Golub and Sussillo, "FixedPointFinder: a Tensorflow toolbox
for identifying and characterizing fixed points in recurrent neural networks", Journal of Open
Source Software 3, 1003, 2018), written here in torch. Adam minimises the mean over the starts of
q = |F|**2 / 2 in float32; the rate falls by 0.95 on each plateau of 5 iterations; it ends where
every start has q < 1e-12 or a change of q below 1e-20 times the rate, after 5000 iterations at
most. Reported are ends within 10 mean distances of the starts' centroid, one of those that differ
by less than 1e-3 along every dimension. Set here: the first rate, 0.1 and 0.01, of which the one
that leads to more fixed points is taken; its time alone is counted. The recipe's noise on sampled
states has no place, as the starts are given.

*Levenberg-Marquardt*: MINPACK's lmder by ``scipy.optimize.root`` on F in float64 with the
derivative, tolerances 1e-12, at most 300 evaluations a start. Reported are ends that it calls a
success, one of those that are alike by the same rule.

A reported point is a fixed point if Newton's method in float64 settles within 0.01 of it; a ghost
if a proven one is that near; else it is false. ``known`` fixed points are the distinct ones that
any of the three finds. Times are processor times of all threads; torch and SciPy have one.
``gemm_us``, a product of two 100 x 100 matrices beside each network, says how fast the machine was.

*Sizes*: the default call, proofs and eigenvalues included, on networks of gain 1.5, each in a
process of its own, whose largest memory is that of all it loads too.

    python benchmarks/slow_points.py --networks 2 --sizes 100 500 1000
"""

from __future__ import annotations

import argparse
import json
import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root

import ghostpoint as gp
from ghostpoint.numerics.threads import one_thread_each
from ghostpoint.slow_points import SlowPoints, find, find_slow_points
from ghostpoint.slow_points.fields import TanhField, network_field
from ghostpoint.slow_points.search.descent import newton
from ghostpoint.slow_points.search.starts import groups

UNITS, STARTS, ITERATIONS, GAINS = 100, 128, 5000, (1.5, 2.0, 2.5)
TOL_Q, TOL_DQ, TOL_UNIQUE, OUTLIER, RATES = 1e-12, 1e-20, 1e-3, 10.0, (0.1, 0.01)
TOLERANCE, EVALUATIONS, NEAR = 1e-12, 300, 0.01
OUTPUT = Path("benchmarks/results/slow_points.json")
Floats = NDArray[np.float64]


def network(seed: int, gain: float, units: int = UNITS) -> gp.FullRankRNN:
    return gp.FullRankRNN(gain * np.random.default_rng(seed).normal(size=(1, units, units)) / np.sqrt(units))


def measured(units: int) -> dict[str, Any]:
    """One default call, in a process that computes nothing else but what it compiles."""
    for small in (8, 40):  # compile
        find_slow_points(network(0, 0.5, small), n_starts=2)
    clock, begin = perf_counter(), process_time()
    points = find_slow_points(network(0, GAINS[0], units))
    return {
        "units": units, "seconds": round(perf_counter() - clock, 2), "version": gp.__version__,
        "processor_seconds": round(process_time() - begin, 2), "fixed": len(points.fixed),
        "ghosts": len(points.ghosts), "proven": int((points.certificate != "none").sum()),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def adam(W: Floats, starts: Floats, rate: float) -> Floats:
    """Ends of the recipe's iterations."""
    import torch  # not in a process whose memory is measured

    torch.set_num_threads(1)
    weights = torch.tensor(W, dtype=torch.float32)
    x = torch.tensor(starts, dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.95, patience=5)
    before = torch.full((len(starts),), torch.inf)
    for _ in range(ITERATIONS):
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


def levenberg_marquardt(field: TanhField, starts: Floats) -> Floats:
    """Ends that lmder calls a success."""
    options = {"xtol": TOLERANCE, "ftol": TOLERANCE, "maxiter": EVALUATIONS}

    def flow(x: Floats) -> Floats:
        return field.flow(x[None])[0]

    def jacobian(x: Floats) -> Floats:
        return field.jacobian(x[None])[0]

    ends = [root(flow, x, jac=jacobian, method="lm", options=options) for x in starts]
    return np.array([end.x for end in ends if end.success]).reshape(-1, field.size)


def without_outliers(ends: Floats, starts: Floats) -> Floats:
    """The recipe's rule: distances from the starts' centroid over their mean."""
    centre = starts.mean(axis=0)
    usual = np.linalg.norm(starts - centre, axis=1).mean()
    return ends[np.linalg.norm(ends - centre, axis=1) <= OUTLIER * usual]


def unique(ends: Floats, field: TanhField) -> Floats:
    """The recipe's rule: of ends that are alike along every dimension the slowest."""
    left = ends[np.argsort(np.linalg.norm(field.flow(ends), axis=1), kind="stable")]
    kept = []
    while len(left):
        kept.append(left[0])
        left = left[np.abs(left - left[0]).max(axis=1) >= TOL_UNIQUE]
    return np.array(kept).reshape(-1, field.size)


def zeros_of(field: TanhField, reported: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The zeros that reported points are near, and which of the points are near one."""
    zeros, _, settled = newton(field, reported)
    near = settled & (np.linalg.norm(zeros - reported, axis=1) < NEAR)
    return zeros[near], near


def distinct(points: Floats) -> int:
    return len(groups(points, 1e-6))


def judged(field: TanhField, reported: Floats, points: SlowPoints, seconds: float) -> dict[str, Any]:
    zeros, near = zeros_of(field, reported)
    rest, ghosts = reported[~near], points.ghosts.position
    at_ghost = np.array([len(ghosts) > 0 and np.linalg.norm(ghosts - x, axis=1).min() < NEAR for x in rest], bool)
    return {
        "processor_seconds": round(seconds, 3),
        "reported": len(reported),
        "fixed": distinct(zeros),
        "repeats": int(near.sum()) - distinct(zeros),
        "ghosts": int(at_ghost.sum()),
        "false": int((~at_ghost).sum()),
    }


def compare(seed: int, gain: float, repeats: int) -> dict[str, Any]:
    model = network(seed, gain)
    whole = network_field(model)
    field = whole.exact
    assert isinstance(field, TanhField)
    spent = []
    for _ in range(repeats):
        begin = process_time()
        points = find_slow_points(model, n_starts=STARTS)
        spent.append(process_time() - begin)
    square, products = np.ones((UNITS, UNITS)), []
    for _ in range(300):
        start = perf_counter()
        square @ square
        products.append(perf_counter() - start)
    with one_thread_each():
        starts = find._drawing(model, whole, None, STARTS, 0.0, 0, 1.0)(STARTS, 0).x
        tried = []
        for rate in RATES:
            begin = process_time()
            ends = unique(without_outliers(adam(model.W[0], starts, rate), starts), field)
            tried.append((distinct(zeros_of(field, ends)[0]), ends, process_time() - begin, rate))
        _, by_adam, adam_seconds, rate = max(tried, key=lambda each: each[0])
        begin = process_time()
        by_lm = unique(levenberg_marquardt(field, starts), field)
        lm_seconds = process_time() - begin
        every = [zeros_of(field, reported)[0] for reported in (by_adam, by_lm)]
    speed = np.linalg.norm(field.flow(points.position), axis=1)
    true = (points.certificate != "none") & ((points.kind == "ghost") | (speed < TOLERANCE))
    return {
        "gain": gain, "seed": seed, "starts": len(starts), "gemm_us": round(1e6 * float(np.median(products)), 1),
        "version": gp.__version__, "known": distinct(np.concatenate([points.fixed.position, *every])),
        "ghostpoint": {
            "processor_seconds": round(float(np.median(spent)), 3), "reported": len(points),
            "fixed": len(points.fixed), "repeats": 0, "ghosts": len(points.ghosts), "false": int((~true).sum()),
        },
        "adam": {**judged(field, by_adam, points, adam_seconds), "rate": rate},
        "levenberg_marquardt": judged(field, by_lm, points, lm_seconds),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=0, help="of each gain")
    parser.add_argument("--repeats", type=int, default=3, help="of the search; its median time counts")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--sizes", type=int, nargs="*", default=(), help="units of networks to measure")
    options = parser.parse_args()
    results: dict[str, Any] = {"units": UNITS, "rows": [], "sizes": []}
    if options.output.exists():
        results = json.loads(options.output.read_text())
    rows = results["rows"]

    def save() -> None:
        options.output.write_text(json.dumps(results, indent=1) + "\n")

    done = {(row["gain"], row["seed"]) for row in rows}
    if options.networks:
        find_slow_points(network(0, 0.5), n_starts=2)  # compile
    for seed in range(options.networks):
        for gain in GAINS:
            if (gain, seed) not in done:
                rows.append(compare(seed, gain, options.repeats))
                print(json.dumps(rows[-1]), flush=True)
                save()
    for units in options.sizes:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            row = pool.submit(measured, units).result()
        print(json.dumps(row), flush=True)
        results["sizes"] = [each for each in results["sizes"] if each["units"] != units] + [row]
        save()


if __name__ == "__main__":
    main()
