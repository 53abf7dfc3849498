"""Predicted against measured critical learning rates of rank-one networks.

    python benchmarks/critical_rate.py [--delays 8 12 16 24] [--networks 20] [--first-seed 100]
    [--units 100]
        [--confidence 10] [--decade-window 1.2] [--json FILE]

Prediction: short descents from just before the first crossing. Measurement: 30,000 epochs, or more
where the plateau takes longer, from the initial weights at every rate of the same grid.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import ghostpoint as gp
from ghostpoint.critical_rate import GRID, critical_learning_rate
from ghostpoint.critical_rate.measurement import EPOCHS

#: roughly where the critical rate of a delay of 8 steps is, and its exponent; only chooses the
#: rates that are trained
WHERE, EXPONENT = 0.09, -1.8


def compare(delay: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Ratios predicted / measured at one delay."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.networks)
    models = gp.LowRankRNN.initialize(arguments.units, seeds, confidence=arguments.confidence)
    centre = np.log10(WHERE * (delay / 8) ** EXPONENT)
    rates = GRID[np.abs(np.log10(GRID) - centre) <= arguments.decade_window / 2]
    task = gp.tasks.DelayedActivation(5.0 * delay)
    # epochs for nine of ten networks to learn at half the middle rate, and as long again
    plateau = float(np.quantile(gp.theory.Plateau.of(models, task).crossing[:, 0], 0.9))
    epochs = max(EPOCHS, 2 * round(plateau / (0.5 * 10**centre))) if np.isfinite(plateau) else EPOCHS
    result = critical_learning_rate(models, task, measure=True, rates=rates, epochs=epochs)
    assert result.measured is not None
    ratio = result.predicted / result.measured
    both = ratio[np.isfinite(ratio)]
    low, middle, high = np.quantile(both, [0.1, 0.5, 0.9]) if len(both) else [np.nan] * 3
    return {
        "delay": delay,
        "measured": float(np.nanmedian(result.measured)),
        "predicted": float(np.nanmedian(result.predicted)),
        "ratio": [float(low), float(middle), float(high)],
        "within_2": float(np.mean(np.abs(np.log2(both)) <= 1.01)) if len(both) else np.nan,
        "networks": len(both),
        "not_compared": int(len(ratio) - len(both)),
    }


def main() -> None:
    """Compare, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delays", type=int, nargs="+", default=[8, 12, 16, 24], help="in steps")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--confidence", type=float, default=10.0)
    parser.add_argument("--decade-window", type=float, default=1.2, help="of rates, in powers of ten")
    parser.add_argument("--json", type=Path, help="where to save the figures")
    arguments = parser.parse_args()
    rows = []
    print(
        f"{'delay':>5s} {'measured':>9s} {'predicted':>9s}  ratio: 10 %, median, 90 %   within 2   networks (left out)"
    )
    for delay in arguments.delays:
        row = compare(delay, arguments)
        rows.append(row)
        low, middle, high = row["ratio"]
        print(
            f"{delay:5d} {row['measured']:9.3g} {row['predicted']:9.3g} {low:12.2f} {middle:7.2f} {high:6.2f} "
            f"{row['within_2']:10.2f} {row['networks']:6d} ({row['not_compared']})"
        )
    if arguments.json:
        settings = {name: value for name, value in vars(arguments).items() if name != "json"}
        arguments.json.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
