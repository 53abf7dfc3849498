"""How often ``gp.diagnose`` agrees with what the trained networks really do.

    python benchmarks/diagnosis.py [--json benchmarks/results/diagnosis.json] [--rates SET]
    [--records N]

Labelled records of the three generators in tests/diagnosis are scored, then simulated networks.

Rank-one networks are trained on delayed activation over delays, confidences, rates and lengths, and
labelled by a rule that never sees a history: trials are simulated from the weights at every third
epoch. The escape time, when the latent crosses the readout's threshold, says whether a network
answers, and how it swings; the separation of the answers in and before the response period says how
quickly it came. The diagnosis sees the history alone: once everything that a run records, once
nothing but the loss. Rates and seeds are others than those used while the rules were made
(``--rates development``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import ghostpoint as gp
from ghostpoint.diagnosis import PHASES, diagnose
from ghostpoint.experiments.shared.shares import interval

ROOT = Path(__file__).parents[1]
#: edges of the bands of confidence, and where their table stands in the docs
BANDS = (0.0, 0.7, 0.85, 0.95, 0.98, 1.001)
MARK, END = "<!-- {}: {} writes this -->", "<!-- end -->"
STRIDE = 3  # epochs between the weights that are looked at: odd, for many swings have period two
TAIL = 120  # epochs at the end of which every one is looked at
SPELL = 50  # epochs without an answer that make a network lost (article, Fig. 8B)
FLOOR, TURNS = (
    0.05,
    0.1,
)  # of an oscillation: range of the escape time over the delay, share of epochs at which it turns
ABRUPT = 0.15  # the answers' separation goes from 10 to 90 % of its best within this share of the epochs until then
DELAYS = (60.0, 100.0, 160.0)  # ms
#: confidence: rates at which something happens within the epochs below
RATES = {
    "development": {1.0: (0.002, 0.01, 0.05), 3.0: (0.002, 0.006, 0.03), 10.0: (0.008, 0.02, 0.06)},
    "first": {1.0: (0.0013, 0.005, 0.02), 3.0: (0.003, 0.01, 0.02), 10.0: (0.006, 0.013, 0.035)},
    "second": {1.0: (0.0016, 0.007, 0.035), 3.0: (0.0025, 0.008, 0.025), 10.0: (0.01, 0.025, 0.05)},
    "held-out": {1.0: (0.0018, 0.006, 0.028), 3.0: (0.0028, 0.007, 0.022), 10.0: (0.009, 0.017, 0.042)},
}
EPOCHS = (800, 2500, 6000)
SEEDS = {
    "development": range(0, 50),
    "first": range(50, 100),
    "second": range(50, 100),
    "held-out": range(100, 150),
}
#: of the generator that draws networks from the seeds
DRAWS = {"development": 0, "first": 0, "second": 1, "held-out": 2}
GROUP = 6  # networks of a setting


@dataclass
class Group:
    """Networks trained alike: histories, and what was looked at (epochs; escape time in steps and
    separation, each (epochs, networks))."""

    setting: dict[str, Any]
    history: xr.Dataset
    epochs: NDArray[np.int64]
    escape: NDArray[np.float64]
    separation: NDArray[np.float64]
    fixed_points: NDArray[np.int64]
    delay_steps: int

    def labels(self, rule: str) -> list[str]:
        """One of the phases per network."""
        columns = range(self.escape.shape[1])
        return [
            label_of(self.epochs, self.escape[:, i], self.separation[:, i], self.delay_steps, rule) for i in columns
        ]


def label_of(
    epochs: NDArray[np.int64], escape: NDArray[np.float64], separation: NDArray[np.float64], delay: int, rule: str
) -> str:
    """What one network does. ``rule`` says by what abrupt and gradual are told apart: "separation"
    or "escape".
    """
    answers = (escape > 1) & (escape <= 2 * delay)
    if not answers.any():
        return "plateau at chance"
    answered = epochs[answers]
    if epochs[-1] - answered[-1] >= SPELL:
        return "no-learning zone"
    tail = escape[-TAIL:][answers[-TAIL:]]
    if len(tail) >= TAIL // 2:
        change = np.diff(tail)
        turns = float((change[1:] * change[:-1] < 0).mean())
        if turns >= TURNS and np.ptp(np.quantile(tail, [0.05, 0.95])) >= FLOOR * delay:
            return "oscillation near a minimum"
    if np.diff(answered).max(initial=0) >= SPELL:
        return "recovered"
    if rule == "escape":
        course = 1 - np.where(answers, np.minimum(np.abs(escape / delay - 1), 1.0), 1.0)
    else:
        course = separation - separation[0]
    end = int((course >= 0.9 * course.max()).argmax())
    start = int(np.flatnonzero(course[: end + 1] <= max(0.1 * course.max(), course[0]))[-1])
    return "abrupt learning" if epochs[end] - epochs[start] < ABRUPT * epochs[end] else "gradual learning"


def looked_at(run: gp.TrainingRun, task: gp.tasks.DelayedActivation) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Epochs, escape times (interpolated steps; inf for never in the trial) and separations at a
    run's checkpoints.
    """
    kept = run.checkpoints
    assert kept is not None
    m, n, b = (kept[name].values.reshape(*kept[name].shape[:2], -1).astype(np.float32) for name in ("m", "n", "b"))
    kappa = n.sum(axis=2) * np.float32(-0.3)
    path = [kappa]
    for _ in range(task.steps):
        kappa = (1 - task.alpha) * kappa + task.alpha * (n * np.tanh(m * kappa[..., None] + b)).sum(axis=2)
        path.append(kappa.astype(np.float32))
    over = np.stack(path).astype(np.float64) - run.models.threshold
    first = np.maximum((over > 0).argmax(axis=0), 1)
    after, before = (np.take_along_axis(over, at[None], 0)[0] for at in (first, first - 1))
    exact = np.where(over[0] > 0, 0.0, first - after / np.where(after > before, after - before, 1.0))
    escape = np.where((over > 0).any(axis=0), exact, np.inf)
    output = 1 / (1 + np.exp(-run.models.confidence * over[1:]))
    separation = output[task.delay_steps :].mean(axis=0) - output[: task.delay_steps].mean(axis=0)
    return kept["epoch"].values, escape, separation


def train(models: gp.LowRankRNN, task: gp.tasks.DelayedActivation, rate: float, epochs: int) -> gp.TrainingRun:
    """A run with everything that labels and diagnosis need."""
    looked = np.union1d(np.arange(0, epochs, STRIDE), np.arange(max(epochs - TAIL, 0), epochs))
    return gp.train(models, task, rate, epochs, record="all", checkpoints=looked, engine="compiled")


def group_of(setting: dict[str, Any], task: gp.tasks.DelayedActivation, *runs: gp.TrainingRun) -> Group:
    """The group of one run, or of runs that went on one after the other."""
    histories, parts, start = [], [], 0
    for run in runs:
        epochs, escape, separation = looked_at(run, task)
        parts.append((epochs + start, escape, separation))
        histories.append(run.history.assign_coords(epoch=run.history["epoch"] + start))
        start += run.config["epochs_done"]
    final = runs[-1].models
    count = gp.slow_points.latents.flow_zeros(final.m[:, :, 0], final.n[:, :, 0], final.b).count
    rates = [h["learning_rate"].values for h in histories]
    joined = xr.concat([h.drop_vars("learning_rate") for h in histories], "epoch", coords="minimal", compat="override")
    lengths = [h.sizes["epoch"] for h in histories]
    rate = np.concatenate([np.repeat(r[:, None], k, axis=1) for r, k in zip(rates, lengths, strict=True)], axis=1)
    history = joined.assign(learning_rate=(("network", "epoch"), rate))
    epochs, escape, separation = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Group(setting, history, epochs, escape, separation, count, task.delay_steps)


def groups(which: str) -> Iterator[Group]:
    """All groups of one of :data:`RATES`."""
    generator = np.random.default_rng(DRAWS[which])

    def models(confidence: float) -> gp.LowRankRNN:
        seeds = sorted(generator.choice(list(SEEDS[which]), GROUP, replace=False).tolist())
        return gp.LowRankRNN.published(seeds, confidence=confidence)

    for delay in DELAYS:
        task = gp.tasks.DelayedActivation(delay=delay)
        for confidence, rates in RATES[which].items():
            for rate in rates:
                setting: dict[str, Any] = {"delay": delay, "confidence": confidence, "rate": rate}
                for epochs in EPOCHS:
                    stack = models(confidence)
                    run = train(stack, task, rate, epochs)
                    yield group_of(setting | {"epochs": epochs, "kind": "plain"}, task, run)
                first = run.events["first_above_chance"].values
                # the same networks stopped soon after the first of them answers
                for after in (60, 200) if confidence > 1 and (first > 0).any() else ():
                    shorter = int(np.median(first[first > 0])) + after
                    yield group_of(
                        setting | {"epochs": shorter, "kind": "stopped"}, task, train(stack, task, rate, shorter)
                    )
                lost = np.flatnonzero(run.events["no_learning_zone_entry"].values >= 0)
                if confidence == 10.0 and len(lost):  # the published remedy: go on with a lower confidence
                    first_part = train(stack[lost], task, rate, EPOCHS[-1])
                    second = train(first_part.models.replace(confidence=1.0), task, 0.002, 1500)
                    yield group_of(
                        setting | {"epochs": EPOCHS[-1] + 1500, "kind": "remedied"}, task, first_part, second
                    )


def as_label(verdict: str) -> str:
    """The label that a verdict agrees with: labels do not count the steps of a staircase."""
    return "abrupt learning" if verdict == "staircase learning" else verdict


class Scored(NamedTuple):
    """A verdict on a labelled record or network: its kind or label, whether it is right, and how
    sure it was."""

    kind: str
    right: bool
    confidence: float
    signs: Mapping[str, float]


def judged_records(each: int, first: int) -> dict[str, list[Scored]]:
    """The verdicts on ``each`` labelled records a kind, by generator."""
    sys.path.insert(0, str(ROOT))
    from tests.diagnosis.realistic_records import REALISTIC, realistic_record
    from tests.diagnosis.records import KINDS, record_of
    from tests.diagnosis.unusual_records import UNUSUAL, unusual_record

    found: dict[str, list[Scored]] = {}
    for name, kinds, make in (
        ("formulas", KINDS, record_of),
        ("realistic", REALISTIC, realistic_record),
        ("unusual", UNUSUAL, unusual_record),
    ):
        rows = found.setdefault(name, [])
        for kind in kinds:
            for seed in range(first, first + each):
                record = make(kind, seed)
                finding = diagnose(record.history, **record.options).findings[0]
                rows.append(Scored(kind, finding.verdict in record.allowed, finding.confidence, finding.signs))
    return found


def scored(rows: list[Scored]) -> dict[str, Any]:
    """Share right of all and by kind, and how often a confident verdict is wrong."""
    kinds = dict.fromkeys(row.kind for row in rows)
    by_kind = {kind: float(np.mean([row.right for row in rows if row.kind == kind])) for kind in kinds}
    return {
        "records": len(rows),
        "kinds": len(kinds),
        "right": float(np.mean([row.right for row in rows])),
        "lowest_kind": min(by_kind.items(), key=lambda item: item[1]),
        "by_kind": by_kind,
        "wrong_above_0.8": float(np.mean([not row.right and row.confidence > 0.8 for row in rows])),
    }


def reliability(sources: dict[str, list[Scored]]) -> list[dict[str, Any]]:
    """Verdicts, mean confidence and share right by band of confidence, of all sources together and
    each.
    """
    rows = []
    for low, high in itertools.pairwise(BANDS):
        row: dict[str, Any] = {"from": low, "to": min(high, 1.0)}
        for name, judged in {"all": [x for each in sources.values() for x in each], **sources}.items():
            inside = [one for one in judged if low <= one.confidence < high]
            row[name] = {"verdicts": len(inside)}
            if inside:
                good = sum(one.right for one in inside)
                row[name] |= {
                    "right": good / len(inside),
                    "interval": list(interval(good, len(inside))),
                    "confidence": float(np.mean([one.confidence for one in inside])),
                }
        rows.append(row)
    return rows


def seconds() -> dict[str, float]:
    """Median processor time over three diagnoses: of 400 runs of 10,000 epochs of four shapes, and
    of a million."""
    rng = np.random.default_rng(0)
    t = np.arange(10_000)
    shapes = (
        0.7 - 0.65 / (1 + np.exp(-(t - 6000) / 50)),
        2 * np.exp(-t / 1500) + 0.1,
        np.full(len(t), 0.69),
        0.1 + 0.5 * np.exp(-t / 500) + 0.08 * np.sin(2 * np.pi * t / 170) * (t > 3000),
    )
    many = np.stack([shapes[i % 4] + 0.01 * rng.normal(size=len(t)) for i in range(400)])
    long = np.repeat(shapes[0], 100) + 0.01 * rng.normal(size=1_000_000)
    found: dict[str, float] = {}
    for name, history in (("400 runs of 10,000 epochs", many), ("1,000,000 epochs", long)):
        taken = []
        for _ in range(3):
            start = time.process_time()
            diagnose(history)
            taken.append(time.process_time() - start)
        found[name] = float(np.median(taken))
    return found


def write_page(figures: Mapping[str, Any], page: Path) -> None:
    """Put the tables of scores and of reliability between their marks in the page."""
    lines = ["| | verdicts | right | lowest kind | wrong above 0.8 |", "|---|---|---|---|---|"]
    for name, score in figures["labelled_records"].items():
        kind, lowest = score["lowest_kind"]
        low = f"{kind}, {lowest:.3f}"
        lines.append(f"| {name} | {score['records']} | {score['right']:.4f} | {low} | {score['wrong_above_0.8']:.4f} |")
    count, agreed = figures["networks"], figures["agreement"]
    lines.append(f"| networks | {count} | {agreed['everything']:.4f} | | {figures['wrong_above_0.8']:.4f} |")
    lines.append(f"| networks, by the loss alone | {count} | {agreed['loss alone']:.4f} | | |")
    put(page, "scores", lines)
    files = json.loads((ROOT / "benchmarks" / "results" / "diagnosis_files.json").read_text())
    put(page, "files", [f"{files['read']} of {files['files']} files of {len(files['tools'])} tools were read."])
    taken = [f"{value:.1f} s for {name}" for name, value in figures["processor_seconds"].items()]
    put(page, "seconds", [f"Processor time of one core: {', '.join(taken)}."])
    lines = ["| confidence | verdicts | mean confidence | right | 95 % interval |", "|---|---|---|---|---|"]
    for row in figures["reliability"]:
        each = row["all"]
        if each["verdicts"]:
            low, high = each["interval"]
            numbers = f"{each['verdicts']} | {each['confidence']:.3f} | {each['right']:.3f} | {low:.3f} to {high:.3f}"
            lines.append(f"| {row['from']:g} to {row['to']:g} | {numbers} |")
    put(page, "reliability", lines)


def put(page: Path, name: str, lines: list[str], writer: str = "benchmarks/diagnosis.py") -> None:
    """The lines between the marks called ``name`` of a program ``writer``."""
    mark = MARK.format(name, writer)
    before, _, rest = page.read_text().partition(mark)
    page.write_text("\n".join([before + mark, *lines, END]) + rest.partition(END)[2])


def confusion(pairs: list[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Label to verdict to count."""
    return {a: {b: n for b in PHASES if (n := pairs.count((a, b)))} for a in PHASES if any(x == a for x, _ in pairs)}


def table(counts: dict[str, dict[str, int]]) -> str:
    """The confusion counts as a Markdown table."""
    columns = [phase for phase in PHASES if any(phase in row for row in counts.values())]
    lines = ["| label | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {a} | " + " | ".join(str(row.get(b, 0)) for b in columns) + " |" for a, row in counts.items()]
    return "\n".join(lines)


def main() -> None:
    """Score, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", choices=list(RATES), default="held-out", help="which seeds and rates")
    parser.add_argument("--json", type=Path, help="where to save the figures; the table in the docs follows")
    parser.add_argument("--records", type=int, default=20, metavar="N", help="labelled records a kind")
    parser.add_argument("--first", type=int, default=10_000, metavar="SEED", help="of the labelled records")
    arguments = parser.parse_args()
    sources = judged_records(arguments.records, arguments.first)
    generators = {name: scored(rows) for name, rows in sources.items()}
    for name, score in generators.items():
        print(f"{name}: {100 * score['right']:.1f} % of {score['records']} right, lowest {score['lowest_kind']}")
    figures, networks = score_networks(arguments.rates)
    sources["networks"] = networks
    rows = reliability(sources)
    print(json.dumps([row["all"] for row in rows], indent=1))
    if arguments.json:
        options = f"--rates {arguments.rates} --records {arguments.records} --first {arguments.first}"
        figures["command"] = f"python benchmarks/diagnosis.py {options}"
        figures["processor_seconds"] = seconds()
        figures |= {"labelled_records": generators, "first_seed": arguments.first, "reliability": rows}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
        write_page(figures, ROOT / "docs" / "diagnosis.md")


def score_networks(which: str) -> tuple[dict[str, Any], list[Scored]]:
    """Figures of the simulated networks, and the verdict on each."""
    pairs: dict[str, list[tuple[str, str]]] = {
        "everything": [],
        "loss alone": [],
        "everything, by escape times alone": [],
    }
    judged: list[Scored] = []
    lost_points: list[int] = []
    for group in groups(which):
        labels = group.labels("separation")
        found = diagnose(group.history, chance_loss=1.0, chance_accuracy=0.5).findings
        alone = diagnose(group.history[["loss"]]).findings
        verdicts = [as_label(finding.verdict) for finding in found]
        pairs["everything"] += zip(labels, verdicts, strict=True)
        pairs["loss alone"] += zip(labels, [as_label(finding.verdict) for finding in alone], strict=True)
        pairs["everything, by escape times alone"] += zip(group.labels("escape"), verdicts, strict=True)
        judged += [Scored(a, a == as_label(f.verdict), f.confidence, f.signs)
                   for a, f in zip(labels, found, strict=True)]  # fmt: skip
        lost_points += [int(c) for c, v in zip(group.fixed_points, verdicts, strict=True) if v == "no-learning zone"]
    agreement = {name: float(np.mean([a == b for a, b in both])) for name, both in pairs.items()}
    networks = len(pairs["everything"])
    print(f"{networks} networks, {which}")
    for name, both in pairs.items():
        print(f"\n{name}: {100 * agreement[name]:.1f} % agree\n\n{table(confusion(both))}")
    three = sum(count >= 3 for count in lost_points)
    print(f"\n{three} of {len(lost_points)} networks called lost have three fixed points or more")
    figures = {
        "networks": networks,
        "seeds": [min(SEEDS[which]), max(SEEDS[which])],
        "rates": {str(key): rates for key, rates in RATES[which].items()},
        "agreement": agreement,
        "wrong_above_0.8": float(np.mean([not one.right and one.confidence > 0.8 for one in judged])),
        "confusion": {name: confusion(both) for name, both in pairs.items()},
        "called_lost": len(lost_points),
        "called_lost_with_three_fixed_points": three,
        "machine": platform.machine(),
        "ghostpoint": gp.__version__,
    }
    return figures, judged


if __name__ == "__main__":
    main()
