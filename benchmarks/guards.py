"""Networks that learn, are lost and solve a memory task: an optimizer alone, with its gradient
clipped, with the guard.

    python benchmarks/guards.py [--tasks DA,DCDT] [--cells tanh,gru] [--optimizers sgd,adam]
    [--methods "plain;guard"]
        [--seeds 5] [--first-seed 200] [--units 64] [--json FILE] [--table | --markdown]
    python benchmarks/guards.py --optimizers adam --methods "clip1;autoclip"
    python benchmarks/guards.py --optimizers schedulefree,prodigy --methods plain   # need the
        packages schedulefree and prodigyopt
    python benchmarks/guards.py --add FILE   # the runs of another file of this program

A run is one network; runs that the file already holds are not made again, so a longer list of seeds
or rates adds to it. Guarded runs of an older rule (:data:`RULE`) are dropped. ``--markdown`` writes
the table of docs/torch.md.

The full batch for the tasks of the publication (400 updates; match to sample with the tanh cell
1200), fresh batches of 16 for the adding problem and the copy task (3000 updates). *learned*: the
loss was below half of chance at some update. *lost*: learned, and the median loss of the last 20
updates is above 0.9 of chance, or not finite. *solved*: that median is below 0.05 of chance.
*epoch*: first update of 20 in a row below 0.05 of chance. *forward*, *backward*: passes an update.
*autoclip* clips at the 10th percentile of all norms of the gradient so far (P. Seetharaman et al.,
"AutoClip: adaptive gradient clipping for source separation networks", 2020). Schedule-free AdamW is
judged by the weights that it is evaluated at, with a forward pass of their own.
Cells: ``nn.RNN`` (tanh), ``nn.GRU``, ``nn.LSTM`` with PyTorch's own initial weights, a linear
readout and the task's output function; the torch seed is the run's.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

import ghostpoint as gp
from ghostpoint.torch import FixedBatch, FreshBatches, Guard

RATES = {
    "sgd": (0.3, 3.0, 30.0),
    "momentum": (0.03, 0.3, 3.0),
    "adam": (0.003, 0.03, 0.3),
    "adamw": (0.003, 0.03, 0.3),
    "schedulefree": (0.003, 0.03, 0.3),
    "prodigy": (0.3, 1.0, 3.0),
}
FULL = {
    "DA": gp.tasks.DelayedActivation(),
    "DCDT": gp.tasks.DelayedCueDiscrimination(30, 80, 50, noise=0.0, initial_scale=0.0),
    "DMTS": gp.tasks.DelayedMatchToSample(30, 80, 50, noise=0.0, initial_scale=0.0),
}
FRESH_RATES = {"adding": (0.003, 0.03, 0.3), "copy": (0.001, 0.01, 0.1)}
BATCH, COPIED, SYMBOLS, COPY_STEPS, ADDING_STEPS = 16, 3, 8, 46, 50
CELLS = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
#: version of the guard's rules; runs of another one are not comparable
RULE = 3
#: likewise of an optimizer that the guard has since been changed for alone, and of fresh batches
RULES, FRESH_RULE = {"adamw": 4}, 4
SAVED = Path(__file__).parent / "results" / "guards.json"
PAGE = Path(__file__).parents[1] / "docs" / "torch.md"
#: the lines between which the page holds the table
MARKS = ("<!-- written by python benchmarks/guards.py --markdown -->", "<!-- end of what was written -->")
#: likewise of the table of rivals
RIVALS = ("<!-- rivals, by python benchmarks/guards.py --markdown -->", "<!-- end of the rivals -->")
KEY = ("task", "cell", "optimizer", "rate", "method", "units", "updates", "seed")


class Network(nn.Module):
    """A recurrent layer, a linear readout and an output function."""

    def __init__(self, cell: str, inputs: int, units: int, outputs: int, last: Callable[[Any], Any]):
        super().__init__()
        self.cell = CELLS[cell](inputs, units, batch_first=True)
        self.readout = nn.Linear(units, outputs)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.readout(self.cell(x)[0]))


def optimizer_of(name: str, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=rate)
    if name == "momentum":
        return torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    if name == "schedulefree":
        return import_module("schedulefree").AdamWScheduleFree(network.parameters(), lr=rate)
    if name == "prodigy":
        return import_module("prodigyopt").Prodigy(network.parameters(), lr=rate)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](network.parameters(), lr=rate)


def full_batch(name: str) -> tuple[int, int, Callable[[Any], Any], float, Callable[..., Any]]:
    """Inputs, outputs, output function, loss at chance, and a function of the network that makes
    closures.
    """
    task = FULL[name]
    trial = task.trial()
    x = torch.as_tensor(trial.inputs, dtype=torch.float32)
    x = x if x.shape[2] else torch.zeros(*x.shape[:2], 1)
    counted = torch.as_tensor(trial.mask)
    y = torch.as_tensor(trial.targets, dtype=torch.float32)[counted]
    # of a mean over what counts; the task of delayed activation divides by half the steps
    chance = task.chance_loss / float(task.weights(trial).sum())

    def closures(network: nn.Module, generator: torch.Generator) -> Callable[[], Any]:
        def closure() -> Any:
            outputs = network(x)[counted]
            return nn.functional.mse_loss(outputs, y), outputs

        return lambda: closure

    last = torch.tanh if (trial.targets < 0).any() else torch.sigmoid
    return x.shape[2], y.shape[-1] if y.ndim > 1 else 1, last, chance, closures


def fresh_batches(name: str) -> tuple[int, int, Callable[[Any], Any], float, Callable[..., Any]]:
    if name == "adding":

        def drawn(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
            numbers = torch.rand(BATCH, ADDING_STEPS, generator=generator)
            half = ADDING_STEPS // 2
            marks = torch.zeros(BATCH, ADDING_STEPS)
            rows = torch.arange(BATCH)
            marks[rows, torch.randint(half, (BATCH,), generator=generator)] = 1
            marks[rows, half + torch.randint(half, (BATCH,), generator=generator)] = 1
            return torch.stack([numbers, marks], 2), (numbers * marks).sum(1)

        def loss_of(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Any:
            outputs = network(x)[:, -1, 0]
            return nn.functional.mse_loss(outputs, y), outputs

        sizes, chance = (2, 1), 1 / 6
    else:

        def drawn(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
            symbols = torch.randint(SYMBOLS, (BATCH, COPIED), generator=generator)
            shown = torch.full((BATCH, COPY_STEPS), SYMBOLS)
            shown[:, :COPIED] = symbols
            shown[:, -COPIED - 1] = SYMBOLS + 1
            return nn.functional.one_hot(shown, SYMBOLS + 2).float(), symbols

        def loss_of(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Any:
            outputs = network(x)[:, -COPIED:]
            return nn.functional.cross_entropy(outputs.reshape(-1, SYMBOLS), y.reshape(-1)), outputs

        sizes, chance = (SYMBOLS + 2, SYMBOLS), math.log(SYMBOLS)

    def closures(network: nn.Module, generator: torch.Generator) -> Callable[[], Any]:
        def following() -> Any:
            x, y = drawn(generator)
            return lambda: loss_of(network, x, y)

        return following

    return *sizes, lambda z: z, chance, closures


def run(task: str, cell: str, optimizer: str, rate: float, method: str, units: int, updates: int, seed: int) -> dict:
    torch.manual_seed(seed)
    fixed = task in FULL
    inputs, outputs, last, chance, closures = (full_batch if fixed else fresh_batches)(task)
    network = Network(cell, inputs, units, outputs, last)
    chosen = optimizer_of(optimizer, network, rate)
    following = closures(network, torch.Generator().manual_seed(seed))
    guard = None
    if method.startswith("guard"):
        options = json.loads(method[5:] or "{}")
        rule: Any = {"fixed": FixedBatch(**options)} if fixed else {"fresh": FreshBatches(**options)}
        guard = Guard(network, chosen, batch="fixed" if fixed else "fresh", **rule)
    clip = float(method[4:]) if method.startswith("clip") else math.inf
    # schedule-free optimizers train at other weights than those that they are evaluated at
    free: Any = chosen if hasattr(chosen, "eval") else None
    if free is not None:
        free.train()
    losses: list[float] = []
    norms: list[float] = []
    start = time.perf_counter()
    for _ in range(updates):
        closure = following()
        if guard is not None:
            losses.append(float(guard.step(closure)))
        else:
            chosen.zero_grad()
            loss, _ = closure()
            loss.backward()
            if method == "autoclip":
                norms.append(float(nn.utils.clip_grad_norm_(network.parameters(), math.inf)))
                nn.utils.clip_grad_norm_(network.parameters(), float(np.quantile(norms, 0.1)))
            elif clip < math.inf:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            chosen.step()
            if free is not None:
                free.eval()
                with torch.no_grad():
                    loss, _ = closure()
                free.train()
            losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]) and guard is None:
            break
    seconds = time.perf_counter() - start
    share = [loss / chance if math.isfinite(loss) else math.inf for loss in losses]
    end, window = median(share[-20:]), 20
    smooth = share if fixed else [median(share[max(0, i - window) : i + 1]) for i in range(len(share))]
    learned = min(smooth) < 0.5
    below = [value < 0.05 for value in smooth]
    epoch = next((i for i in range(len(below) - 19) if all(below[i : i + 20])), -1)
    counts = dict(guard.counts) if guard is not None else {}
    made = max(counts.get("updates", len(losses)), 1)
    return {
        "learned": learned,
        "lost": learned and not end < 0.9,
        "solved": end < 0.05,
        "epoch": epoch,
        "end": end,
        "forward": counts.get("forward", made) / made,
        "backward": counts.get("backward", made) / made,
        "stayed": counts.get("stayed", 0),
        "refused": counts.get("refused", 0),
        "ms_an_update": 1e3 * seconds / made,
    }


def table(runs: list[dict]) -> str:
    """Per task, cell, optimizer and rate, each method's counts."""
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for one in runs:
        groups[tuple(one[name] for name in KEY[:-1])].append(one)
    rows = [
        f"{'task':6} {'cell':5} {'optimizer':9} {'rate':>6} {'method':20} units updates  runs learned lost solved epoch"
        "      end forward ms"
    ]
    for key in sorted(groups, key=lambda k: (k[0], k[1], k[2], k[3], k[5], k[4])):
        task, cell, optimizer, rate, method, units, updates = key
        found = groups[key]
        epochs = [one["epoch"] for one in found if one["epoch"] >= 0]
        sums = [sum(one[name] for one in found) for name in ("learned", "lost", "solved")]
        epoch = median(epochs) if epochs else -1
        rows.append(
            f"{task:6} {cell:5} {optimizer:9} {rate:6g} {method:20} {units:5} {updates:7} {len(found):5} "
            f"{sums[0]:7} {sums[1]:4} {sums[2]:6} {epoch:5.0f} {median(one['end'] for one in found):8.2g} "
            f"{median(one['forward'] for one in found):7.2f} {median(one['ms_an_update'] for one in found):.1f}"
        )
    return "\n".join(rows)


def summary(runs: list[dict]) -> str:
    """Per task, cell and optimizer, plain beside guarded at the same rates, as Markdown."""
    rows = [
        "| task, cell, optimizer | rates | plain: networks, lost, solved, epoch "
        "| guarded: networks, lost, solved, epoch | forward passes |",
        "|---|---|---|---|---|",
    ]
    cells: dict[tuple, list[dict]] = defaultdict(list)
    for one in runs:
        cells[one["task"], one["cell"], one["optimizer"], one["units"]].append(one)
    for (task, cell, optimizer, units), of_cell in sorted(cells.items(), key=lambda item: item[0][3] != 64):
        size = "" if units == 64 else f", {units} units"
        guarded = [one for one in of_cell if one["method"] == "guard"]
        rates = sorted({one["rate"] for one in guarded})
        if not guarded:
            continue
        same = {(one["rate"], one["seed"], one["updates"]) for one in guarded}
        plain = [
            one for one in of_cell if one["method"] == "plain" and (one["rate"], one["seed"], one["updates"]) in same
        ]
        texts = []
        for found in (plain, guarded):
            lost, solved = (sum(one[name] for one in found) for name in ("lost", "solved"))
            epochs = [one["epoch"] for one in found if one["epoch"] >= 0]
            texts.append(
                f"{len(found)}, {lost}, {solved}, {median(epochs):.0f}" if epochs else f"{len(found)}, {lost}, 0, -"
            )
        passes = sum(one["forward"] for one in guarded) / len(guarded)
        rows.append(
            f"| {task} {cell} {optimizer}{size} | {', '.join(f'{rate:g}' for rate in rates)} | {texts[0]} | {texts[1]} "
            f"| {passes:.2f} |"
        )
    return "\n".join(rows)


def pairs(runs: list[dict]) -> str:
    """Every guarded network beside the plain one of the same cell, rate and seed, in words."""
    names = [name for name in KEY if name != "method"]
    plain = {tuple(one[name] for name in names): one for one in runs if one["method"] == "plain"}
    guarded = {tuple(one[name] for name in names): one for one in runs if one["method"] == "guard"}
    lines = []
    for what, tasks in (("On a full batch", set(FULL)), ("On fresh batches", set(FRESH_RATES))):
        both = [(plain[key], guarded[key]) for key in sorted(plain.keys() & guarded.keys()) if key[0] in tasks]
        solved = [
            (alone["epoch"], with_it["epoch"]) for alone, with_it in both if alone["solved"] and with_it["solved"]
        ]
        ratios = sorted(ours / theirs for theirs, ours in solved if theirs > 0 and ours >= 0)
        lines.append(
            f"{what}, {len(both)} pairs of networks with the same seed: plain {sum(one['lost'] for one, _ in both)} "
            f"lost and {sum(one['solved'] for one, _ in both)} solved, guarded {sum(one['lost'] for _, one in both)} "
            f"lost and {sum(one['solved'] for _, one in both)} solved. "
            f"{sum(one['solved'] and not other['solved'] for one, other in both)} were solved plain and not guarded. "
            f"Where both solved, the guarded one took {ratios[len(ratios) // 2]:.2f} times the epochs in the median "
            f"and {ratios[-1]:.2f} times at most."
        )
    return "\n\n".join(textwrap.fill(line, 100, break_on_hyphens=False) for line in lines)


def rivals(runs: list[dict]) -> str:
    """Per task and cell, all methods on the seeds that every rival had, as Markdown."""
    ways = {
        "Adam": ("adam", "plain"),
        "Adam, clipped at 1": ("adam", "clip1"),
        "Adam, AutoClip": ("adam", "autoclip"),
        "schedule-free AdamW": ("schedulefree", "plain"),
        "Prodigy": ("prodigy", "plain"),
        "Adam, guarded": ("adam", "guard"),
    }
    found: dict[tuple[str, str], dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for one in runs:
        for way, (optimizer, method) in ways.items():
            if (one["optimizer"], one["method"]) == (optimizer, method) and one["units"] == 64:
                found[one["task"], one["cell"]][way].append(one)
    rows = [f"| task, cell | {' | '.join(ways)} |", "|---" * (1 + len(ways)) + "|"]
    for (task, cell), by_way in found.items():
        seeds = set.intersection(*({one["seed"] for one in by_way[way]} for way in ways))
        if not seeds:
            continue
        texts = []
        for way in ways:
            counted = [one for one in by_way[way] if one["seed"] in seeds]
            rates = sorted({one["rate"] for one in counted})
            solved = [sum(one["solved"] for one in counted if one["rate"] == rate) for rate in rates]
            epochs = [one["epoch"] for one in counted if one["epoch"] >= 0]
            lost = sum(one["lost"] for one in counted)
            texts.append(
                f"{'+'.join(map(str, solved))} of {len(counted)}, {lost}, {f'{median(epochs):.0f}' if epochs else '-'}"
            )
        rows.append(f"| {task} {cell} | {' | '.join(texts)} |")
    return "\n".join(rows)


def put(page: str, text: str, marks: tuple[str, str]) -> str:
    """The page with a table between two marks."""
    before, after = page.index(marks[0]) + len(marks[0]), page.index(marks[1])
    return f"{page[:before]}\n\n{text}\n\n{page[after:]}"


def rule_of(task: str, optimizer: str) -> int:
    """The version of the rules that a run is made by."""
    return RULES.get(optimizer, RULE) if task in FULL else FRESH_RULE


def counted(saved: dict) -> list[dict]:
    """The runs of a file that are comparable: guarded ones of this rule."""
    return [
        one
        for one in saved["runs"]
        if one["method"] == "plain" or one.get("rule") == rule_of(one["task"], one["optimizer"])
    ]


def filled(page: str) -> str:
    """The page with the tables that the saved runs give."""
    runs = counted(json.loads(SAVED.read_text()))
    return put(put(page, f"{summary(runs)}\n\n{pairs(runs)}", MARKS), rivals(runs), RIVALS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="DA,DCDT,DMTS")
    parser.add_argument("--cells", default="tanh,gru,lstm")
    parser.add_argument("--optimizers", default="sgd,adam")
    parser.add_argument("--rates", help="instead of those of the optimizer")
    parser.add_argument(
        "--methods", default="plain;guard", help='with ";" between them: plain, clip1, guard{"cap": 0.1}'
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--units", default="64")
    parser.add_argument("--updates", type=int)
    parser.add_argument("--json", type=Path, default=SAVED)
    parser.add_argument("--add", type=Path, help="only add the runs of another file")
    parser.add_argument("--table", action="store_true", help="only show what the file holds")
    parser.add_argument("--markdown", action="store_true", help="only write the table of docs/torch.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(options.json.read_text()) if options.json.exists() else {"runs": []}
    runs = counted(saved)
    if options.markdown:
        PAGE.write_text(filled(PAGE.read_text()))
        return
    known = {tuple(one[name] for name in KEY) for one in runs}
    if options.add:
        runs += [
            one for one in counted(json.loads(options.add.read_text())) if tuple(one[name] for name in KEY) not in known
        ]
    last_written = time.monotonic()

    def write() -> None:
        saved["machine"] = f"{platform.machine()}, torch {torch.__version__}, 1 thread"
        saved["runs"] = runs
        rows = ",\n".join(json.dumps(one) for one in runs)
        text = f'{{"machine": {json.dumps(saved["machine"])}, "runs": [\n{rows}\n]}}\n'
        temporary = options.json.with_suffix(".part")
        temporary.write_text(text)
        temporary.replace(options.json)

    for seed in () if options.table or options.add else range(options.first_seed, options.first_seed + options.seeds):
        for task in options.tasks.split(","):
            for cell in options.cells.split(","):
                for optimizer in options.optimizers.split(","):
                    own = RATES[optimizer] if task in FULL else FRESH_RATES[task]
                    for rate in map(float, options.rates.split(",")) if options.rates else own:
                        for method in options.methods.split(";"):
                            for units in map(int, options.units.split(",")):
                                long = task == "DMTS" and cell == "tanh"
                                usual = 3000 if task not in FULL else 1200 if long else 400
                                key = (task, cell, optimizer, rate, method, units, options.updates or usual, seed)
                                if key in known:
                                    continue
                                result = run(*key)
                                runs.append(
                                    dict(zip(KEY, key, strict=True)) | {"rule": rule_of(task, optimizer)} | result
                                )
                                if time.monotonic() - last_written > 30:
                                    write()
                                    last_written = time.monotonic()
    if not options.table:
        write()
    print(table(runs))


if __name__ == "__main__":
    main()
