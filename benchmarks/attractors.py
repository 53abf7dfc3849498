"""Whether the default call lists every attractor that 2,000 simulated starts find, in ten kinds of
networks.

Truth: 2,000 Euler simulations of the flow, from states uniform in (-1, 1)^N times a uniform number
each, in steps of 0.2 tau for 200 tau; ends that Newton's method takes to a stable fixed point
nearby. A simulation whose speed has fallen to 1e-10 has ended. An attractor counts as listed where
a stable fixed point of the list is within 1e-6 of it, or where it lies on a continuum of the list.
The program goes on where a file of results ends.

    python benchmarks/attractors.py --networks 100 --output benchmarks/results/attractors.json
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
from ghostpoint.numerics.threads import one_thread_each
from ghostpoint.slow_points.fields import network_field
from ghostpoint.slow_points.search.descent import newton
from ghostpoint.slow_points.search.starts import groups

Floats = NDArray[np.float64]
STARTS, STEPS, ENDED = 2000, 1000, 1e-10
ENGINE = gp.Computing(engine="reference", dtype="float64")


def full(W: Floats, b: Floats | None = None, w_in: Floats | None = None) -> gp.FullRankRNN:
    return gp.FullRankRNN(W[None], None if b is None else b[None], w_in=None if w_in is None else w_in[None])


def noise(generator: np.random.Generator, units: int, size: float) -> Floats:
    return size * generator.normal(size=(units, units)) / np.sqrt(units)


def bistable(g: np.random.Generator) -> Any:
    units = int(g.integers(20, 101))
    v = np.sign(g.normal(size=units))
    return full(g.uniform(1.3, 3) * np.outer(v, v) / units + noise(g, units, 0.2), 0.1 * g.normal(size=units)), None


def multistable_low_rank(g: np.random.Generator) -> Any:
    units, rank = 60, int(g.integers(4, 7))
    m = g.normal(size=(units, rank))
    return gp.LowRankRNN(m[None], (2.5 * m / units + 0.3 * g.normal(size=m.shape) / units)[None]), None


def ring(g: np.random.Generator) -> Any:
    units = int(g.integers(8, 65))
    angle = 2 * np.pi * np.arange(units) / units
    W = 4 / units * np.cos(angle[:, None] - angle)
    return full(W * (1 + g.uniform(0, 0.1) * g.normal(size=W.shape))), None


def line(g: np.random.Generator) -> Any:
    units = 50
    v = g.normal(size=units)
    v /= np.linalg.norm(v)
    return full(g.uniform(1.0, 1.02) * np.outer(v, v) + noise(g, units, 0.1)), None


def flip_flop(bits: int) -> Any:
    def made(g: np.random.Generator) -> Any:
        units = 12 * bits
        W = noise(g, units, 0.1)
        for k in range(bits):
            v = g.choice([-1.0, 1.0], 12)
            W[12 * k : 12 * k + 12, 12 * k : 12 * k + 12] += g.uniform(1.4, 2.5) * np.outer(v, v) / 12
        return full(W, 0.05 * g.normal(size=units)), None

    return made


def random(g: np.random.Generator) -> Any:
    units = int(g.integers(20, 81))
    return full(noise(g, units, g.uniform(1.2, 2.5)), 0.3 * g.normal(size=units)), None


def trained(g: np.random.Generator) -> Any:
    seed = int(g.integers(0, 2**31))
    models = gp.FullRankRNN.initialize(20, [seed], "xavier_biased", n_inputs=1, activation="tanh")
    run = gp.train(models, gp.tasks.DelayedCueDiscrimination(10, 20, 15), 0.3, 60, engine=ENGINE)
    return run.models, None


def with_inputs(g: np.random.Generator) -> Any:
    units = 40
    v = np.sign(g.normal(size=(2, units)))
    W = g.uniform(1.3, 2.2) * v.T @ v / units + noise(g, units, 0.2)
    return full(W, 0.1 * g.normal(size=units), g.normal(size=(units, 2))), 0.2 * g.normal(size=2)


KINDS = {
    "bistable": bistable, "multistable low rank": multistable_low_rank, "ring": ring, "line": line,
    "flip-flop, 1 or 2 bits": lambda g: flip_flop(int(g.integers(1, 3)))(g), "flip-flop, 3 bits": flip_flop(3),
    "flip-flop, 4 bits": flip_flop(4), "random": random, "trained": trained, "with inputs": with_inputs,
}  # fmt: skip


def attractors(model: Any, u: Any, seed: int) -> Floats:
    """Stable fixed points (A, N) at which simulations end."""
    network = network_field(model, u)
    g = np.random.default_rng([seed, 1])
    x = g.uniform(-1, 1, (STARTS, network.n_units)) * g.uniform(0, 1, (STARTS, 1))
    going = np.arange(STARTS)
    for step in range(STEPS):
        velocity = network.state_flow(x[going])
        x[going] += 0.2 * velocity
        if step % 20 == 19:
            going = going[np.linalg.norm(velocity, axis=1) > ENDED]
    y = network.coordinates(x)
    y = y[[rows[0] for rows in groups(y, 1e-4)]]
    zeros, _, settled = newton(network.exact, y)
    near = settled & (np.linalg.norm(zeros - y, axis=1) < 0.01 * (1 + np.linalg.norm(y, axis=1)))
    zeros = zeros[near]
    stable = [bool((np.linalg.eigvals(J).real < 0).all()) for J in network.exact.jacobian(zeros)] if len(zeros) else []
    zeros = zeros[np.array(stable, bool)]
    return network.states(zeros[[rows[0] for rows in groups(zeros, 1e-6)]])


def compared(kind: str, seed: int) -> dict[str, Any]:
    model, u = KINDS[kind](np.random.default_rng([seed, list(KINDS).index(kind)]))
    with one_thread_each():
        truth = attractors(model, u, seed)
        begin = process_time()
        points = gp.find_slow_points(model, inputs=u)
        spent = process_time() - begin
    listed = points.position[points.stable]
    missed = 0
    for x in truth:
        near = len(listed) and np.linalg.norm(listed - x, axis=1).min() <= 1e-6 * (1 + np.linalg.norm(x))
        missed += not (near or any(each.holds(x[None])[0] for each in points.continua))
    return {
        "kind": kind, "seed": seed, "attractors": len(truth), "missed": int(missed), "listed": len(listed),
        "continua": [str(each) for each in points.continua], "processor_seconds": round(spent, 3),
        "version": gp.__version__,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100, help="of each kind")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/attractors.json"))
    arguments = parser.parse_args()
    results = json.loads(arguments.output.read_text())["results"] if arguments.output.exists() else []
    done = {(row["kind"], row["seed"]) for row in results}
    for seed in range(arguments.networks):
        for kind in KINDS:
            if (kind, seed) in done:
                continue
            results.append(compared(kind, seed))
            print(results[-1], flush=True)
        summary = {
            kind: f"{sum(not r['missed'] for r in results if r['kind'] == kind)} of "
            f"{sum(r['kind'] == kind for r in results)} networks with every attractor listed"
            for kind in KINDS
        }
        arguments.output.write_text(json.dumps({"summary": summary, "results": results}, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
