"""A sweep on a Dask cluster whose workers and driver are killed with -9, hundreds of times, beside
an undisturbed one: ``python benchmarks/sweep_faults.py [--kills N] [--shards N]``.

Prints where the kills came, whether all files are equal to the bit, and what is left over; the
figures go to ``benchmarks/results/sweep_faults.json``. The quick suite does the same with 20 kills.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--driver-kills", type=int, default=50)
    parser.add_argument("--shards", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--save", type=Path, default=ROOT / "benchmarks/results/sweep_faults.json")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.sweeps import faults

    import ghostpoint as gp

    faults.LIMIT = 3600 * 6
    with tempfile.TemporaryDirectory() as folder:
        file, out, calm = Path(folder) / "sweep.toml", Path(folder) / "out", Path(folder) / "calm"
        file.write_text(faults.TOML.format(rates=given.shards, epochs=given.epochs))
        start = time.monotonic()
        gp.sweep(file, calm)
        undisturbed = time.monotonic() - start
        hit, seconds = faults.disturbed(file, out, given.kills, given.driver_kills)
        one, other = faults.contents(out), faults.contents(calm)
        figures = {
            "shards": given.shards,
            "kills": hit,
            "files": len(one),
            "equal": sum(one[name] == other.get(name) for name in one),
            "left over": {name: len(list((out / name).iterdir())) for name in ("tmp", "damaged", "failures", "claims")},
            "seconds": round(seconds),
            "seconds undisturbed, not slowed": round(undisturbed),
        }
    print(json.dumps(figures, indent=2))
    given.save.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["equal"] == given.shards == len(other) else 1


if __name__ == "__main__":
    sys.exit(main())
