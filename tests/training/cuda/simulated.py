"""Training by the CUDA kernels in numba-cuda's simulator: run as a program, in a process whose
environment asks for it.

    NUMBA_ENABLE_CUDASIM=1 python -m tests.training.cuda.simulated NAME ...

Prints a line of JSON for each case; ``KIND*`` stands for all whose name begins so, in both types.
On a machine with a device, and without that variable, the same cases run on it.
"""

from __future__ import annotations

import json
import sys
import warnings
from itertools import chain
from typing import Any

import numpy as np

from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.remedies import ClipGradient, HazardLimit, TrustRegion
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination, DelayedMatchToSample, NBitFlipFlop
from ghostpoint.training import SGD, Adam
from ghostpoint.training.compiled.kernel_families import LowRankKernels
from ghostpoint.training.cuda import driver, problem
from ghostpoint.training.cuda.kernels.lanes import SIMULATED
from tests.training.calls import train_with
from tests.training.cuda.turns import take_turns

SHORT, CUE = DelayedActivation(15), DelayedCueDiscrimination(10, 10, 10)
NOISY = DelayedCueDiscrimination(10, 10, 10, initial_scale=0.3, noise=0.1)
FLIPS = NBitFlipFlop(2, duration=60.0, interval=30.0, n_trials=2)
LOW, FULL = LowRankRNN.initialize, FullRankRNN.initialize
EVERY_PART = ("m", "n", "b", "confidence")
ONE = LOW(9, [3, 4, 5, 6, 7], trainable=EVERY_PART)
MATCH, THREE = DelayedMatchToSample(6, 6, 8), TrustRegion(crossings=3)
LATENT = LOW(9, [3], "latent_readout", rank=2, n_inputs=1, activation="tanh")
SIGNED = FULL(7, [3], "xavier_biased", n_inputs=1, activation="tanh")
STEEP, STEEP_LATENT = SIGNED.replace(w_out=3 * SIGNED.w_out), LATENT.replace(w_out=10 * LATENT.w_out)
CLIPPED = {"optimizer": SGD(0.7), "remedy": ClipGradient(0.05)}
#: networks whose readout crosses and networks whose readout does not
NEAR, FAR = (ONE.replace(m=2 * ONE.m, n=size * ONE.n)[rows] for size, rows in ((8, [1, 2, 4]), (16, [2, 4])))
LONGER = DelayedActivation(20)
THIRD, WHOLE = LOW(9, [3, 4], "state_readout", rank=3), FULL(6, [3, 4])
CLOSE = THIRD.replace(w_out=3 * THIRD.w_out)
ADAM = {"optimizer": Adam((0.8, 0.95), 1e-6)}

#: networks, task, epochs, settings, and the engine that says what is right ("compiled" where
#: numbers are drawn)
CASES: dict[str, tuple[Any, Any, int, dict[str, Any], str]] = {
    "rank one": (ONE, DelayedActivation(30), 4, {}, "reference"),
    "rank one, clipped": (ONE, SHORT, 3, CLIPPED, "reference"),
    "rank one, Adam": (ONE, SHORT, 3, ADAM, "reference"),
    "rank one, parts": (LOW(9, [3, 4], trainable=("n",)), SHORT, 3, {}, "reference"),
    "rank one, far": (ONE.replace(m=20 * ONE.m), SHORT, 3, {}, "reference"),
    "rank one, trust region": (NEAR, LONGER, 5, {"remedy": TrustRegion()}, "reference"),
    "rank one, unsplit": (FAR, LONGER, 4, {"remedy": TrustRegion(split=False), **ADAM}, "reference"),
    "rank one, hazard": (ONE, SHORT, 3, {"remedy": [HazardLimit(1e-4), ClipGradient(1.0)]}, "reference"),
    "low rank, three": (THIRD, SHORT, 2, CLIPPED, "reference"),
    "low rank, trust region": (CLOSE, LONGER, 4, {"remedy": TrustRegion(), "optimizer": "momentum"}, "reference"),
    "low rank, latents, trust region": (STEEP_LATENT, CUE, 3, {"remedy": THREE, **ADAM}, "reference"),
    "low rank, hazard": (CLOSE, LONGER, 3, {"remedy": HazardLimit(1e-4)}, "reference"),
    "low rank, latents": (LATENT, CUE, 2, ADAM, "reference"),
    "low rank, identity": (LOW(35, [3], "state_readout", rank=2, activation="identity"), SHORT, 2, {}, "reference"),
    "low rank, noise": (LATENT, NOISY, 2, {}, "compiled"),
    "low rank, readout norm": (LATENT, CUE, 2, {"readout_norm": 2.0}, "reference"),
    "full rank, trust region": (WHOLE, LONGER, 4, {"remedy": TrustRegion(), **ADAM}, "reference"),
    "full rank, inputs, trust region": (STEEP, CUE, 3, {"remedy": THREE}, "reference"),
    "full rank, unsplit": (STEEP, MATCH, 3, {"remedy": [TrustRegion(split=False), HazardLimit(0.1)]}, "reference"),
    "full rank": (WHOLE, SHORT, 2, ADAM, "reference"),
    "full rank, inputs": (SIGNED, CUE, 2, CLIPPED, "reference"),
    "full rank, noise": (SIGNED, NOISY, 2, {"readout_norm": 2.0}, "compiled"),
    "full rank, random trials": (FULL(6, [3], n_inputs=2, n_outputs=2, activation="tanh"), FLIPS, 2, {}, "reference"),
    "full rank, two warps": (FULL(40, [3]), DelayedActivation(5), 1, {}, "reference"),
}


def differences(models: Any, task: Any, epochs: int, settings: dict[str, Any], engine: str, dtype: str) -> Any:
    """Largest differences of history, checkpoints and weights, relative to numbers above 1, and
    whether the events are the same.
    """
    asked = {"record": "all", "checkpoints": [0, epochs - 1], "solved": 0.9, **settings}
    wanted = train_with(
        models, task, 0.05, epochs, engine=engine, dtype="float64" if engine == "reference" else dtype, **asked
    )
    run = train_with(models, task, 0.05, epochs, engine="cuda", dtype=dtype, **asked)
    assert run.config["engine"] == "cuda"
    assert set(run.history) == set(wanted.history)
    pairs = [(run.history[name], wanted.history[name]) for name in wanted.history]
    pairs += [(run.checkpoints[part], wanted.checkpoints[part]) for part in wanted.checkpoints]
    pairs += [(getattr(run.models, part), getattr(wanted.models, part)) for part in models.present_parts()]
    return {
        "largest": max(_apart(np.asarray(one), np.asarray(other)) for one, other in pairs),
        "events": all(bool((run.events[name] == wanted.events[name]).all()) for name in wanted.events),
        "acted": int(wanted.events["remedy_epochs"].sum()) if "remedy_epochs" in wanted.events else 0,
        "dtype": str(run.history["loss"].dtype),
    }


def _apart(one: Any, other: Any) -> float:
    return float((np.abs(one - other) / np.maximum(1, np.abs(other))).max())


def case(name: str, dtype: str) -> Any:
    return differences(*CASES[name], dtype)


def chunks() -> Any:
    """Random numbers where the compiled engine takes trials in chunks."""
    whole = LowRankKernels.chunk
    LowRankKernels.chunk = lambda self, models, task, itemsize: 2
    try:
        return differences(LATENT, DelayedCueDiscrimination(5, 5, 5, copies=2, noise=0.2), 1, {}, "compiled", "float64")
    finally:
        LowRankKernels.chunk = whole


def in_memory() -> Any:
    """A trial that does not fit into shared memory, in low and full rank."""
    shared, problem.SHARED = problem.SHARED, 0
    try:
        low = differences(LOW(9, [3, 4], "state_readout", rank=2), SHORT, 2, {}, "reference", "float64")
        full = differences(FULL(6, [3, 4]), SHORT, 2, {}, "reference", "float64")
        return {name: max(low[name], full[name]) if name == "largest" else low[name] and full[name] for name in low}
    finally:
        problem.SHARED = shared


def in_a_block() -> Any:
    """Low-rank networks whose weights do not fit into the registers of a warp."""
    most, problem.MOST_WEIGHTS = problem.MOST_WEIGHTS, 0
    whole = LOW(9, [3], "state_readout", rank=3, activation="tanh")
    driven = whole.replace(w_in=0.3 * whole.m[:, :, :1], trainable=("m", "n", "w_in", "b", "w_out", "b_out"))
    cases = [
        (THIRD, SHORT, 2, ADAM, "reference"),
        (LOW(35, [3], "state_readout", rank=2, trainable=("m", "b", "w_out")), SHORT, 2, CLIPPED, "reference"),
        (driven, NOISY, 2, {"readout_norm": 2.0}, "compiled"),
        (LATENT, CUE, 2, {"readout_norm": 2.0, **ADAM}, "reference"),
        (ONE, SHORT, 3, {}, "reference"),
        (driven, MATCH, 3, {"remedy": THREE, "optimizer": "momentum"}, "reference"),
        (STEEP_LATENT, CUE, 3, {"remedy": THREE}, "reference"),
        (NEAR, LONGER, 3, {"remedy": TrustRegion()}, "reference"),
    ]
    try:
        found = [differences(*one, "float64") for one in cases]
    finally:
        problem.MOST_WEIGHTS = most
    return {**found[0], "largest": max(one["largest"] for one in found), "events": all(one["events"] for one in found)}


def in_rounds() -> Any:
    """Whether rounds, pieces, and the stack around a network change a bit; what is heard of on the
    way.
    """
    epochs, asked = 7, {"record": [0, 3, 4, 6], "checkpoints": [0, 5], "optimizer": "momentum", "remedy": TrustRegion()}
    whole = train_with(ONE, SHORT, 0.05, epochs, engine="cuda", **asked)
    rows, progress = [], []
    before, free = driver.LONGEST, driver._free_memory
    driver.LONGEST, driver._free_memory = 2, lambda: 1500.0
    try:
        parts = train_with(
            ONE, SHORT, 0.05, epochs, engine="cuda", on_progress=progress.append,
            on_record=lambda epoch, seen: rows.append((epoch, float(seen["loss"][4]))), **asked,
        )  # fmt: skip
    finally:
        driver.LONGEST, driver._free_memory = before, free
    # parts of two networks, each on a stream of its own
    warps, piece, pieces = driver.WARPS, driver._Piece, []
    driver.WARPS, driver._Piece = 0, lambda *known: pieces.append(piece(*known)) or pieces[-1]
    try:
        apart = train_with(ONE, SHORT, 0.05, epochs, engine="cuda", **asked)
    finally:
        driver.WARPS, driver._Piece = warps, piece
    alone = train_with(ONE[4], SHORT, 0.05, epochs, engine="cuda", **asked)
    same = [
        whole.history.identical(parts.history), whole.events.identical(parts.events),
        whole.checkpoints.identical(parts.checkpoints), bool((whole.models.m == parts.models.m).all()),
        bool((whole.history["loss"].values[4:] == alone.history["loss"].values).all()),
        rows == [(epoch, float(whole.history["loss"].sel(epoch=epoch)[4])) for epoch in (0, 3, 4, 6)],
        sum(progress) == epochs * len(ONE),
        len(pieces) == 3 and whole.history.identical(apart.history) and whole.checkpoints.identical(apart.checkpoints),
    ]  # fmt: skip
    return {"same": [bool(one) for one in same]}


def ends() -> Any:
    """Networks that freeze and diverge, beside one that goes on; what is left of the run repeats
    their last values.
    """
    base = LOW(9, [3, 4, 5])
    models = base.replace(confidence=[0.0, 10.0, 10.0], trainable=("m", "n", "b"))
    rates = [0.05, 1e25, 0.05]
    asked = {"record": "all", "checkpoints": [1, 5]}
    before, driver.LONGEST = driver.LONGEST, 2
    try:
        run = train_with(models, SHORT, rates, 6, engine="cuda", **asked)
        over = train_with(models[:2], SHORT, rates[:2], 6, engine="cuda", **asked)
    finally:
        driver.LONGEST = before
    wanted = train_with(models, SHORT, rates, 6, engine="compiled", **asked)
    loss = run.history["loss"].values
    return {
        "events": all(bool((run.events[name] == wanted.events[name]).all()) for name in wanted.events),
        "ended": [int(run.events[name][k]) for name, k in (("frozen", 0), ("diverged", 1))],
        "near": bool(np.allclose(loss, wanted.history["loss"].values, rtol=1e-5)),
        "held": bool((loss[:2] == loss[:2, :1]).all()),
        "alone": bool((over.history["loss"].values == loss[:2]).all()),
        "kept": bool((run.checkpoints["m"].values[1][:2] == run.models.m[:2]).all()),
    }


def interrupted() -> Any:
    """Ctrl-C while a launch is under way."""
    before, driver.LONGEST = driver.LONGEST, 2

    def press(epoch: int, seen: Any) -> None:
        if epoch >= 2:
            raise KeyboardInterrupt

    try:
        run = train_with(ONE, SHORT, 0.05, 12, engine="cuda", record="all", on_record=press, on_interrupt="return")
    finally:
        driver.LONGEST = before
    done = run.config["epochs_done"]
    whole = train_with(ONE, SHORT, 0.05, done, engine="cuda", record="all")
    return {
        "done": done,
        "complete": run.complete,
        "same": bool((run.history["loss"].values == whole.history["loss"].values).all()),
        "models": bool((run.models.m == whole.models.m).all()),
    }


OTHERS = {
    "chunks": chunks,
    "in memory": in_memory,
    "in a block": in_a_block,
    "in rounds": in_rounds,
    "ends": ends,
    "interrupted": interrupted,
}


def of_kind(kind: str) -> list[str]:
    """The cases of a kind of network, in both types."""
    return [f"{name}/{dtype}" for name in CASES if name.startswith(kind) for dtype in ("float64", "float32")]


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    if SIMULATED:
        take_turns()
    for name in chain.from_iterable(of_kind(one[:-1]) if one.endswith("*") else [one] for one in names):
        kind, _, dtype = name.partition("/")
        found = OTHERS[kind]() if kind in OTHERS else case(kind, dtype or "float64")
        print(json.dumps({"name": name, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
