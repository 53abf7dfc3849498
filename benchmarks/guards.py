"""Networks that learn, are lost and solve a memory task: an optimizer alone, and with the guard.

    python benchmarks/guards.py [--tasks DA,DCDT] [--cells tanh,gru] [--optimizers sgd,adam]
    [--methods "plain;guard"]
        [--seeds 5] [--first-seed 200] [--units 64] [--json FILE] [--table | --markdown]
    python benchmarks/guards.py --add FILE   # the runs of another file of this program

A run is one network; runs that the file already holds are not made again, so a longer list of seeds
or rates adds to it. Guarded runs of an older rule (:data:`RULE`) are dropped. ``--markdown`` writes
the table of docs/torch.md. Tasks, networks and how a training is judged: ``memory_tasks.py``.
*forward*, *backward*: passes an update.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import textwrap
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from ghostpoint.torch import FixedBatch, FreshBatches, Guard

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.memory_tasks import FULL, judged, problem, train, usual_updates

RATES = {
    "sgd": (0.3, 3.0, 30.0),
    "momentum": (0.03, 0.3, 3.0),
    "adam": (0.003, 0.03, 0.3),
    "adamw": (0.003, 0.03, 0.3),
}
FRESH_RATES = {"adding": (0.003, 0.03, 0.3), "copy": (0.001, 0.01, 0.1)}
#: versions of the guard's rules for fixed and for fresh batches; runs of another are not comparable
RULE, FRESH_RULE = 8, 6
#: the first seed that was looked at after the rule for fixed batches was made
NEW = 300
#: trainings that were looked at all the same, while it was chosen how often a network at rest is
#: tried: task, cell, optimizer, rate, seed
LOOKED_AT = {("DA", "gru", "adamw", 0.3, 300), ("DMTS", "tanh", "adamw", 0.3, 300)}
SAVED = Path(__file__).parent / "results" / "guards.json"
PAGE = Path(__file__).parents[1] / "docs" / "torch.md"
#: the lines between which the page holds the table
MARKS = ("<!-- written by python benchmarks/guards.py --markdown -->", "<!-- end of what was written -->")
KEY = ("task", "cell", "optimizer", "rate", "method", "units", "updates", "seed")


def optimizer_of(name: str, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=rate)
    if name == "momentum":
        return torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](network.parameters(), lr=rate)


def run(task: str, cell: str, optimizer: str, rate: float, method: str, units: int, updates: int, seed: int) -> dict:
    asked = problem(task)
    network = asked.network(cell, units, seed)
    chosen = optimizer_of(optimizer, network, rate)
    guard = None
    if method.startswith("guard"):
        options = json.loads(method[5:] or "{}")
        rule: Any = {"fixed": FixedBatch(**options)} if asked.fixed else {"fresh": FreshBatches(**options)}
        guard = Guard(network, chosen, batch="fixed" if asked.fixed else "fresh", **rule)
    start = time.perf_counter()
    losses = train(asked, network, chosen, updates, seed, guard)
    seconds = time.perf_counter() - start
    counts = dict(guard.counts) if guard is not None else {}
    made = max(counts.get("updates", len(losses)), 1)
    return judged(losses, asked.chance, asked.fixed) | {
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
        if not ratios:
            continue
        lines.append(
            f"{what}, {len(both)} pairs of networks with the same seed: plain {sum(one['lost'] for one, _ in both)} "
            f"lost and {sum(one['solved'] for one, _ in both)} solved, guarded {sum(one['lost'] for _, one in both)} "
            f"lost and {sum(one['solved'] for _, one in both)} solved. "
            f"{sum(one['solved'] and not other['solved'] for one, other in both)} were solved plain and not guarded. "
            f"Where both solved, the guarded one took {ratios[len(ratios) // 2]:.2f} times the epochs in the median "
            f"and {ratios[-1]:.2f} times at most."
        )
    return "\n\n".join(textwrap.fill(line, 100, break_on_hyphens=False) for line in lines)


def new_seeds(runs: list[dict]) -> str:
    """Guarded networks of 64 units on fixed batches whose seeds are new to the rule, in words."""
    new = [one for one in runs if one["method"] == "guard" and one["task"] in FULL and one["units"] == 64]
    looked_at = ("task", "cell", "optimizer", "rate", "seed")
    new = [one for one in new if one["seed"] >= NEW and tuple(one[name] for name in looked_at) not in LOOKED_AT]
    cells: dict[tuple, list[dict]] = defaultdict(list)
    for one in new:
        cells[one["task"], one["cell"], one["optimizer"], one["rate"]].append(one)
    unsolved = [
        f"{one['task']} {one['cell']} {one['optimizer']} at {one['rate']:g} (seed {one['seed']}, {one['end']:.2g} of "
        "chance)"
        for one in new
        if not one["solved"]
    ]
    sizes = sorted({len(found) for found in cells.values()})
    counts = " to ".join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1])))
    text = (
        f"Seeds from {NEW} on are new to the rule: {len(new)} guarded networks on fixed batches in {len(cells)} cells "
        f"of task, kind of cell, optimizer and rate, {counts} in each. "
        f"{sum(one['lost'] for one in new)} are lost and {sum(one['solved'] for one in new)} solved. Not solved: "
        f"{', '.join(unsolved) or 'none'}."
    )
    return textwrap.fill(text, 100, break_on_hyphens=False)


def rule_of(task: str) -> int:
    """The version of the rules that a run is made by."""
    return RULE if task in FULL else FRESH_RULE


def counted(saved: dict) -> list[dict]:
    """The runs of a file that are comparable: plain ones, and guarded ones of this rule."""
    own = [one for one in saved["runs"] if one["optimizer"] in RATES and one["method"].startswith(("plain", "guard"))]
    return [one for one in own if one["method"] == "plain" or one.get("rule") == rule_of(one["task"])]


def filled(page: str) -> str:
    """The page with the tables that the saved runs give."""
    runs = counted(json.loads(SAVED.read_text()))
    before, after = page.index(MARKS[0]) + len(MARKS[0]), page.index(MARKS[1])
    return f"{page[:before]}\n\n{summary(runs)}\n\n{pairs(runs)}\n\n{new_seeds(runs)}\n\n{page[after:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="DA,DCDT,DMTS")
    parser.add_argument("--cells", default="tanh,gru,lstm")
    parser.add_argument("--optimizers", default="sgd,adam")
    parser.add_argument("--rates", help="instead of those of the optimizer")
    parser.add_argument("--methods", default="plain;guard", help='with ";" between them: plain, guard{"cap": 0.1}')
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
                                updates = options.updates or usual_updates(task, cell)
                                key = (task, cell, optimizer, rate, method, units, updates, seed)
                                if key in known:
                                    continue
                                result = run(*key)
                                runs.append(dict(zip(KEY, key, strict=True)) | {"rule": rule_of(task)} | result)
                                if time.monotonic() - last_written > 30:
                                    write()
                                    last_written = time.monotonic()
    if not options.table:
        write()
    print(table(runs))


if __name__ == "__main__":
    main()
