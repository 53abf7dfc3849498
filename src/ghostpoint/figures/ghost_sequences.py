"""Passages of ghosts: their times over mu, a cycle, and the trials of trained networks."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import ACCENT, GHOST, GOOD, LOST, MUTED, SEQUENCE, Drawing, letters, new_figure, styled


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Times, a cycle, rank one, rank two."""
    figure, panels = new_figure(2, 2, height=3.2)
    times, cycle, rank_one, rank_two = panels
    for name, colour in zip(dataset["system"].values, SEQUENCE * 2, strict=False):
        one = dataset.sel(system=name)
        times.plot(one["mu"], one["dwell"], "o", ms=3, color=colour, label=str(name))
        times.plot(one["mu"], one["expected"], lw=0.8, color=colour)
    times.set(xscale="log", yscale="log", xlabel="mu", ylabel="time at a ghost (tau)", title="Passages")
    times.legend(fontsize=6)

    cycle.plot(dataset["shown_time"], dataset["shown_speed"], color=ACCENT)
    places = sorted(set(dataset["shown_point"].values.tolist()))
    for enter, leave, point in zip(*(dataset[f"shown_{n}"].values for n in ("enter", "leave", "point")), strict=True):
        cycle.axvspan(
            enter, leave, color=GHOST, alpha=0.15 + 0.25 * places.index(point) / max(len(places) - 1, 1), lw=0
        )
    cycle.set(yscale="log", xlabel="time (tau)", ylabel="speed |F| (1/tau)", title="A cycle of three ghosts")

    dwell, told = dataset["ghost_dwell"].values, dataset["ghost_predicted"].values
    rank_one.plot(told[1], dwell[1], "o", ms=3, color=GOOD, label="after training")
    if np.isfinite(dwell[0]).any():
        rank_one.plot(told[0], dwell[0], "o", ms=3, color=LOST, label="before")
    finite = dwell[np.isfinite(dwell)]
    ends = [finite.min(), finite.max()] if len(finite) else [0.0, 1.0]
    rank_one.plot(ends, ends, color=MUTED, lw=0.8, zorder=0)
    rank_one.axhline(dataset.attrs["delay_in_tau"], color=MUTED, lw=0.8, ls="--", zorder=0)
    rank_one.set(xlabel="the form says (tau)", ylabel="time at the ghost (tau)", title="Trials of rank-one networks")
    rank_one.legend()

    order = np.argsort(dataset["cue_loss"].values)
    order = order[dataset["cue_held"].values[order].any(axis=1)]
    held, left = dataset["cue_held"].values[order], np.zeros(len(order))
    for column, (name, colour) in enumerate(zip(dataset["last"].values, (ACCENT, GHOST, MUTED), strict=True)):
        rank_two.bar(range(len(order)), held[:, column], bottom=left, color=colour, label=str(name))
        left = left + held[:, column]
    rank_two.set(
        xlabel="networks that have learned, by loss", ylabel="trials that end at", title="Trials of rank-two networks"
    )
    rank_two.set_ylim(0, 1.35 * max(float(left.max(initial=0.0)), 1.0))
    rank_two.legend(ncols=3)
    letters(panels)
    return figure


GHOST_SEQUENCES = Drawing(
    draw,
    "A: time that trajectories stay at ghosts of five systems (dots), and pi / sqrt(mu a) (lines). B: speed along two "
    "turns of a cycle of three ghosts; shaded: the visits, one shade a ghost. C: trials of rank-one networks after "
    "training, time at the ghost that they pass against what its normal form says; dashed: the delay. D: what trials "
    "of rank-two networks are at when they end, by network.",
)
