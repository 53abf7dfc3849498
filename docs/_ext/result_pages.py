"""Two pages made from benchmarks/results at each build: what the article says and what was
measured, and the benchmarks.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ghostpoint import experiments
from ghostpoint.experiments import Claim
from reference_pages import update

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results"
sys.path.insert(0, str(ROOT / "benchmarks"))

import tables  # noqa: E402

sys.path.remove(str(ROOT / "benchmarks"))  # where a module has the name of NVIDIA's package

#: script, its saved result, tables made of it, and the page that discusses it
BENCHMARKS: list[tuple[str, str, list[str], str]] = [
    ("engines", "engines.json", ["engines"], "training"),
    ("scaling", "scaling.json", ["scaling, units", "scaling, steps", "scaling, networks"], "training"),
    ("cuda", "cuda.json", ["cuda"], "cuda"),
    ("slow_points", "slow_points.json", ["slow points"], "slow_points"),
    ("attractors", "attractors.json", ["attractors"], "slow_points"),
    ("latent_flow", "latent_flow.txt", [], "slow_points"),
    ("latent_zeros", "latent_zeros.txt", [], "slow_points"),
    ("critical_rate", "critical_rate_again.json", ["critical rate"], "critical_rate"),
    ("monitor", "monitor.json", ["monitor"], "torch"),
    ("guards", "guards.json", ["guards"], "torch"),
    ("abruptness", "abruptness.json", ["abruptness"], "differences"),
    ("draws", "draws.json", ["draws"], "differences"),
    ("high_rates", "high_rates.json", ["high rates"], "differences"),
]
#: results whose tables stand in the page that discusses them
ELSEWHERE = [
    ("remedies", "remedies.json", "remedies"),
    ("exponent", "exponent.json", "exponent"),
    ("resistant", "resistant.json", "exponent"),
    ("escape_times", "escape_times.json", "slow_points"),
    ("explorer", "explorer.json", "explorer"),
    ("first_order_rate", "first_order_rate.json", "critical_rate"),
    ("paper_scale", "critical_rate_scaling_paper.json", "critical_rate"),
    ("paper_scale", "before_the_drop_paper.json", "before_the_drop"),
    ("guard_cost", "guard_cost.json", "torch"),
    ("rivals", "rivals.json", "rivals"),
    ("diagnosis", "diagnosis.json", "diagnosis"),
]


def write(folder: Path) -> None:
    """Write the pages into ``folder``."""
    folder.mkdir(exist_ok=True)
    update(folder / "measured.md", _measured())
    update(folder / "benchmarks.md", _benchmarks())


def _measured() -> str:
    saved = json.loads((RESULTS / "claims_paper.json").read_text(encoding="utf-8"))
    valid = {id: one for id, one in saved["experiments"].items() if "void" not in one}
    claims = {id: [Claim.from_dict(claim) for claim in one["claims"]] for id, one in valid.items()}
    published = Counter(claim.verdict for each in claims.values() for claim in each if claim.origin == "published")
    total = sum(published.values())
    counts = f"{published['holds']} hold, {published['does not hold']} do not"
    untestable = published["not testable at this scale"]
    counts += f", and {untestable} cannot be tested at this scale" if untestable else ""
    lines = [
        "# What the article says, and what was measured",
        "",
        f"Of {total} sentences of the publication that were tested at paper scale: {counts}.",
        "",
        "Every sentence was turned into a rule with a threshold before its run: [how](../claims.md). Why results",
        "differ where they do, and what was tried, is told in [a page of its own](../differences.md). This page is",
        f"made from `benchmarks/results/claims_paper.json`, saved from `{saved['command']}`.",
        "",
        "| experiment | figure | holds | does not hold | not testable |",
        "|---|---|---|---|---|",
    ]
    for id, each in claims.items():
        found = Counter(claim.verdict for claim in each if claim.origin == "published")
        if found:
            numbers = [found["holds"], found["does not hold"], found["not testable at this scale"]]
            lines.append(f"| [`{id}`](#{id}) | {experiments.get(id).figure} | {' | '.join(map(str, numbers))} |")
    for id, one in valid.items():
        experiment = experiments.get(id)
        lines += [
            "",
            f"({id})=",
            "",
            f"## {experiment.title}",
            "",
            f"`{id}`, {experiment.figure}. {experiment.question}",
        ]
        if "processor_seconds" in one:
            versions = one["versions"]
            taken = f"{one['processor_seconds']:.0f} s of one processor core"
            lines += ["", f"Run with ghostpoint {versions['ghostpoint']}, numpy {versions['numpy']}: {taken}."]
        for origin, said in (("published", "The publication"), ("own", "This project")):
            mine = [claim for claim in claims[id] if claim.origin == origin]
            if mine:
                lines += ["", f"| {said} says | published | measured | verdict |", "|---|---|---|---|"]
            for claim in mine:
                note = f" *{_cell(claim.note)}*" if claim.note else ""
                cells = [f"{_cell(claim.sentence)} ({_cell(claim.source)})", _cell(claim.published)]
                cells += [_cell(claim.measured) + note, f"**{claim.verdict}**"]
                lines.append(f"| {' | '.join(cells)} |")
    missing = [id for id in experiments.IDS if id not in valid and experiments.get(id).origin == "published"]
    void = [f"`{id}` ({one['void']})" for id, one in saved["experiments"].items() if "void" in one]
    lines += ["", "## What is not here", ""]
    lines += [f"* Saved, but not valid: {', '.join(void)}."] * bool(void)
    never = [f"`{id}`" for id in missing if id not in saved["experiments"]]
    lines += [f"* Not in the file: {', '.join(never)}."] * bool(never)
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text of a claim in a cell of a table."""
    for special in ("\\", "|", "*", "_", "$", "<"):
        text = text.replace(special, "\\" + special)
    return " ".join(text.split())


def _about(script: str) -> str:
    """What a benchmark measures and how, as its file says."""
    source = (ROOT / f"benchmarks/{script}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def _taken(name: str) -> list[str]:
    """The command, machine and versions that a result has kept of its run."""
    if not name.endswith(".json"):
        return []
    saved: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    kept = {
        key: saved[key] for key in ("command", "machine", "device", "torch", "ghostpoint", "settings") if key in saved
    }
    said = [f"{key} `{value}`" if key == "command" else f"{key} {_plain(value)}" for key, value in kept.items()]
    return ["", "Saved with: " + "; ".join(said) + "."] if said else []


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(one)}" for key, one in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _benchmarks() -> str:
    lines = [
        "# Benchmarks",
        "",
        "Every table is made from a file of `benchmarks/results` when this page is built; the script that saved it",
        "says how it was taken. Numbers of different files were taken on different days, and on machines that other",
        "programs used too: compare within a table. Ratios are of ways that took turns in one run.",
    ]
    for script, name, made, page in BENCHMARKS:
        about = _about(script)
        lines += ["", f"## {script.replace('_', ' ').capitalize()}", ""]
        lines += [
            f"`benchmarks/{script}.py`, saved in `benchmarks/results/{name}`; discussed in [{page}](../{page}.md)."
        ]
        lines += _taken(name)
        for table in made:
            lines += ["", tables.TABLES[table]()]
        if name.endswith(".txt"):
            lines += ["", "```text", (RESULTS / name).read_text(encoding="utf-8").strip(), "```"]
        lines += ["", "How it is taken:", "", "```text", about, "```"]
    lines += ["", "## Elsewhere", "", "| script | saved result | discussed in |", "|---|---|---|"]
    lines += [f"| `benchmarks/{s}.py` | `benchmarks/results/{n}` | [{p}](../{p}.md) |" for s, n, p in ELSEWHERE]
    return "\n".join(lines) + "\n"
