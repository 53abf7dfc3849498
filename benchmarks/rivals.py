"""Optimizers, schedules and clipping beside the guard: networks that learn, are lost and solve a
memory task, at learning rates over four decades.

    python benchmarks/rivals.py [--tasks DA,DMTS,DCDT,parity] [--cells tanh,gru,lstm]
        [--methods "Muon;Adam, guarded"] [--seeds 300,301,302] [--json FILE]
    python benchmarks/rivals.py --add FILE # the runs of another file of this program
    python benchmarks/rivals.py --add FILE --replace    # in place of those that are there
    python benchmarks/rivals.py --times    # only the time and the passes of an update

Needs the packages pytorch_optimizer 4.1, schedulefree 1.4, prodigyopt 1.1 and zclip 1.0. Runs that
the file already holds are not made again; all methods and rates of a task, cell and seed are done
before the next. Tasks, networks and how a training is judged: ``memory_tasks.py``. Networks have 64
units, and are the same at the start for all methods and rates of a seed.

Networks are trained in stacks, each with its own parameters and its own optimizer: only the passes
are shared (:func:`outputs_of`). L-BFGS and the guard, which evaluate more than once an update,
train one network at a time. *forward*, *backward*: passes an update. *ms*: processor time of an
update of a network that is trained alone, the median of 20 updates after 30 others; all methods
take turns.

Settings are the defaults of the packages, without weight decay, but for:

* Adam with warm-up and cosine decay: the rate rises linearly over the first tenth of the updates,
  and falls to zero over the others.
* *AutoClip* clips at the 10th percentile of all norms of the gradient so far.
* *Muon* updates the recurrent matrix, with its update scaled to the size of AdamW's; the other
  parameters have AdamW at the same rate.
* *L-BFGS* searches along the line (strong Wolfe conditions). An update is an evaluation: a step of
  up to 20 iterations, which evaluates n times, counts as n updates at the loss that it began with.
* Schedule-free AdamW is judged by the weights that it is evaluated at, with a forward pass of their
  own.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import lr_scheduler

from ghostpoint.torch import Guard

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.memory_tasks import Network, Problem, judged, problem, usual_updates
from benchmarks.stacked_cells import states_of
from benchmarks.tables import CONDITION, by_condition, run_by_run

SAVED = Path(__file__).parent / "results" / "rivals.json"
PACKAGES = ("torch", "pytorch_optimizer", "schedulefree", "prodigyopt", "zclip")
UNITS = 64
#: trials in a stack: its states then stay in a processor's cache
TRIALS = 128
KEY = (*CONDITION, "seed")
#: rates of methods whose update has the size of the rate; of those that follow the gradient; and of
#: those that multiply a rate of their own
ADAM, SGD, OWN = (3e-4, 3e-3, 0.03, 0.3, 3.0), (0.03, 0.3, 3.0, 30.0, 300.0), (0.01, 0.1, 1.0, 10.0, 100.0)

Optimizers = list[torch.optim.Optimizer]
Outputs = Callable[[Sequence[Network], torch.Tensor], torch.Tensor]


def by_name(package: str, name: str, **options: Any) -> Callable[[Network, float], Optimizers]:
    """Makes the optimizer of a package for a network and a rate."""
    return lambda network, rate: [getattr(import_module(package), name)(network.parameters(), lr=rate, **options)]


def muon(network: Network, rate: float) -> Optimizers:
    """Muon for the recurrent matrix, AdamW for the others."""
    matrix = network.cell.weight_hh_l0
    others = [parameter for parameter in network.parameters() if parameter is not matrix]
    return [
        torch.optim.Muon([matrix], lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, weight_decay=0.0),
    ]


def warmup_and_cosine(optimizer: torch.optim.Optimizer, updates: int) -> lr_scheduler.LRScheduler:
    first = updates // 10
    rising = lr_scheduler.LinearLR(optimizer, 1 / first, total_iters=first)
    falling = lr_scheduler.CosineAnnealingLR(optimizer, updates - first)
    return lr_scheduler.SequentialLR(optimizer, [rising, falling], [first])


def clipped_at(norm: float) -> Callable[[], Callable[[Network], Any]]:
    return lambda: lambda network: clip_grad_norm_(network.parameters(), norm)


def autoclip() -> Callable[[Network], Any]:
    norms: list[float] = []

    def clip(network: Network) -> None:
        norms.append(float(clip_grad_norm_(network.parameters(), math.inf)))
        clip_grad_norm_(network.parameters(), float(np.quantile(norms, 0.1)))

    return clip


def zclip() -> Callable[[Network], Any]:
    return import_module("zclip").ZClip().step


@dataclass(frozen=True)
class Method:
    """An optimizer, its rates, and what happens to the gradient before and the rate after."""

    optimizers: Callable[[Network, float], Optimizers]
    rates: tuple[float, ...] = ADAM
    clipping: Callable[[], Callable[[Network], Any]] = lambda: lambda network: None
    schedule: Callable[[torch.optim.Optimizer, int], lr_scheduler.LRScheduler] | None = None


_SGD, _ADAM = by_name("torch.optim", "SGD"), by_name("torch.optim", "Adam")
METHODS = {
    "SGD": Method(_SGD, SGD),
    "SGD, clipped at 0.1": Method(_SGD, SGD, clipped_at(0.1)),
    "SGD, clipped at 1": Method(_SGD, SGD, clipped_at(1.0)),
    "momentum": Method(by_name("torch.optim", "SGD", momentum=0.9), tuple(rate / 10 for rate in SGD)),
    "Adam": Method(_ADAM),
    "Adam, warm-up and cosine": Method(_ADAM, schedule=warmup_and_cosine),
    "Adam, clipped at 0.1": Method(_ADAM, clipping=clipped_at(0.1)),
    "Adam, clipped at 1": Method(_ADAM, clipping=clipped_at(1.0)),
    "Adam, AutoClip": Method(_ADAM, clipping=autoclip),
    "Adam, ZClip": Method(_ADAM, clipping=zclip),
    "AdaGC": Method(by_name("pytorch_optimizer", "AdaGC", weight_decay=0.0)),
    "StableSPAM": Method(by_name("pytorch_optimizer", "StableSPAM")),
    "RAdam": Method(by_name("torch.optim", "RAdam")),
    "schedule-free AdamW": Method(by_name("schedulefree", "AdamWScheduleFree")),
    "Lamb": Method(by_name("pytorch_optimizer", "Lamb")),
    "Muon": Method(muon),
    "Prodigy": Method(by_name("prodigyopt", "Prodigy"), OWN),
    "D-Adaptation": Method(by_name("pytorch_optimizer", "DAdaptAdam"), OWN),
    "L-BFGS": Method(by_name("torch.optim", "LBFGS", line_search_fn="strong_wolfe"), OWN),
    "Adam, guarded": Method(_ADAM),
}
ALONE = ("L-BFGS", "Adam, guarded")


class Training:
    """A network with its optimizer, clipping and schedule."""

    def __init__(self, name: str, rate: float, network: Network, updates: int, fixed: bool = True):
        method = METHODS[name]
        self.name, self.rate, self.network = name, rate, network
        self.optimizers = method.optimizers(network, rate)
        self.clip = method.clipping()
        self.schedules = [method.schedule(one, updates) for one in self.optimizers] if method.schedule else []
        batch = "fixed" if fixed else "fresh"
        self.guard = Guard(network, self.optimizers[0], batch=batch) if name == "Adam, guarded" else None
        #: schedule-free optimizers train at other weights than those that they are evaluated at
        self.free: list[Any] = [one for one in self.optimizers if hasattr(one, "eval")]
        self.losses: list[float] = []
        self.forward = self.backward = 0
        for one in self.free:
            one.train()

    def follow(self, loss: torch.Tensor) -> None:
        """An update by the gradients that the network has."""
        self.losses.append(float(loss.detach()))
        self.forward, self.backward = self.forward + 1, self.backward + 1
        self.clip(self.network)
        for one in (*self.optimizers, *self.schedules):
            one.step()

    def update(self, asked: Problem, x: torch.Tensor, y: torch.Tensor, outputs: Outputs) -> None:
        """An update of this network alone."""
        if self.guard is not None:
            loss = self.guard.step(lambda: asked.loss(outputs([self.network], x)[0], y))
            self.losses.append(float(loss))
            self.forward, self.backward = (self.guard.counts[name] for name in ("forward", "backward"))
            return

        def closure() -> torch.Tensor:
            self.optimizers[0].zero_grad()
            loss, _ = asked.loss(outputs([self.network], x)[0], y)
            loss.backward()
            self.forward, self.backward = self.forward + 1, self.backward + 1
            return loss

        begun_with = float(self.optimizers[0].step(closure))
        self.losses += [begun_with] * (self.forward - len(self.losses))

    @torch.no_grad()
    def evaluate(self, asked: Problem, x: torch.Tensor, y: torch.Tensor) -> None:
        """Put the loss at the weights of evaluation in place of the last one, if they differ."""
        for one in self.free:
            one.eval()
            self.losses[-1] = float(asked.loss(self.network(x), y)[0])
            self.forward += 1
            one.train()

    def running(self) -> bool:
        return not self.losses or math.isfinite(self.losses[-1])


def outputs_of(networks: Sequence[Network], x: torch.Tensor) -> torch.Tensor:
    """Outputs ``(networks, trials, steps, outputs)`` of networks with the same cell, and inputs.

    Those of tanh and of the GRU are of compiled equations (``stacked_cells.py``).
    """
    layers = [network.cell for network in networks]
    if isinstance(layers[0], nn.LSTM):
        return torch.stack([network(x) for network in networks])
    read = torch.stack([network.readout.weight for network in networks])
    bias = torch.stack([network.readout.bias for network in networks])
    answers = torch.baddbmm(bias[:, None], states_of(layers, x).flatten(1, 2), read.mT)
    return networks[0].last(answers.view(len(networks), *x.shape[:2], -1))


def by_themselves(networks: Sequence[Network], x: torch.Tensor) -> torch.Tensor:
    """The same by PyTorch's own layers, one network after another."""
    return torch.stack([network(x) for network in networks])


def train(asked: Problem, trainings: Sequence[Training], updates: int, seed: int, passes: Outputs = outputs_of) -> None:
    """Train networks of one task and cell together, as far as their losses are finite."""
    following = asked.batches(torch.Generator().manual_seed(seed))
    for _ in range(updates):
        running = [one for one in trainings if one.running()]
        if not running:
            break
        x, y = following()
        for one in running:
            for optimizer in one.optimizers:
                optimizer.zero_grad()
        outputs = passes([one.network for one in running], x)
        losses = torch.stack([asked.loss(each, y)[0] for each in outputs.unbind()])
        losses.sum().backward()
        for one, loss in zip(running, losses.detach(), strict=True):
            one.follow(loss)
        for one in running:
            one.evaluate(asked, x, y)


def train_alone(asked: Problem, one: Training, updates: int, seed: int, passes: Outputs = outputs_of) -> None:
    """Train a network whose updates evaluate more than once."""
    following = asked.batches(torch.Generator().manual_seed(seed))
    end = len(one.losses) + updates
    while one.running() and len(one.losses) < end:
        one.update(asked, *following(), passes)


def runs_of(task: str, cell: str, seed: int, known: set[tuple], names: Sequence[str] = tuple(METHODS)) -> list[dict]:
    """The methods of these names at all their rates, on a task, cell and seed, less those that are
    known.
    """
    asked, updates = problem(task), usual_updates(task, cell)
    wanted = [
        (name, rate)
        for name in names
        for rate in METHODS[name].rates
        if (task, cell, name, rate, UNITS, updates, seed) not in known
    ]
    trainings = [Training(name, rate, asked.network(cell, UNITS, seed), updates, asked.fixed) for name, rate in wanted]
    together = [one for one in trainings if one.name not in ALONE]
    stack = max(1, TRIALS // len(asked.batches(torch.Generator())()[0]))
    for first in range(0, len(together), stack):
        train(asked, together[first : first + stack], updates, seed)
    for one in trainings:
        if one.name in ALONE:
            train_alone(asked, one, updates, seed)
    return [
        dict(zip(KEY, (task, cell, one.name, one.rate, UNITS, updates, seed), strict=True))
        | judged(one.losses, asked.chance, asked.fixed)
        | {"forward": one.forward / len(one.losses), "backward": one.backward / len(one.losses)}
        for one in trainings
    ]


def read(path: Path) -> dict[str, Any]:
    """What a file of this program holds, run by run."""
    saved: dict[str, Any] = json.loads(path.read_text())
    return saved | {"runs": run_by_run(saved["runs"])}


def write(path: Path, saved: dict[str, Any]) -> None:
    """Save the runs in the order of the methods, one row for each condition with lists over the
    seeds.
    """
    head = {name: value for name, value in saved.items() if name not in {"runs", "times"}}
    place = {name: number for number, name in enumerate(METHODS)}  # pages keep this order
    runs = sorted(saved["runs"], key=lambda run: (run["seed"], place[run["method"]]))
    for run in runs:
        run.update({name: float(f"{run[name]:.3g}") for name in ("end", "forward", "backward")})
    lists = [
        f'"{name}": [\n' + ",\n".join(json.dumps(one) for one in rows) + "\n]"
        for name, rows in (("times", saved["times"]), ("runs", by_condition(runs)))
    ]
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(head)[:-1] + ",\n" + ",\n".join(lists) + "}\n")
    temporary.replace(path)


def times(task: str = "DMTS", seed: int = 300) -> list[dict]:
    """Processor time of an update of each method, in ms, at the second of its rates."""
    asked, rows = problem(task), []
    for cell in ("tanh", "gru", "lstm"):
        trainings = [
            Training(name, method.rates[1], asked.network(cell, UNITS, seed), 400) for name, method in METHODS.items()
        ]
        taken: list[list[float]] = [[] for _ in trainings]
        for _ in range(50):
            for one, spent in zip(trainings, taken, strict=True):
                start, before = time.process_time(), len(one.losses)
                if one.name in ALONE:
                    train_alone(asked, one, 1, seed, by_themselves)
                else:
                    train(asked, [one], 1, seed, by_themselves)
                spent.append((time.process_time() - start) / (len(one.losses) - before))
        rows += [
            {"task": task, "cell": cell, "method": one.name, "ms": 1e3 * median(spent[30:])}
            for one, spent in zip(trainings, taken, strict=True)
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="DA,DMTS,DCDT,parity")
    parser.add_argument("--cells", default="tanh,gru,lstm")
    parser.add_argument("--methods", default=";".join(METHODS), help='with ";" between them')
    parser.add_argument("--seeds", default=",".join(map(str, range(300, 320))))
    parser.add_argument("--json", type=Path, default=SAVED)
    parser.add_argument("--add", type=Path, help="only add the runs of another file")
    parser.add_argument("--replace", action="store_true", help="with --add: in place of the runs that are there")
    parser.add_argument("--times", action="store_true", help="only measure the time of an update")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    saved = read(options.json) if options.json.exists() else {"runs": [], "times": []}
    saved["machine"] = f"{platform.machine()}, 1 thread, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    if options.add:
        rows = [saved["runs"], read(options.add)["runs"]]
        first, second = reversed(rows) if options.replace else rows
        known = {tuple(run[name] for name in KEY) for run in first}
        saved["runs"] = first + [run for run in second if tuple(run[name] for name in KEY) not in known]
        write(options.json, saved)
        return
    if options.times:
        saved["times"] = times()
        write(options.json, saved)
        return
    for seed in map(int, options.seeds.split(",")):
        for task in options.tasks.split(","):
            for cell in options.cells.split(","):
                known = {tuple(one[name] for name in KEY) for one in saved["runs"]}
                saved["runs"] += runs_of(task, cell, seed, known, options.methods.split(";"))
                write(options.json, saved)


if __name__ == "__main__":
    main()
