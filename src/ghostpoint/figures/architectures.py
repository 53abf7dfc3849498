"""Other architectures: loss curves, drops, rates that learn, critical rates over the delay,
confidence at the collapse, and ghosts at the drop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ghostpoint.figures.style import MUTED, SEQUENCE, Drawing, few_ticks, letters, new_figure, say, styled

LABELS = {
    "tanh": "leaky tanh",
    "relu": "leaky ReLU",
    "gru": "GRU",
    "lstm": "LSTM",
    "convolution": "convolution",
    "transformer": "transformer",
}
COLOURS = dict(zip(LABELS, SEQUENCE, strict=False))
TASKS = ("delayed activation", "cue discrimination", "match to sample", "sign of the input")


def _plain(dataset: xr.Dataset, architecture: str, task: str) -> xr.Dataset:
    """The cases without a remedy, by delay."""
    chosen = [
        row
        for row, each in enumerate(
            zip(*(dataset[name].values for name in ("architecture", "task", "treatment")), strict=True)
        )
        if each == (architecture, task, "plain")
    ]
    part = dataset.isel(case=chosen)
    return part.isel(case=np.argsort(part["delay"].values, kind="stable"))


def _middle(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


@styled()
def draw(dataset: xr.Dataset) -> Figure:
    """Six panels, an architecture a colour."""
    figure, panels = new_figure(3, 2, width=11.5, height=3.3)
    curves, ratios, shares, delays, logits, ghosts = panels
    task = TASKS[1] if TASKS[1] in dataset["task"].values else TASKS[0]
    for number, (name, label) in enumerate(LABELS.items()):
        own = dataset["architecture"].values == name
        if not np.isfinite(dataset["share_kept"].values[own]).any() and name not in dataset["cell"].values:
            continue  # not trained in this run
        look: dict[str, Any] = {"color": COLOURS[name], "label": label}
        cases = _plain(dataset, name, task)
        if cases.sizes["case"]:
            curves.plot(1 + cases["curve_epoch"].values[0], cases["shown_curve"].values[0], lw=1.1, **look)
        for place, each in enumerate(TASKS):
            cases = _plain(dataset, name, each)
            if cases.sizes["case"]:
                values = cases["drop_ratio"].values[-1]
                at = place + 0.12 * (number - 2.5)
                ratios.plot(np.full(len(values), at), values, ".", ms=2, color=COLOURS[name])
                ratios.plot(at, _middle(values), "_", ms=9, color=COLOURS[name])
        cases = _plain(dataset, name, TASKS[0])
        if cases.sizes["case"]:
            shares.plot(dataset["rate"], cases["share_kept"].values[0], "o-", ms=3, lw=1, **look)
            middle = [_middle(row) for row in cases["critical"].values]
            delays.plot(cases["delay"], middle, "o-", ms=3, lw=1, **look)
        part = dataset.isel(case=np.flatnonzero(own & (dataset["treatment"].values == "plain")))
        lost = np.isfinite(part["logit_collapse"].values)
        logits.plot(part["logit_learned"].values[lost], part["logit_end"].values[lost], ".", ms=3, **look)
        if name in dataset["cell"].values:
            stay = dataset["ghost_dwell"].sel(cell=name).values
            ghosts.plot(range(len(stay)), [_middle(row) for row in stay], "o-", ms=3, lw=1, **look)
    curves.set(xscale="log", xlabel="epoch", ylabel="loss (of the plateau)", title=task.capitalize(), ylim=(0, 1.6))
    curves.legend(fontsize=7)
    ratios.axhline(1, color=MUTED, lw=0.8, zorder=0)
    ratios.set(yscale="log", ylabel="epochs of drop / of plateau", title="Abruptness")
    ratios.set_xticks(range(len(TASKS)), [each.replace(" ", "\n") for each in TASKS], fontsize=7.5)
    shares.set(
        xscale="log", xlabel="learning rate", ylabel="share kept", title="Delayed activation", ylim=(-0.03, 1.03)
    )
    known = dataset["delay"].values[(dataset["task"].values == TASKS[0]) & (dataset["treatment"].values == "plain")]
    if len(known):
        ends = np.array([known.min(), known.max()], float)
        delays.plot(ends, 3 * (ends / ends[0]) ** -2, ":", color=MUTED)
    delays.set(xscale="log", yscale="log", xlabel="delay T (steps)", ylabel="critical rate", title="Over the delay")
    delays.minorticks_off()
    delays.set_xticks(np.unique(known), [f"{delay:g}" for delay in np.unique(known)])
    few_ticks(delays.yaxis)
    low, high = 0.2, 200.0
    if not any(np.size(line.get_xdata()) for line in logits.lines):
        say(logits, "no network lost what it had learned")
    logits.plot([low, high], [low, high], color=MUTED, lw=0.8, zorder=0)
    logits.set(
        xscale="log", yscale="log", xlabel="mean |logit| when learned", ylabel="at the end", title="Lost networks"
    )
    logits.set(xlim=(low, 1e3), ylim=(1e-8, 1e5))
    if dataset.sizes["cell"]:
        ghosts.set_xticks(
            range(dataset.sizes["moment"]), [str(m).replace(" of the ", "\n") for m in dataset["moment"].values]
        )
        ghosts.tick_params(axis="x", labelsize=7)
        ghosts.set(ylabel="longest stay at a ghost (T)", title="Ghosts passed around the drop")
    else:
        say(ghosts, "no slow points were searched in this run")
    letters(panels)
    return figure


COMPARED = Drawing(
    draw,
    "A: loss of one network of each architecture at the highest rate of the grid up to half of its critical one. B: "
    "epochs of the drop from 0.9 to 0.1 of the plateau's loss over epochs of the plateau before it, at the longest "
    "delay, a dot a network, bars their medians; below the line the drop is abrupt. C: share of networks that end with "
    "the shortest delayed activation solved. D: critical rates over the delay, medians; dotted: T^-2. E: "
    "networks that learned and lost it again, mean |logit| when they had learned and at the end (some lie outside). F: "
    "longest stay of the trial's trajectory at a ghost that it passes, in units of the delay, medians.",
)
