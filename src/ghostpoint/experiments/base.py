"""What an experiment is: parameters at two scales, a run, and the claims it tests.

An experiment computes a labelled dataset and never draws; ``ghostpoint.figures`` draws the dataset and never
computes. Claims are made from the saved dataset, so a report can be written again without running anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import xarray as xr

__all__ = ["SCALES", "Claim", "Experiment", "Progress", "Silent", "Verdict", "judge"]

SCALES = ("quick", "paper")
Verdict = Literal["holds", "does not hold", "not testable at this scale"]


class Progress(Protocol):
    """What an experiment tells whoever watches it run."""

    def phase(self, description: str, total: int, networks: int | None = None) -> None:
        """A new phase starts: ``total`` units of work; for training, network-epochs of ``networks`` networks."""

    def advance(self, amount: int) -> None:
        """``amount`` more units of the current phase are done."""


class Silent:
    """A :class:`Progress` that nobody watches."""

    def phase(self, description: str, total: int, networks: int | None = None) -> None:
        """Do nothing."""

    def advance(self, amount: int) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Claim:
    """One sentence of a publication beside what was measured.

    ``published`` and ``measured`` are short texts with the number and its unit; ``measured`` carries the
    uncertainty and the sample it comes from. ``source`` names figure, equation or section; a claim this project
    derived itself says so there. ``note`` explains a difference or why the scale is too small.
    """

    sentence: str
    source: str
    published: str
    measured: str
    verdict: Verdict
    note: str = ""

    def to_dict(self) -> dict[str, str]:
        """The claim as plain text fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Claim:
        """The inverse of :meth:`to_dict`."""
        return cls(**fields)


def judge(holds: bool, testable: bool = True) -> Verdict:
    """The verdict for a comparison that came out as ``holds``, or cannot be made at this scale."""
    if not testable:
        return "not testable at this scale"
    return "holds" if holds else "does not hold"


@dataclass(frozen=True)
class Experiment:
    """A published experiment.

    Attributes
    ----------
    id : str
        Name used on the command line and as folder name.
    title : str
        A line that says what is shown.
    figure : str
        Where it was published, e.g. ``"Fig. 2A (letter: 2A)"``.
    question : str
        A few sentences for the report: what is asked and how.
    parameters : mapping
        ``"quick"`` and ``"paper"`` to the complete, JSON-serialisable configuration, seeds included.
    run : callable
        ``run(parameters, progress) -> xarray.Dataset``. Deterministic: same parameters, same machine, same bits.
        The dataset's attributes are JSON-serialisable.
    claims : callable
        ``claims(dataset, parameters) -> list[Claim]``.
    """

    id: str
    title: str
    figure: str
    question: str
    parameters: Mapping[str, Mapping[str, Any]]
    run: Callable[[Mapping[str, Any], Progress], xr.Dataset]
    claims: Callable[[xr.Dataset, Mapping[str, Any]], list[Claim]]
