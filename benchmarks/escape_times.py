"""Passages of ghosts: predicted by the normal form at the ghost, and simulated with the whole network.

Networks are taken from straight paths of weights, beside the folds that `track_slow_points` finds on them, on the side
of the ghost. The path of rank one moves one bias, and with it the whole flow, up; that of full rank scales a random W.
The network starts at ``ghost - y v`` and runs until its slow coordinate ``w . (x - ghost) / (w . v)`` passes +y, with
``y = 3 sqrt(r / a)``: by the Euler map with alpha = dt / tau, in steps, interpolated between the last two. Prediction:
`SlowPoints.passage_steps` (and the flow's time over alpha, and pi / sqrt(r a) over alpha, end to end). Only ghosts that
attract in all other directions are taken; the table splits them by whether the map also does, and with a second
eigenvalue of the flow below -0.1 ("alone"), or not: then the slow direction is not the only slow one.

    python benchmarks/escape_times.py --output benchmarks/results/escape_times.json
    python benchmarks/escape_times.py --saved benchmarks/results/escape_times.json --figure docs/images/escape_times.png
"""

from __future__ import annotations

import argparse
import json
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.slow_points import Event, SlowPoints, find_slow_points, track_slow_points

Floats = NDArray[np.float64]
DISTANCES = (3e-2, 1e-2, 1e-3, 1e-4)  # from the fold, in units of the path's length
ALPHAS = (0.5, 0.1)
REACH = 3.0
ALONE = -0.1


def low_rank_path(seed: int, epochs: int = 5, units: int = 100) -> LowRankRNN:
    """One bias moved, so that the flow rises by a constant and crosses folds."""
    generator = np.random.default_rng(seed)
    m = generator.normal(size=units)
    n = (2 * m + 0.5 * generator.normal(size=units)) / units
    m[-1], n[-1] = 0.0, 4.0
    b = np.tile(0.2 * generator.normal(size=units), (epochs, 1))
    b[:, -1] = np.linspace(0.0, 0.3, epochs)
    return LowRankRNN(np.tile(m, (epochs, 1)), np.tile(n, (epochs, 1)), b)


def full_rank_path(seed: int, epochs: int = 4, units: int = 50) -> FullRankRNN:
    """W from gain 1 to 1.8 with a random bias."""
    generator = np.random.default_rng(seed)
    W = generator.normal(size=(units, units)) / np.sqrt(units)
    b = np.tile(0.1 * generator.normal(size=units), (epochs, 1))
    return FullRankRNN(
        np.linspace(1.0, 1.8, epochs)[:, None, None] * W, b, np.zeros((epochs, 1, units)), np.zeros((epochs, 1))
    )


def between(path: LowRankRNN | FullRankRNN, share: float) -> LowRankRNN | FullRankRNN:
    """The network at ``share`` of the path."""
    first, last = path[0].arrays(), path[len(path) - 1].arrays()
    parts = {name: (1 - share) * first[name] + share * last[name] for name in path.parts if name in first}
    return path[0].replace(**parts)


def simulated(model: LowRankRNN | FullRankRNN, ghost: SlowPoints, alpha: float, limit: float) -> float:
    """Steps of the map between the two ends, NaN if it goes elsewhere."""
    v, w, at = ghost.slow_direction[0], ghost.left_vector[0], ghost.position[0]
    y = REACH * float(np.sqrt(ghost.r[0] / ghost.a[0]))
    x, before = (at - y * v)[None], -y
    for step in range(int(limit)):
        x = model.step(x, alpha)
        now = float(w @ (x[0] - at) / (w @ v))
        if now >= y:
            return step + (y - before) / (now - before)
        before = now
    return float("nan")


def beside(path: LowRankRNN | FullRankRNN, event: Event, epochs: int, seed: int) -> list[dict[str, float | int | str]]:
    """Rows for one fold."""
    rows: list[dict[str, float | int | str]] = []
    at, side = event.epoch / (epochs - 1), 1.0 if event.kind == "pair died" else -1.0
    for distance in DISTANCES:
        share = at + side * distance
        if not 0 <= share <= 1:
            continue
        model = between(path, share)
        points = find_slow_points(model, states=event.position[None], n_starts=8, noise=1e-2)
        ghosts = points[(points.kind == "ghost") & (np.linalg.norm(points.position - event.position, axis=1) < 1.0)]
        attracts = (ghosts.eigenvalues.real > 1e-9).sum(axis=1) == 0
        if not attracts.any():
            continue
        ghost = ghosts[attracts][0]
        r, a = float(ghost.r[0]), float(ghost.a[0])
        y = REACH * float(np.sqrt(r / a))
        for alpha in ALPHAS:
            if alpha * a * y > 0.5:
                continue
            timed = SlowPoints(**{**vars(ghost), "tau": 1.0, "dt": alpha})
            steps = float(timed.passage_steps(-y, y)[0])
            end_to_end = float(ghost.escape_time[0]) / alpha
            measured = simulated(model, ghost, alpha, 20 * end_to_end + 100)
            rows.append(
                {
                    "network": type(path).__name__,
                    "units": path.n_units,
                    "seed": seed,
                    "certificate": str(ghost.certificate[0]),
                    "second_eigenvalue": float(ghost.eigenvalues[0].real[1]),
                    "unstable_under_map": int((np.abs(timed.map_eigenvalues[0, 1:]) > 1).sum()),
                    "distance_from_fold": distance,
                    "alpha": alpha,
                    "r": r,
                    "a": a,
                    "y": y,
                    "predicted_steps": steps,
                    "flow_time_over_alpha": float(ghost.passage_time(-y, y)[0]) / alpha,
                    "end_to_end_over_alpha": end_to_end,
                    "simulated_steps": measured,
                    "simulated_over_predicted": measured / steps,
                }
            )
    return rows


def draw(rows: list[dict[str, float | int | str]], path: str) -> None:
    """Simulated over predicted against the predicted steps: median and the range from 5 to 95 % of each cell."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, network, title in zip(panels, ("LowRankRNN", "FullRankRNN"), ("Rank one", "Full rank"), strict=True):
        of = [row for row in rows if row["network"] == network]
        for alone, colour, label in (
            (True, "#1f4e79", "slow direction alone"),
            (False, "#c0392b", "not alone: not predicted"),
        ):
            some = [row for row in of if _alone(row) == alone and np.isfinite(float(row["simulated_over_predicted"]))]
            x = [float(row["predicted_steps"]) for row in some]
            axes.plot(
                x,
                [float(row["simulated_over_predicted"]) for row in some],
                ".",
                color=colour,
                ms=3,
                alpha=0.4,
                label=label,
            )
            cells = product(DISTANCES, ALPHAS) if alone else ()
            for distance, alpha in cells:
                mine = [row for row in some if (row["distance_from_fold"], row["alpha"]) == (distance, alpha)]
                if mine:
                    ratio = [float(row["simulated_over_predicted"]) for row in mine]
                    low, middle, high = np.quantile(ratio, [0.05, 0.5, 0.95])
                    at = np.median([float(row["predicted_steps"]) for row in mine])
                    bar = [[middle - low], [high - middle]]
                    axes.errorbar(at, middle, bar, fmt="o", color=colour, ms=4, capsize=3)
        axes.axhspan(0.95, 1.05, color="#dddddd", zorder=0, label="5 %")
        axes.axvline(50, color="#888888", lw=0.8, ls=":")
        axes.set(xscale="log", xlabel="predicted steps", title=title, ylim=(0.5, 1.25))
        axes.legend(fontsize=7, loc="lower right")
    panels[0].set_ylabel("simulated / predicted steps")
    figure.savefig(path, dpi=160)


def _alone(row: dict[str, float | int | str]) -> bool:
    return float(row["second_eigenvalue"]) < ALONE and row["unstable_under_map"] == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--output", help="JSON file to write")
    parser.add_argument("--saved", help="draw the rows of this file, and measure nothing")
    parser.add_argument("--figure", help="PNG file to draw")
    options = parser.parse_args()
    if options.saved and not options.figure:
        parser.error("--saved draws a file's rows: say where with --figure")
    if options.saved:
        with open(options.saved, encoding="utf-8") as file:
            draw(json.load(file)["rows"], options.figure)
        return
    rows = []
    for make in (low_rank_path, full_rank_path):
        for seed in range(options.networks):
            path = make(seed)
            tracks = track_slow_points(path, n_starts=48)
            folds = [event for event in tracks.events if event.kind in ("pair died", "pair born")]
            for event in folds:
                rows += beside(path, event, len(path), seed)
    print("network      alone  distance  alpha  passages  steps (median)  simulated / predicted: median, 5 to 95 %")
    for network, alone, distance, alpha in product(("LowRankRNN", "FullRankRNN"), (True, False), DISTANCES, ALPHAS):
        some = [
            row
            for row in rows
            if (row["network"], row["distance_from_fold"], row["alpha"]) == (network, distance, alpha)
            and _alone(row) == alone
        ]
        if some:
            ratio = np.array([row["simulated_over_predicted"] for row in some], dtype=float)
            low, middle, high = np.nanquantile(ratio, [0.05, 0.5, 0.95])
            steps = np.nanmedian([float(row["simulated_steps"]) for row in some])
            print(
                f"{network:12} {alone!s:5} {distance:9.0e} {alpha:6} {len(some):9d} {steps:15.1f}  "
                f"{middle:.4f}, {low:.4f} to {high:.4f}; {int(np.isnan(ratio).sum())} went elsewhere"
            )
    if options.figure:
        draw(rows, options.figure)
    if options.output:
        settings = {"networks": options.networks, "distances": DISTANCES, "alphas": ALPHAS, "reach": REACH}
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump({"settings": settings, "rows": rows}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
