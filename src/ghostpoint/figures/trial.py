"""The trials of a task: what is shown, what should be answered, and which answers count."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, number, shape
from ghostpoint.figures.style import ACCENT, INK, LOST, MUTED, SEQUENCE, new_figure, styled

#: height of a row of panels and of each further channel in it, in inches
ROW, CHANNEL = 1.25, 0.45
SHADE = "#e4e7eb"


class TrialArrays(Protocol):
    """Anything with the arrays of a trial, such as :class:`ghostpoint.tasks.Trial`."""

    @property
    def inputs(self) -> NDArray[Any]:
        """(trial, step, input channel)."""

    @property
    def targets(self) -> NDArray[Any]:
        """(trial, step, output channel)."""

    @property
    def mask(self) -> NDArray[Any]:
        """(trial, step, output channel), True where an answer counts."""


@styled()
def draw_trial(trial: TrialArrays, dt: float, *, outputs: ArrayLike | None = None, most: int = 4) -> Figure:
    """Inputs over targets over time in ms, a column per trial; grey where no answer counts.

    Step t is drawn as the span from ``t dt`` to ``(t + 1) dt``. Several channels stand above each
    other, the first on top, a zero line under each.

    Parameters
    ----------
    trial : Trial
    dt : float
        Step in ms.
    outputs : (trial, step, output channel) array, optional
        Answers of a network, drawn over the targets.
    most : int
        Trials drawn at most, from the first on.

    Raises
    ------
    ValueError
        For a dt that is not positive, ``most`` below 1, and outputs of another shape than the
        targets.
    """
    number("dt", dt, above=0)
    count = min(integer("most", most, at_least=1), len(trial.targets))
    answers = None if outputs is None else shape("outputs", finite_array("outputs", outputs), trial.targets.shape)
    edges = np.arange(trial.targets.shape[1] + 1) * dt
    channels = [trial.inputs.shape[2], trial.targets.shape[2]]
    rows = [row for row in (0, 1) if channels[row]]
    heights = [ROW + CHANNEL * (channels[row] - 1) for row in rows]
    width = max(4.2, 1.0 + 2.1 * count)
    figure, flat = new_figure(count, len(rows), width, (sum(heights) + 0.9) / len(rows))
    panels = np.array(flat).reshape(len(rows), count)
    panels[0, 0].get_gridspec().set_height_ratios(heights)
    shown, wanted = trial.inputs[:count], trial.targets[:count]
    given = wanted if answers is None else np.concatenate([wanted, answers[:count]])
    for column in range(count):
        if channels[0]:
            _lanes(panels[0, column], shown)
            for channel, base in enumerate(_bases(shown)):
                colour = SEQUENCE[channel % len(SEQUENCE)] if channels[0] > 1 else INK
                values = shown[column, :, channel] + base
                panels[0, column].stairs(values, edges, baseline=None, color=colour, lw=1.3)
        last = panels[-1, column]
        _lanes(last, given)
        for channel, base in enumerate(_bases(given)):
            counts = trial.mask[column, :, channel]
            values = wanted[column, :, channel] + base
            low, high = _range(given)
            _shade(last, edges, ~counts, base + low, base + high)
            last.stairs(values, edges, baseline=None, color=MUTED, lw=1.0, ls=":")
            last.stairs(np.where(counts, values, np.nan), edges, baseline=None, color=ACCENT, lw=2.0, label="target")
            if answers is not None:
                answer = answers[column, :, channel] + base
                last.stairs(answer, edges, baseline=None, color=LOST, lw=1.2, label="output", zorder=3)
        last.set_xlabel("time (ms)")
        panels[0, column].set_title(f"trial {column + 1}" + (" (no input)" if not channels[0] else ""))
        for axes in panels[:, column]:
            axes.set_xlim(0, edges[-1])
            if axes is not last:
                axes.tick_params(labelbottom=False)
            if column:
                axes.tick_params(labelleft=False)
    for axes, row in zip(panels[:, 0], rows, strict=True):
        name = ("input", "target")[row]
        axes.set_ylabel(f"{name}s" if channels[row] > 1 else name)
    _legend(figure, panels[-1, 0], everything=bool(trial.mask[:count].all()))
    return figure


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """From the smallest to the largest value and 0; not empty, whatever the values."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    return low, high if high > low else low + 1.0


def _bases(values: NDArray[Any]) -> NDArray[Any]:
    """Heights of the channels' zero lines, the first channel on top, a little more than their range
    apart.
    """
    low, high = _range(values)
    return np.arange(values.shape[2])[::-1] * 1.25 * (high - low)


def _lanes(axes: Axes, values: NDArray[Any]) -> None:
    """The zero lines, and an axis that reads as values for one channel and as channels for more."""
    low, high = _range(values)
    bases = _bases(values)
    room = 0.12 * (high - low)
    axes.set_ylim(low - room, bases[0] + high + room)
    for base in bases:
        axes.axhline(base, color=MUTED, lw=0.5, zorder=0)
    if len(bases) > 1:
        axes.set_yticks(bases, [str(channel + 1) for channel in range(len(bases))])


def _shade(axes: Axes, edges: NDArray[Any], off: NDArray[Any], bottom: float, top: float) -> None:
    """A grey band behind the steps that do not count, within the range of their channel."""
    upper = np.where(off, top, bottom)
    axes.stairs(upper, edges, baseline=bottom, fill=True, color=SHADE, lw=0, zorder=0, label="does not count")


def _legend(figure: Figure, axes: Axes, *, everything: bool) -> None:
    """One legend under the panels, if there is more than the target to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    named = {label: handle for handle, label in zip(handles, labels, strict=True)}
    order = ["target", *([] if everything else ["does not count"]), *(["output"] if "output" in named else [])]
    if len(order) > 1:
        figure.legend([named[label] for label in order], order, loc="outside lower center", ncols=len(order))
