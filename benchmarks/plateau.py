"""The tables of docs/plateau.md, from the experiment ``plateau`` at paper scale.

    python benchmarks/plateau.py [--folder FOLDER]

Without a folder of ``ghostpoint reproduce --scale paper --only plateau`` it runs the experiment.
What the tables show is kept in benchmarks/results/plateau.json; the figure goes to
docs/images/plateau.png.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from textwrap import fill

import numpy as np

from ghostpoint import figures
from ghostpoint.experiments import Silent, get
from ghostpoint.experiments.plateau import interval_of_median
from ghostpoint.experiments.plateau_extensions import errors
from ghostpoint.models import LowRankRNN
from ghostpoint.storage import read_dataset, write_json_atomic

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results/plateau.json", ROOT / "docs/plateau.md"
START, END = "<!-- made by benchmarks/plateau.py: {} -->", "<!-- end -->"
WORDS = {
    "overlaps": "nine overlaps",
    "linear": "nine, linear units",
    "stationary": "six overlaps",
    "closed": "integral",
}


def summary(dataset, parameters, seconds):
    """What the tables need, as JSON."""
    measured = dataset["measured"].values
    rates = {}
    for row, rate in enumerate(dataset["rate"].values):
        ratios = {name: dataset["predicted"].sel(prediction=name).values[row] / measured[row] for name in WORDS}
        rates[f"{rate:g}"] = {name: [*map(float, (np.median(r), r.min(), r.max()))] for name, r in ratios.items()}
    conditions = {}
    for row, name in enumerate(dataset["condition"].values):
        found = {}
        for at, method in enumerate(dataset["prediction"].values):
            ratio = dataset["ratio"].values[row, at]
            seen = ratio[np.isfinite(ratio)]
            found[str(method)] = [*interval_of_median(seen), len(seen)] if len(seen) else None
        conditions[str(name)] = {"valid": int(dataset["valid"].values[row].sum()), **found}
    extensions = []
    ratio = errors(dataset).values + 1
    for row, name in enumerate(dataset["extension"].values):
        inside = dataset["extended_valid"].values[row]
        found = {}
        for at, method in enumerate(dataset["prediction"].values):
            each = ratio[row, at][inside]
            each = each[~np.isnan(each)]
            found[str(method)] = (
                [*interval_of_median(each), float(each.min()), float(each.max())] if len(each) else None
            )
        extensions.append({
            "extension": str(name),
            "rate": float(np.median(dataset["extended_rate"].values[row][inside])) if inside.any() else None,
            "epoch": float(np.median(dataset["extended_measured"].values[row][inside])) if inside.any() else None,
            "valid": int(inside.sum()),
            **found,
        })  # fmt: skip
    # under Adam the drop comes at about (1 - m.n) / (rate sum |n_i|)
    drawn, adam = LowRankRNN.initialize(100, dataset["condition_seed"].values.tolist()), []
    m, n = drawn.m[:, :, 0], drawn.n[:, :, 0]
    for row in np.flatnonzero(dataset["group"].values == "adam").tolist():
        epochs = dataset["extended_rate"].values[row] * dataset["extended_measured"].values[row]
        number = epochs * np.abs(n).sum(1) / (1 - (m * n).sum(1))
        adam.append({
            "extension": str(dataset["extension"].values[row]),
            "rate": float(dataset["extended_rate"].values[row, 0]),
            "number": float(np.median(number)),
            "spread": float(number.std() / number.mean()),
            "spread_of_epochs": float(epochs.std() / epochs.mean()),
        })  # fmt: skip
    return {
        "command": "ghostpoint reproduce --scale paper --only plateau",
        "processor_seconds": seconds,
        "networks": dataset.sizes["network"],
        "condition_seeds": dataset.sizes["condition_seed"],
        "rates": rates,
        "conditions": conditions,
        "extensions": extensions,
        "adam": adam,
        "learn": dataset["named_seed"].values[dataset["learned"].values].tolist(),
        "named": dataset["named_seed"].values[dataset["named"].values].tolist(),
        "lowest_rate": dataset["lowest_rate"].values.tolist(),
        "claims": [claim.to_dict() for claim in get("plateau").claims(dataset, parameters)],
    }


def table_of_rates(saved):
    """Predicted over measured epochs of the published networks."""
    lines = ["| rate | " + " | ".join(WORDS.values()) + " |", "|---" * (len(WORDS) + 1) + "|"]
    for rate, row in saved["rates"].items():
        cells = [f"{row[name][0]:.4f} ({row[name][1]:.4f} to {row[name][2]:.4f})" for name in WORDS]
        lines.append(f"| {rate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_of_conditions(saved):
    """Predicted over measured epochs where one thing is changed."""
    lines = ["| changed | within the range | " + " | ".join(WORDS.values()) + " |", "|---" * (len(WORDS) + 2) + "|"]
    for name, row in saved["conditions"].items():
        first = row["overlaps"]
        cells = [f"{first[0]:.4f} ({first[1]:.4f} to {first[2]:.4f})" if first else "-"]
        cells += [f"{row[method][0]:.3f}" if row[method] else "-" for method in list(WORDS)[1:]]
        valid = f"{row['valid']} of {saved['condition_seeds']}"
        lines.append(f"| {name.replace('_', ' ')} | {valid} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_of_extensions(saved):
    """Predicted over measured epochs beyond gradient descent of rank one; all within the range."""
    columns = ("networks", "rate, median", "epoch, median", "within the range", "overlaps", "worst error",
               "linear units", "at rest", "integral")  # fmt: skip
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in saved["extensions"]:
        cells = [
            row["extension"],
            *(["-", "-"] if row["rate"] is None else [f"{row['rate']:.2g}", f"{row['epoch']:.0f}"]),
        ]
        cells.append(f"{row['valid']} of {saved['condition_seeds']}")
        if found := row["overlaps"]:
            middle, low, high, least, most = found
            cells += [f"{middle:.4f} ({low:.4f} to {high:.4f})", f"{100 * max(1 - least, most - 1):.1f} %"]
        else:
            cells += ["-", "-"]
        cells += [f"{row[method][0]:.3f}" if row[method] else "-" for method in list(WORDS)[1:]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_of_adam(saved):
    """How far one number gives the plateau of Adam."""
    lines = ["| networks | rate | epoch x rate sum abs n_i / (1 - m.n), median | spread of it | spread of epochs |"]
    lines.append("|---" * 5 + "|")
    for row in saved["adam"]:
        spreads = f"{100 * row['spread']:.1f} % | {100 * row['spread_of_epochs']:.1f} %"
        lines.append(f"| {row['extension']} | {row['rate']:g} | {row['number']:.3f} | {spreads} |")
    return "\n".join(lines)


def list_of_claims(saved):
    """Sentence, verdict and what was measured, at 100 columns."""
    texts = [f"* {each['sentence']} **{each['verdict']}**: {each['measured']}." for each in saved["claims"]]
    return "\n".join(fill(text, 100, subsequent_indent="  ", break_on_hyphens=False) for text in texts)


TABLES = {
    "rates": table_of_rates,
    "conditions": table_of_conditions,
    "extensions": table_of_extensions,
    "adam": table_of_adam,
    "claims": list_of_claims,
}


def page(text, saved):
    """``text`` with its tables made anew."""
    for name, make in TABLES.items():
        start = START.format(name)
        before, after = text.split(start)
        text = f"{before}{start}\n\n{make(saved)}\n\n{after[after.index(END) :]}"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    parameters = get("plateau").parameters["paper"]
    start = time.process_time()
    if arguments.folder:
        dataset, seconds = read_dataset(arguments.folder / "plateau" / "data.zarr.zip"), None
    else:
        dataset = get("plateau").run(parameters, Silent())
        seconds = round(time.process_time() - start)
    saved = summary(dataset, parameters, seconds)
    figures.draw("plateau", dataset).savefig(ROOT / "docs/images/plateau.png", dpi=110)
    write_json_atomic(saved, RESULTS)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
