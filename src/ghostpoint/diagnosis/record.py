"""Records of a diagnosis: phases, the finding on one network, and the diagnosis of a stack of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint._version import __version__

__all__ = ["PHASES", "Diagnosis", "Finding", "Phase"]

KIND = "diagnosis"
#: every phase and verdict there is
PHASES = (
    "plateau at chance",
    "gradual learning",
    "abrupt learning",
    "oscillation near a minimum",
    "no-learning zone",
    "divergence",
    "recovered",
    "cannot tell",
)


@dataclass(frozen=True)
class Phase:
    """A stretch of training: one of :data:`PHASES`, its first and last recorded epoch, and numbers that show it."""

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

    def __str__(self) -> str:
        lines = [f"{self.verdict} (confidence {self.confidence:.2f})"]
        lines += [f"  epochs {phase}" for phase in self.phases]
        lines += [_listed(self.evidence, "  evidence: ", "")] if self.evidence else []
        lines += [f"  advice: {self.advice}"]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The findings on one network or a stack; ``diagnosis[i]`` is that of network i alone.

    ``verdict``, ``confidence``, ``phases``, ``evidence`` and ``advice`` are values for one network and tuples, one
    entry per network, for more:

    * ``verdict``: the phase the training is in at its last epoch, one of :data:`PHASES`;
    * ``confidence``: in [0, 1], how far the numbers lie from what would have changed the verdict, less where levels had
      to be inferred; a grade for sorting, not a probability;
    * ``phases``: all of them in order, with epochs and numbers (:class:`Phase`);
    * ``evidence``: name to number, losses in units of the loss and epochs as in the history;
    * ``advice``: a sentence.

    Attributes
    ----------
    findings : tuple of Finding
    history : Dataset over (network, epoch)
        What was diagnosed.
    """

    findings: tuple[Finding, ...]
    history: xr.Dataset

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, network: int) -> Diagnosis:
        chosen = range(len(self))[network]
        return Diagnosis((self.findings[chosen],), self.history.isel(network=[chosen]))

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

    def to_dataset(self) -> xr.Dataset:
        """The history with ``verdict``, ``verdict_confidence``, ``advice`` and ``evidence_*`` over network, and
        ``phase_name``, ``phase_start`` and ``phase_end`` over (network, phase), padded with "" and NaN."""
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

    def __str__(self) -> str:
        if len(self) == 1:
            return str(self.findings[0])
        width = max(map(len, PHASES))
        rows = [f"network  {'verdict':{width}}  confidence  advice"]
        rows += [
            f"{row:7d}  {finding.verdict:{width}}  {finding.confidence:10.2f}  {finding.advice}"
            for row, finding in enumerate(self.findings)
        ]
        counts = {name: self.verdict.count(name) for name in PHASES} if self.findings else {}
        rows.append(", ".join(f"{count} {name}" for name, count in counts.items() if count))
        return "\n".join(rows)


def _listed(evidence: Mapping[str, float], before: str, after: str) -> str:
    text = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in evidence.items())
    return f"{before}{text}{after}" if text else ""
