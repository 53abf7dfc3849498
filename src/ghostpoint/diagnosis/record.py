"""Records of a diagnosis: phases, the finding on one network, and the diagnosis of a stack of
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint._version import __version__
from ghostpoint.diagnosis.history import History
from ghostpoint.summary import Rows, Summarised

if TYPE_CHECKING:
    from ghostpoint.figures.style import Axes

__all__ = ["PHASES", "Diagnosis", "Finding", "Phase"]

Floats = NDArray[np.float64]
KIND = "diagnosis"
#: every phase and verdict there is
PHASES = (
    "plateau at chance",
    "plateau at a constant answer",
    "plateau above chance",
    "gradual learning",
    "abrupt learning",
    "staircase learning",
    "converged",
    "oscillation near a minimum",
    "no-learning zone",
    "rise of the loss",
    "restart of a schedule",
    "divergence",
    "recovered",
    "cannot tell",
)


@dataclass(frozen=True)
class Phase:
    """A stretch of training: one of :data:`PHASES`, its first and last recorded epoch, and numbers
    that show it.
    """

    name: str
    start: float
    end: float
    evidence: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.start:g} to {self.end:g}: {self.name}" + _listed(self.evidence, " (", ")")


@dataclass(frozen=True)
class Finding:
    """What is found of one network; the attributes are those of :class:`Diagnosis`."""

    verdict: str
    confidence: float
    phases: tuple[Phase, ...]
    evidence: Mapping[str, float]
    advice: str
    notes: tuple[str, ...] = ()
    signs: Mapping[str, float] = field(default_factory=dict)  # of doubt, from which the confidence follows

    def __str__(self) -> str:
        lines = [f"{self.verdict} (confidence {_rounded_down(self.confidence):.2f})"]
        lines += [f"  epochs {phase}" for phase in self.phases]
        lines += [_listed(self.evidence, "  evidence: ", "")] if self.evidence else []
        lines += [f"  advice: {self.advice}"]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


@dataclass(frozen=True, eq=False)
class Diagnosis(Summarised):
    """The findings on one network or a stack; ``diagnosis[i]`` is that of network i alone.

    ``verdict``, ``confidence``, ``phases``, ``evidence`` and ``advice`` are values for one network
    and tuples, one entry per network, for more:

    * ``verdict``: one of :data:`PHASES`, by the first rule of docs/diagnosis.md that holds. It says
      how the training stands at its end, or how it has learned where nothing is wrong there: a
      record that falls slowly and ends flat is "gradual learning", though its last phase is
      "converged";
    * ``confidence``: in [0, 1], the probability that the verdict is right, by the share of right
      ones among simulated
      records with the same signs of doubt (docs/diagnosis.md);
    * ``phases``: all of them in order, with epochs and numbers (:class:`Phase`);
    * ``evidence``: name to number, losses in units of the loss and epochs as in the history;
    * ``advice``: a sentence.

    Attributes
    ----------
    findings : tuple of Finding
    records : History
        What was diagnosed, run by run, and how it was read.
    given : mapping of str to float or None
        Chance levels that the caller gave.
    """

    findings: tuple[Finding, ...]
    records: History
    given: Mapping[str, float | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, network: int) -> Diagnosis:
        chosen = range(len(self))[network]
        records = History((self.records.runs[chosen],), self.records.columns, self.records.account, self.records.named)
        return Diagnosis((self.findings[chosen],), records, self.given)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the runs, in order."""
        return tuple(run.name for run in self.records.runs)

    @property
    def verdict(self) -> Any:
        """One of :data:`PHASES`."""
        return self._each("verdict")

    @property
    def confidence(self) -> Any:
        """In [0, 1]."""
        return self._each("confidence")

    @property
    def phases(self) -> Any:
        """The phases in order."""
        return self._each("phases")

    @property
    def evidence(self) -> Any:
        """Name to number."""
        return self._each("evidence")

    @property
    def advice(self) -> Any:
        """A sentence."""
        return self._each("advice")

    def _each(self, name: str) -> Any:
        values = tuple(getattr(finding, name) for finding in self.findings)
        return values[0] if len(values) == 1 else values

    @property
    def history(self) -> xr.Dataset:
        """The curves over (network, epoch), NaN where a run has no value.

        Where runs have few epochs in common they stand over (network, point) instead, with
        ``epoch`` beside them.
        """
        runs = self.records.runs
        grid = _common_grid([run.epoch for run in runs])
        names = list(dict.fromkeys(name for run in runs for name in run.curves))
        length = len(grid) if grid is not None else max(len(run.epoch) for run in runs)
        dims = ("network", "epoch" if grid is not None else "point")
        arrays = {name: np.full((len(runs), length), np.nan) for name in names}
        epochs = np.full((len(runs), length), np.nan)
        for row, run in enumerate(runs):
            at = np.searchsorted(grid, run.epoch) if grid is not None else np.arange(len(run.epoch))
            epochs[row, at] = run.epoch
            for name, values in run.curves.items():
                arrays[name][row, at] = values
        coordinates: dict[str, Any] = {"network": np.arange(len(runs))}
        if self.records.named:
            coordinates["run"] = ("network", np.array([run.name for run in runs]))
        variables: dict[str, Any] = {name: (dims, values) for name, values in arrays.items()}
        if grid is not None:
            coordinates["epoch"] = grid
        else:
            variables["epoch"] = (dims, epochs)
        given = {name: value for name, value in self.given.items() if value is not None}
        return xr.Dataset(variables, coords=coordinates, attrs=given)

    def to_dataset(self) -> xr.Dataset:
        """The history with ``verdict``, ``verdict_confidence``, ``advice`` and ``evidence_*`` over
        network, and ``phase_name``, ``phase_start`` and ``phase_end`` over (network, phase), padded
        with "" and NaN."""
        places = max((len(finding.phases) for finding in self.findings), default=0)
        shape = (len(self), places)
        start, end = np.full(shape, np.nan), np.full(shape, np.nan)
        names = np.full(shape, "", dtype=f"<U{max(map(len, PHASES))}")
        for row, finding in enumerate(self.findings):
            for column, phase in enumerate(finding.phases):
                names[row, column], start[row, column], end[row, column] = phase.name, phase.start, phase.end
        keys = sorted({key for finding in self.findings for key in finding.evidence})
        evidence = {
            f"evidence_{key}": ("network", np.array([finding.evidence.get(key, np.nan) for finding in self.findings]))
            for key in keys
        }
        variables: dict[str, Any] = {
            "verdict": ("network", np.array([finding.verdict for finding in self.findings])),
            "verdict_confidence": ("network", np.array([finding.confidence for finding in self.findings])),
            "advice": ("network", np.array([finding.advice for finding in self.findings])),
            "phase_name": (("network", "phase"), names),
            "phase_start": (("network", "phase"), start),
            "phase_end": (("network", "phase"), end),
            **evidence,
        }
        return self.history.assign(variables).assign_attrs({"kind": KIND, "version": __version__})

    def to_json(self) -> dict[str, Any]:
        """Names, verdicts, confidences, phases, evidence, advice and notes of all runs, and the
        account of the reading, as JSON has them; numbers that are not finite are None."""
        runs = [
            {
                "name": run.name,
                "points": len(run.epoch),
                "verdict": finding.verdict,
                "confidence": finding.confidence,
                "phases": [
                    {"name": p.name, "start": _plain(p.start), "end": _plain(p.end), "evidence": _plained(p.evidence)}
                    for p in finding.phases
                ],
                "evidence": _plained(finding.evidence),
                "advice": finding.advice,
                "notes": list(finding.notes),
            }
            for run, finding in zip(self.records.runs, self.findings, strict=True)
        ]
        return {
            "kind": KIND,
            "version": __version__,
            "columns": dict(self.records.columns),
            "account": list(self.records.report),
            "runs": runs,
        }

    def summary(self) -> tuple[str, Rows]:
        """The lines of ``print``, the first of them as title."""
        title, *rest = str(self).split("\n")
        return title, [(line.strip(),) for line in rest]

    def plot(self, network: int | None = None, *, axes: Axes | None = None) -> Axes:
        """Draw one run's loss with its phases, or the losses of all runs coloured by verdict; needs
        matplotlib.

        Parameters
        ----------
        network : int, optional
            Which run; all by default.
        axes : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ValueError
            If there is no such run.
        """
        from ghostpoint.figures.diagnosis import draw_on
        from ghostpoint.figures.style import axes_or_new

        return draw_on(axes_or_new(axes), self.to_dataset(), network)

    def __str__(self) -> str:
        account = [f"  {line}" for line in self.records.report]
        if len(self) == 1:
            return "\n".join([str(self.findings[0]), *account])
        width = max(map(len, PHASES))
        label = "run" if self.records.named else "network"
        wide = max(7, *(len(name) for name in self.names)) if self.records.named else 7
        rows = [f"{label:>{wide}}  {'verdict':{width}}  confidence  advice"]
        rows += [
            f"{name:>{wide}}  {finding.verdict:{width}}  {_rounded_down(finding.confidence):10.2f}  {finding.advice}"
            for name, finding in zip(self.names, self.findings, strict=True)
        ]
        counts = {name: self.verdict.count(name) for name in PHASES} if self.findings else {}
        rows.append(", ".join(f"{count} {name}" for name, count in counts.items() if count))
        return "\n".join(rows + account)


def _rounded_down(confidence: float) -> float:
    """Two digits of a confidence that do not say more than it: 0.997 is shown as 0.99."""
    return float(np.floor(100 * confidence) / 100)


def _common_grid(epochs: list[Floats]) -> Floats | None:
    """The epochs of all runs in order, if they are not many more than those of the longest; else
    None.
    """
    longest = max(epochs, key=len)
    if all(len(each) <= len(longest) and np.array_equal(each, longest[: len(each)]) for each in epochs):
        return longest
    if sum(map(len, epochs)) > 5_000_000:
        return None
    union = np.unique(np.concatenate(epochs))
    return union if len(union) <= 2 * len(longest) else None


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _plained(evidence: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in evidence.items()}


def _listed(evidence: Mapping[str, float], before: str, after: str) -> str:
    text = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in evidence.items())
    return f"{before}{text}{after}" if text else ""
