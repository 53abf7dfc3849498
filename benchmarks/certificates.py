"""Whether any proof is wrong about small networks at which proofs are most likely to go wrong.

The cases, and how each proof is checked by Newton's method in 80 digits, are those of
`tests/slow_points/certificate_cases.py`. The program goes on where a file of results ends.

    python -m benchmarks.certificates --cases 10000 --output benchmarks/results/certificates.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tests.slow_points.certificate_cases import KINDS, checked

from ghostpoint import __version__

EVERY = 50  # cases after which the results are saved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/certificates.json"))
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "version": __version__,
        "cases": 0,
        "kinds": {kind: {"cases": 0, "proofs": 0} for kind in KINDS},
        "wrong": {},
    }
    if arguments.output.exists():
        results = json.loads(arguments.output.read_text())
    for seed in range(results["cases"], arguments.cases):
        found, proofs = checked(seed)
        of_kind = results["kinds"][KINDS[seed % len(KINDS)]]
        of_kind["cases"] += 1
        of_kind["proofs"] += proofs
        if found:
            results["wrong"][str(seed)] = found
            print(seed, KINDS[seed % len(KINDS)], "; ".join(found), flush=True)
        results["cases"] = seed + 1
        if (seed + 1) % EVERY == 0 or seed + 1 == arguments.cases:
            arguments.output.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{seed + 1} cases, {len(results['wrong'])} with a wrong certificate", flush=True)


if __name__ == "__main__":
    main()
