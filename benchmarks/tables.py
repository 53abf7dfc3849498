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
from functools import cache, partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"
MARK = re.compile(r"(<!-- (?P<name>[\w, -]+): benchmarks/tables\.py writes this -->\n).*?(<!-- end -->)", re.DOTALL)


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
    head = ["task and networks", "autograd loop, us per epoch", "kernels, us per network-epoch", "times the loop"]
    head += ["times batched PyTorch", "share of the matrix products' peak", "share of the time in tanh"]
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


def rivals() -> str:
    """What the search and two other methods report from the same starts."""
    ways = {"ghostpoint": "ghostpoint", "adam": "Adam, float32", "levenberg_marquardt": "Levenberg-Marquardt"}
    rows = []
    for row in result("slow_points")["rows"]:
        for way, name in ways.items():
            one = row[way]
            cells = [f"{one['processor_seconds']:.2f}", str(one["reported"]), f"{one['fixed']} of {row['known']}"]
            counts = [str(one[what]) for what in ("ghosts", "repeats", "false")]
            rows.append([f"{row['gain']:g}, {row['seed']}", name, *cells, *counts])
    head = ("gain, seed", "method", "processor time (s)", "reported", "fixed points", "ghosts", "repeats", "false")
    return markdown(head, rows)


def sizes() -> str:
    """What the default search of large networks costs and proves."""
    names = ("units", "seconds", "processor_seconds", "peak_megabytes", "fixed", "ghosts", "proven")
    saved = sorted(result("slow_points")["sizes"], key=lambda row: row["units"])
    head = ("units", "time (s)", "processors (s)", "largest memory (MB)", "fixed points", "ghosts", "with a proof")
    return markdown(head, ([str(row[name]) for name in names] for row in saved))


def certificates() -> str:
    """Proofs about small networks, checked in 80 digits, by kind."""
    saved = result("certificates")
    kinds = list(saved["kinds"])
    wrong = [sum(int(seed) % len(kinds) == i for seed in saved["wrong"]) for i in range(len(kinds))]
    rows = [[kind, *(str(saved["kinds"][kind][name]) for name in ("cases", "proofs"))] for kind in kinds]
    head = ("networks", "cases", "proofs", "cases with a wrong proof")
    return markdown(head, ([*row, str(count)] for row, count in zip(rows, wrong, strict=True)))


Passages = list[dict[str, Any]]
NETWORKS = {"LowRankRNN": "rank one, N = {}", "FullRankRNN": "full rank, N = {}"}


def passages(network: str, reach: float) -> Passages:
    """The saved passages from -reach to reach sqrt(r/a), beside ghosts whose slow direction is
    alone."""
    return [
        row
        for row in result("escape_times")["rows"]
        if (row["network"], row["reach"]) == (network, reach)
        and row["second_eigenvalue"] < -0.1
        and not row["unstable_under_map"]
    ]


def with_bar(some: Passages) -> tuple[list[float], int]:
    """Simulated over predicted steps where the slow manifold has an error bar, and how many are
    within it."""
    known = [row for row in some if not row["manifold_reason"]]
    within = sum(abs(row["simulated_on_curve"] - row["manifold_steps"]) <= row["manifold_error"] for row in known)
    return [row["simulated_on_curve"] / row["manifold_steps"] for row in known], within


def escape_times() -> str:
    """Simulated over predicted steps by network, distance from the fold and step."""
    import numpy as np

    rows, saved = [], result("escape_times")["settings"]
    for network, name in NETWORKS.items():
        for distance in saved["distances"]:
            for alpha in saved["alphas"]:
                some = [
                    row
                    for row in passages(network, 3.0)
                    if (row["distance_from_fold"], row["alpha"]) == (distance, alpha)
                ]
                # NaN where the simulation goes elsewhere
                ratio = np.array([row["simulated_over_predicted"] for row in some], float)
                low, middle, high = np.nanquantile(ratio, [0.05, 0.5, 0.95])
                steps = np.nanmedian(np.array([row["simulated_steps"] for row in some], float))
                known, within = with_bar(some)
                cells = [name.format(some[0]["units"]), f"{distance:g}", f"{alpha:g}", str(len(some)), f"{steps:.0f}"]
                cells += [f"{middle:.4f}, {low:.4f} to {high:.4f}", str(len(known))]
                rows.append([*cells, f"{min(known):.4f} to {max(known):.4f}", str(within)])
    head = ("network", "distance from the fold", "alpha", "passages", "steps (median)", "normal form")
    return markdown((*head, "with an error bar", "slow manifold", "within the bar"), rows)


def long_passages() -> str:
    """Passages of more than 50 steps: how near both predictions are."""
    rows = []
    for network, reach in (("LowRankRNN", 3.0), ("FullRankRNN", 3.0), ("FullRankRNN", 1.0)):
        some = [row for row in passages(network, reach) if row["predicted_steps"] > 50]
        near = sum(abs((row["simulated_over_predicted"] or math.nan) - 1) <= 0.05 for row in some)
        known, within = with_bar(some)
        off = [abs(ratio - 1) for ratio in known]
        name = f"{NETWORKS[network].partition(',')[0]}, from -{reach:g} to {reach:g} `sqrt(r/a)`"
        cells = [str(len(some)), str(near), str(len(known)), str(sum(one <= 0.05 for one in off))]
        rows.append([name, *cells, f"{100 * max(off):.2g} %", str(within)])
    head = ("", "passages", "normal form within 5 %", "slow manifold with an error bar", "of these within 5 %")
    return markdown((*head, "largest error", "within the bar"), rows)


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


Runs = list[dict[str, Any]]


def guards() -> str:
    """Networks of the guard's benchmark by task, cell, size and method, over all rates and
    optimizers.
    """
    cells: dict[tuple[str, str, str, str], Runs] = {}
    for run in result("guards")["runs"]:
        cells.setdefault((run["task"], run["cell"], str(run["units"]), run["method"]), []).append(run)
    rows = [
        [*cell, str(len(runs)), *(str(sum(run[what] for run in runs)) for what in ("learned", "lost", "solved"))]
        for cell, runs in cells.items()
    ]
    return markdown(("task", "cell", "units", "method", "networks", "learned", "lost", "solved"), rows)


#: tasks of the benchmark of optimizers that draw every batch afresh
FRESH = ("adding", "copy")
#: of a run of the benchmark of optimizers: what a row of its file has once, and for each seed
CONDITION = ("task", "cell", "method", "rate", "units", "updates")
OF_SEED = ("seed", "learned", "lost", "solved", "epoch", "end", "forward", "backward")


def run_by_run(rows: Iterable[dict[str, Any]]) -> Runs:
    """Rows with a list over the seeds, as one row a run."""
    return [
        {name: row[name] for name in CONDITION} | dict(zip(OF_SEED, values, strict=True))
        for row in rows
        for values in zip(*(row[name] for name in OF_SEED), strict=True)
    ]


def by_condition(runs: Runs) -> Runs:
    """One row for each condition, with a list over the seeds of what became of them."""
    rows: dict[tuple, dict[str, Any]] = {}
    for run in runs:
        key = tuple(run[name] for name in CONDITION)
        row = rows.setdefault(key, dict(zip(CONDITION, key, strict=True)) | {name: [] for name in OF_SEED})
        for name in OF_SEED:
            row[name].append(run[name])
    return list(rows.values())


@cache
def _rivals() -> tuple[Runs, Runs]:
    saved = result("rivals")
    return run_by_run(saved["runs"]), saved["times"]


def optimizer_runs(**wanted: Any) -> Runs:
    """The runs of the benchmark of optimizers that have these values."""
    return [run for run in _rivals()[0] if all(run[name] == value for name, value in wanted.items())]


def _values(runs: Runs, name: str) -> list[Any]:
    return list(dict.fromkeys(run[name] for run in runs))


def _best_rate(runs: Runs) -> tuple[float, int, int, float]:
    """The rate at which most networks are solved, and the soonest of these; how many, of how many,
    and the median epoch of those.
    """
    rates = []
    for rate in _values(runs, "rate"):
        there = [run for run in runs if run["rate"] == rate]
        epochs = [run["epoch"] for run in there if run["solved"] and run["epoch"] >= 0]
        solved = sum(run["solved"] for run in there)
        rates.append((-solved, median(epochs) if epochs else math.inf, rate, len(there)))
    solved, epoch, rate, count = min(rates)
    return rate, -solved, count, epoch


def _solved_and_lost(runs: Runs) -> str:
    lost = sum(run["lost"] for run in runs)
    return f"{sum(run['solved'] for run in runs)} of {len(runs)}" + f", {lost} lost" * bool(lost)


def _at_best(runs: Runs) -> str:
    rate, solved, count, epoch = _best_rate(runs)
    return f"{rate:g}: {solved} of {count}" + f", {epoch:.0f}" * (epoch < math.inf) if solved else "-"


def optimizers(task: str) -> str:
    """Each optimizer on a task, by cell: over all its rates, and at the best of them."""
    runs = optimizer_runs(task=task)
    cells = _values(runs, "cell")
    head = ["method", *(text for cell in cells for text in (f"{cell}, all rates", "best rate"))]
    rows = []
    for method in _values(runs, "method"):
        each = [[run for run in runs if (run["method"], run["cell"]) == (method, cell)] for cell in cells]
        rows.append([method, *(text for some in each for text in (_solved_and_lost(some), _at_best(some)))])
    return markdown(head, rows)


def optimizers_overall() -> str:
    """Each optimizer over all tasks and cells with a full batch: with one setting at all rates, at
    the one rate that serves it best, at the best rate of each task and cell; passes and time of an
    update.
    """
    full, times = [run for run in optimizer_runs() if run["task"] not in FRESH], _rivals()[1]
    rows = []
    for method in _values(full, "method"):
        runs = [run for run in full if run["method"] == method]
        rates = _values(runs, "rate")
        rate, solved, count, _ = _best_rate(runs)
        cells = {(run["task"], run["cell"]) for run in runs}
        each = [_best_rate([run for run in runs if (run["task"], run["cell"]) == cell]) for cell in cells]
        passes = [sum(run[name] for run in runs) / len(runs) for name in ("forward", "backward")]
        end = median(run["end"] for run in runs if run["rate"] == rate)
        rows.append(
            [
                method,
                f"{min(rates):g} to {max(rates):g}",
                f"{sum(run['learned'] for run in runs)}",
                _solved_and_lost(runs),
                f"{solved} of {count}, at {rate:g}",
                f"{end:.2g}",
                f"{sum(one[1] for one in each)} of {sum(one[2] for one in each)}",
                *(f"{value:.2f}" for value in passes),
                *(f"{row['ms']:.1f}" for row in times if row["method"] == method),
            ]
        )
    head = ("method", "rates", "learned", "all rates", "one rate", "end", "best rates", "forward", "backward")
    return markdown((*head, *(f"ms, {cell}" for cell in _values(times, "cell"))), rows)


def optimizers_beside_guard() -> str:
    """By task and cell the guard beside the rival that solves most networks at its best rate, the
    soonest of these, and beside the rival that solves most over all rates.
    """
    rows = []
    for task, cell in dict.fromkeys((run["task"], run["cell"]) for run in optimizer_runs()):
        by_method: dict[str, Runs] = {}
        for run in optimizer_runs(task=task, cell=cell):
            by_method.setdefault(run["method"], []).append(run)
        guard = by_method.pop("Adam, guarded")
        best = {name: _best_rate(runs) for name, runs in by_method.items()}
        first = min(best, key=lambda name: (-best[name][1], best[name][3]))
        steady = max(by_method, key=lambda name: sum(run["solved"] for run in by_method[name]))
        found = best[first][1] > 0
        texts = [f"{first} at {_at_best(by_method[first])}" if found else "none", _at_best(guard)]
        texts += [f"{steady}, {_solved_and_lost(by_method[steady])}" if found else "none", _solved_and_lost(guard)]
        rows.append([f"{task} {cell}", *texts])
    return markdown(("task, cell", "rival at its best rate", "guard", "rival at all rates", "guard"), rows)


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


def before_the_drop() -> str:
    """How many networks have each reading of a ghost before the drop, by family."""
    families = result("before_the_drop_paper")["families"].values()
    names = {
        "ghost": "ghost",
        "path_minimum": "minimum on the path",
        "slow_stretch": "slower than 1/T",
        "transient": "slower, and left again",
        "inflection": "inflection",
        "passage": "passage",
    }
    rows = []
    for reading, name in names.items():
        cells = []
        for family in families:
            at = family["readings"][reading]
            text = f"{at['before']} of {family['networks']} ({at['at_start']}; {100 * at['on_plateau']:.0f} %)"
            cells.append(f"**{text}**" if at["verdict"] == "holds" else text)
        rows.append([name, *cells])
    rows.append(["drop over plateau (median)", *(f"{family['drop_over_plateau']:.2g}" for family in families)])
    return markdown(("reading", *(family["title"] for family in families)), rows)


def critical_rate_scaling() -> str:
    """Critical rates over delay, size and confidence at paper scale, and their exponents."""
    rows = []
    for sweep, of in result("critical_rate_scaling_paper")["sweeps"].items():
        values, medians = (
            ", ".join(digits(one, 2 + (one >= 100)) for one in of[name]) for name in ("values", "medians")
        )
        exponent, low, high = of["exponent"]
        fit = f"{exponent:.2f}, {low:.2f} to {high:.2f}"
        rows.append([sweep.replace("_", " "), values, medians, f"{of['with_one']} of {of['networks']}", fit])
    head = ("sweep", "values", "critical rate, medians", "networks with one", "exponent, 95 % interval")
    return markdown(head, rows)


def lethal_updates() -> str:
    """The network one update before it is lost at its critical rate, by delay."""
    rows = [
        [
            str(at["delay"]),
            f"{at['hazard']:.2f}",
            f"{at['dangerous']} of {at['networks']}",
            f"{at['loss_slope']:.2f}",
            digits(at["gradient_norm"], 3),
            f"{at['ghost_passage']:.1f} ({at['with_ghost']})",
        ]
        for at in result("critical_rate_scaling_paper")["lethal_updates"]
    ]
    head = ("T (steps)", "hazard, median", "hazard > 1", "dL/dt times T", "norm of grad t")
    return markdown((*head, "passage of the whole ghost / t (networks with a ghost)"), rows)


def first_order_rate() -> str:
    """The toy's formula and the edge of stability of trained networks, in measured rates."""
    rows = [
        [
            str(row["delay"]),
            f"{row['fraction']:.2f}",
            str(row["states"]),
            f"{row['formula']:.2f}",
            f"{row['edge']:.2f}",
        ]
        for row in result("first_order_rate")["rows"]
    ]
    return markdown(("T (steps)", "trained at", "states", "formula", "2 / (curvature along grad t)"), rows)


def explorer() -> str:
    """What a dragged control of the explorer costs a frame."""
    rows = [
        [name, digits(at["drawings"]), digits(at["elements"]), f"{at['cpu_ms']:.0f}", f"{at['cpu_ms_all']:.0f}"]
        for name, at in result("explorer")["controls"].items()
    ]
    head = ("control", "drawings of a figure", "SVG elements made", "processor time, main thread (ms)")
    return markdown((*head, "all processes (ms)"), rows)


def explorer_opening() -> str:
    """What opening a part of the explorer takes up to its first drawing."""
    rows = [[name, str(taken)] for name, taken in result("explorer")["opening_ms"].items()]
    return markdown(("opened", "processor time, all processes (ms)"), rows)


def _rows_of_remedies() -> list[Any]:
    from ghostpoint.experiments.remedy_claims import Row

    saved = result("remedies")
    finite = [[math.inf if value is None else value for value in row] for row in saved["rows"]]
    return [Row(**dict(zip(saved["columns"], row, strict=True))) for row in finite]


def guard_as_a_remedy() -> str:
    """The guard by problem and optimizer beside the trust regions: solved over all rates, the
    median epochs over rates, from the soonest to the last.
    """
    kept = _rows_of_remedies()
    treatments = ("guard", "trust region", "trust region, guarded")
    rows = []
    for problem, optimizer in dict.fromkeys((row.problem, row.optimizer) for row in kept if row.treatment == "guard"):
        cells = []
        for treatment in treatments:
            asked = (problem, optimizer, treatment)
            mine = [row for row in kept if (row.problem, row.optimizer, row.treatment) == asked]
            solved, networks = (sum(getattr(row, name) for row in mine) for name in ("solved", "networks"))
            epochs = sorted(row.epoch for row in mine)
            words = [f"{epoch:g}" if math.isfinite(epoch) else "never" for epoch in (epochs[0], epochs[-1])]
            cells.append(f"{solved} of {networks}; {' to '.join(dict.fromkeys(words))}")
        rows.append([f"{problem}, {'SGD' if optimizer == 'sgd' else 'Adam'}", *cells])
    return markdown(("problem, optimizer", *treatments), rows)


def guard_cost() -> str:
    """What the guard costs on the engines, beside the trust region."""
    rows = []
    for row in result("guard_cost")["rows"]:
        epoch, ms = row["epoch"], row["ms_a_network_epoch"]
        until = ["-", "-"] if epoch is None else [f"{epoch:g}", f"{epoch * ms:.2g}"]
        rows.append([
            f"{row['problem']}, {row['optimizer']} {row['rate']:g}", f"{row['remedy']}, {row['engine']}",
            f"{row['solved']} of {row['networks']}", until[0], f"{row['loss']:.0e}", f"{ms:.2g}", until[1],
        ])  # fmt: skip
    head = ("problem, optimizer, rate", "remedy, engine", "solved", "median epoch", "final loss", "ms an epoch")
    return markdown((*head, "ms until solved"), rows)


def remedies(by: str) -> str:
    """Networks that learn, are lost and solve, by remedy: over rates, or over other problems."""
    rows = _rows_of_remedies()
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


def architectures_findings() -> str:
    """Which statements carry over to which architecture, and how many of the tested do."""
    saved = result("architectures")
    words = {True: "yes", False: "**no**", None: "-"}
    rows = [
        [str(n), sentence, *(words[saved["findings"][key][name]["carries"]] for name in saved["labels"])]
        for n, (key, sentence) in enumerate(saved["sentences"].items(), start=1)
    ]
    return markdown(("", "statement", *saved["labels"].values()), rows)


def architectures_cases() -> str:
    """Critical rates, abruptness, and what was lost, by task and architecture."""
    saved = result("architectures")

    def spread(values: list[float | None]) -> str:
        known = [digits(each, 2) for each in values if each is not None]
        return "{} ({} to {})".format(*known) if known else "-"

    rows = [
        [
            f"{one['task']}, {one['delay']}",
            saved["labels"][one["architecture"]],
            f"{one['kept']} of {one['seeds']}",
            "above the grid" if one["bound"] * 2 > one["seeds"] else spread(one["critical"]),
            spread(one["ratio"]),
            spread(one["to a quarter"]),
            f"{one['lost']} of {one['seeds']}",
            " / ".join("-" if each is None else digits(each, 2) for each in one["logits"]) if one["logits"] else "-",
        ]
        for one in saved["cases"]
    ]
    head = (
        "task, delay in steps",
        "architecture",
        "kept at some rate",
        "critical rate",
        "drop over plateau",
        "to a quarter",
    )
    return markdown((*head, "lost at some rate", "logit learned / at collapse / at the end"), rows)


def architectures_exponents() -> str:
    """The exponent of the delay in the critical rate on delayed activation."""
    saved = result("architectures")
    rows = []
    for name, label in saved["labels"].items():
        middle = saved["exponents"][name][0]
        finding = saved["findings"]["delay"][name]
        fit, _, rates = finding["words"].removeprefix("exponent ").partition("; ")
        rows.append([label, "-" if middle is None or finding["carries"] is None else fit, rates or "-"])
    return markdown(("architecture", "exponent of T, 95 % interval", "median critical rates"), rows)


def architectures_words() -> str:
    """The numbers behind every finding."""
    saved = result("architectures")
    rows = [
        [str(n), label, {True: "yes", False: "**no**"}[one["carries"]], one["words"]]
        for n, key in enumerate(saved["sentences"], start=1)
        for name, label in saved["labels"].items()
        if (one := saved["findings"][key][name])["carries"] is not None
    ]
    return markdown(("", "architecture", "carries over", "measured"), rows)


def claims_of(name: str) -> str:
    """The claims of an own experiment, as judged at paper scale."""
    rows = [[each["sentence"], each["verdict"], each["measured"]] for each in result(name)["claims"]]
    return markdown(("claim", "verdict", "measured"), rows)


def sweep_cost() -> str:
    """What a sweep costs beside one call of ``gp.train`` for the same networks, on an idle
    machine."""
    rows = []
    for saved in result("sweep"):
        if "bare wall" not in saved:
            continue
        shards = int(re.findall(r"(\d+) shards", saved["what"])[0])
        times = [(saved[name], saved[f"bare {name}"]) for name in ("wall", "processor")]
        row = [saved["what"], *(f"{seconds:.2f}" for pair in times for seconds in pair)]
        more = [
            f"{ours / bare - 1:+.1%}, " * (ours < 2 * bare) + f"{1000 * (ours - bare) / shards:.1f} ms"
            for ours, bare in times
        ]
        rows.append([*row, *more])
    head = ("sweep", "wall, s", "of gp.train", "processor, s", "of gp.train")
    return markdown((*head, "more wall, a shard", "more processor, a shard"), rows)


def sweep_opening() -> str:
    """How long a large sweep takes to open, and to be checked."""
    rows = [
        [saved["what"], *(f"{saved[name]:.2f}" for name in ("opened", "one curve", "checked"))]
        for saved in result("sweep")
        if "opened" in saved
    ]
    return markdown(("sweep", "opened, s", "opened and one curve read, s", "every checksum compared, s"), rows)


def sweep_time() -> str:
    """What ``--dry-run`` says a sweep takes of one core, and what it took."""
    rows = []
    for name, saved in result("sweep_time").items():
        said = f"{saved['predicted'] / 3600:.1f} h" if saved["predicted"] > 3600 else f"{saved['predicted']:.0f} s"
        took = saved.get("processor")
        more = ["-", "-"] if took is None else [f"{took:.0f} s", f"{saved['predicted'] / took:.2f}"]
        rows.append([f"`{name}`", f"{saved['networks']:,}", said, *more])
    return markdown(("sweep", "networks", "predicted", "took", "ratio"), rows)


def _passages(rows: list[dict[str, Any]]) -> str:
    """Found of those that there are, and wrong ones."""
    there = sum(row["found"] + row["missed"] for row in rows)
    wrong = sum(row["wrong"] for row in rows)
    return f"{sum(row['found'] for row in rows)} of {there}" + f", {wrong} wrong" * bool(wrong)


def ghost_sequences() -> str:
    """Passages of ghosts by system and method: found, wrong, right dimensions, processor time."""
    saved = result("ghost_sequences")["rows"]
    methods = list(dict.fromkeys(row["method"] for row in saved))
    lines = []
    for name in dict.fromkeys(row["system"] for row in saved):
        cells = []
        for method in methods:
            rows = [row for row in saved if (row["system"], row["method"]) == (name, method)]
            right = sum(row["right_dimension"] for row in rows)
            seconds = sum(row["seconds"] for row in rows) / len(rows)
            cells.append(f"{_passages(rows)}; {right} right; {digits(seconds, 2)} s")
        lines.append([name, *cells])
    return markdown(("system", *methods), lines)


def ghost_sequences_by_mu() -> str:
    """Passages by mu and method, and the median of the duration over pi / sqrt(mu a)."""
    saved = result("ghost_sequences")["rows"]
    methods = list(dict.fromkeys(row["method"] for row in saved))
    lines = []
    for mu in [*sorted({row["mu"] for row in saved if row["mu"] > 0}, reverse=True), "below 0"]:
        cells = []
        for method in methods:
            here = [row for row in saved if (row["mu"] if row["mu"] > 0 else "below 0") == mu]
            rows = [row for row in here if row["method"] == method]
            ratios = sorted(row["duration"] for row in rows if row["duration"])
            cells += [_passages(rows), f"{ratios[len(ratios) // 2]:.2f}" if ratios else "-"]
        lines.append([mu if isinstance(mu, str) else f"{mu:.0e}", *cells])
    head = [text for method in methods for text in (method, "duration")]
    return markdown(("mu", *head), lines)


#: name of a table in the pages: what makes it
TABLES: dict[str, Callable[[], str]] = {
    "engines": engines,
    "scaling, units": lambda: scaling("units"),
    "scaling, steps": lambda: scaling("steps"),
    "scaling, networks": lambda: scaling("networks"),
    "cuda": cuda,
    "slow points": slow_points,
    "rivals": rivals,
    "sizes": sizes,
    "attractors": attractors,
    "certificates": certificates,
    "escape times": escape_times,
    "long passages": long_passages,
    "monitor": monitor,
    "guards": guards,
    "optimizers": optimizers_overall,
    "optimizers, beside the guard": optimizers_beside_guard,
    **{f"optimizers, {task}": partial(optimizers, task) for task in ("DA", "DCDT", "DMTS", "parity", *FRESH)},
    "before the drop": before_the_drop,
    "critical rate scaling": critical_rate_scaling,
    "lethal updates": lethal_updates,
    "first-order rate": first_order_rate,
    "explorer": explorer,
    "explorer, opening": explorer_opening,
    "sweep cost": sweep_cost,
    "sweep opening": sweep_opening,
    "sweep time": sweep_time,
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
    "architectures, findings": architectures_findings,
    "architectures, cases": architectures_cases,
    "architectures, exponents": architectures_exponents,
    "architectures, numbers": architectures_words,
    "resistant": resistant,
    "ghost sequences": ghost_sequences,
    "ghost sequences by mu": ghost_sequences_by_mu,
    "ghost sequences, claims": lambda: claims_of("ghost_sequences"),
    "guard as a remedy": guard_as_a_remedy,
    "guard cost": guard_cost,
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
