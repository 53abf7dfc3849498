"""The CUDA engine on a device: what it computes, how fast, and beside what else runs there.

    python benchmarks/cuda.py [--json FILE] [--only SECTION ...] [--small] [--seconds S]

Sections, each a process of its own, so that one that fails leaves the others. What they find is in
the file as soon as it is known, and every finding is a line of progress, so that a run that is
killed leaves what it had. A section has a limit of its own, all of them ``--seconds`` (580);
``--only verify speed`` takes at most 280. Kernels are compiled in as many processes side by side as
there are processors.

*verify*: training against the reference engine in float64 (against the compiled engine where
numbers are drawn), for models, tasks, optimisers and remedies. *statistics*: the 100 published
rank-one networks of Fig. 8B, of which 74 learn in every run, while how many of these are lost
depends on the last bit of the arithmetic. *speed*: nanoseconds per network-epoch over stacks of
networks, medians of repeats, with the launches alone and nothing recorded, and the share of the
bound that they reach. *published*: the same for the stacks of the published experiments, and the
seconds of all their epochs. *torch*: the same training batched in PyTorch with its epoch in a CUDA
graph. *jax*: vmap over networks and scan over steps and epochs. *cpu*: the compiled engine on two
threads. *figure*: Fig. 6A of rank one end to end. N = 100, float32, plain gradient descent, delayed
activation of 40 steps.

*bound*: the time of the arithmetic alone, at the device's highest clock: 16 tanh and 128
multiply-adds a cycle and processor; of a unit and step one tanh and 9 multiply-adds at rank one, 6
(K + 1) at rank K, 3 N at full rank.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if not hasattr(np, "row_stack"):
    vars(np)["row_stack"] = np.vstack  # a numba-cuda of before numpy 2.5 names it when it is imported

import ghostpoint as gp
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination, DelayedMatchToSample, NBitFlipFlop

# a module of this folder's has the name of NVIDIA's package, which numba-cuda imports
sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

N, RATE = 100, 1e-3
DA, CUE = DelayedActivation(), DelayedCueDiscrimination(30, 80, 50)
NOISY = DelayedCueDiscrimination(30, 80, 50, initial_scale=0.3, noise=0.1)
MATCH = DelayedMatchToSample(30, 80, 50)
STACKS = {"rank 1": (100, 1000, 8000, 100_000), "rank 10": (100, 1000, 8000, 100_000), "full rank": (100, 1000, 8000)}
#: one size for all that run on the device
BESIDE = {"rank 1": 8000, "rank 10": 8000, "full rank": 2000}
#: sections, and the seconds that each may take
SECTIONS = {
    "speed": 90, "verify": 190, "published": 80, "statistics": 40, "figure": 50, "torch": 60, "jax": 70, "cpu": 70,
}  # fmt: skip


#: sections in the order in which they run; of those side by side one measures at most a time
GROUPS = (("speed",), ("published",), ("verify", "statistics"), ("figure",), ("torch", "cpu"), ("jax",))


def networks(name: str, count: int) -> Any:
    """A stack of ``count`` networks, the first of them over and over."""
    low = gp.LowRankRNN.initialize
    first = {
        "rank 1": lambda: low(N, range(100)),
        "rank 10": lambda: low(N, range(16), "state_readout", rank=10),
        "full rank": lambda: gp.FullRankRNN.initialize(N, range(16)),
    }[name]()
    return first.repeat(-(-count // len(first)))[np.arange(count)]


def bound(name: str) -> float:
    """Nanoseconds of the arithmetic of a network-epoch."""
    from numba import cuda

    device = cuda.get_current_device()
    adds = {"rank 1": 9, "rank 10": 66, "full rank": 3 * N}[name]
    cycles = N * DA.steps * (1 / 16 + adds / 128)
    return float(cycles / device.MULTIPROCESSOR_COUNT / getattr(device, "CLOCK_RATE", float("nan")) * 1e6)


def verify_cases() -> dict[str, tuple[Any, Any, float, dict[str, Any], str]]:
    """Name to networks, task, rate, settings and the engine to compare with."""
    low, whole = gp.LowRankRNN.initialize, gp.FullRankRNN.initialize
    one, two = low(N, range(8), trainable=("m", "n", "b", "confidence")), low(N, range(3), "state_readout", rank=2)
    latent = low(N, range(3), "latent_readout", n_inputs=1, activation="tanh", rank=2)
    match = low(N, range(2), "latent_readout", n_inputs=1, rank=2)
    full = whole(N, range(3))
    inputs = whole(N, range(2), "xavier_biased", n_inputs=1, activation="tanh")
    flips = NBitFlipFlop(2, duration=60.0, interval=30.0, n_trials=3)
    bits = whole(40, range(2), "xavier_biased", n_inputs=2, n_outputs=2, activation="tanh")
    clip, norm = {"optimizer": "momentum", "remedy": gp.remedies.ClipGradient(0.05)}, {"readout_norm": 2.0}
    region, adam = {"remedy": gp.remedies.TrustRegion()}, {"optimizer": "adam"}
    forty = low(N, range(2), "latent_readout", n_inputs=1, activation="tanh", rank=40)
    return {
        "rank 1": (one, DA, 0.02, {}, "reference"),
        "rank 1, momentum, clipped": (one, DA, 0.02, clip, "reference"),
        "rank 1, Adam": (one, DA, 1e-3, {"optimizer": "adam"}, "reference"),
        "rank 1, 130 units": (low(130, range(4)), DA, 0.02, {}, "reference"),
        "rank 2, readout of the state": (two, DA, 0.01, clip, "reference"),
        "rank 2, inputs, Adam": (latent, CUE, 1e-3, {"optimizer": "adam"}, "reference"),
        "rank 2, match to sample": (match, MATCH, 0.01, {}, "reference"),
        "rank 2, noise": (latent, NOISY, 0.01, {}, "compiled"),
        "rank 10": (low(N, range(3), "state_readout", rank=10), DA, 0.01, {}, "reference"),
        "rank 30, momentum": (low(N, range(2), "state_readout", rank=30), DA, 0.01, clip, "reference"),
        "rank 100": (low(N, range(2), "state_readout", rank=100), DA, 0.01, {}, "reference"),
        "rank 40, readout of the latents": (forty, CUE, 0.01, {}, "reference"),
        "rank 1, trust region": (one, DA, 0.02, region, "reference"),
        "rank 2, trust region, Adam": (latent, CUE, 1e-3, {**region, **adam}, "reference"),
        "full rank, trust region": (inputs, CUE, 0.01, region, "reference"),
        "full rank": (full, DA, 1e-3, {}, "reference"),
        "full rank, Adam": (full, DA, 1e-4, {"optimizer": "adam"}, "reference"),
        "full rank, inputs, readout norm": (inputs, CUE, 0.01, norm, "reference"),
        "full rank, noise": (inputs, NOISY, 0.01, clip, "compiled"),
        "full rank, flip-flop": (bits, flips, 0.01, {}, "reference"),
        "full rank, 128 units": (whole(128, range(2)), DA, 1e-3, clip, "reference"),
    }


def verify(small: bool) -> dict[str, Any]:
    """Largest relative error over 50 epochs of loss, and of final weights, by case and type;
    processes side by side.
    """
    names = [f"{name}/{dtype}" for dtype in ("float32", "float64") for name in verify_cases()]
    return as_they_end([sys.executable, __file__, "--case"], names[:2] if small else names)


def as_they_end(command: list[str], names: list[str]) -> dict[str, Any]:
    """What the process of each name finds, printed when it ends; as many at a time as there are
    processors.
    """
    found: dict[str, Any] = {}
    running: dict[str, subprocess.Popen[str]] = {}
    waiting, most = list(names), os.cpu_count() or 1
    while waiting or running:
        while waiting and len(running) < most:
            running[waiting[0]] = subprocess.Popen([*command, waiting[0]], stdout=subprocess.PIPE, text=True)
            del waiting[0]
        for name in [name for name, process in running.items() if process.poll() is not None]:
            process = running.pop(name)
            lines = process.communicate()[0].strip().splitlines()
            found[name] = json.loads(lines[-1]) if process.returncode == 0 and lines else {"failed": lines[-3:]}
            print(json.dumps({name: found[name]}), flush=True)
        time.sleep(0.05)
    return found


def case(name: str) -> dict[str, Any]:
    """One case of :func:`verify` in one type, as NAME/TYPE."""
    name, _, dtype = name.rpartition("/")
    models, task, rate, settings, engine = verify_cases()[name]
    asked = {"record": "all", "checkpoints": [0, 20], **settings}
    kind = dtype if engine == "compiled" else "float64"
    run = gp.train(models, task, rate, 50, engine=gp.Computing("cuda", dtype), **asked)
    again = gp.train(models, task, rate, 50, engine=gp.Computing("cuda", dtype), **asked)
    wanted = gp.train(models, task, rate, 50, engine=gp.Computing(engine, kind), **asked)
    same = run.history.identical(again.history) and run.events.identical(again.events)
    return {
        "loss": _apart(run.history["loss"].values, wanted.history["loss"].values),
        "weights": max(_apart(getattr(run.models, part), getattr(wanted.models, part)) for part in models.trainable),
        "events differ": int(sum((run.events[event] != wanted.events[event]).sum() for event in run.events)),
        "repeats": bool(same),
    }


def _apart(one: Any, other: Any) -> float:
    return float(np.abs(one - other).max() / np.abs(other).max())


def statistics_of_published(small: bool) -> dict[str, Any]:
    """Of the 100 networks of Fig. 8B: how many learn, and how many of these are lost."""
    models, epochs = gp.LowRankRNN.published(range(100)), 600 if small else 6000
    found = {}
    for dtype in ("float32", "float64"):
        last = list(range(epochs - 50, epochs))
        run = gp.train(models, DA, 0.02, epochs, engine=gp.Computing("cuda", dtype), record=last)
        learned = run.events["first_above_chance"].values >= 0
        lost = learned & (run.history["accuracy"].values <= 0.5).all(axis=1)
        found[dtype] = {"learned": int(learned.sum()), "lost": int(lost.sum())}
        print(dtype, found[dtype], flush=True)
    return found


def plain(models: Any, optimizer: Any = None) -> Any:
    """A plan that records nothing."""
    from ghostpoint.training.optimizers import SGD
    from ghostpoint.training.plan import Plan

    never = np.zeros(0, np.int64)
    return Plan(np.full(len(models), RATE), 10**9, never, never, optimizer or SGD(), None, 0.05, 0)


def nanoseconds(models: Any, task: Any, optimizer: Any = None) -> float:
    """Per network-epoch of six launches that record nothing, the median of three."""
    from ghostpoint.training.cuda.driver import Run

    run = Run(models, task, plain(models, optimizer), "float32", None)
    epochs, at = 2, 0
    times: list[float] = []
    while len(times) < 4:
        start = time.perf_counter()
        for _ in range(6):
            run.round(at, at + epochs)
            at += epochs
        run.synchronize()
        took = (time.perf_counter() - start) / 6
        if took < 0.03 and epochs < 4096 and not times:
            epochs = min(4096, max(2 * epochs, int(epochs * 0.05 / max(took, 1e-4))))
            continue
        times.append(took / epochs / len(models) * 1e9)
    return statistics.median(times[1:])


def one_by_one(argument: str, names: list[str]) -> dict[str, Any]:
    """What a process for every name finds: they compile side by side and measure one at a time."""
    with tempfile.NamedTemporaryFile() as lock:
        return as_they_end([sys.executable, __file__, "--lock", lock.name, argument], names)


def compile_ahead(models: Any, task: Any, optimizer: Any = None) -> None:
    """Compile a kernel without launching it."""
    from ghostpoint.training.compiled.kernel_families import KERNELS
    from ghostpoint.training.cuda.driver import compiled
    from ghostpoint.training.cuda.kernels.specification import argument_types
    from ghostpoint.training.cuda.problem import specification

    chunk = KERNELS[models.kernels].chunk(models, task, 4)
    spec = specification(models, task, plain(models, optimizer), "float32", chunk)
    compiled(spec).compile(argument_types(spec))


def speed(small: bool) -> dict[str, Any]:
    """Nanoseconds per network-epoch, by stack, and shares of the bound."""
    return one_by_one("--stack", [f"{name}{'/small' * small}" for name in STACKS])


def stack(name: str, lock: Any) -> dict[str, Any]:
    """One kind of network of :func:`speed`."""
    name, _, small = name.partition("/")
    compile_ahead(networks(name, 2), DA)
    fcntl.flock(lock, fcntl.LOCK_EX)
    limit = bound(name)
    times: dict[str, float] = {}
    for count in STACKS[name][: 1 if small else None]:
        times[str(count)] = nanoseconds(networks(name, count), DA)
        print(name, count, times[str(count)], file=sys.stderr, flush=True)
    return {"bound": limit, **times, "share": {count: limit / found for count, found in times.items()}}


def published_parts() -> dict[str, tuple[Any, Any, Any, int]]:
    """Name to networks, task, optimiser and epochs of the published experiments that are stacks."""
    from ghostpoint.training.optimizers import Adam

    low, whole = gp.LowRankRNN.initialize, gp.FullRankRNN.initialize
    one, biased = low(N, range(10)), whole(N, range(20), "xavier_biased", n_inputs=1, activation="tanh")
    noisy = DelayedCueDiscrimination(10, 50, 50, copies=10, initial_scale=0.1, noise=0.001)
    hundred = whole(N, range(100), "xavier_biased", n_inputs=1, activation="tanh")
    parts: dict[str, tuple[Any, Any, Any, int]] = {
        f"6B, rank {rank}": (low(N, range(10), "state_readout", rank=rank).repeat(10), DA, None, 500_000)
        for rank in (100, 50, 30, 10, 5, 4, 3, 2, 1)
    }
    return {
        **parts,
        "6A, rank one": (one.repeat(30), DA, None, 200_001),
        "6A, full rank": (whole(N, range(10)).repeat(30), DA, None, 200_001),
        "7A-C": (biased.repeat(20), CUE, None, 20_000),
        "7D-F": (biased.repeat(20), MATCH, None, 20_000),
        "8B": (low(N, range(100)), DA, None, 6000),
        "8B, confidences": (low(N, range(100)).repeat(30), DA, None, 100),
        "8C": (hundred, noisy, Adam(), 10_000),
        "8C, interventions": (hundred.repeat(5), noisy, Adam(), 10_000),
    }


def published(small: bool) -> dict[str, Any]:
    """The stacks of the published experiments: their network-epochs, nanoseconds, seconds; in
    total.
    """
    names = list(published_parts())
    parts = one_by_one("--part", names[:2] if small else names)
    counted = [one for one in parts.values() if "seconds" in one]
    total = {key: sum(one[key] for one in counted) for key in ("network_epochs", "seconds")}
    return {"parts": parts, "failed": len(parts) - len(counted), **total}


def part(name: str, lock: Any) -> dict[str, Any]:
    """One stack of :func:`published`."""
    models, task, optimizer, epochs = published_parts()[name]
    compile_ahead(models, task, optimizer)
    fcntl.flock(lock, fcntl.LOCK_EX)
    found = nanoseconds(models, task, optimizer)
    done = epochs * len(models)
    return {"networks": len(models), "network_epochs": done, "nanoseconds": found, "seconds": found * done * 1e-9}


def torch_graphs(small: bool) -> dict[str, Any]:
    """Nanoseconds per network-epoch of batched PyTorch, an epoch in a CUDA graph."""
    import torch

    found = {}
    for name, count in BESIDE.items():
        models = networks(name, 100 if small else count)
        parts = {
            part: torch.tensor(getattr(models, part), dtype=torch.float32, device="cuda") for part in models.trainable
        }
        for part in parts.values():
            part.requires_grad_()
        x0 = torch.tensor(models.initial_state, dtype=torch.float32, device="cuda")
        target = torch.tensor(DA.trial().targets[0, :, 0], dtype=torch.float32, device="cuda")
        low = name != "full rank"

        def loss(parts: Any = parts, x0: Any = x0, target: Any = target, low: bool = low) -> Any:
            x, logits = x0, []
            for _ in range(DA.steps):
                if low:
                    latent = torch.bmm(parts["n"].transpose(1, 2), x[:, :, None])
                    drive = torch.bmm(parts["m"], latent)[:, :, 0] + parts["b"]
                else:
                    drive = torch.bmm(parts["W"], x[:, :, None])[:, :, 0] + parts["b"]
                x = (1 - DA.alpha) * x + DA.alpha * torch.tanh(drive)
                if "w_out" in parts:
                    logits.append((parts["w_out"][:, 0] * x).sum(dim=1) + parts["b_out"][:, 0])
                else:
                    logits.append(10.0 * ((parts["n"][:, :, 0] * x).sum(dim=1) - 1.0))
            return ((torch.sigmoid(torch.stack(logits, dim=1)) - target) ** 2).sum() * DA.loss_scale

        def epoch(parts: Any = parts, loss: Any = loss) -> None:
            gradients = torch.autograd.grad(loss(), list(parts.values()))
            for weights, gradient in zip(parts.values(), gradients, strict=True):
                weights.data.sub_(gradient, alpha=RATE)

        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                epoch()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            epoch()
        found[name] = _median(graph.replay, torch.cuda.synchronize, len(models))
        print("torch", name, found[name], flush=True)
        del graph, parts
        torch.cuda.empty_cache()
    return found


def jax_scan(small: bool) -> dict[str, Any]:
    """Nanoseconds per network-epoch of JAX: gradient of a scan over steps, vmap over networks, scan
    over epochs.
    """
    import jax
    import jax.numpy as jnp

    target = jnp.asarray(DA.trial().targets[0, :, 0], jnp.float32)
    found = {}
    for name, count in BESIDE.items():
        models = networks(name, 100 if small else count)
        parts = {part: jnp.asarray(getattr(models, part), jnp.float32) for part in models.trainable}
        x0 = jnp.asarray(models.initial_state, jnp.float32)
        low = name != "full rank"

        def loss(parts: Any, x0: Any, low: bool = low) -> Any:
            def step(x: Any, _: Any) -> Any:
                product = parts["m"] @ (parts["n"].T @ x) if low else parts["W"] @ x
                x = (1 - DA.alpha) * x + DA.alpha * jnp.tanh(product + parts["b"])
                if "w_out" in parts:
                    return x, parts["w_out"][0] @ x + parts["b_out"][0]
                return x, 10.0 * (parts["n"][:, 0] @ x - 1.0)

            _, z = jax.lax.scan(step, x0, None, length=DA.steps)
            return ((jax.nn.sigmoid(z) - target) ** 2).sum() * DA.loss_scale

        epochs = 5

        @jax.jit
        def train(parts: Any, x0: Any = x0, loss: Any = loss, epochs: int = epochs) -> Any:
            def epoch(parts: Any, _: Any) -> Any:
                gradient = jax.vmap(jax.grad(loss))(parts, x0)
                return jax.tree.map(lambda weights, slope: weights - RATE * slope, parts, gradient), None

            return jax.lax.scan(epoch, parts, None, length=epochs)[0]

        jax.block_until_ready(train(parts))

        def once(parts: Any = parts, train: Any = train) -> None:
            jax.block_until_ready(train(parts))

        found[name] = _median(once, None, len(models) * epochs)
        print("jax", name, found[name], flush=True)
    return found


def _median(call: Callable[[], Any], wait: Callable[[], Any] | None, covered: int) -> float:
    times: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(3):
            call()
        if wait:
            wait()
        times.append((time.perf_counter() - start) / 3 / covered * 1e9)
    return statistics.median(times)


def cpu(small: bool) -> dict[str, Any]:
    """Nanoseconds per network-epoch of the compiled engine on two threads of the same machine."""
    found = {}
    for name, (count, epochs) in {"rank 1": (320, 1500), "rank 10": (32, 400), "full rank": (32, 200)}.items():
        models = networks(name, count)
        asked: dict[str, Any] = {"engine": gp.Computing("compiled", threads=2), "record": [0]}
        gp.train(models, DA, RATE, 2, **asked)
        done = 10 if small else epochs
        start = time.perf_counter()
        gp.train(models, DA, RATE, done, **asked)
        found[name] = (time.perf_counter() - start) / done / count * 1e9
        print("cpu", name, found[name], flush=True)
    return found


def figure(small: bool) -> dict[str, Any]:
    """Fig. 6A of rank one: 30 rates, 10 networks each, 200,001 epochs; the whole call, its
    compilation included.
    """
    rates = np.repeat(np.logspace(-4, -1, 30), 10)
    models = gp.LowRankRNN.published(range(10), "6A").repeat(30)
    epochs = 2001 if small else 200_001
    start = time.perf_counter()
    run = gp.train(models, DA, rates, epochs, engine="cuda")
    took = time.perf_counter() - start
    learned = (run.events["first_above_chance"].values >= 0).reshape(30, 10).sum(axis=1)
    at_end = (run.history["accuracy"].values[:, -1] > 0.5).reshape(30, 10).sum(axis=1)
    return {"seconds": took, "epochs": epochs, "networks": 300, "learned": learned.tolist(), "kept": at_end.tolist()}


WORK: dict[str, Callable[[bool], dict[str, Any]]] = {
    "verify": verify, "statistics": statistics_of_published, "speed": speed, "published": published,
    "torch": torch_graphs, "jax": jax_scan, "cpu": cpu, "figure": figure,
}  # fmt: skip


def device() -> dict[str, Any]:
    """What the figures were measured on."""
    import numba
    from numba import cuda

    one = cuda.get_current_device()
    name = one.name.decode() if isinstance(one.name, bytes) else str(one.name)
    return {
        "name": name,
        "processors": one.MULTIPROCESSOR_COUNT,
        "clock_khz": getattr(one, "CLOCK_RATE", None),
        "numba": numba.__version__,
    }


def listen(process: subprocess.Popen[str], found: dict[str, Any], say: Callable[[str], None]) -> None:
    """Take up what a section prints, line by line: a record in JSON is a finding, a list with one
    is all that was found.
    """
    for line in process.stdout or ():
        try:
            heard = json.loads(line)
        except ValueError:
            heard = None
        if isinstance(heard, list):
            found.clear()
            heard = heard[0]
        if isinstance(heard, dict):
            found.update(heard)
        say(line.rstrip())


def measure(group: tuple[str, ...], command: list[str], results: dict[str, Any], end: float, path: Path) -> None:
    """The sections of a group side by side, up to the time ``end`` at most; what is known is saved
    with every line.
    """
    start, lock = time.perf_counter(), threading.Lock()
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    running: dict[str, tuple[subprocess.Popen[str], threading.Thread]] = {}

    def say(section: str, line: str) -> None:
        with lock:
            print(f"{time.perf_counter() - start:6.1f} s  {section}: {line[:400]}", flush=True)
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    for section in group:
        results[section] = {}
        # a session of its own, so that what it has started ends with it
        process = subprocess.Popen(
            [*command, section], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        hear = threading.Thread(target=listen, args=(process, results[section], partial(say, section)))
        hear.start()
        running[section] = process, hear
    try:
        for section, (process, _) in running.items():
            try:
                process.wait(max(1.0, min(start + SECTIONS[section], end) - time.perf_counter()))
            except subprocess.TimeoutExpired:
                results[section]["failed"] = f"not done after {time.perf_counter() - start:.0f} s"
    finally:
        for section, (process, hear) in running.items():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            elif process.returncode:
                results[section]["failed"] = f"exit status {process.returncode}"
            hear.join()
            say(section, results[section].get("failed", "done"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "cuda.json")
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the script")
    parser.add_argument("--seconds", type=float, default=580.0, help="of the whole run at most")
    parser.add_argument("--section", choices=list(SECTIONS), help=argparse.SUPPRESS)
    for hidden in ("--case", "--stack", "--part", "--lock"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(case(options.case)))
        return
    if options.stack or options.part:
        with open(options.lock, "w", encoding="utf-8") as lock:
            print(json.dumps(stack(options.stack, lock) if options.stack else part(options.part, lock)))
        return
    if options.section:
        print(json.dumps([WORK[options.section](options.small)]))
        return
    end = time.perf_counter() + options.seconds
    # SIGTERM, too, ends what was started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results: dict[str, Any] = {"device": device()}
    if options.json.exists():  # what is not asked for stays, if it is of the same device
        saved = json.loads(options.json.read_text(encoding="utf-8"))
        if saved.get("device", {}).get("name") == results["device"]["name"]:
            results = saved | results
    command = [sys.executable, __file__, *["--small"] * options.small, "--section"]
    for group in GROUPS:
        asked = tuple(name for name in group if name in options.only)
        if asked and time.perf_counter() < end:
            measure(asked, command, results, end, options.json)
    print(json.dumps(results)[:3000])


if __name__ == "__main__":
    main()
