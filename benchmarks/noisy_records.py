"""How often noise on a smooth loss is called abrupt learning, and how often a drop in the same
noise is seen.

    python benchmarks/noisy_records.py [--json benchmarks/results/noisy_records.json]

Smooth losses are those of ``smooth_law`` in tests/diagnosis/unusual_records.py, drops fall from 0.7
to 0.05 in under 1 % of the record. The noise is a share of the loss itself, or of the whole drop.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.diagnosis import put  # noqa: E402
from tests.diagnosis.unusual_records import Epochs, smooth_law  # noqa: E402

from ghostpoint.diagnosis import diagnose  # noqa: E402

LENGTHS, NOISES, EACH = (20, 50, 100, 200, 400), (0.03, 0.1, 0.2, 0.3), 200
ABRUPT = ("abrupt learning", "staircase learning")


def counted(n: int, noise: float, grows: bool) -> dict[str, Any]:
    """Of :data:`EACH` smooth records and as many drops: how many verdicts are of an abrupt drop."""
    found = {"smooth": 0, "drop": 0}
    for seed in range(EACH):
        d = Epochs(np.random.default_rng([seed, n]), n)
        for name, course in (("smooth", smooth_law(d)), ("drop", 0.7 - 0.65 * d.jump(0.3, 0.7))):
            e = d.normal(noise)
            loss = course * np.exp(e) if grows else course + np.ptp(course) * e
            found[name] += diagnose(loss).findings[0].verdict in ABRUPT
    kind = "share of the loss" if grows else "share of the drop"
    return {"points": n, "noise": noise, "kind": kind, "records": EACH, **found}


def page(rows: list[dict[str, Any]]) -> list[str]:
    """The table of the docs."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    head = [f"{name}: noise a {kind}" for name in ("smooth, called abrupt", "drops seen") for kind in kinds]
    lines = [f"| points | noise | {' | '.join(head)} |", "|---" * (len(head) + 2) + "|"]
    for n, noise in dict.fromkeys((row["points"], row["noise"]) for row in rows):
        mine = [row for row in rows if (row["points"], row["noise"]) == (n, noise)]
        shares = [f"{100 * row[name] / row['records']:.3g} %" for name in ("smooth", "drop") for row in mine]
        lines.append(f"| {n} | {100 * noise:g} % | {' | '.join(shares)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to save the figures; the table in the docs follows")
    options = parser.parse_args()
    rows = [counted(n, noise, grows) for n in LENGTHS for noise in NOISES for grows in (True, False)]
    print("\n".join(page(rows)))
    if options.json:
        lines = ",\n".join(json.dumps(row) for row in rows)
        command = json.dumps(f"python benchmarks/noisy_records.py --json {options.json}")
        options.json.write_text(f'{{"command": {command}, "rows": [\n{lines}\n]}}\n')
        put(ROOT / "docs" / "diagnosis.md", "noisy", page(rows), "benchmarks/noisy_records.py")


if __name__ == "__main__":
    main()
