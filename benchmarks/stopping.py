"""What it costs to go on until each fixed point was found often, and what is missed without.

A search of at most 32 units stops when every fixed point was found more than `find.RARE` times (and
the last round brought no new one). A fixed point as likely as the rarest one that was found is then
missed with a probability of about exp(-RARE). Of each rule: the fixed points found, of all that any
rule or a search from 4,096 starts finds (which is no bound from above); processor time; and the
estimate `missing` beside the number that was missed. The program goes on where a file of results
ends.

    python benchmarks/stopping.py --networks 10 --output benchmarks/results/stopping.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ghostpoint as gp
from ghostpoint.slow_points import find
from ghostpoint.slow_points.search.starts import groups

RULES, MANY = (1, 3, 10), 4096
Floats = NDArray[np.float64]


def random(g: np.random.Generator) -> Any:
    units = int(g.integers(4, 33))
    W = g.uniform(1.5, 3) * g.normal(size=(1, units, units)) / np.sqrt(units)
    return gp.FullRankRNN(W, 0.2 * g.normal(size=(1, units)))


def flip_flop(g: np.random.Generator) -> Any:
    bits = int(g.integers(1, 3))
    W = 0.1 * g.normal(size=(12 * bits, 12 * bits)) / np.sqrt(12 * bits)
    for k in range(bits):
        v = g.choice([-1.0, 1.0], 12)
        W[12 * k : 12 * k + 12, 12 * k : 12 * k + 12] += g.uniform(1.4, 2.5) * np.outer(v, v) / 12
    return gp.FullRankRNN(W[None], 0.05 * g.normal(size=(1, 12 * bits)))


def low_rank(g: np.random.Generator) -> Any:
    m = g.normal(size=(1, 24, 4))
    return gp.LowRankRNN(m, 2.5 * m / 24 + 0.3 * g.normal(size=m.shape) / 24)


def gated(g: np.random.Generator) -> Any:
    """Candidates excite themselves, so that there are several fixed points."""
    units = int(g.integers(2, 5))
    W = 1.5 * g.normal(size=(3 * units, units)) / np.sqrt(units)
    W[2 * units :] += g.uniform(1.5, 3) * np.eye(units)
    return gp.GRU(W[None], 0.3 * g.normal(size=(1, 3 * units)))


def stored(_: np.random.Generator) -> Any:
    """One network of 16 units, searched from other starts for each seed."""
    return gp.read_weights("tests/slow_points/cases/gru.npz")[0]


KINDS = {"random": random, "flip-flop": flip_flop, "rank four": low_rank, "GRU": gated, "one GRU": stored}


def zeros(model: Any, **options: Any) -> tuple[Floats, float, float]:
    """Fixed points, processor seconds, the estimate of how many are missing."""
    begin = process_time()
    points = gp.find_slow_points(model, certify=False, **options)
    return points.fixed.position, process_time() - begin, points.missing


def compared(kind: str, seed: int) -> dict[str, Any]:
    model = KINDS[kind](np.random.default_rng([seed, list(KINDS).index(kind)]))
    usual, by_rule = find.RARE, {}
    try:
        for rule in RULES:
            find.RARE = rule
            by_rule[rule] = zeros(model, seed=seed if KINDS[kind] is stored else 0)
    finally:
        find.RARE = usual
    every = np.concatenate([zeros(model, n_starts=MANY, seed=1)[0], *(found for found, _, _ in by_rule.values())])
    row: dict[str, Any] = {"kind": kind, "seed": seed, "units": model.n_units, "version": gp.__version__}
    row["fixed_points"] = len(groups(every, 1e-6))
    for rule, (found, seconds, missing) in by_rule.items():
        row[f"rule {rule}"] = {
            "missed": row["fixed_points"] - len(groups(found, 1e-6)),
            "missing": round(missing, 2),
            "processor_seconds": round(seconds, 3),
        }
    return row


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """By kind and rule: fixed points, those missed, networks with any missed, processor seconds."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        rows = [row for row in results if row["kind"] == kind]
        found[kind] = {"networks": len(rows), "fixed_points": sum(row["fixed_points"] for row in rows)}
        for rule in RULES:
            each = [row[f"rule {rule}"] for row in rows]
            found[kind][f"rule {rule}"] = {
                "missed": sum(one["missed"] for one in each),
                "networks_with_any_missed": sum(one["missed"] > 0 for one in each),
                "said_to_be_missing": round(sum(one["missing"] for one in each), 1),
                "processor_seconds": round(sum(one["processor_seconds"] for one in each), 2),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=10, help="of each kind")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/stopping.json"))
    arguments = parser.parse_args()
    results = json.loads(arguments.output.read_text())["results"] if arguments.output.exists() else []
    done = {(row["kind"], row["seed"]) for row in results}
    zeros(random(np.random.default_rng(0)))  # compile
    for seed in range(arguments.networks):
        for kind in KINDS:
            if kind == "one GRU" and seed > 2:
                continue
            if (kind, seed) not in done:
                results.append(compared(kind, seed))
                print(json.dumps(results[-1]), flush=True)
        arguments.output.write_text(json.dumps({"summary": summary(results), "results": results}, indent=1) + "\n")
    print(json.dumps(summary(results), indent=1))


if __name__ == "__main__":
    main()
