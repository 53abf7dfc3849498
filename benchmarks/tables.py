"""The tables of numbers in the documentation, made from the saved results.

    python benchmarks/tables.py            write them into the pages of docs/

In a page a table stands between ``<!-- NAME: benchmarks/tables.py writes this -->`` and
``<!-- end -->``, and NAME is a key of ``TABLES``. A test says that every page has what the saved
results give; the page of benchmarks of the documentation is made of all of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"
MARK = re.compile(r"(<!-- (?P<name>[\w, ]+): benchmarks/tables\.py writes this -->\n).*?(<!-- end -->)", re.DOTALL)


def result(name: str) -> Any:
    """What a benchmark has saved."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"|{'|'.join(line)}|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines)


def digits(value: float, significant: int = 3) -> str:
    """A number with at most so many significant digits, never as a power of ten."""
    rounded = float(f"{value:.{significant}g}")
    return f"{rounded:.0f}" if rounded >= 10 ** (significant - 1) else f"{rounded:g}"


def engines() -> str:
    """Cost of training by task and kind of network, beside PyTorch."""
    head = ("task and networks", "autograd loop, us per epoch", "kernels, us per network-epoch", "times the loop")
    head += ("times batched PyTorch", "share of the matrix products' peak", "share of the time in tanh")
    rows = [
        [
            name,
            f"{case['loop_us']:.0f}",
            f"{case['us']:.2f}",
            f"{case['times_loop']:.0f}",
            f"{case['times_torch']:.0f}",
            f"{case['of_peak']:.0%}",
            f"{case['of_tanh']:.0%}",
            f"{case['region']:.2f}" if case["region"] else "-",
        ]
        for name, case in result("engines").items()
        if isinstance(case, dict)
    ]
    return markdown((*head, "trust region, times plain"), rows)


def scaling(axis: str) -> str:
    """Cost of training over one axis."""
    measured = {
        name.removesuffix(f", {axis}"): values
        for name, values in result("scaling").items()
        if name.endswith(f", {axis}")
    }
    values = list(dict.fromkeys(value for each in measured.values() for value in each))
    rows = [
        [kind, *(digits(row[value]) if value in row else "-" for value in values)] for kind, row in measured.items()
    ]
    return markdown((axis, *values), rows)


def cuda() -> str:
    """Cost of training on a GPU, beside other ways, in nanoseconds per network-epoch."""
    saved = result("cuda")
    sizes = list(dict.fromkeys(size for each in saved["speed"].values() for size in each if size.isdigit()))
    head = ["networks", *(f"{int(size):,}" for size in sizes), "bound", "PyTorch", "JAX", "two CPU threads"]

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"

    rows = []
    for kind, speed in saved["speed"].items():
        numbers = [*(speed.get(size) for size in sizes), speed["bound"]]
        numbers += [saved[way].get(kind) for way in ("torch", "jax", "cpu")]
        rows.append([kind, *map(number, numbers)])
    return markdown(head, rows)


def slow_points() -> str:
    """The search beside two other methods from the same starts, per network: processor seconds,
    fixed points found of those known, false ones."""
    rows = []
    for row in result("slow_points")["rows"]:
        ways = [row[way] for way in ("ghostpoint", "adam", "levenberg_marquardt")]
        cells = [f"{way['processor_seconds']:.2f}, {way['fixed']}, {way['false']}" for way in ways]
        rows.append([f"{row['gain']:.1f}", str(row["seed"]), str(row["known"]), *cells])
    return markdown(("gain", "seed", "known", "ghostpoint", "Adam", "Levenberg-Marquardt"), rows)


def attractors() -> str:
    """Whether the default search lists every attractor, by kind of network."""
    return markdown(("networks", "result"), ([kind, text] for kind, text in result("attractors")["summary"].items()))


def monitor() -> str:
    """What the monitor costs."""
    saved = result("monitor")
    rows = [
        ["a step without it, ms of processor", f"{saved['cpu_ms_a_step_plain']:.1f}"],
        ["a step with it", f"{saved['cpu_ms_a_step_watched']:.1f}"],
        ["ratio", f"{saved['ratio']:.3f}"],
        ["ratio by tens of steps, from quarter to quarter", ", ".join(f"{x:.3f}" for x in saved["ratio_of_tens"])],
    ]
    return markdown(("what", "measured"), rows)


def critical_rate() -> str:
    """Predicted and measured critical rates by condition, seeds not used in development."""
    rows = []
    for run in result("critical_rate_again").values():
        asked = run["settings"]
        for row in run["rows"]:
            low, middle, high = row["ratio"]
            rows.append(
                [
                    str(row["delay"]),
                    str(asked["units"]),
                    f"{asked['confidence']:g}",
                    str(row["networks"]),
                    *(digits(row[name], 2) for name in ("measured", "predicted")),
                    f"{low:.2f}, {middle:.2f}, {high:.2f}",
                    f"{row['within_2']:.0%}",
                ]
            )
    head = ("T (steps)", "N", "c", "networks", "measured, median", "predicted, median", "ratio: 10 %, median, 90 %")
    return markdown((*head, "within a factor 2"), rows)


def critical_rate_by_condition() -> str:
    """Predicted and measured critical rates of seeds that were not used in development."""
    import numpy as np

    saved = result("critical_rate")
    conditions = []
    for name, predicted in saved["predicted"].items():
        kind, seeds, *numbers = name.split("_")
        first, beyond = map(int, seeds.split("-"))
        T, N, c = (int(number.lstrip("TNc")) for number in numbers)
        if first and name in saved["measured"]:
            label = f"{'published ' * (kind == 'pub')}{first}-{beyond - 1}"
            conditions.append(((kind != "pub", -c, N, T), label, predicted, saved["measured"][name]))
    rows = []
    for (_, c, N, T), seeds, predicted, measured in sorted(conditions, key=lambda one: one[0]):
        told, found = (np.array(one["critical_rate"], float) for one in (predicted, measured))
        ratio = told / found
        near = int(((ratio > 0.49) & (ratio < 2.01)).sum())  # rates are saved with four digits
        low, middle, high = np.percentile(ratio, [10, 50, 90])
        medians = [digits(float(np.median(one)), 2) for one in (found, told)]
        ratios = f"{low:.2f}, {middle:.2f}, {high:.2f}"
        rows.append([seeds, str(T), str(N), str(-c), *medians, ratios, f"{near} of {len(ratio)}"])
    head = ("seeds", "T", "N", "c", "measured, median", "predicted, median", "ratio: 10 %, median, 90 %")
    return markdown((*head, "within a factor 2"), rows)


def abruptness() -> str:
    """How long the drop takes against the plateau, over the delay."""
    rows = [
        [name, str(cell["networks"]), str(cell["learn"]), digits(cell["median_ratio"], 2) if cell["learn"] else "-"]
        for name, cell in result("abruptness")["cells"].items()
    ]
    return markdown(("networks", "trained", "learn", "drop over plateau, median"), rows)


def draws() -> str:
    """Networks of Fig. 5D-F over draws of their noise."""
    saved = result("draws")
    rows = []
    for way in ("with noise", "without noise"):
        for seed, learned, kept in zip(saved["seeds"], saved[way]["learned"], saved[way]["kept"], strict=True):
            rows.append([str(seed), way, str(saved[way]["draws"]), str(learned), str(kept)])
    return markdown(("seed", "trials", "draws", "learn", "keep the task"), rows)


def high_rates() -> str:
    """Full rank at rates above the published grid."""
    rows = [
        [f"{row['rate']:g}", str(row["learn"]), str(row["keep"]), f"{row['median_last_gradient']:.1e}"]
        for row in result("high_rates")["rates"]
    ]
    return markdown(("rate", "networks of 10 that learn", "keep the task", "median gradient at the end"), rows)


def guards() -> str:
    """Networks of the guard's benchmark by task, cell, size and method, over all rates; optimizers
    of PyTorch together, and rivals by themselves.
    """
    cells: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for run in result("guards")["runs"]:
        method = run["optimizer"] if run["optimizer"] in {"schedulefree", "prodigy"} else run["method"]
        cells.setdefault((run["task"], run["cell"], str(run["units"]), method), []).append(run)
    rows = [
        [*cell, str(len(runs)), *(str(sum(run[what] for run in runs)) for what in ("learned", "lost", "solved"))]
        for cell, runs in cells.items()
    ]
    return markdown(("task", "cell", "units", "method", "networks", "learned", "lost", "solved"), rows)


FAMILIES = {"rank_one": "rank one", "rank_two": "rank two", "full_rank": "full rank"}


def _digits_or_dash(value: float | None, significant: int = 2) -> str:
    return "-" if value is None else digits(value, significant)


def exponent_conditions() -> str:
    """Critical rates over the delay: measured, predicted, the toy model's, and the terms."""
    head = ("networks", "T", "measured", "overlaps / measured", "within 25 %", "linear units / measured", "within 25 %")
    rows = []
    for one in result("exponent")["conditions"]:
        cells = []
        for name in ("overlaps", "linear"):
            ratio, count = one[f"{name}_ratio"], one["networks"]
            none = ratio is None
            cells += ["-", "-"] if none else [f"{ratio:.2f}", f"{one[f'{name}_within']} of {count}"]
        rows.append(
            [
                f"{FAMILIES[one['family']]}, c = {one['confidence']:g}",
                f"{one['delay']}",
                _digits_or_dash(one["measured"]),
                *cells,
                f"{one['median_within']} of {one['networks']}",
                _digits_or_dash(one["toy"]),
            ]
        )
    return markdown((*head, "their median, within 25 %", "toy model"), rows)


def exponent_fits() -> str:
    """Exponents of the delay, with 95 % intervals."""

    def words(found: list[float | None]) -> str:
        if None in found:
            return "-"
        middle, low, high = found
        return f"{middle:.2f} ({low:.2f} to {high:.2f})"

    names = ("measured", "overlaps", "linear", "gradient_norm", "width", "sensitivity")
    rows = [
        [
            f"{FAMILIES[one['family']]}, c = {one['confidence']:g}, T = {min(one['delays'])} to {max(one['delays'])}",
            *(words(one[name]) for name in names),
        ]
        for one in result("exponent")["exponents"]
    ]
    return markdown(("networks", "measured", "overlaps", "linear units", "norm of grad t", "l", "A"), rows)


def exponent_terms() -> str:
    """The terms of the first-order formula at confidence 10."""
    rows = [
        [
            f"{one['delay']}",
            f"{one['width']:.2f}",
            f"{math.pi**2 / (2 * one['delay']):.2f}",
            f"{one['sensitivity']:.2f}",
            digits(one["gradient_norm"]),
            digits(one["terms_norm"]),
        ]
        for one in result("exponent")["conditions"]
        if one["family"] == "rank_one" and one["confidence"] == 10 and one["width"] is not None
    ]
    return markdown(("T", "l", "l of the toy model", "A", "norm of grad t", "A t^2 / l"), rows)


def resistant() -> str:
    """What was tried where a remedy fails."""
    rows = [
        [
            one["case"],
            f"{one['lost']} of {one['learned']}",
            f"{one['solved']} of {one['networks']}",
            "-" if one["epoch"] is None else f"{one['epoch']:.0f}",
            f"{one['loss']:.1g}",
            f"{one['at_half']}",
        ]
        for one in sorted(result("resistant")["rows"], key=lambda one: one["case"].split(":")[0])
    ]
    head = ("case", "lost of those that learned", "solved", "median epoch", "median final loss")
    return markdown((*head, "left at half the chance loss"), rows)


def remedies(by: str) -> str:
    """Networks that learn, are lost and solve, by remedy: over rates, or over other problems."""
    from ghostpoint.experiments.remedy_claims import Row

    saved = result("remedies")
    finite = [[math.inf if value is None else value for value in row] for row in saved["rows"]]
    rows = [Row(**dict(zip(saved["columns"], row, strict=True))) for row in finite]
    # by its path: modules here have names of packages, so none is looked for in this folder
    spec = spec_from_file_location("benchmark_of_remedies", Path(__file__).with_name("remedies.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = (module.by_rate if by == "rate" else module.by_problem)(rows)
    return text


def minimal_systems() -> str:
    """Exponents and prefactors of the critical rates of minimal systems."""
    rows = []
    for row in result("minimal_systems")["families"]:
        value, low, high = row["exponent"]
        cells = [row["family"], str(row["dimension"]), digits(row["exponent_theory"])]
        cells += [f"{value:.3f} ({low:.3f} to {high:.3f})"]
        same = row["exponent_theory"] == -5
        cells += [f"{row['prefactor']:.4g}" if same else "-"]
        cells += [f"{row['prefactor_theory']:.4g}" if same and row["prefactor_theory"] else "-"]
        rows.append(cells)
    head = ("system", "dimensions", "exponent of T, theory", "measured", "prefactor, measured", "theory")
    return markdown(head, rows)


def claims_of(name: str) -> str:
    """The claims of an own experiment, as judged at paper scale."""
    rows = [[each["sentence"], each["verdict"], each["measured"]] for each in result(name)["claims"]]
    return markdown(("claim", "verdict", "measured"), rows)


#: name of a table in the pages: what makes it
TABLES: dict[str, Callable[[], str]] = {
    "engines": engines,
    "scaling, units": lambda: scaling("units"),
    "scaling, steps": lambda: scaling("steps"),
    "scaling, networks": lambda: scaling("networks"),
    "cuda": cuda,
    "slow points": slow_points,
    "attractors": attractors,
    "monitor": monitor,
    "guards": guards,
    "critical rate": critical_rate,
    "critical rate by condition": critical_rate_by_condition,
    "abruptness": abruptness,
    "draws": draws,
    "high rates": high_rates,
    "minimal systems": minimal_systems,
    "minimal systems, claims": lambda: claims_of("minimal_systems"),
    "exponent, conditions": exponent_conditions,
    "exponent, fits": exponent_fits,
    "exponent, terms": exponent_terms,
    "exponent, claims": lambda: claims_of("exponent"),
    "resistant": resistant,
    "remedies, rates": lambda: remedies("rate"),
    "remedies, problems": lambda: remedies("problem"),
}


def filled(text: str) -> str:
    """The text of a page with its tables made anew."""
    return MARK.sub(lambda found: found[1] + TABLES[found["name"]]() + "\n" + found[3], text)


def main() -> None:
    """Write the tables of every page."""
    for page in sorted(DOCS.rglob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = filled(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(page.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
