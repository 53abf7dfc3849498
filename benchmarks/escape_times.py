"""Passages of ghosts: predicted by the normal form and along the slow manifold, and simulated with
the whole network.

Networks are taken from straight paths of weights, beside the folds that `track_slow_points` finds
on them, on the side of the ghost. The path of rank one moves one bias, and with it the whole flow,
up; that of full rank scales a random W. The network runs from -y until its slow coordinate
``w . (x - ghost) / (w . v)`` passes +y, with ``y = reach sqrt(r / a)``, by the Euler map with alpha
= dt / tau, in steps, interpolated between the last two. Two predictions:

* of the normal form, `SlowPoints.passage_steps`, for a start at ``ghost - y v``;
* of the network along its slow manifold, `slow_passage`, with its error bar, for a start on that
  curve (and, with ``off_curve`` added, for the other start).

Only ghosts that attract in all other directions are taken, and cells with ``alpha a y <= 1/2``; the
table splits them by whether the map also does, and with a second eigenvalue of the flow below -0.1
("alone"), or not: then the slow direction is not the only slow one.

    python benchmarks/escape_times.py --networks 24 --output benchmarks/results/escape_times.json
    python benchmarks/escape_times.py --saved benchmarks/results/escape_times.json --figure
    docs/images/escape_times.png
"""

from __future__ import annotations

import argparse
import json
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.slow_points import Event, SlowPoints, find_slow_points, slow_passage, track_slow_points

Floats = NDArray[np.float64]
DISTANCES = (3e-2, 1e-2, 1e-3, 1e-4)  # from the fold, in units of the path's length
ALPHAS = (0.5, 0.1)
REACHES = (3.0, 1.0)
ALONE = -0.1
#: seeds below this were looked at while the error bar was being made
SETTLED_ON = 12


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
        np.linspace(1.0, 1.8, epochs)[:, None, None] * W,
        b,
        w_out=np.zeros((epochs, 1, units)),
        b_out=np.zeros((epochs, 1)),
    )


def between(path: LowRankRNN | FullRankRNN, share: float) -> LowRankRNN | FullRankRNN:
    """The network at ``share`` of the path."""
    first, last = path[0].arrays(), path[len(path) - 1].arrays()
    parts = {name: (1 - share) * first[name] + share * last[name] for name in path.parts if name in first}
    return path[0].replace(**parts)


def simulated(
    model: LowRankRNN | FullRankRNN, ghost: SlowPoints, start: Floats, y: float, alpha: float, limit: float
) -> float:
    """Steps of the map from a start with the slow coordinate -y to y, NaN if it goes elsewhere."""
    v, w, at = ghost.slow_direction[0], ghost.left_vector[0], ghost.position[0]
    x, before = start[None], -y
    for step in range(int(limit)):
        x = model.step(x, alpha)
        now = float(w @ (x[0] - at) / (w @ v))
        if now >= y:
            return step + (y - before) / (now - before)
        before = now
    return float("nan")


def on_curve(model: LowRankRNN | FullRankRNN, ghost: SlowPoints, kappa: Floats) -> Floats:
    """The state of the curve's first point; of a low-rank network the one with these latents
    nearest to the ghost.
    """
    if isinstance(model, FullRankRNN):
        return kappa
    n = model.n[0]
    return np.asarray(ghost.position[0] + n @ np.linalg.solve(n.T @ n, kappa - n.T @ ghost.position[0]))


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
        if not ghosts.attracts_across.any():
            continue
        ghost = ghosts[ghosts.attracts_across][0]
        r, a = float(ghost.r[0]), float(ghost.a[0])
        for reach, alpha in product(REACHES, ALPHAS):
            y = reach * float(np.sqrt(r / a))
            if alpha * a * y > 0.5:
                continue
            timed = SlowPoints(**{**vars(ghost), "tau": 1.0, "dt": alpha})
            steps = float(timed.passage_steps(-y, y)[0])
            end_to_end = float(ghost.escape_time[0]) / alpha
            limit = 20 * end_to_end + 100
            line = ghost.position[0] - y * ghost.slow_direction[0]
            measured = simulated(model, ghost, line, y, alpha, limit)
            passage = slow_passage(model, ghost, -y, y, alpha=alpha)
            along = float("nan")
            if len(passage.y):
                along = simulated(model, ghost, on_curve(model, ghost, passage.latent_or_state[0]), y, alpha, limit)
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
                    "reach": reach,
                    "y": y,
                    "predicted_steps": steps,
                    "flow_time_over_alpha": float(ghost.passage_time(-y, y)[0]) / alpha,
                    "end_to_end_over_alpha": end_to_end,
                    "simulated_steps": measured,
                    "simulated_over_predicted": measured / steps,
                    "manifold_steps": passage.duration,
                    "manifold_error": passage.error,
                    "manifold_off_curve": passage.off_curve,
                    "manifold_reason": passage.reason,
                    "simulated_on_curve": along,
                }
            )
    return rows


def draw(rows: list[dict[str, float | int | str]], path: str) -> None:
    """Simulated over predicted against the predicted steps, by the normal form (above) and along
    the manifold (below).

    Passages within 3 sqrt(r/a). Above: every ghost that is alone, with median and range from 5 to
    95 % of each cell.
    Below: every passage that has an error bar, with it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row", sharex="col")
    for column, (network, title) in enumerate((("LowRankRNN", "Rank one"), ("FullRankRNN", "Full rank"))):
        some = [row for row in rows if row["network"] == network and row["reach"] == REACHES[0]]
        above, below = panels[0, column], panels[1, column]
        for alone, colour, label in (
            (True, "#1f4e79", "slow direction alone"),
            (False, "#c0392b", "not alone: not predicted"),
        ):
            mine = [row for row in some if _alone(row) == alone and np.isfinite(float(row["simulated_over_predicted"]))]
            x = [float(row["predicted_steps"]) for row in mine]
            ratios = [float(row["simulated_over_predicted"]) for row in mine]
            above.plot(x, ratios, ".", color=colour, ms=3, alpha=0.4, label=label)
            for distance, alpha in product(DISTANCES, ALPHAS) if alone else ():
                cell = [row for row in mine if (row["distance_from_fold"], row["alpha"]) == (distance, alpha)]
                if cell:
                    ratio = [float(row["simulated_over_predicted"]) for row in cell]
                    low, middle, high = np.quantile(ratio, [0.05, 0.5, 0.95])
                    at = np.median([float(row["predicted_steps"]) for row in cell])
                    bar = [[middle - low], [high - middle]]
                    above.errorbar(at, middle, bar, fmt="o", color=colour, ms=4, capsize=3)
            known = [row for row in some if _alone(row) == alone and not row["manifold_reason"]]
            predicted = np.array([float(row["manifold_steps"]) for row in known])
            ratio = np.array([float(row["simulated_on_curve"]) for row in known]) / predicted
            bar = np.array([float(row["manifold_error"]) for row in known]) / predicted
            below.errorbar(predicted, ratio, bar, fmt=".", color=colour, ms=3, capsize=2, lw=0.8)
        for axes in (above, below):
            axes.axhspan(0.95, 1.05, color="#dddddd", zorder=0, label="5 %")
            axes.axvline(50, color="#888888", lw=0.8, ls=":")
        above.set(xscale="log", title=title, ylim=(0.5, 1.25))
        below.set(xlabel="predicted steps", ylim=(0.88, 1.12))
        above.legend(fontsize=7, loc="lower right")
    panels[0, 0].set_ylabel("normal form\nsimulated / predicted")
    panels[1, 0].set_ylabel("slow manifold, with error bars\nsimulated / predicted")
    figure.savefig(path, dpi=160)


def _alone(row: dict[str, float | int | str]) -> bool:
    return float(row["second_eigenvalue"]) < ALONE and row["unstable_under_map"] == 0


def table(rows: list[dict[str, float | int | str]]) -> None:
    """Both predictions, by network, reach, alone or not, distance and alpha."""
    print(
        "network      reach  alone  distance  alpha  passages  steps (median)  normal form: simulated / predicted,"
        " median, 5 to 95 %  |  slow manifold: with error bar, simulated / predicted, all of them, within the bar"
    )
    for network, reach, alone, distance, alpha in product(
        ("LowRankRNN", "FullRankRNN"), REACHES, (True, False), DISTANCES, ALPHAS
    ):
        some = [
            row
            for row in rows
            if (row["network"], row["reach"], row["distance_from_fold"], row["alpha"])
            == (network, reach, distance, alpha)
            and _alone(row) == alone
        ]
        if some:
            ratio = np.array([row["simulated_over_predicted"] for row in some], dtype=float)
            low, middle, high = np.nanquantile(ratio, [0.05, 0.5, 0.95])
            steps = np.nanmedian([float(row["simulated_steps"]) for row in some])
            elsewhere = int(np.isnan(ratio).sum())
            print(
                f"{network:12} {reach:5.0f}  {alone!s:5} {distance:9.0e} {alpha:6} {len(some):9d} {steps:15.1f}  "
                f"{middle:.4f}, {low:.4f} to {high:.4f}; {elsewhere} went elsewhere  |  {covered(some)}"
            )
    for network, reach, alone in product(("LowRankRNN", "FullRankRNN"), REACHES, (True, False)):
        some = [row for row in rows if (row["network"], row["reach"]) == (network, reach) and _alone(row) == alone]
        long = [row for row in some if float(row["predicted_steps"]) > 50]
        if long:
            near = [row for row in long if abs(float(row["simulated_over_predicted"]) - 1) <= 0.05]
            words = "alone" if alone else "not alone"
            print(
                f"{network}, reach {reach:.0f}, {words}, above 50 steps: normal form within 5 % for "
                f"{len(near)} of {len(long)}; slow manifold {covered(long)}; {beside_curve(long)}"
            )
            later = [row for row in long if int(row["seed"]) >= SETTLED_ON]
            print(f"    of these, networks that nothing was settled on: {covered(later)}")


def beside_curve(rows: list[dict[str, float | int | str]]) -> str:
    """Starts at ``ghost - y v``, beside the curve: simulated over ``duration + off_curve``, and
    over the duration.
    """
    known = [row for row in rows if not row["manifold_reason"]]
    simulated_steps = np.array([row["simulated_steps"] for row in known], dtype=float)
    predicted = np.array([row["manifold_steps"] for row in known], dtype=float)
    shift = np.array([row["manifold_off_curve"] for row in known], dtype=float)
    with_it, without = np.abs(simulated_steps / (predicted + shift) - 1), np.abs(simulated_steps / predicted - 1)
    return (
        f"a start beside the curve is off by at most {with_it.max(initial=0):.4f} (median "
        f"{np.median(with_it) if len(known) else 0:.5f}), without off_curve {without.max(initial=0):.4f}"
    )


def covered(rows: list[dict[str, float | int | str]]) -> str:
    """Of the passages with an error bar: how many, the range of simulated over predicted, how many
    within the bar.
    """
    known = [row for row in rows if not row["manifold_reason"]]
    if not known:
        return f"0 of {len(rows)}"
    simulated_steps = np.array([row["simulated_on_curve"] for row in known], dtype=float)
    predicted = np.array([row["manifold_steps"] for row in known], dtype=float)
    error = np.array([row["manifold_error"] for row in known], dtype=float)
    within = np.abs(simulated_steps - predicted) <= error
    ratio = simulated_steps / predicted
    return f"{len(known)} of {len(rows)}, {ratio.min():.4f} to {ratio.max():.4f}, {int(within.sum())} within the bar"


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
            saved = json.load(file)["rows"]
        table(saved)
        draw(saved, options.figure)
        return
    rows = []
    for make in (low_rank_path, full_rank_path):
        for seed in range(options.networks):
            path = make(seed)
            tracks = track_slow_points(path, n_starts=48)
            folds = [event for event in tracks.events if event.kind in ("pair died", "pair born")]
            for event in folds:
                rows += beside(path, event, len(path), seed)
    table(rows)
    if options.figure:
        draw(rows, options.figure)
    if options.output:
        settings = {"networks": options.networks, "distances": DISTANCES, "alphas": ALPHAS, "reaches": REACHES}
        write(options.output, settings, rows)


def write(path: str, settings: dict[str, object], rows: list[dict[str, float | int | str]]) -> None:
    """JSON, a row a line."""
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{{"settings": {json.dumps(settings)},\n "rows": [\n  {lines}\n]}}\n')


if __name__ == "__main__":
    main()
